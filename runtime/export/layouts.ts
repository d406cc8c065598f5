import { size } from "../../compiler/graph/node.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import { fromHalf, toHalf } from "../../compiler/graph/half.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Problem, Result } from "./problem.ts"

/** Whole numbers, row-major, one per element of the weight. */
export type Codes = Int8Array | Uint8Array | Int32Array | Uint16Array | Float32Array

/** The exact form in which a file keeps the codes and scales of one encoding. Rows run along the last axis. */
export interface Layout {
  readonly store: string
  /** Elements that share a scale: a block of the row, or the whole row (null). */
  readonly block: number | null
  /** A number is (code - zero) * scale. */
  readonly zero: number
  readonly low: number
  readonly high: number
  /** Scales are stored as f16. */
  readonly half: boolean
  bytes(shape: Shape): number
  /** Number of scales. */
  scales(shape: Shape): number
  decode(codes: Codes, scales: Float32Array, shape: Shape): Float32Array
  pack(codes: Codes, scales: Float32Array, shape: Shape): Uint8Array
  unpack(bytes: Uint8Array, shape: Shape): { readonly codes: Int8Array | Uint8Array; readonly scales: Float32Array }
}

/** The layout a `store` names, or null where only the recipe knows it. */
export function layoutOf(store: string): Layout | null {
  if (store === "gguf.q8_0") return q8_0
  if (store === "gguf.q4_0") return q4_0
  if (store === "int8") return int8
  const [, bits, group] = /^int([234])\(group=([1-9]\d{0,6})\)$/.exec(store) ?? []
  return group === undefined ? null : ints(Number(bits), Number(group))
}

/** Whether a weight of this shape can be kept in the layout: blocks fill rows. */
export function fits(layout: Layout, path: string, shape: Shape): Problem | null {
  const width = shape.at(-1) ?? 1
  if (layout.block === null || (shape.length > 0 && width % layout.block === 0)) return null
  return problem("SLM3210", `the rows of \`${path}\` have ${width} numbers, and ${layout.store} stores blocks of ${layout.block}`, {
    notes: [`its shape is [${shape.join(", ")}].`],
    help: `choose a width that is a multiple of ${layout.block}, or keep this weight as it is with \`keep: [${path}]\``,
  })
}

/** Codes and scales as an `encode` yielded them, checked and brought to the types of the layout. */
export function admit(
  layout: Layout, path: string, shape: Shape, codes: ArrayLike<number>, scales: ArrayLike<number>,
): Result<{ readonly codes: Int8Array | Uint8Array; readonly scales: Float32Array }> {
  const misfit = fits(layout, path, shape)
  if (misfit !== null) return wrong(misfit)
  if (codes.length !== size(shape) || scales.length !== layout.scales(shape)) {
    return wrong(problem("SLM3212", `${layout.store} needs ${size(shape)} codes and ${layout.scales(shape)} scales for \`${path}\`, not ${codes.length} and ${scales.length}`))
  }
  const kept = layout.low < 0 ? new Int8Array(codes.length) : new Uint8Array(codes.length)
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!
    if (!Number.isInteger(code) || code < layout.low || code > layout.high) {
      return wrong(problem("SLM3212", `code ${code} of \`${path}\` is not a whole number from ${layout.low} to ${layout.high}, as ${layout.store} stores them`))
    }
    kept[i] = code
  }
  const numbers = Float32Array.from(scales)
  const bad = numbers.find((scale) => !Number.isFinite(scale) || (layout.half && fromHalf(toHalf(scale)) !== scale))
  if (bad === undefined) return fine({ codes: kept, scales: numbers })
  return wrong(problem("SLM3212", `scale ${bad} of \`${path}\` is not ${Number.isFinite(bad) ? "an f16 number" : "finite"}`, Number.isFinite(bad) ? { help: "round scales with `narrow(x, f16)`" } : {}))
}

/** Whether an encoding's own `decode` (its values) says what the store it names stands for; exporters trust the store. */
export function honest(encoding: string, store: string, byStore: Float32Array, byDecode: Float32Array): Problem | null {
  if (byStore.length === byDecode.length && byStore.every((value, i) => value === byDecode[i])) return null
  return problem("SLM3212", `\`decode\` of ${encoding} does not yield what the store ${store} stands for`, { help: "give `store` a name of its own: such a store keeps any codes" })
}

// ---------------------------------------------------------------- the layouts

const QK = 32 // numbers in a block of llama.cpp's q4_0 and q8_0

const q8_0: Layout = {
  store: "gguf.q8_0", block: QK, zero: 0, low: -128, high: 127, half: true,
  bytes: (shape) => (size(shape) / QK) * 34,
  scales: (shape) => size(shape) / QK,
  decode: (codes, scales) => times(codes, 0, scales, QK),
  pack: (codes, scales) => packBlocks(codes, scales, 34, (block, out, at) => {
    for (let j = 0; j < QK; j++) out[at + j] = block[j]! & 0xff
  }),
  unpack: (bytes, shape) => {
    const codes = new Int8Array(size(shape))
    const scales = unpackBlocks(bytes, size(shape), 34, (at, start) => {
      for (let j = 0; j < QK; j++) codes[start + j] = (bytes[at + j]! << 24) >> 24
    })
    return { codes, scales }
  },
}

