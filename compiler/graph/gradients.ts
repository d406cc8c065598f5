/** The gradient of every op, as ops. `spec/6-graph.md` has the same table in words, with what holds at kinks and ties. */
import type { Builder } from "./builder.ts"
import { inputOf } from "./composite.ts"
import type { Node, NodeOf, Op, Shape } from "./node.ts"
import * as g from "./ops.ts"
import { attendInputs } from "./shapes.ts"

export interface GradientCall<O extends Op> {
  readonly b: Builder
  readonly node: NodeOf<O>
  /** The node itself, as an operand. */
  readonly y: Node
  /** Gradient of the loss by the node's value: f32 of its shape. */
  readonly u: Node
  /** Whether anybody asks for the gradient by input `i`. */
  wanted(i: number): boolean
}

/** Gradients by each input in order; null where there is none or nobody asks. */
export type GradientFunction<O extends Op> = (call: GradientCall<O>) => readonly (Node | null)[]

/**
 * `none`: the value does not depend on any input smoothly, its gradient is zero. `decompose`: differentiate the decomposition.
 * `loop`: differentiated for all outputs of a loop at once (`gradient-scan.ts`).
 */
export type GradientRule<O extends Op> = "none" | "decompose" | "loop" | GradientFunction<O>

type Elementwise = (b: Builder, u: Node, x: Node, y: Node) => Node

/** The rule of an op with one input x and result y. */
function unary(rule: Elementwise): (call: { b: Builder; node: { readonly inputs: readonly Node[] }; y: Node; u: Node }) => readonly Node[] {
  return ({ b, node, y, u }) => [rule(b, u, inputOf(node.inputs, 0), y)]
}

function inverse(axes: readonly number[]): number[] {
  const result = Array<number>(axes.length).fill(0)
  axes.forEach((axis, i) => (result[axis] = i))
  return result
}

function dot({ b, node, u, wanted }: GradientCall<"dot">): readonly (Node | null)[] {
  const { ta, tb, factors } = node.args
  const [x, y] = [inputOf(node.inputs, 0), inputOf(node.inputs, 1)]
  const byX = () => (ta ? g.dot(b, y, u, tb, true, factors) : g.dot(b, u, y, false, !tb, factors))
  const byY = () => (tb ? g.dot(b, u, x, true, ta, factors) : g.dot(b, x, u, !ta, false, factors))
  return [wanted(0) ? byX() : null, wanted(1) ? byY() : null]
}

/** x^y: by x it is 0 where y = 0, by y it is 0 where x <= 0. */
function pow({ b, node, y: result, u, wanted }: GradientCall<"pow">): readonly (Node | null)[] {
  const [x, y] = [inputOf(node.inputs, 0), inputOf(node.inputs, 1)]
  const byX = (): Node => {
    if (y.op === "fill") {
      if (y.args.value === 0) return g.zerosLike(b, x)
      const slope = y.args.value === 2 ? x : g.pow(b, x, y.args.value - 1)
      return g.mul(b, u, g.mul(b, slope, y.args.value))
    }
    const constant = g.eq(b, y, 0)
    return g.where(b, constant, 0, g.mul(b, u, g.mul(b, y, g.pow(b, x, g.where(b, constant, 1, g.sub(b, y, 1))))))
  }
  const byY = (): Node => {
    const positive = g.lt(b, 0, x)
    return g.where(b, positive, g.mul(b, u, g.mul(b, result, g.log(b, g.where(b, positive, x, 1)))), 0)
  }
  return [wanted(0) ? byX() : null, wanted(1) ? byY() : null]
}

/** The one that is chosen gets everything; the first on ties. */
function choice(b: Builder, first: Node, u: Node): readonly Node[] {
  return [g.where(b, first, u, 0), g.where(b, first, 0, u)]
}

/** Spreads u [.., ceil((stop - start) / step), ..] over [.., n, ..] with zeros between and around. */
function slice({ b, node, u }: GradientCall<"slice">): readonly Node[] {
  const { start, step } = node.args
  const x = inputOf(node.inputs, 0)
  let spread = u
  step.forEach((width, axis) => {
    if (width > 1) spread = spreadAxis(b, spread, axis, width, (x.shape[axis] ?? 1) - (start[axis] ?? 0))
  })
  return [g.pad(b, spread, start, x.shape.map((n, i) => n - (start[i] ?? 0) - (spread.shape[i] ?? 1)))]
}

