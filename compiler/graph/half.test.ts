import { test } from "uvu"
import * as assert from "uvu/assert"
import { fromBrain, fromHalf, toBrain, toHalf } from "./half.ts"

test("every finite f16 comes back from its f32", () => {
  for (let h = 0; h < 0x10000; h++) {
    if ((h & 0x7c00) === 0x7c00) continue
    if (toHalf(fromHalf(h)) !== h) throw new Error(`0x${h.toString(16)} became 0x${toHalf(fromHalf(h)).toString(16)}`)
  }
})

test("every f32 goes to the nearest f16, ties to even", () => {
  for (let h = 0; h < 0x7bff; h++) {
    const low = fromHalf(h)
    const high = fromHalf(h + 1)
    const middle = (low + high) / 2 // exact in f32
    const even = h % 2 === 0 ? h : h + 1
    const step = Math.fround(middle * (1 + 2 ** -20)) > middle ? middle * 2 ** -20 : 2 ** -40
    if (toHalf(middle) !== even || toHalf(middle - step) !== h || toHalf(middle + step) !== h + 1) throw new Error(`around ${middle}`)
  }
})

test("f16 has infinities above 65504 and signed zeros", () => {
  assert.is(toHalf(65504), 0x7bff)
  assert.is(toHalf(65519.99), 0x7bff)
  assert.is(toHalf(65520), 0x7c00)
  assert.is(toHalf(1e30), 0x7c00)
  assert.is(toHalf(-Infinity), 0xfc00)
  assert.is(toHalf(-0), 0x8000)
  assert.ok(Object.is(fromHalf(0x8000), -0))
  assert.ok(Number.isNaN(fromHalf(toHalf(NaN))))
  assert.is(toHalf(2 ** -25), 0)
  assert.is(toHalf(2 ** -25 * 1.0001), 1)
})

test("bf16 keeps the upper half of an f32, rounded", () => {
  assert.is(toBrain(1), 0x3f80)
  assert.is(fromBrain(0x3f80), 1)
  assert.is(toBrain(1 + 2 ** -8), 0x3f80) // tie, even
  assert.is(toBrain(1 + 3 * 2 ** -8), 0x3f82) // tie, even
  assert.is(toBrain(1 + 2 ** -8 + 2 ** -20), 0x3f81)
  assert.ok(Number.isNaN(fromBrain(toBrain(NaN))))
  for (let h = 0; h < 0x7f80; h++) if (toBrain(fromBrain(h)) !== h) throw new Error(`0x${h.toString(16)}`)
})

test.run()
