import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "./builder.ts"
import type { StorageType } from "./stored.ts"
import { bytesOfNumbers, narrowest, packed, unpacked } from "./stored.ts"

const samples: { readonly [S in StorageType]: readonly number[] } = {
  f16: [0, 1, -2.5, 65504, 2 ** -24, -(2 ** -14), Infinity], bf16: [1, -3.140625, 2 ** 100, 2 ** -130], i8: [-128, 127, 0, -1, 5], u8: [0, 255, 128], i4: [-8, 7, -1, 0, 3], u4: [0, 15, 8],
}

test("packed numbers are read back as they were, in so many bytes", () => {
  for (const [stored, values] of Object.entries(samples) as [StorageType, readonly number[]][]) {
    const bytes = packed(values, stored)
    assert.is(bytes.length, bytesOfNumbers(values.length, "f32", stored), stored)
    assert.equal([...unpacked(bytes, stored, values.length)], [...values], stored)
  }
  assert.equal([...packed([1, 2, 15], "u4")], [0x21, 0x0f])
  assert.equal([...packed([-1, 2], "i4")], [0x2f])
})

test("the narrowest storage is the smallest that loses nothing", () => {
  const cases: readonly (readonly [readonly number[], StorageType | null])[] = [
    [[0, 15], "u4"], [[-8, 7], "i4"], [[0, 16], "u8"], [[-9, 0], "i8"], [[-128, 127], "i8"], [[-1, 128], "f16"], [[0.5], "f16"], [[2 ** 100], "bf16"], [[1 / 3], null], [[4096, 4097], null], [[NaN], null],
  ]
  for (const [values, want] of cases) assert.is(narrowest(values), want, values.join())
})

test("an input of truth values, or of whole numbers in floating point, is refused", () => {
  const b = createBuilder()
  assert.throws(() => b.input("x", "state", "bool", [2], "u4"), /bool is not stored as u4/)
  assert.throws(() => b.input("y", "state", "i32", [2], "f16"), /i32 is not stored as f16/)
  assert.throws(() => { b.input("z", "state", "f32", [2], "u4"); b.input("z", "state", "f32", [2]) }, /declared twice/)
})

test.run()
