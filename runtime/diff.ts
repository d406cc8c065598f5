/** Two recipes by meaning, and two runs by what they depended on, what came out and how their losses went. */
import type { Checked } from "../compiler/check/check.ts"
import { fieldText, sameField } from "../compiler/plan/fields.ts"
import type { Lock, LockedStage } from "./lock.ts"
import { inputChanges } from "./lock.ts"
import type { Curve } from "./curves.ts"

/** A recipe or a run, as far as it is compared. */
export interface Side {
  /** As the user named it. */
  readonly name: string
  readonly lock: Lock
  /** Conditions, as they are written. */
  readonly expects: readonly string[]
  /** Of a run: losses of its trainings, by the key of their stage. */
  readonly curves: ReadonlyMap<string, Curve> | null
}

export interface FieldDiff { readonly field: string; readonly was: string | null; readonly is: string | null }

export type StageDiff =
  /** `fields`: arguments that mean something else; none where it only `follows` from other stages, or means something else altogether. */
  | { readonly is: "changed"; readonly name: string; readonly before: string; readonly kind: string; readonly fields: readonly FieldDiff[]; readonly follows: readonly string[] }
  | { readonly is: "added" | "removed"; readonly name: string; readonly kind: string }
  | { readonly is: "renamed"; readonly name: string; readonly before: string; readonly kind: string }

export interface ResultDiff { readonly stage: string; readonly fact: string; readonly was: number | null; readonly is: number | null }

/** Two curves of one training, or of two that have its name. */
export interface CurveDiff {
  readonly stage: string
  readonly a: Curve
  readonly b: Curve
  /** The first step with another loss; null: they agree wherever both were told. */
  readonly parts: number | null
  /** The step at which they are farthest from each other. */
  readonly farthest: { readonly step: number; readonly a: number; readonly b: number } | null
}

export interface Diff {
  /** No stage, setting, input or condition means something else. */
  readonly same: boolean
  /** What is not of the stages: version, library, arithmetic, settings, inputs, conditions. */
  readonly around: readonly string[]
  readonly stages: readonly StageDiff[]
  /** Stages that mean the same. */
  readonly equal: number
  readonly results: readonly ResultDiff[]
  readonly curves: readonly CurveDiff[]
}

export function expectsOf({ recipe }: Checked): readonly string[] {
  return (recipe?.expects ?? []).map(({ text }) => text.replace(/\s+/g, " ")).sort()
}

export function diff(a: Side, b: Side): Diff {
  const pairs = paired(a.lock.stages, b.lock.stages)
  const names = new Map(pairs.flatMap(({ was, is }) => (was !== null && is !== null && was.name !== is.name ? [[was.name, is.name] as const] : [])))
  const changed = new Set(pairs.flatMap(({ was, is }) => (is !== null && was?.key !== is.key ? [is.name] : [])))
  const stages = pairs.flatMap(({ was, is }) => stageDiff(was, is, changed, names))
  const around = [...aroundOf(a, b), ...conditions(a.expects.map((text) => renamed(text, names)), b.expects)]
  const both = pairs.flatMap(({ was, is }) => (was === null || is === null ? [] : [[was, is] as const]))
  const runs = a.curves !== null && b.curves !== null
  return {
    same: around.length === 0 && stages.every(({ is }) => is === "renamed"), around, stages, equal: both.filter(([was, is]) => was.key === is.key).length,
    results: runs ? both.flatMap(([was, is]) => resultsOf(was, is)) : [], curves: runs ? both.flatMap(([was, is]) => curvesOf(was, is, a, b)) : [],
  }
}

// ---------------------------------------------------------------- around the stages

function aroundOf(a: Side, b: Side): readonly string[] {
  const [was, is] = [a.lock, b.lock]
  const set = [...new Set([...Object.keys(was.set), ...Object.keys(is.set)])].sort().filter((name) => was.set[name] !== is.set[name])
  const arithmetic = a.curves !== null && b.curves !== null && was.numerics_class !== is.numerics_class
  return [
    ...(was.slm === is.slm ? [] : [`slm ${was.slm} -> ${is.slm}`]),
    ...(was.slm !== is.slm || was.compiler === is.compiler ? [] : [`compiler ${was.compiler.slice(0, 12)} -> ${is.compiler.slice(0, 12)}, another build of slm ${is.slm}`]),
    ...(was.library === is.library ? [] : ["another text of the library"]),
    ...(arithmetic ? [`arithmetic ${was.numerics_class} -> ${is.numerics_class}`] : []),
    ...set.map((name) => `--set ${name}: ${was.set[name] ?? "not given"} -> ${is.set[name] ?? "not given"}`),
    ...inputChanges(was.inputs, is.inputs, true).map(({ message }) => message),
  ]
}

