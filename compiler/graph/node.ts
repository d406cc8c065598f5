/**
 * The tensor graph: frozen nodes over a closed set of ops, typed arguments per op, one output each.
 * Shapes are concrete: a graph is made for one stage with all facts known. Broadcasting is explicit.
 */
import type { StorageType } from "./stored.ts"

export type DType = "f32" | "i32" | "bool"
export type Shape = readonly number[]

/** Arguments of each op. `inputs` are listed beside; semantics are defined by `runtime/devices/reference`. */
export interface Args {
  // ---- leaves
  /**
   * A named value from outside. `role`: `state` lives on the device between calls, `batch` comes with each call. `stored`: every number is one
   * of this narrower type, in which a device may keep them.
   */
  input: { readonly name: string; readonly role: InputRole; readonly shape: Shape; readonly dtype: DType; readonly stored?: StorageType }
  /** One number repeated over a shape. Booleans are 0 and 1. */
  fill: { readonly value: number; readonly shape: Shape; readonly dtype: DType }
  /** A small literal tensor, row-major. */
  literal: { readonly values: readonly number[]; readonly shape: Shape; readonly dtype: DType }
  /** 0, 1, 2, … along one axis (i32). */
  iota: { readonly shape: Shape; readonly axis: number }
  /**
   * Uniform f32 in [0, 1) with 24 random bits, a function of (stream, seed, step, row, element) alone.
   * inputs: seed i32[], step i32[], rows i32[R] (global sample index per leading element; use a zero row for none).
   * shape[0] === R. `stream` is a 32-bit hash of purpose and path.
   */
  random: { readonly shape: Shape; readonly stream: number }
  // ---- elementwise, one input
  neg: {}; abs: {}; sign: {}; exp: {}; log: {}; sqrt: {}; rsqrt: {}; sin: {}; cos: {}; tanh: {}; erf: {}; sigmoid: {}
  floor: {}; round: {} // round: to nearest, ties to even
  not: {}
  /** Value conversion; f32 -> i32 truncates towards zero, to bool is `!= 0`. */
  cast: { readonly dtype: DType }
  /** f32 rounded to the nearest value of a narrower format (ties to even), kept as f32. */
  narrow: { readonly format: "f16" | "bf16" }
  /** Identity with gradient zero. */
  stop_gradient: {}
  // ---- elementwise, two inputs of equal shape and dtype
  add: {}; sub: {}; mul: {}; div: {}; pow: {}; max: {}; min: {} // div and mod on i32: floor division
  mod: {}
  lt: {}; le: {}; eq: {} // -> bool
  and: {}; or: {} // bool
  // ---- three inputs: bool condition, then, else
  select: {}
  // ---- shape
  reshape: { readonly shape: Shape }
  permute: { readonly axes: readonly number[] } // output axis i is input axis axes[i]
  /** Same rank; axes of size 1 are repeated to `shape`. */
  broadcast: { readonly shape: Shape }
  slice: { readonly start: Shape; readonly stop: Shape; readonly step: Shape }
  pad: { readonly low: Shape; readonly high: Shape; readonly value: number }
  concat: { readonly axis: number } // any number of inputs >= 1
  reverse: { readonly axes: readonly number[] }
  /**
   * Strided windows over one axis: `[.., n, ..]` -> `[.., count, size, ..]` with
   * count = floor((n - (size - 1) * dilation - 1) / stride) + 1.
   */
  window: { readonly axis: number; readonly size: number; readonly stride: number; readonly dilation: number }
  /** The transpose of `window`: overlapping windows are added into an axis of length `length`. */
  unwindow: { readonly axis: number; readonly length: number; readonly stride: number; readonly dilation: number }
  // ---- reductions over axes (kept as size 1)
  sum: { readonly axes: readonly number[] }
  max_of: { readonly axes: readonly number[] }
  /** Index of the largest along one axis, kept as size 1, the first on ties (i32). */
  argmax: { readonly axis: number }
  /** Inclusive running sum along one axis. */
  cumsum: { readonly axis: number; readonly reverse: boolean }
  // ---- products and indexed access
  /** [.., m, k] x [.., k, n] -> [.., m, n]; equal leading axes; `ta`/`tb`: that input is stored transposed ([.., k, m], [.., n, k]). */
  dot: { readonly ta: boolean; readonly tb: boolean; readonly factors: Factors }
  /** table [V, ..rest], ids i32[..any] -> [..any, ..rest]; ids outside [0, V) yield zeros. */
  gather: {}
  /** ids i32[..any], updates [..any, ..rest] -> [rows, ..rest]; equal ids add; ids outside are dropped. */
  scatter_add: { readonly rows: number }
  /** x [.., n], ids i32[.., k] with equal leading axes -> [.., k]; ids outside yield 0. */
  take: {}
  /** ids i32[.., k], updates [.., k] -> [.., n], added; ids outside are dropped. */
  put_add: { readonly n: number }
  /** Indices of the k largest along the last axis, largest first, smaller index first on ties (i32). */
  top_k: { readonly k: number }
  /**
   * A loop with a fixed number of trips. inputs: carries…, then scanned tensors (leading axis = trips).
   * The body's inputs are named `carry0…`, `x0…`; its outputs are the next carries then the per-trip results.
   * This node yields output number `output`: a last carry, or a stack [trips, ..] of results.
   */
  scan: { readonly body: Body; readonly trips: number; readonly carries: number; readonly output: number }
  // ---- composites: each has a decomposition (compiler/graph/composite.ts) and a gradient rule
  softmax: {} // last axis
  log_softmax: {} // last axis
  /** logits f32[n, v], labels i32[n] -> f32[n]: -log softmax at the label; 0 where the label is negative. */
  cross_entropy: {}
  /** logits, labels, upstream f32[n] -> f32[n, v]. */
  cross_entropy_grad: {}
  /** x [.., d], scale [d] -> x / sqrt(mean(x^2) + eps) * scale. */
  rms_norm: { readonly eps: number }
  /** x, scale, upstream -> gradient by x (`wrt` 0) or by scale (`wrt` 1). */
  rms_norm_grad: { readonly eps: number; readonly wrt: 0 | 1 }
  /** x [.., d], scale [d], bias [d] -> (x - mean) / sqrt(var + eps) * scale + bias. */
  layer_norm: { readonly eps: number }
  layer_norm_grad: { readonly eps: number; readonly wrt: 0 | 1 | 2 }
  /** x [b, h, t, d], positions i32[b, t]: rotary embedding of the pairs (i, i + d/2); `inverse` turns the other way. */
  rope: { readonly base: number; readonly inverse: boolean }
  /**
   * x [b, .., c, ..], fresh [b, .., n, ..], offset i32[b] -> x with the places offset[b] … offset[b] + n - 1 of `axis` (at least 1) taken from `fresh`;
   * places outside are dropped. With `format` what is put is rounded to it first, as `kept` (ops.ts) does.
   */
  put: { readonly axis: number; readonly format?: KeptFormat }
  /**
   * q f32[b, h, t, d], k f32[b, g, s, d], v f32[b, g, s, e] (h a multiple of g), then, where `segmented`, qseg i32[b, t], kseg i32[b, s],
   * then, where `offset`, the place of the first query among the keys i32[b], then, where `biased`, bias f32[1 or b, h, t, s]
   * -> f32[b, h, t, e]. softmax(q k^T * scale + bias over allowed keys) v. Query i stands at place p = i + offset (offset 0, or s - t where not given and causal).
   * Allowed: j <= p where `causal`; p - j < window and (not causal) j - p < window where `window`; qseg == kseg and kseg >= 0 where `segmented`.
   * A query with no allowed key yields zeros.
   */
  attend: AttendArgs
  /** the inputs of attend, then upstream -> gradient by q, k, v (0, 1, 2) or the bias (3). */
  attend_grad: AttendArgs & { readonly wrt: 0 | 1 | 2 | 3 }
}

