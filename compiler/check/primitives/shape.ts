import type { Span } from "../../../grammar/diagnostic.ts"
import { diagnostic } from "../../../grammar/diagnostic.ts"
import * as ops from "../../graph/ops.ts"
import { kindOf, originLabels, showShape, showSize } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { dim, tensor, unknown } from "../make.ts"
import type { Poly } from "../poly.ts"
import { add, constant, equals, mul, mulAll, quotient, sub } from "../poly.ts"
import type { CallSite, Dim, ErrorValue, Primitive, TensorValue, Value } from "../value.ts"
import type { Factor, Group, Pattern } from "./shape-pattern.ts"
import { factorsOf, isMistake, parsePattern, withRank } from "./shape-pattern.ts"
import { reportRank, requireSize } from "./shape-dims.ts"
import type { PrimitiveTable } from "./table.ts"
import { axisArg, tensorArg } from "./tensor.ts"
import type { Args } from "./tensor-values.ts"
import { arg, argSpan, converted, isOperand, lowered, nodeOf } from "./tensor-values.ts"

/** The size while lowering. */
function sizeOf(d: { readonly size: Poly }, ctx: Machine): number {
  const n = ctx.known(d.size)
  if (n === null) throw new Error(`lowering ${ctx.path || "(top)"}: a size is not known`)
  return n
}

// ---------------------------------------------------------------- rearrange

const rearrange: Primitive = (args, site, ctx) => {
  const x = tensorArg(arg(args, "x"), ctx)
  const text = arg(args, "pattern")
  if (text.kind !== "string") throw new Error("rearrange: the pattern is not a text")
  if (text.value === null || hasUnknown(arg(args, "sizes"))) return unknown("tensor", site.span)
  const parsed = parsePattern(text.value)
  const place = (at: { readonly start: number; readonly end: number }): Span => patternSpan(text.value ?? "", at, site)
  if (isMistake(parsed)) return ctx.report(diagnostic("SLM2109", place(parsed), parsed.message, parsed.help === undefined ? {} : { help: parsed.help }))
  const pattern = withRank(parsed, x.shape.length)
  if (pattern === null) {
    const found = x.shape.length === 1 ? "one axis" : `${x.shape.length} axes`
    return ctx.report(diagnostic("SLM2105", argSpan(site, "pattern"), `the pattern names ${parsed.left.length} axes and the tensor has ${found}, ${showShape(x.shape, ctx)}`, {
      labels: originLabels(x.shape, ctx, site.span),
    }))
  }
  const sizes = factorSizes(pattern, x, args, site, ctx, place)
  return "kind" in sizes ? sizes : rearranged(x, pattern, sizes, site, ctx)
}

function hasUnknown(sizes: Value): boolean {
  return sizes.kind === "record" && [...sizes.fields.values()].some((v) => v.kind === "unknown")
}

/** The place of a piece of the pattern in the source, where the pattern is written as a plain string. */
function patternSpan(text: string, at: { readonly start: number; readonly end: number }, site: CallSite): Span {
  const span = argSpan(site, "pattern")
  if (span === site.span || span.end - span.start !== text.length + 2) return span
  return { source: span.source, start: span.start + 1 + at.start, end: span.start + 1 + Math.max(at.end, at.start + 1) }
}

type Sizes = ReadonlyMap<string, Dim>

/** The size of every named factor: given, or what its axis leaves to it. */
function factorSizes(pattern: Pattern, x: TensorValue, args: Args, site: CallSite, ctx: Machine, place: (f: Factor | Group) => Span): Sizes | ErrorValue {
  const rest = arg(args, "sizes")
  const given = rest.kind === "record" ? rest.fields : new Map<string, Value>()
  const names = new Set(factorsOf(pattern.left).map((f) => f.name))
  for (const name of given.keys()) {
    if (!names.has(name)) return ctx.report(diagnostic("SLM2109", site.args.get(name) ?? site.span, `\`${name}\` is not an axis of the pattern`, {
      labels: [{ span: argSpan(site, "pattern"), message: "the pattern" }],
    }))
  }
  const sizes = new Map<string, Dim>()
  for (const [i, group] of pattern.left.entries()) {
    const mistake = groupSizes(group, x.shape[i] as Dim, given, sizes, x, site, ctx, place)
    if (mistake) return mistake
  }
  return sizes
}

