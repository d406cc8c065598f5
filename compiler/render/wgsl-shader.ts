/** A shader under construction: its buffers in order of use, the memory its workgroup shares, and its text. */
import type { Buffer } from "../kernel/ir.ts"
import type { StorageType } from "../graph/stored.ts"
import type { GpuTarget } from "../schedule/gpu-plans.ts"
import { preludeFor } from "./wgsl-prelude.ts"
import type { Memory } from "./wgsl-expr.ts"
import { fromWord, toWord } from "./wgsl-expr.ts"

/** Words before the offsets of buffers: number of workgroups, turn of the loop, number of points. */
const head = 4

/** Buffers as a shader meets them: each has an offset among its parameters and lies in one of the parts that are bound. */
export interface Bound extends Memory {
  readonly buffers: readonly Buffer[]
  /** Parts of the arena in the order of their bindings. */
  readonly parts: readonly number[]
  /** The word of a place (i32). */
  word(buffer: Buffer, place: string): string
}

export function bindBuffers(partOf: (buffer: Buffer) => number): Bound {
  const buffers: Buffer[] = []
  const parts: number[] = []
  const word = (buffer: Buffer, place: string): string => at(buffer, `u32(${place})`)
  const at = (buffer: Buffer, place: string): string => {
    if (!buffers.includes(buffer)) buffers.push(buffer)
    const part = partOf(buffer)
    if (!parts.includes(part)) parts.push(part)
    const slot = head + buffers.indexOf(buffer)
    return `memory${parts.indexOf(part)}[params[${slot >> 2}][${slot & 3}] + ${place}]`
  }
  return {
    buffers, parts, word,
    load: (buffer, place) => (buffer.stored === null ? fromWord[buffer.dtype](word(buffer, place)) : widened(buffer, buffer.stored, place, at)),
    store: (buffer, place, value) => `${word(buffer, place)} = ${toWord[buffer.dtype](value)};`,
  }
}

/** A number in narrower storage, as wide as its dtype. */
function widened(buffer: Buffer, stored: StorageType, place: string, at: (buffer: Buffer, place: string) => string): string {
  const bits = stored === "f16" || stored === "bf16" ? 16 : stored === "i8" || stored === "u8" ? 8 : 4
  const perWord = 32 / bits
  const shift = `(u32(${place}) % ${perWord}u) * ${bits}u`
  const word = at(buffer, `u32(${place}) / ${perWord}u`)
  if (stored === "f16") return `unpack2x16float(${word} >> (${shift})).x`
  if (stored === "bf16") return `bitcast<f32>((${word} >> (${shift})) << 16u)`
  const field = stored === "i8" || stored === "i4" ? `extractBits(bitcast<i32>(${word}), ${shift}, ${bits}u)` : `i32(extractBits(${word}, ${shift}, ${bits}u))`
  return buffer.dtype === "f32" ? `f32(${field})` : field
}

export const turnText = "i32(params[0].y)"
export const countText = "i32(params[0].z)"

export interface ShaderBody {
  readonly threads: number
  /** Declarations and functions before `main`. */
  readonly outside: readonly string[]
  readonly lines: readonly string[]
}

/** Words of the parameters of a shader with so many buffers. */
export const paramWords = (buffers: number): number => 4 * Math.ceil((head + buffers) / 4)

/** The whole text. In `main`: `group` (this workgroup), `lid` (this thread in it). */
export function shaderText({ threads, outside, lines }: ShaderBody, bound: Bound, target: GpuTarget): string {
  const body = [...outside, ...lines].join("\n")
  const lanes = target.subgroups && /\bsubgroup/.test(body)
  const builtins = ["@builtin(workgroup_id) workgroup: vec3<u32>", "@builtin(local_invocation_index) local: u32", ...(lanes ? ["@builtin(subgroup_size) subgroup_size: u32", "@builtin(subgroup_invocation_id) subgroup_lane: u32"] : [])]
  const enabled = [...(/\bf16\b/.test(body) ? ["enable f16;\n"] : []), ...(lanes ? ["enable subgroups;\n"] : [])].join("")
  return `${enabled}@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${paramWords(bound.buffers.length) / 4}>;
${bound.parts.map((_, i) => `@group(0) @binding(${i + 1}) var<storage, read_write> memory${i}: array<u32>;\n`).join("")}${preludeFor(body)}${outside.map((line) => `${line}\n`).join("")}@compute @workgroup_size(${threads})
fn main(${builtins.join(", ")}) {
  let group = i32(workgroup.x + workgroup.y * 65535u);
  let lid = i32(local);
  if (group >= i32(params[0].x)) { return; }
${lines.join("\n")}
}
`
}