/** A block is its scale, then 16 bytes: number j in the low half of byte j, number j + 16 in the high half. */
const q4_0: Layout = {
  store: "gguf.q4_0", block: QK, zero: 8, low: 0, high: 15, half: true,
  bytes: (shape) => (size(shape) / QK) * 18,
  scales: (shape) => size(shape) / QK,
  decode: (codes, scales) => times(codes, 8, scales, QK),
  pack: (codes, scales) => packBlocks(codes, scales, 18, (block, out, at) => {
    for (let j = 0; j < 16; j++) out[at + j] = block[j]! | (block[j + 16]! << 4)
  }),
  unpack: (bytes, shape) => {
    const codes = new Uint8Array(size(shape))
    const scales = unpackBlocks(bytes, size(shape), 18, (at, start) => {
      for (let j = 0; j < 16; j++) {
        codes[start + j] = bytes[at + j]! & 15
        codes[start + j + 16] = bytes[at + j]! >> 4
      }
    })
    return { codes, scales }
  },
}

/** All codes as signed bytes, then an f32 scale for each row. */
const int8: Layout = {
  store: "int8", block: null, zero: 0, low: -128, high: 127, half: false,
  bytes: (shape) => size(shape) + 4 * rows(shape),
  scales: rows,
  decode: (codes, scales, shape) => times(codes, 0, scales, shape.at(-1) ?? 1),
  pack: (codes, scales) => joined(Uint8Array.from(codes, (code) => code & 0xff), scales),
  unpack: (bytes, shape) => ({ codes: Int8Array.from(bytes.subarray(0, size(shape))), scales: floats(bytes.subarray(size(shape))) }),
}

/** Codes of 2, 3 or 4 bits (-8 … 7), stored without sign one after the other, the first in the lowest bits; then an f32 scale for each group. */
function ints(bits: number, group: number): Layout {
  const zero = 1 << (bits - 1)
  const bytesOf = (n: number): number => bytesOfBits(n, bits)
  return {
    store: `int${bits}(group=${group})`, block: group, zero: 0, low: -zero, high: zero - 1, half: false,
    bytes: (shape) => bytesOf(size(shape)) + 4 * (size(shape) / group),
    scales: (shape) => size(shape) / group,
    decode: (codes, scales) => times(codes, 0, scales, group),
    pack: (codes, scales) => joined(packBits(codes, bits, zero), scales),
    unpack: (bytes, shape) => {
      const codes = Int8Array.from(unpackBits(bytes, size(shape), bits), (code) => code - zero)
      return { codes, scales: floats(bytes.subarray(bytesOf(codes.length))) }
    },
  }
}

// ---------------------------------------------------------------- tables

/** How an encoding with tables keeps its codes: `bits` for each, and tables of f32 or (`half`) f16. What a code stands for, its own `decode` says. */
export interface Tables {
  readonly bits: number
  readonly half: boolean
}

export function tablesOf(store: string): Tables | null {
  const [, bits, half] = /^kmeans\(bits=([1-8]),rows=[1-9]\d{0,6},half=(true|false)\)$/.exec(store) ?? []
  return bits === undefined ? null : { bits: Number(bits), half: half === "true" }
}

export const bytesOfBits = (count: number, bits: number): number => Math.ceil((count * bits) / 8)

/** Whole numbers of up to 8 bits, with `zero` added so that none is negative, one after the other, the first in the lowest bits. */
export function packBits(codes: Codes, bits: number, zero = 0): Uint8Array {
  const packed = new Uint8Array(bytesOfBits(codes.length, bits) + 1)
  for (let i = 0; i < codes.length; i++) {
    const at = i * bits
    const shifted = (codes[i]! + zero) << (at & 7)
    packed[at >> 3]! |= shifted & 255
    packed[(at >> 3) + 1]! |= shifted >> 8
  }
  return packed.slice(0, bytesOfBits(codes.length, bits))
}

export function unpackBits(bytes: Uint8Array, count: number, bits: number): Uint8Array {
  const codes = new Uint8Array(count)
  for (let i = 0; i < count; i++) {
    const at = i * bits
    codes[i] = ((bytes[at >> 3]! | ((bytes[(at >> 3) + 1] ?? 0) << 8)) >> (at & 7)) & ((1 << bits) - 1)
  }
  return codes
}

// ---------------------------------------------------------------- shared

function rows(shape: Shape): number {
  return size(shape.slice(0, -1))
}

/** (code - zero) * scale in f32; `run` elements share a scale. */
function times(codes: Codes, zero: number, scales: Float32Array, run: number): Float32Array {
  const values = new Float32Array(codes.length)
  for (let i = 0; i < codes.length; i++) values[i] = (codes[i]! - zero) * scales[Math.floor(i / run)]!
  return values
}

function packBlocks(codes: Codes, scales: Float32Array, bytes: number, write: (block: Codes, out: Uint8Array, at: number) => void): Uint8Array {
  const out = new Uint8Array(scales.length * bytes)
  for (let b = 0; b < scales.length; b++) {
    const half = toHalf(scales[b]!)
    out[b * bytes] = half & 0xff
    out[b * bytes + 1] = half >> 8
    write(codes.subarray(b * QK, (b + 1) * QK), out, b * bytes + 2)
  }
  return out
}

function unpackBlocks(bytes: Uint8Array, count: number, blockBytes: number, read: (at: number, start: number) => void): Float32Array {
  const scales = new Float32Array(count / QK)
  for (let b = 0; b < scales.length; b++) {
    scales[b] = fromHalf(bytes[b * blockBytes]! | (bytes[b * blockBytes + 1]! << 8))
    read(b * blockBytes + 2, b * QK)
  }
  return scales
}

function joined(codes: Uint8Array, scales: Float32Array): Uint8Array {
  const out = new Uint8Array(codes.length + 4 * scales.length)
  out.set(codes)
  const view = new DataView(out.buffer, codes.length)
  scales.forEach((scale, i) => view.setFloat32(4 * i, scale, true))
  return out
}

function floats(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Float32Array.from({ length: bytes.length >> 2 }, (_, i) => view.getFloat32(4 * i, true))
}
