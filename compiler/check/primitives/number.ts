/**
 * Operators where an operand is a tensor, a loss or a mask. The evaluator computes on plain numbers itself and calls
 * these for the rest. Shapes broadcast from the right; bool < int < float decides the type of the result.
 */
import type { BinaryOp } from "../../../grammar/ast.ts"
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Builder } from "../../graph/builder.ts"
import type { DType, Node } from "../../graph/node.ts"
import * as ops from "../../graph/ops.ts"
import { kindOf } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { bool, error, float, list, record, tensor, unknown } from "../make.ts"
import type { CallSite, Dim, LossValue, TensorValue, Value } from "../value.ts"
import { addLosses, collapse, scaleLoss } from "./loss.ts"
import { maskAnd } from "./layers.ts"
import { matmulValue } from "./tensor-products.ts"
import { broadcastShapes, isShape } from "./shape-dims.ts"
import type { Operand } from "./tensor-values.ts"
import { commonType, converted, isOperand, isScalar, lowered, nodeOf, numberOf, operandNode } from "./tensor-values.ts"

type NodeRule = (b: Builder, x: ops.Operand, y: ops.Operand) => Node
interface Arithmetic { readonly what: string; readonly rule: NodeRule; readonly result: (common: DType) => DType; readonly needs: (common: DType) => DType }

const numeric = (t: DType): DType => (t === "bool" ? "i32" : t)
const real = (): DType => "f32"
const truth = (): DType => "bool"
const same = (t: DType): DType => t

function arithmetic(what: string, rule: NodeRule, needs: (t: DType) => DType, result: (t: DType) => DType = needs): Arithmetic {
  return { what, rule, needs, result }
}

const operators: Readonly<Partial<Record<BinaryOp, Arithmetic>>> = {
  "+": arithmetic("the sum", ops.add, numeric),
  "-": arithmetic("the difference", ops.sub, numeric),
  "*": arithmetic("the product", ops.mul, numeric),
  "/": arithmetic("the quotient", ops.div, real),
  "%": arithmetic("the remainder", ops.mod, numeric),
  "^": arithmetic("the power", ops.pow, real),
  "==": arithmetic("the comparison", ops.eq, same, truth),
  "!=": arithmetic("the comparison", ops.ne, same, truth),
  "<": arithmetic("the comparison", ops.lt, numeric, truth),
  "<=": arithmetic("the comparison", ops.le, numeric, truth),
  ">": arithmetic("the comparison", ops.gt, numeric, truth),
  ">=": arithmetic("the comparison", ops.ge, numeric, truth),
  "and": arithmetic("`and`", ops.and, truth),
  "or": arithmetic("`or`", ops.or, truth),
  "&": arithmetic("`&`", ops.and, truth),
}

/** `left op right`, where at least one is a tensor, a loss or a mask (or not known yet). Both are evaluated already. */
export function binaryTensor(op: BinaryOp, left: Value, right: Value, site: CallSite, ctx: Machine): Value {
  if (left.kind === "error" || right.kind === "error") return error
  if (left.kind === "unknown" || right.kind === "unknown") return unknown("number", site.span)
  if ((op === "==" || op === "!=") && (left.kind === "none" || right.kind === "none")) return bool(op === "!=", site.span)
  if (left.kind === "mask" && right.kind === "mask" && op === "&") return maskAnd(left, right, site, ctx)
  if (left.kind === "loss" || right.kind === "loss") {
    const kept = lossOperator(op, left, right, site, ctx)
    if (kept) return kept
  }
  const x = left.kind === "loss" ? collapse(left, ctx) : left
  const y = right.kind === "loss" ? collapse(right, ctx) : right
  if (!isOperand(x) || !isOperand(y)) return refuse(op, left, right, site, ctx)
  if (op === "@") return x.kind === "tensor" && y.kind === "tensor" ? matmulValue(x, y, site, ctx) : refuse(op, left, right, site, ctx)
  return binaryOperands(op, x, y, site, ctx)
}

