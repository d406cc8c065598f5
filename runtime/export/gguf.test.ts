import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { exportGguf } from "./gguf-export.ts"
import { weightsOfGguf } from "./gguf-load.ts"
import { readGguf } from "./gguf-read.ts"
import { writeGguf } from "./gguf-write.ts"
import { bool, f32, list, text, u32 } from "./gguf.ts"
import type { GgufFile, GgufValue } from "./gguf.ts"
import { stored } from "../weights.ts"
import { expectFine, gpt, gptShapes, libraryFormat, llama, llamaShapes, quantised, randomWeights, resolveText, tinyTokenizer, told } from "./testing.ts"

const words = tinyTokenizer("", 0, ["<|endoftext|>"])
const sizes = { ...llama, vocab: words.size, depth: 1 }
const shapes = llamaShapes(sizes)
const weights = randomWeights(shapes, 1)
const format = libraryFormat("gguf_llama", { ...sizes })

const file: GgufFile = {
  metadata: new Map<string, GgufValue>([
    ["general.architecture", text("llama")], ["n", u32(7)], ["big", { type: "u64", value: 2 ** 52 }], ["neg", { type: "i64", value: -5 }], ["small", { type: "i8", value: -1 }],
    ["f", f32(0.5)], ["d", { type: "f64", value: 0.1 }], ["yes", bool(true)], ["names", list("string", ["a", "ünï", ""])], ["ids", list("i32", [-1, 5])], ["none", list("f32", [])], ["flags", list("bool", [true, false])],
  ]),
  tensors: [
    { name: "a", shape: [3], encoding: "f32", bytes: new Uint8Array(12).fill(1) },
    { name: "b", shape: [2, 32], encoding: "gguf.q4_0", bytes: new Uint8Array(36).fill(2) },
    { name: "c", shape: [1, 2, 5], encoding: "f16", bytes: new Uint8Array(20).fill(3) },
  ],
}

test("what is written is read back", () => {
  const back = expectFine(readGguf(writeGguf(file)))
  assert.equal([...back.metadata], [...file.metadata])
  assert.equal(back.tensors.map((t) => ({ ...t, bytes: new Uint8Array(t.bytes) })), file.tensors)
})

test("texts of any length are written where room was made for them", () => {
  const texts = fc.array(fc.tuple(fc.string({ minLength: 1 }), fc.string({ unit: "binary", maxLength: 3000 })), { maxLength: 12 })
  fc.assert(fc.property(texts, (pairs) => {
    const metadata = new Map(pairs.map(([key, value]) => [key, text(new TextDecoder().decode(new TextEncoder().encode(value)))]))
    assert.equal([...expectFine(readGguf(writeGguf({ metadata, tensors: [] }))).metadata], [...metadata])
  }), { numRuns: 200 })
})

test("the header is laid out as version 3 says", () => {
  const bytes = Buffer.from(writeGguf(file))
  assert.is(bytes.toString("latin1", 0, 4), "GGUF")
  assert.equal([bytes.readUInt32LE(4), bytes.readBigUInt64LE(8), bytes.readBigUInt64LE(16)], [3, 3n, 12n])
  assert.is(bytes.readBigUInt64LE(24), 20n)
  assert.is(bytes.toString("utf8", 32, 52), "general.architecture")
  assert.is(bytes.readUInt32LE(52), 8)
  assert.is(bytes.indexOf(Buffer.alloc(12, 1)) % 32, 0)
  assert.is(bytes.indexOf(Buffer.alloc(36, 2)) - bytes.indexOf(Buffer.alloc(12, 1)), 32)
  assert.is(bytes.length % 32, 0)
})

test("a file holds the model's sizes and weights, quantised codes untouched", () => {
  const q = quantised(weights, "q8_0")
  const read = expectFine(readGguf(expectFine(exportGguf(q, format, words, { name: "pocket", floats: "f32" }))))
  const value = (key: string): unknown => {
    const found = read.metadata.get(key)
    return found === undefined || found.type === "array" ? found : found.value
  }
  assert.equal(["general.architecture", "general.name", "general.file_type", "llama.block_count", "llama.context_length", "llama.embedding_length", "llama.feed_forward_length", "llama.vocab_size",
    "llama.attention.head_count", "llama.attention.head_count_kv", "llama.rope.dimension_count", "llama.rope.freq_base"].map(value), ["llama", "pocket", 7, 1, 64, 64, 96, words.size, 4, 2, 16, 10000])
  assert.equal(read.metadata.get("llama.rope.freq_base")?.type, "f32")
  assert.is(value("llama.attention.layer_norm_rms_epsilon"), Math.fround(1e-5))
  const back = expectFine(weightsOfGguf(read, format, shapes))
  for (const [path, tensor] of q.tensors) assert.equal([...back.tensors.get(path)!.buffers], [...tensor.buffers], path)
})

