/** The loop of a training: steps, validations, samples and the best weights. All of its state is in a `Training`. */
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { HostTensor } from "../device.ts"
import type { Batch, States, StepMetrics, Stepper } from "./stepper.ts"

/** What an interrupted training needs to go on as if nothing had happened. */
export interface TrainingState {
  /** Steps done. */
  readonly step: number
  /** Weights and optimiser states. */
  readonly states: States
  readonly best: Best | null
}

export interface Best {
  readonly step: number
  readonly valid: number
  readonly weights: States
}

export interface Progress extends StepMetrics {
  readonly step: number
  /** Mean of the losses since the last report. */
  readonly loss: number
  readonly valid: number | null
}

export interface LoopOptions {
  readonly lowered: LoweredTraining
  readonly stepper: Stepper
  readonly total: number
  /** The micro-batches of a step. */
  readonly batches: (step: number) => readonly Batch[]
  /** Mean loss on the validation data with these weights; null where there are none. */
  readonly validate: ((weights: States) => Promise<number>) | null
  readonly keepBest: boolean
  /** Called at 0, 25, 50 and 100% of the steps. */
  readonly sample: ((share: number, weights: States) => Promise<void>) | null
  readonly report: (progress: Progress) => void
  readonly warn: (message: string, help: string) => void
  readonly signal: AbortSignal | null
  /** Seconds, for reports alone. */
  readonly clock: () => number
}

export type LoopResult =
  | { readonly is: "done"; readonly state: TrainingState; readonly valid: number | null; readonly loss: number }
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

/** Runs from `from` to the end, or to the signal. */
export async function runTraining(from: TrainingState, options: LoopOptions): Promise<LoopResult> {
  const { stepper, total } = options
  const keptNames = new Set(options.lowered.weights.filter((slot) => slot.kept || slot.trained).map((slot) => slot.name))
  const kept = (): Promise<Map<string, HostTensor>> => stepper.read(keptNames)
  const history: { readonly step: number; readonly valid: number; readonly train: number }[] = []
  let { step, best } = from
  let [sum, count, reportedAt, lastLoss, lastValid] = [0, 0, options.clock(), null as number | null, null as number | null]
  let warned = false
  if (step === 0) await options.sample?.(0, await kept())
  while (step < total) {
    if (options.signal?.aborted) return { is: "interrupted", state: { step, states: await stepper.read(), best } }
    const batches = options.batches(step + 1)
    const metrics = await stepper.step(batches, step + 1)
    if (!Number.isFinite(metrics.loss) || !Number.isFinite(metrics.gradNorm)) return { is: "diverged", step: step + 1, metrics, lastLoss, batches }
    step++
    sum += metrics.loss
    count++
    lastLoss = metrics.loss
    const checks = options.validate !== null && (step % validationEvery(total) === 0 || step === total)
    if (checks && options.validate !== null) {
      const weights = await kept()
      lastValid = await options.validate(weights)
      if (options.keepBest && (best === null || lastValid < best.valid)) best = { step, valid: lastValid, weights }
      history.push({ step, valid: lastValid, train: sum / count })
      warned = warned || warnOfOverfitting(history, options)
    }
    if (checks || step === 1 || step === total || step % Math.ceil(total / reports) === 0 || options.clock() - reportedAt >= reportSeconds) {
      options.report({ ...metrics, step, loss: sum / count, valid: checks ? lastValid : null })
      ;[sum, count, reportedAt] = [0, 0, options.clock()]
    }
    const share = [0.25, 0.5, 1].find((s) => step === Math.round(s * total))
    if (share !== undefined && options.sample !== null) await options.sample(share, await kept())
  }
  return { is: "done", state: { step, states: await stepper.read(), best }, valid: lastValid, loss: lastLoss ?? NaN }
}

/** Three validations in a row above the best by more than 2% while the training loss still falls. Says so once. */
function warnOfOverfitting(history: readonly { readonly step: number; readonly valid: number; readonly train: number }[], options: LoopOptions): boolean {
  const best = history.reduce((low, point) => (point.valid < low.valid ? point : low))
  const since = history.filter((point) => point.step > best.step)
  const [last] = since.slice(-1)
  if (last === undefined || since.length < 3 || since.slice(-3).some((point) => point.valid < best.valid * 1.02) || last.train >= best.train) return false
  options.warn(
    `validation loss rises (${best.valid.toFixed(3)} at step ${best.step}, ${last.valid.toFixed(3)} at step ${last.step}) while training loss falls: the model learns its data by heart`,
    `${options.keepBest ? "the best weights are kept; to go further, train on" : "write `keep: best`, or train on"} more data, fewer steps, a smaller model or with dropout`,
  )
  return true
}
