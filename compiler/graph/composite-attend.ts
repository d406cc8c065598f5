import type { Builder } from "./builder.ts"
import type { Args, AttendArgs, Node } from "./node.ts"
import * as g from "./ops.ts"
import { attendInputs } from "./shapes.ts"

export interface Sizes {
  readonly b: number; readonly h: number; readonly t: number; readonly d: number
  readonly g: number; readonly s: number; readonly e: number
}

export function sizesOf(q: Node, k: Node, v: Node): Sizes {
  const [b = 1, h = 1, t = 1, d = 1] = q.shape
  return { b, h, t, d, g: k.shape[1] ?? 1, s: k.shape[2] ?? 1, e: v.shape[3] ?? 1 }
}

function inputAt(inputs: readonly Node[], i: number): Node {
  const node = inputs[i]
  if (node === undefined) throw new Error(`graph: attend has no input ${i}`)
  return node
}

/** Which keys each query may see: bool [1 or b, 1, t, s], or null where it is all of them. */
export function allowedKeys(b: Builder, args: AttendArgs, inputs: readonly Node[], n: Sizes): Node | null {
  const places = attendInputs(args)
  const rules: Node[] = []
  if (args.causal || args.window !== null) {
    const ahead = args.offset ? g.reshape(b, inputAt(inputs, places.offset), [n.b, 1, 1, 1]) : args.causal ? n.s - n.t : 0
    const place = g.add(b, g.iota(b, [1, 1, n.t, 1], 2), ahead)
    const distance = g.sub(b, place, g.iota(b, [1, 1, 1, n.s], 3))
    if (args.causal) rules.push(g.le(b, 0, distance))
    if (args.window !== null) rules.push(g.lt(b, distance, args.window))
    if (args.window !== null && !args.causal) rules.push(g.lt(b, g.neg(b, distance), args.window))
  }
  if (args.segmented) {
    const query = g.reshape(b, inputAt(inputs, places.queryIds), [n.b, 1, n.t, 1])
    const key = g.reshape(b, inputAt(inputs, places.keyIds), [n.b, 1, 1, n.s])
    rules.push(g.eq(b, query, key), g.le(b, 0, key))
  }
  const [first, ...rest] = rules
  return first === undefined ? null : rest.reduce((all, rule) => g.and(b, all, rule), first)
}

/** Softmax over the last axis in primitive ops; the maximum cancels out, so it needs no gradient. */
export function stableSoftmax(b: Builder, x: Node): Node {
  const e = g.exp(b, g.sub(b, x, g.stopGradient(b, g.maxOf(b, x, [-1], true))))
  return g.div(b, e, g.sum(b, e, [-1], true))
}

/** Softmax over the allowed keys; zeros where none is allowed. */
function maskedSoftmax(b: Builder, scores: Node, allowed: Node | null): Node {
  if (allowed === null) return stableSoftmax(b, scores)
  const lowest = g.where(b, allowed, scores, -3e38)
  const shifted = g.sub(b, scores, g.stopGradient(b, g.maxOf(b, lowest, [-1], true)))
  // Both selections matter: the inner one keeps exp finite, so that no gradient becomes 0 * infinity.
  const e = g.where(b, allowed, g.exp(b, g.where(b, allowed, shifted, 0)), 0)
  const total = g.sum(b, e, [-1], true)
  return g.div(b, e, g.where(b, g.lt(b, 0, total), total, 1))
}

/** Query heads that share a key/value head lie side by side: [b, h, t, x] -> [b, g, h/g * t, x]. */
function grouped(b: Builder, x: Node, n: Sizes): Node {
  return g.reshape(b, x, [n.b, n.g, (n.h / n.g) * n.t, x.shape[3] ?? 1])
}

/** The weights of the keys, [b, h, t, s]. */
function weights(b: Builder, args: AttendArgs, inputs: readonly Node[], n: Sizes): Node {
  const products = g.dot(b, grouped(b, inputAt(inputs, 0), n), inputAt(inputs, 1), false, true, args.factors)
  const scaled = g.mul(b, g.reshape(b, products, [n.b, n.h, n.t, n.s]), args.scale)
  const scores = args.biased ? g.add(b, scaled, inputAt(inputs, attendInputs(args).bias)) : scaled
  return maskedSoftmax(b, scores, allowedKeys(b, args, inputs, n))
}

/** Decomposition of `attend`. */
export function attention(b: Builder, args: AttendArgs, inputs: readonly Node[]): Node {
  const v = inputAt(inputs, 2)
  const n = sizesOf(inputAt(inputs, 0), inputAt(inputs, 1), v)
  const p = grouped(b, weights(b, args, inputs, n), n)
  return g.reshape(b, g.dot(b, p, v, false, false, args.factors), [n.b, n.h, n.t, n.e])
}

/** Decomposition of `attend_grad`: with p the weights, dp = dy v^T and ds = p (dp - sum(dp p)). */
export function attendGradient(b: Builder, args: Args["attend_grad"], inputs: readonly Node[]): Node {
  const [q, k, v] = [inputAt(inputs, 0), inputAt(inputs, 1), inputAt(inputs, 2)]
  const n = sizesOf(q, k, v)
  const p = weights(b, args, inputs.slice(0, -1), n)
  const dy = grouped(b, inputAt(inputs, inputs.length - 1), n)
  if (args.wrt === 2) return g.dot(b, grouped(b, p, n), dy, true, false, args.factors)
  const dp = g.reshape(b, g.dot(b, dy, v, false, true, args.factors), p.shape)
  const ds = g.mul(b, p, g.sub(b, dp, g.sum(b, g.mul(b, dp, p), [-1], true)))
  if (args.wrt === 3) return inputAt(inputs, attendInputs(args).bias).shape[0] === 1 ? g.sum(b, ds, [0], true) : ds
  const scaled = grouped(b, g.mul(b, ds, args.scale), n)
  if (args.wrt === 1) return g.dot(b, scaled, grouped(b, q, n), true, false, args.factors)
  return g.reshape(b, g.dot(b, scaled, k, false, false, args.factors), q.shape)
}
