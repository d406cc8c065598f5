import { diagnostic } from "../../../grammar/diagnostic.ts"
import { kindOf, showShape } from "../describe.ts"
import { evaluate } from "../evaluate.ts"
import type { Machine } from "../machine.ts"
import { error, list, unknown } from "../make.ts"
import type { CallSite, ErrorValue, InstanceValue, Primitive, Value, WeightInfo } from "../value.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, argSpan, converted } from "./tensor-values.ts"

/** instance(of, weights): an instance outside of a stage, with some of its weights given. */
const instance: Primitive = (args, site, ctx) => {
  const spec = arg(args, "of")
  if (spec.kind === "unknown") return unknown("any", site.span)
  if (spec.kind !== "spec") return ctx.report(diagnostic("SLM2106", argSpan(site, "of"), `${kindOf(spec, ctx)} is not a layer or model`, {
    help: "give it a specification: `Linear(2, 1)`",
  }))
  const made = ctx.instantiate(spec, "example", site.span)
  return made.kind === "error" ? made : withWeights(made, arg(args, "weights"), "", site, ctx)
}

/** The same value with the given weights: a record for an instance, a list for a list of parts, a tensor for a weight. */
function withWeights(value: Value, given: Value, path: string, site: CallSite, ctx: Machine): Value {
  if (given.kind === "error") return given
  if (value.kind === "list" && given.kind === "list" && given.items.length === value.items.length) {
    return list(value.items.map((v, i) => withWeights(v, given.items[i] as Value, `${path}[${i}]`, site, ctx)), value.origin)
  }
  if (value.kind === "instance" && given.kind === "record") return instanceWith(value, given.fields, path, site, ctx)
  return mistake(`\`${path}\` is ${kindOf(value, ctx)} and cannot be given as ${kindOf(given, ctx)}`, site, ctx)
}

function instanceWith(value: InstanceValue, fields: ReadonlyMap<string, Value>, path: string, site: CallSite, ctx: Machine): Value {
  const members = new Map(value.members)
  for (const [name, given] of fields) {
    const inner = path === "" ? name : `${path}.${name}`
    const member = value.members.get(name)
    const info = value.weights.get(name)
    if (member === undefined) return mistake(`there is no \`${inner}\` in ${value.spec.name}`, site, ctx)
    const next = info === undefined ? withWeights(member, given, inner, site, ctx) : weight(info, given, inner, site, ctx)
    if (next.kind === "error") return error
    members.set(name, next)
  }
  for (const member of value.spec.template.code.members) {
    if (member.kind === "let") members.set(member.name.name, evaluate(member.value, { ...value.scope, names: members }, ctx))
  }
  return { ...value, members, scope: { ...value.scope, names: members } }
}

function weight(info: WeightInfo, given: Value, path: string, site: CallSite, ctx: Machine): Value {
  if (given.kind !== "tensor") return mistake(`\`${path}\` is a weight and cannot be given as ${kindOf(given, ctx)}`, site, ctx)
  const fits = given.shape.length === info.shape.length && given.shape.every((d, i) => ctx.compare(d.size, info.shape[i]?.size ?? d.size) !== "different")
  if (!fits) return mistake(`\`${path}\` is ${showShape(info.shape, ctx)}, not ${showShape(given.shape, ctx)}`, site, ctx)
  return converted(given, info.dtype, ctx)
}

function mistake(message: string, site: CallSite, ctx: Machine): ErrorValue {
  return ctx.report(diagnostic("SLM2107", argSpan(site, "weights"), message))
}

export const instancePrimitives: PrimitiveTable = { instance }
