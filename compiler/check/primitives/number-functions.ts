import { diagnostic } from "../../../grammar/diagnostic.ts"
import { expOf, logOf } from "../../graph/arithmetic.ts"
import type { Builder } from "../../graph/builder.ts"
import type { DType, Node } from "../../graph/node.ts"
import * as ops from "../../graph/ops.ts"
import { kindOf } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { float, int, tensor, unknown } from "../make.ts"
import { opaqueOf } from "../poly.ts"
import type { FloatValue, Primitive, TensorValue, Value } from "../value.ts"
import { collapse } from "./loss.ts"
import { binaryTensor, selectTensor } from "./number.ts"
import { broadcastShapes, isShape } from "./shape-dims.ts"
import type { PrimitiveTable } from "./table.ts"
import type { Operand } from "./tensor-values.ts"
import { arg, argSpan, commonType, converted, isOperand, lowered, nodeOf, numberOf, operandNode } from "./tensor-values.ts"

/** A `number` argument: losses take their value. */
export function numberArg(value: Value, ctx: Machine): Operand {
  const x = value.kind === "loss" ? collapse(value, ctx) : value
  if (!isOperand(x)) throw new Error(`primitive: ${kindOf(value, ctx)} where a number was declared`)
  return x
}

export function pendingOf(...values: readonly Value[]): FloatValue["pending"] {
  return values.flatMap((v) => (v.kind === "float" || v.kind === "bool" ? v.pending : []))
}

// ---------------------------------------------------------------- one argument

/** A function of floats: on numbers by `value`, on tensors by `node`. `whole`: of an int it is an int. */
function elementwise(node: (b: Builder, x: Node) => Node, value: (x: number) => number, whole = false): Primitive {
  return (args, site, ctx) => {
    const x = numberArg(arg(args, "x"), ctx)
    if (x.kind === "tensor") {
      const dtype: DType = whole && x.dtype === "i32" ? "i32" : "f32"
      const input = converted(x, dtype, ctx)
      return tensor(dtype, x.shape, lowered(ctx, (b) => node(b, nodeOf(input, ctx))), site.span)
    }
    const n = numberOf(x, ctx)
    if (whole && x.kind === "int") return n === null ? unknown("int", site.span) : int(value(n), site.span)
    const y = n === null ? null : value(n)
    if (n !== null && Number.isNaN(y) && !Number.isNaN(n)) {
      return ctx.report(diagnostic("SLM2107", argSpan(site, "x"), `the function is not defined at ${n}`))
    }
    return float(y, site.span, pendingOf(x))
  }
}

/** To the nearest integer, ties to even, as the op `round`. */
export function roundEven(x: number): number {
  const down = Math.floor(x)
  const rest = x - down
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1
}

function expNumber(x: number): number {
  return x > 709 ? Infinity : x < -745 ? 0 : x < -699 || x > 699 ? Math.exp(x) : expOf(x)
}

function logNumber(x: number): number {
  return x > 0 && x < Infinity ? logOf(x) : x === 0 ? -Infinity : x === Infinity ? x : NaN
}

function tanhNumber(x: number): number {
  const e = expNumber(-2 * Math.abs(x))
  return Math.sign(x) * ((1 - e) / (1 + e))
}

/** The error function by its series up to 3 and a continued fraction beyond; error below 1e-12. */
export function erfNumber(x: number): number {
  const a = Math.abs(x)
  if (a > 6) return Math.sign(x)
  if (a < 3) {
    let term = a
    let sum = a
    for (let n = 1; n < 80; n++) {
      term *= (-a * a) / n
      sum += term / (2 * n + 1)
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * sum
  }
  let fraction = 0
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction)
  return Math.sign(x) * (1 - expNumber(-a * a) / Math.sqrt(Math.PI) / (a + fraction))
}

/** Whole numbers are themselves already. */
function rounding(node: (b: Builder, x: Node) => Node, value: (x: number) => number): Primitive {
  return elementwise((b, x) => (x.dtype === "i32" ? x : node(b, x)), value, true)
}

// ---------------------------------------------------------------- two arguments

function extreme(op: "max" | "min"): Primitive {
  const value = op === "max" ? Math.max : Math.min
  return (args, site, ctx) => {
    const [x, y] = [numberArg(arg(args, "a"), ctx), numberArg(arg(args, "b"), ctx)]
    if (x.kind === "int" && y.kind === "int") return int(opaqueOf(op, x.poly, y.poly), site.span)
    if (x.kind !== "tensor" && y.kind !== "tensor") {
      const [m, n] = [numberOf(x, ctx), numberOf(y, ctx)]
      return float(m === null || n === null ? null : value(m, n), site.span, pendingOf(x, y))
    }
    const common = commonType(x, y)
    const dtype = common === "bool" ? "i32" : common
    const shape = broadcastShapes([x, y].map((v) => (v.kind === "tensor" ? v.shape : [])), `\`${op}\``, site, ctx)
    if (!isShape(shape)) return shape
    return tensor(dtype, shape, lowered(ctx, (b) => ops[op](b, operandNode(x, dtype, b, ctx), operandNode(y, dtype, b, ctx))), site.span)
  }
}

