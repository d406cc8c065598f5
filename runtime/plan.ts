/** What a run would do and take. Programs are made and counted; nothing is read but the sizes of files, and nothing is run. */
import { check, type Checked, type Recipe } from "../compiler/check/check.ts"
import { display } from "../compiler/check/describe.ts"
import { createMachine } from "../compiler/check/machine.ts"
import type { Environment } from "../compiler/check/session.ts"
import type { Facts, Stage, StageKind } from "../compiler/plan/stage.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import { changesOf, type Before, type StageState } from "./plan-changes.ts"
import { createSizes, type Count, type Finished, type Place } from "./plan-sizes.ts"
import { measureStage, nothingMeasured, type Measures } from "./plan-stages.ts"
import { inputFiles } from "./stages/data.ts"
import { fromFailure } from "./stages/environment.ts"

export interface StagePlan extends Measures {
  readonly stage: Stage
  readonly state: StageState
  /** Why it is not taken from an earlier run, where one had it. */
  readonly why: readonly string[]
  /** Arguments as the recipe and the defaults have them. */
  readonly args: readonly (readonly [name: string, value: string])[]
}

/** A number that only a stage can tell, and what was taken in its place. */
export interface Unknown {
  /** The stage that resolves it. */
  readonly stage: Stage
  readonly field: string
  readonly taken: Count
}

export interface Plan {
  readonly recipe: Recipe
  /** The recipe checked with what was taken for its unknowns. */
  readonly checked: Checked
  readonly stages: readonly StagePlan[]
  readonly unknowns: readonly Unknown[]
  /** What would stop the run: inputs that are not there, sizes that do not fit the data of an earlier run. */
  readonly problems: readonly Diagnostic[]
  /** Of the stages that are to be run. */
  readonly flops: number
  readonly memory: number
  readonly disk: number
}

/** Plans a checked recipe: sizes that only a run tells are taken from the store, or replaced by bounds. `before`: what it is compared with. */
export function planRecipe(entry: Source, environment: Environment, checked: Checked, finished: Finished, place: Place, before: Before | null = null): Plan | null {
  if (checked.recipe === null) return null
  const vocabularies = checked.recipe.stages.flatMap((stage) => vocabulary(stage, checked, finished))
  const facts: Facts = new Map(vocabularies.map(({ stage, field, taken }) => [`${stage.key}.${field}`, taken.value]))
  const known = check(entry, { ...environment, facts })
  if (known.recipe === null) return null
  const sizes = createSizes(known.session, finished, place)
  const problems = known.recipe.stages.flatMap((stage) => missingInput(stage, place))
  const measured = (stage: Stage): Measures => {
    const found = measureStage(stage, known, sizes, finished.device)
    if (!("code" in found)) return found
    problems.push(found)
    return nothingMeasured
  }
  const changes = changesOf(known, finished, before)
  const stages = known.recipe.stages.map((stage): StagePlan => ({ stage, state: "new", why: [], ...changes.get(stage.key), ...measured(stage), args: argumentsOf(stage, known) }))
  const fresh = stages.filter(({ state }) => state !== "cached")
  return {
    recipe: known.recipe, checked: known, stages, problems, unknowns: [...vocabularies, ...lengths(stages)].filter(({ taken }) => taken.is !== "exact"),
    flops: total(fresh, ({ flops }) => flops), memory: Math.max(0, ...fresh.map(({ memory }) => memory ?? 0)), disk: total(fresh, ({ disk }) => disk),
  }
}

function missingInput(stage: Stage, place: Place): Diagnostic[] {
  const files = inputFiles(stage, place)
  return files.ok ? [] : files.failures.map((failure) => fromFailure(failure, stage))
}

function total(stages: readonly StagePlan[], of: (stage: StagePlan) => number | null): number {
  return stages.reduce((sum, stage) => sum + (of(stage) ?? 0), 0)
}

function argumentsOf(stage: Stage, known: Checked): StagePlan["args"] {
  const machine = createMachine(known.session)
  return [...stage.args].flatMap(([name, value]): [string, string][] => {
    const text = display(value, machine)
    return text === null ? [] : [[name, text]]
  })
}

/** Characters that a `char` tokenizer is taken to meet where nothing is known of its text. */
const someCharacters = 256

/** The number of entries of a tokenizer: known from an earlier run, stated in the recipe, or taken to be at most this. */
function vocabulary(stage: Stage, checked: Checked, finished: Finished): readonly Unknown[] {
  if (stage.type.is !== "tokenizer") return []
  const key = finished.keys.of(stage)
  const before = key !== null && finished.store.has(key) ? finished.store.get(key)?.about.facts["size"] : undefined
  if (before !== undefined) return [{ stage, field: "size", taken: { value: before, is: "exact" } }]
  const stated = stage.args.get("size")
  const most = stated?.kind === "int" ? createMachine(checked.session).known(stated.poly) : null
  return [{ stage, field: "size", taken: { value: most ?? someCharacters, is: most === null ? "about" : "at most" } }]
}

/** Numbers of tokens that the packed data of evaluations and epochs decides, each once. */
function lengths(stages: readonly StagePlan[]): readonly Unknown[] {
  const found = stages.flatMap(({ stage, tokens }): Unknown[] => {
    const data = stage.args.get("data")
    const depends = stage.kind === "evaluate" || stage.kind === "loss_of" || stage.args.get("epochs")?.kind === "float"
    if (!depends || tokens === null || data?.kind !== "artifact") return []
    return [{ stage: data.stage, field: data.member === null ? "tokens" : `${data.member}.tokens`, taken: tokens }]
  })
  return [...new Map(found.map((unknown) => [`${unknown.stage.key}.${unknown.field}`, unknown])).values()]
}

// ---------------------------------------------------------------- for tools

export interface StageSummary extends Measures {
  readonly name: string
  readonly kind: StageKind
  readonly key: string
  readonly state: StageState
  /** Why it is not taken from an earlier run, where one had it: `optim.lr.peak 0.003 -> 0.001`. */
  readonly why: readonly string[]
  /** About how long it takes on the device of the plan; null where that is not known. */
  readonly seconds: number | null
  readonly args: Readonly<Record<string, string>>
}

/** A plan as plain data. */
export interface PlanSummary {
  readonly stages: readonly StageSummary[]
  readonly unknowns: readonly { readonly name: string; readonly taken: Count; readonly resolvedBy: string }[]
  readonly params: Readonly<Record<string, string>>
  readonly device: string
  readonly flops: number
  readonly memory: number
  readonly disk: number
  readonly seconds: number
}

/** A device and how many floating-point operations a second it reaches, about. */
export interface Rate { readonly device: string; readonly flops: number }

/** One token at a time is bound by calls and memory, not by arithmetic: no time is told for it. */
function secondsOf(stage: Stage, flops: number | null, rate: Rate): number | null {
  return flops === null || stage.kind === "generate" ? null : flops / rate.flops
}

export function summarise(plan: Plan, rate: Rate): PlanSummary {
  const { flops, memory, disk } = plan
  return {
    stages: plan.stages.map(({ stage, args, ...rest }) => ({
      name: stage.name, kind: stage.kind, key: stage.key, ...rest, seconds: secondsOf(stage, rest.flops, rate), args: Object.fromEntries(args),
    })),
    unknowns: plan.unknowns.map(({ stage, field, taken }) => ({ name: `${stage.name}.${field}`, taken, resolvedBy: stage.name })),
    params: Object.fromEntries(plan.recipe.params.map((p) => [p.name, p.text])),
    device: rate.device, flops, memory, disk, seconds: flops / rate.flops,
  }
}
