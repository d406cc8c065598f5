/** `with { at ADDRESS: base => … }`: other parts in an instance, and weights that start from trained ones. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { boundNames, indicesOf, matches } from "./address.ts"
import { applyValues } from "./calls.ts"
import { kindOf, showShape } from "./describe.ts"
import { sameValue } from "./equal.ts"
import type { Machine } from "./machine.ts"
import { createMachine, moved } from "./machine.ts"
import { error, int, tensor } from "./make.ts"
import { keyOf } from "./poly.ts"
import { storedAs, trainedInstance } from "./trained.ts"
import type { ErrorValue, InstanceValue, Replacement, Rule, SpecValue, Value, WeightInfo } from "./value.ts"

/** A replacement on its way down. Its address is relative to the instance that has it, at `base`. */
export interface Override extends Replacement {
  readonly base: string
  readonly hit: { yes: boolean }
}

export function overridesOf(spec: SpecValue, base: string): readonly Override[] {
  return spec.ats.map(({ address, replace }) => ({ base, address, replace, hit: { yes: false } }))
}

function isHit(o: Override, path: string): boolean {
  const relative = o.base === "" ? path : path.slice(o.base.length + 1)
  return matches(o.address, relative, "whole")
}

// ---- parts

/** A value as a specification that a part can be made of: trained parts and weights bring theirs along. null: it is none. */
export function asSpec(value: Value, m: Machine): SpecValue | null {
  if (value.kind === "spec") return value
  if (value.kind === "instance" && value.trained !== undefined) return { ...value.spec, ats: [], given: value }
  if (value.kind !== "artifact" || value.type.is !== "weights") return null
  const instance = trainedInstance(value, withoutNodes(m))
  return instance.kind === "error" ? null : { ...instance.spec, ats: [], given: instance }
}

/** The trained instance that goes on, and what it has in a place; null: there is none, or nothing. */
export interface Before { readonly around: InstanceValue | null; readonly member: Value | null }

/** What is built at a path: the definition's part, what stood there in the trained instance that goes on, or what replaces it. */
export function placed(declared: SpecValue, path: string, before: Before, overrides: readonly Override[], at: Span, m: Machine): SpecValue | ErrorValue {
  const given = before.member?.kind === "instance" ? before.member : null
  let now: Value = given === null ? declared : goingOn(declared, given, m) ?? { ...given.spec, ats: [], given }
  let replaced = false
  for (const o of overrides) {
    if (!isHit(o, path)) continue
    replaced = true
    o.hit.yes = true
    const next = applyRule(ruleOf(o, path), now, o.replace.origin ?? at, withoutNodes(m))
    if (next.kind === "error") return error
    const spec = asSpec(next, m)
    if (spec === null) return m.report(diagnostic("SLM2114", o.replace.origin ?? at, `a part is replaced by a layer, not by ${kindOf(next, m)}`))
    now = spec
  }
  if (given === null && before.around !== null && !replaced) {
    return m.report(diagnostic("SLM2214", at, `nothing says how \`${path}\` starts: ${whose(before.around)} has no such part`, { help: `put one there: \`at ${path}: new => …\`` }))
  }
  if (given === null || replaced || goingOn(declared, given, m) !== null) return now
  return m.report(diagnostic("SLM2214", at, `\`${path}\` was replaced by \`${given.spec.name}\`, and other arguments ask for another \`${declared.name}\` there`, {
    help: `say what stands there: \`at ${path}: base => …\``,
  }))
}

/** The trained part with its replaced parts, where the definition asks for the same as before; with new arguments, the weights alone. */
function goingOn(declared: SpecValue, given: InstanceValue, m: Machine): SpecValue | null {
  if (given.declared !== undefined && sameValue(declared, given.declared, m) === true) return { ...given.spec, ats: [], given }
  const own = given.declared?.template.code === given.spec.template.code
  return own && declared.template.code === given.spec.template.code ? { ...declared, given } : null
}

// ---- weights

