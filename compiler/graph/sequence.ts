/**
 * Generation from the same text: the graph of `forward` over a whole sequence becomes the graph of `n` more tokens.
 * Each op follows its rule in `sequence-rules.ts`; what `attend` needs of earlier positions is kept in caches.
 *
 *   (tokens [B, n], offset [B], positions, …; cache.i.k [B, g, C, d], cache.i.v, …) -> (outputs for n positions; caches')
 *
 * The new tokens of row b stand at places offset[b] … offset[b] + n - 1. Entries of a cache behind the last place of a row are
 * never looked at and may be anything, so rows of a batch may differ in length. New keys and values are read back from the caches, so that a text does not
 * depend on how it is cut into calls where caches round.
 */
import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import type { Args, KeptFormat, Node, NodeOf, Op, Output, Program, Shape } from "./node.ts"
import { size } from "./node.ts"
import * as g from "./ops.ts"
import { elementwise, stretched } from "./pairs.ts"
import type { Place, Verdict } from "./sequence-rules.ts"
import { relocated, samePlace, sequenceRule } from "./sequence-rules.ts"
import { attendInputs } from "./shapes.ts"
import { copy, reachable } from "./walk.ts"

/** Why a forward pass cannot be continued token by token. */
export interface Mixing {
  readonly op: Op
  /** The layer: `blocks[2].attn`. */
  readonly note: string
  readonly reason: string
}

export interface Continuation {
  /** The inputs that carry the sequence on axis 1: `tokens`, `positions`, … All others are taken as they are. */
  readonly sequence: ReadonlySet<string>
  /** Positions in the forward pass as it is given, at least 2. */
  readonly length: number
  /** New tokens per call. */
  readonly tokens: number
  /** Places in each cache. */
  readonly capacity: number
  /** Whether keys that no later query can see give their place away: the cache of a window is a ring. For one new token per call. */
  readonly ring?: boolean
  /** What keys and values are rounded to before anybody attends to them; caches hold them in this form. Absent: they stay as they are. */
  readonly kept?: KeptFormat
  /** Outputs of which only the position `last [B]` of each row is wanted, as [B, ..rest]. */
  readonly lastOnly: ReadonlySet<string>
}

export interface Continued {
  readonly program: Program
  /** State inputs made here; they start as zeros. */
  readonly caches: readonly NodeOf<"input">[]
  /** Tables over all pairs of places: they change as little as the weights. */
  readonly tables: readonly Node[]
}

/** Internal signal; `continueSequence` turns it into its result. */
class MixingFound extends Error {
  readonly mixing: Mixing
  constructor(node: Node, reason: string) {
    super(reason)
    this.mixing = { op: node.op, note: node.note, reason }
  }
}

interface Pass {
  readonly b: Builder
  readonly options: Continuation
  readonly places: Map<Node, Place | null>
  readonly emitted: Map<Node, Node>
  readonly resized: Map<string, Node>
  readonly caches: Map<Node, Map<number, Node>> // tensor on the key side -> places -> its updated cache
  readonly cacheInputs: NodeOf<"input">[]
  readonly tables: Map<Node, Node>
  readonly updates: Output[]
  attentions: number
}

/** The program of `tokens` more tokens, or the op that mixes positions. */
export function continueSequence(program: Program, options: Continuation): Continued | Mixing {
  if (options.length < 2) throw new Error(`sequence: a forward pass of ${options.length} positions does not show where they go`)
  const pass: Pass = {
    b: createBuilder(), options, places: new Map(), emitted: new Map(), resized: new Map(), caches: new Map(), cacheInputs: [], tables: new Map(), updates: [], attentions: 0,
  }
  try {
    for (const node of reachable(program.outputs.map((output) => output.node))) pass.b.at(node.note, () => visit(pass, node))
    const outputs = program.outputs.map((output) => pass.b.at("generation", () => finished(pass, output)))
    const all = [...outputs, ...pass.updates]
    const inputs = reachable(all.map((output) => output.node)).filter((node) => node.op === "input")
    return { program: { name: `${program.name} of ${options.tokens} tokens`, inputs, outputs: all }, caches: pass.cacheInputs, tables: [...pass.tables.values()] }
  } catch (error) {
    if (error instanceof MixingFound) return error.mixing
    throw error
  }
}