/** A text with the names that stages have now. */
function renamed(text: string, names: ReadonlyMap<string, string>): string {
  return text.replace(/[A-Za-z_]\w*/g, (word) => names.get(word) ?? word)
}

function conditions(a: readonly string[], b: readonly string[]): readonly string[] {
  return [...a.filter((text) => !b.includes(text)).map((text) => `expect ${text}: removed`), ...b.filter((text) => !a.includes(text)).map((text) => `expect ${text}: added`)]
}

// ---------------------------------------------------------------- stages

interface Pair { readonly was: LockedStage | null; readonly is: LockedStage | null }

/** Stages that mean the same belong together, then those of one kind and name, then those that share most of their arguments. In the order of the second, what is gone last. */
function paired(a: readonly LockedStage[], b: readonly LockedStage[]): readonly Pair[] {
  const left = new Set(a)
  const take = (fits: (stage: LockedStage) => boolean): LockedStage | null => {
    const found = [...left].find(fits) ?? null
    if (found !== null) left.delete(found)
    return found
  }
  const same = new Map(b.map((is) => [is, take((was) => was.key === is.key)]))
  const named = new Map(b.map((is) => [is, same.get(is) ?? take((was) => was.kind === is.kind && was.name === is.name)]))
  const pairs = b.map((is): Pair => ({ was: named.get(is) ?? take((was) => was.kind === is.kind && alike(was, is)), is }))
  return [...pairs, ...[...left].map((was): Pair => ({ was, is: null }))]
}

function alike(a: LockedStage, b: LockedStage): boolean {
  const names = [...new Set([...Object.keys(a.with), ...Object.keys(b.with)])]
  return 2 * names.filter((name) => sameField(a.with[name], b.with[name])).length > names.length
}

function stageDiff(was: LockedStage | null, is: LockedStage | null, changed: ReadonlySet<string>, renames: ReadonlyMap<string, string>): readonly StageDiff[] {
  if (was === null || is === null) return [was, is].flatMap((stage) => (stage === null ? [] : [{ is: was === null ? "added" as const : "removed" as const, name: stage.name, kind: stage.kind }]))
  if (was.key === is.key) return was.name === is.name ? [] : [{ is: "renamed", name: is.name, before: was.name, kind: is.kind }]
  const names = [...new Set([...Object.keys(was.with), ...Object.keys(is.with)])].sort().filter((name) => !sameField(was.with[name], is.with[name]) && nameNow(was.with[name], renames) !== is.with[name])
  const fields = names.map((field): FieldDiff => ({ field, was: shown(was.with[field]), is: shown(is.with[field]) }))
  const follows = [...new Set(Object.values(is.with).flatMap((text) => [text, text.split(".")[0] ?? ""]).filter((name) => changed.has(name)))]
  return [{ is: "changed", name: is.name, before: was.name, kind: is.kind, fields, follows: fields.length > 0 ? [] : follows }]
}

/** `teacher` or `teacher.large`, as it is called now. */
function nameNow(text: string | undefined, names: ReadonlyMap<string, string>): string | undefined {
  const [first = "", ...rest] = text?.split(".") ?? []
  return names.has(first) ? [names.get(first), ...rest].join(".") : text
}

function shown(text: string | undefined): string | null {
  return text === undefined ? null : fieldText(text)
}

// ---------------------------------------------------------------- results

function resultsOf(was: LockedStage, is: LockedStage): readonly ResultDiff[] {
  const names = [...new Set([...Object.keys(was.facts), ...Object.keys(is.facts)])]
  return names.filter((name) => !Object.is(was.facts[name], is.facts[name])).map((fact) => ({ stage: is.name, fact, was: was.facts[fact] ?? null, is: is.facts[fact] ?? null }))
}

function curvesOf(was: LockedStage, is: LockedStage, { curves: before }: Side, { curves: after }: Side): readonly CurveDiff[] {
  const [a, b] = [before?.get(was.key), after?.get(is.key)]
  if (a === undefined || b === undefined || a.length === 0 || b.length === 0) return []
  const others = new Map(b.map((point) => [point.step, point.loss]))
  const common = a.flatMap(({ step, loss }) => {
    const other = others.get(step)
    return other === undefined ? [] : [{ step, a: loss, b: other }]
  })
  const gap = (point: (typeof common)[number]): number => Math.abs(point.a - point.b)
  const parts = common.find((point) => point.a !== point.b)?.step ?? null
  return [{ stage: is.name, a, b, parts, farthest: parts === null ? null : common.reduce((most, point) => (gap(point) > gap(most) ? point : most)) }]
}
