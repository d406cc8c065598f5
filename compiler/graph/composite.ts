/** What each composite op means in primitive ops. Stable for large values: exponents never exceed zero. */
import { expOf, logOf } from "./arithmetic.ts"
import { attendGradient, attention, stableSoftmax } from "./composite-attend.ts"
import type { Builder } from "./builder.ts"
import type { Args, Node, NodeOf, Op, Program, Shape } from "./node.ts"
import { size } from "./node.ts"
import * as g from "./ops.ts"
import { image, rewriteInto, rewriteProgram } from "./rewrite.ts"
import { copy } from "./walk.ts"
import { createBuilder } from "./builder.ts"

export type Composite =
  | "softmax" | "log_softmax" | "cross_entropy" | "cross_entropy_grad" | "rms_norm" | "rms_norm_grad"
  | "layer_norm" | "layer_norm_grad" | "rope" | "put" | "attend" | "attend_grad"
export type Primitive = Exclude<Op, Composite>

export type Decomposition<O extends Composite> = (b: Builder, args: Args[O], inputs: readonly Node[]) => Node

/** Input number `i`; the shape rules have checked that it is there. */
export function inputOf(inputs: readonly Node[], i: number): Node {
  const node = inputs[i]
  if (node === undefined) throw new Error(`graph: input ${i} is missing`)
  return node
}

function logSoftmax(b: Builder, x: Node): Node {
  const shifted = g.sub(b, x, g.stopGradient(b, g.maxOf(b, x, [-1], true)))
  return g.sub(b, shifted, g.log(b, g.sum(b, g.exp(b, shifted), [-1], true)))
}

/** A label below 0 selects nothing, and neither does one past the vocabulary. */
function crossEntropy(b: Builder, logits: Node, labels: Node): Node {
  const chosen = b.make("take", {}, [logSoftmax(b, logits), g.expandDims(b, labels, 1)])
  return g.neg(b, g.squeeze(b, chosen, [1]))
}

function crossEntropyGrad(b: Builder, logits: Node, labels: Node, upstream: Node): Node {
  const v = logits.shape[1] ?? 1
  const counted = g.and(b, g.le(b, 0, labels), g.lt(b, labels, v))
  const scale = g.where(b, counted, upstream, 0)
  return g.mul(b, g.sub(b, stableSoftmax(b, logits), g.oneHot(b, labels, v)), g.expandDims(b, scale, 1))
}

/** Sums over all axes but the last. */
function toLast(b: Builder, x: Node): Node {
  return g.sum(b, x, x.shape.slice(0, -1).map((_, i) => i))
}

function inverseRms(b: Builder, x: Node, eps: number): Node {
  return g.rsqrt(b, g.add(b, g.mean(b, g.square(b, x), [-1], true), eps))
}

function rmsNormGrad(b: Builder, args: Args["rms_norm_grad"], x: Node, scale: Node, upstream: Node): Node {
  const r = inverseRms(b, x, args.eps)
  const unit = g.mul(b, x, r)
  if (args.wrt === 1) return toLast(b, g.mul(b, upstream, unit))
  const u = g.mul(b, upstream, scale)
  return g.mul(b, g.sub(b, u, g.mul(b, unit, g.mean(b, g.mul(b, u, unit), [-1], true))), r)
}

function standardised(b: Builder, x: Node, eps: number): { readonly unit: Node; readonly r: Node } {
  const centred = g.sub(b, x, g.mean(b, x, [-1], true))
  const r = inverseRms(b, centred, eps)
  return { unit: g.mul(b, centred, r), r }
}

function layerNormGrad(b: Builder, args: Args["layer_norm_grad"], x: Node, scale: Node, upstream: Node): Node {
  if (args.wrt === 2) return toLast(b, upstream)
  const { unit, r } = standardised(b, x, args.eps)
  if (args.wrt === 1) return toLast(b, g.mul(b, upstream, unit))
  const u = g.mul(b, upstream, scale)
  const centred = g.sub(b, u, g.mean(b, u, [-1], true))
  return g.mul(b, g.sub(b, centred, g.mul(b, unit, g.mean(b, g.mul(b, u, unit), [-1], true))), r)
}

/** base^(-2i/d) for i = 0 … d/2-1, the angles per position of `rope`, in arithmetic that is equal on every platform. */
export function ropeFrequencies(d: number, base: number): readonly number[] {
  return Array.from({ length: d / 2 }, (_, i) => expOf(((-2 * i) / d) * logOf(base)))
}

function rope(b: Builder, args: Args["rope"], x: Node, positions: Node): Node {
  const [n = 1, , t = 1, d = 1] = x.shape
  const frequencies = g.literal(b, ropeFrequencies(d, args.base), [1, 1, 1, d / 2])
  const angle = g.mul(b, g.reshape(b, g.cast(b, positions, "f32"), [n, 1, t, 1]), frequencies)
  const [cos, sin] = [g.cos(b, angle), args.inverse ? g.neg(b, g.sin(b, angle)) : g.sin(b, angle)]
  const [p, q] = [g.sliceAxis(b, x, 3, 0, d / 2), g.sliceAxis(b, x, 3, d / 2, d)]
  return g.concat(b, [g.sub(b, g.mul(b, p, cos), g.mul(b, q, sin)), g.add(b, g.mul(b, q, cos), g.mul(b, p, sin))], 3)
}