/** [a, b, c] -> [a, 0, b, 0, c, 0] for width 2, cut at `limit`. */
function spreadAxis(b: Builder, x: Node, axis: number, width: number, limit: number): Node {
  const m = x.shape[axis] ?? 1
  const column = g.expandDims(b, x, axis + 1)
  const padded = g.pad(b, column, column.shape.map(() => 0), column.shape.map((_, i) => (i === axis + 1 ? width - 1 : 0)))
  const joined = g.reshape(b, padded, x.shape.map((n, i) => (i === axis ? m * width : n)))
  return m * width > limit ? g.sliceAxis(b, joined, axis, 0, limit) : joined
}

function concat({ b, node, u, wanted }: GradientCall<"concat">): readonly (Node | null)[] {
  let start = 0
  return node.inputs.map((x, i) => {
    const stop = start + (x.shape[node.args.axis] ?? 1)
    const part = wanted(i) ? g.sliceAxis(b, u, node.args.axis, start, stop) : null
    start = stop
    return part
  })
}

/** Elements that are equal to the maximum share its gradient evenly. */
function maxOf({ b, node, y, u }: GradientCall<"max_of">): readonly Node[] {
  const x = inputOf(node.inputs, 0)
  const chosen = g.cast(b, g.eq(b, x, y), "f32")
  return [g.mul(b, chosen, g.div(b, u, g.sum(b, chosen, node.args.axes, true)))]
}

function broadcastAxes(from: Shape, to: Shape): readonly number[] {
  return from.map((_, i) => i).filter((i) => from[i] !== to[i])
}

function attend({ b, node, u, wanted }: GradientCall<"attend">): readonly (Node | null)[] {
  const { bias } = attendInputs(node.args)
  const by = (wrt: 0 | 1 | 2 | 3) => b.make("attend_grad", { ...node.args, wrt }, [...node.inputs, u])
  return node.inputs.map((_, i) => {
    if (!wanted(i)) return null
    return i === 0 || i === 1 || i === 2 ? by(i) : i === bias ? by(3) : null
  })
}

