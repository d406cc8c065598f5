/** A recipe with every default written out: what a reader would have to look up stands in the text. Keys stay as they are. */
import type { Expr, Item, Parameter } from "../../grammar/ast.ts"
import type { Source } from "../../grammar/diagnostic.ts"
import { parse } from "../../grammar/parse.ts"
import { format } from "../../grammar/print.ts"
import { escape } from "../../grammar/strings.ts"
import { bindArguments, type Given } from "../check/arguments.ts"
import { check, type Checked } from "../check/check.ts"
import { evaluate } from "../check/evaluate.ts"
import { createMachine, moved, type Machine } from "../check/machine.ts"
import { lookup, moduleScope } from "../check/scopes.ts"
import type { Scope, Value } from "../check/value.ts"
import { constantOf } from "../check/poly.ts"

interface Edit { readonly at: number; readonly to: number; readonly text: string }

/** A call outside of any code: its arguments are values, not meaning by how they are written. */
interface Call {
  readonly callee: Expr | string
  readonly given: readonly Given[]
  readonly span: Expr["span"]
  /** Where more arguments go, and what surrounds them. */
  readonly place: { readonly at: number; readonly before: string; readonly between: string; readonly after: string }
}

/** The canonical text of a checked recipe without errors, with the values of `--set` as its params. */
export function renderDefaults(entry: Source, checked: Checked): string {
  const machine = moved(createMachine(checked.session), { silent: true })
  const module = checked.session.modules.get(entry.id)
  if (module === undefined) throw new Error("render: the recipe was not read")
  const settings = module.module.items.flatMap((item) => settingOf(item, checked))
  const groups = module.module.items.flatMap((item) => callsIn(item, entry).map((call) => editsOf(call, item, entry, machine)))
  const written = (edits: readonly (readonly Edit[])[]): string => canonical(entry.id, applied(entry.text, [...settings, ...edits.flat()]))
  const wanted = keysOf(checked)
  const keeps = (text: string): boolean => keysOf(check({ id: entry.id, text }, { ...checked.session.environment, params: new Map() })) === wanted
  const all = written(groups)
  if (keeps(all)) return all
  // Some default means something else where it is written: each call by itself tells which.
  const kept: (readonly Edit[])[] = []
  for (const edits of groups) if (keeps(written([...kept, edits]))) kept.push(edits)
  const text = written(kept)
  if (!keeps(text)) throw new Error("render: the text has other keys than the recipe")
  return text
}

function keysOf({ recipe }: Checked): string | null {
  return recipe === null ? null : recipe.stages.map(({ key }) => key).join()
}

function canonical(id: string, text: string): string {
  const source = { id, text }
  return format(parse(source).module, source)
}

function applied(text: string, edits: readonly Edit[]): string {
  let [result, from] = ["", 0]
  for (const { at, to, text: more } of [...edits].sort((a, b) => a.at - b.at)) {
    result += text.slice(from, at) + more
    from = to
  }
  return result + text.slice(from)
}

/** `--set` as the text of the param. */
function settingOf(item: Item, { session, recipe }: Checked): readonly Edit[] {
  const text = item.kind === "param" ? session.environment.params.get(item.name.name) : undefined
  if (item.kind !== "param" || text === undefined) return []
  const value = recipe?.bindings.get(item.name.name)
  return [{ at: item.value.span.start, to: item.value.span.end, text: value?.kind === "string" ? `"${escape(text)}"` : text }]
}

// ---------------------------------------------------------------- calls

function callsIn(item: Item, entry: Source): readonly Call[] {
  const waiting: Expr[] = item.kind === "bind" || item.kind === "param" ? [item.value] : item.kind === "expect" ? [item.condition] : item.kind === "export" ? [item.subject, ...item.fields.map((f) => f.value)] : []
  const calls: Call[] = []
  const scope = moduleScope(entry.id)
  for (let expr = waiting.pop(); expr !== undefined; expr = waiting.pop()) {
    const call = callOf(expr, entry.text, scope)
    if (call !== null) calls.push(call)
    waiting.push(...partsOf(expr))
  }
  return calls
}

/** Expressions in an expression; what is code, or has names of its own, is left as it is. */
function partsOf(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case "list": return expr.items
    case "record": return expr.fields.map((f) => f.value)
    case "call": return [expr.callee, ...expr.args.map((a) => a.value)]
    case "pipe": return [expr.left, ...(expr.right.kind === "call" ? [expr.right.callee, ...expr.right.args.map((a) => a.value)] : [])]
    case "field": return [expr.object]
    case "index": return [expr.object]
    case "unary": return [expr.operand]
    case "binary": return [expr.left, expr.right]
    case "if": return [expr.condition, expr.then, expr.else]
    case "with": return [expr.base, ...expr.fields.map((f) => f.value)]
    case "stage": return [expr.subject, expr.into, ...expr.fields.map((f) => f.value)].filter((e) => e !== null)
    default: return []
  }
}

