import { test } from "uvu"
import * as assert from "uvu/assert"
import { brains, halves } from "../compiler/graph/half.ts"
import { expectFine, quantised, randomWeights } from "./export/testing.ts"
import { plain, readWeights, stored, storedBytes, writeWeights } from "./weights.ts"
import type { Decoder, Weights } from "./weights.ts"

const floats = randomWeights(new Map([["embed.weight", [6, 32]], ["norm.scale", [32]], ["blocks[0].attn.q.weight", [4, 64]]]), 3)

test("weights come back from their file bit for bit, in every encoding", () => {
  const values = floats.tensors.get("embed.weight")!.decoded()
  const mixed: Weights = { tensors: new Map([
    ...quantised(floats, "q4_0").tensors,
    ["half", stored([6, 32], "f16", new Map([["values", halves(values)]]))],
    ["brain", stored([6, 32], "bf16", new Map([["values", brains(values)]]))],
    ["rows", stored([2, 3], "int8", new Map<string, Int8Array | Float32Array>([["codes", Int8Array.of(1, -2, 3, 4, 5, -128)], ["scales", Float32Array.of(0.1, 1e-30)]]))],
    ["groups", stored([1, 4], "int4(group=2)", new Map<string, Int8Array | Float32Array>([["codes", Int8Array.of(-8, 7, 0, 1)], ["scales", Float32Array.of(2, 3)]]))],
  ]) }
  const file = writeWeights(mixed)
  const back = expectFine(readWeights(file))
  assert.equal([...back.tensors.keys()], [...mixed.tensors.keys()])
  for (const [path, tensor] of mixed.tensors) {
    const read = back.tensors.get(path)!
    assert.equal([read.shape, read.encoding, [...read.buffers]], [tensor.shape, tensor.encoding, [...tensor.buffers]], path)
    assert.equal(read.decoded(), tensor.decoded(), path)
  }
  assert.equal(writeWeights(back), file)
})

test("an encoding of a recipe's own is decoded by the recipe", () => {
  const double: Decoder = { values: (tensor) => Float32Array.from(tensor.buffers.get("codes")!, (c) => 2 * c), program: () => null }
  const weights: Weights = { tensors: new Map([["w", stored([3], "double", new Map([["codes", Int8Array.of(1, 2, -3)]]), double)]]) }
  const file = writeWeights(weights)
  assert.equal(expectFine(readWeights(file, (encoding) => (encoding === "double" ? double : null))).tensors.get("w")!.decoded(), Float32Array.of(2, 4, -6))
  assert.throws(() => expectFine(readWeights(file)).tensors.get("w")!.decoded(), "nothing decodes double")
})

test("bytes count what an encoding takes in its own layout", () => {
  assert.is(storedBytes(plain([6, 32], new Float32Array(192))), 768)
  assert.is(storedBytes(quantised(floats, "q8_0").tensors.get("embed.weight")!), 6 * 34)
  assert.is(storedBytes(quantised(floats, "q4_0").tensors.get("embed.weight")!), 6 * 18)
  assert.is(storedBytes(stored([2, 3], "f16", new Map([["values", new Uint16Array(6)]]))), 12)
})

test("a damaged file says so", () => {
  const says = (bytes: Uint8Array): string => {
    const result = readWeights(bytes)
    return result.ok ? "fine" : `${result.problems[0]!.code} ${result.problems[0]!.message}`
  }
  const file = writeWeights(floats)
  const edited = (from: string, to: string): Uint8Array => new Uint8Array(Buffer.from(Buffer.from(file).toString("latin1").replace(from, to), "latin1"))
  assert.is(says(edited("slm weights 1", "slm weights 9")), "SLM3208 this is not a file of weights written by slm")
  assert.is(says(edited("[6,32]", "[7,32]")), "SLM3208 the buffers of `embed.weight` do not fit its shape [7,32] in f32")
  assert.is(says(edited("embed.weight#", "embed.weighs#")), "SLM3208 `embed.weight` lacks its values")
})

test.run()
