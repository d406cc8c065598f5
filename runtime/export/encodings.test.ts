import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../../compiler/check/check.ts"
import type { Session } from "../../compiler/check/session.ts"
import type { EncodingValue } from "../../compiler/check/value.ts"
import { moduleReader } from "../library.ts"
import { readWeights, writeWeights } from "../weights.ts"
import { lowerEncode, rowsOf, storeOf } from "../../compiler/graph/lower/encoding.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import type { HostTensor } from "../device.ts"
import { interpretProgram } from "../stages/interpret.ts"
import { decoderOf } from "../stages/quantize.ts"
import { stored } from "../weights.ts"
import type { StoredTensor } from "../weights.ts"
import { admit, honest, layoutOf } from "./layouts.ts"
import { reference } from "./quantise-oracle.ts"
import { expectFine, random } from "./testing.ts"

interface Named { readonly encoding: EncodingValue; readonly session: Session }

function encoding(call: string, definitions = ""): Named {
  const text = `use std.encodings { q8_0, q4_0, int8, int4 }\n${definitions}\nlet e = ${call}\nlet others = [q8_0(), q4_0(), int8(), int4()]\n`
  const { recipe, session, diagnostics } = check({ id: "test.slm", text }, { modules: moduleReader("."), params: new Map(), facts: new Map() })
  const value = recipe?.bindings.get("e")
  if (value?.kind !== "encoding") throw new Error(diagnostics.map(({ code, message }) => `${code} ${message}`).join("\n") || `a ${value?.kind}`)
  return { encoding: value, session }
}

/** What `encode` of the language yields, run by the reference interpreter. */
function encoded(e: EncodingValue, session: Session, shape: Shape, values: Float32Array): Readonly<Record<string, HostTensor>> {
  const program = lowerEncode(session, e, shape)
  if ("code" in program) throw new Error(program.message)
  return interpretProgram(program, { w: { shape: rowsOf(shape), dtype: "f32", data: values } })
}

function quantised(e: EncodingValue, session: Session, shape: Shape, values: Float32Array): StoredTensor {
  const { codes, scales } = encoded(e, session, shape, values)
  const kept = expectFine(admit(layoutOf(storeOf(session, e))!, "w", shape, codes!.data, scales!.data))
  return stored(shape, storeOf(session, e), new Map<string, Int8Array | Uint8Array | Float32Array>([["codes", kept.codes], ["scales", kept.scales]]))
}

/** What `decode` of the language makes of the codes. */
function byDecode(e: EncodingValue, session: Session, { shape, encoding, buffers }: StoredTensor): Float32Array {
  return decoderOf(session, e).values({ shape, encoding, buffers: new Map([...buffers].map(([name, data]) => [name, Float32Array.from(data)])) })
}

/**
 * Ordinary weights, and the blocks at the edges: zeros, equal magnitudes of both signs, halves between codes, tiny and large
 * numbers. (The sign of a zero scale stands for nothing and is not compared.)
 */
function samples(): Float32Array {
  const next = random(9)
  const blocks: ((i: number) => number)[] = [
    ...Array.from({ length: 60 }, (_, b) => () => next() * 10 ** ((b % 12) - 6)),
    () => 0, (i) => (i % 2 === 0 ? 1 : -1), (i) => (i % 2 === 0 ? -1 : 1), (i) => (i - 16) / 32, (i) => (i === 7 ? 127 : i + 0.5), (i) => (i === 7 ? -127 : -i - 0.5),
    (i) => (i === 3 ? 8 : (i % 16) - 7.5), (i) => (i === 3 ? -8 : (i % 16) - 7.5), (i) => (i === 0 ? -1e-30 : 0), () => 3e4,
  ]
  return Float32Array.from(blocks.flatMap((of) => Array.from({ length: 32 }, (_, i) => of(i))))
}

const values = samples()
const shape = [values.length / 64, 64].map(Math.floor)
const even = values.subarray(0, shape[0]! * 64)

