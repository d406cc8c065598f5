/**
 * The checker: from the text of a recipe to its stages, its conditions and everything that is wrong with it.
 * Called again with more facts after stages have run, it decides what could not be decided before.
 */
import type { Expect, ExportItem } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { parse } from "../../grammar/parse.ts"
import type { Diagnostic, Source, Span } from "../../grammar/diagnostic.ts"
import { createKeys, type Keys } from "../plan/key.ts"
import type { Facts, Stage } from "../plan/stage.ts"
import { checkDefinitions } from "./definitions.ts"
import { display, kindOf, showType, textOf } from "./describe.ts"
import { reportDuplicates } from "./duplicates.ts"
import { evaluate } from "./evaluate.ts"
import { exportStage, reportSamePlaces } from "./exports.ts"
import { resolveSpec } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { createMachine } from "./machine.ts"
import { bool } from "./make.ts"
import { libraryModule, loadModule, takeCarried } from "./modules.ts"
import { binary } from "./operators.ts"
import { sizesAreStated, taken } from "./taken.ts"
import { force, lookup, moduleScope, prelude } from "./scopes.ts"
import type { Environment, LoadedModule, Session } from "./session.ts"
import { limits } from "./session.ts"
import { didYouMean } from "./suggest.ts"
import { reportUnused, reportUnusedData } from "./unused.ts"
import type { BoolValue, Value } from "./value.ts"

export interface Checked {
  /** In order of modules and places; nothing can be run while one of them is an error. */
  readonly diagnostics: readonly Diagnostic[]
  /** Every text that was read, by module id. */
  readonly sources: ReadonlyMap<string, Source>
  /** null: there are errors. */
  readonly recipe: Recipe | null
  /** What lowering evaluates functions of the recipe with: `createMachine(session, lowering)`. */
  readonly session: Session
}

export interface Recipe {
  /** Everything there is to run, inputs before what needs them. */
  readonly stages: readonly Stage[]
  /** The names of the recipe, in order. */
  readonly bindings: ReadonlyMap<string, Value>
  readonly params: readonly RecipeParam[]
  readonly expects: readonly CheckedExpect[]
  readonly exports: readonly Stage[]
}

export interface RecipeParam {
  readonly name: string
  /** As written, or null. */
  readonly type: string | null
  readonly value: Value
  /** The value as text. */
  readonly text: string
  readonly doc: string | null
}

export interface CheckedExpect {
  readonly span: Span
  /** As written. */
  readonly text: string
  /** The two sides, where the condition is a comparison. */
  readonly comparison: { readonly op: string; readonly left: Value; readonly right: Value } | null
  /** `value: null` until the stages it needs have run. */
  readonly condition: BoolValue
  /** The stages whose numbers it reads. */
  readonly inputs: readonly Stage[]
}

export function check(entry: Source, environment: Environment): Checked {
  const first = recheck(entry, environment)
  return first.recipe === null || !first.session.undecided ? first : ahead(first, entry, environment)
}

/** As `check`, but nothing is looked at that waits for a choice: for when facts have been added and all has been looked at before. */
export function recheck(entry: Source, environment: Environment): Checked {
  const session = createSession(entry.id, environment)
  const found = guarded(session, () => checkRecipe(entry, session))
  const diagnostics = inOrder(session)
  const good = !diagnostics.some((d) => d.severity === "error")
  return { diagnostics, sources: session.sources, session, recipe: good ? found : null }
}

/**
 * What follows from a choice among trials is checked before anything runs, as if they came out in the order in which they stand; and what waits for the size of a vocabulary, with the size that it is taken to have. What is wrong
 * with a size that was only taken is a warning.
 */
