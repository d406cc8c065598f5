/**
 * The choice of the next token, on the host in f64 and in arithmetic that is the same everywhere, so that a text depends on the
 * logits and on (seed, prompt, position) alone.
 */
import { expsOf } from "../../compiler/graph/arithmetic.ts"
import { hash32, uniform } from "../../compiler/graph/random.ts"

export interface Sampling {
  /** 0 takes the most likely token. */
  readonly temperature: number
  readonly topK: number | null
  readonly topP: number | null
  readonly seed: number
}

/** Of the random numbers of all texts. */
export const stream = hash32("generate")

/** Arrays of as many numbers as there are logits. Making them takes as long as choosing does: whoever chooses often keeps them. */
export interface Room { readonly keys: Uint32Array; readonly ids: Int32Array; readonly other: Int32Array; readonly weights: Float64Array }

export function roomFor(logits: number): Room {
  return { keys: new Uint32Array(logits), ids: new Int32Array(logits), other: new Int32Array(logits), weights: new Float64Array(logits) }
}

/** The token after `position` tokens of prompt number `prompt`. Equal logits: the smaller id comes first. */
export function nextToken(logits: Float32Array, sampling: Sampling, prompt: number, position: number, room = roomFor(logits.length)): number {
  if (sampling.temperature === 0) return largest(logits)
  const u = uniform({ seed: sampling.seed, stream, step: position, row: prompt }, 0)
  return pick(candidates(logits, sampling, room), u)
}

/** Ids, and what they weigh; the weights need not add up to 1. */
interface Candidates { readonly ids: Int32Array; readonly weights: Float64Array }

function largest(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? -Infinity) > (logits[best] ?? -Infinity)) best = i
  return best
}

/** What may be chosen, most likely first, in `room`. A logit that is not a number, and one whose weight f64 cannot hold, weighs nothing. */
export function candidates(logits: Float32Array, { temperature, topK, topP }: Pick<Sampling, "temperature" | "topK" | "topP">, room = roomFor(logits.length)): Candidates {
  const top = logits[largest(logits)] ?? 0
  rank(logits, room)
  const some = topK === null ? logits.length : Math.min(logits.length, Math.max(1, topK))
  const [ids, weights] = [room.ids.subarray(0, some), room.weights.subarray(0, some)]
  for (let i = 0; i < ids.length; i++) {
    const x = ((logits[ids[i] ?? 0] ?? 0) - top) / temperature
    weights[i] = x > -700 ? x : NaN
  }
  expsOf(weights)
  for (let i = 0; i < weights.length; i++) if (Number.isNaN(weights[i])) weights[i] = 0
  if (topP === null) return { ids, weights }
  const goal = topP * total(weights)
  let [sum, n] = [0, 0]
  for (const weight of weights) {
    sum += weight
    n++
    if (sum >= goal) break
  }
  return { ids: ids.subarray(0, Math.max(1, n)), weights: weights.subarray(0, Math.max(1, n)) }
}

/** Ids by falling logit, the smaller id first where they are equal: keys are sorted digit by digit, which takes a tenth of the time that comparing them does. */
function rank(logits: Float32Array, { keys, ids, other }: Room): void {
  const n = logits.length
  const bits = new Int32Array(logits.buffer, logits.byteOffset, n)
  const starts = new Uint32Array(4 * 256)
  // Patterns of negative numbers grow downwards.
  for (let id = 0; id < n; id++) {
    const b = bits[id] ?? 0
    const key = (0x80000000 + (b >= 0 ? -b : b & 0x7fffffff)) >>> 0
    keys[id] = key
    ids[id] = id
    for (let digit = 0; digit < 4; digit++) {
      const at = 256 * digit + ((key >>> (8 * digit)) & 255)
      starts[at] = (starts[at] ?? 0) + 1
    }
  }
  let [from, to] = [ids, other]
  for (let digit = 0; digit < 4; digit++) {
    const places = starts.subarray(256 * digit, 256 * (digit + 1))
    let sum = 0
    for (let i = 0; i < 256; i++) {
      const count = places[i] ?? 0
      places[i] = sum
      sum += count
    }
    for (let i = 0; i < n; i++) {
      const id = from[i] ?? 0
      const value = ((keys[id] ?? 0) >>> (8 * digit)) & 255
      const place = places[value] ?? 0
      places[value] = place + 1
      to[place] = id
    }
    ;[from, to] = [to, from]
  }
}

function total(weights: Float64Array): number {
  let sum = 0
  for (const weight of weights) sum += weight
  return sum
}

function pick({ ids, weights }: Candidates, u: number): number {
  const goal = u * total(weights)
  let sum = 0
  for (let i = 0; i < ids.length; i++) {
    sum += weights[i] ?? 0
    if (sum > goal) return ids[i] ?? 0
  }
  return ids[0] ?? 0
}
