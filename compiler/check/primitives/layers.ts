import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Builder } from "../../graph/builder.ts"
import type { Node } from "../../graph/node.ts"
import * as ops from "../../graph/ops.ts"
import type { Machine } from "../machine.ts"
import { bool, int, tensor } from "../make.ts"
import { constant, opaqueOf } from "../poly.ts"
import type { CallSite, Dim, ErrorValue, MaskValue, Primitive, TensorValue, UnknownValue, Value } from "../value.ts"
import { randomNode } from "./layers-random.ts"
import type { PrimitiveTable } from "./table.ts"
import { reportRank, requireSize } from "./shape-dims.ts"
import type { Args } from "./tensor-values.ts"
import { arg, argSpan, converted, isOperand, lowered, lowNumber, nodeOf, numberOf } from "./tensor-values.ts"

/** The argument as a float tensor; numbers have no axes. */
function floats(args: Args, name: string, ctx: Machine): TensorValue {
  const value = arg(args, name)
  if (!isOperand(value)) throw new Error(`primitive: ${name} is of kind ${value.kind}, not a tensor`)
  return converted(value, "f32", ctx)
}

// ---------------------------------------------------------------- norms

function norm(hasBias: boolean): Primitive {
  return (args, site, ctx) => {
    const [x, scale] = [floats(args, "x", ctx), floats(args, "scale", ctx)]
    const bias = hasBias && arg(args, "bias").kind !== "none" ? floats(args, "bias", ctx) : null
    const last = x.shape.at(-1)
    if (last === undefined) return reportRank(x.shape, "at least one", "x", site, ctx)
    const mistake = vectorMistake(scale, last, "scale", site, ctx) ?? (bias && vectorMistake(bias, last, "bias", site, ctx))
    if (mistake) return mistake
    const node = lowered(ctx, (b) => {
      const eps = lowNumber(arg(args, "eps"), ctx)
      const s = nodeOf(scale, ctx)
      if (!hasBias) return ops.rmsNorm(b, nodeOf(x, ctx), s, eps)
      return ops.layerNorm(b, nodeOf(x, ctx), s, bias ? nodeOf(bias, ctx) : ops.zerosLike(b, s), eps)
    })
    return tensor("f32", x.shape, node, site.span)
  }
}

function vectorMistake(v: TensorValue, wanted: Dim, name: string, site: CallSite, ctx: Machine): ErrorValue | null {
  const [only] = v.shape
  if (v.shape.length !== 1 || only === undefined) return reportRank(v.shape, "one", name, site, ctx)
  return requireSize(only, wanted, name, `\`${name}\` does not fit the last axis of \`x\``, site, ctx)
}

// ---------------------------------------------------------------- positions

const rope: Primitive = (args, site, ctx) => {
  const [x, positions] = [floats(args, "x", ctx), arg(args, "positions")]
  if (positions.kind !== "tensor") throw new Error("rope: positions are not a tensor")
  const [batch, , time, width] = x.shape
  if (x.shape.length !== 4 || !batch || !time || !width) return reportRank(x.shape, "four: [batch, heads, time, head_dim]", "x", site, ctx)
  if (positions.shape.length !== 2) return reportRank(positions.shape, "two: [batch, time]", "positions", site, ctx)
  if (positions.dtype !== "i32") return ctx.report(diagnostic("SLM2106", argSpan(site, "positions"), "positions are integers"))
  const odd = ctx.known(opaqueOf("remainder", width.size, constant(2)))
  if (odd === 1) return ctx.report(diagnostic("SLM2107", argSpan(site, "x"), "rotary positions turn pairs of features: the last axis must be even"))
  for (const [i, d] of [batch, time].entries()) {
    const mistake = requireSize(positions.shape[i] as Dim, d, "positions", "`positions` and `x` differ", site, ctx)
    if (mistake) return mistake
  }
  return tensor("f32", x.shape, lowered(ctx, (b) => ops.rope(b, nodeOf(x, ctx), nodeOf(positions, ctx), lowNumber(arg(args, "base"), ctx))), site.span)
}

// ---------------------------------------------------------------- masks

const open = { kind: "mask", causal: false, window: null, segments: null } as const