/** Each place of x looks up what stands there: itself or one of the fresh ones. */
function put(b: Builder, { axis }: Args["put"], x: Node, fresh: Node, offset: Node): Node {
  const rank = x.shape.length
  const [rows, places, n] = [x.shape[0] ?? 1, x.shape[axis] ?? 1, fresh.shape[axis] ?? 1]
  const along = (i: number): Shape => Array.from({ length: rank }, (_, j) => (j === i ? (x.shape[i] ?? 1) : 1))
  const distance = g.sub(b, g.iota(b, along(axis), axis), g.reshape(b, offset, along(0))) // [rows, .., places, ..]
  if (n === 1) return g.where(b, g.eq(b, distance, 0), fresh, x)
  const order = [0, axis, ...Array.from({ length: rank - 2 }, (_, i) => (i + 1 < axis ? i + 1 : i + 2))] // [rows, places, ..rest]
  const rest = order.slice(2).map((i) => x.shape[i] ?? 1)
  const table = g.reshape(b, g.permute(b, fresh, order), [rows * n, size(rest)])
  const flat = g.reshape(b, distance, [rows, places])
  const inside = g.and(b, g.le(b, 0, flat), g.lt(b, flat, n))
  const ids = g.where(b, inside, g.add(b, flat, g.mul(b, g.iota(b, [rows, places], 0), n)), -1)
  const found = g.reshape(b, g.gather(b, table, ids), [rows, places, ...rest])
  const back = order.map((_, i) => order.indexOf(i))
  return g.where(b, g.and(b, g.le(b, 0, distance), g.lt(b, distance, n)), g.permute(b, found, back), x)
}

export const decompositions: { readonly [O in Composite]: Decomposition<O> } = {
  softmax: (b, _, inputs) => stableSoftmax(b, inputOf(inputs, 0)),
  log_softmax: (b, _, inputs) => logSoftmax(b, inputOf(inputs, 0)),
  cross_entropy: (b, _, inputs) => crossEntropy(b, inputOf(inputs, 0), inputOf(inputs, 1)),
  cross_entropy_grad: (b, _, inputs) => crossEntropyGrad(b, inputOf(inputs, 0), inputOf(inputs, 1), inputOf(inputs, 2)),
  rms_norm: (b, args, inputs) => {
    const x = inputOf(inputs, 0)
    return g.mul(b, g.mul(b, x, inverseRms(b, x, args.eps)), inputOf(inputs, 1))
  },
  rms_norm_grad: (b, args, inputs) => rmsNormGrad(b, args, inputOf(inputs, 0), inputOf(inputs, 1), inputOf(inputs, 2)),
  layer_norm: (b, args, inputs) => {
    const { unit } = standardised(b, inputOf(inputs, 0), args.eps)
    return g.add(b, g.mul(b, unit, inputOf(inputs, 1)), inputOf(inputs, 2))
  },
  layer_norm_grad: (b, args, inputs) => layerNormGrad(b, args, inputOf(inputs, 0), inputOf(inputs, 1), inputOf(inputs, 2)),
  rope: (b, args, inputs) => rope(b, args, inputOf(inputs, 0), inputOf(inputs, 1)),
  put: (b, args, inputs) => {
    const fresh = inputOf(inputs, 1)
    return put(b, args, inputOf(inputs, 0), args.format === undefined ? fresh : g.kept(b, fresh, args.format), inputOf(inputs, 2))
  },
  attend: attention,
  attend_grad: attendGradient,
}

export function isComposite(op: Op): op is Composite {
  return Object.hasOwn(decompositions, op)
}

function decomposeWith<O extends Composite>(b: Builder, op: O, args: Args[O], inputs: readonly Node[]): Node {
  const decomposition: Decomposition<O> = decompositions[op]
  return decomposition(b, args, inputs)
}

/** The same value in primitive ops. */
export function decomposeNode(b: Builder, node: Node, inputs: readonly Node[]): Node {
  if (!isComposite(node.op)) return copy(b, node, inputs)
  const { op, args } = node as NodeOf<Composite>
  return decomposeWith(b, op, args, inputs)
}

/** The program without composite ops, bodies of loops included. */
export function decompose(program: Program): Program {
  return rewriteProgram(program, decomposeNode)
}

/** The nodes without composite ops, in a graph of their own. */
export function decomposeNodes(roots: readonly Node[]): readonly Node[] {
  const known = rewriteInto(createBuilder(), roots, decomposeNode)
  return roots.map((node) => image(known, node))
}