function groupSizes(
  group: Group, axis: Dim, given: ReadonlyMap<string, Value>, sizes: Map<string, Dim>, x: TensorValue, site: CallSite, ctx: Machine,
  place: (f: Factor | Group) => Span,
): ErrorValue | null {
  const open: Factor[] = []
  let product = constant(1)
  for (const factor of group.factors) {
    const value = given.get(factor.name)
    if (value === undefined) open.push(factor)
    else if (value.kind !== "int") {
      return ctx.report(diagnostic("SLM2109", site.args.get(factor.name) ?? site.span, `the size of \`${factor.name}\` is an integer, not ${kindOf(value, ctx)}`))
    } else {
      sizes.set(factor.name, dim(value.poly, value.origin))
      product = mul(product, value.poly)
    }
  }
  const [only, second] = open
  if (second !== undefined) {
    const names = open.map((f) => `\`${f.name}\``).join(" and ")
    return ctx.report(diagnostic("SLM2109", place(group), `the axis of size ${showSize(axis.size, ctx)} cannot be split into ${names}`, {
      help: `give all sizes but one: \`${second.name}: …\``,
    }))
  }
  const mistake = only === undefined ? unequal(product, axis, group, x, site, ctx, place) : uneven(product, axis, group, x, site, ctx, place)
  if (mistake) return mistake
  if (only !== undefined) sizes.set(only.name, group.factors.length === 1 ? axis : dim(quotient(axis.size, product), axis.origin))
  return null
}

function unequal(product: Poly, axis: Dim, group: Group, x: TensorValue, site: CallSite, ctx: Machine, place: (f: Group) => Span): ErrorValue | null {
  if (ctx.compare(product, axis.size) !== "different") return null
  return ctx.report(diagnostic("SLM2102", place(group), `this axis of ${showShape(x.shape, ctx)} has size ${showSize(axis.size, ctx)}, not ${showSize(product, ctx)}`, {
    labels: originLabels([axis], ctx, site.span),
  }))
}

function uneven(product: Poly, axis: Dim, group: Group, x: TensorValue, site: CallSite, ctx: Machine, place: (f: Group) => Span): ErrorValue | null {
  const [n, k] = [ctx.known(axis.size), ctx.known(product)]
  if (k !== null && k < 1) return ctx.report(diagnostic("SLM2107", place(group), `a factor of ${k}`))
  if (n === null || k === null || n % k === 0) return null
  return ctx.report(diagnostic("SLM2102", place(group), `an axis of size ${n} cannot be split into ${k} equal parts`, {
    labels: originLabels([axis], ctx, site.span), notes: [`the tensor is ${showShape(x.shape, ctx)}`],
  }))
}

function rearranged(x: TensorValue, pattern: Pattern, sizes: Sizes, site: CallSite, ctx: Machine): TensorValue {
  const of = (f: Factor): Dim => sizes.get(f.name) as Dim
  const shape = pattern.right.map((g): Dim => {
    const [only, second] = g.factors
    if (only === undefined) return dim(1, site.span)
    return second === undefined ? of(only) : dim(mulAll(g.factors.map((f) => of(f).size)), of(only).origin)
  })
  const node = lowered(ctx, (b) => {
    const before = factorsOf(pattern.left)
    const split = ops.reshape(b, nodeOf(x, ctx), before.map((f) => sizeOf(of(f), ctx)))
    const axes = factorsOf(pattern.right).map((f) => before.findIndex((g) => g.name === f.name))
    return ops.reshape(b, ops.permute(b, split, axes), shape.map((d) => sizeOf(d, ctx)))
  })
  return tensor(x.dtype, shape, node, site.span, x.vocab)
}

// ---------------------------------------------------------------- others

