/**
 * Convenience over a builder: numbers become fills, operands are broadcast (explicitly, in the graph) as in NumPy,
 * and common functions are spelled out in primitive ops.
 */
import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import type { AttendArgs, DType, Factors, KeptFormat, Node, Op, Shape } from "./node.ts"
import { size } from "./node.ts"

export type Operand = Node | number
type BinaryOp = "add" | "sub" | "mul" | "div" | "pow" | "mod" | "max" | "min" | "lt" | "le" | "eq" | "and" | "or"
type UnaryOp = { [O in Op]: O }["neg" | "abs" | "sign" | "exp" | "log" | "sqrt" | "rsqrt" | "sin" | "cos" | "tanh" | "erf" | "sigmoid" | "floor" | "round" | "not" | "stop_gradient"]

// ---- leaves

export function fill(b: Builder, value: number, shape: Shape = [], dtype: DType = "f32"): Node {
  return b.make("fill", { value, shape, dtype }, [])
}

export function literal(b: Builder, values: readonly number[], shape: Shape = [values.length], dtype: DType = "f32"): Node {
  return b.make("literal", { values, shape, dtype }, [])
}

export function zerosLike(b: Builder, x: Node): Node {
  return fill(b, 0, x.shape, x.dtype)
}

export function iota(b: Builder, shape: Shape, axis = 0): Node {
  return b.make("iota", { shape, axis }, [])
}

// ---- shape

export function reshape(b: Builder, x: Node, shape: Shape): Node {
  return sameShape(x.shape, shape) ? x : b.make("reshape", { shape }, [x])
}

export function permute(b: Builder, x: Node, axes: readonly number[]): Node {
  return axes.every((axis, i) => axis === i) ? x : b.make("permute", { axes }, [x])
}

/** Swaps two axes, the last two if none are given; negative axes count from the end. */
export function transpose(b: Builder, x: Node, first = -2, second = -1): Node {
  const axes = x.shape.map((_, i) => i)
  const [i, j] = [axisOf(x, first), axisOf(x, second)]
  axes[i] = j
  axes[j] = i
  return permute(b, x, axes)
}

/** Broadcasts as NumPy does: axes are aligned at the end, missing ones are added, size 1 is repeated. */
export function broadcastTo(b: Builder, x: Node, shape: Shape): Node {
  if (sameShape(x.shape, shape)) return x
  const aligned = [...Array<number>(Math.max(0, shape.length - x.shape.length)).fill(1), ...x.shape]
  const same = reshape(b, x, aligned)
  return sameShape(aligned, shape) ? same : b.make("broadcast", { shape }, [same])
}

/** The common shape of two operands; throws where there is none. */
export function commonShape(x: Shape, y: Shape): Shape {
  const rank = Math.max(x.length, y.length)
  return Array.from({ length: rank }, (_, i) => {
    const m = x[i - rank + x.length] ?? 1
    const n = y[i - rank + y.length] ?? 1
    if (m !== n && m !== 1 && n !== 1) throw new Error(`graph: [${x.join(", ")}] and [${y.join(", ")}] do not broadcast`)
    return m === 1 ? n : m
  })
}

export function slice(b: Builder, x: Node, start: Shape, stop: Shape, step: Shape = start.map(() => 1)): Node {
  if (start.every((n, i) => n === 0 && stop[i] === x.shape[i] && step[i] === 1)) return x
  return b.make("slice", { start, stop, step }, [x])
}

/** Elements `start` up to `stop` of one axis. */
export function sliceAxis(b: Builder, x: Node, axis: number, start: number, stop: number): Node {
  const i = axisOf(x, axis)
  return slice(b, x, x.shape.map((_, j) => (j === i ? start : 0)), x.shape.map((n, j) => (j === i ? stop : n)))
}

export function pad(b: Builder, x: Node, low: Shape, high: Shape, value = 0): Node {
  return low.every((n) => n === 0) && high.every((n) => n === 0) ? x : b.make("pad", { low, high, value }, [x])
}

export function concat(b: Builder, parts: readonly Node[], axis: number): Node {
  const first = parts[0]
  if (first === undefined) throw new Error("graph: nothing to concatenate")
  return parts.length === 1 ? first : b.make("concat", { axis: axisOf(first, axis) }, parts)
}

/** Parts of equal type side by side along a new axis. */
export function stack(b: Builder, parts: readonly Node[], axis = 0): Node {
  return concat(b, parts.map((x) => expandDims(b, x, axis)), axis)
}

