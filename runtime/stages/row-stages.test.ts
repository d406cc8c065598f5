import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Ran, Workplace } from "./testing.ts"
import { problemsOf, recipeOf, withFolder } from "./testing.ts"

const book = "Call me Ishmael. Some years ago, never mind how long precisely.\n\nIt is a way I have of driving off the spleen.\n\nWhenever it is a damp, drizzly November in my soul.\n"

const start = `
rows = text("book.txt") |> documents(by: paragraph)
letters = char(rows)
tokens = rows |> encode(letters) |> pack(length: 12)
model M = Llama(vocab: letters.size, dim: 16, depth: 1, heads: 2, context: 32)
m = train M { data: tokens, objective: next_token, batch: 4 sequences, steps: 8, optim: adamw(lr: 1e-2) }
`

async function ran(place: Workplace, recipe: string): Promise<Ran> {
  place.write("book.txt", book)
  return place.run(recipeOf(recipe))
}

const values = (result: Ran): readonly (number | null)[] => result.expects.flatMap((e) => [e.left, e.right])
const finished = (result: Ran, cached: boolean): readonly string[] => result.stages.filter((s) => s.cached === cached).map((s) => s.stage.kind)

test("rows that a recipe makes: each a function of its number", async () => {
  await withFolder(async (place) => {
    const result = await ran(place, `
pairs = made(100, by: n => { text: "{n * 7 % 10}+{n % 10}", sum: n * 7 % 10 + n % 10, half: n / 2.0 })
letters = char(pairs)
tokens = pairs |> encode(letters) |> pack(length: 4, documents: alone)
model M = Llama(vocab: letters.size, dim: 8, depth: 1, heads: 2, context: 8)
expect pairs.rows == 100
expect letters.size == 13
expect evaluate(initial(M), data: tokens, objective: next_token).loss < 10`)
    assert.equal(problemsOf(result), [])
    assert.equal(values(result).slice(0, 4), [100, 100, 13, 13]) // ten digits, +, end of text, unknown
  })
})

test("a mistake that only a row shows is told at its place", async () => {
  await withFolder(async (place) => {
    const result = await ran(place, `
halves = made(4, by: n => { text: "{n / 2}", chat: [{ role: "user", content: "{n}" }] })
letters = char(halves)
expect letters.size > 0`)
    assert.equal(problemsOf(result).map((line) => line.slice(0, 7)), ["SLM2113"])
    assert.match(result.diagnostics[0]?.message ?? "", "2")
  })
})

test("notes are what the model says of each row, and stand beside it in any order and mixture", async () => {
  await withFolder(async (place) => {
    // The loss of a student on notes of itself is the loss of the model that was asked, whichever rows a batch has.
    const recipe = `${start}
seen = noted(tokens, by: row => { let all = log_softmax(m(next_token(row)).logits)
  { ids: top_k(all, letters.size), inner: { likely: take_along(all, top_k(all, letters.size)) } } })
both = beside(tokens, { said: seen })
let same = (out, batch) => average(sum(abs(take_along(log_softmax(out.logits), batch.ids) - batch.likely), axis: -1), batch.labels >= 0)
let with_notes = row => { let b = next_token(row)
  { tokens: b.tokens, labels: b.labels, at: b.at, ids: row.said.ids, likely: row.said.inner.likely } }
expect evaluate(m, data: both, objective: with_notes, loss: same, batch: 3 sequences).loss < 1e-5
expect evaluate(m, data: both |> take(5), objective: with_notes, loss: same).loss < 1e-5
other = train m { data: 50% both + 50% beside(tokens |> take(4), { said: noted(tokens |> take(4), by: row => { let all = log_softmax(m(next_token(row)).logits)
  { ids: top_k(all, letters.size), inner: { likely: take_along(all, top_k(all, letters.size)) } } }) }), objective: with_notes, loss: (out, batch) => 0.0 * average(out.logits) + same(out, batch), batch: 4 sequences, steps: 2, optim: sgd(lr: 0.0) }
expect evaluate(other, data: both, objective: with_notes, loss: same).loss < 1e-5`
    const first = await ran(place, recipe)
    assert.equal(problemsOf(first), [])
    assert.is(first.expects.filter((e) => e.holds).length, 3)
    const again = await ran(place, `${recipe}\nexpect evaluate(m, data: both, objective: with_notes, loss: same, batch: 2 sequences).loss < 1e-5`)
    assert.equal(problemsOf(again), [])
    assert.ok(finished(again, true).includes("noted") && !finished(again, false).includes("noted"), "the teacher does not run again")
    assert.is(again.expects.filter((e) => e.holds).length, 4, "notes come back from the store as they were")
  })
})

