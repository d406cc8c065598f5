/** One optimiser step on a device, whether it takes one batch or several micro-batches; and its whole state, in and out. */
import type { Accumulation, LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { Program } from "../../compiler/graph/node.ts"
import type { Device, HostTensor, Runner } from "../device.ts"
import { give, hashes, keep } from "./handed.ts"
import type { Kept } from "./handed.ts"
import { ids, optional, readStates, runSteps, scalar, stateNames, taken, writeStates, zeros } from "./feeds.ts"

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

/** What the program that ends a step returns. */
function metricsOf({ terms }: LoweredTraining, out: Batch): StepMetrics {
  const [sums, counts] = [terms.map((_, i) => scalar(out, `sum.${i}`)), terms.map((_, i) => scalar(out, `count.${i}`))]
  return { loss: combine(terms, sums, counts), gradNorm: scalar(out, "grad_norm"), lr: optional(out, "lr") }
}

function first(metrics: readonly StepMetrics[]): StepMetrics {
  const [only] = metrics
  if (only === undefined) throw new Error("train: no step was made")
  return only
}

async function single(device: Device, program: Program, lowered: LoweredTraining, seed: number, most: number): Promise<Stepper> {
  const runner = await device.load(program, most)
  const several = async (batches: readonly (readonly Batch[])[], from: number): Promise<readonly StepMetrics[]> => {
    const outputs = await runSteps(runner, batches.map(([batch], i) => taken(program, { ...batch, ...counters(seed, from + i) })))
    return outputs.map((out) => metricsOf(lowered, out))
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

/** Counts first, then gradients of sum / total count added up, then one update (spec 5.6). Only the update returns anything. */
async function accumulating(device: Device, parts: Accumulation, lowered: LoweredTraining, seed: number, most: number): Promise<Stepper> {
  const [count, gradient, apply] = [await device.load(parts.count), await device.load(parts.gradient, most), await device.load(parts.apply)]
  const totals = new Set([...parts.counts, ...parts.sums])
  /** What is trained, and its states, belong to the update; what is frozen lies beside the gradients alone. */
  const updated = new Set(stateNames(parts.apply).filter((name) => !totals.has(name)))
  const frozen = stateNames(parts.gradient).filter((name) => !updated.has(name) && !totals.has(name))
  const loaded = [[count, parts.count], [gradient, parts.gradient], [apply, parts.apply]] as const
  for (const [runner, program] of loaded) for (const { args } of program.inputs) if (totals.has(args.name)) await runner.write(args.name, zeros("f32", args.shape))
  const hand = (from: Runner, names: Iterable<string>, to: Runner, program: Program): Promise<void> => {
    const wanted = new Set(stateNames(program))
    return give(from, to, new Map([...names].flatMap((name) => (wanted.has(name) ? [[name, name]] : []))))
  }
  async function summed(batches: readonly Batch[], step: number): Promise<void> {
    const runs = async (runner: Runner, program: Program): Promise<void> => {
      await hand(apply, updated, runner, program)
      for (const [k, batch] of batches.entries()) await runner.step(taken(program, { ...batch, ...counters(seed, step), first: ids([], [k === 0 ? 1 : 0]) }))
    }
    await runs(count, parts.count)
    await hand(count, parts.counts, gradient, parts.gradient)
    await runs(gradient, parts.gradient)
    await hand(count, parts.counts, apply, parts.apply)
    await hand(gradient, parts.sums, apply, parts.apply)
  }
  const several = async (batches: readonly (readonly Batch[])[], from: number): Promise<readonly StepMetrics[]> => {
    const outputs = await runSteps(apply, batches.map((_, i) => taken(parts.apply, counters(seed, from + i))), (i) => summed(batches[i] ?? [], from + i))
    return outputs.map((out) => metricsOf(lowered, out))
  }
  return {
    step: async (batches, step) => first(await several([batches], step)),
    ...(apply.steps === undefined ? {} : { steps: several }),
    async read(names) {
      const states = await readStates(gradient, parts.gradient, new Set(frozen.filter((name) => names?.has(name) ?? true)))
      for (const [name, value] of await readStates(apply, parts.apply, new Set([...updated].filter((name) => names?.has(name) ?? true)))) states.set(name, value)
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
      for (const [runner, program] of loaded) await writeStates(runner, program, states)
    },
    dispose() {
      for (const [runner] of loaded) runner.dispose()
    },
  }
}

/** The value of a loss from its sums and counts; a mean of nothing is 0. */
export function combine(weights: readonly number[], sums: readonly number[], counts: readonly number[]): number {
  let loss = 0
  weights.forEach((weight, i) => {
    const count = counts[i] ?? 0
    if (count !== 0) loss += (weight * (sums[i] ?? 0)) / count
  })
  return loss
}
