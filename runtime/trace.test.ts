import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Device } from "./device.ts"
import { createReference } from "./devices/reference.ts"
import { faulty } from "./faulty.fixture.ts"
import { bookTokens, recipeOf, sentences, withFolder } from "./stages/testing.ts"
import type { Event } from "./stages/events.ts"
import type { Moment } from "./trace.ts"
import { commonSteps, divergence, readTrace, writeTrace } from "./trace.ts"

const recipe = recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 44, optim: sgd(lr: 0.1) }
`)

const moments = (ran: { readonly events: readonly Event[] }): readonly Moment[] => ran.events.flatMap((e) => (e.event === "trace" ? [e] : []))

test("two runs that agree have no divergence; of two that do not, the step and the weights are named", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const run = async (device: Device): Promise<readonly Moment[]> => moments(await place.run(recipe, { device, fresh: true }))
  const [a, b] = [await run(createReference()), await run(createReference())]
  assert.is(divergence(a, b), null)
  assert.is(commonSteps(a, b), 44)
  assert.equal(a.map(({ step }) => step), [1, 2, 3, 4, 6, 8, 9, 12, 15, 16, 18, 21, 24, 27, 30, 32, 33, 36, 39, 42, 44])
  const found = divergence(a, await run(faulty("result", 17, "model.head.weight", 1.5)))
  assert.equal([found?.step, found?.equalAt, found?.seenAt], [18, 16, 18])
  assert.ok(found?.states.includes("model.head.weight"))
  // A fault of the last step changes no loss any more.
  const last = divergence(a, await run(faulty("result", 44, "model.head.weight", 1.5)))
  assert.equal([last?.step, last?.seenAt, last?.states], [null, 44, ["model.head.weight"]])
}))

test("a result brings its record along, and a training can be stopped to be compared", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const whole = await place.run(recipe)
  const kept = readTrace(fs.readFileSync(path.join(whole.out, "artifacts", "result", "trace.json")))
  assert.equal(kept, moments(whole).map(({ step, steps, states }) => ({ step, steps, states })))
  const some = await place.run(recipe, { stopAfter: 5, fresh: true })
  assert.is(some.status, "interrupted")
  assert.is(commonSteps(kept ?? [], moments(some)), 5)
  assert.is(divergence(kept ?? [], moments(some)), null)
  assert.is(readTrace(Uint8Array.of(91)), null)
  assert.equal(readTrace(writeTrace([])), [])
}))

test("a run that was stopped early is compared as far as it went", () => {
  const at = (step: number, steps: string): Moment => ({ step, steps, states: {} })
  assert.is(divergence([at(1, "aaaaaaaa"), at(2, "bbbbbbbb")], [at(1, "aaaaaaaa")]), null)
  assert.is(divergence([at(1, "aaaaaaaa"), at(2, "bbbbbbbb")], [at(2, "aaaaaaaacccccccc")])?.step, 2)
})

test.run()