export const gradientRules: { readonly [O in Op]: GradientRule<O> } = {
  input: "none", fill: "none", literal: "none", iota: "none", random: "none",
  neg: unary((b, u) => g.neg(b, u)),
  abs: unary((b, u, x) => g.mul(b, u, g.sign(b, x))),
  sign: "none",
  exp: unary((b, u, _, y) => g.mul(b, u, y)),
  log: unary((b, u, x) => g.div(b, u, x)),
  sqrt: unary((b, u, _, y) => g.div(b, g.mul(b, u, 0.5), y)),
  rsqrt: unary((b, u, _, y) => g.mul(b, g.mul(b, u, -0.5), g.mul(b, y, g.mul(b, y, y)))),
  sin: unary((b, u, x) => g.mul(b, u, g.cos(b, x))),
  cos: unary((b, u, x) => g.neg(b, g.mul(b, u, g.sin(b, x)))),
  tanh: unary((b, u, _, y) => g.mul(b, u, g.sub(b, 1, g.mul(b, y, y)))),
  erf: unary((b, u, x) => g.mul(b, u, g.mul(b, g.exp(b, g.neg(b, g.mul(b, x, x))), 2 / Math.sqrt(Math.PI)))),
  sigmoid: unary((b, u, _, y) => g.mul(b, u, g.mul(b, y, g.sub(b, 1, y)))),
  floor: "none", round: "none", not: "none",
  cast: ({ node, u }) => [node.dtype === "f32" && inputOf(node.inputs, 0).dtype === "f32" ? u : null],
  // Straight through (Bengio et al. 2013): the rounding counts as the identity.
  narrow: ({ u }) => [u],
  stop_gradient: "none",
  add: ({ u }) => [u, u],
  sub: ({ b, u, wanted }) => [u, wanted(1) ? g.neg(b, u) : null],
  mul: ({ b, node, u, wanted }) => [wanted(0) ? g.mul(b, u, inputOf(node.inputs, 1)) : null, wanted(1) ? g.mul(b, u, inputOf(node.inputs, 0)) : null],
  div: ({ b, node, y, u, wanted }) => {
    const byX = g.div(b, u, inputOf(node.inputs, 1))
    return [byX, wanted(1) ? g.neg(b, g.mul(b, byX, y)) : null]
  },
  pow,
  max: ({ b, node, u }) => choice(b, g.le(b, inputOf(node.inputs, 1), inputOf(node.inputs, 0)), u),
  min: ({ b, node, u }) => choice(b, g.le(b, inputOf(node.inputs, 0), inputOf(node.inputs, 1)), u),
  mod: ({ b, node, u, wanted }) => {
    const whole = g.floor(b, g.div(b, inputOf(node.inputs, 0), inputOf(node.inputs, 1)))
    return [u, wanted(1) ? g.neg(b, g.mul(b, u, whole)) : null]
  },
  lt: "none", le: "none", eq: "none", and: "none", or: "none",
  select: ({ b, node, u }) => [null, ...choice(b, inputOf(node.inputs, 0), u)],
  reshape: ({ b, node, u }) => [g.reshape(b, u, inputOf(node.inputs, 0).shape)],
  permute: ({ b, node, u }) => [g.permute(b, u, inverse(node.args.axes))],
  broadcast: ({ b, node, u }) => [g.sum(b, u, broadcastAxes(inputOf(node.inputs, 0).shape, node.shape), true)],
  slice,
  pad: ({ b, node, u }) => [g.slice(b, u, node.args.low, node.shape.map((n, i) => n - (node.args.high[i] ?? 0)))],
  concat,
  reverse: ({ b, node, u }) => [b.make("reverse", node.args, [u])],
  window: ({ b, node, u }) => {
    const { axis, stride, dilation } = node.args
    return [b.make("unwindow", { axis, stride, dilation, length: inputOf(node.inputs, 0).shape[axis] ?? 1 }, [u])]
  },
  unwindow: ({ b, node, u }) => {
    const { axis, stride, dilation } = node.args
    return [b.make("window", { axis, stride, dilation, size: inputOf(node.inputs, 0).shape[axis + 1] ?? 1 }, [u])]
  },
  sum: ({ b, node, u }) => [g.broadcastTo(b, u, inputOf(node.inputs, 0).shape)],
  max_of: maxOf,
  argmax: "none",
  cumsum: ({ b, node, u }) => [g.cumsum(b, u, node.args.axis, !node.args.reverse)],
  dot,
  gather: ({ b, node, u }) => {
    const [table, ids] = [inputOf(node.inputs, 0), inputOf(node.inputs, 1)]
    return [b.make("scatter_add", { rows: table.shape[0] ?? 1 }, [ids, u]), null]
  },
  scatter_add: ({ b, node, u }) => [null, g.gather(b, u, inputOf(node.inputs, 0))],
  take: ({ b, node, u }) => [b.make("put_add", { n: inputOf(node.inputs, 0).shape.at(-1) ?? 1 }, [inputOf(node.inputs, 1), u]), null],
  put_add: ({ b, node, u }) => [null, b.make("take", {}, [u, inputOf(node.inputs, 0)])],
  top_k: "none",
  scan: "loop",
  softmax: unary((b, u, _, y) => g.mul(b, y, g.sub(b, u, g.sum(b, g.mul(b, u, y), [-1], true)))),
  log_softmax: unary((b, u, _, y) => g.sub(b, u, g.mul(b, g.exp(b, y), g.sum(b, u, [-1], true)))),
  cross_entropy: ({ b, node, u }) => [b.make("cross_entropy_grad", {}, [...node.inputs, u]), null],
  cross_entropy_grad: "decompose",
  rms_norm: ({ b, node, u, wanted }) =>
    ([0, 1] as const).map((wrt) => (wanted(wrt) ? b.make("rms_norm_grad", { eps: node.args.eps, wrt }, [...node.inputs, u]) : null)),
  rms_norm_grad: "decompose",
  layer_norm: ({ b, node, u, wanted }) => {
    const inputs = [inputOf(node.inputs, 0), inputOf(node.inputs, 1), u]
    return ([0, 1, 2] as const).map((wrt) => (wanted(wrt) ? b.make("layer_norm_grad", { eps: node.args.eps, wrt }, inputs) : null))
  },
  layer_norm_grad: "decompose",
  put: "decompose",
  rope: ({ b, node, u }) => [b.make("rope", { ...node.args, inverse: !node.args.inverse }, [u, inputOf(node.inputs, 1)]), null],
  attend,
  attend_grad: "decompose",
}