test("a teacher's likeliest tokens: with all of them the loss of a student is that of the teacher itself", async () => {
  await withFolder(async (place) => {
    const result = await ran(place, `${start}
model S = Llama(vocab: letters.size, dim: 8, depth: 1, heads: 2, context: 32)
s = initial(S)
let stored = k => beside(tokens, { taught: top_logits(m, tokens, k: k, numbers: f32) })
let measured = k => evaluate(s, data: stored(k), objective: taught(), loss: follow_stored(share: 1.0)).loss
let direct = evaluate(s, data: tokens, objective: next_token, loss: (out, batch) => 0.0 * average(out.logits) + kl(m(batch).logits, out.logits, labels: batch.labels)).loss
expect abs(measured(letters.size) - direct) < 1e-4
expect measured(4) < direct
expect measured(2) < measured(4)`)
    assert.equal(problemsOf(result), [])
    assert.equal(result.expects.map((e) => e.holds), [true, true, true])
  })
})

test("a teacher with another tokenizer is heard where words end, by how the next one begins", async () => {
  await withFolder(async (place) => {
    const words = "the sea saw the ship and the ship saw the sea so the whale saw the sun and swam away "
    place.write("words.txt", Array.from({ length: 12 }, (_, i) => words.slice(3 * i)).join("\n\n"))
    const recipe = `use std.distill { at_places, follow_words, met, taught }
use std.models { Llama }
use std.optim { adamw }
book = text("words.txt") |> documents(by: paragraph)
own = bpe(book |> take(2), size: 270)
words = bpe(book, size: 290)
tokens = book |> encode(own) |> pack(length: 24)
rows = beside(tokens, { taught: reread(tokens, words, length: 24) })
teacher = train Llama(vocab: words.size, dim: 16, depth: 1, heads: 2) { data: book |> encode(words) |> pack(length: 24), objective: next_token, batch: 4 sequences, steps: 30, optim: adamw(lr: 3e-2) }
model Small = Llama(vocab: own.size, dim: 8, depth: 1, heads: 2)
let told = follow_words(teacher, own, words, share: 1.0)
fn following(steps: int) -> Weights = train(Small, data: rows, objective: taught(), loss: told, batch: 4 sequences, steps: steps, optim: adamw(lr: 3e-2), unused: allow)
let apart = model => evaluate(model, data: rows, objective: taught(), loss: told).loss
// A place without a match has no state of the teacher.
let same = (out, batch) => 0.0 * average(out.logits) + average(at_places(teacher(next_token(batch.taught)).hidden[0], batch.taught.match), rearrange(met(batch) < 0 and batch.taught.match < 0, "b t -> b t 1"))
before = following(1)
after = following(30)
expect apart(before) > 0.3
expect apart(after) < 0.3 * apart(before)
expect evaluate(after, data: rows, objective: taught(), loss: same).loss == 0`
    const result = await place.run(recipe)
    assert.equal(problemsOf(result), [])
    assert.equal(result.expects.map((e) => e.holds), [true, true, true])
    const facts = result.stages.find(({ stage }) => stage.kind === "reread")?.facts ?? {}
    assert.ok((facts["matched"] ?? 0) > 0.3 && (facts["matched"] ?? 1) < 1 && facts["left"] === 0, JSON.stringify(facts))
  })
})

test("continued rows begin as they did; what the model wrote counts, and is what it finds likeliest at temperature 0", async () => {
  await withFolder(async (place) => {
    const recipe = `${start}
own = continued(m, tokens, after: 5, temperature: 0)
drawn = continued(m, tokens, after: 5, seed: 1)
expect own.rows == tokens.rows
expect accuracy(m, own) == 1
expect accuracy(m, drawn) < 1
expect accuracy(m, tokens) < 1`
    const first = await ran(place, recipe)
    assert.equal(problemsOf(first), [])
    assert.equal(first.expects.map((e) => e.holds), [true, true, true, true])
    const again = await ran(place, `${recipe}\nexpect perplexity(m, drawn) > 1`)
    assert.ok(!finished(again, false).includes("continued"), "what was written is kept")
    assert.equal(again.expects.map((e) => e.holds), [true, true, true, true, true])
    assert.equal(again.expects[2]?.left, first.expects[2]?.left)
  })
})

