/**
 * What every op does along the sequence axis of a forward pass. A tensor that no input of the sequence reaches is
 * independent of it; for the others a rule says where the axis goes, or that the op mixes positions.
 */
import type { Node, NodeOf, Op, Shape } from "./node.ts"
import { size } from "./node.ts"
import { attendInputs } from "./shapes.ts"

/**
 * Where the sequence lies: on one axis, whose elements are ordered (outer, position, inner); `outer` follows from the size.
 * So `[B * T, d]` has it on axis 0 with inner 1.
 */
export interface Place { readonly axis: number; readonly inner: number }

export type Verdict =
  /** Each position of the result needs that position of the inputs alone. `wants`: where each input must have the axis, null for nowhere. */
  | { readonly is: "along"; readonly place: Place; readonly wants: readonly (Place | null)[] }
  /** A position of the result needs the keys and values of earlier ones: state. */
  | { readonly is: "attending"; readonly place: Place; readonly wants: readonly (Place | null)[] }
  | { readonly is: "mixing"; readonly reason: string }

/** Asked only where at least one input carries the sequence. `length`: its number of positions, at least 2. */
export type SequenceRule<O extends Op> = (node: NodeOf<O>, places: readonly (Place | null)[], length: number) => Verdict
export type SequenceRules = { readonly [O in Op]: SequenceRule<O> }

export function samePlace(a: Place | null, b: Place | null): boolean {
  return a === b || (a !== null && b !== null && a.axis === b.axis && a.inner === b.inner)
}

/**
 * Where the sequence is after a reshape: the axis whose elements span exactly whole runs of it, or null where it would be
 * cut or spread over several axes. Row-major order stays, so the step between positions stays.
 */
export function relocated(from: Shape, place: Place, to: Shape, length: number): Place | null {
  const step = size(from.slice(place.axis + 1)) * place.inner
  for (let axis = 0; axis < to.length; axis++) {
    const below = size(to.slice(axis + 1))
    const whole = below * (to[axis] ?? 1)
    if (step % below === 0 && whole % (step * length) === 0) return { axis, inner: step / below }
  }
  return null
}

const mixing = (reason: string): Verdict => ({ is: "mixing", reason })

/** The one place that all carrying inputs agree on. */
function common(places: readonly (Place | null)[]): Place | null {
  const [first, ...rest] = places.filter((place) => place !== null)
  return first !== undefined && rest.every((place) => samePlace(first, place)) ? first : null
}

/** The sequence stays on its axis, in every input. */
function pointwise(node: Node, places: readonly (Place | null)[]): Verdict {
  const place = common(places)
  if (place === null) return mixing("combines tensors that carry the sequence on different axes")
  return { is: "along", place, wants: node.inputs.map(() => place) }
}

/** Pointwise unless the sequence lies on one of `axes`. */
function apartFrom(axes: readonly number[], reason: string): (node: Node, places: readonly (Place | null)[]) => Verdict {
  return (node, places) => {
    const place = common(places)
    return place !== null && axes.includes(place.axis) ? mixing(reason) : pointwise(node, places)
  }
}

/** The first input carries the sequence, not on its last axis; parameters do not. */
function lastAxis(reason: string): (node: Node, places: readonly (Place | null)[]) => Verdict {
  return (node, places) => {
    const place = places[0] ?? null
    if (place === null || places.slice(1).some((other) => other !== null)) return mixing("takes its parameters from the sequence")
    if (place.axis === node.shape.length - 1) return mixing(reason)
    return { is: "along", place, wants: node.inputs.map((_, i) => (i === 0 ? place : null)) }
  }
}

/** One input, whose axis `axis` becomes `to(axis)`. */
function moved(places: readonly (Place | null)[], to: (axis: number) => number): Verdict {
  const place = common(places)
  if (place === null) return mixing("needs an input that carries the sequence")
  return { is: "along", place: { axis: to(place.axis), inner: place.inner }, wants: [place] }
}

const leaf = (): Verdict => mixing("has no inputs")

