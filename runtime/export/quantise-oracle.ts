/**
 * llama.cpp's reference quantisers, step by step in f32, for tests: what the encodings of the library are compared with.
 * (ggml: quantize_row_q8_0_ref, quantize_row_q4_0_ref.)
 */
import { fromHalf, toHalf } from "../../compiler/graph/half.ts"

const f = Math.fround
const BLOCK = 32

export interface Quantised {
  readonly codes: Float32Array
  readonly scales: Float32Array
  readonly bytes: Uint8Array
  readonly decoded: Float32Array
}

export const reference = {
  q8_0: (values: Float32Array): Quantised => blocks(values, 34, (block, put) => {
    let largest = 0
    for (const x of block) largest = Math.max(largest, Math.abs(x))
    const scale = f(largest / 127)
    const inverse = scale === 0 ? 0 : f(1 / scale)
    const codes = Array.from(block, (x) => halfAway(f(x * inverse)))
    const half = fromHalf(toHalf(scale))
    put(scale, codes, codes.map((code) => code & 0xff), codes.map((code) => f(code * half)))
  }),
  q4_0: (values: Float32Array): Quantised => blocks(values, 18, (block, put) => {
    let [largest, signed] = [0, 0]
    for (const x of block) {
      if (largest < Math.abs(x)) {
        largest = Math.abs(x)
        signed = x
      }
    }
    const scale = f(signed / -8)
    const inverse = scale === 0 ? 0 : f(1 / scale)
    const codes = Array.from(block, (x) => Math.min(15, Math.trunc(f(f(x * inverse) + 8.5))))
    const half = fromHalf(toHalf(scale))
    const pairs = Array.from({ length: 16 }, (_, j) => codes[j]! | (codes[j + 16]! << 4))
    put(scale, codes, pairs, codes.map((code) => f((code - 8) * half)))
  }),
} as const

type Put = (scale: number, codes: readonly number[], packed: readonly number[], decoded: readonly number[]) => void

function blocks(values: Float32Array, width: number, quantise: (block: Float32Array, put: Put) => void): Quantised {
  const count = values.length / BLOCK
  const out = { codes: new Float32Array(values.length), scales: new Float32Array(count), bytes: new Uint8Array(count * width), decoded: new Float32Array(values.length) }
  for (let b = 0; b < count; b++) {
    quantise(values.subarray(b * BLOCK, (b + 1) * BLOCK), (scale, codes, packed, decoded) => {
      const half = toHalf(scale)
      out.scales[b] = fromHalf(half)
      out.codes.set(codes, b * BLOCK)
      out.bytes.set([half & 0xff, half >> 8, ...packed], b * width)
      out.decoded.set(decoded, b * BLOCK)
    })
  }
  return out
}

/** C's roundf. */
function halfAway(x: number): number {
  return Math.sign(x) * Math.floor(Math.abs(x) + 0.5)
}
