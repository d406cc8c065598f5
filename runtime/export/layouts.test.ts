import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { stored } from "../weights.ts"
import { fromHalf, toHalf } from "../../compiler/graph/half.ts"
import { admit, fits, layoutOf } from "./layouts.ts"
import type { Layout } from "./layouts.ts"
import { reference } from "./quantise-oracle.ts"

function known(store: string): Layout {
  const layout = layoutOf(store)
  if (layout === null) throw new Error(store)
  return layout
}

const stores = ["gguf.q8_0", "gguf.q4_0", "int8", "int4(group=32)", "int4(group=8)", "int4(group=3)", "int3(group=32)", "int3(group=5)", "int2(group=16)", "int2(group=3)"]

test("codes and scales come back from the bytes of every store", () => {
  for (const store of stores) {
    const layout = known(store)
    const width = layout.block ?? 7
    const cases = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 }), fc.infiniteStream(fc.integer({ min: layout.low, max: layout.high })),
      fc.infiniteStream(fc.float({ noNaN: true, noDefaultInfinity: true, min: -60000, max: 60000 })))
    fc.assert(fc.property(cases, ([rows, blocks, codes, scales]) => {
      const shape = [rows, blocks * width]
      const given = admit(layout, "w", shape, take(codes, rows * blocks * width), take(scales, layout.scales(shape)).map((x) => (layout.half ? fromHalf(toHalf(x)) : x)))
      if (!given.ok) throw new Error(given.problems[0]!.message)
      const bytes = layout.pack(given.value.codes, given.value.scales, shape)
      assert.is(bytes.length, layout.bytes(shape))
      const back = layout.unpack(bytes, shape)
      assert.equal(back, given.value)
    }), { numRuns: 60 })
  }
})

test("the bytes are those of llama.cpp's blocks", () => {
  for (const kind of ["q8_0", "q4_0"] as const) {
    const values = wave(96)
    const layout = known(`gguf.${kind}`)
    const expected = reference[kind](values)
    const { codes, scales } = layout.unpack(expected.bytes, [3, 32])
    assert.equal(layout.decode(codes, scales, [3, 32]), expected.decoded)
    assert.equal(layout.pack(codes, scales, [3, 32]), expected.bytes)
  }
})

test("a stored tensor decodes by the layout its encoding names", () => {
  const buffers = new Map<string, Int8Array | Float32Array>([["codes", Int8Array.of(127, -127, 1, 0, 64, -1)], ["scales", Float32Array.of(0.5, 2)]])
  assert.equal(stored([2, 3], "int8", buffers).decoded(), Float32Array.of(63.5, -63.5, 0.5, 0, 128, -2))
})

test("rows that are not whole blocks name the weight and the width", () => {
  const found = fits(known("gguf.q4_0"), "blocks[0].attn.q.weight", [64, 48])
  assert.is(found?.code, "SLM3210")
  assert.is(found?.message, "the rows of `blocks[0].attn.q.weight` have 48 numbers, and gguf.q4_0 stores blocks of 32")
  assert.is(fits(known("gguf.q4_0"), "w", [48, 64]), null)
  assert.is(fits(known("int8"), "w", [48, 63]), null)
})

test("codes outside of a store are refused", () => {
  const says = (store: string, codes: number[], scales: number[], shape: number[]): string => {
    const result = admit(known(store), "w", shape, codes, scales)
    return result.ok ? "fine" : `${result.problems[0]!.code} ${result.problems[0]!.message}`
  }
  assert.is(says("int8", [1, 2], [1], [1, 2]), "fine")
  assert.is(says("int8", [1, 200], [1], [1, 2]), "SLM3212 code 200 of `w` is not a whole number from -128 to 127, as int8 stores them")
  assert.is(says("int8", [1, 0.5], [1], [1, 2]), "SLM3212 code 0.5 of `w` is not a whole number from -128 to 127, as int8 stores them")
  assert.is(says("int8", [1, 2], [NaN], [1, 2]), "SLM3212 scale NaN of `w` is not finite")
  assert.is(says("int8", [1, 2], [1, 1], [1, 2]), "SLM3212 int8 needs 2 codes and 1 scales for `w`, not 2 and 2")
  assert.is(says("gguf.q8_0", Array<number>(32).fill(0), [0.1], [1, 32]), "SLM3212 scale 0.10000000149011612 of `w` is not an f16 number")
  assert.is(layoutOf("int4(group=0)"), null)
  assert.is(layoutOf("nf4"), null)
})

function take(stream: fc.Stream<number>, count: number): number[] {
  return [...stream.take(count)]
}

function wave(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(i * 1.7) * Math.exp(Math.sin(i)))
}

test.run()