const transpose: Primitive = (args, site, ctx) => {
  const x = tensorArg(arg(args, "x"), ctx)
  const [m, n] = [x.shape.at(-2), x.shape.at(-1)]
  if (m === undefined || n === undefined) return reportRank(x.shape, "at least two", "x", site, ctx)
  return tensor(x.dtype, [...x.shape.slice(0, -2), n, m], lowered(ctx, (b) => ops.transpose(b, nodeOf(x, ctx))), site.span)
}

const concat: Primitive = (args, site, ctx) => {
  const xs = arg(args, "xs")
  if (xs.kind !== "list") throw new Error("concat: not a list")
  if (xs.count !== undefined) return unknown("tensor", site.span)
  const wrong = xs.items.find((v) => !isOperand(v) && v.kind !== "loss")
  if (wrong) return wrong.kind === "error" ? wrong : ctx.report(diagnostic("SLM2106", argSpan(site, "xs"), `${kindOf(wrong, ctx)} cannot be concatenated`))
  const given = xs.items.map((v) => tensorArg(v, ctx))
  const first = given[0]
  if (first === undefined) return ctx.report(diagnostic("SLM2107", argSpan(site, "xs"), "nothing to concatenate"))
  const axis = axisArg(arg(args, "axis"), first.shape.length, site, ctx)
  if (typeof axis !== "number") return axis ?? reportRank(first.shape, "at least one", "xs", site, ctx)
  for (const x of given) {
    if (x.shape.length !== first.shape.length) return reportRank(x.shape, `${first.shape.length}, as its first item`, "xs", site, ctx)
    for (const [i, d] of x.shape.entries()) {
      const mistake = i === axis ? null : requireSize(d, first.shape[i] as Dim, "xs", `the items differ in axis ${i}, and only axis ${axis} is joined`, site, ctx)
      if (mistake) return mistake
    }
  }
  const dtype = given.some((x) => x.dtype === "f32") ? "f32" : given.some((x) => x.dtype === "i32") ? "i32" : "bool"
  const total = given.map((x) => (x.shape[axis] as Dim).size).reduce(add)
  const shape = first.shape.map((d, i) => (i === axis ? dim(total, site.span) : d))
  return tensor(dtype, shape, lowered(ctx, (b) => ops.concat(b, given.map((x) => nodeOf(converted(x, dtype, ctx), ctx)), axis)), site.span)
}

/** slice(x, from, to, axis): elements from..to; negative places count from the end. */
const slice: Primitive = (args, site, ctx) => {
  const x = tensorArg(arg(args, "x"), ctx)
  const axis = axisArg(arg(args, "axis"), x.shape.length, site, ctx)
  if (typeof axis !== "number") return axis ?? reportRank(x.shape, "at least one", "x", site, ctx)
  const whole = x.shape[axis] as Dim
  const from = placeIn(whole, arg(args, "from"), constant(0), ctx)
  const to = placeIn(whole, arg(args, "to"), whole.size, ctx)
  const [n, start, stop] = [whole.size, from, to].map((p) => ctx.known(p))
  if (n != null && start != null && stop != null && !(start >= 0 && start < stop && stop <= n)) {
    return ctx.report(diagnostic("SLM2107", site.span, `elements ${start} up to ${stop} of an axis of size ${n}`, {
      labels: originLabels([whole], ctx, site.span), notes: ["`from` is included, `to` is not; at least one element must remain"],
    }))
  }
  const full = equals(from, constant(0)) && equals(to, whole.size)
  const shape = x.shape.map((d, i) => (i === axis && !full ? dim(sub(to, from), site.span) : d))
  const node = lowered(ctx, (b) => ops.sliceAxis(b, nodeOf(x, ctx), axis, sizeOf({ size: from }, ctx), sizeOf({ size: to }, ctx)))
  return tensor(x.dtype, shape, node, site.span, x.vocab)
}

function placeIn(whole: Dim, place: Value, missing: Poly, ctx: Machine): Poly {
  if (place.kind !== "int") return missing
  const n = ctx.known(place.poly)
  return n !== null && n < 0 ? add(whole.size, place.poly) : place.poly
}

export const shapePrimitives: PrimitiveTable = { rearrange, transpose, concat, slice }