export function isMixing(result: Continued | Mixing): result is Mixing {
  return "reason" in result
}

function visit(pass: Pass, node: Node): void {
  const inputPlaces = node.inputs.map((input) => placeOf(pass, input))
  if (node.op === "input") return visitInput(pass, node)
  if (inputPlaces.every((place) => place === null)) {
    pass.places.set(node, null)
    pass.emitted.set(node, copy(pass.b, node, node.inputs.map((input) => emitted(pass, input))))
    return
  }
  const verdict: Verdict = sequenceRule(node as NodeOf<Op>, inputPlaces, pass.options.length)
  if (verdict.is === "mixing") throw new MixingFound(node, verdict.reason)
  const inputs = node.inputs.map((input, i) => wanted(pass, node, input, verdict.wants[i] ?? null))
  pass.places.set(node, verdict.place)
  if (node.op !== "attend") pass.emitted.set(node, remade(pass, node, verdict.place, inputs))
  else pass.emitted.set(node, verdict.is === "attending" ? attending(pass, node, inputs) : copy(pass.b, node, inputs.map((x, i) => (i === 1 || i === 2 ? keptAs(pass, x) : x))))
}

/** A key or value that all positions see, as it would be in a cache. */
function keptAs({ b, options }: Pass, x: Node): Node {
  return options.kept === undefined ? x : g.kept(b, x, options.kept)
}

function visitInput(pass: Pass, node: NodeOf<"input">): void {
  const carries = pass.options.sequence.has(node.args.name)
  if (carries && node.shape[1] !== pass.options.length) throw new Error(`sequence: input ${node.args.name} is [${node.shape.join(", ")}], not [B, ${pass.options.length}]`)
  const place = carries ? { axis: 1, inner: 1 } : null
  pass.places.set(node, place)
  pass.emitted.set(node, pass.b.input(node.args.name, node.args.role, node.dtype, place === null ? node.shape : resizedShape(pass, node.shape, place), node.args.stored))
}

function placeOf(pass: Pass, node: Node): Place | null {
  const place = pass.places.get(node)
  if (place === undefined) throw new Error(`sequence: %${node.id} (${node.op}) comes before its input`)
  return place
}

function emitted(pass: Pass, node: Node): Node {
  const there = pass.emitted.get(node)
  if (there === undefined) throw new Error(`sequence: %${node.id} (${node.op}) was not rebuilt`)
  return there
}

/** The input of `user` with the sequence where the rule wants it. */
function wanted(pass: Pass, user: Node, input: Node, want: Place | null): Node {
  const found = placeOf(pass, input)
  if (samePlace(found, want)) return emitted(pass, input)
  if (found !== null || want === null) throw new MixingFound(user, "combines tensors that carry the sequence on different axes")
  return resized(pass, user, input, want)
}

/** The axis with `tokens` positions instead of `length`. */
function resizedShape(pass: Pass, shape: Shape, place: Place): Shape {
  return shape.map((n, i) => (i === place.axis ? (n / pass.options.length) * pass.options.tokens : n))
}

/** A node over new inputs; where its arguments name the size of the sequence, they are adapted. */
function remade(pass: Pass, node: Node, place: Place, inputs: readonly Node[]): Node {
  const shape = resizedShape(pass, node.shape, place)
  switch (node.op) {
    case "reshape": return pass.b.make("reshape", { shape }, inputs, node.note)
    case "broadcast": return pass.b.make("broadcast", { shape }, inputs, node.note)
    case "slice": {
      const stop = node.args.stop.map((n, i) => (i === place.axis ? (shape[i] ?? n) : n))
      return pass.b.make("slice", { ...node.args, stop }, inputs, node.note)
    }
    default: return copy(pass.b, node, inputs)
  }
}