function reshape(node: NodeOf<"reshape">, places: readonly (Place | null)[], length: number): Verdict {
  const [x] = node.inputs
  const from = places[0] ?? null
  const place = x === undefined || from === null ? null : relocated(x.shape, from, node.shape, length)
  return place === null ? mixing("spreads the positions over several axes") : { is: "along", place, wants: [from] }
}

function slice(node: NodeOf<"slice">, places: readonly (Place | null)[]): Verdict {
  const axis = places[0]?.axis ?? 0
  const whole = node.args.start[axis] === 0 && node.args.step[axis] === 1 && node.shape[axis] === node.inputs[0]?.shape[axis]
  return whole ? pointwise(node, places) : mixing("takes some of the positions")
}

function pad(node: NodeOf<"pad">, places: readonly (Place | null)[]): Verdict {
  const axis = places[0]?.axis ?? 0
  const apart = node.args.low[axis] === 0 && node.args.high[axis] === 0
  return apart ? pointwise(node, places) : mixing("adds positions at the ends of the sequence")
}

function window(node: NodeOf<"window">, places: readonly (Place | null)[]): Verdict {
  const { axis } = node.args
  if (places[0]?.axis === axis) return mixing("looks at several neighbouring positions")
  return moved(places, (i) => (i > axis ? i + 1 : i))
}

function unwindow(node: NodeOf<"unwindow">, places: readonly (Place | null)[]): Verdict {
  const { axis } = node.args
  if (places[0]?.axis === axis || places[0]?.axis === axis + 1) return mixing("adds neighbouring positions")
  return moved(places, (i) => (i > axis ? i - 1 : i))
}

/** Leading axes go along; rows of the left or columns of the right do, where the other side has no sequence. */
function dot(node: NodeOf<"dot">, places: readonly (Place | null)[]): Verdict {
  const rank = node.shape.length
  const [left, right] = [places[0] ?? null, places[1] ?? null]
  const row = node.args.ta ? rank - 1 : rank - 2
  const column = node.args.tb ? rank - 2 : rank - 1
  const lead = [left, right].find((place) => place !== null && place.axis < rank - 2) ?? null
  if (lead !== null) {
    if ([left, right].some((place) => place !== null && !samePlace(place, lead))) return mixing("multiplies tensors that carry the sequence on different axes")
    return { is: "along", place: lead, wants: [lead, lead] }
  }
  if (left !== null && right !== null) return mixing("multiplies positions with positions; `attend` can do that step by step")
  if (left !== null && left.axis === row) return { is: "along", place: { axis: rank - 2, inner: left.inner }, wants: [left, null] }
  if (right !== null && right.axis === column) return { is: "along", place: { axis: rank - 1, inner: right.inner }, wants: [null, right] }
  return mixing("sums over the positions")
}

function gather(node: NodeOf<"gather">, places: readonly (Place | null)[]): Verdict {
  const [table, ids] = [places[0] ?? null, places[1] ?? null]
  if (table === null) return { is: "along", place: ids ?? { axis: 0, inner: 1 }, wants: [null, ids] }
  if (table.axis === 0) return mixing("picks positions by number")
  const place = { axis: (node.inputs[1]?.shape.length ?? 0) + table.axis - 1, inner: table.inner }
  return ids === null ? { is: "along", place, wants: [table, null] } : mixing("picks from a table that itself carries the sequence")
}

function scatterAdd(node: NodeOf<"scatter_add">, places: readonly (Place | null)[]): Verdict {
  const [ids, updates] = [places[0] ?? null, places[1] ?? null]
  const axes = node.inputs[0]?.shape.length ?? 0
  if (ids !== null || updates === null || updates.axis < axes) return mixing("adds several positions into one row")
  return { is: "along", place: { axis: updates.axis - axes + 1, inner: updates.inner }, wants: [null, updates] }
}

function rope(node: NodeOf<"rope">, places: readonly (Place | null)[]): Verdict {
  const wants = [{ axis: 2, inner: 1 }, { axis: 1, inner: 1 }]
  const fits = places.every((place, i) => place === null || samePlace(place, wants[i] ?? null))
  return fits && node.inputs.length === 2 ? { is: "along", place: { axis: 2, inner: 1 }, wants } : mixing("turns heads or channels that carry the sequence")
}

