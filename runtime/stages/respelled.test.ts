/** Augmentation through models: what a masked model fills in, and texts that go there and back. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Ran } from "./testing.ts"
import { problemsOf, withFolder } from "./testing.ts"

const made = (ran: Ran, kind: string): readonly string[] => ran.events.flatMap((e) => (e.event === "stage-finished" && e.stage.kind === kind ? [e.stage.name] : []))

// The letter behind `a` is b, behind `c` d, …: what is hidden between others can be told.
const rows = `use std.encoders { BERT }
use std.objectives { masked_lm }
use std.optim { adamw }
use std.tasks { refilled }
let pair = n => ["ab", "cd", "ef", "gh"][n % 4]
rows = made(24, by: n => { text: "{pair(n * 5 % 7)}{pair(n * 3 % 5)}{pair(n)}", number: n })
words = bpe(rows, size: 259, special: ["<|mask|>"])
model Reader = BERT(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 24)
reader = train Reader { data: rows |> encode(words) |> pack(length: 20), objective: masked_lm(vocab: words.size), batch: 8 sequences, steps: 60, optim: adamw(lr: 1e-2) }
`

test("what is hidden is filled in by a model: the same for a seed, other texts for another, and only texts that changed", () => withFolder(async (place) => {
  const recipe = `${rows}
filled = refilled(reader, rows, words, length: 20, share: 30%, temperature: 1.5, seed: 3)
other = refilled(reader, rows, words, length: 20, share: 30%, temperature: 1.5, seed: 4)
sure = refilled(reader, rows, words, length: 20, share: 15%, temperature: 0.01)
letters = char(filled)
expect filled.rows > 2
expect filled.rows < 25
expect sure.rows < filled.rows
expect letters.size > 2
expect other.rows > 0
`
  const ran = await place.run(recipe)
  assert.equal(problemsOf(ran), [])
  const textsOf = async (from: Ran, name: string): Promise<readonly string[]> => {
    const stage = from.stages.find((s) => s.stage.name === name)
    const found = stage === undefined ? null : await from.result({ key: stage.stage.key } as Parameters<Ran["result"]>[0])
    const column = found?.is === "rows" ? found.members.get("")?.columns.get("text") : undefined
    return column?.is === "string" ? column.values : []
  }
  const [filled, other] = [await textsOf(ran, "filled"), await textsOf(ran, "other")]
  assert.ok(filled.length > 2 && filled.join() !== other.join())
  // No control token is drawn, and nothing is lost: texts keep their number of tokens.
  assert.ok(filled.every((text) => text.length >= 3 && !text.includes("<|")), filled.join(" "))

  const again = await place.run(recipe)
  assert.equal(made(again, "noted"), [], "what was drawn is kept")
  assert.equal(await textsOf(again, "filled"), filled)
}))

test("notes that spell nothing, and tokens of other rows, are refused", () => withFolder(async (place) => {
  const problems = async (lines: string): Promise<readonly string[]> => problemsOf(await place.run(`use std.objectives { next_token }
rows = made(4, by: n => { text: "{n}{n}" })
others = made(4, by: n => { text: "{n}" })
words = byte()
tokens = rows |> encode(words) |> pack(length: 4)
foreign = others |> encode(words) |> pack(length: 4)
${lines}
expect x.rows > 0`))
  assert.equal(await problems("x = respelled(rows, foreign, noted(foreign, by: row => { ids: next_token(row).tokens }))"), ["SLM2110 these tokens are not made of the rows of `rows`"])
  assert.equal(await problems("x = respelled(rows, tokens, noted(foreign, by: row => { ids: next_token(row).tokens }))"), ["SLM2110 these are notes on the rows of `foreign`, not of these"])
  assert.equal(await problems("x = respelled(rows, tokens, noted(tokens, by: row => { ids: to_float(next_token(row).tokens) }))"), ["SLM2110 texts are spelled by whole numbers `ids`, one for each of the `length` tokens of a row"])
  assert.equal(await problems("x = respelled(rows, tokens, noted(tokens, by: row => { ids: row.tokens }))"), ["SLM2110 texts are spelled by whole numbers `ids`, one for each of the `length` tokens of a row"])
}))

test("texts go there and back: another form of the same, and nothing that means something else", () => withFolder(async (place) => {
  const ran = await place.run(`use std.seq2seq { T5, pairs, rewriting }
use std.optim { adamw }
use std.tasks { paraphrased }
let color = n => ["red", "blue", "gold"][n % 3]
let phrase = n => ["{color(n)} one", "a {color(n)}"][n * 5 % 7 % 2]
rows = made(24, by: n => { prompt: phrase(n), answer: "{color(n)}" })
letters = char(rows |> each_row(row => { text: row.prompt }))
model M = T5(vocab: letters.size, dim: 16, depth: 1, heads: 2, buckets: 16, furthest: 12)
let opt = adamw(lr: 2e-2)
there = train M { data: pairs(rows, letters, length: 10), objective: rewriting, batch: 24 sequences, steps: 60, optim: opt }
back = train M { data: pairs(rows |> each_row(row => { prompt: row.answer, answer: row.prompt }), letters, length: 10), objective: rewriting, batch: 24 sequences, steps: 60, optim: opt }
more = paraphrased(there, back, made(6, by: n => { text: "{color(n)} one", number: n }), count: 4, tokens: 10, temperature: 1.0, seed: 1)
expect more.rows > 2
`)
  assert.equal(problemsOf(ran), [])
  const stage = ran.stages.find((s) => s.stage.name === "more")
  const found = stage === undefined ? null : await ran.result({ key: stage.stage.key } as Parameters<Ran["result"]>[0])
  const rows = found?.is === "rows" ? found.members.get("") : undefined
  const of = (name: string): readonly string[] => { const column = rows?.columns.get(name); return column?.is === "string" ? column.values : [] }
  assert.ok(of("text").length > 2)
  assert.ok(of("text").every((text, i) => text !== of("before")[i] && of("again")[i] === of("form")[i]))
  assert.ok(of("text").some((text, i) => text === `a ${of("form")[i]}`), of("text").join(", "))
}))

test.run()
