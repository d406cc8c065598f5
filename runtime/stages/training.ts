/** The loop of a training: steps, validations, samples and the best weights. All of its state is in a `TrainingState`. */
import { createHash } from "node:crypto"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { Kept } from "./handed.ts"
import { keptOnHost } from "./handed.ts"
import type { Batch, States, StepMetrics, Stepper } from "./stepper.ts"
import { nothingMeasured } from "./validation.ts"
import type { Measured, Validated } from "./validation.ts"

/** What an interrupted training needs to go on as if nothing had happened. */
export interface TrainingState {
  /** Steps done. */
  readonly step: number
  /** Weights and optimiser states. */
  readonly states: States
  readonly best: Best | null
  readonly tally: Tally
}

/** What the loop has counted. No number in it depends on the clock. */
export interface Tally {
  /** Of the losses since the last report that has its fixed place. */
  readonly sum: number
  readonly count: number
  /** The losses of the last steps, about a twentieth of all. */
  readonly recent: readonly number[]
  /** The last validation. */
  readonly valid: number | null
  /** By set and by metric, of the last validation. */
  readonly measured: Measured
  readonly history: readonly Validation[]
  readonly warned: boolean
  /** A hash over the losses and gradient norms of all steps: two trainings agree as long as theirs do. */
  readonly trace: string
  /** The first eight digits of what that hash was after each step since it was last told. */
  readonly steps: string
}

export interface Validation { readonly step: number; readonly valid: number; readonly train: number }

/** A training before its first step. */
export function untrained(states: States): TrainingState {
  return { step: 0, states, best: null, tally: { sum: 0, count: 0, recent: [], valid: null, measured: nothingMeasured, history: [], warned: false, trace: "", steps: "" } }
}

export interface Best extends Validated {
  readonly step: number
  readonly weights: States
}

export interface Progress extends StepMetrics {
  readonly step: number
  /** Mean of the losses since the last report. */
  readonly loss: number
  readonly valid: number | null
  /** By set and by metric; null where this step was not followed by a validation. */
  readonly measured: Measured | null
}

export interface LoopOptions {
  readonly lowered: LoweredTraining
  readonly stepper: Stepper
  readonly total: number
  /** The micro-batches of a step. */
  readonly batches: (step: number) => readonly Batch[]
  /** What the validation data says about the weights of the moment; null where there is none. */
  readonly validate: (() => Promise<Validated>) | null
  readonly keepBest: boolean
  /** Called at 0, 25, 50 and 100% of the steps: writes with the weights of the moment. */
  readonly sample: ((share: number) => Promise<void>) | null
  /** `fixed`: its place does not depend on the clock. */
  readonly report: (progress: Progress, fixed: boolean) => void
  /** Hashes of the steps since the last call, with the states as they are now: where a validation would be, and after 1, 2, 4, 8, … steps. */
  readonly trace: (step: number, steps: string, states: Readonly<Record<string, string>>) => void
  readonly warn: (message: string, help: string) => void
  /** Keeps the state of the moment now and then. */
  readonly saver: Saver | null
  readonly signal: AbortSignal | null
  /** Ends after so many steps, as if it had been interrupted; null: at the end. */
  readonly stopAfter: number | null
  /** Seconds, for reports alone. */
  readonly clock: () => number
}

export interface Saver {
  due(): boolean
  save(state: () => Promise<TrainingState>): Promise<void>
}

export type LoopResult =
  /** `loss`: the mean of the last steps, about a twentieth of all. */
  | { readonly is: "done"; readonly state: TrainingState; readonly loss: number }
  | { readonly is: "interrupted"; readonly state: TrainingState }
  /** The loss or a gradient is not a number any more. */
  | { readonly is: "diverged"; readonly step: number; readonly metrics: StepMetrics; readonly lastLoss: number | null; readonly batches: readonly Batch[] }

const validations = 20
const reports = 200
const reportSeconds = 1

/** The steps that are followed by a validation: about 20, the last among them. */
export function validationEvery(total: number): number {
  return Math.max(1, Math.ceil(total / validations))
}

const mostAhead = 16
/** Seconds that a device may be left alone: Ctrl-C and checkpoints wait for as long. */
const secondsAhead = 0.2

/** Steps to be made in one go, from how long the last ones took. */
function paceOf(steps: number, seconds: number): number {
  return seconds <= 0 ? 1 : Math.max(1, Math.min(mostAhead, Math.floor((secondsAhead * steps) / seconds)))
}

/** Steps from here to the next after which somebody looks at the states or hears a number, that one included. */
function quietSteps(step: number, { total, stopAfter }: LoopOptions): number {
  let n = 1
  const isSeen = (at: number): boolean => at >= total || at === stopAfter || isMarked(at, total) || isFixed(at, total) || isPowerOfTwo(at) || isSampled(at, total)
  while (!isSeen(step + n)) n++
  return n
}

/** Parts of the training after which the model writes. */
const shares = [0.25, 0.5, 1]
const isSampled = (step: number, total: number): boolean => shares.some((share) => step === Math.round(share * total))
const isMarked = (step: number, total: number): boolean => step % validationEvery(total) === 0 || step === total
const isFixed = (step: number, total: number): boolean => isMarked(step, total) || step === 1 || step % Math.ceil(total / reports) === 0

/** The best weights lie where they are kept, and are read once somebody takes them along. */
type KeptBest = Omit<Best, "weights"> & { readonly kept: Kept }

