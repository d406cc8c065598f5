/** Passes of the library on whole models, run on the reference device. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { renderDiagnostics } from "../../grammar/render.ts"
import type { Ran } from "./testing.ts"
import { bookTokens, factsOf, recipeOf, sentences, withFolder } from "./testing.ts"

const shown = (ran: Ran): string => renderDiagnostics(ran.diagnostics, ran.sources, { color: false })
const training = "data: tokens.train, objective: next_token, batch: 2 sequences, steps: 2, optim: sgd(lr: 0.1), seed: 5"
const loss = (ran: Ran, name: string): number => factsOf(ran, `evaluate ${name}`)["loss"] ?? NaN

test("widening keeps the loss: tied heads, offsets of queries, learned places", () => withFolder(async (place) => {
  place.write("book.txt", sentences(8))
  const ran = await place.run(`use std.growth { widen, widen_gpt }
${recipeOf(`${bookTokens(8)}
model Tied = Llama(vocab: words.size, dim: 8, depth: 2, heads: 2, kv_heads: 1, context: 16, tie: true, qkv_bias: true, std: 0.3)
model Loose = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16, std: 0.3)
model Learned = GPT(vocab: words.size, dim: 8, depth: 2, heads: 2, context: 16, std: 0.3)
model Plain = GPT(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16, bias: false, std: 0.3)
tied = train Tied { ${training} }
loose = train Loose { ${training} }
learned = train Learned { ${training} }
plain = train Plain { ${training} }
wide_tied = widen(tied)
wide_loose = widen(loose)
wide_learned = widen_gpt(learned)
wide_plain = widen_gpt(plain)
grown = train wide_tied { ${training} }
expect perplexity(wide_tied, tokens.valid) + perplexity(tied, tokens.valid) + perplexity(wide_loose, tokens.valid) + perplexity(loose, tokens.valid) > 0
expect perplexity(wide_learned, tokens.valid) + perplexity(learned, tokens.valid) + perplexity(wide_plain, tokens.valid) + perplexity(plain, tokens.valid) > 0
expect perplexity(grown, tokens.valid) > 0
`)}`)
  assert.is(shown(ran), "")
  for (const name of ["tied", "loose", "learned", "plain"]) {
    assert.ok(Math.abs(loss(ran, `wide_${name}`) - loss(ran, name)) < 2e-5, `${name}: ${loss(ran, name)} and ${loss(ran, `wide_${name}`)}`)
  }
  assert.ok(factsOf(ran, "wide_tied")["parameters"]! > 2 * factsOf(ran, "evaluate tied")["parameters"]!)
}))

test("blocks that are shared are the mean of those there were, in a depth-th of their bytes, and learn on", () => withFolder(async (place) => {
  place.write("book.txt", sentences(8))
  const ran = await place.run(`use std.encoders { BERT }
use std.objectives { masked_lm }
use std.pruning { share_blocks }
${recipeOf(`${bookTokens(8)}
model Deep = BERT(vocab: words.size, dim: 8, depth: 3, heads: 2, context: 8, std: 0.3)
fn masked(row: record) -> record = masked_lm(vocab: words.size, mask: 256)(row)
deep = train Deep { ${training.replace("next_token", "masked")} }
one = share_blocks(deep)
healed = train one { ${training.replace("next_token", "masked")} }
expect perplexity(healed, tokens.valid, objective: masked) > 0
`).replace(/use std.objectives \{ next_token \}\n/, "")}`)
  assert.is(shown(ran), "")
  const one = factsOf(ran, "one")
  const block = 4 * (8 * 8 + 8) + 2 * 16 + 2 * 8 * 32 + 32 + 8
  assert.is(one["parameters"], 257 * 8 + 8 * 8 + 16 + block + (8 * 8 + 8 + 16 + 257))
}))

test("a power of its own for each group of maps hurts their results no more than rounding does", () => withFolder(async (place) => {
  place.write("book.txt", sentences(8))
  const ran = await place.run(`use std.quantization { awq, second_moment }
${recipeOf(`${bookTokens(8)}
model Small = Llama(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 16, std: 0.3)
small = train Small { ${training} }
seen = observe(small, data: tokens.train, inputs: second_moment)
scaled = awq(small, seen, int3(group: 16))
rounded = quantize scaled { format: int3(group: 16), keep: [embed, head] }
expect abs(perplexity(scaled, tokens.valid) / perplexity(small, tokens.valid) - 1) < 1e-4
expect perplexity(rounded, tokens.valid) > 0
`).replace(/use std.quantization \{ second_moment \}\n/, "")}`)
  assert.is(shown(ran), "")
  assert.is(ran.status, "done")
}))

test("tables of k-means take their exact room: 3 bits a code, tables for several rows as f16, the same numbers when read back", () => withFolder(async (place) => {
  place.write("book.txt", sentences(8))
  const recipe = recipeOf(`${bookTokens(8)}
model Small = Llama(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 16, std: 0.3)
small = train Small { ${training} }
table = quantize small { format: kmeans(bits: 3), keep: [embed, head] }
shared = quantize small { format: kmeans(bits: 3, rows: 8, half: true), keep: [embed, head] }
chosen = quantize small { format: kmeans(bits: 3, rows: 8, half: true), method: gptq, calibrate: tokens.valid |> take(4), keep: [embed, head] }
tuned = quantize small { format: kmeans(bits: 3, rows: 8, half: true), method: squeezellm, calibrate: tokens.valid |> take(4), keep: [embed, head] }
expect perplexity(table, tokens.valid) + perplexity(shared, tokens.valid) + perplexity(chosen, tokens.valid) + perplexity(tuned, tokens.valid) > 0
`)
  const ran = await place.run(recipe)
  assert.is(shown(ran), "")
  const numbers = 4 * 16 * 16 + 3 * 16 * 64
  const rows = 4 * 16 + 2 * 64 + 16
  const plain = 4 * (2 * 257 * 16 + 3 * 16)
  assert.is(factsOf(ran, "table")["bytes"], plain + (numbers * 3) / 8 + rows * 8 * 4)
  for (const name of ["shared", "chosen", "tuned"]) assert.is(factsOf(ran, name)["bytes"], plain + (numbers * 3) / 8 + (rows / 8) * 8 * 2, name)
  // What the store holds is not larger than it says, but for names and shapes.
  const file = fs.statSync(path.join(ran.out, "artifacts", "shared", "weights.safetensors")).size
  assert.ok(file < factsOf(ran, "shared")["bytes"]! + 4000, `${file}`)
  // What is read back from the store is the same model.
  const again = await place.run(recipe.replace("expect ", "expect evaluate(shared, data: tokens.valid, objective: next_token, batch: 4 sequences).loss > 0\nexpect "))
  assert.is(shown(again), "")
  const [first, second] = again.stages.filter(({ stage }) => stage.name === "evaluate shared").map(({ facts }) => facts["loss"] ?? NaN)
  assert.ok(Math.abs((first ?? NaN) - (second ?? NaN)) < 1e-5, `${first} and ${second}`)
}))

test.run()