function ahead(first: Checked, entry: Source, environment: Environment): Checked {
  let facts = environment.facts
  let last = first
  let sizes = false
  while (last.recipe !== null && last.session.undecided) {
    const more = taken(last, sizes)
    if (more.size === 0 && sizes) break
    sizes ||= more.size === 0
    facts = new Map([...facts, ...more])
    if (more.size > 0) last = recheck(entry, { ...environment, facts })
  }
  const known = new Set(first.diagnostics.map((d) => `${d.code} ${d.span.source} ${d.span.start}`))
  const found = last.diagnostics.filter((d) => !known.has(`${d.code} ${d.span.source} ${d.span.start}`)).flatMap((d): readonly Diagnostic[] => {
    if (!sizes || d.code === "SLM2011") return [d]
    return sizesAreStated(first) ? [{ ...d, severity: "warning", notes: [...d.notes, "so it is with the sizes that vocabularies are taken to have; it is decided once they are known"] }] : []
  })
  return { ...first, diagnostics: [...first.diagnostics, ...found], recipe: found.some((d) => d.severity === "error") ? null : first.recipe }
}

/**
 * Evaluation counts how deep it is, but values can be nested by loops (`fold(0..3000, [], (xs, i) => [xs])`) deeper than the
 * functions that walk over them can follow: that is the recipe's fault, and said so.
 */
function guarded<T>(session: Session, body: () => T): T | null {
  try {
    return body()
  } catch (error) {
    if (!(error instanceof RangeError && error.message.includes("call stack"))) throw error
    createMachine(session).report(diagnostic("SLM2401", { source: session.entry, start: 0, end: 0 }, "a value of this recipe is nested too deeply to work with"))
    return null
  }
}

function checkRecipe(entry: Source, session: Session): Recipe {
  const m = createMachine(session)
  session.sources.set(entry.id, entry)
  const parsed = parse(entry)
  for (const d of parsed.diagnostics) m.report(d)
  takeCarried(parsed.module, m)
  libraryModule(prelude, m)
  const module = loadModule({ ...entry, module: parsed.module }, [], m, "")
  reportUnknownSettings(module, m)
  const bindings = new Map<string, Value>()
  for (const e of module.entries.values()) if (e.from === null) bindings.set(e.name, force(e, module, m))
  for (const e of module.entries.values()) if (e.from !== null) force(e, module, m)
  for (const value of bindings.values()) if (value.kind === "spec") m.instantiate(value, "model", value.origin ?? { source: entry.id, start: 0, end: 0 })
  session.binding = null
  const expects: CheckedExpect[] = []
  const exports: Stage[] = []
  for (const item of module.module.items) {
    if (item.kind === "expect") expects.push(...checkExpect(item, module, m))
    if (item.kind === "export") exports.push(...checkExport(item, module, m))
  }
  reportSamePlaces(exports, m)
  const stages = [...session.stages.values()]
  const own = [...session.modules.values()].filter((loaded) => !loaded.library)
  const { undecided } = session
  for (const loaded of own) reportDuplicates(loaded, m)
  for (const loaded of own) checkDefinitions(loaded, m)
  for (const loaded of own) reportUnused(loaded, m)
  session.undecided = undecided
  // What follows from a choice may read what nothing else does.
  if (!undecided) reportUnusedData(bindings, stages, session, m)
  return { stages, bindings, params: paramsOf(module, bindings, m), expects, exports }
}

/** Checks the definitions of one module of the library by themselves, examples excepted. */
export function checkModule(source: Source, environment: Environment): Checked {
  const session = createSession(source.id, environment)
  const m = createMachine(session)
  if (source.id !== prelude) libraryModule(prelude, m)
  const module = loadModule(source, [], m)
  for (const e of module.entries.values()) force(e, module, m)
  reportDuplicates(module, m)
  checkDefinitions(module, m)
  return { diagnostics: inOrder(session), sources: session.sources, recipe: null, session }
}

