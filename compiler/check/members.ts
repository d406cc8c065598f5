/** Fields and items: `book.train`, `out.logits`, `Big.dim`, `hidden[2]`. */
import type { FieldAccess, IndexExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import type { Stage } from "../plan/stage.ts"
import { current } from "./again.ts"
import { kindOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import { resolveSpec } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { error, none, unknown } from "./make.ts"
import { didYouMean, listed } from "./suggest.ts"
import { statisticsTree } from "./statistics.ts"
import { trainedInstance } from "./trained.ts"
import type { ArtifactValue, EncodingValue, Scope, Value } from "./value.ts"

export function evaluateField(expr: FieldAccess, scope: Scope, m: Machine): Value {
  const object = evaluate(expr.object, scope, m)
  return fieldOf(object, expr.name.name, expr.name.span, expr.span, m)
}

export function fieldOf(object: Value, name: string, at: Span, whole: Span, m: Machine): Value {
  switch (object.kind) {
    case "error": return error
    case "unknown": return object.type === "record" || object.type === "any" || object.type !== "tensor" ? unknown("any", at) : noField(object, name, [], at, m)
    case "record": return object.fields.get(name) ?? noField(object, name, [...object.fields.keys()], at, m)
    case "instance": return current(object, m).members.get(name) ?? object.args.get(name) ?? noField(object, name, [...object.members.keys(), ...object.args.keys()], at, m)
    case "spec": {
      const resolved = resolveSpec(object, m)
      return resolved === null ? error : resolved.args.get(name) ?? (object.given === undefined ? undefined : current(object.given, m).members.get(name)) ?? noField(object, name, [...resolved.args.keys(), ...(object.given?.members.keys() ?? [])], at, m)
    }
    case "encoding": return object.args.get(name) ?? memberOfEncoding(object, name, m) ?? noField(object, name, [...object.args.keys(), "encode", "decode", ...object.code.fields.map((f) => f.name.name)], at, m)
    case "optimizer": return object.args.get(name) ?? noField(object, name, [...object.args.keys()], at, m)
    case "artifact": return artifactField(object, name, at, whole, m)
    default: return noField(object, name, [], at, m)
  }
}

function noField(object: Value, name: string, names: readonly string[], at: Span, m: Machine): Value {
  const help = didYouMean(name, names) ?? (object.kind === "tensor" ? "`size(x, axis)` and `rank(x)` tell the shape of a tensor" : names.length > 0 && names.length <= 16 ? `it has ${listed(names)}` : undefined)
  return m.report(diagnostic("SLM2013", at, `${kindOf(object, m)} has no field \`${name}\``, help === undefined ? {} : { help }))
}

/** `format.encode(w)`, `format.decode(codes)`, and the fields of its definition. */
function memberOfEncoding({ code, scope, origin }: EncodingValue, name: string, m: Machine): Value | null {
  if (name === "encode" || name === "decode") {
    const { params, returns, body, span } = code[name]
    return { kind: "closure", name, code: { kind: "fn", span, doc: null, name: { name, span }, params, returns, body, primitive: false }, scope, origin }
  }
  const field = code.fields.find((f) => f.name.name === name)
  if (field === undefined) return name === "block" ? none : null // the whole row
  return evaluate(field.value, scope, m)
}

/** Numbers that are known once the stage has run. */
const counts: Readonly<Record<string, readonly string[]>> = { tokenizer: ["size"], rows: ["rows"], tokens: ["rows", "tokens"] }

/** The stage that made the parts that this one hands on. */
export function splitOf(stage: Stage): Stage {
  const data = stage.args.get("data")
  return stage.kind === "split" || data?.kind !== "artifact" ? stage : splitOf(data.stage)
}

function artifactField(object: ArtifactValue, name: string, at: Span, whole: Span, m: Machine): Value {
  const { type, stage } = object
  if ((type.is === "rows" || type.is === "tokens") && type.parts !== null && type.parts.includes(name)) {
    m.session.partsRead.add(`${splitOf(stage).key}.${name}`)
    return { ...object, member: name, type: { ...type, parts: null }, origin: object.origin }
  }
  if (counts[type.is]?.includes(name)) {
    m.session.read.add(stage.key)
    return m.unknownInt(stage, object.member === null ? name : `${object.member}.${name}`, whole)
  }
  if (type.is === "roles") return type.roles.get(name) ?? noField(object, name, [...type.roles.keys()], at, m)
  if (type.is === "statistics") {
    const tree = statisticsTree(object, m)
    return tree.fields.get(name) ?? noField(object, name, [...tree.fields.keys()], at, m)
  }
  if (type.is === "report") return type.fields.includes(name) ? m.metric(stage, name, whole) : noField(object, name, type.fields, at, m)
  if (type.is === "weights") {
    const resolved = resolveSpec(type.spec, m)
    const found = resolved?.args.get(name)
    if (resolved === null || found !== undefined) return found ?? error
    const instance = trainedInstance(object, m)
    return instance.kind === "error" ? error : instance.members.get(name) ?? noField(object, name, [...resolved.args.keys(), ...instance.members.keys()], at, m)
  }
  const names = [...((type.is === "rows" || type.is === "tokens") && type.parts !== null ? type.parts : []), ...(counts[type.is] ?? [])]
  if ((type.is === "rows" || type.is === "tokens") && ["train", "valid", "test"].includes(name)) {
    return m.report(diagnostic("SLM2013", at, `this has no part \`${name}\``, { help: type.parts === null ? "`split(valid: 5%)` makes parts" : `it has ${listed(type.parts)}; \`split(${name}: 5%)\` adds it` }))
  }
  return noField(object, name, names, at, m)
}

/** The type of an index that only a run decides. */
export const place = "place"

export function evaluateIndex(expr: IndexExpr, scope: Scope, m: Machine): Value {
  const object = evaluate(expr.object, scope, m)
  if (expr.index.kind === "wildcard") return object.kind === "error" ? error : m.report(diagnostic("SLM2206", expr.span, "`*` stands in addresses only"))
  const index = evaluate(expr.index, scope, m)
  if (object.kind === "error" || index.kind === "error") return error
  if (object.kind === "unknown") return unknown("any", expr.span)
  if (object.kind !== "list") {
    return m.report(diagnostic("SLM2110", expr.object.span, `\`[...]\` takes an item of a list, not of ${kindOf(object, m)}`, object.kind === "tensor" ? { help: "`slice(x, from: i, to: i + 1)` takes a part of a tensor" } : {}))
  }
  // Which one it is, a run decides: what holds for the first need not hold for it.
  if (index.kind === "unknown" && index.type === place) return unknown("any", expr.span)
  if (index.kind === "unknown") return object.items[0] ?? unknown("any", expr.span)
  if (index.kind !== "int") return m.report(diagnostic("SLM2110", expr.index.span, `an index is an integer, not ${kindOf(index, m)}`))
  const i = m.known(index.poly)
  if (object.count !== undefined || i === null) return object.items[0] ?? unknown("any", expr.span)
  const found = object.items[i]
  return found ?? m.report(diagnostic("SLM2116", expr.index.span, `there is no item ${i}`, { notes: [object.items.length === 0 ? "the list is empty" : `the list has ${object.items.length} items, 0 to ${object.items.length - 1}`] }))
}