export function expandDims(b: Builder, x: Node, axis: number): Node {
  const i = axis < 0 ? axis + x.shape.length + 1 : axis
  return reshape(b, x, [...x.shape.slice(0, i), 1, ...x.shape.slice(i)])
}

export function squeeze(b: Builder, x: Node, axes: readonly number[]): Node {
  const dropped = axes.map((axis) => axisOf(x, axis))
  return reshape(b, x, x.shape.filter((_, i) => !dropped.includes(i)))
}

// ---- elementwise

function sameShape(x: Shape, y: Shape): boolean {
  return x.length === y.length && x.every((n, i) => n === y[i])
}

function axisOf(x: Node, axis: number): number {
  const i = axis < 0 ? axis + x.shape.length : axis
  if (i < 0 || i >= x.shape.length) throw new Error(`graph: no axis ${axis} in [${x.shape.join(", ")}]`)
  return i
}

/** Brings two operands to one type: a number takes the other's dtype, shapes are broadcast. */
function align(b: Builder, x: Operand, y: Operand): readonly [Node, Node] {
  if (typeof x === "number") {
    const [q, p] = typeof y === "number" ? [fill(b, y), fill(b, x)] : [y, fill(b, x, y.shape, y.dtype)]
    return [p, q]
  }
  if (typeof y === "number") return [x, fill(b, y, x.shape, x.dtype)]
  const shape = commonShape(x.shape, y.shape)
  return [broadcastTo(b, x, shape), broadcastTo(b, y, shape)]
}

function binary(b: Builder, op: BinaryOp, x: Operand, y: Operand): Node {
  return b.make<BinaryOp>(op, {}, align(b, x, y)) as Node
}

function unary(b: Builder, op: UnaryOp, x: Node): Node {
  return b.make<UnaryOp>(op, {}, [x]) as Node
}

export const add = (b: Builder, x: Operand, y: Operand): Node => binary(b, "add", x, y)
export const sub = (b: Builder, x: Operand, y: Operand): Node => binary(b, "sub", x, y)
export const mul = (b: Builder, x: Operand, y: Operand): Node => binary(b, "mul", x, y)
export const div = (b: Builder, x: Operand, y: Operand): Node => binary(b, "div", x, y)
export const pow = (b: Builder, x: Operand, y: Operand): Node => binary(b, "pow", x, y)
export const mod = (b: Builder, x: Operand, y: Operand): Node => binary(b, "mod", x, y)
export const max = (b: Builder, x: Operand, y: Operand): Node => binary(b, "max", x, y)
export const min = (b: Builder, x: Operand, y: Operand): Node => binary(b, "min", x, y)
export const lt = (b: Builder, x: Operand, y: Operand): Node => binary(b, "lt", x, y)
export const le = (b: Builder, x: Operand, y: Operand): Node => binary(b, "le", x, y)
export const gt = (b: Builder, x: Operand, y: Operand): Node => binary(b, "lt", y, x)
export const ge = (b: Builder, x: Operand, y: Operand): Node => binary(b, "le", y, x)
export const eq = (b: Builder, x: Operand, y: Operand): Node => binary(b, "eq", x, y)
export const ne = (b: Builder, x: Operand, y: Operand): Node => not(b, eq(b, x, y))
export const and = (b: Builder, x: Operand, y: Operand): Node => binary(b, "and", x, y)
export const or = (b: Builder, x: Operand, y: Operand): Node => binary(b, "or", x, y)

export const neg = (b: Builder, x: Node): Node => unary(b, "neg", x)
export const abs = (b: Builder, x: Node): Node => unary(b, "abs", x)
export const sign = (b: Builder, x: Node): Node => unary(b, "sign", x)
export const exp = (b: Builder, x: Node): Node => unary(b, "exp", x)
export const log = (b: Builder, x: Node): Node => unary(b, "log", x)
export const sqrt = (b: Builder, x: Node): Node => unary(b, "sqrt", x)
export const rsqrt = (b: Builder, x: Node): Node => unary(b, "rsqrt", x)
export const sin = (b: Builder, x: Node): Node => unary(b, "sin", x)
export const cos = (b: Builder, x: Node): Node => unary(b, "cos", x)
export const tanh = (b: Builder, x: Node): Node => unary(b, "tanh", x)
export const erf = (b: Builder, x: Node): Node => unary(b, "erf", x)
export const sigmoid = (b: Builder, x: Node): Node => unary(b, "sigmoid", x)
export const floor = (b: Builder, x: Node): Node => unary(b, "floor", x)
export const round = (b: Builder, x: Node): Node => unary(b, "round", x)
export const not = (b: Builder, x: Node): Node => unary(b, "not", x)
export const stopGradient = (b: Builder, x: Node): Node => unary(b, "stop_gradient", x)
export const square = (b: Builder, x: Node): Node => mul(b, x, x)

