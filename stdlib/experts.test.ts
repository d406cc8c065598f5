import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../compiler/check/check.ts"
import { dot, forward, furthest, linear, matrix, parameters, softmax, type Matrix } from "./architectures.fixture.ts"
import { environment } from "./testing.ts"

test("Mixtral 8x7B has the published number of parameters", () => {
  assert.is(parameters("Mixtral(vocab: 32000, dim: 4096, depth: 32, heads: 32, kv_heads: 8, hidden: 14336)", "experts"), 46_702_792_704)
})

/** A model that is a table of tokens and a mixture. */
const table = `use std.layers { Embedding }
model Alone(active: int, capacity: float = 1.25, std: float) {
  part embed = Embedding(7, 6, std: 1.0)
  part mlp = Experts(6, 5, 4, active: active, capacity: capacity, std: std)

  forward(tokens: int[B, T]) { { logits: mlp(embed(tokens)).state } }
}
`

const tokens = [[3, 1, 4, 1, 5, 2], [6, 5, 3, 5, 0, 2]]
const batch = { tokens, at: { positions: tokens.map((row) => row.map((_, i) => i)), segments: tokens.map((row) => row.map((_, i) => (i < 4 ? 0 : 1))) } }

for (const active of [1, 2, 3]) {
  test(`with room for all, experts that take tokens are experts that are everywhere: ${active} active of 4`, () => {
    const model = `Mixtral(vocab: 7, dim: 8, depth: 2, heads: 2, experts: 4, active: ${active}, capacity: 4.0, hidden: 12, std: 0.5)`
    const [inTraining, elsewhere] = [forward(model, "experts", batch, true), forward(model, "experts", batch)]
    for (const path of ["logits", "hidden[0]", "hidden[1]"]) assert.ok(furthest(inTraining.get(path), matrix(elsewhere.get(path).data, 1)) < 1e-4, path)
    assert.ok(Math.abs((inTraining.get("balance").data[0] ?? NaN) - (elsewhere.get("balance").data[0] ?? NaN)) < 1e-5)
  })
}

/** `Experts` behind a table of tokens, so that it is called as models are. */
const alone = (options: string) => `Alone(${options})`

test("a token's output is that of its likeliest experts, by their shares", () => {
  const found = forward(alone("active: 2, std: 0.5"), "experts", { tokens }, false, table)
  const w = found.weights
  const x = tokens.flat().map((t) => w("embed.weight")[t] ?? [])
  const part = (name: string, e: number, rows: number): Matrix => w(`mlp.${name}`).slice(e * rows, (e + 1) * rows)
  const wanted = linear(x, w("mlp.router.weight")).map((scores, n) => {
    const shares = softmax(scores)
    const best = shares.map((_, e) => e).sort((a, b) => (shares[b] ?? 0) - (shares[a] ?? 0)).slice(0, 2)
    const total = best.reduce((sum, e) => sum + (shares[e] ?? 0), 0)
    return best.map((e) => {
      const [gate, up] = [linear([x[n] ?? []], part("gate", e, 5))[0] ?? [], linear([x[n] ?? []], part("up", e, 5))[0] ?? []]
      const inner = gate.map((g, i) => (g / (1 + Math.exp(-g))) * (up[i] ?? NaN))
      return part("down", e, 6).map((row) => ((shares[e] ?? 0) / total) * dot(row, inner))
    }).reduce((a, b) => a.map((v, i) => v + (b[i] ?? NaN)))
  })
  assert.ok(furthest(found.get("logits"), wanted) < 1e-4)
})

test("what finds no place is passed by, in the order of the batch", () => {
  const all = matrix(forward(alone("active: 1, capacity: 4.0, std: 0.5"), "experts", { tokens }, true, table).get("logits").data, 6)
  const few = forward(alone("active: 1, capacity: 1.0, std: 0.5"), "experts", { tokens }, true, table)
  const x = tokens.flat().map((t) => few.weights("embed.weight")[t] ?? [])
  const choices = linear(x, few.weights("mlp.router.weight")).map((row) => row.indexOf(Math.max(...row)))
  const kept = choices.map((e, n) => choices.slice(0, n).filter((other) => other === e).length < 3) // 12 tokens, 4 experts
  assert.ok(kept.includes(false) && kept.includes(true))
  assert.ok(furthest(few.get("logits"), all.map((row, n) => row.map((v) => (kept[n] === true ? v : 0)))) < 1e-5)
})

test("a model whose sizes only the batch decides can be evaluated, and its expectations wait for it", () => {
  const text = `use std.experts { Mixtral, balanced }
use std.optim { sgd }
tokens = text("book.txt") |> encode(byte()) |> pack(length: 8)
sparse = train Mixtral(vocab: byte().size, dim: 8, depth: 1, heads: 2, experts: 4) { data: tokens, objective: next_token, loss: balanced(), optim: sgd(lr: 0.1), steps: 1 }
expect perplexity(sparse, tokens) < 1000`
  const checked = check({ id: "test.slm", text }, environment)
  assert.equal(checked.diagnostics.map((d) => d.message), [])
  assert.equal(checked.recipe?.expects.map((e) => e.text), ["perplexity(sparse, tokens) < 1000"])
})

test.run()
