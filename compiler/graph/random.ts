/**
 * Counter-based randomness, shared by all devices: a number is a function of (seed, stream, step, row, element) and of
 * nothing else, so it does not depend on order, batch size, thread or machine.
 *
 * The generator is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw 2011: "Parallel random numbers: as easy as
 * 1, 2, 3"), which needs only 32-bit addition, rotation and exclusive or. It is applied twice:
 *
 *   row key = threefry(key: (seed, stream), counter: (step, row))
 *   bits    = threefry(key: row key, counter: (element >> 1, 0))[element & 1]
 *   uniform = (bits >> 8) * 2^-24
 */
import { normalQuantile } from "./arithmetic.ts"

/** Where a number belongs: `stream` is the hash of purpose and path, `row` the global sample index (0 if there is none). */
export interface RandomKey {
  readonly seed: number
  readonly stream: number
  readonly step: number
  readonly row: number
}

/** Two 32-bit words, signed as JavaScript's bit operations yield them. */
export type Words = readonly [number, number]

const parity = 0x1bd11bda

/** Threefry-2x32-20: the encryption of `counter` under `key`. */
export function threefry(key: Words, counter: Words): Words {
  const out = new Int32Array(2)
  threefryInto(out, key[0], key[1], counter[0], counter[1])
  return [out[0] ?? 0, out[1] ?? 0]
}

/** Rounds come in groups of four, with one of two lists of rotations each; after group g the keys g + 1 and g + 2 (modulo 3) are injected. Written out, for weights take millions of these. */
function threefryInto(out: Int32Array, k0: number, k1: number, c0: number, c1: number): void {
  const k2 = parity ^ k0 ^ k1
  let x0 = (c0 + k0) | 0
  let x1 = (c1 + k1) | 0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 13) | (x1 >>> 19)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 15) | (x1 >>> 17)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 26) | (x1 >>> 6)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 6) | (x1 >>> 26)) ^ x0
  x0 = (x0 + k1) | 0; x1 = (x1 + k2 + 1) | 0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 17) | (x1 >>> 15)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 29) | (x1 >>> 3)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 16) | (x1 >>> 16)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 24) | (x1 >>> 8)) ^ x0
  x0 = (x0 + k2) | 0; x1 = (x1 + k0 + 2) | 0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 13) | (x1 >>> 19)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 15) | (x1 >>> 17)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 26) | (x1 >>> 6)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 6) | (x1 >>> 26)) ^ x0
  x0 = (x0 + k0) | 0; x1 = (x1 + k1 + 3) | 0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 17) | (x1 >>> 15)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 29) | (x1 >>> 3)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 16) | (x1 >>> 16)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 24) | (x1 >>> 8)) ^ x0
  x0 = (x0 + k1) | 0; x1 = (x1 + k2 + 4) | 0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 13) | (x1 >>> 19)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 15) | (x1 >>> 17)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 26) | (x1 >>> 6)) ^ x0
  x0 = (x0 + x1) | 0; x1 = ((x1 << 6) | (x1 >>> 26)) ^ x0
  out[0] = (x0 + k2) | 0
  out[1] = (x1 + k0 + 5) | 0
}

function rowKey(key: RandomKey): Words {
  return threefry([key.seed | 0, key.stream | 0], [key.step | 0, key.row | 0])
}

/** 32 random bits as an unsigned integer. */
export function bits(key: RandomKey, element: number): number {
  return (threefry(rowKey(key), [element >>> 1, 0])[element & 1] ?? 0) >>> 0
}

/** A number in [0, 1) with 24 random bits: one element of the op `random`. */
export function uniform(key: RandomKey, element: number): number {
  return (bits(key, element) >>> 8) * 2 ** -24
}

/** Elements 0, 1, … of one row into `out` from `start` to `stop`: the bulk form of `uniform`. */
export function fillUniform(key: RandomKey, out: Float32Array | Float64Array, start = 0, stop = out.length): void {
  const [k0, k1] = rowKey(key)
  const pair = new Int32Array(2)
  for (let i = start, counter = 0; i < stop; i += 2, counter++) {
    threefryInto(pair, k0, k1, counter, 0)
    out[i] = ((pair[0] ?? 0) >>> 8) * 2 ** -24
    if (i + 1 < stop) out[i + 1] = ((pair[1] ?? 0) >>> 8) * 2 ** -24
  }
}

/** A standard normal number: the quantile of 52 random bits, in arithmetic that is the same on every platform. */
export function normal(key: RandomKey, element: number): number {
  return quantile(...threefry(rowKey(key), [element, 1]))
}

/** Elements 0, 1, … into `out`: the bulk form of `normal`. */
export function fillNormal(key: RandomKey, out: Float32Array | Float64Array): void {
  const [k0, k1] = rowKey(key)
  const pair = new Int32Array(2)
  for (let i = 0; i < out.length; i++) {
    threefryInto(pair, k0, k1, i, 1)
    out[i] = quantile(pair[0] ?? 0, pair[1] ?? 0)
  }
}

/** Of 52 bits u: the quantile at (u + 1/2) 2^-52, a number of 53 bits that is never 0 or 1. */
function quantile(high: number, low: number): number {
  const u = (high >>> 0) * 2 ** 20 + (low >>> 12)
  return normalQuantile((u + 0.5) * 2 ** -52)
}

/** A 32-bit hash of a text, for streams: FNV-1a over UTF-8, then the finalizer of MurmurHash3. Unsigned. */
export function hash32(text: string): number {
  let h = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * A random order of 0 … n-1, a function of (n, seed, purpose, epoch) alone. Each index gets 32 random bits and the indices are
 * sorted by them (equal bits: smaller index first), so rows that are added at the end leave the order of the others.
 */
export function permutationOf(n: number, seed: number, purpose: string, epoch: number): Int32Array {
  const [k0, k1] = rowKey({ seed, stream: hash32(purpose), step: epoch, row: 0 })
  const keys = new Uint32Array(n)
  const pair = new Int32Array(2)
  for (let i = 0; i < n; i++) {
    threefryInto(pair, k0, k1, i, 2)
    keys[i] = pair[0] ?? 0
  }
  return sortedBy(keys)
}

/** The indices of `keys` in ascending order of key: a stable radix sort, one byte at a time. */
function sortedBy(keys: Uint32Array): Int32Array {
  let from: Int32Array = Int32Array.from(keys, (_, i) => i)
  let to: Int32Array = new Int32Array(keys.length)
  for (let shift = 0; shift < 32; shift += 8) {
    const next = new Int32Array(257)
    for (const key of keys) { const digit = ((key >>> shift) & 255) + 1; next[digit] = (next[digit] ?? 0) + 1 }
    for (let d = 0; d < 256; d++) next[d + 1] = (next[d + 1] ?? 0) + (next[d] ?? 0)
    for (const index of from) {
      const digit = ((keys[index] ?? 0) >>> shift) & 255
      const place = next[digit] ?? 0
      next[digit] = place + 1
      to[place] = index
    }
    ;[from, to] = [to, from]
  }
  return from
}