export function cast(b: Builder, x: Node, dtype: DType): Node {
  return x.dtype === dtype ? x : b.make("cast", { dtype }, [x])
}

/** `condition ? yes : no`, all three broadcast to one shape; two numbers give f32. */
export function where(b: Builder, condition: Node, yes: Operand, no: Operand): Node {
  const [p, q] = align(b, yes, no)
  const shape = commonShape(condition.shape, p.shape)
  return b.make("select", {}, [broadcastTo(b, condition, shape), broadcastTo(b, p, shape), broadcastTo(b, q, shape)])
}

/** The largest number of f16, and of f32. */
export const [largestHalf, largest] = [65504, 3.4028234663852886e38]

/** The nearest number of a format, ties to even; where only infinity is nearer, the largest one. Infinities and NaN stay what they are. */
export function kept(b: Builder, x: Node, format: KeptFormat): Node {
  if (format === "bf16") return b.make("narrow", { format }, [x])
  const size = abs(b, x)
  const isBeyond = and(b, lt(b, largestHalf, size), le(b, size, largest))
  return b.make("narrow", { format }, [where(b, isBeyond, max(b, -largestHalf, min(b, x, largestHalf)), x)])
}

/** max(0, x), with gradient 0 at 0. */
export const relu = (b: Builder, x: Node): Node => max(b, 0, x)
export const silu = (b: Builder, x: Node): Node => mul(b, x, sigmoid(b, x))

/** x * Phi(x) with the exact normal distribution function (Hendrycks, Gimpel 2016). */
export function gelu(b: Builder, x: Node): Node {
  return mul(b, mul(b, x, 0.5), add(b, erf(b, mul(b, x, Math.SQRT1_2)), 1))
}

/** The tanh form of gelu, as GPT-2 uses it. */
export function geluTanh(b: Builder, x: Node): Node {
  const inner = mul(b, add(b, x, mul(b, mul(b, mul(b, x, x), x), 0.044715)), 0.7978845608028654)
  return mul(b, mul(b, x, 0.5), add(b, tanh(b, inner), 1))
}

// ---- reductions

function allAxes(x: Node, axes: readonly number[] | undefined): readonly number[] {
  return axes === undefined ? x.shape.map((_, i) => i) : axes.map((axis) => axisOf(x, axis)).sort((p, q) => p - q)
}

function reduced(b: Builder, op: "sum" | "max_of", x: Node, axes: readonly number[] | undefined, keep: boolean): Node {
  const list = allAxes(x, axes)
  const result = list.length === 0 ? x : b.make(op, { axes: list }, [x])
  return keep ? result : squeeze(b, result, list)
}

/** Sum over `axes` (all if not given); the axes are dropped unless `keep`. */
export function sum(b: Builder, x: Node, axes?: readonly number[], keep = false): Node {
  return reduced(b, "sum", x, axes, keep)
}

export function maxOf(b: Builder, x: Node, axes?: readonly number[], keep = false): Node {
  return reduced(b, "max_of", x, axes, keep)
}

export function mean(b: Builder, x: Node, axes?: readonly number[], keep = false): Node {
  const list = allAxes(x, axes)
  return mul(b, sum(b, x, list, keep), 1 / size(list.map((axis) => x.shape[axis] ?? 1)))
}

export function argmax(b: Builder, x: Node, axis = -1, keep = false): Node {
  const i = axisOf(x, axis)
  const result = b.make("argmax", { axis: i }, [x])
  return keep ? result : squeeze(b, result, [i])
}

export function cumsum(b: Builder, x: Node, axis = -1, reverse = false): Node {
  return b.make("cumsum", { axis: axisOf(x, axis), reverse }, [x])
}

// ---- products, indexed access

export function dot(b: Builder, x: Node, y: Node, ta = false, tb = false, factors: Factors = "f32"): Node {
  return b.make("dot", { ta, tb, factors }, [x, y])
}