/** Keys and values that grow with the sequence are state; keys that do not depend on it (an encoder's) are looked at by each position alone. */
function attend(node: NodeOf<"attend">, places: readonly (Place | null)[]): Verdict {
  const at = attendInputs(node.args)
  const place = { axis: 2, inner: 1 }
  const ids = { axis: 1, inner: 1 }
  const wants = node.inputs.map((_, i) => (i === at.queryIds || i === at.keyIds ? ids : i < 3 ? place : null))
  const keySide = [1, 2, at.keyIds].filter((i) => i >= 0)
  const fits = places.every((found, i) => found === null || samePlace(found, wants[i] ?? null))
  if (!fits) return mixing("attends over tensors that carry the sequence on another axis than [b, h, t, d] says")
  if (node.args.offset) return mixing("is a step of generation already")
  if (keySide.every((i) => (places[i] ?? null) === null) && !node.args.causal && node.args.window === null && !node.args.biased) {
    return { is: "along", place, wants: wants.map((want, i) => (keySide.includes(i) ? null : want)) }
  }
  if (!node.args.causal) return mixing("lets a position see later ones (no `causal` in its mask)")
  return { is: "attending", place, wants }
}

export const sequenceRules: SequenceRules = {
  input: leaf, fill: leaf, literal: leaf, iota: leaf,
  random: () => mixing("draws random numbers by position"),
  neg: pointwise, abs: pointwise, sign: pointwise, exp: pointwise, log: pointwise, sqrt: pointwise, rsqrt: pointwise,
  sin: pointwise, cos: pointwise, tanh: pointwise, erf: pointwise, sigmoid: pointwise, floor: pointwise, round: pointwise,
  not: pointwise, cast: pointwise, narrow: pointwise, stop_gradient: pointwise,
  add: pointwise, sub: pointwise, mul: pointwise, div: pointwise, pow: pointwise, max: pointwise, min: pointwise, mod: pointwise,
  lt: pointwise, le: pointwise, eq: pointwise, and: pointwise, or: pointwise, select: pointwise,
  reshape,
  permute: (node, places) => moved(places, (axis) => node.args.axes.indexOf(axis)),
  broadcast: pointwise,
  slice, pad,
  concat: (node, places) => apartFrom([node.args.axis], "puts positions behind each other")(node, places),
  reverse: (node, places) => apartFrom(node.args.axes, "turns the sequence round")(node, places),
  window, unwindow,
  sum: (node, places) => apartFrom(node.args.axes, "sums over the positions")(node, places),
  max_of: (node, places) => apartFrom(node.args.axes, "takes the largest over the positions")(node, places),
  argmax: (node, places) => apartFrom([node.args.axis], "takes the largest over the positions")(node, places),
  cumsum: (node, places) => apartFrom([node.args.axis], "adds up positions one after the other")(node, places),
  dot, gather, scatter_add: scatterAdd,
  take: (node, places) => apartFrom([node.shape.length - 1], "picks positions by number")(node, places),
  put_add: (node, places) => apartFrom([node.shape.length - 1], "adds into positions by number")(node, places),
  top_k: (node, places) => apartFrom([node.shape.length - 1], "compares positions with each other")(node, places),
  scan: () => mixing("runs a loop over tensors that carry the sequence"),
  softmax: lastAxis("compares positions with each other"),
  log_softmax: lastAxis("compares positions with each other"),
  cross_entropy: (node, places) => apartFrom([1], "compares positions with each other")(node, places),
  cross_entropy_grad: () => mixing("belongs to training"),
  rms_norm: lastAxis("takes a mean over the positions"),
  rms_norm_grad: () => mixing("belongs to training"),
  layer_norm: lastAxis("takes a mean over the positions"),
  layer_norm_grad: () => mixing("belongs to training"),
  rope, put: () => mixing("writes at places given by number"), attend,
  attend_grad: () => mixing("belongs to training"),
}

/** Asks the rule of a node's op. */
export function sequenceRule<O extends Op>(node: NodeOf<O>, places: readonly (Place | null)[], length: number): Verdict {
  const rule: SequenceRule<O> = sequenceRules[node.op]
  return rule(node, places, length)
}