async function readBest(best: KeptBest | null): Promise<Best | null> {
  if (best === null) return null
  const { kept, ...known } = best
  return { ...known, weights: await kept.read() }
}

/** Runs from `from` to the end, or to the signal. What the device has stays there: the loop sees metrics, and hashes for the record. */
export async function runTraining(from: TrainingState, options: LoopOptions): Promise<LoopResult> {
  const { stepper, total, lowered, saver } = options
  const keptNames = new Set(lowered.weights.filter((slot) => slot.kept || slot.trained).map((slot) => slot.name))
  const changing = new Set([...lowered.weights.filter((slot) => slot.trained), ...lowered.optimizer].map((slot) => slot.name))
  let { step, tally } = from
  let best: KeptBest | null = from.best === null ? null : { ...from.best, kept: keptOnHost(from.best.weights) }
  let reportedAt = options.clock()
  // Steps that the device has made already; all states are those after the last of them.
  let ahead: readonly { readonly metrics: StepMetrics; readonly batches: readonly Batch[] }[] = []
  let pace = 1
  const state = async (): Promise<TrainingState> => ({ step, states: await stepper.read(changing), best: await readBest(best), tally })
  if (step === 0) await options.sample?.(0)
  while (step < total) {
    if (step === options.stopAfter) {
      if (tally.steps !== "") options.trace(step, tally.steps, await stepper.hashes(changing))
      return { is: "interrupted", state: await state() }
    }
    if (ahead.length === 0 && options.signal?.aborted) {
      if (step > from.step) await saver?.save(state)
      return { is: "interrupted", state: await state() }
    }
    if (ahead.length === 0 && step > from.step && saver?.due()) await saver.save(state)
    if (ahead.length === 0) {
      const [first, began] = [step + 1, options.clock()]
      const batches = Array.from({ length: stepper.steps === undefined ? 1 : Math.min(pace, quietSteps(step, options)) }, (_, i) => options.batches(first + i))
      const made = stepper.steps === undefined ? [await stepper.step(batches[0] ?? [], first)] : await stepper.steps(batches, first)
      ahead = made.map((metrics, i) => ({ metrics, batches: batches[i] ?? [] }))
      pace = paceOf(ahead.length, options.clock() - began)
    }
    const [next, ...later] = ahead
    if (next === undefined) throw new Error("train: no step was made")
    ahead = later
    const { metrics, batches } = next
    if (!Number.isFinite(metrics.loss) || !Number.isFinite(metrics.gradNorm)) return { is: "diverged", step: step + 1, metrics, lastLoss: tally.recent.at(-1) ?? null, batches }
    step++
    tally = counted(tally, metrics, total)
    const marked = isMarked(step, total)
    const found: Validated | null = marked && options.validate !== null ? await options.validate() : null
    if (found !== null) {
      if (options.keepBest && (best === null || found.score < best.score)) {
        best?.kept.dispose()
        best = { step, ...found, kept: await stepper.keep(keptNames) }
      }
      tally = { ...judged(tally, { step, valid: found.valid, train: tally.sum / tally.count }, options), measured: found.measured }
    }
    const fixed = isFixed(step, total)
    if (fixed || options.clock() - reportedAt >= reportSeconds) {
      options.report({ ...metrics, step, loss: tally.sum / tally.count, valid: found?.valid ?? null, measured: found?.measured ?? null }, fixed)
      reportedAt = options.clock()
    }
    if (fixed) tally = { ...tally, sum: 0, count: 0 }
    const share = shares.find((s) => step === Math.round(s * total))
    if (share !== undefined) await options.sample?.(share)
    if (marked || isPowerOfTwo(step)) {
      options.trace(step, tally.steps, await stepper.hashes(changing))
      tally = { ...tally, steps: "" }
    }
  }
  const whole = { step, states: await stepper.read(), best: await readBest(best), tally }
  best?.kept.dispose()
  return { is: "done", state: whole, loss: mean(tally.recent) }
}

/** What differs from the beginning shows at once, and where. */
function isPowerOfTwo(step: number): boolean {
  return 2 ** Math.floor(Math.log2(step)) === step
}

function counted(tally: Tally, { loss, gradNorm }: StepMetrics, total: number): Tally {
  const recent = [...tally.recent.slice(tally.recent.length < validationEvery(total) ? 0 : 1), loss]
  const trace = createHash("sha256").update(tally.trace).update(new Uint8Array(Float64Array.of(loss, gradNorm).buffer)).digest("hex")
  return { ...tally, sum: tally.sum + loss, count: tally.count + 1, recent, trace, steps: tally.steps + trace.slice(0, 8) }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length
}

/** Takes a validation down; warns once, when three in a row are above the best by more than 2% while the training loss still falls. */
function judged(tally: Tally, now: Validation, options: LoopOptions): Tally {
  const history = [...tally.history, now]
  const best = history.reduce((low, point) => (point.valid < low.valid ? point : low))
  const since = history.filter((point) => point.step > best.step)
  const rises = since.length >= 3 && since.slice(-3).every((point) => point.valid >= best.valid * 1.02) && now.train < best.train
  if (rises && !tally.warned) {
    options.warn(
      `validation loss rises (${best.valid.toFixed(3)} at step ${best.step}, ${now.valid.toFixed(3)} at step ${now.step}) while training loss falls: the model learns its data by heart`,
      `${options.keepBest ? "the best weights are kept; to go further, train on" : "leave `keep: last` out, or train on"} more data, fewer steps, a smaller model or with dropout`,
    )
  }
  return { ...tally, history, valid: now.valid, warned: tally.warned || rises }
}