function callOf(expr: Expr, text: string, scope: Scope): Call | null {
  const given = (name: Given["name"], value: Expr): Given => ({ name, expr: value, scope, value: null, span: value.span })
  const brackets = (end: number, args: number): Call["place"] => ({ at: end - 1, before: args === 0 || /,\s*$/.test(text.slice(0, end - 1)) ? "" : ", ", between: ", ", after: "" })
  if (expr.kind === "call") return { callee: expr.callee, span: expr.span, given: expr.args.map((a) => given(a.name, a.value)), place: brackets(expr.span.end, expr.args.length) }
  if (expr.kind === "stage") {
    const subjects = [expr.subject, expr.into].filter((e) => e !== null).map((e) => given(null, e))
    return { callee: expr.verb, span: expr.span, given: [...subjects, ...expr.fields.map((f) => given(f.name, f.value))], place: { at: expr.span.end - 1, before: /\n\s*$/.test(text.slice(0, expr.span.end - 1)) ? "" : "\n", between: "\n", after: "\n" } }
  }
  if (expr.kind !== "pipe") return null
  const { left, right } = expr
  if (right.kind !== "call") return { callee: right, span: right.span, given: [given(null, left)], place: { at: right.span.end, before: "(", between: ", ", after: ")" } }
  return { callee: right.callee, span: right.span, given: [given(null, left), ...right.args.map((a) => given(a.name, a.value))], place: brackets(right.span.end, right.args.length) }
}

// ---------------------------------------------------------------- defaults

/** What a `with` must be free to change is told, not written out. */
const follows = "// follows from it:"

function editsOf({ callee, given, span, place }: Call, item: Item, entry: Source, m: Machine): readonly Edit[] {
  const scope = given[0]?.scope ?? moduleScope(span.source)
  const value = typeof callee === "string" ? lookup(callee, scope, m) : callee.kind === "name" ? lookup(callee.name, scope, m) : evaluate(callee, scope, m)
  const of = value === null ? null : parametersOf(value)
  if (of === null) return []
  const bound = bindArguments({ params: of.params, what: "", scope: of.scope, given, site: { span, callee: span } }, m)
  if (bound === null) return []
  const names = new Set(of.params.map((p) => p.name.name))
  const [shown, following]: [string[], string[]] = [[], []]
  for (const p of of.params) {
    const name = p.name.name
    if (bound.spans.has(name) || p.rest || (p.default === null && p.type?.kind !== "optional")) continue
    const text = literalOf(bound.args.get(name) ?? null, m)
    if (text === null) continue
    const depends = p.default !== null && namesIn(p.default).some((used) => names.has(used))
    if (depends && value?.kind === "template") following.push(`${name} ${text}`)
    else shown.push(`${name}: ${text}`)
  }
  const end = item.span.end
  const said = entry.text.slice(end).trimStart().startsWith(follows)
  return [
    ...(shown.length === 0 ? [] : [{ at: place.at, to: place.at, text: `${place.before}${shown.join(place.between)}${place.after}` }]),
    ...(following.length === 0 || said ? [] : [{ at: end, to: end, text: ` ${follows} ${following.join(", ")}` }]),
  ]
}

function parametersOf(callee: Value): { readonly params: readonly Parameter[]; readonly scope: Scope } | null {
  switch (callee.kind) {
    case "closure": return callee.code.kind === "fn" ? { params: callee.code.params, scope: callee.scope } : null
    case "primitive": return { params: callee.code.params, scope: { names: new Map(), outer: null, module: callee.code.span.source } }
    case "template": case "definition": return { params: callee.code.params, scope: callee.scope }
    default: return null
  }
}

/** A value as a recipe writes it; null for those that only an expression can say. */
function literalOf(value: Value | null, m: Machine): string | null {
  switch (value?.kind) {
    case "int": {
      const n = constantOf(value.poly)
      return n === null ? null : String(n)
    }
    case "float": return value.value === null || !Number.isFinite(value.value) ? null : String(value.value)
    case "bool": return value.value === null ? null : String(value.value)
    case "string": return value.value === null ? null : `"${escape(value.value)}"`
    case "none": return "none"
    case "symbol": return value.name
    case "quantity": return `${value.value} ${value.unit}`
    case "list": {
      const items = value.count === undefined ? value.items.map((item) => literalOf(item, m)) : [null]
      return items.every((item) => item !== null) ? `[${items.join(", ")}]` : null
    }
    default: return null
  }
}

function namesIn(root: Expr): readonly string[] {
  const names: string[] = []
  const waiting: unknown[] = [root]
  while (waiting.length > 0) {
    const at = waiting.pop()
    if (typeof at !== "object" || at === null) continue
    if ("kind" in at && at.kind === "name" && "name" in at && typeof at.name === "string") names.push(at.name)
    waiting.push(...Object.values(at))
  }
  return names
}
