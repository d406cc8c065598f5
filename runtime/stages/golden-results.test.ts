/**
 * Golden results: what stages of many kinds yield, bit by bit, on the instruction families that machines of the project have had. A result is
 * kept under a key that knows nothing of the compiler's sources, so that whatever changes bits has to raise a revision: here it shows.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { CpuOptions } from "../devices/cpu.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import type { Ran } from "./testing.ts"
import { problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"

/** By artifact keys, which know texts, inputs and the numerics class. */
const golden = JSON.parse(readFileSync(new URL("./golden-results.json", import.meta.url), "utf8")) as Readonly<Record<string, string>>

const recipe = `use std.experts { Mixtral, balanced }
use std.quantization { gptq }
${recipeOf(`
book = text("book.txt") |> documents(by: paragraph) |> clean(dedup: exact) |> split(valid: 20%)
words = bpe(book.train, size: 290)
tokens = book |> encode(words) |> pack(length: 16)
model Wide = Llama(vocab: words.size, dim: 16, depth: 2, heads: 2, kv_heads: 1, context: 32, window: 9)
model Small = GPT(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 32, dropout: 10%)
model Sparse = Mixtral(vocab: words.size, dim: 16, depth: 1, heads: 2, experts: 4, active: 2, context: 32, hidden: 32)
let opt = adamw(lr: cosine(peak: 1e-2, warmup: 20%)) |> clip_norm(1.0)
teacher = train Wide { data: tokens.train, valid: tokens.valid, objective: next_token, batch: 4 sequences, steps: 6, optim: opt }
student = distill teacher into Small { data: tokens.train, objective: next_token, batch: 4 sequences, accumulate: 2, steps: 4, optim: opt }
rounded = train Wide { data: tokens.train, objective: next_token, batch: 4 sequences, steps: 3, optim: opt, precision: bf16 }
mixed = train Sparse { data: tokens.train, objective: next_token, loss: balanced(), batch: 4 sequences, steps: 3, optim: opt }
thin = sparsify(teacher, method: sparsegpt, calibrate: tokens.train |> take(16), keep: [embed, head])
pocket = quantize teacher { format: int4(group: 16), method: gptq, calibrate: tokens.train |> take(16) }
voices = generate teacher { prompts: ["the whale", "a"], tokens: 12, temperature: 0.9, top_p: 0.95, seed: 5 }
small_voices = generate pocket { prompts: ["the whale", "a"], tokens: 12, temperature: 0.9, top_p: 0.95, seed: 5 }
rounded_voices = generate rounded { prompts: ["the whale", "a"], tokens: 12, temperature: 0.9, seed: 5, precision: bf16 }
expect perplexity(student, tokens.valid) + perplexity(rounded, tokens.valid) + perplexity(mixed, tokens.valid) + perplexity(thin, tokens.valid) + perplexity(pocket, tokens.valid) > 0
`)}`

/** The start of its artifact key, its name, and a hash over facts and files, of each stage that is kept. */
function resultsOf(ran: Ran): readonly (readonly [key: string, result: string])[] {
  return ran.stages.flatMap(({ stage, artifactKey, facts, content }) => {
    if (artifactKey === null || content === null) return []
    return [[artifactKey.slice(0, 16), `${createHash("sha256").update(`${JSON.stringify(facts)} ${content}`).digest("hex").slice(0, 16)} ${stage.name}`] as const]
  })
}

const families: readonly CpuOptions[] = [{ family: "portable" }, { tiles: false }, {}]
for (const options of families) {
  test(`results of ${options.family ?? "this processor"}${options.tiles === false ? " without tiles" : ""} are what was kept under their keys: what changes them raises a revision`, () => withFolder(async (place) => {
    const device = await openCpu(options)
    if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
    place.write("book.txt", sentences(60))
    const ran = await place.run(recipe, { device })
    assert.equal(problemsOf(ran), [])
    const found = resultsOf(ran)
    if (process.env["SHOW"] === "1") console.log(found.map(([key, result]) => `  ${JSON.stringify(key)}: ${JSON.stringify(result)},`).join("\n"))
    assert.equal(found.filter(([key, result]) => (golden[key] ?? result) !== result), [], `equal keys of ${device.info.numericsClass}, and other bits: raise the revision of what changed (\`generatorRevision\`, that of a kind or of a primitive, else \`artifactRevision\`)`)
    const unknown = found.filter(([key]) => golden[key] === undefined)
    if (unknown.length > 0) console.log(`  skipped: ${unknown.length} of ${found.length} results of ${device.info.numericsClass} are not recorded, since a text or a revision has changed; SHOW=1 prints them`)
    // Every machine can run the portable one: what is left out there must not grow.
    if (options.family === "portable") assert.ok(unknown.length <= found.length / 2, "most keys are new: golden-results.json has to know what SHOW=1 prints")
  }))
}

test.run()
