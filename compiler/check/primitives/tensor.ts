import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Builder } from "../../graph/builder.ts"
import type { DType, Node } from "../../graph/node.ts"
import * as ops from "../../graph/ops.ts"
import { kindOf } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { dim, int, tensor, unknown } from "../make.ts"
import { mulAll } from "../poly.ts"
import type { CallSite, Dim, ErrorValue, Primitive, TensorValue, UnknownValue, Value } from "../value.ts"
import { collapse } from "./loss.ts"
import { binaryTensor } from "./number.ts"
import { numberArg } from "./number-functions.ts"
import { axisIndex, reportRank } from "./shape-dims.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, argSpan, converted, isOperand, isScalar, lowered, lowNumber, nodeOf, numberOf } from "./tensor-values.ts"

/** A `tensor` argument: numbers have no axes, losses take their value. */
export function tensorArg(value: Value, ctx: Machine): TensorValue {
  const x = numberArg(value, ctx)
  return x.kind === "tensor" ? x : converted(x, x.kind === "float" ? "f32" : x.kind === "int" ? "i32" : "bool", ctx)
}

/** The axis named by an argument, from the left; null for `none`; a value where the result is that value: a mistake, or not known yet. */
export function axisArg(value: Value, rank: number, site: CallSite, ctx: Machine): number | null | ErrorValue | UnknownValue {
  if (value.kind === "none") return null
  const n = numberOf(value, ctx)
  return n === null ? unknown("tensor", site.span) : axisIndex(n, rank, "axis", site, ctx)
}

// ---------------------------------------------------------------- reductions

type Reduce = (b: Builder, x: Node, axes: readonly number[] | undefined, keep: boolean) => Node

function reduction(reduce: Reduce, needs: (t: DType) => DType): Primitive {
  return (args, site, ctx) => {
    const value = arg(args, "x")
    if (isScalar(value) || value.kind === "unknown") return value
    if (!isOperand(value) && value.kind !== "loss") return ctx.report(diagnostic("SLM2106", argSpan(site, "x"), `${kindOf(value, ctx)} has no axes`))
    const given = tensorArg(value, ctx)
    const x = converted(given, needs(given.dtype), ctx)
    const axis = axisArg(arg(args, "axis"), x.shape.length, site, ctx)
    if (axis !== null && typeof axis !== "number") return axis
    const keep = numberOf(arg(args, "keep"), ctx)
    if (keep === null) return unknown("tensor", site.span)
    const one = dim(1, site.span)
    const shape = x.shape.flatMap((d, i) => (axis !== null && i !== axis ? [d] : keep === 1 ? [one] : []))
    return tensor(x.dtype, shape, lowered(ctx, (b) => reduce(b, nodeOf(x, ctx), axis === null ? undefined : [axis], keep === 1)), site.span)
  }
}

const numeric = (t: DType): DType => (t === "bool" ? "i32" : t)
const sumTensor = reduction(ops.sum, numeric)

/** Sum of a tensor, or of the items of a list. */
const sum: Primitive = (args, site, ctx) => {
  const x = arg(args, "x")
  if (x.kind !== "list") return sumTensor(args, site, ctx)
  const [first, ...rest] = x.items
  if (first === undefined) return int(0, site.span)
  if (x.count !== undefined && x.items.every(isScalar)) return unknown("number", site.span)
  if (x.items.every(isScalar)) return sumNumbers(x.items, site, ctx)
  return rest.reduce((a, b) => binaryTensor("+", a, b, site, ctx), first)
}

function sumNumbers(items: readonly Value[], site: CallSite, ctx: Machine): Value {
  const numbers = items.map((v) => numberOf(v, ctx))
  const total = numbers.every((n) => n !== null) ? numbers.reduce((a, b) => a + b, 0) : null
  if (items.every((v) => v.kind === "int")) return total === null ? unknown("int", site.span) : int(total, site.span)
  return { kind: "float", value: total, pending: items.flatMap((v) => (v.kind === "float" ? v.pending : [])), origin: site.span }
}

