/** Templates become specifications (arguments bound), specifications become instances (weights and parts at paths). */
import type { Definition, Member, Part, Require, Weight } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { pathsOf, reportUnmatched } from "./address.ts"
import type { Given } from "./arguments.ts"
import { bindArguments } from "./arguments.ts"
import { entered } from "./calls.ts"
import { display, kindOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { error, none, tensor, unknown } from "./make.ts"
import type { Before, Override } from "./replace.ts"
import { asSpec, overridesOf, placed, started } from "./replace.ts"
import { inner } from "./scopes.ts"
import { dtypes } from "./shapes.ts"
import { coerce } from "./types.ts"
import type { ArtifactValue, Dim, ErrorValue, InitValue, InstanceValue, Scope, SpecValue, Value, WeightInfo } from "./value.ts"

/** A specification with every parameter, defaults included, and the scope its members are evaluated in. */
export interface ResolvedSpec { readonly args: ReadonlyMap<string, Value>; readonly scope: Scope }

/** null: a mistake has been reported. */
export function resolveSpec(spec: SpecValue, m: Machine): ResolvedSpec | null {
  const found = m.session.specs.get(spec)
  if (found !== undefined) return found
  const span = spec.origin ?? spec.template.code.span
  const given = [...spec.args].map(([name, value]): Given => ({
    name: { name, span: value.origin ?? span }, expr: null, scope: spec.template.scope, value, span: value.origin ?? span,
  }))
  const { code, scope } = spec.template
  const bound = bindArguments({ params: code.params, what: `\`${code.name.name}\``, scope, given, site: { span, callee: span } }, m)
  if (bound === null || [...bound.args.values()].some((v) => v.kind === "error")) return null
  const resolved = { args: bound.args, scope: inner(scope, bound.args) }
  m.session.specs.set(spec, resolved)
  return resolved
}

export function instantiate(spec: SpecValue, role: string, at: Span, m: Machine, trained: ArtifactValue | null = null): InstanceValue | ErrorValue {
  return build({ spec, declared: spec }, { role, path: "", overrides: [], trained, at }, m)
}

interface Place {
  readonly role: string
  readonly path: string
  readonly overrides: readonly Override[]
  /** Whose weights these are, where they are there already. */
  readonly trained: ArtifactValue | null
  readonly at: Span
}

/** What is built, and what the definition around it has in its place. */
interface Built { readonly spec: SpecValue; readonly declared: SpecValue }

function build({ spec, declared }: Built, place: Place, m: Machine): InstanceValue | ErrorValue {
  const { role, path, at, trained } = place
  const resolved = resolveSpec(spec, m)
  if (resolved === null) return error
  const { code } = spec.template
  const inside = entered(code.name.name, code, { args: resolved.args, spans: new Map(), axes: new Map() }, { span: spec.origin ?? at, callee: at }, m, joinPath(role, path))
  if (inside === null) return error
  const own = overridesOf(spec, path)
  const made = buildMembers(code, resolved.scope, { ...place, overrides: [...place.overrides, ...own], given: spec.given ?? null }, inside)
  if (made === null) return error
  const instance: InstanceValue = {
    kind: "instance", path, role, spec, args: resolved.args, ...made, scope: inner(resolved.scope, made.members), declared, origin: at, ...(trained === null ? {} : { trained }),
  }
  for (const o of own) if (!o.hit.yes && o.address.origin !== null) reportUnmatched(o.address, relativePaths(instance), `\`${spec.name}\``, o.address.origin, m)
  return own.some((o) => !o.hit.yes) ? error : instance
}

function relativePaths(instance: InstanceValue): readonly string[] {
  return pathsOf(instance).map((p) => (instance.path === "" ? p : p.slice(instance.path.length + 1))).filter((p) => p !== "")
}

/** Inside of an instance that goes on from `given`. */
interface Inside extends Place { readonly given: InstanceValue | null }

/** null: something in it is wrong. All members are looked at first, unless a requirement does not hold. */
function buildMembers(code: Definition, args: Scope, place: Inside, m: Machine): Pick<InstanceValue, "members" | "weights"> | null {
  const members = new Map<string, Value>()
  const weights = new Map<string, WeightInfo>()
  let good = true
  for (const member of code.members) {
    const scope = inner(args, new Map(members))
    if (member.kind === "require" && !checkRequire(member, scope, place.at, m)) return null
    if (member.kind === "require" || member.kind === "forward") continue
    const value = memberValue(member, scope, place, weights, m)
    members.set(member.name.name, value)
    good &&= !hasError(value)
  }
  return good ? { members, weights } : null
}

function hasError(value: Value): boolean {
  return value.kind === "error" || (value.kind === "list" && value.items.some(hasError))
}

function memberValue(member: Exclude<Member, { kind: "require" | "forward" }>, scope: Scope, place: Inside, weights: Map<string, WeightInfo>, m: Machine): Value {
  if (member.kind === "let") return evaluate(member.value, scope, m)
  if (member.when !== null) {
    const when = evaluate(member.when, scope, m)
    if (when.kind === "error") return error
    if (when.kind === "bool" && when.value === false) return none
    if (when.kind !== "bool" && when.kind !== "unknown") return m.report(diagnostic("SLM2110", member.when.span, `a condition is true or false, not ${kindOf(when, m)}`))
  }
  const path = joinPath(place.path, member.name.name)
  return member.kind === "part" ? makePart(evaluate(member.value, scope, m), { around: place.given, member: place.given?.members.get(member.name.name) ?? null }, path, member, place, m) : makeWeight(member, path, scope, place, weights, m)
}

// ---- parts

function makePart(value: Value, before: Before, path: string, part: Part, place: Place, m: Machine): Value {
  switch (value.kind) {
    case "list": return { ...value, items: value.items.map((item, i) => makePart(item, { ...before, member: before.member?.kind === "list" ? before.member.items[i] ?? null : null }, `${path}[${i}]`, part, place, m)) }
    case "record": return { ...value, fields: new Map([...value.fields].map(([name, v]) => [name, makePart(v, { ...before, member: before.member?.kind === "record" ? before.member.fields.get(name) ?? null : null }, joinPath(path, name), part, place, m)])) }
    case "none": case "error": return value
    case "instance": if (value.trained === undefined) return value; break
    case "unknown": return unknown(value.type === "list" ? "list" : "Layer", value.origin)
    default:
  }
  const declared = asSpec(value, m)
  if (declared !== null) {
    const spec = placed(declared, path, before, place.overrides, part.span, m)
    return spec.kind === "error" ? error : build({ spec, declared }, { ...place, path, at: part.span }, m)
  }
  const help = value.kind === "template" ? { help: `\`${value.code.name.name}\` must be called: \`${value.code.name.name}(...)\`` } : value.kind === "int" || value.kind === "float" ? { help: "a value is named by `let`" } : {}
  return m.report(diagnostic("SLM2114", part.value.span, `a part is made of a layer, not of ${kindOf(value, m)}`, help))
}

// ---- weights

function makeWeight(weight: Weight, path: string, scope: Scope, place: Inside, weights: Map<string, WeightInfo>, m: Machine): Value {
  if (weight.type.kind !== "tensor") return m.report(diagnostic("SLM2110", weight.type.span, "a weight is a tensor", { help: "write its type as `float[out, in]`" }))
  const shape = weight.type.dims.map((expr): Dim | ErrorValue | "unknown" => {
    const size = evaluate(expr, scope, m)
    if (size.kind === "int") return { size: size.poly, origin: size.origin }
    if (size.kind === "unknown") return "unknown"
    return size.kind === "error" ? error : m.report(diagnostic("SLM2110", expr.span, `the size of an axis is an integer, not ${kindOf(size, m)}`))
  })
  const init = coerce(evaluate(weight.init, scope, m), { kind: "named", name: "Init", dims: null, span: weight.type.span }, {
    name: weight.name.name, what: `the start of \`${weight.name.name}\``, at: weight.init.span, scope, axes: new Map(),
  }, m)
  if (init.kind === "error") return error
  if (shape.includes("unknown")) return unknown("tensor", weight.span)
  const dims: Dim[] = []
  for (const d of shape) {
    if (d === "unknown" || "kind" in d) return error
    const size = m.known(d.size)
    if (size !== null && size < 1) return m.report(diagnostic("SLM2303", weight.span, `\`${weight.name.name}\` would have an axis of size ${size}`))
    dims.push(d)
  }
  const drawn: InitValue = init.kind === "init" ? init : { kind: "init", how: "zeros", a: 0, origin: weight.init.span }
  const info = started({ path, shape: dims, dtype: dtypes[weight.type.dtype], init: drawn, span: weight.span }, { given: place.given, name: weight.name.name }, place.overrides, m)
  if (info === null) return error
  weights.set(weight.name.name, info)
  if (m.lowering !== null) return tensor(info.dtype, dims, m.lowering.weight(place.role, info), weight.span)
  const value = tensor(info.dtype, dims, null, weight.span)
  return info.dtype === "f32" ? { ...value, reach: { role: place.role, weight: info } } : value
}

/** Every weight once, in the order in which they are written; a shared part's weights are at its own path. */
export function weightsOf(instance: InstanceValue): readonly WeightInfo[] {
  const found = new Map<string, WeightInfo>()
  const visit = (value: Value): void => {
    if (value.kind === "list") value.items.forEach(visit)
    else if (value.kind === "record") [...value.fields.values()].forEach(visit)
    else if (value.kind === "instance") {
      for (const [name, member] of value.members) {
        const weight = value.weights.get(name)
        if (weight === undefined) visit(member)
        else if (!found.has(weight.path)) found.set(weight.path, weight)
      }
    }
  }
  visit(instance)
  return [...found.values()]
}

export function joinPath(path: string, name: string): string {
  return path === "" ? name : name === "" ? path : `${path}.${name}`
}

// ---- conditions

export function runRequires(requires: readonly Require[], scope: Scope, at: Span, m: Machine): boolean {
  return requires.map((r) => checkRequire(r, scope, at, m)).every((good) => good)
}

/** False: it does not hold, which has been reported. A condition that is not known yet holds for now. */
export function checkRequire(require: Require, scope: Scope, at: Span, m: Machine): boolean {
  const condition = evaluate(require.condition, scope, m)
  if (condition.kind === "error") return false
  if (condition.kind === "unknown" || (condition.kind === "bool" && condition.value !== false)) return true
  if (condition.kind !== "bool") {
    m.report(diagnostic("SLM2110", require.condition.span, `\`require\` takes a condition, not ${kindOf(condition, m)}`))
    return false
  }
  const text = require.message === null ? null : display(evaluate(require.message, scope, m), m)
  m.report(diagnostic("SLM2200", require.span, text ?? "a requirement does not hold", { label: "required here", labels: causes(require, scope, at) }))
  return false
}

/** Where the values in a condition came from. */
function causes(require: Require, scope: Scope, at: Span) {
  const names = new Set<string>()
  const visit = (node: unknown): void => {
    if (node === null || typeof node !== "object") return
    if ("kind" in node && node.kind === "name" && "name" in node && typeof node.name === "string") names.add(node.name)
    for (const child of Object.values(node)) if (typeof child === "object") visit(child)
  }
  visit(require.condition)
  const labels = [...names].flatMap((name) => {
    const origin = scope.names.get(name)?.origin ?? scope.outer?.names.get(name)?.origin ?? null
    return origin === null || (origin.source === at.source && origin.start === at.start) ? [] : [{ span: origin, message: `\`${name}\` comes from here` }]
  })
  return labels
}
