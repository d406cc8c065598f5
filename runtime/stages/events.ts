import type { Diagnostic } from "../../grammar/diagnostic.ts"
import type { StageKind } from "../../compiler/plan/stage.ts"

/** How a stage is named to people and tools. */
export interface StageRef {
  readonly key: string
  readonly name: string
  readonly kind: StageKind
}

/** What happens during a run, in order. Everything that a command line, a log or a page shows comes from these. */
export type Event =
  | { readonly event: "run-started"; readonly recipe: string; readonly device: string; readonly numericsClass: string; readonly stages: readonly StageRef[] }
  | { readonly event: "stage-started"; readonly stage: StageRef; readonly index: number; readonly count: number }
  /** Its result was there already, from an earlier run with the same meaning; of a compiler with other sources where `build` says so. */
  | { readonly event: "stage-cached"; readonly stage: StageRef; readonly index: number; readonly count: number; readonly facts: Readonly<Record<string, number>>; readonly build?: "another" }
  | { readonly event: "stage-finished"; readonly stage: StageRef; readonly seconds: number; readonly facts: Readonly<Record<string, number>> }
  /**
   * `valid` is there where this step was followed by a validation; beside it `losses` of its sets where they have names, and `metrics` (`accuracy`, `prose.accuracy`) where there are any.
   * `total` steps; rates over the last steps.
   */
  | {
      readonly event: "progress"; readonly stage: StageRef; readonly step: number; readonly total: number
      readonly loss: number; readonly valid: number | null; readonly gradNorm: number | null; readonly lr: number | null
      readonly losses?: Readonly<Record<string, number>>; readonly metrics?: Readonly<Record<string, number>>
      readonly tokensPerSecond: number; readonly secondsLeft: number
    }
  /** A training goes on where an earlier run was stopped, of a compiler with other sources where `build` says so; what it said until then is said again, after this. */
  | { readonly event: "resumed"; readonly stage: StageRef; readonly step: number; readonly total: number; readonly build?: "another" }
  /** For comparing runs: eight digits for each step since the last one told, of a hash over all losses and gradient norms until then; and hashes of all weights and states now. */
  | { readonly event: "trace"; readonly stage: StageRef; readonly step: number; readonly steps: string; readonly states: Readonly<Record<string, string>> }
  /** Progress of stages that do not train: batches of an evaluation, tokens of a generation. */
  | { readonly event: "work"; readonly stage: StageRef; readonly done: number; readonly total: number; readonly unit: string }
  /** What a model in training writes, at a share `at` of its steps; or a sample of a `generate` stage (`at` null). */
  | { readonly event: "sample"; readonly stage: StageRef; readonly at: number | null; readonly prompt: string; readonly text: string }
  | { readonly event: "warning"; readonly stage: StageRef | null; readonly message: string; readonly help: string | null }
  | { readonly event: "expect"; readonly text: string; readonly holds: boolean; readonly left: number | null; readonly right: number | null; readonly operator: string }
  | { readonly event: "exported"; readonly stage: StageRef; readonly file: string; readonly bytes: number }
  | { readonly event: "diagnostic"; readonly diagnostic: Diagnostic }
  | { readonly event: "run-finished"; readonly status: RunStatus; readonly seconds: number }

export type RunStatus = "done" | "failed" | "interrupted"

export type Emit = (event: Event) => void
