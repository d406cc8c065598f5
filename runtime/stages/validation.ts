/** Validations of a training: the loss and the metrics on every set, and the number that decides which weights are best. */
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import { float } from "../../compiler/check/make.ts"
import { measured, onlySet, validFact, validationSets } from "../../compiler/check/validation.ts"
import { numberIn } from "../../compiler/graph/lower/context.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { createLoader } from "../data/batches.ts"
import type { Loader } from "../data/batches.ts"
import type { PackedRows } from "../data/pack.ts"
import type { Runner } from "../device.ts"
import { expectData, memberOf } from "./artifact.ts"
import type { StageEnv } from "./environment.ts"
import { given, machineFor } from "./environment.ts"
import { ids, runSteps, scalar, stateNames, taken, writeStates } from "./feeds.ts"
import type { States, Stepper } from "./stepper.ts"
import { combine } from "./stepper.ts"
import type { TrainPlan } from "./train.ts"

/** Numbers by name: of sets `prose`, of metrics `prose.accuracy`, or `accuracy` where there is one set. */
export type Named = Readonly<Record<string, number>>

/** What one validation found. */
export interface Validated {
  /** The mean of the losses of all sets. */
  readonly valid: number
  /** The least is the best: `valid`, or what `best` makes of all that was measured. */
  readonly score: number
  readonly measured: Measured
}

/** `losses` of the sets where they have names. */
export interface Measured { readonly losses: Named; readonly metrics: Named }

export const nothingMeasured: Measured = { losses: {}, metrics: {} }

/** As facts of the training. */
export function validFacts({ losses, metrics }: Measured): Named {
  return Object.fromEntries(Object.entries({ ...losses, ...metrics }).map(([name, value]) => [validFact(name, ""), value]))
}

export interface ValidationSet {
  readonly name: string
  readonly loader: Loader
  readonly batches: number
}

/** Batches of one validation: few enough that all of them together take about a tenth of the training. */
export function validationBatches(rows: number, batch: number, total: number, sets: number): number {
  return Math.min(Math.ceil(rows / batch), Math.max(4, Math.ceil(total / 50 / sets)))
}

/** The sets that a training is validated on, each with the batches of a validation in order. */
export async function validationOf(stage: Stage, { shape }: TrainPlan, env: StageEnv): Promise<readonly ValidationSet[]> {
  const sets = validationSets(stage.args)
  const found: ValidationSet[] = []
  for (const [name, value] of sets) {
    const source: PackedRows = memberOf(expectData(await env.input(value.stage), "packed").members, value.member)
    const batches = validationBatches(source.rows, shape.rows, shape.total, sets.size)
    const all = batches * shape.rows >= source.rows
    found.push({ name, batches, loader: createLoader({ source, batch: shape.rows, seed: 0, order: all ? "sequential" : "shuffled" }) })
  }
  return found
}

/** Batches whose losses are read together. */
const batchesAtOnce = 16

export interface Validator {
  validate(): Promise<Validated>
  dispose(): void
}

/** null: the training is not validated. */
export async function createValidator(stage: Stage, lowered: LoweredTraining, states: States, stepper: Stepper, found: TrainPlan, env: StageEnv): Promise<Validator | null> {
  const sets = await validationOf(stage, found, env)
  if (sets.length === 0) return null
  const program = lowered.measure
  const runner = await env.device.load(program)
  await writeStates(runner, program, states)
  const trained = new Set(lowered.weights.filter((slot) => slot.trained).map((slot) => slot.name))
  const changed = new Map(stateNames(program).filter((name) => trained.has(name)).map((name) => [name, name]))
  return {
    async validate() {
      await stepper.give(runner, changed)
      const results: SetResult[] = []
      for (const set of sets) results.push(await measureSet(set, runner, lowered, found))
      return validated(stage, results, env)
    },
    dispose: () => runner.dispose(),
  }
}

interface SetResult { readonly name: string; readonly loss: number; readonly metrics: Named }

async function measureSet({ name, loader, batches: count }: ValidationSet, runner: Runner, { measure: program, terms, metrics }: LoweredTraining, { shape, seed }: TrainPlan): Promise<SetResult> {
  const all = terms.length + metrics.reduce((sum, metric) => sum + metric.terms.length, 0)
  const [sums, counts] = [new Array<number>(all).fill(0), new Array<number>(all).fill(0)]
  for (let begin = 0; begin < count; begin += batchesAtOnce) {
    const batches = Array.from({ length: Math.min(batchesAtOnce, count - begin) }, (_, i) => taken(program, { ...loader.batch((begin + i) * shape.rows), seed: ids([], [seed]), step: ids([], [0]) }))
    for (const out of await runSteps(runner, batches)) for (let t = 0; t < all; t++) {
      sums[t] = (sums[t] ?? 0) + scalar(out, `sum.${t}`)
      counts[t] = (counts[t] ?? 0) + scalar(out, `count.${t}`)
    }
  }
  const mean = (weights: readonly number[], first: number): number => combine(weights, sums.slice(first), counts.slice(first))
  return { name, loss: mean(terms, 0), metrics: Object.fromEntries(metrics.map((metric) => [metric.name, mean(metric.terms, metric.first)])) }
}

function validated(stage: Stage, results: readonly SetResult[], env: StageEnv): Validated {
  const valid = results.reduce((sum, { loss }) => sum + loss, 0) / results.length
  const named = (name: string, metric: string): string => (name === onlySet ? metric : `${name}.${metric}`)
  const losses = Object.fromEntries(results.flatMap(({ name, loss }) => (name === onlySet ? [] : [[name, loss]])))
  const metrics = Object.fromEntries(results.flatMap(({ name, metrics: own }) => Object.entries(own).map(([metric, value]) => [named(name, metric), value])))
  return { valid, score: scoreOf(stage, results, env) ?? valid, measured: { losses, metrics } }
}

/** What `best` makes of the numbers; null: it is not given. */
function scoreOf(stage: Stage, results: readonly SetResult[], env: StageEnv): number | null {
  const best = given(stage, "best")
  if (best === null) return null
  const machine = machineFor(env)
  const numbers = measured(stage.args, (set, metric) => {
    const result = results.find(({ name }) => name === set)
    return float((metric === "" ? result?.loss : result?.metrics[metric]) ?? NaN)
  })
  return numberIn(machine.apply(best, [numbers], stage.span), machine)
}