test("answers are compared with what rows say", async () => {
  await withFolder(async (place) => {
    const result = await ran(place, `
rows = made(6, by: n => { text: "{n}: so it is {(n + 1) % 6}.", question: "{n}:", answer: "{(n + 1) % 6}.", wrong: "{n}." })
letters = char(rows)
tokens = rows |> encode(letters) |> pack(length: 20, documents: alone)
model M = Llama(vocab: letters.size, dim: 32, depth: 1, heads: 2, context: 32)
m = train M { data: tokens, objective: next_token, batch: 6 sequences, steps: 150, optim: adamw(lr: 1e-2) }
expect answered(m, data: rows, prompt: "question", answer: "answer", behind: "is", tokens: 20).exact == 1
expect answered(m, data: rows, prompt: "question", answer: "wrong", behind: "is", tokens: 20).exact == 0
expect answered(m, data: rows, prompt: "question", answer: "answer", tokens: 20).exact == 0
expect answered(m, data: rows, prompt: "question", answer: "answer", behind: "never", tokens: 20).exact == 0`)
    assert.equal(problemsOf(result), [])
    assert.equal(result.expects.map((e) => e.holds), [true, true, true, true])
  })
})

test("notes take two bytes a number where that is asked for, or enough: the same from the store", async () => {
  await withFolder(async (place) => {
    const recipe = `${start}
let by = k => row => { let all = log_softmax(m(next_token(row)).logits)
  { ids: top_k(all, k), likely: take_along(all, top_k(all, k)), far: top_k(all, 1) - 5 } }
whole = noted(tokens, by: by(4))
half = noted(tokens, by: by(4), numbers: f16)
let near = notes => beside(tokens, { said: notes })
let objective = row => { let b = next_token(row)
  { tokens: b.tokens, labels: b.labels, at: b.at, said: row.said } }
let off = (out, batch) => 0.0 * average(out.logits) + average(sum(abs(take_along(log_softmax(out.logits), batch.said.ids) - batch.said.likely), axis: -1), batch.labels >= 0)
expect evaluate(m, data: near(whole), objective: objective, loss: off).loss < 1e-5
expect evaluate(m, data: near(half), objective: objective, loss: off).loss < 8e-3
expect evaluate(m, data: near(half), objective: objective, loss: off).loss > 1e-5
expect evaluate(m, data: near(half), objective: objective, loss: (out, batch) => 0.0 * average(out.logits) + average(1.0 * sum(abs(batch.said.far + 5 - top_k(log_softmax(out.logits), 1)), axis: -1), batch.labels >= 0)).loss == 0`
    const first = await ran(place, recipe)
    assert.equal(problemsOf(first), [])
    const places = 12 * (first.stages.find((s) => s.stage.name === "half")?.facts["rows"] ?? NaN)
    const bytes = (name: string) => first.stages.find((s) => s.stage.name === name)?.facts["bytes"]
    assert.equal([bytes("whole"), bytes("half")], [places * (4 * (4 + 2) + 4), places * (4 * (2 + 2) + 4)], "`far` may be below 0, and keeps 4")
    const again = await ran(place, recipe.replace("< 8e-3", "< 7.9e-3").replaceAll("objective: objective, loss: off", "objective: objective, batch: 2 sequences, loss: off"))
    assert.equal(problemsOf(again), [])
    assert.ok(!finished(again, false).includes("noted"))
  })
})

test("rows of two data sets stand beside each other if they are as many", async () => {
  await withFolder(async (place) => {
    place.write("fewer.txt", "One.\n\nTwo.\n")
    const bad = await ran(place, `${start}
fewer = text("fewer.txt") |> documents(by: paragraph) |> encode(letters) |> pack(length: 12, documents: alone)
expect perplexity(m, beside(tokens, { other: fewer })) > 0`)
    assert.equal(bad.diagnostics.map((d) => d.code), ["SLM3145"])
  })
})