export function maskAnd(a: MaskValue, b: MaskValue, site: CallSite, ctx: Machine): MaskValue | ErrorValue {
  if (a.segments && b.segments && (a.segments.query !== b.segments.query || a.segments.key !== b.segments.key)) {
    return ctx.report(diagnostic("SLM2107", site.span, "two masks compare different segments", { help: "use `same_segment` once" }))
  }
  return {
    kind: "mask", causal: a.causal || b.causal, window: narrower(a.window, b.window, ctx), segments: a.segments ?? b.segments, origin: site.span,
  }
}

function narrower(a: Value | null, b: Value | null, ctx: Machine): Value | null {
  if (a === null || b === null || a.kind !== "int" || b.kind !== "int") return a ?? b
  const [m, n] = [ctx.known(a.poly), ctx.known(b.poly)]
  return m !== null && n !== null ? (m <= n ? a : b) : int(opaqueOf("min", a.poly, b.poly))
}

const causal: Primitive = (_, site) => ({ ...open, causal: true, origin: site.span })

const within: Primitive = (args, site, ctx) => {
  const window = arg(args, "window")
  if (window.kind === "none") return { ...open, origin: site.span }
  const n = numberOf(window, ctx)
  if (n !== null && n < 1) return ctx.report(diagnostic("SLM2107", argSpan(site, "window"), `a window of ${n} tokens sees nothing`, {
    help: "at least 1; `none` sees everything",
  }))
  return { ...open, window, origin: site.span }
}

const sameSegment: Primitive = (args, site, ctx) => {
  const query = segmentsIn("at", args, site, ctx)
  const key = arg(args, "keys").kind === "none" ? query : segmentsIn("keys", args, site, ctx)
  if (query.kind !== "tensor") return query
  return key.kind === "tensor" ? { ...open, segments: { query, key }, origin: site.span } : key
}

/** The segments of the places that an argument holds. */
function segmentsIn(name: string, args: Args, site: CallSite, ctx: Machine): TensorValue | ErrorValue | UnknownValue {
  const at = arg(args, name)
  const segments = at.kind === "record" ? at.fields.get("segments") : undefined
  if (at.kind === "error" || segments?.kind === "error") return { kind: "error", origin: site.span }
  if (at.kind === "unknown" || segments?.kind === "unknown") return { kind: "unknown", type: "Mask", origin: site.span }
  if (segments?.kind === "tensor" && segments.dtype === "i32" && segments.shape.length === 2) return segments
  return ctx.report(diagnostic("SLM2106", argSpan(site, name), "`same_segment` needs a record with `segments: int[B, T]`", {
    help: "give it the `at` of the batch",
  }))
}

// ---------------------------------------------------------------- attention

/** attend(q [b, h, t, d], k [b, g, s, d], v [b, g, s, e]) -> [b, h, t, e], g dividing h. */
const attend: Primitive = (args, site, ctx) => {
  const [q, k, v] = [floats(args, "query", ctx), floats(args, "key", ctx), floats(args, "value", ctx)]
  const mask = arg(args, "mask")
  const bias = arg(args, "bias").kind === "none" ? null : floats(args, "bias", ctx)
  const mistake = attendMistake(q, k, v, bias, site, ctx) ?? (mask.kind === "mask" ? segmentMistake(mask, q, k, site, ctx) : null)
  if (mistake) return mistake
  const node = lowered(ctx, (b) => {
    const scale = numberOf(arg(args, "scale"), ctx)
    const m = mask.kind === "mask" ? mask : null
    return ops.attend(b, nodeOf(q, ctx), nodeOf(k, ctx), nodeOf(v, ctx), {
      ...(scale === null ? {} : { scale }), causal: m?.causal ?? false, window: m?.window ? lowNumber(m.window, ctx) : null,
      ...(m?.segments ? { segments: [nodeOf(m.segments.query, ctx), nodeOf(m.segments.key, ctx)] as const } : {}),
      ...(bias ? { bias: biasNode(b, nodeOf(bias, ctx), nodeOf(q, ctx), nodeOf(k, ctx)) } : {}),
    })
  })
  return tensor("f32", [...q.shape.slice(0, 3), ...v.shape.slice(3)], node, site.span)
}

/** The bias as [1 or b, h, t, s]. */
function biasNode(b: Builder, bias: Node, q: Node, k: Node): Node {
  const [batch, h, t] = q.shape
  const lead = bias.shape.length === 4 && bias.shape[0] !== 1 ? batch : 1
  return ops.broadcastTo(b, bias, [lead ?? 1, h ?? 1, t ?? 1, k.shape[2] ?? 1])
}