const argmax: Primitive = (args, site, ctx) => {
  const x = tensorArg(arg(args, "x"), ctx)
  const axis = axisArg(arg(args, "axis"), x.shape.length, site, ctx)
  if (typeof axis !== "number") return axis ?? reportRank(x.shape, "at least one", "x", site, ctx)
  return tensor("i32", x.shape.filter((_, i) => i !== axis), lowered(ctx, (b) => ops.argmax(b, nodeOf(x, ctx), axis)), site.span)
}

const cumsum: Primitive = (args, site, ctx) => {
  const given = tensorArg(arg(args, "x"), ctx)
  const x = converted(given, numeric(given.dtype), ctx)
  const axis = axisArg(arg(args, "axis"), x.shape.length, site, ctx)
  if (typeof axis !== "number") return axis ?? reportRank(x.shape, "at least one", "x", site, ctx)
  return tensor(x.dtype, x.shape, lowered(ctx, (b) => ops.cumsum(b, nodeOf(x, ctx), axis)), site.span)
}

const topK: Primitive = (args, site, ctx) => {
  const x = tensorArg(arg(args, "x"), ctx)
  const k = arg(args, "k")
  const last = x.shape.at(-1)
  if (last === undefined) return reportRank(x.shape, "at least one", "x", site, ctx)
  if (k.kind !== "int") throw new Error("top_k: k is not an int")
  const [m, n] = [ctx.known(k.poly), ctx.known(last.size)]
  if (m !== null && (m < 1 || (n !== null && m > n))) {
    return ctx.report(diagnostic("SLM2107", argSpan(site, "k"), `the ${m} largest of ${n ?? "some"} elements`))
  }
  const node = lowered(ctx, (b) => b.make("top_k", { k: lowNumber(k, ctx) }, [nodeOf(x, ctx)]))
  return tensor("i32", [...x.shape.slice(0, -1), dim(k.poly, k.origin)], node, site.span)
}

function lastAxis(make: (b: Builder, x: Node) => Node): Primitive {
  return (args, site, ctx) => {
    const x = converted(tensorArg(arg(args, "x"), ctx), "f32", ctx)
    if (x.shape.length === 0) return reportRank(x.shape, "at least one", "x", site, ctx)
    return tensor("f32", x.shape, lowered(ctx, (b) => make(b, nodeOf(x, ctx))), site.span)
  }
}

// ---------------------------------------------------------------- making

const range: Primitive = (args, site, ctx) => {
  const count = arg(args, "count")
  if (count.kind !== "int") throw new Error("range: count is not an int")
  const n = ctx.known(count.poly)
  if (n !== null && n < 1) return ctx.report(diagnostic("SLM2107", argSpan(site, "count"), `a range of ${n} numbers`, {
    notes: ["every axis has at least one element"],
  }))
  return tensor("i32", [dim(count.poly, count.origin)], lowered(ctx, (b) => ops.iota(b, [lowNumber(count, ctx)])), site.span, dim(count.poly, count.origin))
}

function like(value: number): Primitive {
  return (args, site, ctx) => {
    const x = tensorArg(arg(args, "x"), ctx)
    return tensor(x.dtype, x.shape, lowered(ctx, (b) => ops.fill(b, value, nodeOf(x, ctx).shape, x.dtype)), site.span)
  }
}

/** Nested lists of numbers become one literal; tensors in a list are stacked. */
const literal: Primitive = (args, site, ctx) => toTensor(arg(args, "values"), site, ctx)

export function toTensor(value: Value, site: CallSite, ctx: Machine): TensorValue | ErrorValue | UnknownValue {
  if (value.kind === "loss") return collapse(value, ctx)
  if (isOperand(value)) return tensorArg(value, ctx)
  if (value.kind === "error" || value.kind === "unknown") return value
  if (value.kind === "list" && value.count !== undefined) return unknown("tensor", site.span)
  if (value.kind !== "list") return ctx.report(diagnostic("SLM2108", argSpan(site, "values"), `a tensor is made of lists of numbers, not of ${kindOf(value, ctx)}`))
  const parts: TensorValue[] = []
  for (const item of value.items) {
    const part = toTensor(item, site, ctx)
    if (part.kind !== "tensor") return part
    parts.push(part)
  }
  return stack(parts, site, ctx)
}

