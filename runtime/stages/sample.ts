/**
 * The choice of the next token, on the host in f64 and in arithmetic that is the same everywhere, so that a text depends on the
 * logits and on (seed, prompt, position) alone.
 */
import { expOf } from "../../compiler/graph/arithmetic.ts"
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

/** The token after `position` tokens of prompt number `prompt`. Equal logits: the smaller id comes first. */
export function nextToken(logits: Float32Array, sampling: Sampling, prompt: number, position: number): number {
  if (sampling.temperature === 0) return largest(logits)
  const u = uniform({ seed: sampling.seed, stream, step: position, row: prompt }, 0)
  return pick(candidates(logits, sampling), u)
}

/** Ids, and what they weigh; the weights need not add up to 1. */
interface Candidates { readonly ids: Int32Array; readonly weights: Float64Array }

function largest(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? -Infinity) > (logits[best] ?? -Infinity)) best = i
  return best
}

/** What may be chosen, most likely first. */
export function candidates(logits: Float32Array, { temperature, topK, topP }: Pick<Sampling, "temperature" | "topK" | "topP">): Candidates {
  const top = logits[largest(logits)] ?? 0
  const order = ranked(logits)
  const ids = topK === null ? order : order.subarray(0, Math.max(1, topK))
  const weights = new Float64Array(ids.length)
  for (let i = 0; i < ids.length; i++) weights[i] = weightOf(((logits[ids[i] ?? 0] ?? 0) - top) / temperature)
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

const idBits = 2 ** 21

/** Ids by falling logit, the smaller id first where they are equal. One number says both, and numbers are sorted ten times as fast as objects. */
function ranked(logits: Float32Array): Int32Array {
  const n = logits.length
  if (n > idBits) throw new Error(`sample: ${n} logits`)
  const bits = new Int32Array(logits.slice().buffer)
  const keys = new Float64Array(n)
  // Patterns of negative numbers grow downwards.
  for (let id = 0; id < n; id++) {
    const b = bits[id] ?? 0
    keys[id] = (b >= 0 ? -b : b & 0x7fffffff) * idBits + id
  }
  keys.sort()
  const order = new Int32Array(n)
  for (let i = 0; i < n; i++) {
    const key = keys[i] ?? 0
    order[i] = key - Math.floor(key / idBits) * idBits
  }
  return order
}

/** e^x for x <= 0; nothing below what f64 can hold, and nothing for a logit that is not a number. */
function weightOf(x: number): number {
  return x > -700 ? expOf(x) : 0
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
