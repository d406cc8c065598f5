import { test } from "uvu"
import * as assert from "uvu/assert"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { HostTensor } from "../device.ts"
import { keptOnHost } from "./handed.ts"
import type { Stepper } from "./stepper.ts"
import type { LoopOptions, Progress } from "./training.ts"
import { runTraining, untrained, validationEvery } from "./training.ts"
import { nothingMeasured } from "./validation.ts"
import type { Validated } from "./validation.ts"

const value = (x: number): HostTensor => ({ shape: [], dtype: "f32", data: Float32Array.of(x) })
const lowered = { weights: [{ name: "model.w", kept: true, trained: true }], optimizer: [] } as unknown as LoweredTraining

/** A training whose weight counts the steps and whose losses are given. */
function fixture(losses: (step: number) => number): { options: LoopOptions; weight: () => number; progress: Progress[]; warnings: string[]; samples: string[] } {
  let w = 0
  const stepper: Stepper = {
    step: async (_, step) => {
      w = step
      return { loss: losses(step), gradNorm: 1, lr: null }
    },
    read: async () => new Map([["model.w", value(w)]]),
    give: async () => {}, keep: async () => keptOnHost(new Map([["model.w", value(w)]])), hashes: async () => ({ "model.w": String(w) }),
    write: async (states) => { w = states.get("model.w")?.data[0] ?? 0 },
    dispose: () => {},
  }
  const progress: Progress[] = []
  const warnings: string[] = []
  const samples: string[] = []
  const options: LoopOptions = {
    lowered, stepper, total: 100, batches: () => [], validate: null, keepBest: false,
    sample: async (share) => { samples.push(`${share}: ${w}`) },
    report: (p) => { progress.push(p) }, warn: (message) => { warnings.push(message) }, signal: null, clock: () => 0,
    trace: () => {}, saver: null, stopAfter: null,
  }
  return { options, weight: () => w, progress, warnings, samples }
}

const start = untrained(new Map())

const validated = (valid: number): Validated => ({ valid, score: valid, measured: nothingMeasured })

test("every step is made, and the model is sampled at 0, 25, 50 and 100%", async () => {
  const { options, samples, progress } = fixture((step) => 1 / step)
  const result = await runTraining(start, options)
  assert.is(result.is, "done")
  assert.equal(samples, ["0: 0", "0.25: 25", "0.5: 50", "1: 100"])
  assert.is(progress.length, 100)
  assert.is(progress.at(-1)?.step, 100)
})

test("steps made in one go give the same results, and end where somebody looks", async () => {
  const run = async (together: boolean): Promise<{ readonly seen: readonly string[]; readonly sizes: readonly number[]; readonly loss: number }> => {
    const { options, weight } = fixture((step) => 1 / step)
    const [seen, sizes] = [[] as string[], [] as number[]]
    const { stepper } = options
    let now = 0
    const several: NonNullable<Stepper["steps"]> = async (batches, first) => {
      sizes.push(batches.length)
      const all = []
      for (const [i, batch] of batches.entries()) all.push(await stepper.step(batch, first + i))
      return all
    }
    const result = await runTraining(start, {
      ...options, total: 4000, clock: () => (now += 1e-4), stepper: together ? { ...stepper, steps: several } : stepper,
      validate: async () => { seen.push(`valid ${weight()}`); return validated(1) }, report: (p, fixed) => { if (fixed) seen.push(`${p.step} ${p.loss}`) },
      trace: (step, steps, states) => { seen.push(`trace ${step} ${steps} ${states["model.w"]}`) },
    })
    return { seen, sizes, loss: result.is === "done" ? result.loss : NaN }
  }
  const [alone, together] = [await run(false), await run(true)]
  assert.equal(together.seen, alone.seen)
  assert.is(together.loss, alone.loss)
  assert.ok(Math.max(...together.sizes) > 4, String(together.sizes))
})

test("the best weights are those of the lowest score, where a score is asked for", async () => {
  const { options, weight } = fixture(() => 1)
  const result = await runTraining(start, { ...options, keepBest: true, validate: async () => ({ ...validated(weight()), score: Math.abs(weight() - 60), measured: { losses: {}, metrics: { weight: weight() } } }) })
  if (result.is !== "done") throw new Error(result.is)
  assert.equal([result.state.best?.step, result.state.best?.valid, result.state.best?.measured.metrics, result.state.tally.measured.metrics], [60, 60, { weight: 60 }, { weight: 100 }])
})

test("about twenty validations, the last step among them", async () => {
  assert.equal([1, 7, 100, 301].map(validationEvery), [1, 1, 5, 16])
  const { options, weight } = fixture(() => 1)
  const at: number[] = []
  await runTraining(start, { ...options, total: 301, validate: async () => { at.push(weight()); return validated(1) } })
  assert.is(at.length, 19)
  assert.is(at.at(-1), 301)
})

test("the best weights are those of the lowest validation loss", async () => {
  const { options, weight } = fixture(() => 1)
  const valid = (w: number): number => Math.abs(w - 40) + 1
  const result = await runTraining(start, { ...options, keepBest: true, validate: async () => validated(valid(weight())) })
  if (result.is !== "done") throw new Error(result.is)
  assert.is(result.state.best?.step, 40)
  assert.is(result.state.best?.weights.get("model.w")?.data[0], 40)
  assert.is(result.state.tally.valid, 61)
})

test("a loss that is not a number stops the training with its step", async () => {
  const { options } = fixture((step) => (step === 17 ? NaN : 2))
  const result = await runTraining(start, options)
  if (result.is !== "diverged") throw new Error(result.is)
  assert.is(result.step, 17)
  assert.is(result.lastLoss, 2)
})

test("overfitting is said once", async () => {
  const { options, weight, warnings } = fixture((step) => 1 / step)
  await runTraining(start, { ...options, validate: async () => validated(1 + Math.abs(weight() - 50) / 50) })
  assert.is(warnings.length, 1)
  assert.match(warnings[0] ?? "", "validation loss rises (1.000 at step 50, 1.300 at step 65)")
})

test("an interrupted training goes on where it stopped", async () => {
  const { options } = fixture(() => 1)
  const controller = new AbortController()
  const stopped = await runTraining(start, { ...options, signal: controller.signal, report: ({ step }) => { if (step === 30) controller.abort() } })
  if (stopped.is !== "interrupted") throw new Error(stopped.is)
  assert.is(stopped.state.step, 30)
  await options.stepper.write(stopped.state.states)
  const steps: number[] = []
  const result = await runTraining(stopped.state, { ...options, batches: (step) => { steps.push(step); return [] } })
  assert.is(result.is, "done")
  assert.is(steps[0], 31)
  assert.is(steps.length, 70)
})

test("the reported loss is the mean since the last report", async () => {
  const { options, progress } = fixture((step) => step)
  await runTraining(start, { ...options, total: 1000 })
  assert.equal(progress.slice(0, 3).map(({ step, loss }) => [step, loss]), [[1, 1], [5, 3.5], [10, 8]])
})

test.run()
