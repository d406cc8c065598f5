/**
 * How an input's numbers lie in memory where that is narrower than its dtype. It changes nothing of what a program means: every number
 * is exactly one of the storage type, and is read as the dtype says.
 */
import { fromBrain, fromHalf, toBrain, toHalf } from "./half.ts"
import type { DType } from "./node.ts"

/** Floating point of 16 bits, and signed and unsigned whole numbers of 8 and 4 bits. */
export type StorageType = "f16" | "bf16" | "i8" | "u8" | "i4" | "u4"

interface Form {
  readonly bits: 16 | 8 | 4
  /** The whole numbers it holds; null for floating point. */
  readonly range: readonly [low: number, high: number] | null
  readonly pattern: (x: number) => number
  readonly value: (pattern: number) => number
}

const same = (x: number): number => x

const forms: { readonly [S in StorageType]: Form } = {
  f16: { bits: 16, range: null, pattern: toHalf, value: fromHalf },
  bf16: { bits: 16, range: null, pattern: toBrain, value: fromBrain },
  i8: { bits: 8, range: [-128, 127], pattern: (x) => x & 255, value: (p) => (p << 24) >> 24 },
  u8: { bits: 8, range: [0, 255], pattern: same, value: same },
  i4: { bits: 4, range: [-8, 7], pattern: (x) => x & 15, value: (p) => (p << 28) >> 28 },
  u4: { bits: 4, range: [0, 15], pattern: same, value: same },
}

/** Whether the type may hold numbers of a dtype: whole numbers those of both, floating point f32 alone. */
export function holds(stored: StorageType, dtype: DType): boolean {
  return dtype === "f32" || (dtype === "i32" && forms[stored].range !== null)
}

/** Bytes of n numbers: without a storage type as wide as the dtype. Numbers of 4 bits lie two in a byte, the first in the low half. */
export function bytesOfNumbers(n: number, dtype: DType, stored: StorageType | null): number {
  return stored === null ? n * (dtype === "bool" ? 1 : 4) : Math.ceil((n * forms[stored].bits) / 8)
}

/** The bytes of numbers that the type holds exactly, little-endian. */
export function packed(values: ArrayLike<number>, stored: StorageType): Uint8Array {
  const { bits, pattern } = forms[stored]
  const bytes = new Uint8Array(bytesOfNumbers(values.length, "f32", stored))
  for (let i = 0; i < values.length; i++) {
    const p = pattern(values[i] ?? 0)
    if (bits === 4) bytes[i >> 1] = (bytes[i >> 1] ?? 0) | (p << (4 * (i & 1)))
    else if (bits === 8) bytes[i] = p
    else {
      bytes[2 * i] = p & 255
      bytes[2 * i + 1] = p >> 8
    }
  }
  return bytes
}

/** The first n numbers of packed bytes. */
export function unpacked(bytes: Uint8Array, stored: StorageType, n: number): Float32Array {
  const { bits, value } = forms[stored]
  const values = new Float32Array(n)
  for (let i = 0; i < n; i++) {
    values[i] = value(bits === 4 ? ((bytes[i >> 1] ?? 0) >> (4 * (i & 1))) & 15 : bits === 8 ? bytes[i] ?? 0 : (bytes[2 * i] ?? 0) | ((bytes[2 * i + 1] ?? 0) << 8))
  }
  return values
}

/** The narrowest type that holds all of these numbers exactly (the sign of a zero aside); null where only f32 does. */
export function narrowest(values: ArrayLike<number>): StorageType | null {
  let [low, high, whole] = [0, 0, true]
  for (let i = 0; whole && i < values.length; i++) {
    const x = values[i] ?? 0
    whole = Number.isInteger(x)
    if (x < low) low = x
    if (x > high) high = x
  }
  const fitting = (["u4", "i4", "u8", "i8"] as const).find((stored) => low >= (forms[stored].range?.[0] ?? 0) && high <= (forms[stored].range?.[1] ?? 0))
  if (whole && fitting !== undefined) return fitting
  return (["f16", "bf16"] as const).find((stored) => everyExact(values, forms[stored])) ?? null
}

function everyExact(values: ArrayLike<number>, { pattern, value }: Form): boolean {
  for (let i = 0; i < values.length; i++) if (value(pattern(values[i] ?? 0)) !== values[i]) return false
  return true
}
