/**
 * Local rewriting of nodes into cheaper ones. Values stay equal to the bit except where a rule says otherwise (`rounding:`).
 * It also erases `stop_gradient`, so it runs when all gradients have been taken.
 */
import type { Builder } from "../graph/builder.ts"
import type { Node, NodeOf, Op, Program, Shape } from "../graph/node.ts"
import { rewriteProgram } from "../graph/rewrite.ts"
import { copy } from "../graph/walk.ts"
import { folded } from "./fold.ts"

/** A better node for this one, or null. The node and its inputs are in the builder. */
type Rule<O extends Op> = (b: Builder, node: NodeOf<O>) => Node | null

export function simplify(program: Program): Program {
  return rewriteProgram(program, (b, node, inputs) => simplifyNode(b, copy(b, node, inputs)))
}

/** Applies rules until none fits. Every rule makes the graph smaller or moves it towards a normal form, so this ends. */
export function simplifyNode(b: Builder, node: Node): Node {
  let current = node
  for (;;) {
    const better: Node | null = folded(b, current) ?? applyRule(b, current)
    if (better === null || better === current) return current
    current = better
  }
}

function applyRule<O extends Op>(b: Builder, node: NodeOf<O>): Node | null {
  const rule: Rule<O> | undefined = rules[node.op]
  return rule === undefined ? null : rule(b, node)
}

function at(node: { readonly inputs: readonly Node[]; readonly op: Op }, i: number): Node {
  const input = node.inputs[i]
  if (input === undefined) throw new Error(`simplify: ${node.op} has no input ${i}`)
  return input
}

function sameShape(x: Shape, y: Shape): boolean {
  return x.length === y.length && x.every((n, i) => n === y[i])
}

function isFill(node: Node, value: number): boolean {
  return node.op === "fill" && Object.is(node.args.value, value)
}

/** A fill of 0 or -0. */
function isZero(node: Node): boolean {
  return node.op === "fill" && node.args.value === 0
}

/** Commuting operands in order of id, so that x + y and y + x are one node. */
function ordered(b: Builder, node: NodeOf<"add" | "mul" | "and" | "or" | "eq">): Node | null {
  const [x, y] = [at(node, 0), at(node, 1)]
  return x.id <= y.id ? null : (b.make<typeof node.op>(node.op, {}, [y, x], node.note) as Node)
}

function add(b: Builder, node: NodeOf<"add">): Node | null {
  const [x, y] = [at(node, 0), at(node, 1)]
  // -0 + 0 is 0: the sign of a zero may change.
  if (isZero(x)) return y
  if (isZero(y)) return x
  if (y.op === "neg") return b.make("sub", {}, [x, at(y, 0)])
  if (x.op === "neg") return b.make("sub", {}, [y, at(x, 0)])
  return ordered(b, node)
}

function sub(b: Builder, node: NodeOf<"sub">): Node | null {
  const [x, y] = [at(node, 0), at(node, 1)]
  if (isZero(y)) return x
  if (isZero(x)) return b.make("neg", {}, [y])
  return y.op === "neg" ? b.make("add", {}, [x, at(y, 0)]) : null
}

function mul(b: Builder, node: NodeOf<"mul">): Node | null {
  const [x, y] = [at(node, 0), at(node, 1)]
  if (isFill(x, 1)) return y
  if (isFill(y, 1)) return x
  if (isFill(x, -1)) return b.make("neg", {}, [y])
  if (isFill(y, -1)) return b.make("neg", {}, [x])
  return ordered(b, node)
}

/** A power of two whose inverse is normal in f32, too. */
function isPowerOfTwo(x: number): boolean {
  const exponent = Math.log2(Math.abs(x))
  return Number.isInteger(exponent) && Math.abs(exponent) < 100 && 2 ** exponent === Math.abs(x)
}

function div(b: Builder, node: NodeOf<"div">): Node | null {
  const [x, y] = [at(node, 0), at(node, 1)]
  if (isFill(y, 1)) return x
  if (y.op === "fill" && y.dtype === "f32" && isPowerOfTwo(y.args.value)) {
    return b.make("mul", {}, [x, b.make("fill", { ...y.args, value: 1 / y.args.value }, [])])
  }
  return null
}

/** rounding: devices compute pow less exactly than the product or the root that replaces it. */
function pow(b: Builder, node: NodeOf<"pow">): Node | null {
  const [x, y] = [at(node, 0), at(node, 1)]
  if (isFill(y, 1)) return x
  if (isFill(y, 2)) return b.make("mul", {}, [x, x])
  return isFill(y, 0.5) ? b.make("sqrt", {}, [x]) : null
}

/** x ? a : b where x is known or it makes no difference. */
function select(_: Builder, node: NodeOf<"select">): Node | null {
  const [condition, yes, no] = [at(node, 0), at(node, 1), at(node, 2)]
  if (yes === no) return yes
  return condition.op === "fill" ? (condition.args.value !== 0 ? yes : no) : null
}

function twice(op: "neg" | "not"): (b: Builder, node: NodeOf<typeof op>) => Node | null {
  return (_, node) => {
    const x = at(node, 0)
    return x.op === op ? at(x, 0) : null
  }
}