/**
 * A tensor that does not depend on the sequence but meets it: it must be the same at every position, so that it can be made
 * for `tokens` positions. A table with one row per place cannot: the place of a token is `at.positions`.
 */
function resized(pass: Pass, user: Node, node: Node, place: Place): Node {
  const key = `${node.id}.${place.axis}.${place.inner}`
  const known = pass.resized.get(key)
  if (known !== undefined) return known
  const made = resize(pass, user, node, place)
  pass.resized.set(key, made)
  return made
}

function resize(pass: Pass, user: Node, node: Node, place: Place): Node {
  const { b, options } = pass
  const shape = resizedShape(pass, node.shape, place)
  const input = node.inputs[0]
  if (node.op === "fill") return b.make("fill", { ...node.args, shape }, [], node.note)
  if (node.op === "iota" && node.args.axis !== place.axis) return b.make("iota", { ...node.args, shape }, [], node.note)
  if (node.op === "broadcast" && input?.shape[place.axis] === 1) return b.make("broadcast", { shape }, [emitted(pass, input)], node.note)
  if (node.op === "broadcast" && input !== undefined) return b.make("broadcast", { shape }, [resized(pass, user, input, place)], node.note)
  if (node.op === "reshape" && input !== undefined) {
    const before = relocated(node.shape, place, input.shape, options.length)
    if (before !== null) return b.make("reshape", { shape }, [resized(pass, user, input, before)], node.note)
  }
  if (node.op === "permute" && input !== undefined) {
    return copy(b, node, [resized(pass, user, input, { axis: node.args.axes[place.axis] ?? 0, inner: place.inner })])
  }
  if (elementwise.has(node.op)) return copy(b, node, node.inputs.map((x) => resized(pass, user, x, place)))
  const values = node.op === "literal" && place.inner === 1 && node.shape[place.axis] === options.length ? atOnePosition(node.args.values, node.shape, place.axis) : null
  if (values !== null) {
    const one = b.make("literal", { values, shape: node.shape.map((n, i) => (i === place.axis ? 1 : n)), dtype: node.dtype }, [], node.note)
    return b.make("broadcast", { shape }, [one], node.note)
  }
  throw new MixingFound(user, "meets a tensor with one entry per position of a fixed length; look it up by `at.positions` instead")
}

/** The values at one position of an axis, where they are the same at every other; else null. */
function atOnePosition(values: readonly number[], shape: Shape, axis: number): readonly number[] | null {
  const below = size(shape.slice(axis + 1))
  const whole = below * (shape[axis] ?? 1)
  const first = (i: number): number => i - (i % whole) + (i % below)
  return values.every((value, i) => Object.is(value, values[first(i)])) ? values.filter((_, i) => first(i) === i) : null
}

/** `attend` over the caches: the new keys and values are written at the offset, then all that is there is looked at. */
function attending(pass: Pass, node: NodeOf<"attend">, inputs: readonly Node[]): Node {
  const at = attendInputs(node.args)
  const [q, k, v] = [inputs[0], inputs[1], inputs[2]]
  const [keys, values] = [node.inputs[1], node.inputs[2]]
  if (q === undefined || k === undefined || v === undefined || keys === undefined || values === undefined) throw new Error(`sequence: %${node.id} (attend) has no keys`)
  const index = pass.attentions++
  const offset = pass.b.input("offset", "batch", "i32", [q.shape[0] ?? 1])
  const ring = ringOf(pass, node)
  const places = ring ?? pass.options.capacity
  // Place p of a ring holds the last position that is p modulo its length; those that are seen are all that are there.
  const put = ring === null ? offset : g.mod(pass.b, offset, ring)
  const keep = (original: Node, fresh: Node, axis: number, name: string): Node => cached(pass, original, fresh, axis, places, `cache.${index}.${name}`, put)
  const past = [keep(keys, k, 2, "k"), keep(values, v, 2, "v")]
  const segments: Node[] = []
  const keyIds = node.inputs[at.keyIds]
  const queryIds = inputs[at.queryIds]
  const newIds = inputs[at.keyIds]
  if (keyIds !== undefined && queryIds !== undefined && newIds !== undefined) segments.push(queryIds, keep(keyIds, newIds, 1, "segments"))
  const args: Args["attend"] = { ...node.args, offset: true, window: ring === null ? node.args.window : null }
  const bias = at.bias < 0 ? [] : [biasAt(pass, node, node.inputs[at.bias], offset)]
  return pass.b.make("attend", args, [q, ...past, ...segments, offset, ...bias], node.note)
}