/** Sums and multiples of losses stay losses; every other use takes the value of the loss. */
function lossOperator(op: BinaryOp, left: Value, right: Value, site: CallSite, ctx: Machine): Value | null {
  const usable = (x: Value): x is LossValue | Operand => x.kind === "loss" || isOperand(x)
  if (!usable(left) || !usable(right)) return null
  if (op === "+") return addLosses(left, right, site, ctx)
  if (op === "-") return addLosses(left, negative(right, site, ctx), site, ctx)
  if (op === "*" && left.kind === "loss" && isScalar(right)) return scaleLoss(left, right, site, ctx)
  if (op === "*" && right.kind === "loss" && isScalar(left)) return scaleLoss(right, left, site, ctx)
  if (op === "/" && left.kind === "loss" && isScalar(right)) {
    const n = numberOf(right, ctx)
    return scaleLoss(left, float(n === null ? null : 1 / n, right.origin), site, ctx)
  }
  return null
}

function negative(x: LossValue | Operand, site: CallSite, ctx: Machine): LossValue | Operand {
  if (x.kind === "loss") return scaleLoss(x, float(-1), site, ctx)
  const value = converted(x, "f32", ctx)
  return tensor("f32", value.shape, lowered(ctx, (b) => ops.neg(b, nodeOf(value, ctx))), x.origin)
}

/** Elementwise `op` of two operands, broadcast. */
export function binaryOperands(op: BinaryOp, x: Operand, y: Operand, site: CallSite, ctx: Machine): Value {
  const rule = operators[op]
  const common = commonType(x, y)
  if (rule === undefined) return refuse(op, x, y, site, ctx)
  if ((op === "and" || op === "or" || op === "&") && common !== "bool") return refuse(op, x, y, site, ctx)
  const needs = rule.needs(common)
  const shape = broadcastShapes([x, y].map((v) => (v.kind === "tensor" ? v.shape : [])), rule.what, site, ctx)
  if (!isShape(shape)) return shape
  const node = lowered(ctx, (b) => (op === "^" ? power(b, x, y, ctx) : rule.rule(b, operandOf(x, needs, b, ctx), operandOf(y, needs, b, ctx))))
  return tensor(rule.result(common), shape, node, site.span)
}

/** Numbers stay numbers, so that they become fills of the other's shape. */
function operandOf(x: Operand, dtype: DType, b: Builder, ctx: Machine): ops.Operand {
  const n = x.kind === "tensor" ? null : numberOf(x, ctx)
  return n !== null && dtype !== "bool" ? n : operandNode(x, dtype, b, ctx)
}

/** x ^ y; small constant exponents become products, so that negative bases and speed are no concern. */
function power(b: Builder, x: Operand, y: Operand, ctx: Machine): Node {
  const n = y.kind === "tensor" ? null : numberOf(y, ctx)
  const base = operandNode(x, "f32", b, ctx)
  if (n === 0.5) return ops.sqrt(b, base)
  if (n === -0.5) return ops.rsqrt(b, base)
  if (n === null || !Number.isInteger(n) || Math.abs(n) > 4) return ops.pow(b, base, operandNode(y, "f32", b, ctx))
  if (n === 0) return ops.fill(b, 1, base.shape)
  let product = base
  for (let i = 1; i < Math.abs(n); i++) product = ops.mul(b, product, base)
  return n > 0 ? product : ops.div(b, 1, product)
}

const words: Readonly<Partial<Record<BinaryOp, string>>> = {
  "+": "added", "-": "subtracted", "*": "multiplied", "/": "divided", "^": "raised to a power", "@": "multiplied as matrices",
  "&": "joined by `&`", and: "joined by `and`", or: "joined by `or`",
}

function refuse(op: BinaryOp, left: Value, right: Value, site: CallSite, ctx: Machine): Value {
  const help = left.kind === "mask" || right.kind === "mask" ? "masks are joined by `&`: `causal(at) & same_segment(at)`"
    : op === "and" || op === "or" || op === "&" ? "compare first: `(x > 0) and (y > 0)`"
    : op === "@" ? "`@` takes two tensors; numbers are multiplied by `*`" : null
  return ctx.report(diagnostic("SLM2106", site.span, `${kindOf(left, ctx)} and ${kindOf(right, ctx)} cannot be ${words[op] ?? "compared"}`, help === null ? {} : { help }))
}

