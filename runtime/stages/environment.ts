/** What the execution of a stage is given, and what it yields. */
import type { Session } from "../../compiler/check/session.ts"
import { createMachine } from "../../compiler/check/machine.ts"
import type { Machine } from "../../compiler/check/machine.ts"
import type { ArtifactValue, Value } from "../../compiler/check/value.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import { dataCodes } from "../data/codes.ts"
import type { Failure, Result } from "../data/result.ts"
import type { Device } from "../device.ts"
import type { Limits } from "../limits.ts"
import type { Problem } from "../export/problem.ts"
import { placed } from "../export/problem.ts"
import { lockCodes } from "../lock-codes.ts"
import { safetyCodes } from "../safety-codes.ts"
import type { Checkpoints } from "../store/checkpoints.ts"
import type { ArtifactData } from "./artifact.ts"
import type { Emit, StageRef } from "./events.ts"
import { isPrivate } from "./sources.ts"

export interface StageEnv {
  readonly device: Device
  /** What a stage may take. The device refuses what exceeds them; what is allocated beside it is for the stage to count. */
  readonly limits: Limits
  /** The checked recipe with the facts known by now. */
  readonly session: Session
  /** Where the recipe's paths begin. */
  readonly folder: string
  /** Where exports go. */
  readonly out: string
  /** Folders outside of the recipe's that may be read. */
  readonly allowRead: readonly string[]
  readonly signal: AbortSignal | null
  readonly emit: Emit
  /** Of this stage, where a run that was stopped left some and this one leaves its own; null: it is not to be gone on with. */
  readonly checkpoints: Checkpoints | null
  /** Seconds between checkpoints at least; 0: one after every step. */
  readonly checkpointSeconds: number
  /** Trainings end after so many steps, as if interrupted; null: they are carried out. */
  readonly stopAfter: number | null
  /** An input of the stage is marked `private`: nothing is said that shows what it reads or what was learned from it. */
  readonly private: boolean
  /** The result of another stage. */
  input(stage: Stage): Promise<ArtifactData>
  /** Seconds since some moment, for reports alone. */
  clock(): number
}

export type Outcome =
  | { readonly is: "done"; readonly data: ArtifactData; readonly facts: Facts }
  /** `diverged`: the step at which a training did. */
  | { readonly is: "failed"; readonly diagnostics: readonly Diagnostic[]; readonly diverged?: number }
  | { readonly is: "interrupted" }
/** Numbers a stage taught, by field: `size`, `train.rows`, `loss`. */
export type Facts = Readonly<Record<string, number>>
export type Executor = (stage: Stage, env: StageEnv) => Promise<Outcome>

export function done(data: ArtifactData, facts: Facts = {}): Outcome {
  return { is: "done", data, facts }
}

export function failed(...diagnostics: readonly Diagnostic[]): Outcome {
  return { is: "failed", diagnostics }
}

export function refOf(stage: Stage): StageRef {
  return { key: stage.key, name: stage.name, kind: stage.kind }
}

/** A mistake in data, at the place of the recipe that led to it. */
export function fromFailure(failure: Failure, stage: Stage): Diagnostic {
  const { place } = failure
  // What is wrong with a private row is told without its text.
  if (place !== null && isPrivate(stage)) return diagnostic(failure.code, stage.span, titleOf(failure), { notes: [`in ${place.file}, line ${place.line}${place.column === null ? "" : `, column ${place.column}`}; its text is private`] })
  const notes = place === null ? [] : [`in ${place.file}, line ${place.line}${place.column === null ? "" : `, column ${place.column}`}: ${place.row}`]
  return diagnostic(failure.code, stage.span, failure.message, { notes, ...(failure.help === null ? {} : { help: failure.help }) })
}

function titleOf({ code }: Failure): string {
  return { ...dataCodes, ...lockCodes, ...safetyCodes }[code].title
}

export function fromResult<T>(result: Result<T>, stage: Stage, use: (value: T) => Outcome): Outcome {
  return result.ok ? use(result.value) : failed(...result.failures.map((failure) => fromFailure(failure, stage)))
}

export function fromProblems(problems: readonly Problem[], stage: Stage): Outcome {
  return failed(...problems.map((problem) => placed(problem, stage.span)))
}

// ---------------------------------------------------------------- arguments, as the checker has proved them to be

export function machineFor(env: StageEnv): Machine {
  return createMachine(env.session)
}

/** The argument, or null where it is `none` or not given. */
export function given(stage: Stage, name: string): Value | null {
  const value = stage.args.get(name)
  return value === undefined || value.kind === "none" ? null : value
}

export function numberArg(stage: Stage, name: string, env: StageEnv): number | null {
  const value = given(stage, name)
  if (value === null) return null
  const n = value.kind === "int" ? machineFor(env).known(value.poly) : value.kind === "float" || value.kind === "quantity" ? value.value : null
  if (n === null) throw new Error(`stages: \`${name}\` of ${stage.name} is not known`)
  return n
}

export function required<T>(value: T | null, stage: Stage, name: string): T {
  if (value === null) throw new Error(`stages: ${stage.kind} ${stage.name} has no \`${name}\``)
  return value
}

export function textArg(stage: Stage, name: string): string | null {
  const value = given(stage, name)
  return value?.kind === "string" ? value.value : null
}

/** A word of a `a | b` type. */
export function wordArg(stage: Stage, name: string): string | null {
  const value = given(stage, name)
  return value?.kind === "symbol" ? value.name : null
}

export function textsArg(stage: Stage, name: string): readonly string[] {
  const value = given(stage, name)
  return value?.kind === "list" ? value.items.flatMap((item) => (item.kind === "string" && item.value !== null ? [item.value] : [])) : []
}

/** A list of integers. */
export function wholeNumbers(stage: Stage, name: string, env: StageEnv): readonly number[] {
  const value = given(stage, name)
  return (value?.kind === "list" ? value.items : []).map((item) => required(item.kind === "int" ? machineFor(env).known(item.poly) : null, stage, name))
}

export function artifactArg(stage: Stage, name: string): ArtifactValue | null {
  const value = given(stage, name)
  return value?.kind === "artifact" ? value : null
}
