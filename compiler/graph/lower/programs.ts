/** What lowering yields: programs, and where each of their states comes from. */
import type { WeightInfo } from "../../check/value.ts"
import type { Stage } from "../../plan/stage.ts"
import type { DType, Program, Shape } from "../node.ts"

/** A weight of a role, as a state `<role>.<path>` of a program. */
export interface WeightSlot {
  readonly name: string
  readonly role: string
  readonly path: string
  readonly info: WeightInfo
  readonly shape: Shape
  /** The stage whose result holds it under `path`; null: it starts from `info.init`. */
  readonly source: { readonly stage: Stage; readonly member: string | null } | null
  /** Updated by the optimiser. */
  readonly trained: boolean
  /** Part of the stage's result (not of a frozen teacher, not of `parts`). */
  readonly kept: boolean
}

/** A state of the optimiser, `<role>.<path>#<state>`. */
export interface OptimizerSlot {
  readonly name: string
  readonly weight: string
  readonly shape: Shape
  readonly dtype: DType
}

/** One row of data as a batch input: `tokens i32[B, L + 1]`. */
export interface BatchInput {
  readonly name: string
  readonly shape: Shape
  readonly dtype: DType
}

export interface LoweredTraining {
  /** One step over one batch; null where the stage accumulates. */
  readonly step: Program | null
  /** The same step over several micro-batches (spec 5.6); null where it does not accumulate. */
  readonly accumulation: Accumulation | null
  /** First values of the optimiser's states from the weights, all of them states of this program; null where it has none. */
  readonly start: Program | null
  /** Sums and counts of the loss and of the metrics over a batch, without training. */
  readonly measure: Program
  /** What is measured beside the loss. */
  readonly metrics: readonly Metric[]
  readonly weights: readonly WeightSlot[]
  readonly optimizer: readonly OptimizerSlot[]
  /** Terms of the loss: the weight of each mean. Output `sum.i` / `count.i` of the programs belong to term i. */
  readonly terms: readonly number[]
}

/** The means that a metric consists of: outputs `sum.i` and `count.i` of `measure`, from `first` on. */
export interface Metric {
  readonly name: string
  readonly first: number
  readonly terms: readonly number[]
}

/** Three programs. Their sums are states, begun anew where `first` is 1, and go from one program to the next by name; so do the weights. */
export interface Accumulation {
  /** Batch, `first`, counts so far -> counts. */
  readonly count: Program
  /** Weights, counts of all micro-batches, batch, `first`, sums so far -> sums of the gradients and of the terms. */
  readonly gradient: Program
  /** Weights, optimiser states, sums, counts -> weights, optimiser states, `sum.i`, `count.i`, `grad_norm`, `lr`. */
  readonly apply: Program
  readonly counts: readonly string[]
  /** Of the gradients by all trained weights, then of the terms. */
  readonly sums: readonly string[]
}
