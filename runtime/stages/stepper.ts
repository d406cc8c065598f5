/** One optimiser step on a device, whether it takes one batch or several micro-batches; and its whole state, in and out. */
import type { Accumulation, LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { Program } from "../../compiler/graph/node.ts"
import type { Device, HostTensor, Runner } from "../device.ts"
import { give, hashes, keep } from "./handed.ts"
import type { Kept } from "./handed.ts"
import { ids, optional, readStates, scalar, stateNames, taken, writeStates, zeros } from "./feeds.ts"

export type Batch = Readonly<Record<string, HostTensor>>
export type States = ReadonlyMap<string, HostTensor>

export interface StepMetrics {
  /** The loss of the whole step: sum over terms of weight * sum / count. */
  readonly loss: number
  readonly gradNorm: number
  readonly lr: number | null
}

export interface Stepper {
  /** Step number `step` (1, 2, …) over its micro-batches. */
  step(batches: readonly Batch[], step: number): Promise<StepMetrics>
  /** Steps number `first`, `first` + 1, …: their metrics come together. */
  steps?(batches: readonly (readonly Batch[])[], first: number): Promise<readonly StepMetrics[]>
  /** Weights (frozen ones too) and optimiser states. With the number of steps done, this is all that a training is. */
  read(names?: ReadonlySet<string>): Promise<Map<string, HostTensor>>
  write(states: States): Promise<void>
  /** Sets states of another program, by their names there, to those of this moment. */
  give(to: Runner, names: ReadonlyMap<string, string>): Promise<void>
  /** A copy of states, which later steps do not change. */
  keep(names: ReadonlySet<string>): Promise<Kept>
  /** A short hash of each state. */
  hashes(names: ReadonlySet<string>): Promise<Readonly<Record<string, string>>>
  dispose(): void
}

/** Loads the programs and sets their states. `states` must hold all of them. `most`: bytes of the program that has gradients. */
export async function createStepper(device: Device, lowered: LoweredTraining, seed: number, states: States, most = Infinity): Promise<Stepper> {
  const stepper = lowered.step !== null ? await single(device, lowered.step, lowered, seed, most)
    : lowered.accumulation !== null ? await accumulating(device, lowered.accumulation, lowered, seed, most)
    : null
  if (stepper === null) throw new Error("train: neither a step nor an accumulation was lowered")
  await stepper.write(states)
  return stepper
}

const counters = (seed: number, step: number): Batch => ({ seed: ids([], [seed]), step: ids([], [step]) })

async function single(device: Device, program: Program, lowered: LoweredTraining, seed: number, most: number): Promise<Stepper> {
  const runner = await device.load(program, most)
  const several = async (batches: readonly (readonly Batch[])[], from: number): Promise<readonly StepMetrics[]> => {
    const outputs = await stepsOf(runner, batches.map(([batch], i) => taken(program, { ...batch, ...counters(seed, from + i) })))
    return outputs.map((out) => {
      const [sums, counts] = [lowered.terms.map((_, i) => scalar(out, `sum.${i}`)), lowered.terms.map((_, i) => scalar(out, `count.${i}`))]
      return { loss: combine(lowered.terms, sums, counts), gradNorm: scalar(out, "grad_norm"), lr: optional(out, "lr") }
    })
  }
  return {
    step: async (batches, step) => first(await several([batches], step)),
    ...(runner.steps === undefined ? {} : { steps: several }),
    read: (names) => readStates(runner, program, names),
    write: (states) => writeStates(runner, program, states),
    give: (to, names) => give(runner, to, names),
    keep: (names) => keep(runner, stateNames(program).filter((name) => names.has(name))),
    hashes: async (names) => Object.fromEntries(await hashes(runner, stateNames(program).filter((name) => names.has(name)))),
    dispose: () => runner.dispose(),
  }
}

function first(metrics: readonly StepMetrics[]): StepMetrics {
  const [only] = metrics
  if (only === undefined) throw new Error("train: no step was made")
  return only
}

async function stepsOf(runner: Runner, batches: readonly Batch[]): Promise<readonly Batch[]> {
  if (runner.steps !== undefined) return runner.steps(batches)
  const outputs: Batch[] = []
  for (const batch of batches) outputs.push(await runner.step(batch))
  return outputs
}

/** Counts first, then gradients of sum / total count added up, then one update (spec 5.6). */
async function accumulating(device: Device, parts: Accumulation, lowered: LoweredTraining, seed: number, most: number): Promise<Stepper> {
  const [count, gradient, apply] = [await device.load(parts.count), await device.load(parts.gradient, most), await device.load(parts.apply)]
  const sumNames = new Set(parts.sums.map((sum) => sum.name))
  const shared = new Set(stateNames(parts.gradient).filter((name) => !sumNames.has(name)))
  for (const { name, shape } of parts.sums) await gradient.write(name, zeros("f32", shape))
  const one = async (batches: readonly Batch[], step: number): Promise<StepMetrics> => {
    const totals = lowered.terms.map(() => 0)
    for (const out of await stepsOf(count, batches.map((batch) => taken(parts.count, { ...batch, ...counters(seed, step) })))) totals.forEach((total, i) => { totals[i] = total + scalar(out, `count.${i}`) })
    const sums = lowered.terms.map(() => 0)
    const known = Object.fromEntries(totals.map((total, i) => [`total.${i}`, number(total)]))
    const graded = batches.map((batch, k) => taken(parts.gradient, { ...batch, ...counters(seed, step), ...known, first: ids([], [k === 0 ? 1 : 0]) }))
    for (const out of await stepsOf(gradient, graded)) sums.forEach((sum, i) => { sums[i] = sum + scalar(out, `sum.${i}`) })
    const out = await applied(counters(seed, step))
    await give(apply, gradient, new Map(parts.sums.map(({ weight }) => [weight, weight])))
    return { loss: combine(lowered.terms, sums, totals), gradNorm: scalar(out, "grad_norm"), lr: optional(out, "lr") }
  }
  /** The update, with the sums of the gradients as they lie on the device, or through the host. */
  async function applied(counted: Batch): Promise<Batch> {
    const { lend } = gradient
    if (lend !== undefined && apply.take !== undefined) {
      apply.take(new Map(parts.sums.map(({ name, weight }) => [`gradient of ${weight}`, lend(name)])))
      return apply.step(Object.fromEntries(Object.entries(counted).filter(([name]) => parts.apply.inputs.some(({ args }) => args.name === name))))
    }
    const gradients: Record<string, HostTensor> = {}
    for (const { name, weight } of parts.sums) gradients[`gradient of ${weight}`] = await gradient.read(name)
    return apply.step(taken(parts.apply, { ...gradients, ...counted }))
  }
  /** What is trained, and its states, belong to the update; what is frozen lies beside the gradients alone. */
  const updated = new Set(stateNames(parts.apply))
  const frozen = [...shared].filter((name) => !updated.has(name))
  return {
    step: one,
    async read(names) {
      const states = await readStates(gradient, parts.gradient, new Set(frozen.filter((name) => names?.has(name) ?? true)))
      for (const [name, value] of await readStates(apply, parts.apply, names)) states.set(name, value)
      return states
    },
    async give(to, names) {
      const of = (runner: Runner, owns: (name: string) => boolean): Promise<void> => give(runner, to, new Map([...names].filter(([, here]) => owns(here))))
      await of(apply, (name) => updated.has(name))
      await of(gradient, (name) => !updated.has(name))
    },
    async keep(names) {
      const [own, others] = [await keep(apply, [...updated].filter((name) => names.has(name))), await keep(gradient, frozen.filter((name) => names.has(name)))]
      return {
        read: async () => new Map([...await others.read(), ...await own.read()]),
        async give(to, wanted) {
          await own.give(to, new Map([...wanted].filter(([, here]) => updated.has(here))))
          await others.give(to, new Map([...wanted].filter(([, here]) => !updated.has(here))))
        },
        dispose() { for (const kept of [own, others]) kept.dispose() },
      }
    },
    hashes: async (names) => Object.fromEntries([...await hashes(gradient, frozen.filter((name) => names.has(name))), ...await hashes(apply, [...updated].filter((name) => names.has(name)))]),
    async write(states) {
      await writeStates(gradient, parts.gradient, new Map([...states].filter(([name]) => shared.has(name))))
      await writeStates(apply, parts.apply, states)
    },
    dispose() {
      for (const runner of [count, gradient, apply]) runner.dispose()
    },
  }
}

const number = (x: number): HostTensor => ({ shape: [], dtype: "f32", data: Float32Array.of(x) })

/** The value of a loss from its sums and counts; a mean of nothing is 0. */
export function combine(weights: readonly number[], sums: readonly number[], counts: readonly number[]): number {
  let loss = 0
  weights.forEach((weight, i) => {
    const count = counts[i] ?? 0
    if (count !== 0) loss += (weight * (sums[i] ?? 0)) / count
  })
  return loss
}