function stack(parts: readonly TensorValue[], site: CallSite, ctx: Machine): TensorValue | ErrorValue {
  const first = parts[0]
  if (first === undefined) return ctx.report(diagnostic("SLM2108", argSpan(site, "values"), "a list without numbers cannot be a tensor", {
    notes: ["every axis has at least one element"],
  }))
  const fits = (p: TensorValue): boolean =>
    p.shape.length === first.shape.length && p.shape.every((d, i) => ctx.compare(d.size, (first.shape[i] as Dim).size) !== "different")
  const uneven = parts.find((p) => !fits(p))
  if (uneven) return ctx.report(diagnostic("SLM2108", argSpan(site, "values"), "the lists differ in length", {
    notes: ["each list inside of a list has the same number of items"],
  }))
  const dtype = parts.some((p) => p.dtype === "f32") ? "f32" : parts.some((p) => p.dtype === "i32") ? "i32" : "bool"
  const same = parts.map((p) => converted(p, dtype, ctx))
  return tensor(dtype, [dim(parts.length, site.span), ...first.shape], lowered(ctx, (b) => stackNodes(b, same.map((p) => nodeOf(p, ctx)), dtype)), site.span)
}

/** Literals are joined at once, so that a table of numbers is one node. */
function stackNodes(b: Builder, nodes: readonly Node[], dtype: DType): Node {
  const shape = [nodes.length, ...(nodes[0]?.shape ?? [])]
  const values = nodes.map(constants)
  return values.every((v) => v !== null) ? ops.literal(b, values.flat(), shape, dtype) : ops.stack(b, nodes)
}

function constants(x: Node): readonly number[] | null {
  if (x.op === "literal") return x.args.values
  if (x.op === "fill" && x.shape.length === 0) return [x.args.value]
  const inner = x.op === "cast" ? x.inputs[0] : undefined
  return inner && x.dtype === "f32" ? constants(inner) : null
}

// ---------------------------------------------------------------- asking

const rank: Primitive = (args, site, ctx) => int(tensorArg(arg(args, "x"), ctx).shape.length, site.span)

const size: Primitive = (args, site, ctx) => {
  const value = arg(args, "x")
  if (value.kind === "unknown") return unknown("int", site.span)
  if (value.kind === "list") return int(value.count ?? value.items.length, site.span)
  if (!isOperand(value)) return ctx.report(diagnostic("SLM2106", argSpan(site, "x"), `${kindOf(value, ctx)} has no size`))
  const x = tensorArg(value, ctx)
  const axis = axisArg(arg(args, "axis"), x.shape.length, site, ctx)
  if (axis !== null && typeof axis !== "number") return axis
  if (axis === null) return int(mulAll(x.shape.map((d) => d.size)), site.span)
  const d = x.shape[axis] as Dim
  return int(d.size, d.origin ?? site.span)
}

const length: Primitive = (args, site, ctx) => {
  const x = arg(args, "x")
  if (x.kind === "list") return int(x.count ?? x.items.length, site.span)
  if (x.kind === "unknown" || (x.kind === "string" && x.value === null)) return unknown("int", site.span)
  if (x.kind === "record") return int(x.fields.size, site.span)
  if (x.kind === "string" && x.value !== null) return int([...x.value].length, site.span)
  const first = x.kind === "tensor" ? x.shape[0] : undefined
  return first ? int(first.size, first.origin ?? site.span) : ctx.report(diagnostic("SLM2106", argSpan(site, "x"), `${kindOf(x, ctx)} has no length`))
}

export const tensorPrimitives: PrimitiveTable = {
  sum, maximum: reduction(ops.maxOf, numeric), argmax, cumsum, top_k: topK, softmax: lastAxis(ops.softmax), log_softmax: lastAxis(ops.logSoftmax),
  range, zeros_like: like(0), ones_like: like(1), tensor: literal, rank, size, length,
}