/** The weight as the definition has it, with what it starts from. null: a mistake was reported. */
export function started(info: WeightInfo, before: { readonly given: InstanceValue | null; readonly name: string }, overrides: readonly Override[], m: Machine): WeightInfo | null {
  const { given, name } = before
  const old = given?.weights.get(name)
  const rules = overrides.filter((o) => isHit(o, info.path))
  let now = given?.trained === undefined || old === undefined ? info : { ...old, start: { is: "taken", from: given.trained, path: old.path } as const }
  for (const o of rules) {
    const next = computed(now, o, info.path, m)
    if (next === null) return null
    now = next
  }
  if (given === null && rules.length === 0) return info
  if (given !== null && old === undefined && rules.length === 0) return missing(info, given, "has no weight there", m)
  if (now.shape.length === info.shape.length && now.shape.every((d, i) => m.compare(d.size, info.shape[i]?.size ?? d.size) !== "different")) return now.start === undefined ? info : { ...info, start: now.start }
  if (rules.length === 0 && given !== null) return missing(info, given, `has [${showShape(now.shape, m).slice(1)} there`, m)
  m.report(diagnostic("SLM2102", rules.at(-1)?.replace.origin ?? info.span, `\`${info.path}\` is ${showShape(info.shape, m)}, not ${showShape(now.shape, m)}`, { labels: [{ span: info.span, message: "the weight" }] }))
  return null
}

function missing(info: WeightInfo, given: InstanceValue, what: string, m: Machine): null {
  m.report(diagnostic("SLM2214", info.span, `nothing says how \`${info.path}\` ${showShape(info.shape, m)} starts: ${whose(given)} ${what}`, {
    help: `give it: \`at ${info.path}: w => …\`, or the part around it`,
  }))
  return null
}

function whose(given: InstanceValue): string {
  return given.trained === undefined ? "what it goes on from" : `\`${given.trained.stage.name}\``
}

/** One rule on a weight: what it makes of it, as far as that is known without numbers. */
function computed(now: WeightInfo, o: Override, path: string, m: Machine): WeightInfo | null {
  const span = o.replace.origin ?? o.address.origin ?? now.span
  o.hit.yes = true
  const coded = now.start?.is === "taken" ? storedAs(now.start.from, now.start.path, now.shape.length, m) : null
  if (coded !== null) {
    m.report(diagnostic("SLM2215", span, `\`${path}\` is stored as ${coded.code.name.name}, which cannot hold what is computed here`, { help: "`dequantize` the weights first, and quantise what comes out" }))
    return null
  }
  const rule = ruleOf(o, path)
  const known = m.session.rules.get(o.replace) ?? new Map<string, Value>()
  m.session.rules.set(o.replace, known)
  // One function may be the rule of several models, whose weights at this path differ.
  const key = `${path} ${now.dtype} ${now.shape.map((d) => keyOf(d.size)).join(" ")}`
  const value = known.get(key) ?? applyRule(rule, tensor(now.dtype, now.shape, null, now.span), span, withoutNodes(m))
  known.set(key, value)
  if (value.kind === "unknown") return { ...now, start: { is: "computed", rule, of: now, span } }
  if (value.kind === "tensor") return { ...now, shape: value.shape, start: { is: "computed", rule, of: now, span } }
  if (value.kind !== "error") m.report(diagnostic("SLM2110", span, `a weight starts as a tensor, not as ${kindOf(value, m)}`, { help: "`at blocks[*].attn.out.weight: w => 0 * w`" }))
  return null
}

function ruleOf(o: Override, path: string): Rule {
  const relative = o.base === "" ? path : path.slice(o.base.length + 1)
  return { replace: o.replace, indices: boundNames(o.address).length === 0 ? null : indicesOf(o.address, relative) }
}

/** What a rule makes of a value: a part, or a weight. */
export function applyRule({ replace, indices }: Rule, now: Value, at: Span, m: Machine): Value {
  const meant = indices === null ? replace : applyValues(replace, indices.map((i) => int(i)), at, m)
  const isFunction = meant.kind === "closure" || meant.kind === "primitive" || meant.kind === "template"
  return isFunction ? applyValues(meant, [now], at, m) : meant
}

/** Replacements are about structure: they are evaluated without nodes, also while a stage is lowered. */
function withoutNodes(m: Machine): Machine {
  return m.lowering === null ? moved(m, { onDevice: false }) : createMachine(m.session)
}
