import { test } from "uvu"
import * as assert from "uvu/assert"
import { display } from "./describe.ts"
import { createMachine } from "./machine.ts"
import { checkText } from "./check-text.fixture.ts"

const recipe = `use std.models { Llama }
use std.optim { adamw }

/// How long.
param steps: int = 10
param rate = 1e-3

book = text("book.txt") |> split(valid: 10%)
words = bpe(book.train, size: 512)
tokens = book |> encode(words) |> pack(length: 16)
model Small = Llama(vocab: words.size, dim: 32, depth: 2, heads: 2)
student = train Small { data: tokens.train, objective: next_token, optim: adamw(lr: rate), steps: steps }
expect perplexity(student, tokens.valid) < 100
expect words.size * 2 > 700
`

test("a recipe: its stages in order, its bindings, parameters and conditions", () => {
  const { recipe: found, diagnostics } = checkText(recipe)
  assert.equal(diagnostics, [])
  assert.equal(found?.stages.map((s) => `${s.kind} ${s.name}`), [
    "text book/text", "split book", "bpe words", "encode tokens/encode", "pack tokens", "train student", "evaluate evaluate student",
  ])
  for (const [i, stage] of found?.stages.entries() ?? []) for (const input of stage.inputs) assert.ok((found?.stages.indexOf(input) ?? -1) < i)
  assert.equal([...(found?.bindings.keys() ?? [])], ["steps", "rate", "book", "words", "tokens", "Small", "student"])
  assert.equal(found?.params.map((p) => [p.name, p.type, p.text, p.doc]), [["steps", "int", "10", "How long."], ["rate", null, "0.001", null]])
  const [first, second] = found?.expects ?? []
  assert.is(first?.text, "perplexity(student, tokens.valid) < 100")
  assert.is(first?.condition.value, null)
  assert.equal(first?.inputs.map((s) => s.kind), ["evaluate"])
  assert.equal(second?.inputs.map((s) => s.kind), ["bpe"])
})

test("facts decide conditions, and are shown", () => {
  const stages = checkText(recipe).recipe?.stages ?? []
  const key = (kind: string): string => stages.find((s) => s.kind === kind)?.key ?? ""
  const facts = new Map([[`${key("bpe")}.size`, 300], [`${key("evaluate")}.perplexity`, 42]])
  const { recipe: found, session } = checkText(recipe, { facts })
  assert.equal(found?.expects.map((e) => e.condition.value), [true, false])
  const side = found?.expects[1]?.comparison?.left
  assert.is(side === undefined ? null : display(side, createMachine(session)), "600")
})

test("a requirement that depends on a fact is decided when the fact is there", () => {
  const text = recipe.replace("dim: 32", "dim: words.size").replace("heads: 2", "heads: 8")
  const first = checkText(text)
  assert.equal(first.diagnostics, [])
  const size = `${first.recipe?.stages.find((s) => s.kind === "bpe")?.key ?? ""}.size`
  assert.equal(checkText(text, { facts: new Map([[size, 512]]) }).diagnostics, [])
  const wrong = checkText(text, { facts: new Map([[size, 500]]) })
  assert.equal(wrong.diagnostics.map((d) => [d.code, d.message]), [["SLM2200", "8 heads cannot share 500 features"]])
})

test("settings replace parameters, and enter the keys", () => {
  const key = (params: Record<string, string>): string => {
    const { recipe: found, diagnostics } = checkText(recipe, { params })
    assert.equal(diagnostics, [])
    return found?.stages.find((s) => s.kind === "train")?.key ?? ""
  }
  assert.is(key({}), key({ steps: "10", rate: "0.001" }))
  assert.is.not(key({}), key({ steps: "20" }))
  assert.is.not(key({ rate: "1e-2" }), key({ rate: "2e-2" }))
  assert.equal(checkText(recipe, { params: { rate: "fast", step: "3" } }).diagnostics.map((d) => d.code), ["SLM2301", "SLM2302"])
})

test("one mistake is reported once, independent ones together", () => {
  const { diagnostics } = checkText(recipe.replace("size: 512", "sise: 512").replace("depth: 2", "depth: -2").replace("lr: rate", "lr: rte"))
  assert.equal(diagnostics.map((d) => d.code), ["SLM2014", "SLM2001"])
  const { diagnostics: blocks } = checkText(recipe.replace("heads: 2", "heads: 2, kv_heads: 5, hidden: 33"))
  assert.is(blocks.length, 1)
})

test("a mistake inside of the library is shown where the recipe calls it", () => {
  const { diagnostics } = checkText('use std.layers { Linear }\nlayer A() {\n  part a = Linear(8, 8)\n  forward(x: float[B, 9]) -> float[B, 8] { a(x) }\n}\n')
  assert.equal(diagnostics.map((d) => [d.code, d.span.source]), [["SLM2102", "test.slm"]])
})

test.run()
