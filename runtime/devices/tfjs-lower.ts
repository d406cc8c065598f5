/**
 * Makes a program ready for TensorFlow.js kernels: composite ops become primitive ones. Where the general decomposition
 * would need many slow kernels (comparisons, selections, exponentials), another one of equal meaning is chosen.
 * Equal nodes are shared by the builder, so what several composites compute in common is computed once.
 */
import type { Builder } from "../../compiler/graph/builder.ts"
import { createBuilder } from "../../compiler/graph/builder.ts"
import { allowedKeys, sizesOf } from "../../compiler/graph/composite-attend.ts"
import { decomposeNode, inputOf, ropeFrequencies } from "../../compiler/graph/composite.ts"
import type { Args, AttendArgs, Node, NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { attendInputs } from "../../compiler/graph/shapes.ts"
import { image, rewriteInto, rewriteProgram } from "../../compiler/graph/rewrite.ts"
import { copy } from "../../compiler/graph/walk.ts"

export interface LowerOptions {
  /** Whether matrix products are to be without transposed inputs: the fast kernel of the WebAssembly backend knows none. */
  readonly plainDots: boolean
}

export function lower(program: Program, options: LowerOptions): Program {
  const primitive = rewriteProgram(program, lowerNode)
  return options.plainDots ? rewriteProgram(primitive, plainDot) : primitive
}

function lowerNode(b: Builder, node: Node, inputs: readonly Node[]): Node {
  switch (node.op) {
    case "softmax": return g.softmax(b, inputOf(inputs, 0))
    case "cross_entropy_grad": return crossEntropyGrad(b, inputOf(inputs, 0), inputOf(inputs, 1), inputOf(inputs, 2))
    case "rope": return (node.shape[3] ?? 1) <= 64 ? rope(b, node.args, inputOf(inputs, 0), inputOf(inputs, 1)) : decomposeNode(b, node, inputs)
    case "attend": return node.args.factors === "f32" ? attention(b, node.args, inputs) : opened(b, node, inputs)
    case "attend_grad": return node.args.factors === "f32" ? attendGradient(b, node.args, inputs) : opened(b, node, inputs)
    case "dot": return rounded(b, node, inputs)
    default: return decomposeNode(b, node, inputs)
  }
}

/** A product whose factors are rounded first. */
function rounded(b: Builder, node: NodeOf<"dot">, inputs: readonly Node[]): Node {
  const { ta, tb, factors } = node.args
  const [x, y] = [inputOf(inputs, 0), inputOf(inputs, 1)]
  return factors === "f32" ? g.dot(b, x, y, ta, tb) : g.dot(b, b.make("narrow", { format: factors }, [x]) as Node, b.make("narrow", { format: factors }, [y]) as Node, ta, tb)
}

/** Attention as the reference has it, whose products round what they multiply. */
function opened(b: Builder, node: Node, inputs: readonly Node[]): Node {
  const known = new Map<Node, Node>()
  const inner = createBuilder()
  const given = inputs.map((x, i) => { const input = inner.input(`x${i}`, "batch", x.dtype, x.shape); known.set(input, x); return input })
  const whole = decomposeNode(inner, node, given)
  rewriteInto(b, [whole], (_, part, parts) => lowerNode(b, part, parts), known)
  return image(known, whole)
}

/** (softmax - one_hot) * upstream, with the one-hot part written at the labels instead of compared everywhere. */
function crossEntropyGrad(b: Builder, logits: Node, labels: Node, upstream: Node): Node {
  const v = logits.shape[1] ?? 1
  const counted = g.and(b, g.le(b, 0, labels), g.lt(b, labels, v))
  const scale = g.expandDims(b, g.where(b, counted, upstream, 0), 1)
  const chosen = b.make("put_add", { n: v }, [g.expandDims(b, labels, 1), scale])
  return g.sub(b, g.mul(b, g.softmax(b, logits), scale), chosen)
}

/**
 * x * cos + turn(x) * sin, where turn(x) = (-x2, x1) swaps the halves: a product with a matrix of 0, 1 and -1, which is
 * exact and, for small heads, faster than cutting rows into halves.
 */
function rope(b: Builder, args: Args["rope"], x: Node, positions: Node): Node {
  const [n = 1, , t = 1, d = 1] = x.shape
  const frequencies = g.literal(b, ropeFrequencies(d, args.base), [1, 1, 1, d / 2])
  const angle = g.mul(b, g.reshape(b, g.cast(b, positions, "f32"), [n, 1, t, 1]), frequencies)
  const [cos, sin] = [g.cos(b, angle), g.sin(b, angle)]
  const turned = g.reshape(b, g.dot(b, g.reshape(b, x, [size(x.shape) / d, d]), turn(b, d)), x.shape)
  const sines = g.concat(b, [sin, sin], 3)
  return g.add(b, g.mul(b, x, g.concat(b, [cos, cos], 3)), g.mul(b, turned, args.inverse ? g.neg(b, sines) : sines))
}

/** The matrix R with x R = (-x2, x1). */
function turn(b: Builder, d: number): Node {
  const values = Array<number>(d * d).fill(0)
  for (let i = 0; i < d / 2; i++) {
    values[(i + d / 2) * d + i] = -1
    values[i * d + i + d / 2] = 1
  }
  return g.literal(b, values, [d, d])
}

/** Added to the score of a key that is not allowed: small enough that its weight is 0. */
const never = -1e30

/** Query heads that share a key/value head lie side by side: [b, h, t, x] -> [b * g, h/g * t, x]. */
function flat(b: Builder, x: Node, heads: number): Node {
  const [n = 1] = x.shape
  const last = x.shape[3] ?? 1
  return g.reshape(b, x, [n * heads, size(x.shape) / (n * heads * last), last])
}

function scaledQueries(b: Builder, args: AttendArgs, inputs: readonly Node[]): Node {
  return flat(b, g.mul(b, inputOf(inputs, 0), args.scale), inputOf(inputs, 1).shape[1] ?? 1)
}

/** The weights of the keys, [b, h, t, s]: a softmax over scores with a large negative number where a key is not allowed. */
function weights(b: Builder, args: AttendArgs, inputs: readonly Node[]): Node {
  const n = sizesOf(inputOf(inputs, 0), inputOf(inputs, 1), inputOf(inputs, 2))
  const products = g.dot(b, scaledQueries(b, args, inputs), flat(b, inputOf(inputs, 1), n.g), false, true)
  let scores = g.reshape(b, products, [n.b, n.h, n.t, n.s])
  if (args.biased) scores = g.add(b, scores, inputOf(inputs, attendInputs(args).bias))
  const allowed = allowedKeys(b, args, inputs, n)
  if (allowed === null) return g.softmax(b, scores)
  const weights = g.softmax(b, g.add(b, scores, g.where(b, allowed, 0, never)))
  // With all keys there and no segments, every query sees at least the key at its own place.
  if (!args.segmented && !args.offset && n.s >= n.t) return weights
  return g.mul(b, weights, g.maxOf(b, g.cast(b, allowed, "f32"), [-1], true))
}

function attention(b: Builder, args: AttendArgs, inputs: readonly Node[]): Node {
  const [q, v] = [inputOf(inputs, 0), inputOf(inputs, 2)]
  const heads = v.shape[1] ?? 1
  return g.reshape(b, g.dot(b, flat(b, weights(b, args, inputs), heads), flat(b, v, heads)), [...q.shape.slice(0, 3), v.shape[3] ?? 1])
}

/** With p the weights and y the result: ds = p (dy v^T - sum(dy y)), where sum(dy y) equals sum(dp p) and is smaller. */
function attendGradient(b: Builder, args: Args["attend_grad"], inputs: readonly Node[]): Node {
  const given = inputs.slice(0, -1)
  const [q, k, v, dy] = [inputOf(inputs, 0), inputOf(inputs, 1), inputOf(inputs, 2), inputOf(inputs, inputs.length - 1)]
  const heads = k.shape[1] ?? 1
  const p = weights(b, args, given)
  const upstream = flat(b, dy, heads)
  if (args.wrt === 2) return g.reshape(b, g.dot(b, flat(b, p, heads), upstream, true, false), v.shape)
  const dp = g.reshape(b, g.dot(b, upstream, flat(b, v, heads), false, true), p.shape)
  const ds = g.mul(b, p, g.sub(b, dp, g.sum(b, g.mul(b, dy, attention(b, args, given)), [-1], true)))
  if (args.wrt === 3) return inputOf(inputs, attendInputs(args).bias).shape[0] === 1 ? g.sum(b, ds, [0], true) : ds
  if (args.wrt === 1) return g.reshape(b, g.dot(b, flat(b, ds, heads), scaledQueries(b, args, given), true, false), k.shape)
  return g.reshape(b, g.mul(b, g.dot(b, flat(b, ds, heads), flat(b, k, heads)), args.scale), q.shape)
}

/**
 * Transposed inputs are transposed for real, once for all products that use them. With one or two rows on the left
 * that would cost more than the slow kernel, unless the other input is a state that stays as it is.
 */
function plainDot(b: Builder, node: Node, inputs: readonly Node[]): Node {
  if (node.op !== "dot") return copy(b, node, inputs)
  const [x, y] = [inputOf(inputs, 0), inputOf(inputs, 1)]
  const few = (node.shape.at(-2) ?? 1) <= 2
  const { ta, tb } = (node as NodeOf<"dot">).args
  const keep = tb && few && y.op !== "input"
  return g.dot(b, ta ? g.transpose(b, x) : x, tb && !keep ? g.transpose(b, y) : y, false, keep)
}
