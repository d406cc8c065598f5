/** What a run is given, what it yields, and what changes while it goes on. */
import { check, type Checked } from "../compiler/check/check.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import type { Failure } from "./data/result.ts"
import type { Device } from "./device.ts"
import type { ExpectResult } from "./expects.ts"
import type { FileHashes } from "./file-hashes.ts"
import type { Limits } from "./limits.ts"
import type { Lock } from "./lock.ts"
import type { Told } from "./lock-of-run.ts"
import type { ArtifactData } from "./stages/artifact.ts"
import type { Facts } from "./stages/environment.ts"
import type { Emit, RunStatus, StageRef } from "./stages/events.ts"
import type { ArtifactKeys } from "./stages/keys.ts"
import type { Store } from "./store/store.ts"

export interface RunOptions {
  readonly recipe: Source
  /** Where the recipe's paths begin. */
  readonly folder: string
  readonly modules: (id: string, from: string) => Source | null
  readonly params: ReadonlyMap<string, string>
  readonly device: Device
  /** The run's folder: exports and copies of the artifacts. */
  readonly out: string
  readonly store: Store
  /** Nothing is taken from the store; results are still put there. */
  readonly fresh?: boolean
  readonly allowRead?: readonly string[]
  /** What a stage and a model may take; default: what the machine has. */
  readonly limits?: Limits
  /** Refuses to run, or to call the results right, where anything differs from this. */
  readonly locked?: Lock | null
  /** Refuses to run where anything differs from this plan, or the device is another one. */
  readonly planned?: Lock | null
  /** Default: every input is read. */
  readonly hashes?: FileHashes
  /** What is known before any stage has run (default nothing). */
  readonly facts?: ReadonlyMap<string, number>
  /**
   * Says which stage is wanted next, by its key, once the last one is done; null: no more. Default: all, in order. Whoever asks
   * keeps inputs before what needs them.
   */
  readonly next?: (last: StageResult | null) => Promise<string | null>
  /** Leaves out every other stage, and the expectations: `slm data` stops before the first training. */
  readonly only?: (stage: Stage) => boolean
  /** Called once, after whatever is refused before it begins, and before anything is written. What it yields stops the run. */
  readonly begin?: () => readonly Failure[]
  readonly signal?: AbortSignal | null
  /** Seconds between checkpoints of a training, at least (default 30); 0: one after every step. */
  readonly checkpointSeconds?: number
  /** Trainings end after so many steps, as if interrupted: for comparing them with what was recorded. */
  readonly stopAfter?: number | null
  readonly emit: Emit
  /** Seconds; default the process's clock. */
  readonly clock?: () => number
}

export interface RunResult {
  readonly status: RunStatus
  /** What stopped the run, and warnings. */
  readonly diagnostics: readonly Diagnostic[]
  readonly sources: ReadonlyMap<string, Source>
  readonly stages: readonly StageResult[]
  readonly expects: readonly ExpectResult[]
  /** `<stage key>.<field>` -> number. */
  readonly facts: ReadonlyMap<string, number>
  readonly seconds: number
  /** What the run depended on and what came out; null where it is not done. */
  readonly lock: Lock | null
  /** The result of a stage that was run or reused, made again where it is not kept. */
  result(stage: Stage): Promise<ArtifactData> | null
}

export interface StageResult {
  readonly stage: StageRef
  readonly cached: boolean
  readonly seconds: number
  readonly facts: Facts
  /** The key of its result, for comparing runs; null where it reads what is not there. */
  readonly artifactKey: string | null
  /** A hash over the files of the result; null where none are kept. */
  readonly content: string | null
  /** The folder below the run's that holds a copy of the result. */
  readonly folder: string | null
}

/** Everything that changes while a run goes on. */
export interface RunState {
  readonly options: RunOptions
  /** `options.device`, which lets the process hear of signals between steps. */
  readonly device: Device
  readonly clock: () => number
  readonly limits: Limits
  readonly keys: ArtifactKeys
  readonly told: Told
  readonly facts: Map<string, number>
  readonly made: Map<string, Promise<ArtifactData>>
  readonly finished: Map<string, StageResult>
  readonly decided: Map<string, ExpectResult>
  readonly diagnostics: Diagnostic[]
  checked: Checked
}

export function checkWith(options: RunOptions, facts: ReadonlyMap<string, number>): Checked {
  return check(options.recipe, { modules: options.modules, params: options.params, facts })
}

/** Says what is wrong, each mistake once. */
export function report(state: RunState, diagnostics: readonly Diagnostic[]): void {
  for (const d of diagnostics) {
    const known = state.diagnostics.some((other) => other.code === d.code && other.span.source === d.span.source && other.span.start === d.span.start && other.message === d.message)
    if (known) continue
    state.diagnostics.push(d)
    state.options.emit({ event: "diagnostic", diagnostic: d })
  }
}