/** The rows of a bias for the new tokens, [b, h, n, places], of the table over all pairs of places. */
function biasAt(pass: Pass, user: NodeOf<"attend">, bias: Node | undefined, offset: Node): Node {
  if (bias === undefined) throw new Error(`sequence: %${user.id} (attend) has no bias`)
  const { b, options: { length, capacity, tokens } } = pass
  const table = pass.tables.get(bias) ?? (bias.shape[0] === 1 ? stretched(bias, [2, 3], { b, from: length, to: capacity, kept: (node) => emitted(pass, node) }) : null)
  if (table === null) throw new MixingFound(user, "adds a bias that does not follow from the places of two positions")
  pass.tables.set(bias, table)
  const [, heads = 1] = bias.shape
  const [rows = 1] = offset.shape
  const byQuery = g.permute(b, g.reshape(b, table, [heads, capacity, capacity]), [1, 0, 2])
  const places = g.add(b, g.reshape(b, offset, [rows, 1]), g.iota(b, [1, tokens], 1))
  return g.permute(b, g.gather(b, byQuery, places), [0, 2, 1, 3])
}

/** Places of the ring that is enough for an attention; null where all places are needed. */
function ringOf({ options }: Pass, { args }: NodeOf<"attend">): number | null {
  const bounded = options.ring === true && options.tokens === 1 && args.causal && !args.biased && args.window !== null && args.window < options.capacity
  return bounded ? args.window : null
}

/** The cache of a tensor with the new positions written into it; made once for each tensor and number of places. */
function cached(pass: Pass, original: Node, fresh: Node, axis: number, places: number, name: string, offset: Node): Node {
  const made = pass.caches.get(original) ?? new Map<number, Node>()
  pass.caches.set(original, made)
  const known = made.get(places)
  if (known !== undefined) return known
  const shape = fresh.shape.map((n, i) => (i === axis ? places : n))
  const format = fresh.dtype === "f32" ? pass.options.kept : undefined
  const state = pass.b.input(name, "state", fresh.dtype, shape, format)
  const updated: Node = pass.b.make("put", { axis, ...(format === undefined ? {} : { format }) }, [state, fresh, offset])
  pass.cacheInputs.push(state)
  made.set(places, updated)
  pass.updates.push({ name, node: updated })
  return updated
}

/** An output, cut down to the last position of each row where that is all that is wanted. */
function finished(pass: Pass, output: Output): Output {
  const node = emitted(pass, output.node)
  if (!pass.options.lastOnly.has(output.name)) return { name: output.name, node }
  const place = placeOf(pass, output.node)
  if (place?.axis !== 1 || place.inner !== 1) throw new MixingFound(output.node, `yields \`${output.name}\` without one entry per position`)
  const { b } = pass
  const [rows = 1, n = 1, ...rest] = node.shape
  const flat = g.reshape(b, node, [rows * n, ...rest])
  const ids = g.add(b, g.mul(b, g.iota(b, [rows]), n), b.input("last", "batch", "i32", [rows]))
  return { name: output.name, node: n === 1 ? g.reshape(b, node, [rows, ...rest]) : g.gather(b, flat, ids) }
}
