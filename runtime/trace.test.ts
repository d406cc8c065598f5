import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Device, Runner } from "./device.ts"
import { createReference } from "./devices/reference.ts"
import { bookTokens, recipeOf, sentences, withFolder } from "./stages/testing.ts"
import { divergences } from "./trace.ts"

const recipe = recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 44, optim: sgd(lr: 0.1) }
`)

/** The reference device, which after one step of the training spoils a weight. */
function faulty(step: number, weight: string): Device {
  const device = createReference()
  let steps = 0
  const around = (runner: Runner): Runner => ({
    ...runner,
    async step(batch) {
      const result = await runner.step(batch)
      if (++steps === step) {
        const value = await runner.read(weight)
        await runner.write(weight, { ...value, data: Float32Array.from(value.data, (x) => x * 1.5) })
      }
      return result
    },
  })
  return { ...device, load: async (program) => (program.name === "result step" ? around(await device.load(program)) : device.load(program)) }
}

test("two runs that agree have no divergence; of two that do not, the step and the weights are named", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const run = (device: Device): Promise<{ readonly events: Parameters<typeof divergences>[0] }> => place.run(recipe, { device, fresh: true })
  const [a, b] = [await run(createReference()), await run(createReference())]
  assert.equal(divergences(a.events, b.events), [])
  assert.is(a.events.filter((e) => e.event === "trace").map((e) => (e.event === "trace" ? e.steps : "")).join("").length, 8 * 44)
  const [found, ...more] = divergences(a.events, (await run(faulty(17, "model.head.weight"))).events)
  assert.is(found?.name, "result")
  assert.is(found?.step, 18)
  assert.is(found?.seenAt, 22)
  assert.ok(found?.states.includes("model.head.weight"))
  assert.equal(more, [])
  // A fault of the last step changes no loss any more.
  const [last] = divergences(a.events, (await run(faulty(44, "model.head.weight"))).events)
  assert.equal([last?.step, last?.seenAt, last?.states], [null, 44, ["model.head.weight"]])
}))

test("a run that was stopped early is compared as far as it went", () => {
  const stage = { key: "k", name: "n", kind: "train" } as const
  const trace = (step: number, steps: string) => ({ event: "trace", stage, step, steps, states: null }) as const
  assert.equal(divergences([trace(1, "aaaaaaaa"), trace(2, "bbbbbbbb")], [trace(1, "aaaaaaaa")]), [])
  assert.is(divergences([trace(1, "aaaaaaaa"), trace(2, "bbbbbbbb")], [trace(2, "aaaaaaaacccccccc")])[0]?.step, 2)
})

test.run()
