/**
 * The arguments of a stage as flat fields with short texts, for people who ask what changed: `model.dim: 8`,
 * `optim.lr.peak: 0.003`. Of code that the recipe wrote a hash stands behind the text, so that a change shows where the text is
 * cut; layout and names of local variables do not enter it.
 */
import { display } from "../check/describe.ts"
import { resolveSpec } from "../check/instance.ts"
import type { Machine } from "../check/machine.ts"
import { createMachine } from "../check/machine.ts"
import { entryOf, lookupLocal } from "../check/scopes.ts"
import type { Session } from "../check/session.ts"
import type { ClosureValue, Scope, SpecValue, Value } from "../check/value.ts"
import { canonicalCode } from "./canonical.ts"
import { permissions } from "./key.ts"
import { sha256 } from "./sha256.ts"
import type { Stage } from "./stage.ts"

export type Fields = Readonly<Record<string, string>>
type Named = { readonly name: { readonly name: string } }
type Field = readonly [name: string, text: string]

/** What is not given is not there. Of artifacts the name: what they mean is a stage of its own. */
export function fieldsOf(stage: Stage, session: Session): Fields {
  // Sizes by the stage that decides them (`words.size`), not by what it decided: that is a fact of its own.
  const machine = createMachine({ ...session, environment: { ...session.environment, facts: new Map() } })
  const shown: Shown = new Map()
  const fields = [...stage.args].filter(([name]) => !permissions.has(name)).flatMap(([name, value]) => fieldsOfValue(name, value, machine, deepest, shown))
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
}

/** Whether two texts of one field stand for the same: where both have a hash, it decides. */
export function sameField(a: string | undefined, b: string | undefined): boolean {
  const [hashA, hashB] = [hashOf(a), hashOf(b)]
  return hashA === null || hashB === null ? a === b : hashA === hashB
}

/** The text without its hash. */
export function fieldText(text: string): string {
  return text.replace(/ #[0-9a-f]{12}$/, "")
}

function hashOf(text: string | undefined): string | null {
  return text === undefined ? null : (/ #([0-9a-f]{12})$/.exec(text)?.[1] ?? null)
}

/** Code whose surroundings have been shown, and which ones: what is used in ten places is told once. */
type Shown = Map<object, Set<Scope | string>>

/** Functions that hold functions that hold functions. */
const deepest = 8

function fieldsOfValue(name: string, value: Value, m: Machine, depth: number, shown: Shown): readonly Field[] {
  const at = (more: string, item: Value): readonly Field[] => (depth === 0 ? [] : fieldsOfValue(`${name}${more}`, item, m, depth - 1, shown))
  const all = (values: ReadonlyMap<string, Value>): readonly Field[] => [...values].flatMap(([field, item]) => at(`.${field}`, item))
  const defined = (code: Named, scope: Scope): readonly Field[] => [[name, isLibrary(scope, m.session) ? code.name.name : `${code.name.name} #${short(canonicalCode(code).text)}`], ...captured(name, code, scope, m, depth, shown)]
  switch (value.kind) {
    case "none": return []
    case "list": return value.items.flatMap((item, i) => at(`[${i}]`, item))
    case "record": return all(value.fields)
    case "spec": return [...fieldsOfValue(name, value.template, m, depth, shown), ...all(argumentsOf(value, m)), ...value.ats.flatMap((a) => at(`.at ${a.address.text}`, a.replace)), ...(value.given === undefined ? [] : at(".from", value.given))]
    case "optimizer": return [...defined(value.code, value.scope), ...all(value.args), ...value.transforms.flatMap((t, i) => at(`.transforms[${i}]`, t))]
    case "encoding": return [...defined(value.code, value.scope), ...all(value.args)]
    case "definition": case "template": case "format": case "curriculum": return defined(value.code, value.scope)
    case "closure": return fieldsOfFunction(name, value, m, depth, shown)
    default: return [[name, display(value, m) ?? `${value.kind} #${short(m.session.keys.of(value))}`]]
  }
}

function argumentsOf(spec: SpecValue, m: Machine): ReadonlyMap<string, Value> {
  return resolveSpec(spec, m)?.args ?? spec.args
}

/** A schedule that is a number is shown as one. */
function fieldsOfFunction(name: string, value: ClosureValue, m: Machine, depth: number, shown: Shown): readonly Field[] {
  const { code, scope } = value
  const constant = code.kind === "lambda" && code.body.kind === "name" && scope.names.size === 1 ? scope.names.get(code.body.name) : undefined
  if (constant !== undefined) return fieldsOfValue(name, constant, m, depth, shown)
  const text = value.name ?? enclosing(value, m.session) ?? display(value, m) ?? "a function"
  return [[name, isLibrary(scope, m.session) ? text : `${text} #${short(canonicalCode(code).text)}`], ...captured(name, code, scope, m, depth, shown)]
}

/** The values that code takes from around it, once for each code: arguments of the function it was made in, and names of the recipe. */
function captured(name: string, code: object, scope: Scope, m: Machine, depth: number, shown: Shown): readonly Field[] {
  const scopes = shown.get(code) ?? new Set()
  const around = scope.outer === null && scope.names.size === 0 ? scope.module : scope
  if (depth === 0 || scopes.has(around)) return []
  shown.set(code, scopes.add(around))
  return canonicalCode(code).free.flatMap((free) => {
    const value = lookupLocal(free, scope) ?? (isLibrary(scope, m.session) ? null : (entryOf(free, scope.module, m.session)?.entry.value ?? null))
    return value === null || isLibraryCode(value, m.session) ? [] : fieldsOfValue(`${name}.${free}`, value, m, depth - 1, shown)
  })
}

/** What the library defines is known by its name: its text is compared as a whole. */
function isLibraryCode(value: Value, session: Session): boolean {
  switch (value.kind) {
    case "primitive": case "error": return true
    case "closure": return value.scope.outer === null && value.scope.names.size === 0 && isLibrary(value.scope, session)
    case "definition": case "template": case "format": return isLibrary(value.scope, session)
    default: return false
  }
}

function isLibrary(scope: Scope, session: Session): boolean {
  return session.modules.get(scope.module)?.library ?? false
}

/** The function of the library that made a function: `cosine`. */
function enclosing({ code, scope }: ClosureValue, session: Session): string | null {
  if (!isLibrary(scope, session)) return null
  const items = session.modules.get(scope.module)?.module.items ?? []
  const around = items.find((item) => item.kind === "fn" && item.span.start <= code.span.start && code.span.end <= item.span.end)
  return around?.kind === "fn" ? around.name.name : null
}

function short(text: string): string {
  return sha256(text).slice(0, 12)
}
