import type { DType, KeptFormat } from "./node.ts"
import { largestHalf } from "./ops.ts"

/** One element at a time; the result is rounded by the array it is stored in. */
export type Unary = (x: number) => number
export type Binary = (x: number, y: number) => number

/** erf as 2/sqrt(pi) e^(-x^2) (x + 2x^3/3 + 4x^5/15 + …), whose terms all have one sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1)
    sum += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
}

function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x))
  const e = Math.exp(x)
  return e / (1 + e)
}

/** To the nearest integer, ties to even. */
export function roundEven(x: number): number {
  const down = Math.floor(x)
  const rest = x - down
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1
  return down % 2 === 0 ? down : down + 1
}

/** The nearest number with `fraction` fraction bits, smallest exponent `lowest` and largest `highest`; ties to even, beyond is infinite. */
function toFormat(x: number, fraction: number, lowest: number, highest: number): number {
  if (x === 0 || !Number.isFinite(x)) return x
  const exponent = Math.max(exponentOf(Math.abs(x)), lowest)
  const unit = 2 ** (exponent - fraction)
  const rounded = roundEven(x / unit) * unit
  return Math.abs(rounded) >= 2 ** (highest + 1) ? Math.sign(x) * Infinity : rounded
}

/** e with 2^e <= x < 2^(e+1). */
function exponentOf(x: number): number {
  let e = Math.floor(Math.log2(x))
  if (2 ** e > x) e--
  if (2 ** (e + 1) <= x) e++
  return e
}

export const narrowTo: { readonly [F in "f16" | "bf16"]: Unary } = {
  f16: (x) => toFormat(x, 10, -14, 15),
  bf16: (x) => toFormat(x, 7, -126, 127),
}

/** As `kept` (ops.ts): where only infinity is nearer, the largest number of the format. */
export const keptIn: { readonly [F in KeptFormat]: Unary } = {
  f16: (x) => narrowTo.f16(Number.isFinite(x) ? Math.max(-largestHalf, Math.min(x, largestHalf)) : x),
  bf16: narrowTo.bf16,
}

export type UnaryOp = "neg" | "abs" | "sign" | "exp" | "log" | "sqrt" | "rsqrt" | "sin" | "cos" | "tanh" | "erf" | "sigmoid" | "floor" | "round" | "not" | "stop_gradient"

export const unaryOf: { readonly [O in UnaryOp]: Unary } = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  erf,
  sigmoid,
  floor: Math.floor,
  round: roundEven,
  not: (x) => (x === 0 ? 1 : 0),
  stop_gradient: (x) => x,
}

export type BinaryOp = "add" | "sub" | "mul" | "div" | "pow" | "mod" | "max" | "min" | "lt" | "le" | "eq" | "and" | "or"

const floatBinary: { readonly [O in BinaryOp]: Binary } = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  pow: Math.pow,
  // The sign of the divisor, as x - floor(x / y) * y without its rounding.
  mod: (x, y) => {
    const rest = x % y
    return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest
  },
  max: Math.max,
  min: Math.min,
  lt: (x, y) => (x < y ? 1 : 0),
  le: (x, y) => (x <= y ? 1 : 0),
  eq: (x, y) => (x === y ? 1 : 0),
  and: (x, y) => x & y,
  or: (x, y) => x | y,
}

/** i32 wraps around; division rounds down, and by zero yields 0. */
const intBinary: { readonly [O in BinaryOp]: Binary } = {
  ...floatBinary,
  mul: Math.imul,
  div: (x, y) => (y === 0 ? 0 : Math.floor(x / y)),
  mod: (x, y) => (y === 0 ? 0 : floatBinary.mod(x, y)),
}

export function binaryOf(op: BinaryOp, dtype: DType): Binary {
  return dtype === "f32" ? floatBinary[op] : intBinary[op]
}

/** What `cast` does to one element. */
export function castTo(from: DType, to: DType): Unary {
  if (to === "bool") return (x) => (x === 0 ? 0 : 1)
  if (to === "i32" && from === "f32") return truncate
  return (x) => x
}

/** Towards zero; NaN is 0 and numbers beyond i32 become its ends. */
function truncate(x: number): number {
  return Math.min(Math.max(Math.trunc(x), -(2 ** 31)), 2 ** 31 - 1)
}
