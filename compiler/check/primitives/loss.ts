import type { Span } from "../../../grammar/diagnostic.ts"
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Builder } from "../../graph/builder.ts"
import type { Node } from "../../graph/node.ts"
import { size } from "../../graph/node.ts"
import { add, broadcastTo, cast, crossEntropy, div, eq, fill, mul, reshape, sum, where } from "../../graph/ops.ts"
import type { Machine } from "../machine.ts"
import { float, tensor } from "../make.ts"
import { vocabulariesDiffer } from "../poly.ts"
import type { CallSite, Dim, ErrorValue, FloatValue, LossValue, Primitive, TensorValue, Value } from "../value.ts"
import { vocabularyMistake } from "../vocabularies.ts"
import type { Operand, Scalar } from "./tensor-values.ts"
import { arg, argSpan, converted, isOperand, lowered, lowNumber, nodeOf, numberOf } from "./tensor-values.ts"
import type { PrimitiveTable } from "./table.ts"
import { broadcastShapes, isShape, reportRank, requireSize } from "./shape-dims.ts"

type Term = LossValue["terms"][number]

export function loss(terms: readonly Term[], origin: Span | null): LossValue {
  return { kind: "loss", terms, origin }
}

/** The product of two numbers; unknown where one of them is. */
function times(a: Value, b: Value, ctx: Machine, origin: Span): FloatValue {
  const [m, n] = [numberOf(a, ctx), numberOf(b, ctx)]
  const pending = [a, b].flatMap((x) => (x.kind === "float" || x.kind === "bool" ? x.pending : []))
  return float(m === null || n === null ? null : m * n, origin, pending)
}

/** weight * loss, term by term. */
export function scaleLoss(of: LossValue, weight: Scalar, site: CallSite, ctx: Machine): LossValue {
  return loss(of.terms.map((t) => ({ ...t, weight: times(weight, t.weight, ctx, site.span) })), site.span)
}

/** The sum of two, of which at least one is a loss. A number without axes counts as a mean of one. */
export function addLosses(a: LossValue | Operand, b: LossValue | Operand, site: CallSite, ctx: Machine): LossValue | ErrorValue {
  const terms: Term[] = []
  for (const x of [a, b]) {
    const made = x.kind === "loss" ? x : meanOfOne(x, site, ctx)
    if (made.kind === "error") return made
    terms.push(...made.terms)
  }
  return loss(terms, site.span)
}

function meanOfOne(x: Operand, site: CallSite, ctx: Machine): LossValue | ErrorValue {
  const value = converted(x, "f32", ctx)
  if (value.shape.length > 0) return reportRank(value.shape, "none: a loss is one number (use `average` or `sum`)", "the tensor", site, ctx)
  return loss([{ weight: float(1), sum: value, count: converted(float(1), "f32", ctx) }], x.origin)
}

/** The value of a loss as a tensor without axes: sum over terms of weight * sum / count (0 where nothing counts). */
export function collapse(of: LossValue, ctx: Machine): TensorValue {
  return tensor("f32", [], lowered(ctx, (b) => of.terms.map((t) => termNode(t, b, ctx)).reduce((x, y) => add(b, x, y))), of.origin)
}

function termNode(t: Term, b: Builder, ctx: Machine): Node {
  const count = nodeOf(t.count, ctx)
  const mean = div(b, nodeOf(t.sum, ctx), where(b, eq(b, count, 0), fill(b, 1), count))
  const weight = lowNumber(t.weight, ctx)
  return weight === 1 ? mean : mul(b, mean, weight)
}

// ---------------------------------------------------------------- primitives

/** average(values, counts): sum and count stay apart. */
const average: Primitive = (args, site, ctx) => {
  const [values, counts] = [arg(args, "values"), arg(args, "counts")]
  if (values.kind === "loss") return values
  if (!isOperand(values)) throw new Error("average: values are not a tensor")
  const x = converted(values, "f32", ctx)
  const mask = isOperand(counts) ? converted(counts, "f32", ctx) : null
  const shape = mask === null ? x.shape : broadcastShapes([x.shape, mask.shape], "averaging", site, ctx)
  if (!isShape(shape)) return shape
  const scalar = (make: (b: Builder, full: readonly number[]) => Node): TensorValue =>
    tensor("f32", [], lowered(ctx, (b) => make(b, fullShape(b, x, mask, ctx))), site.span)
  const total = scalar((b, full) => {
    const all = broadcastTo(b, nodeOf(x, ctx), full)
    return sum(b, mask === null ? all : mul(b, all, broadcastTo(b, nodeOf(mask, ctx), full)))
  })
  const count = scalar((b, full) => (mask === null ? fill(b, size(full)) : sum(b, broadcastTo(b, nodeOf(mask, ctx), full))))
  return loss([{ weight: float(1), sum: total, count }], site.span)
}

function fullShape(b: Builder, x: TensorValue, mask: TensorValue | null, ctx: Machine): readonly number[] {
  const value = nodeOf(x, ctx)
  return mask === null ? value.shape : add(b, value, nodeOf(mask, ctx)).shape
}

/** token_loss(logits [.., v], labels [..]) -> [..] */
const tokenLoss: Primitive = (args, site, ctx) => {
  const [logits, labels] = [arg(args, "logits"), arg(args, "labels")]
  if (logits.kind !== "tensor" || labels.kind !== "tensor") throw new Error("token_loss: not tensors")
  if (logits.shape.length === 0) return reportRank(logits.shape, "one per class at least, [.., classes]", "logits", site, ctx)
  if (labels.dtype !== "i32") {
    return ctx.report(diagnostic("SLM2106", argSpan(site, "labels"), "labels are integers: the number of the right class at each position"))
  }
  const lead = logits.shape.slice(0, -1)
  if (lead.length !== labels.shape.length) return reportRank(labels.shape, `${lead.length}: one label for each position of the logits`, "labels", site, ctx)
  for (const [i, d] of lead.entries()) {
    const mistake = requireSize(labels.shape[i] as Dim, d, "labels", "labels and logits differ in size", site, ctx)
    if (mistake) return mistake
  }
  const classes = logits.shape.at(-1) as Dim
  if (labels.vocab && vocabulariesDiffer(labels.vocab.size, classes.size)) {
    return vocabularyMistake(classes, labels.vocab, "two different vocabularies meet", site.span, ctx, "the model predicts tokens of one vocabulary and the labels are of another.")
  }
  if (labels.vocab && ctx.compare(labels.vocab.size, classes.size) === "different") {
    const mistake = requireSize(classes, labels.vocab, "logits", "the logits have another number of classes than the labels", site, ctx)
    if (mistake) return mistake
  }
  const node = lowered(ctx, (b) => {
    const [x, y] = [nodeOf(converted(logits, "f32", ctx), ctx), nodeOf(labels, ctx)]
    const v = x.shape.at(-1) ?? 1
    return reshape(b, crossEntropy(b, reshape(b, x, [size(x.shape) / v, v]), reshape(b, cast(b, y, "i32"), [size(y.shape)])), y.shape)
  })
  return tensor("f32", labels.shape, node, site.span)
}

export const lossPrimitives: PrimitiveTable = { average, token_loss: tokenLoss }

