/** What a run would do and take. Programs are made and counted; nothing is read but the sizes of files, and nothing is run. */
import { recheck, type Checked, type Recipe } from "../compiler/check/check.ts"
import { display } from "../compiler/check/describe.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { nameOf, takenInOrder } from "../compiler/check/choice.ts"
import type { Value } from "../compiler/check/value.ts"
import { sizeTaken, taken } from "../compiler/check/taken.ts"
import type { Environment } from "../compiler/check/session.ts"
import type { Facts, Stage, StageKind } from "../compiler/plan/stage.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import type { Rate } from "./device.ts"
import { machineLimits, noLimits, oversizedModels, type Limits } from "./limits.ts"
import { changesOf, type Before, type StageState } from "./plan-changes.ts"
import { createSizes, type Count, type Finished, type Place } from "./plan-sizes.ts"
import { nothingMeasured, type Measures } from "./plan-counting.ts"
import { measureStage } from "./plan-stages.ts"
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

export interface Choice {
  readonly stage: Stage
  readonly taken: string | null
  readonly refused: readonly string[]
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
  /** Where a search chooses: what was taken to win, where nothing is measured yet, and what its budget refused. */
  readonly choices: readonly Choice[]
  /** What would stop the run: inputs that are not there, sizes that do not fit the data of an earlier run. */
  readonly problems: readonly Diagnostic[]
  /** What a run may take. */
  readonly limits: Limits
  /** Of the stages that are to be run. */
  readonly flops: number
  readonly memory: number
  readonly disk: number
}

/** Plans a checked recipe: sizes that only a run tells are taken from the store, or replaced by bounds. `before`: what it is compared with. */
export function planRecipe(entry: Source, environment: Environment, checked: Checked, finished: Finished, place: Place, before: Before | null = null): Plan | null {
  if (checked.recipe === null) return null
  const vocabularies = checked.recipe.stages.flatMap((stage) => vocabulary(stage, checked, finished))
  const facts: Facts = new Map(vocabularies.map(({ stage, field, taken: { value } }) => [`${stage.key}.${field}`, value]))
  const known = decided(entry, { ...environment, facts }, finished)
  if (known.recipe === null) return { recipe: checked.recipe, checked, stages: [], unknowns: [], choices: [], problems: known.diagnostics.filter(({ severity }) => severity === "error"), limits: finished.limits ?? machineLimits(), flops: 0, memory: 0, disk: 0 }
  const sizes = createSizes(known.session, finished, place)
  const limits = finished.limits ?? machineLimits()
  const changes = changesOf(known, finished, before)
  const problems = [...known.recipe.stages.flatMap((stage) => missingInput(stage, place)), ...oversizedModels(checked.recipe.stages, checked.session, limits)]
  const measured = (stage: Stage): Measures => {
    // What is taken from the store needs nothing any more, and nothing is refused for a number that was guessed.
    const free = changes.get(stage.key)?.state === "cached" || vocabularies.some(({ taken }) => taken.is === "about")
    const found = measureStage(stage, known, sizes, finished.device, free ? noLimits : limits)
    if (!("code" in found)) return found
    problems.push(found)
    return nothingMeasured
  }
  const stages = known.recipe.stages.map((stage): StagePlan => ({ stage, state: "new", why: [], ...changes.get(stage.key), ...measured(stage), args: argumentsOf(stage, known) }))
  const fresh = stages.filter(({ state }) => state !== "cached")
  return {
    recipe: known.recipe, checked: known, stages, problems, limits, unknowns: [...vocabularies, ...lengths(stages)].filter(({ taken: { is } }) => is !== "exact"),
    choices: choicesOf(known),
    flops: total(fresh, ({ flops }) => flops), memory: Math.max(0, ...fresh.map(({ memory }) => memory ?? 0)), disk: total(fresh, ({ disk }) => disk),
  }
}