test("vectors stay f32 in a file of f16", () => {
  const read = expectFine(readGguf(expectFine(exportGguf(weights, format, words, { name: "x", floats: "f16" }))))
  for (const { name, shape, encoding } of read.tensors) assert.is(encoding, shape.length < 2 ? "f32" : "f16", name)
})

test("an encoding that GGUF does not know is an error, not a second rounding", () => {
  const codes = new Map<string, Int8Array | Float32Array>([["codes", new Int8Array(words.size * 64)], ["scales", new Float32Array(words.size)]])
  const odd = { tensors: new Map([...weights.tensors, ["embed.weight", stored([words.size, 64], "int8", codes)]]) }
  const result = exportGguf(odd, format, words, { name: "x", floats: "f32" })
  assert.equal(result.ok ? [] : told(result.problems), ["SLM3211 `token_embd.weight` is stored as int8, which GGUF does not know"])
})

test("an embedding smaller than the tokenizer is an error", () => {
  const small = { ...sizes, vocab: words.size - 1 }
  const result = exportGguf(randomWeights(llamaShapes(small), 1), libraryFormat("gguf_llama", { ...small }), words, { name: "x", floats: "f32" })
  assert.equal(result.ok ? [] : told(result.problems), ["SLM3214 the tokenizer has 257 tokens and the model's embedding 256 rows"])
})

test("a format without a place for metadata says so", () => {
  const bare = resolveText("map embed.weight => \"a\"\nconfig { a: 1 }", { ...sizes })
  if (!bare.ok) throw new Error("unresolved")
  const one = { tensors: new Map([["embed.weight", weights.tensors.get("embed.weight")!]]) }
  const result = exportGguf(one, bare.format, words, { name: "x", floats: "f32" })
  assert.equal(result.ok ? [] : told(result.problems), ["SLM3218 format f has no block `gguf` with an `architecture`"])
})

test("what llama.cpp would compute differently is refused", () => {
  assert.throws(() => libraryFormat("gguf_llama", { ...sizes, window: 8 }), "SLM3221 format gguf_llama has no place for a Llama with `window`")
  assert.throws(() => libraryFormat("gguf_gpt2", { ...gpt, exact: true }), "SLM3221 format gguf_gpt2 has no place for a GPT with `exact`")
  assert.ok(gptShapes(gpt).size > 0)
})

test("lying files are refused with what is wrong", () => {
  const good = writeGguf(file)
  const edited = (at: number, bytes: readonly number[]): Uint8Array => {
    const copy = good.slice()
    copy.set(bytes, at)
    return copy
  }
  const says = (bytes: Uint8Array): string => {
    const result = readGguf(bytes)
    return result.ok ? "fine" : told(result.problems)[0]!.replace("SLM3209 this is not a GGUF file: ", "")
  }
  const info = Buffer.from(good).indexOf(Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]), Buffer.from("b"), Buffer.from([2, 0, 0, 0])])) + 9
  assert.is(says(edited(0, [0x67])), "it does not begin with GGUF")
  assert.is(says(edited(4, [9])), "its version is 9")
  assert.is(says(edited(8, [255, 255, 255, 255])), "it counts to 72340172838076673")
  assert.is(says(edited(8, [0, 0, 0, 0, 0, 0, 0, 255])), "it counts to 18374686479671623680")
  assert.is(says(edited(24, [255, 255, 255, 255])), "it ends in the middle of its header")
  assert.is(says(edited(52, [77])), "it has a value of the unknown type 77")
  assert.is(says(edited(info, [5])), "`b` has 5 axes")
  assert.is(says(edited(info + 4, [33])), "the rows of `b` are not whole blocks of gguf.q4_0")
  assert.is(says(edited(info + 20, [3])), "`b` has tensor type 3, which slm does not read")
  assert.is(says(edited(info + 24, [1])), "`b` is not aligned to 32 bytes")
  assert.is(says(edited(info + 24, [0])), "`b` overlaps another tensor")
  assert.is(says(edited(info + 24, [0, 255])), "`b` reaches beyond its end")
  assert.is(says(edited(info + 12, [255, 255, 255])), "`b` reaches beyond its end")
  assert.is(says(edited(info - 1, [0x61])), "`a` stands in it twice")
})

test("cut or changed files never throw", () => {
  const whole = writeGguf(file)
  fc.assert(fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, value, cut) => {
    const bytes = cut ? whole.slice(0, at) : whole.slice()
    if (!cut) bytes[at] = value
    readGguf(bytes)
  }), { numRuns: 4000 })
})

test.run()
