/** Files we write, run by llama.cpp: it must read the same text into the same tokens and compute the same probabilities. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { exportGguf } from "../../runtime/export/gguf-export.ts"
import { readGguf } from "../../runtime/export/gguf-read.ts"
import type { Floats } from "../../runtime/export/foreign.ts"
import { expectFine, gptShapes, libraryFormat, llamaShapes, randomWeights, tinyTokenizer } from "../../runtime/export/testing.ts"
import type { GptSizes, LlamaSizes } from "../../runtime/export/testing.ts"
import type { Weights } from "../../runtime/weights.ts"
import { gptForward, greedy, likeliest, llamaForward, softmax } from "./oracle.ts"
import { verifyTools, withFolder } from "./tools.ts"
import type { Llama, LlamaModel } from "./tools.ts"

const words = tinyTokenizer(readFileSync(new URL("./gguf.test.ts", import.meta.url), "utf8"), 60, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
const llamaSizes: LlamaSizes = { vocab: words.size, dim: 64, depth: 2, heads: 4, kv_heads: 2, hidden: 96, context: 64, tie: false, rope_base: 10000 }
const gptSizes: GptSizes = { vocab: words.size, dim: 64, depth: 2, heads: 4, context: 64, bias: true }

interface Case {
  readonly weights: Weights
  readonly format: string
  readonly parameters: Readonly<Record<string, number | boolean>>
  readonly forward: (tokens: readonly number[]) => readonly Float64Array[]
}

function llamaCase(sizes: LlamaSizes, weights = randomWeights(llamaShapes(sizes), 7)): Case {
  return { weights, format: "gguf_llama", parameters: { ...sizes }, forward: (tokens) => llamaForward(weights, sizes, tokens) }
}
function gptCase(sizes: GptSizes, weights = randomWeights(gptShapes(sizes), 11)): Case {
  return { weights, format: "gguf_gpt2", parameters: { ...sizes }, forward: (tokens) => gptForward(weights, sizes, tokens) }
}

const tools = await verifyTools()
if (typeof tools === "string") {
  console.log(`skipped: ${tools}`)
} else {
  let llama: Llama
  test.before(async () => {
    llama = await tools.llama()
  })
  test.after(async () => {
    await llama.dispose()
  })

  for (const floats of ["f32", "f16"] as const) {
    test(`llama.cpp computes what a Llama means, ${floats}`, async () => {
      await agrees(llama, llamaCase(llamaSizes), floats)
    })
    test(`llama.cpp computes what a GPT means, ${floats}`, async () => {
      await agrees(llama, gptCase(gptSizes), floats)
    })
  }
}

/** Probabilities after every token of a prompt, then greedy tokens. */
async function agrees(llama: Llama, of: Case, floats: Floats): Promise<void> {
  await withModel(llama, of, floats, async (model) => {
    const prompt = model.tokenize("export function greedy(forward)", false)
    const context = await model.createContext({ contextSize: 64, flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" })
    const sequence = context.getSequence()
    const everything = { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } } as const
    const theirs = await sequence.controlledEvaluate(prompt.map((token) => [token, everything] as const))
    const ours = of.forward(prompt).map(softmax)
    let worst = 0
    ours.forEach((row, t) => {
      const found = theirs[t]?.next.probabilities
      assert.is(found?.size, row.length)
      row.forEach((p, token) => { worst = Math.max(worst, Math.abs(p - (found?.get(token) ?? 0))) })
    })
    console.log(floats, of.format, worst)
    await sequence.clearHistory()
    const made: number[] = []
    for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) if (made.push(token) === 12) break
    assert.equal(made, greedy(of.forward, prompt, 12))
    await context.dispose()
  })
}

async function withModel(llama: Llama, of: Case, floats: Floats, use: (model: LlamaModel) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const path = join(folder, "model.gguf")
    const format = libraryFormat(of.format, of.parameters, of.weights)
    writeFileSync(path, expectFine(exportGguf(of.weights, format, words, { name: "tiny", floats })))
    const model = await llama.loadModel({ modelPath: path, checkTensors: true })
    try {
      await use(model)
    } finally {
      await model.dispose()
    }
  })
}
void readGguf
void likeliest

test.run()