/**
 * [.., m, k] x [k, n] -> [.., m, n] as one product of matrices, or [.., m, k] x [.., k, n] with broadcast leading axes.
 * `tb`: y is stored [.., n, k].
 */
export function matmul(b: Builder, x: Node, y: Node, tb = false): Node {
  if (x.shape.length < 2 || y.shape.length < 2) throw new Error("graph: matmul needs matrices")
  if (y.shape.length === 2) {
    const k = x.shape.at(-1) ?? 1
    const flat = dot(b, reshape(b, x, [size(x.shape) / k, k]), y, false, tb)
    return reshape(b, flat, [...x.shape.slice(0, -1), flat.shape[1] ?? 1])
  }
  const lead = commonShape(x.shape.slice(0, -2), y.shape.slice(0, -2))
  return dot(b, broadcastTo(b, x, [...lead, ...x.shape.slice(-2)]), broadcastTo(b, y, [...lead, ...y.shape.slice(-2)]), false, tb)
}

/** i32[..any] -> [..any, depth], 1 at the id and 0 elsewhere (all 0 for an id outside). */
export function oneHot(b: Builder, ids: Node, depth: number, dtype: DType = "f32"): Node {
  const shape = [...ids.shape, depth]
  return cast(b, eq(b, expandDims(b, ids, -1), iota(b, shape, ids.shape.length)), dtype)
}

export function gather(b: Builder, table: Node, ids: Node): Node {
  return b.make("gather", {}, [table, ids])
}

// ---- composites

export const softmax = (b: Builder, x: Node): Node => b.make("softmax", {}, [x])
export const logSoftmax = (b: Builder, x: Node): Node => b.make("log_softmax", {}, [x])
export const crossEntropy = (b: Builder, logits: Node, labels: Node): Node => b.make("cross_entropy", {}, [logits, labels])
export const rmsNorm = (b: Builder, x: Node, scale: Node, eps: number): Node => b.make("rms_norm", { eps }, [x, scale])
export const layerNorm = (b: Builder, x: Node, scale: Node, bias: Node, eps: number): Node => b.make("layer_norm", { eps }, [x, scale, bias])
export const rope = (b: Builder, x: Node, positions: Node, base: number): Node => b.make("rope", { base, inverse: false }, [x, positions])

export interface AttendOptions {
  readonly scale?: number // 1 / sqrt(d) if not given
  readonly causal?: boolean
  readonly window?: number | null
  readonly segments?: readonly [Node, Node] // of the queries, of the keys
  readonly offset?: Node
  readonly bias?: Node
  readonly factors?: Factors // f32 if not given
}

export function attend(b: Builder, q: Node, k: Node, v: Node, options: AttendOptions = {}): Node {
  const { segments, offset, bias } = options
  const args: AttendArgs = {
    scale: options.scale ?? 1 / Math.sqrt(q.shape[3] ?? 1), causal: options.causal ?? false, window: options.window ?? null,
    segmented: segments !== undefined, offset: offset !== undefined, biased: bias !== undefined, factors: options.factors ?? "f32",
  }
  return b.make("attend", args, [q, k, v, ...(segments ?? []), ...(offset ? [offset] : []), ...(bias ? [bias] : [])])
}

// ---- loops

export interface ScanStep {
  readonly carries: readonly Node[]
  readonly results: readonly Node[]
}

/**
 * Runs `step` once per leading element of `xs`. The body has a graph of its own: a value from outside that it needs is
 * a carry that `step` returns unchanged. Returns the last carries and the stacked results.
 */
export function scan(
  b: Builder, trips: number, carries: readonly Node[], xs: readonly Node[],
  step: (b: Builder, carries: readonly Node[], xs: readonly Node[]) => ScanStep,
): ScanStep {
  const inner = createBuilder()
  const c = carries.map((x, i) => inner.input(`carry${i}`, "batch", x.dtype, x.shape))
  const x = xs.map((s, i) => inner.input(`x${i}`, "batch", s.dtype, s.shape.slice(1)))
  const next = step(inner, c, x)
  const body = Object.freeze({ inputs: Object.freeze([...c, ...x]), outputs: Object.freeze([...next.carries, ...next.results]) })
  const outputs = body.outputs.map((_, output) => b.make("scan", { body, trips, carries: carries.length, output }, [...carries, ...xs]))
  return { carries: outputs.slice(0, carries.length), results: outputs.slice(carries.length) }
}