export function createSession(entry: string, environment: Environment): Session {
  const stages = new Map<string, Stage>()
  const session: Session = {
    environment, entry, stages, modules: new Map(), sources: new Map(), carried: new Map(), pinned: new Map(), diagnostics: [], reported: new Set(), specs: new WeakMap(), sizes: new WeakMap(), trained: new WeakMap(), rules: new WeakMap(), bindings: new WeakMap(), again: new WeakMap(),
    verified: new Set(), partsRead: new Set(), named: new Set(), read: new Set(), stepsLeft: limits.steps, outOfBounds: new Set(), depth: 0, binding: null, called: null, undecided: false, rankings: new Set(),
    keys: keysOf(() => session),
  }
  return session
}

/** Keys of values, none of them known yet. */
export function keysOf(session: () => Session): Keys {
  return createKeys({
    lookup: (name, scope) => lookup(name, scope, createMachine(session())),
    argsOf: (spec) => resolveSpec(spec, createMachine(session()))?.args ?? spec.args,
    stageOf: (key) => session().stages.get(key) ?? null,
  })
}

// ---- parts of a recipe

function reportUnknownSettings(module: LoadedModule, m: Machine): void {
  const params = module.module.items.flatMap((item) => (item.kind === "param" ? [item.name.name] : []))
  for (const name of m.session.environment.params.keys()) {
    if (params.includes(name)) continue
    const help = didYouMean(name, params) ?? (params.length === 0 ? "a `param` of the recipe can be set: `param lr = 3e-3`" : `there are ${params.map((p) => `\`${p}\``).join(", ")}`)
    m.report(diagnostic("SLM2301", { source: module.id, start: 0, end: 0 }, `\`--set ${name}\`: the recipe has no param \`${name}\``, { help }))
  }
}

function paramsOf(module: LoadedModule, bindings: ReadonlyMap<string, Value>, m: Machine): readonly RecipeParam[] {
  return module.module.items.flatMap((item): RecipeParam[] => {
    const value = item.kind === "param" ? bindings.get(item.name.name) : undefined
    if (item.kind !== "param" || value === undefined) return []
    return [{ name: item.name.name, type: item.type === null ? null : showType(item.type, m.session), value, text: display(value, m) ?? "", doc: item.doc }]
  })
}

const comparisons: ReadonlySet<string> = new Set(["<", "<=", ">", ">=", "==", "!="])

function checkExpect(item: Expect, module: LoadedModule, m: Machine): readonly CheckedExpect[] {
  const { session } = m
  const scope = moduleScope(module.id)
  const before = new Set(session.read)
  session.read.clear()
  const { condition: expr } = item
  const sides = expr.kind === "binary" && comparisons.has(expr.op) ? { op: expr.op, left: evaluate(expr.left, scope, m), right: evaluate(expr.right, scope, m) } : null
  const value = sides !== null && expr.kind === "binary" ? binary(expr.op, sides.left, sides.right, expr, m) : evaluate(expr, scope, m)
  const inputs = [...session.read].flatMap((key) => session.stages.get(key) ?? [])
  for (const key of before) session.read.add(key)
  if (value.kind === "error") return []
  if (value.kind !== "bool" && value.kind !== "unknown") {
    m.report(diagnostic("SLM2110", expr.span, `\`expect\` takes a condition, not ${kindOf(value, m)}`))
    return []
  }
  const condition = value.kind === "bool" ? value : bool(null, expr.span)
  return [{ span: item.span, text: textOf(expr.span, session), comparison: sides, condition, inputs }]
}

function checkExport(item: ExportItem, module: LoadedModule, m: Machine): readonly Stage[] {
  const stage = exportStage(item, moduleScope(module.id), m)
  return stage === null ? [] : [stage]
}

/** The recipe's own mistakes first, each module's in order of place. */
function inOrder(session: Session): readonly Diagnostic[] {
  const rank = (d: Diagnostic): number => (d.span.source === session.entry ? 0 : 1)
  return [...session.diagnostics].sort((a, b) => rank(a) - rank(b) || (a.span.source < b.span.source ? -1 : a.span.source > b.span.source ? 1 : 0) || a.span.start - b.span.start)
}

export type { Environment, Facts, Session }
