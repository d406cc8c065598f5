/** Calls: what can be called, and what that means. Binding of arguments is in `arguments.ts`. */
import type { CallExpr, Expr, PipeExpr, StageExpr, TypeExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import type { Bound, Given } from "./arguments.ts"
import { bindArguments } from "./arguments.ts"
import { curriculumOf } from "./curriculum.ts"
import { tooDeep } from "./depth.ts"
import { kindOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import { callFrozen, callInstance, inEvaluation } from "./forward.ts"
import type { Machine } from "./machine.ts"
import { moved } from "./machine.ts"
import { error, unknown } from "./make.ts"
import { primitives } from "./primitives/table.ts"
import { derived } from "./reach.ts"
import { inLibrary, sameSpan } from "./relocate.ts"
import { inner, lookup, reportUnknownName } from "./scopes.ts"
import { coerce } from "./types.ts"
import { runRequires } from "./instance.ts"
import type { ClosureValue, DefinitionValue, Dim, PrimitiveValue, Scope, TemplateValue, Value } from "./value.ts"

/** Where a call stands. */
export interface Site { readonly span: Span; readonly callee: Span }

export function evaluateCall(expr: CallExpr, scope: Scope, m: Machine): Value {
  const callee = evaluate(expr.callee, scope, m)
  const given = expr.args.map((a): Given => ({ name: a.name, expr: a.value, scope, value: null, span: a.span }))
  return call(callee, given, { span: expr.span, callee: expr.callee.span }, m)
}

/** `x |> f(y)` is `f(x, y)`, `x |> f` is `f(x)`. */
export function applyPipe(expr: PipeExpr, scope: Scope, m: Machine): Value {
  const left = evaluate(expr.left, scope, m)
  const first: Given = { name: null, expr: null, scope, value: left, span: expr.left.span }
  const calleeExpr: Expr = expr.right.kind === "call" ? expr.right.callee : expr.right
  const callee = evaluate(calleeExpr, scope, m)
  const rest = expr.right.kind === "call" ? expr.right.args.map((a): Given => ({ name: a.name, expr: a.value, scope, value: null, span: a.span })) : []
  if (left.kind === "error") {
    evaluateLoosely(rest, m)
    return error
  }
  return call(callee, [first, ...rest], { span: expr.right.span, callee: calleeExpr.span }, m)
}

/** `verb SUBJECT into TARGET { … }` is the call of the function of that name. */
export function applyStage(expr: StageExpr, scope: Scope, m: Machine): Value {
  const callee = lookup(expr.verb, scope, m) ?? reportUnknownName(expr.verb, expr.verbSpan, scope, m)
  const given: Given[] = [expr.subject, expr.into].filter((e): e is Expr => e !== null).map((e) => ({ name: null, expr: e, scope, value: null, span: e.span }))
  given.push(...expr.fields.map((f): Given => ({ name: f.name, expr: f.value, scope, value: null, span: f.span })))
  return call(callee, given, { span: expr.span, callee: expr.verbSpan }, m)
}

/** A call with values that are known already, by position. */
export function applyValues(callee: Value, args: readonly Value[], at: Span, m: Machine): Value {
  const given = args.map((value): Given => ({ name: null, expr: null, scope: { names: new Map(), outer: null, module: at.source }, value, span: at }))
  return call(callee, given, { span: at, callee: at }, m)
}

/** A call takes more of the host's stack than other expressions do. */
const depthOfCall = 2

export function call(callee: Value, given: readonly Given[], site: Site, m: Machine): Value {
  m.session.depth += depthOfCall
  const value = callKind(callee, given, site, m)
  m.session.depth -= depthOfCall
  return value
}

function callKind(callee: Value, given: readonly Given[], site: Site, m: Machine): Value {
  switch (callee.kind) {
    case "closure": return callClosure(callee, given, site, m)
    case "primitive": return callPrimitive(callee, given, site, m)
    case "template": return specify(callee, given, site, m)
    case "definition": return callDefinition(callee, given, site.span, m, site)
    case "instance": return callInstance(callee, given, site, callee.trained === undefined ? m : inEvaluation(m))
    case "artifact": return callee.type.is === "weights" ? callFrozen(callee, given, site, m) : notCallable(callee, given, site, m)
    case "unknown": {
      evaluateLoosely(given, m)
      return unknown(callee.type === "schedule" ? "number" : "any", site.span)
    }
    case "error": {
      evaluateLoosely(given, m)
      return error
    }
    default: return notCallable(callee, given, site, m)
  }
}

function notCallable(callee: Value, given: readonly Given[], site: Site, m: Machine): Value {
  evaluateLoosely(given, m)
  const help = callee.kind === "spec" ? "a specification has no weights: make it a `part`, and call the part" : callee.kind === "int" || callee.kind === "float" ? "write `*` to multiply" : undefined
  return m.report(diagnostic("SLM2115", site.callee, `${kindOf(callee, m)} cannot be called`, help === undefined ? {} : { help }))
}

/** Arguments of a call that will not happen: their own mistakes are still reported, but a bare word may be a word. */
function evaluateLoosely(given: readonly Given[], m: Machine): void {
  for (const g of given) if (g.expr !== null && g.expr.kind !== "name" && g.expr.kind !== "list") evaluate(g.expr, g.scope, m)
}

// ---- functions

function callClosure(closure: ClosureValue, given: readonly Given[], site: Site, m: Machine): Value {
  if (closure.code.kind === "lambda") return callLambda(closure, given, site, m)
  const code = closure.code
  const bound = bindArguments({ params: code.params, what: `\`${code.name.name}\``, scope: closure.scope, given: withTotal(given, code.params.length, m), site }, m)
  if (bound === null || code.body === null || [...bound.args.values()].some((v) => v.kind === "error")) return error
  const at = entered(code.name.name, code, bound, site, m)
  if (at === null) return error
  const body = code.body
  const made = evaluate(body, inner(inner(closure.scope, axisNames(bound.axes)), bound.args), at)
  // A function that a function makes is shown as the call that made it: `cosine(peak: 3e-3)`.
  const result = made.kind === "closure" && made.code.kind === "lambda" ? { ...made, origin: site.span } : made
  return checkResult(result, code.returns, `the result of \`${code.name.name}\``, body.span, inner(closure.scope, bound.args), bound.axes, at)
}

function callLambda(closure: ClosureValue, given: readonly Given[], site: Site, m: Machine): Value {
  if (closure.code.kind !== "lambda") return error
  const { params, body } = closure.code
  const values = given.map((g) => g.value ?? (g.expr === null ? error : evaluate(g.expr, g.scope, m)))
  const named = given.find((g) => g.name !== null)
  if (named?.name) return m.report(diagnostic("SLM2014", named.span, "a function without a name takes its arguments by position"))
  const all = withTotal(given.map((g, i) => ({ ...g, value: values[i] ?? error })), params.length, m).map((g) => g.value ?? error)
  if (all.length !== params.length) {
    return m.report(diagnostic(values.length < params.length ? "SLM2015" : "SLM2016", site.span, `this function takes ${count(params.length, "argument")}, not ${values.length}`, {
      labels: sameSpan(site.span, closure.code.span) ? [] : [{ span: closure.code.span, message: "the function" }],
    }))
  }
  if (all.some((v) => v.kind === "error")) return error
  const args = new Map(params.map((p, i) => [p.name, all[i] ?? error]))
  const at = entered("", closure.code, { args, axes: new Map(), spans: new Map() }, site, m)
  return at === null ? error : evaluate(body, inner(closure.scope, args), at)
}

/** Inside of `update`, `lr(step)` passes the run's total to a function of (step, total). */
function withTotal(given: readonly Given[], params: number, m: Machine): readonly Given[] {
  const [first] = given
  if (m.total === null || params !== 2 || given.length !== 1 || first === undefined || first.name !== null) return given
  return [first, { ...first, value: m.total, expr: null }]
}

export function count(n: number, noun: string): string {
  return `${n === 0 ? "no" : n === 1 ? "one" : n} ${noun}${n === 1 ? "" : "s"}`
}

/** Calls inside of each other. */
const deepest = 200

/** The machine inside of a call. null: calls are nested too deeply, which has been reported. */
export function entered(name: string, code: object, bound: Bound, site: Site, m: Machine, path = m.path): Machine | null {
  const depth = (m.frames?.depth ?? 0) + 1
  if (depth <= deepest) return moved(m, { path, frames: { name, code, span: site.span, args: bound.args, argSpans: bound.spans, outer: m.frames, depth } })
  tooDeep(site.span, m)
  return null
}

export function axisNames(axes: ReadonlyMap<string, Dim>): ReadonlyMap<string, Value> {
  return new Map([...axes].map(([name, d]) => [name, { kind: "int", poly: d.size, origin: d.origin }]))
}

/** A result against its declared type. */
export function checkResult(
  value: Value, type: TypeExpr | null, what: string, at: Span, scope: Scope, axes: Map<string, Dim>, m: Machine,
): Value {
  if (type === null || value.kind === "error" || value.kind === "unknown") return value
  const bound = new Map(axes)
  return coerce(value, type, { name: what, what, at, scope, axes: bound }, m)
}

// ---- primitives

function callPrimitive(callee: PrimitiveValue, given: readonly Given[], site: Site, m: Machine): Value {
  const scope: Scope = { names: new Map(), outer: null, module: callee.code.span.source }
  const bound = bindArguments({ params: callee.code.params, what: `\`${callee.name}\``, scope, given, site }, m)
  if (bound === null) return error
  const meaning = primitives.get(callee.name)
  if (meaning === undefined && !inLibrary(callee.code.span, m.session)) return error // reported where it is declared
  if (meaning === undefined) return m.report(diagnostic("SLM2025", site.callee, `this version of slm has no primitive \`${callee.name}\``))
  const values = [...bound.args.values()]
  if (values.some((v) => v.kind === "error" || (v.kind === "list" && v.items.some((i) => i.kind === "error")))) return error
  for (const p of callee.code.params) {
    const value = bound.args.get(p.name.name)
    if (value !== undefined && isUnsettled(value, goesOverLists.has(callee.name))) return unknown(resultType(callee), site.span)
  }
  const at = entered(callee.name, callee.code, bound, site, m)
  if (at === null) return error
  const made = meaning(bound.args, { span: site.span, callee: site.callee, args: bound.spans }, at)
  return goesOverLists.has(callee.name) ? made : derived(made, callee.name, values, m)
}

/** Primitives that look at a list without looking at its items. */
const goesOverLists: ReadonlySet<string> = new Set(["length", "fold", "fold_steps", "map", "ensure", "ranking"])

/** Not known because a definition is being checked; there is nothing a primitive could say about it. */
function isUnsettled(value: Value, lists: boolean): boolean {
  return value.kind === "unknown" || (value.kind === "list" && !lists && value.items.some((i) => isUnsettled(i, false)))
}

function resultType(callee: PrimitiveValue): string {
  const returns = callee.code.returns
  return returns?.kind === "named" ? returns.name : returns?.kind === "tensor" ? "tensor" : "any"
}

// ---- templates and definitions

function specify(template: TemplateValue, given: readonly Given[], site: Site, m: Machine): Value {
  const name = template.code.name.name
  const bound = bindArguments({ params: template.code.params, what: `\`${name}\``, scope: template.scope, given, site }, m)
  if (bound === null) return error
  const args = new Map([...bound.args].filter(([key]) => bound.spans.has(key)))
  return { kind: "spec", name, template, args, ats: [], origin: site.span }
}

export function callDefinition(callee: DefinitionValue, given: readonly Given[], at: Span, m: Machine, site: Site = { span: at, callee: at }): Value {
  const { code, scope } = callee
  const bound = bindArguments({ params: code.params, what: `\`${code.name.name}\``, scope, given, site }, m)
  if (bound === null) return error
  const own = inner(scope, bound.args)
  const inside = entered(code.name.name, code, bound, site, m)
  if (inside === null) return error
  switch (code.kind) {
    case "optimizer":
      return runRequires(code.requires, own, site.span, inside) ? { kind: "optimizer", code, args: bound.args, scope: own, transforms: [], origin: at } : error
    case "encoding":
      return runRequires(code.requires, own, site.span, inside) ? { kind: "encoding", code, args: bound.args, scope: own, origin: at } : error
    case "curriculum": return curriculumOf(code, own, bound, site, inside)
  }
}