/** In which earlier keys and values are kept. */
export type KeptFormat = "f16" | "bf16"

/** What numbers are rounded to (to nearest, ties to even) before they are multiplied; products are always added up in f32 or better. */
export type Factors = "f32" | "bf16" | "f16"

export interface AttendArgs {
  readonly scale: number
  readonly causal: boolean
  readonly window: number | null
  readonly segmented: boolean
  readonly offset: boolean
  readonly biased: boolean
  /** Of both products and, in the gradient, of all five: weights and their slopes are rounded as well. */
  readonly factors: Factors
}

export type InputRole = "state" | "batch"
export type Op = keyof Args

export interface NodeOf<O extends Op> {
  readonly id: number // unique and increasing within one builder: inputs have smaller ids
  readonly op: O
  readonly args: Args[O]
  readonly inputs: readonly Node[]
  readonly shape: Shape
  readonly dtype: DType
  /** Where it came from: a path (`blocks[2].attn.q`) or a recipe line; never affects meaning. */
  readonly note: string
}
export type Node = { [O in Op]: NodeOf<O> }[Op]

/** The body of a scan: nodes of a graph of its own. */
export interface Body {
  readonly inputs: readonly Node[]
  readonly outputs: readonly Node[]
}

/**
 * What a device loads: named outputs over named inputs. An output whose name equals a `state` input replaces that
 * state after the call; every other output is returned to the caller.
 */
export interface Program {
  readonly name: string
  readonly inputs: readonly NodeOf<"input">[]
  readonly outputs: readonly Output[]
}
export interface Output { readonly name: string; readonly node: Node }

export function size(shape: Shape): number {
  let n = 1
  for (const d of shape) n *= d
  return n
}