function attendMistake(q: TensorValue, k: TensorValue, v: TensorValue, bias: TensorValue | null, site: CallSite, ctx: Machine): ErrorValue | null {
  for (const [name, x] of [["query", q], ["key", k], ["value", v]] as const) {
    if (x.shape.length !== 4) return reportRank(x.shape, "four: [batch, heads, time, head_dim]", name, site, ctx)
  }
  const at = (x: TensorValue, i: number): Dim => x.shape[i] as Dim
  const sizes = requireSize(at(k, 0), at(q, 0), "key", "`key` and `query` are of different batches", site, ctx)
    ?? requireSize(at(v, 0), at(k, 0), "value", "`value` and `key` are of different batches", site, ctx)
    ?? requireSize(at(k, 3), at(q, 3), "key", "`key` and `query` have heads of different size", site, ctx)
    ?? requireSize(at(v, 1), at(k, 1), "value", "`value` and `key` have a different number of heads", site, ctx)
    ?? requireSize(at(v, 2), at(k, 2), "value", "`value` and `key` are of different length", site, ctx)
  if (sizes) return sizes
  const [heads, shared] = [ctx.known(at(q, 1).size), ctx.known(at(k, 1).size)]
  if (heads !== null && shared !== null && heads % shared !== 0) {
    return ctx.report(diagnostic("SLM2107", argSpan(site, "key"), `${heads} heads cannot share ${shared} key/value heads`, {
      help: "the number of key/value heads divides the number of heads",
    }))
  }
  return bias === null ? null : biasMistake(bias, [at(q, 0), at(q, 1), at(q, 2), at(k, 2)], site, ctx)
}

/** A bias is repeated to the scores, [batch, heads, time, keys]. */
function biasMistake(bias: TensorValue, scores: readonly Dim[], site: CallSite, ctx: Machine): ErrorValue | null {
  if (bias.shape.length > 4) return reportRank(bias.shape, "at most four: [batch, heads, time, keys]", "bias", site, ctx)
  for (const [i, d] of bias.shape.entries()) {
    const wanted = scores[scores.length - bias.shape.length + i] ?? d
    const mistake = ctx.known(d.size) === 1 ? null : requireSize(d, wanted, "bias", "`bias` does not fit the scores, [batch, heads, time, keys]", site, ctx)
    if (mistake) return mistake
  }
  return null
}

function segmentMistake(mask: MaskValue, q: TensorValue, k: TensorValue, site: CallSite, ctx: Machine): ErrorValue | null {
  if (!mask.segments) return null
  for (const [x, s] of [[q, mask.segments.query], [k, mask.segments.key]] as const) {
    const mistake = requireSize(s.shape[0] as Dim, x.shape[0] as Dim, "mask", "the segments are of another batch", site, ctx)
      ?? requireSize(s.shape[1] as Dim, x.shape[2] as Dim, "mask", "the segments are of another length", site, ctx)
    if (mistake) return mistake
  }
  return null
}

// ---------------------------------------------------------------- dropout

const dropout: Primitive = (args, site, ctx) => {
  const x = floats(args, "x", ctx)
  const rate = numberOf(arg(args, "rate"), ctx)
  if (rate !== null && !(rate >= 0 && rate < 1)) {
    return ctx.report(diagnostic("SLM2107", argSpan(site, "rate"), `a rate of ${rate}: dropout drops a share of at least 0 and below 1`))
  }
  if (!ctx.lowering?.training || rate === 0) return x
  const node = lowered(ctx, (b) => dropped(b, nodeOf(x, ctx), lowNumber(arg(args, "rate"), ctx), ctx))
  return tensor("f32", x.shape, node, site.span)
}

function dropped(b: Builder, x: Node, rate: number, ctx: Machine): Node {
  const keep = ops.le(b, rate, randomNode(b, x, "dropout", ctx))
  return ops.where(b, keep, ops.mul(b, x, 1 / (1 - rate)), 0)
}

const training: Primitive = (_, site, ctx) => bool(ctx.lowering === null ? null : ctx.lowering.training, site.span)

export const layerPrimitives: PrimitiveTable = {
  rms_norm: norm(false), layer_norm: norm(true), rope, causal, within, same_segment: sameSegment, attend, dropout, training,
}

