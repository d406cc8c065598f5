/**
 * Rules for the WebAssembly backend. Its kernels from XNNPACK (plain matrix products, arithmetic with broadcasting,
 * sigmoid, softmax) are fast, its own are 10 to 100 times slower: transposed or batched products, comparisons,
 * broadcasts, transcendental functions. These rules express the slow ones by the fast ones.
 */
import type { Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { readInto, stridesOf } from "../../compiler/graph/value.ts"
import type { Tensor } from "./tfjs-backend.ts"
import { rules } from "./tfjs-ops.ts"
import type { Dialect } from "./tfjs-plan.ts"
import type { Emitted, Loading, LoweredOp, Operand, Rule, Rules } from "./tfjs-rule.ts"
import { chain, commonShape, onHost, operand, sameShape, tensor } from "./tfjs-rule.ts"
import { signOf } from "./tfjs-sign.ts"
import { dot, permute } from "./tfjs-wasm-matrix.ts"
import { sum } from "./tfjs-wasm-sum.ts"

/** The same numbers under another shape, for one kernel call: no reference is counted. */
function as(x: Tensor, shape: Shape): Tensor {
  return { dataId: x.dataId, shape: shape as number[], dtype: x.dtype }
}

// ---- arithmetic

/** Two shapes with axes joined where both go the same way, or null where more than the 6 axes are left that XNNPACK takes. */
function joined(x: Shape, y: Shape): readonly [number[], number[]] | null {
  const [xs, ys]: [number[], number[]] = [[], []]
  let last = ""
  x.forEach((m, i) => {
    const n = y[i] ?? 1
    if (m === 1 && n === 1) return
    const kind = m === n ? "both" : m === 1 ? "y" : "x"
    const j = xs.length - 1
    if (kind === last) {
      xs[j] = (xs[j] ?? 1) * m
      ys[j] = (ys[j] ?? 1) * n
    } else {
      xs.push(m)
      ys.push(n)
      last = kind
    }
  })
  return xs.length > 6 ? null : [xs, ys]
}

type Arithmetic = "add" | "sub" | "mul" | "div"

/** One of the four kernels that broadcast fast; f32 only. */
function arithmetic(k: Loading, name: "Add" | "Sub" | "Multiply" | "RealDiv", a: Shape, b: Shape): ((x: Tensor, y: Tensor) => Tensor) | null {
  const shapes = joined(a, b)
  if (shapes === null) return null
  const kernel = k.kernel(name)
  const shape = [...commonShape(a, b)]
  return (x, y) => as(kernel({ a: as(x, shapes[0]), b: as(y, shapes[1]) }), shape)
}

function fastBinary<O extends Arithmetic>(name: "Add" | "Sub" | "Multiply" | "RealDiv", slow: Rule<O>): Rule<O> {
  return (k, node, inputs) => {
    const [a, b] = [operand(inputs, 0), operand(inputs, 1)]
    if (a.dtype !== "f32") return sameOnly(slow)(k, node, inputs)
    const run = arithmetic(k, name, a.shape, b.shape)
    return run && { shape: commonShape(a.shape, b.shape), run: (xs) => run(tensor(xs, 0), tensor(xs, 1)) }
  }
}

/** A kernel whose broadcasting is very slow: operands of one shape only. */
function sameOnly<O extends LoweredOp>(rule: Rule<O>): Rule<O> {
  return (k, node, inputs) => {
    const first = operand(inputs, 0).shape
    return inputs.every((x) => sameShape(x.shape, first)) ? rule(k, node, inputs) : null
  }
}

/** max and min with a constant are a clipping. */
function bounded<O extends "max" | "min">(slow: Rule<O>): Rule<O> {
  return (k, node, inputs) => {
    const at = inputs.findIndex((x) => x.fill !== null)
    const bound = inputs[at]?.fill ?? null
    if (bound === null || node.dtype !== "f32") return sameOnly(slow)(k, node, inputs)
    const kernel = k.kernel("ClipByValue")
    const attrs = node.op === "max" ? { clipValueMin: bound, clipValueMax: Infinity } : { clipValueMin: -Infinity, clipValueMax: bound }
    return { shape: operand(inputs, 1 - at).shape, run: (xs) => kernel({ x: xs[1 - at] }, attrs) }
  }
}

/** a < b is b - a > 0, also for infinities and subnormal differences; the comparing kernel is slower than these three. */
const less: Rule<"lt"> = (k, node, inputs) => {
  const [a, b] = [operand(inputs, 0), operand(inputs, 1)]
  if (a.dtype !== "f32") return sameOnly(rules.lt)(k, node, inputs)
  const subtract = arithmetic(k, "Sub", b.shape, a.shape)
  if (subtract === null) return null
  const [step, cast] = [k.kernel("Step"), k.kernel("Cast")]
  return {
    shape: commonShape(a.shape, b.shape),
    run: (xs) => chain(k, (keep) => cast({ x: keep(step({ x: keep(subtract(tensor(xs, 1), tensor(xs, 0))) }, { alpha: 0 })) }, { dtype: "bool" })),
  }
}

/** [x > 0] - [-x > 0]: the kernel Sign takes small numbers for 0. */
const sign: Rule<"sign"> = (k, node, inputs) => {
  if (node.dtype !== "f32") return onHost(k, node, inputs)
  const [step, neg, subtract] = [k.kernel("Step"), k.kernel("Neg"), k.kernel("Sub")]
  return {
    shape: operand(inputs, 0).shape,
    run: ([x]) => chain(k, (keep) => subtract({ a: keep(step({ x }, { alpha: 0 })), b: keep(step({ x: keep(neg({ x })) }, { alpha: 0 })) })),
  }
}

/** tanh x = -sign(x) e / (e + 2) with e = exp(-2|x|) - 1, which the kernel Elu yields: exact near 0, ten times faster than Tanh. */
const tanh: Rule<"tanh"> = (k, _, inputs) => {
  const { shape } = operand(inputs, 0)
  const number = (value: number): Tensor => k.constant(Float32Array.of(value), [1], "f32")
  const [minusTwo, two, steep] = [number(-2), number(2), number(-3e38)]
  const [abs, elu, clip] = [k.kernel("Abs"), k.kernel("Elu"), k.kernel("ClipByValue")]
  const [multiply, add, divide] = [k.kernel("Multiply"), k.kernel("Add"), k.kernel("RealDiv")]
  return {
    shape,
    run: (xs) => chain(k, (keep) => {
      const x = as(tensor(xs, 0), [size(shape)])
      const e = keep(elu({ x: keep(multiply({ a: keep(abs({ x })), b: minusTwo })) }))
      const minusSize = keep(divide({ a: e, b: keep(add({ a: e, b: two })) }))
      const minusSign = keep(clip({ x: keep(multiply({ a: x, b: steep })) }, { clipValueMin: -1, clipValueMax: 1 }))
      return as(multiply({ a: minusSize, b: minusSign }), shape)
    }),
  }
}

/** Where x is never above 0: e^x = s / (1 - s) with s the sigmoid of x, three times faster than Exp and within 1e-6 of it. */
const exp: Rule<"exp"> = (k, node, inputs) => {
  const [x] = node.inputs
  if (x === undefined || signOf(x) !== "down") return rules.exp(k, node, inputs)
  const { shape } = operand(inputs, 0)
  const one = k.constant(Float32Array.of(1), [1], "f32")
  const [sigmoid, subtract, divide] = [k.kernel("Sigmoid"), k.kernel("Sub"), k.kernel("RealDiv")]
  return {
    shape,
    run: (xs) => chain(k, (keep) => {
      const s = keep(sigmoid({ x: as(tensor(xs, 0), [size(shape)]) }))
      return as(divide({ a: s, b: keep(subtract({ a: one, b: s })) }), shape)
    }),
  }
}

// ---- moving numbers about

/** A lazy operand with its axes repeated: in f32 a product with ones, which is the fastest broadcast there is. */
function repeated(k: Loading, from: Operand, to: Shape): Emitted {
  if (from.dtype === "f32") {
    const shape = to.map((n, i) => (from.shape[i] === n ? 1 : n))
    const multiply = arithmetic(k, "Multiply", from.shape, shape)
    const ones = k.constant(new Float32Array(size(shape)).fill(1), shape, "f32")
    if (multiply !== null) return { shape: to, run: (xs) => multiply(tensor(xs, 0), ones) }
  }
  const strides = stridesOf(from.shape).map((stride, i) => (from.shape[i] === 1 ? 0 : stride))
  return {
    shape: to,
    run: (xs) => k.host(xs, to, from.dtype, ([x], out) => {
      if (x !== undefined) readInto(out, x, { offset: 0, shape: to, strides })
    }),
  }
}

const wasmRules: Rules = {
  ...rules,
  add: fastBinary("Add", rules.add), sub: fastBinary("Sub", rules.sub), mul: fastBinary("Multiply", rules.mul), div: fastBinary("RealDiv", rules.div),
  max: bounded(rules.max), min: bounded(rules.min),
  pow: sameOnly(rules.pow), mod: sameOnly(rules.mod),
  lt: less, le: sameOnly(rules.le), eq: sameOnly(rules.eq), and: sameOnly(rules.and), or: sameOnly(rules.or),
  tanh, exp, sign,
  // The kernel moves four bytes per element, also where there is one.
  select: (k, node, inputs) => (node.dtype === "bool" ? onHost : rules.select)(k, node, inputs),
  permute, dot, sum,
  // The kernels for these are loops in JavaScript or slower than the loops of the interpreter.
  slice: onHost, pad: onHost, concat: onHost, reverse: onHost, cumsum: onHost,
  gather: onHost, scatter_add: onHost, take: onHost, put_add: onHost,
}

export const wasmDialect: Dialect = { rules: wasmRules, repeated }
