/**
 * A number for each pair of positions (T5's bias), made of nothing but their places: the graph of `[1, h, t, t]` for a forward pass of `t`
 * positions becomes that of `[1, h, n, n]`.
 */
import type { Builder } from "./builder.ts"
import type { Node, Op, Shape } from "./node.ts"
import { relocated } from "./sequence-rules.ts"
import { copy } from "./walk.ts"

/** Ops of which an independent result is repeated along an axis exactly where its inputs are. */
export const elementwise: ReadonlySet<Op> = new Set<Op>([
  "neg", "abs", "sign", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "erf", "sigmoid", "floor", "round", "not", "cast", "narrow",
  "stop_gradient", "add", "sub", "mul", "div", "pow", "max", "min", "mod", "lt", "le", "eq", "and", "or", "select",
])

interface Stretch {
  readonly b: Builder
  /** Positions of the pass as it is given, and those that are wanted. */
  readonly from: number
  readonly to: number
  /** What does not depend on places, rebuilt. */
  readonly kept: (node: Node) => Node
}

/** The node with `axes` (each of `from` places) of `to` places; null where that does not follow from its graph. */
export function stretched(node: Node, axes: readonly number[], how: Stretch): Node | null {
  const { b, from, to } = how
  if (axes.length === 0) return how.kept(node)
  if (axes.some((axis) => node.shape[axis] !== from)) return null
  const shape: Shape = node.shape.map((n, i) => (axes.includes(i) ? to : n))
  const [input, second] = node.inputs
  if (node.op === "fill") return b.make("fill", { ...node.args, shape }, [], node.note)
  if (node.op === "iota") return b.make("iota", { ...node.args, shape }, [], node.note)
  if (node.op === "gather" && input !== undefined && second !== undefined) {
    const ids = axes.every((axis) => axis < second.shape.length) ? stretched(second, axes, how) : null
    return ids === null ? null : copy(b, node, [how.kept(input), ids])
  }
  if (node.op === "permute" && input !== undefined) {
    const inner = stretched(input, axes.map((axis) => node.args.axes[axis] ?? 0), how)
    return inner === null ? null : copy(b, node, [inner])
  }
  if (node.op === "broadcast" && input !== undefined) {
    const inner = stretched(input, axes.filter((axis) => input.shape[axis] !== 1), how)
    return inner === null ? null : b.make("broadcast", { shape }, [inner], node.note)
  }
  if (node.op === "reshape" && input !== undefined) {
    const places = axes.map((axis) => relocated(node.shape, { axis, inner: 1 }, input.shape, from))
    const before = places.flatMap((place) => (place !== null && place.inner === 1 ? [place.axis] : []))
    const inner = before.length === axes.length ? stretched(input, before, how) : null
    return inner === null ? null : b.make("reshape", { shape }, [inner], node.note)
  }
  if (!elementwise.has(node.op)) return null
  const inputs = node.inputs.map((x) => stretched(x, axes, how))
  return inputs.some((x) => x === null) ? null : copy(b, node, inputs.filter((x) => x !== null))
}
