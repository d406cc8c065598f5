import type { Shape } from "../../compiler/graph/node.ts"

/** GGUF version 3: a header, typed key/value pairs, tensor infos, then tensor data at multiples of the alignment. */
export const MAGIC = 0x46554747 // "GGUF", little-endian
export const VERSION = 3
export const ALIGNMENT = 32

/** Numbers of the value types, as the format counts them. */
export const VALUE_TYPES = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"] as const
export type GgufScalar = Exclude<(typeof VALUE_TYPES)[number], "array">

export type GgufValue =
  | { readonly type: Exclude<GgufScalar, "string" | "bool">; readonly value: number }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "array"; readonly of: GgufScalar; readonly values: readonly (number | string | boolean)[] }

/** The tensor types slm reads and writes, with the encoding each is. */
export const TENSOR_TYPES: readonly { readonly id: number; readonly encoding: string; readonly block: number; readonly bytes: number }[] = [
  { id: 0, encoding: "f32", block: 1, bytes: 4 },
  { id: 1, encoding: "f16", block: 1, bytes: 2 },
  { id: 30, encoding: "bf16", block: 1, bytes: 2 },
  { id: 2, encoding: "gguf.q4_0", block: 32, bytes: 18 },
  { id: 8, encoding: "gguf.q8_0", block: 32, bytes: 34 },
]

/** A tensor as it stands in the file. `shape` is row-major as everywhere here; the file lists axes in the opposite order. */
export interface GgufTensor {
  readonly name: string
  readonly shape: Shape
  readonly encoding: string
  readonly bytes: Uint8Array
}

export interface GgufFile {
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly tensors: readonly GgufTensor[]
}

export function aligned(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment
}

export const u32 = (value: number): GgufValue => ({ type: "u32", value })
export const f32 = (value: number): GgufValue => ({ type: "f32", value })
export const text = (value: string): GgufValue => ({ type: "string", value })
export const bool = (value: boolean): GgufValue => ({ type: "bool", value })
export const list = (of: GgufScalar, values: readonly (number | string | boolean)[]): GgufValue => ({ type: "array", of, values })
