/** Which weights a training yields: with validation those that did best, unless the recipe says otherwise. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"
import type { Ran } from "./testing.ts"

/** A training that overshoots: the rate of learning grows until nothing is left of what was learnt. */
const training = (fields: string): string => recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
fn rising() -> schedule = (step, total) => if step <= 8 then 3e-2 else 2.0
result = train Tiny { data: tokens.train, objective: next_token, steps: 12, optim: adamw(lr: rising()), ${fields} }
measured = evaluate(result, data: tokens.valid, objective: next_token)
`)

const weights = (ran: Ran): string => fs.readFileSync(path.join(ran.out, "artifacts", "result", "weights.safetensors"), "hex")

async function ranWith<T>(fields: string, use: (ran: Ran) => T): Promise<T> {
  return withFolder(async (place) => {
    place.write("book.txt", sentences(20))
    const ran = await place.run(training(fields))
    assert.equal(problemsOf(ran), [])
    return use(ran)
  })
}

test("with `valid` the best weights are kept, and the loss of the last is told", async () => {
  const best = await ranWith("valid: tokens.valid", (ran) => ({ facts: factsOf(ran, "result"), weights: weights(ran), measured: factsOf(ran, "measured") }))
  const last = await ranWith("valid: tokens.valid, keep: last", (ran) => ({ facts: factsOf(ran, "result"), weights: weights(ran), measured: factsOf(ran, "measured") }))
  const { valid = NaN, best_step: step = NaN, last_valid: after = NaN } = best.facts
  assert.ok(step >= 4 && step <= 9, `best at step ${step}`)
  assert.ok(after > 1.1 * valid, `${valid} at step ${step}, ${after} at the end`)
  assert.is(last.facts["valid"], after)
  assert.is(last.facts["best_step"], undefined)
  assert.is.not(best.weights, last.weights)
  assert.ok(Math.abs((best.measured["loss"] ?? NaN) - valid) < 1e-5, "the weights that are kept are those that were measured")
  assert.is((await ranWith("valid: tokens.valid, keep: best", weights)), best.weights)
})

test("without `valid` there is no best: the last weights are kept", async () => {
  const facts = await ranWith("seed: 1", (ran) => factsOf(ran, "result"))
  assert.equal(Object.keys(facts).sort(), ["loss", "steps"])
})

test.run()
