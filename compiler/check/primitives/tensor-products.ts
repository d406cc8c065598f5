import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Node } from "../../graph/node.ts"
import * as ops from "../../graph/ops.ts"
import { originLabels, showShape, showSize } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { tensor } from "../make.ts"
import { vocabulariesDiffer } from "../poly.ts"
import type { CallSite, Dim, Primitive, TensorValue, Value } from "../value.ts"
import { vocabularyMistake } from "../vocabularies.ts"
import type { PrimitiveTable } from "./table.ts"
import { broadcastShapes, isShape, reportRank, requireSize } from "./shape-dims.ts"
import { arg, argSpan, converted, lowered, nodeOf } from "./tensor-values.ts"

/**
 * [.., m, k] @ [k, n] or [.., m, k] @ [.., k, n] with broadcast leading axes; a vector counts as a row on the left and as
 * a column on the right, and the axis it lacks is missing in the result, too.
 */
export function matmulValue(a: TensorValue, b: TensorValue, site: CallSite, ctx: Machine): Value {
  const [x, y] = [converted(a, "f32", ctx), converted(b, "f32", ctx)]
  if (x.shape.length === 0) return reportRank(x.shape, "at least one", "a", site, ctx)
  if (y.shape.length === 0) return reportRank(y.shape, "at least one", "b", site, ctx)
  const inner = innerMistake(x, y, site, ctx)
  if (inner) return inner
  const lead = broadcastShapes([x.shape.slice(0, -2), y.shape.slice(0, -2)], "the product", site, ctx)
  if (!isShape(lead)) return lead
  const rows = x.shape.length > 1 ? x.shape.slice(-2, -1) : []
  const columns = y.shape.length > 1 ? y.shape.slice(-1) : []
  return tensor("f32", [...lead, ...rows, ...columns], lowered(ctx, (g) => product(g, nodeOf(x, ctx), nodeOf(y, ctx))), site.span)
}

function innerMistake(x: TensorValue, y: TensorValue, site: CallSite, ctx: Machine): Value | null {
  const k = x.shape.at(-1) as Dim
  const other = (y.shape.length > 1 ? y.shape.at(-2) : y.shape.at(-1)) as Dim
  if (vocabulariesDiffer(k.size, other.size)) return vocabularyMistake(k, other, "two different vocabularies meet", site.span, ctx, "the product sums over both.")
  if (ctx.compare(k.size, other.size) !== "different") return null
  const turned = y.shape.length === 2 && ctx.compare(k.size, (y.shape[1] as Dim).size) === "equal"
  const shapes = `a product of ${showShape(x.shape, ctx)} and ${showShape(y.shape, ctx)}`
  return ctx.report(diagnostic("SLM2102", site.span, `${shapes}: the inner sizes ${showSize(k.size, ctx)} and ${showSize(other.size, ctx)} differ`, {
    labels: originLabels([k, other], ctx, site.span),
    notes: ["[.., m, k] @ [.., k, n] sums over k"],
    ...(turned ? { help: "the right side is stored the other way round: `transpose` it" } : {}),
  }))
}

/** A transposition of the right side becomes a flag of the product, so that no copy is made. */
function product(g: Parameters<typeof ops.matmul>[0], x: Node, y: Node): Node {
  const left = x.shape.length === 1 ? ops.expandDims(g, x, 0) : x
  const right = y.shape.length === 1 ? ops.expandDims(g, y, 1) : y
  const swapped = right.op === "permute" && right.args.axes.every((axis, i, all) => axis === (i === all.length - 1 ? i - 1 : i === all.length - 2 ? i + 1 : i))
  const stored = swapped ? right.inputs[0] : undefined
  const full = stored ? ops.matmul(g, left, stored, true) : ops.matmul(g, left, right)
  const dropped = [...(x.shape.length === 1 ? [-2] : []), ...(y.shape.length === 1 ? [-1] : [])]
  return dropped.length === 0 ? full : ops.squeeze(g, full, dropped)
}

const matmul: Primitive = (args, site, ctx) => {
  const [a, b] = [arg(args, "a"), arg(args, "b")]
  if (a.kind !== "tensor" || b.kind !== "tensor") throw new Error("matmul: not tensors")
  return matmulValue(a, b, site, ctx)
}

/** gather(table [v, ..], ids [..]) -> [.., ..] */
const gather: Primitive = (args, site, ctx) => {
  const [table, ids] = [arg(args, "table"), arg(args, "ids")]
  if (table.kind !== "tensor" || ids.kind !== "tensor") throw new Error("gather: not tensors")
  const [rows, ...rest] = table.shape
  if (rows === undefined) return reportRank(table.shape, "at least one", "table", site, ctx)
  const wrong = idsMistake(ids, site, ctx)
    ?? (ids.vocab && requireSize(rows, ids.vocab, "table", "the table has not one row for each entry of the vocabulary", site, ctx))
  if (wrong) return wrong
  return tensor(table.dtype, [...ids.shape, ...rest], lowered(ctx, (b) => ops.gather(b, nodeOf(table, ctx), nodeOf(ids, ctx))), site.span)
}

/** take_along(x [.., n], ids [.., k]) -> [.., k] */
const takeAlong: Primitive = (args, site, ctx) => {
  const [x, ids] = [arg(args, "x"), arg(args, "ids")]
  if (x.kind !== "tensor" || ids.kind !== "tensor") throw new Error("take_along: not tensors")
  if (x.shape.length === 0 || ids.shape.length !== x.shape.length) {
    return reportRank(ids.shape, `as many as \`x\`, ${showShape(x.shape, ctx)}`, "ids", site, ctx)
  }
  const wrong = idsMistake(ids, site, ctx)
  if (wrong) return wrong
  for (const [i, d] of x.shape.slice(0, -1).entries()) {
    const mistake = requireSize(ids.shape[i] as Dim, d, "ids", "`ids` and `x` differ before the last axis", site, ctx)
    if (mistake) return mistake
  }
  return tensor(x.dtype, ids.shape, lowered(ctx, (b) => b.make("take", {}, [nodeOf(x, ctx), nodeOf(ids, ctx)])), site.span)
}

function idsMistake(ids: TensorValue, site: CallSite, ctx: Machine): Value | null {
  return ids.dtype === "i32" ? null : ctx.report(diagnostic("SLM2106", argSpan(site, "ids"), "`ids` are integers, not floats", {
    help: "`to_int` cuts off the fraction",
  }))
}

export const productPrimitives: PrimitiveTable = { matmul, gather, take_along: takeAlong }
