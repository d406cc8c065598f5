/**
 * What each op is in TensorFlow.js kernels, on any backend; `tfjs-wasm.ts` replaces some rules by faster ones.
 * A rule is applied once, when a program is loaded, and yields what to call in each step.
 */
import type { NodeOf, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { fillUniform } from "../../compiler/graph/random.ts"
import type { Tensor } from "./tfjs-backend.ts"
import { hostData, tfDType } from "./tfjs-backend.ts"
import { gather, putAdd, scatterAdd, take } from "./tfjs-indexed.ts"
import type { Emitted, Loading, Operand, Rule, Rules } from "./tfjs-rule.ts"
import { commonShape, isWhole, lazyReshape, onHost, operand, repeats, scaled, tensor, without } from "./tfjs-rule.ts"

// ---- leaves

function literal(k: Loading, node: NodeOf<"literal">): Emitted {
  const data = hostData(node.dtype, size(node.shape))
  data.set(node.args.values)
  return { shape: node.shape, run: () => k.upload(data, node.shape, node.dtype) }
}

function fill(k: Loading, node: NodeOf<"fill">): Emitted {
  const shape = node.shape.map(() => 1)
  const data = hostData(node.dtype, 1).fill(node.args.value)
  return { shape, fill: node.args.value, run: () => k.upload(data, shape, node.dtype) }
}

/** Numbers that depend on counters only; the same function as on every other device. */
function random(k: Loading, node: NodeOf<"random">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const { stream } = node.args
  const run = (xs: readonly Tensor[]): Tensor => k.host(xs, node.shape, "f32", ([seed, step, rows], out) => {
    const width = out.length / (rows?.length ?? 1)
    rows?.forEach((row, i) => {
      fillUniform({ seed: seed?.[0] ?? 0, stream, step: step?.[0] ?? 0, row }, out as Float32Array, i * width, (i + 1) * width)
    })
  })
  return { shape: node.shape, run }
}

// ---- elementwise

type Unary = "neg" | "abs" | "sign" | "exp" | "log" | "sqrt" | "rsqrt" | "sin" | "cos" | "tanh" | "erf" | "sigmoid" | "floor" | "round" | "not"
type Binary = "add" | "sub" | "mul" | "div" | "pow" | "mod" | "max" | "min" | "lt" | "le" | "eq" | "and" | "or"

/** A kernel for f32 and bool; kernels round large i32 on some backends. */
function unary<O extends Unary>(name: string): Rule<O> {
  return (k, node, inputs) => {
    if (node.dtype === "i32") return onHost(k, node as NodeOf<Unary>, inputs)
    const kernel = k.kernel(name)
    return { shape: operand(inputs, 0).shape, run: (xs) => kernel({ x: xs[0] }) }
  }
}

function binary<O extends Binary>(name: string, hostForIntegers = false): Rule<O> {
  return (k, node, inputs) => {
    const [a, b] = [operand(inputs, 0), operand(inputs, 1)]
    if (a.dtype === "i32" && hostForIntegers) return onHost(k, node as NodeOf<Binary>, inputs)
    const kernel = k.kernel(name)
    return { shape: commonShape(a.shape, b.shape), run: (xs) => kernel({ a: xs[0], b: xs[1] }) }
  }
}

function cast(k: Loading, node: NodeOf<"cast">, inputs: readonly Operand[]): Emitted | null {
  const x = operand(inputs, 0)
  if (x.dtype === node.dtype) return { shape: x.shape, run: (xs) => k.view(tensor(xs, 0), x.shape) }
  // Kernels differ in how they get from f32 to the other types.
  if (node.dtype === "bool" || (x.dtype === "f32" && node.dtype === "i32")) return onHost(k, node, inputs)
  const kernel = k.kernel("Cast")
  const attrs = { dtype: tfDType(node.dtype) }
  return { shape: x.shape, run: (xs) => kernel({ x: xs[0] }, attrs) }
}

function select(k: Loading, node: NodeOf<"select">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const kernel = k.kernel("Select")
  return { shape: node.shape, run: (xs) => kernel({ condition: xs[0], t: xs[1], e: xs[2] }) }
}

// ---- shape

function reshape(k: Loading, node: NodeOf<"reshape">, inputs: readonly Operand[]): Emitted | null {
  const shape = lazyReshape(operand(inputs, 0).shape, node.inputs[0]?.shape ?? [], node.shape)
  return shape && { shape, run: (xs) => k.view(tensor(xs, 0), shape) }
}

function permute(k: Loading, node: NodeOf<"permute">, inputs: readonly Operand[]): Emitted {
  const x = operand(inputs, 0)
  const kernel = k.kernel("Transpose")
  const attrs = { perm: [...node.args.axes] }
  return { shape: node.args.axes.map((axis) => x.shape[axis] ?? 1), run: (xs) => kernel({ x: xs[0] }, attrs) }
}

function slice(k: Loading, node: NodeOf<"slice">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  if (node.args.step.some((n) => n !== 1)) return onHost(k, node, inputs)
  const kernel = k.kernel("Slice")
  const attrs = { begin: [...node.args.start], size: [...node.shape] }
  return { shape: node.shape, run: (xs) => kernel({ x: xs[0] }, attrs) }
}

function pad(k: Loading, node: NodeOf<"pad">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  if (node.dtype !== "f32") return onHost(k, node, inputs)
  const kernel = k.kernel("PadV2")
  const attrs = { paddings: node.args.low.map((low, i) => [low, node.args.high[i] ?? 0]), constantValue: node.args.value }
  return { shape: node.shape, run: (xs) => kernel({ x: xs[0] }, attrs) }
}

function concat(k: Loading, node: NodeOf<"concat">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const kernel = k.kernel("Concat")
  return { shape: node.shape, run: (xs) => (xs.length === 1 ? k.view(tensor(xs, 0), node.shape) : kernel(xs, { axis: node.args.axis })) }
}

function reverse(k: Loading, node: NodeOf<"reverse">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const kernel = k.kernel("Reverse")
  const attrs = { dims: [...node.args.axes] }
  return { shape: node.shape, run: (xs) => kernel({ x: xs[0] }, attrs) }
}

// ---- reductions

function sum(k: Loading, node: NodeOf<"sum">, inputs: readonly Operand[]): Emitted | null {
  const x = operand(inputs, 0)
  const factor = repeats(node, x.shape)
  if (factor !== 1 && x.dtype !== "f32") return null
  const kernel = k.kernel("Sum")
  const attrs = { axis: [...node.args.axes], keepDims: true }
  return scaled(k, { shape: without(x.shape, node.args.axes), run: (xs) => kernel({ x: xs[0] }, attrs) }, factor)
}

function maxOf(k: Loading, node: NodeOf<"max_of">, inputs: readonly Operand[]): Emitted {
  const kernel = k.kernel("Max")
  const attrs = { reductionIndices: [...node.args.axes], keepDims: true }
  return { shape: without(operand(inputs, 0).shape, node.args.axes), run: (xs) => kernel({ x: xs[0] }, attrs) }
}

function argmax(k: Loading, node: NodeOf<"argmax">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const kernel = k.kernel("ArgMax")
  const attrs = { axis: node.args.axis }
  return {
    shape: node.shape,
    run(xs) {
      const x = kernel({ x: xs[0] }, attrs)
      const kept = k.view(x, node.shape)
      k.drop(x)
      return kept
    },
  }
}

function cumsum(k: Loading, node: NodeOf<"cumsum">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const kernel = k.kernel("Cumsum")
  const attrs = { axis: node.args.axis, exclusive: false, reverse: node.args.reverse }
  return { shape: node.shape, run: (xs) => kernel({ x: xs[0] }, attrs) }
}

function topK(k: Loading, node: NodeOf<"top_k">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  if (operand(inputs, 0).dtype !== "f32") return onHost(k, node, inputs)
  const kernels = k.kernels("TopK")
  const attrs = { k: node.args.k, sorted: true }
  return {
    shape: node.shape,
    run(xs) {
      const [values, indices] = kernels({ x: xs[0] }, attrs)
      if (values === undefined || indices === undefined) throw new Error("tfjs: kernel TopK has no indices")
      k.drop(values)
      return indices
    },
  }
}

function dot(k: Loading, node: NodeOf<"dot">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const kernel = k.kernel("BatchMatMul")
  const attrs = { transposeA: node.args.ta, transposeB: node.args.tb }
  return { shape: node.shape, run: (xs) => kernel({ a: xs[0], b: xs[1] }, attrs) }
}

function softmax(k: Loading, node: NodeOf<"softmax">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const kernel = k.kernel("Softmax")
  const attrs = { dim: node.shape.length - 1 }
  return { shape: node.shape, run: (xs) => kernel({ logits: xs[0] }, attrs) }
}

/** A lazy operand with its axes repeated. */
export function repeated(k: Loading, from: Operand, to: Shape): Emitted {
  const kernel = k.kernel("Tile")
  const attrs = { reps: to.map((n, i) => n / (from.shape[i] ?? 1)) }
  return { shape: to, run: (xs) => kernel({ x: xs[0] }, attrs) }
}

export const rules: Rules = {
  fill, literal, random,
  iota: onHost,
  neg: unary("Neg"), abs: unary("Abs"), sign: unary("Sign"), exp: unary("Exp"), log: unary("Log"), sqrt: unary("Sqrt"), rsqrt: unary("Rsqrt"),
  sin: unary("Sin"), cos: unary("Cos"), tanh: unary("Tanh"), erf: unary("Erf"), sigmoid: unary("Sigmoid"), floor: unary("Floor"), round: unary("Round"),
  not: unary("LogicalNot"),
  cast,
  narrow: onHost,
  stop_gradient: (k, _, inputs) => ({ shape: operand(inputs, 0).shape, run: (xs) => k.view(tensor(xs, 0), operand(inputs, 0).shape) }),
  add: binary("Add"), sub: binary("Sub"), mul: binary("Multiply"), div: binary("RealDiv", true), pow: binary("Pow"), mod: binary("Mod", true),
  max: binary("Maximum"), min: binary("Minimum"),
  lt: binary("Less"), le: binary("LessEqual"), eq: binary("Equal"), and: binary("LogicalAnd"), or: binary("LogicalOr"),
  select,
  reshape, permute,
  broadcast: (k, _, inputs) => ({ shape: operand(inputs, 0).shape, run: (xs) => k.view(tensor(xs, 0), operand(inputs, 0).shape) }),
  slice, pad, concat, reverse,
  window: onHost, unwindow: onHost,
  sum, max_of: maxOf, argmax, cumsum, dot, gather, scatter_add: scatterAdd, take, put_add: putAdd, top_k: topK,
  softmax,
}