const where: Primitive = (args, site, ctx) => {
  const [condition, yes, no] = [arg(args, "condition"), arg(args, "value"), arg(args, "otherwise")]
  if (condition.kind !== "bool") return selectTensor(condition, yes, no, site, ctx)
  if (condition.value !== null) return condition.value ? yes : no
  if (yes.kind === "tensor" || no.kind === "tensor") return unknown("tensor", site.span)
  return yes.kind === "int" && no.kind === "int" ? unknown("int", site.span) : float(null, site.span, pendingOf(condition, yes, no))
}

// ---------------------------------------------------------------- conversions

const toInt: Primitive = (args, site, ctx) => {
  const x = numberArg(arg(args, "x"), ctx)
  if (x.kind === "int") return x
  if (x.kind === "tensor") return tensor("i32", x.shape, converted(x, "i32", ctx).node, site.span, x.vocab)
  const n = numberOf(x, ctx)
  if (n === null) return unknown("int", site.span)
  if (!Number.isFinite(n)) return ctx.report(diagnostic("SLM2107", argSpan(site, "x"), `${n} is not an integer`))
  return int(Math.trunc(n), site.span)
}

const toFloat: Primitive = (args, site, ctx) => {
  const x = numberArg(arg(args, "x"), ctx)
  if (x.kind === "tensor") return converted(x, "f32", ctx)
  return x.kind === "float" ? x : float(numberOf(x, ctx), site.span, pendingOf(x))
}

const narrow: Primitive = (args, _, ctx) => {
  const format = arg(args, "format")
  const name = format.kind === "symbol" ? format.name : "f16"
  return onTensor(arg(args, "x"), ctx, (b, x) => b.make("narrow", { format: name === "bf16" ? "bf16" : "f16" }, [x]), "f32")
}

const stopGradient: Primitive = (args, _, ctx) => onTensor(arg(args, "x"), ctx, ops.stopGradient)

/** A tensor of the same shape. */
function onTensor(value: Value, ctx: Machine, make: (b: Builder, x: Node) => Node, dtype?: DType): TensorValue {
  const operand = numberArg(value, ctx)
  const x = converted(operand, dtype ?? (operand.kind === "tensor" ? operand.dtype : "f32"), ctx)
  return { ...x, node: lowered(ctx, (b) => make(b, nodeOf(x, ctx))) }
}

// ---------------------------------------------------------------- amounts and conditions

/** steps_in(amount, total): a quantity or an int of steps is itself, a float a share of `total`. */
const stepsIn: Primitive = (args, site, ctx) => {
  const [amount, total] = [arg(args, "amount"), arg(args, "total")]
  if (amount.kind === "unknown") return unknown("number", site.span)
  if (amount.kind === "quantity" && amount.unit === "steps") return float(amount.value, amount.origin)
  if (amount.kind === "int") return float(ctx.known(amount.poly), amount.origin)
  if (amount.kind === "float") {
    return total.kind === "tensor" ? binaryTensor("*", amount, total, site, ctx) : float(product(amount, total, ctx), site.span, pendingOf(amount, total))
  }
  return ctx.report(diagnostic("SLM2106", amount.origin ?? argSpan(site, "amount"), `an amount of steps is \`100 steps\` or a share of the run, \`5%\`, not ${kindOf(amount, ctx)}`))
}

function product(a: Value, b: Value, ctx: Machine): number | null {
  const [m, n] = [numberOf(a, ctx), numberOf(b, ctx)]
  return m === null || n === null ? null : m * n
}

/** ensure(value, condition, message): the value, unless the condition is false. */
const ensure: Primitive = (args, site, ctx) => {
  const [value, condition, message] = [arg(args, "value"), arg(args, "condition"), arg(args, "message")]
  if (condition.kind !== "bool" || condition.value !== false) return value
  const text = message.kind === "string" && message.value !== null ? message.value : "a condition of the library does not hold"
  return ctx.report(diagnostic("SLM2200", argSpan(site, "condition"), text))
}

export const numberPrimitives: PrimitiveTable = {
  exp: elementwise(ops.exp, expNumber),
  log: elementwise(ops.log, logNumber),
  sqrt: elementwise(ops.sqrt, Math.sqrt),
  rsqrt: elementwise(ops.rsqrt, (x) => 1 / Math.sqrt(x)),
  sin: elementwise(ops.sin, Math.sin),
  cos: elementwise(ops.cos, Math.cos),
  tanh: elementwise(ops.tanh, tanhNumber),
  erf: elementwise(ops.erf, erfNumber),
  sigmoid: elementwise(ops.sigmoid, (x) => 1 / (1 + expNumber(-x))),
  abs: elementwise(ops.abs, Math.abs, true),
  sign: elementwise(ops.sign, Math.sign, true),
  floor: rounding(ops.floor, Math.floor),
  round: rounding(ops.round, roundEven),
  max: extreme("max"),
  min: extreme("min"),
  where, narrow, to_int: toInt, to_float: toFloat, stop_gradient: stopGradient,
  steps_in: stepsIn, ensure,
}