test("on its own texts a student comes closer to its teacher there, and preferences turn a model to the better texts", async () => {
  await withFolder(async (place) => {
    const result = await ran(place, `${start}
model S = Llama(vocab: letters.size, dim: 8, depth: 1, heads: 2, context: 32)
s = initial(S)
better = on_policy(m, s, prompts: tokens, rounds: 2, steps: 10, after: 4, batch: 4 sequences, optim: adamw(lr: 1e-2))
let distance = model => evaluate(model, data: continued(model, tokens, after: 4, seed: 9), objective: next_token,
  loss: (out, batch) => 0.0 * average(out.logits) + reverse_kl(m(batch).logits, out.logits, labels: batch.labels)).loss
expect distance(better) < 0.5 * distance(s)
whole = rows |> encode(letters) |> pack(length: 30, documents: alone)
pairs = beside(whole, { rejected: continued(m, whole, after: 4) })
turned = train m { data: pairs, objective: preferences, loss: dpo(m, beta: 0.5), batch: 3 sequences, steps: 10, optim: adamw(lr: 3e-3) }
expect evaluate(m, data: pairs, objective: preferences, loss: preferred(m)).loss == 0
expect evaluate(turned, data: pairs, objective: preferences, loss: preferred(m)).loss == 1
expect evaluate(turned, data: pairs, objective: preferences, loss: dpo(m, beta: 0.5)).loss < 0.5`)
    assert.equal(problemsOf(result), [])
    assert.equal(result.expects.map((e) => e.holds), [true, true, true, true])
  })
})

// The base knows two kinds of rows, and tells by what stands before which it reads. What is trained before the text tells it the same.
const twoKinds = `
let rows_of = often => made(64, by: n => { text: if n % often == 0 then "k pqk pqk pqk" else "k xyk xyk xyk", question: "k ", answer: "pqk" })
seldom = rows_of(4)
only_pq = rows_of(1)
letters = char(seldom)
tokens = seldom |> encode(letters) |> pack(length: 14, documents: alone)
special = only_pq |> encode(letters) |> pack(length: 14, documents: alone)
model M = Llama(vocab: letters.size, dim: 16, depth: 2, heads: 2, context: 20, tie: true)
m = train M { data: tokens, objective: next_token, batch: 16 sequences, steps: 120, optim: adamw(lr: 1e-2) }
packed = quantize m { format: int8 }
wrapped = packed with { at embed: e => SoftPrompt(e, count: 2) }
let steered = prompted(next_token, letters.size, count: 2)
let turns = model => answered(model, data: only_pq, prompt: "question", before: soft_ids(letters.size, 2), tokens: 3).exact
`

test("a soft prompt turns what a model writes, lowers the loss there, and is kept apart from its base", async () => {
  await withFolder(async (place) => {
    const made = await ran(place, `${twoKinds}
soft = train wrapped { data: special, objective: steered, only: [embed.prompt], batch: 16 sequences, steps: 80, optim: adamw(lr: 5e-2) }
expect evaluate(packed, data: special, objective: next_token).loss > 0.05
expect evaluate(soft, data: special, objective: steered).loss < 0.02
expect perplexity(soft, special) == perplexity(packed, special)
expect perplexity(detach(soft, [embed]), special) == perplexity(packed, special)
expect turns(soft) == 1
expect turns(initial(wrapped)) == 0
expect answered(soft, data: only_pq, prompt: "question", tokens: 3).exact == 0
said = generate soft { prompts: ["k "], before: soft_ids(letters.size, 2), temperature: 0, tokens: 11 }
unsaid = generate soft { prompts: ["k "], temperature: 0, tokens: 11 }
export soft { weights: "soft.safetensors", only: [embed.prompt] }`)
    assert.equal(problemsOf(made), [])
    assert.equal(made.expects.map((e) => e.holds), Array(7).fill(true))
    const samples = made.events.flatMap((e) => (e.event === "sample" && /said$/.test(e.stage.name) ? [e.text] : []))
    assert.equal(samples, ["pqk pqk pqk", "xyk xyk xyk"])
    const laid = await ran(place, `${twoKinds}
again = overlay(wrapped, "out/soft.safetensors")
expect turns(again) == 1
expect evaluate(again, data: special, objective: steered).loss < 0.02`)
    assert.equal(problemsOf(laid), [])
    assert.is(laid.expects[1]?.left, made.expects[1]?.left, "to the bit")
    const foreign = await ran(place, `${twoKinds}
export wrapped { gguf: "soft.gguf" }
expect evaluate(wrapped, data: special, objective: steered).loss > 0
expect turns(wrapped) == 0`)
    assert.equal(problemsOf(foreign).map((line) => line.slice(0, 7)), ["SLM3222"])
  })
})

test.run()