for (const kind of ["q8_0", "q4_0"] as const) {
  test(`${kind} of the library chooses llama.cpp's codes, byte for byte`, () => {
    const { encoding: e, session } = encoding(`${kind}()`)
    assert.is(storeOf(session, e), `gguf.${kind}`)
    const tensor = quantised(e, session, shape, even)
    const expected = reference[kind](even)
    const [codes, scales] = [tensor.buffers.get("codes")!, tensor.buffers.get("scales") as Float32Array]
    assert.equal(layoutOf(`gguf.${kind}`)!.pack(codes, scales, shape), expected.bytes)
    assert.equal(tensor.decoded(), expected.decoded)
  })
}

test("int8 keeps each row within half a step of its largest number / 127", () => {
  const { encoding: e, session } = encoding("int8()")
  const tensor = quantised(e, session, shape, even)
  assert.is(tensor.encoding, "int8")
  near(tensor.decoded(), 64, 127)
})

test("int4 keeps each group within half a step of its largest number / 7", () => {
  for (const group of [8, 32, 64]) {
    const { encoding: e, session } = encoding(`int4(group: ${group})`)
    const tensor = quantised(e, session, shape, even)
    assert.is(tensor.encoding, `int4(group=${group})`)
    near(tensor.decoded(), group, 7)
  }
})

function near(decoded: Float32Array, run: number, steps: number): void {
  for (let at = 0; at < even.length; at += run) {
    const block = even.subarray(at, at + run)
    const step = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / steps
    block.forEach((x, i) => assert.ok(Math.abs(x - decoded[at + i]!) <= step * 0.50001, `${x} became ${decoded[at + i]}`))
  }
}

test("decode of the language and of the store agree on every code", () => {
  for (const call of ["q8_0()", "q4_0()", "int8()", "int4(group: 16)"]) {
    const { encoding: e, session } = encoding(call)
    const tensor = quantised(e, session, shape, even)
    assert.equal(byDecode(e, session, tensor), tensor.decoded(), call)
  }
})

test("leading axes count as rows", () => {
  const { encoding: e, session } = encoding("q8_0()")
  const tensor = quantised(e, session, [2, 3, 32], even.slice(0, 192))
  assert.equal(tensor.shape, [2, 3, 32])
  assert.equal(tensor.decoded(), reference.q8_0(even.slice(0, 192)).decoded)
})

const thirds = `
/// Three levels with the mean magnitude of a row.
encoding thirds() {
  store: "thirds"
  encode(w: float[N, K]) {
    let scale = mean(abs(w), axis: -1, keep: true)
    { codes: sign(w) * where(abs(w) > 0.5 * scale, 1.0, 0.0), scales: scale }
  }
  decode(c) { c.codes * c.scales }
}
`

test("an encoding of a recipe's own keeps its codes and is decoded by the language", () => {
  const { encoding: e, session } = encoding("thirds()", thirds)
  const { codes, scales } = encoded(e, session, [2, 3], Float32Array.of(1, -0.1, -2, 0, 4, 4))
  assert.equal(codes!.data, Float32Array.of(1, -0, -1, 0, 1, 1))
  const tensor = stored([2, 3], storeOf(session, e), new Map([["codes", codes!.data], ["scales", scales!.data]]), decoderOf(session, e))
  const file = writeWeights({ tensors: new Map([["w", tensor]]) })
  const back = expectFine(readWeights(file, (store) => (store === "thirds" ? decoderOf(session, e) : null)))
  assert.equal([...back.tensors.get("w")!.decoded()].map((x) => Math.round(x * 1000) / 1000 + 0), [1.033, 0, -1.033, 0, 2.667, 2.667])
})

test("a store is not borrowed for other codes", () => {
  const plus = "encoding plus() {\n store: \"int8\"\n encode(w: float[N, K]) { { codes: round(w), scales: mean(abs(w), axis: -1) } }\n decode(c) { c.codes + 1 }\n}"
  const { encoding: e, session } = encoding("plus()", plus)
  const tensor = quantised(e, session, [1, 3], Float32Array.of(1, 2, 3))
  assert.is(honest("plus", tensor.encoding, tensor.decoded(), byDecode(e, session, tensor))?.message, "`decode` of plus does not yield what the store int8 stands for")
  const { encoding: int8, session: other } = encoding("int8()")
  const good = quantised(int8, other, [1, 3], Float32Array.of(1, 2, 3))
  assert.is(honest("int8", good.encoding, good.decoded(), byDecode(int8, other, good)), null)
})

test.run()