/** The recipe as far as it can be seen: what earlier runs measured decides between trials, and where they have not, the order in which they stand. */
function decided(entry: Source, environment: Environment, finished: Finished): Checked {
  let known = recheck(entry, environment)
  while (known.recipe !== null && known.session.undecided) {
    const { facts } = known.session.environment
    const measured = measuredBefore(known, finished).filter(([name]) => !facts.has(name))
    const more = measured.length > 0 ? measured : [...taken(known, false)]
    if (more.length === 0) return known
    known = recheck(entry, { ...environment, facts: new Map([...facts, ...more]) })
  }
  return known
}

/** What the trials of open rankings came to in earlier runs, where all of them were run. */
function measuredBefore({ recipe, session }: Checked, finished: Finished): readonly (readonly [string, number])[] {
  const open = (recipe?.stages ?? []).filter(({ key }) => session.rankings.has(key))
  return open.flatMap((ranking) => {
    const entries = ranking.inputs.filter(({ kind }) => kind === "evaluate").map((stage) => ({ stage, entry: entryOf(stage, finished) }))
    return entries.some(({ entry }) => entry === null) ? [] : entries.flatMap(({ stage, entry }) => Object.entries(entry?.about.facts ?? {}).map(([field, value]) => [`${stage.key}.${field}`, value] as const))
  })
}

function entryOf(stage: Stage, { keys, store }: Finished): ReturnType<Finished["store"]["get"]> {
  const key = keys.of(stage)
  return key !== null && store.has(key) ? store.get(key) : null
}

function choicesOf({ recipe, session }: Checked): readonly Choice[] {
  const machine = createMachine(session)
  const shown = (value: Value | undefined): readonly string[] => (value?.kind === "list" ? value.items.map((item) => nameOf(item, machine)) : [])
  return (recipe?.stages ?? []).filter(({ kind }) => kind === "ranking").map((stage) => {
    const [first = null] = shown(stage.args.get("points"))
    return { stage, taken: session.environment.facts.has(takenInOrder(stage.key)) ? first : null, refused: shown(stage.args.get("refused")) }
  })
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

/** The number of entries of a tokenizer: known from an earlier run, stated in the recipe, or taken to be at most this. */
function vocabulary(stage: Stage, checked: Checked, finished: Finished): readonly Unknown[] {
  if (stage.type.is !== "tokenizer") return []
  const before = entryOf(stage, finished)?.about.facts["size"]
  if (before !== undefined) return [{ stage, field: "size", taken: { value: before, is: "exact" } }]
  const { value, stated } = sizeTaken(stage, checked.session)
  return [{ stage, field: "size", taken: { value, is: stated ? "at most" : "about" } }]
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
  readonly choices: readonly { readonly name: string; readonly taken: string | null; readonly refused: readonly string[] }[]
  readonly params: Readonly<Record<string, string>>
  readonly device: string
  readonly flops: number
  readonly memory: number
  readonly disk: number
  readonly seconds: number
  /** Bytes that a stage may need at once, and weights that a model may have. */
  readonly limits: Limits
}

const writing: ReadonlySet<StageKind> = new Set(["generate", "write", "answered"])

/** One token at a time is bound by calls and memory, not by arithmetic: no time is told for it. */
function secondsOf(stage: Stage, flops: number | null, rate: Rate): number | null {
  return flops === null || writing.has(stage.kind) ? null : flops / rate.flops + rate.prepare[stage.kind === "train" ? "training" : "other"]
}

export function summarise(plan: Plan, rate: Rate): PlanSummary {
  const { flops, memory, disk, limits } = plan
  const stages = plan.stages.map(({ stage, args, ...rest }) => ({
    name: stage.name, kind: stage.kind, key: stage.key, ...rest, seconds: secondsOf(stage, rest.flops, rate), args: Object.fromEntries(args),
  }))
  return {
    stages,
    unknowns: plan.unknowns.map(({ stage, field, taken }) => ({ name: `${stage.name}.${field}`, taken, resolvedBy: stage.name })),
    choices: plan.choices.map(({ stage, ...rest }) => ({ name: stage.name, ...rest })),
    params: Object.fromEntries(plan.recipe.params.map((p) => [p.name, p.text])),
    device: rate.device, flops, memory, disk, seconds: stages.reduce((sum, { state, seconds }) => sum + (state === "cached" ? 0 : (seconds ?? 0)), 0), limits,
  }
}
