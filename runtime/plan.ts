import { check, type Checked, type Recipe } from "../compiler/check/check.ts"
import { display } from "../compiler/check/describe.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { constant } from "../compiler/check/poly.ts"
import type { Environment } from "../compiler/check/session.ts"
import type { ArtifactType } from "../compiler/check/value.ts"
import { lowerTraining, type TrainShape } from "../compiler/graph/lower/train.ts"
import { weightsOfSpec } from "../compiler/graph/lower/forward.ts"
import { size, type Program } from "../compiler/graph/node.ts"
import { cost } from "../compiler/plan/cost.ts"
import type { Facts, Stage } from "../compiler/plan/stage.ts"
import type { Source } from "../grammar/diagnostic.ts"
import type { ArtifactKeys } from "./stages/keys.ts"
import type { Store } from "./store/store.ts"

/** What one stage would take, as far as it can be known without running anything. `null`: not known, or nothing worth counting. */
export interface StagePlan {
  readonly stage: Stage
  readonly state: "new" | "cached"
  readonly parameters: number | null
  readonly flops: number | null
  /** Tokens that pass through the model. */
  readonly tokens: number | null
  /** Bytes a device needs at once, without fusion. */
  readonly memory: number | null
  readonly disk: number | null
  /** Arguments as the recipe and the defaults have them. */
  readonly args: readonly (readonly [name: string, value: string])[]
}

/** What is done already: results in the store, under the keys they have on a device. */
export interface Finished { readonly store: Store; readonly keys: ArtifactKeys }

/** A number that only a stage can tell, and what was taken in its place. */
export interface Assumption { readonly stage: Stage; readonly field: string; readonly value: number; readonly exact: boolean }

export interface Plan {
  readonly recipe: Recipe
  /** The recipe checked under the assumptions. */
  readonly checked: Checked
  readonly stages: readonly StagePlan[]
  readonly assumptions: readonly Assumption[]
  readonly flops: number
  readonly memory: number
}

/** Plans a checked recipe: sizes that only a run tells are taken from the store, or replaced by their upper bounds. */
export function planRecipe(entry: Source, environment: Environment, checked: Checked, finished: Finished): Plan | null {
  if (checked.recipe === null) return null
  const assumptions = checked.recipe.stages.flatMap((stage) => assume(stage, checked, finished))
  const facts: Facts = new Map(assumptions.map(({ stage, field, value }) => [`${stage.key}.${field}`, value]))
  const known = check(entry, { ...environment, facts })
  if (known.recipe === null) return null
  const stages = known.recipe.stages.map((stage) => planStage(stage, known, finished))
  return {
    recipe: known.recipe, checked: known, stages, assumptions,
    flops: stages.reduce((sum, s) => sum + (s.state === "new" ? (s.flops ?? 0) : 0), 0),
    memory: Math.max(0, ...stages.map((s) => s.memory ?? 0)),
  }
}

/** Characters that a `char` tokenizer is taken to meet where nothing is known of its text. */
const assumedCharacters = 256

/** The number of entries of a tokenizer: known from an earlier run, stated in the recipe, or taken to be at most this. */
function assume(stage: Stage, checked: Checked, finished: Finished): readonly Assumption[] {
  if (stage.type.is !== "tokenizer") return []
  const key = finished.keys.of(stage)
  const before = key !== null && finished.store.has(key) ? finished.store.get(key)?.about.facts["size"] : undefined
  if (before !== undefined) return [{ stage, field: "size", value: before, exact: true }]
  const stated = stage.args.get("size")
  const most = stated?.kind === "int" ? createMachine(checked.session).known(stated.poly) : null
  return [{ stage, field: "size", value: most ?? assumedCharacters, exact: false }]
}

function planStage(stage: Stage, known: Checked, finished: Finished): StagePlan {
  const machine = createMachine(known.session)
  const args = [...stage.args].flatMap(([name, value]): [string, string][] => {
    const text = display(value, machine)
    return text === null ? [] : [[name, text]]
  })
  const none = { parameters: null, flops: null, tokens: null, memory: null, disk: null }
  const measured = stage.kind === "train" ? planTraining(stage, known) : stage.type.is === "weights" ? planWeights(stage.type, known) : none
  const key = finished.keys.of(stage)
  return { stage, state: key !== null && finished.store.has(key) ? "cached" : "new", ...measured, args }
}

type Measures = Pick<StagePlan, "parameters" | "flops" | "tokens" | "memory" | "disk">

function planWeights(type: Extract<ArtifactType, { is: "weights" }>, known: Checked): Measures {
  const parameters = weightsOfSpec(known.session, type.spec).reduce((sum, w) => sum + size(w.shape), 0)
  return { parameters, flops: null, tokens: null, memory: null, disk: parameters * 4 }
}

/** Counts the training step as it will run. Without `steps` or `tokens` the number of steps depends on the data. */
function planTraining(stage: Stage, known: Checked): Measures {
  const found = trainingShape(stage, known)
  if (found === null) return { parameters: null, flops: null, tokens: null, memory: null, disk: null }
  const { shape, total } = found
  const lowered = lowerTraining(known.session, stage, shape)
  const program: Program | null = lowered.step ?? lowered.accumulation?.gradient ?? null
  const once = program === null ? null : cost(program)
  const parameters = lowered.weights.filter((slot) => slot.kept).reduce((sum, slot) => sum + size(slot.shape), 0)
  return {
    parameters, tokens: total === null ? null : total * shape.rows * shape.accumulate * shape.length,
    flops: once === null || total === null ? null : once.flops * shape.accumulate * total,
    memory: once?.peakBytes ?? null, disk: parameters * 4,
  }
}

/** The shape of a training as far as the recipe tells it; `total` is null where the number of steps depends on the data. */
function trainingShape(stage: Stage, known: Checked): { readonly shape: TrainShape; readonly total: number | null } | null {
  const machine = createMachine(known.session)
  const number = (name: string): number | null => {
    const value = stage.args.get(name)
    return value?.kind === "int" ? machine.known(value.poly) : value?.kind === "quantity" || value?.kind === "float" ? value.value : null
  }
  const data = stage.args.get("data")
  const tokens = data?.kind === "artifact" && data.type.is === "tokens" ? data.type : null
  const length = tokens?.length?.kind === "int" ? machine.known(tokens.length.poly) : null
  const vocab = tokens === null ? null : machine.known(machine.unknownInt(tokens.tokenizer.stage, "size", stage.span).poly)
  const rows = number("batch")
  if (length === null || vocab === null || rows === null) return null
  const accumulate = number("accumulate") ?? 1
  const wanted = number("tokens")
  const total = number("steps") ?? (wanted === null ? null : Math.ceil(wanted / (rows * accumulate * length)))
  return { total, shape: { rows, length, vocab: { size: constant(vocab), origin: null }, label: null, accumulate, total: total ?? 1000 } }
}

/** The programs of a stage, before (`raw`) or after the passes. Stages that run no graph have none. */
export function programsOf(stage: Stage, known: Checked, raw: boolean): readonly Program[] {
  const found = stage.kind === "train" ? trainingShape(stage, known) : null
  if (found === null) return []
  const { step, accumulation, measure } = lowerTraining(known.session, stage, { ...found.shape, raw })
  return [step, accumulation?.count, accumulation?.gradient, accumulation?.apply, measure].filter((p): p is Program => p !== null && p !== undefined)
}