/** `-x` and `not x` for tensors and losses. */
export function unaryTensor(op: "-" | "not", x: Value, site: CallSite, ctx: Machine): Value {
  if (x.kind === "error") return error
  if (x.kind === "unknown") return unknown("number", site.span)
  if (x.kind === "loss" && op === "-") return scaleLoss(x, float(-1), site, ctx)
  const value = x.kind === "loss" ? collapse(x, ctx) : x
  if (value.kind === "tensor" && op === "-") return negativeTensor(value, site, ctx)
  if (value.kind === "tensor" && value.dtype === "bool") return tensor("bool", value.shape, lowered(ctx, (b) => ops.not(b, nodeOf(value, ctx))), site.span)
  return ctx.report(diagnostic("SLM2106", site.span, `${op === "-" ? "minus" : "`not`"} cannot be applied to ${kindOf(x, ctx)}`))
}

function negativeTensor(x: TensorValue, site: CallSite, ctx: Machine): TensorValue {
  const value = converted(x, numeric(x.dtype), ctx)
  return tensor(value.dtype, value.shape, lowered(ctx, (b) => ops.neg(b, nodeOf(value, ctx))), site.span)
}

/** `if condition then a else b` where the condition is a tensor: both are computed and chosen from, element by element. */
export function selectTensor(condition: Value, yes: Value, no: Value, site: CallSite, ctx: Machine): Value {
  if (condition.kind === "error" || yes.kind === "error" || no.kind === "error") return error
  if (condition.kind === "unknown" || yes.kind === "unknown" || no.kind === "unknown") return unknown("number", site.span)
  if (yes.kind === "record" && no.kind === "record" && [...yes.fields.keys()].sort().join() === [...no.fields.keys()].sort().join()) {
    return record(new Map([...yes.fields].map(([name, v]) => [name, selectTensor(condition, v, no.fields.get(name) as Value, site, ctx)])), site.span)
  }
  if (yes.kind === "list" && no.kind === "list" && yes.items.length === no.items.length) {
    return list(yes.items.map((v, i) => selectTensor(condition, v, no.items[i] as Value, site, ctx)), site.span)
  }
  const [a, b] = [yes, no].map((v) => (v.kind === "loss" ? collapse(v, ctx) : v)) as [Value, Value]
  if (condition.kind !== "tensor" || condition.dtype !== "bool") {
    return ctx.report(diagnostic("SLM2106", site.span, `a condition is a truth value, not ${kindOf(condition, ctx)}`, { help: "compare: `x > 0`" }))
  }
  if (!isOperand(a) || !isOperand(b)) {
    return ctx.report(diagnostic("SLM2106", site.span, `a condition that is a tensor cannot choose between ${kindOf(yes, ctx)} and ${kindOf(no, ctx)}`, {
      notes: ["both are computed, and each element of the result is taken from one of them"],
    }))
  }
  return chosen(condition, a, b, site, ctx)
}

function chosen(condition: TensorValue, a: Operand, b: Operand, site: CallSite, ctx: Machine): Value {
  const dtype = commonType(a, b)
  const shape = broadcastShapes([condition, a, b].map((v) => (v.kind === "tensor" ? v.shape : [])), "the choice", site, ctx)
  if (!isShape(shape)) return shape
  const node = lowered(ctx, (g) => ops.where(g, nodeOf(condition, ctx), operandNode(a, dtype, g, ctx), operandNode(b, dtype, g, ctx)))
  return tensor(dtype, shape, node, site.span, vocabOf(a, b) ?? vocabOf(b, a))
}

/** Ids stay ids of their vocabulary where the other choice is a number: -1 marks what does not count. */
function vocabOf(ids: Operand, other: Operand): Dim | null {
  return ids.kind === "tensor" && (other.kind === "int" || (other.kind === "tensor" && other.vocab !== null)) ? ids.vocab : null
}