function logic(neutral: 0 | 1): (b: Builder, node: NodeOf<"and" | "or">) => Node | null {
  return (b, node) => {
    const [x, y] = [at(node, 0), at(node, 1)]
    if (x === y || isFill(y, neutral)) return x
    if (isFill(x, neutral)) return y
    if (isFill(x, 1 - neutral)) return x
    return isFill(y, 1 - neutral) ? y : ordered(b, node)
  }
}

function idempotent(_: Builder, node: NodeOf<"max" | "min">): Node | null {
  return at(node, 0) === at(node, 1) ? at(node, 0) : null
}

/** Of bool and i32 a chain of casts keeps the value as long as no step is narrower than its source. */
function cast(b: Builder, node: NodeOf<"cast">): Node | null {
  const x = at(node, 0)
  if (x.dtype === node.dtype) return x
  if (x.op !== "cast") return null
  const origin = at(x, 0)
  return origin.dtype === "bool" ? (node.dtype === "bool" ? origin : b.make("cast", node.args, [origin])) : null
}

function narrow(_: Builder, node: NodeOf<"narrow">): Node | null {
  const x = at(node, 0)
  return x.op === "narrow" && x.args.format === node.args.format ? x : null
}

function reshape(b: Builder, node: NodeOf<"reshape">): Node | null {
  const x = at(node, 0)
  if (sameShape(x.shape, node.shape)) return x
  return x.op === "reshape" ? b.make("reshape", node.args, [at(x, 0)]) : null
}

function permute(b: Builder, node: NodeOf<"permute">): Node | null {
  const x = at(node, 0)
  const { axes } = node.args
  const long = axes.filter((axis) => x.shape[axis] !== 1)
  // Only axes of size 1 move: the elements stay where they are.
  if (long.every((axis, i) => i === 0 || (long[i - 1] ?? 0) < axis)) return axes.every((axis, i) => axis === i) ? x : b.make("reshape", { shape: node.shape }, [x])
  return x.op === "permute" ? b.make("permute", { axes: axes.map((axis) => x.args.axes[axis] ?? axis) }, [at(x, 0)]) : null
}

function broadcast(b: Builder, node: NodeOf<"broadcast">): Node | null {
  const x = at(node, 0)
  if (sameShape(x.shape, node.shape)) return x
  return x.op === "broadcast" ? b.make("broadcast", node.args, [at(x, 0)]) : null
}

function slice(b: Builder, node: NodeOf<"slice">): Node | null {
  const x = at(node, 0)
  if (sameShape(x.shape, node.shape)) return x
  if (x.op !== "slice") return null
  const { start, step } = node.args
  const inner = x.args
  const first = start.map((n, i) => (inner.start[i] ?? 0) + n * (inner.step[i] ?? 1))
  const width = step.map((n, i) => n * (inner.step[i] ?? 1))
  const stop = first.map((n, i) => n + ((node.shape[i] ?? 1) - 1) * (width[i] ?? 1) + 1)
  return b.make("slice", { start: first, stop, step: width }, [at(x, 0)])
}

function reverse(_: Builder, node: NodeOf<"reverse">): Node | null {
  const x = at(node, 0)
  if (node.args.axes.every((axis) => x.shape[axis] === 1)) return x
  return x.op === "reverse" && x.args.axes.join() === node.args.axes.join() ? at(x, 0) : null
}

function reduction(_: Builder, node: NodeOf<"sum" | "max_of">): Node | null {
  const x = at(node, 0)
  return node.args.axes.every((axis) => x.shape[axis] === 1) ? x : null
}

/** The same matrix stored the other way round, if a permute says so. */
function stored(x: Node): Node | null {
  if (x.op !== "permute") return null
  const rank = x.shape.length
  const swaps = x.args.axes.every((axis, i) => axis === (i === rank - 1 ? rank - 2 : i === rank - 2 ? rank - 1 : i))
  return swaps ? at(x, 0) : null
}

/** A transpose of an operand becomes a flag, so that no copy is made. */
function dot(b: Builder, node: NodeOf<"dot">): Node | null {
  const [x, y] = [at(node, 0), at(node, 1)]
  const [xt, yt] = [stored(x), stored(y)]
  if (xt === null && yt === null) return null
  return b.make("dot", { ...node.args, ta: node.args.ta !== (xt !== null), tb: node.args.tb !== (yt !== null) }, [xt ?? x, yt ?? y])
}

const rules: { readonly [O in Op]?: Rule<O> } = {
  neg: twice("neg"), not: twice("not"), add, sub, mul, div, pow, select,
  and: logic(1), or: logic(0), eq: ordered, max: idempotent, min: idempotent,
  cast, narrow, reshape, permute, broadcast, slice, reverse, dot,
  stop_gradient: (_, node) => at(node, 0),
  pad: (_, node) => (sameShape(at(node, 0).shape, node.shape) ? at(node, 0) : null),
  concat: (_, node) => (node.inputs.length === 1 ? at(node, 0) : null),
  sum: reduction, max_of: reduction,
  cumsum: (_, node) => (node.shape[node.args.axis] === 1 ? at(node, 0) : null),
  gather: (b, node) => (at(node, 0).op === "fill" && isZero(at(node, 0)) ? b.make("fill", { value: 0, shape: node.shape, dtype: node.dtype }, []) : null),
}

