import { size } from "../../compiler/graph/node.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Problem, Result } from "./problem.ts"

/** Plain numbers in host memory. `Uint16Array` also carries f16 and bf16 bit patterns. */
export type TensorData = Float32Array | Uint16Array | Int8Array | Uint8Array | Int32Array
export type FileDType = "F32" | "F16" | "BF16" | "U16" | "I8" | "U8" | "I32"

export interface FileTensor {
  readonly name: string
  readonly dtype: FileDType
  readonly shape: Shape
  readonly data: TensorData
}

/** Where a tensor stands in a file; offsets count from the start of the file. */
export interface TensorHeader {
  readonly name: string
  readonly dtype: string // as written: other writers know more types
  readonly shape: Shape
  readonly start: number
  readonly end: number
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: readonly TensorHeader[]
}

export interface SafetensorsFile {
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: readonly FileTensor[]
}

/** Bytes per element of every type the format names. */
const WIDTHS: ReadonlyMap<string, number> = new Map([
  ["F64", 8], ["F32", 4], ["F16", 2], ["BF16", 2], ["I64", 8], ["I32", 4], ["I16", 2], ["I8", 1], ["U64", 8], ["U32", 4], ["U16", 2], ["U8", 1],
  ["BOOL", 1], ["F8_E4M3", 1], ["F8_E5M2", 1],
])
const LARGEST_HEADER = 100_000_000 // the limit of the format's own reader

/** A whole file. The header is padded with blanks so that data starts at a multiple of 8. */
export function writeSafetensors(tensors: readonly FileTensor[], metadata: ReadonlyMap<string, string> = new Map()): Uint8Array {
  // Wide elements first, as the format's own writer does, so that every tensor is aligned to its width.
  const ordered = [...tensors].sort((a, b) => WIDTHS.get(b.dtype)! - WIDTHS.get(a.dtype)! || (a.name < b.name ? -1 : 1))
  const entries: [string, unknown][] = metadata.size > 0 ? [["__metadata__", Object.fromEntries(metadata)]] : []
  let offset = 0
  for (const { name, dtype, shape, data } of ordered) {
    if (data.length !== size(shape)) throw new Error(`safetensors: ${name} has ${data.length} numbers for [${shape.join(", ")}]`)
    entries.push([name, { dtype, shape, data_offsets: [offset, offset + data.byteLength] }])
    offset += data.byteLength
  }
  if (new Set(entries.map(([name]) => name)).size !== entries.length) throw new Error("safetensors: two tensors of one name")
  const text = new TextEncoder().encode(`{${entries.map(([name, of]) => `${JSON.stringify(name)}:${JSON.stringify(of)}`).join(",")}}`)
  const header = Math.ceil(text.length / 8) * 8
  const out = new Uint8Array(8 + header + offset)
  new DataView(out.buffer).setBigUint64(0, BigInt(header), true)
  out.set(text, 8)
  out.fill(0x20, 8 + text.length, 8 + header)
  let at = 8 + header
  for (const { data } of ordered) {
    out.set(littleEndian(data), at)
    at += data.byteLength
  }
  return out
}

/**
 * Reads the header of a file of `fileSize` bytes of which `bytes` is the beginning. Nothing in it is believed: lengths, types,
 * bounds and overlaps are checked.
 */
export function parseHeader(bytes: Uint8Array, fileSize: number): Result<SafetensorsHeader> {
  const length = headerLength(bytes, fileSize)
  if (!length.ok) return length
  if (bytes.length < 8 + length.value) return wrong(damaged("the header is cut short"))
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length.value)))
  } catch {
    return wrong(damaged("the header is not JSON"))
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return wrong(damaged("the header is not an object"))
  const metadata = new Map<string, string>()
  const tensors: TensorHeader[] = []
  for (const [name, of] of Object.entries(parsed) as [string, unknown][]) {
    if (name === "__metadata__") {
      if (typeof of !== "object" || of === null) return wrong(damaged("the metadata is not an object"))
      for (const [key, value] of Object.entries(of) as [string, unknown][]) {
        if (typeof value !== "string") return wrong(damaged(`metadata \`${key}\` is not a text`))
        metadata.set(key, value)
      }
      continue
    }
    const tensor = tensorHeader(name, of, 8 + length.value)
    if (typeof tensor === "string") return wrong(damaged(tensor))
    tensors.push(tensor)
  }
  const gap = misplaced(tensors, 8 + length.value, fileSize)
  return gap === null ? fine({ metadata, tensors }) : wrong(damaged(gap))
}

/** Length of the JSON header, from the first 8 bytes. */
export function headerLength(bytes: Uint8Array, fileSize: number): Result<number> {
  if (bytes.length < 8) return wrong(damaged("it is shorter than 8 bytes"))
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(LARGEST_HEADER)) return wrong(damaged(`it announces a header of ${length} bytes`))
  if (8 + Number(length) > fileSize) return wrong(damaged(`it announces a header of ${length} bytes and has ${fileSize} in all`))
  return fine(Number(length))
}

function tensorHeader(name: string, of: unknown, base: number): TensorHeader | string {
  if (typeof of !== "object" || of === null || !("dtype" in of) || !("shape" in of) || !("data_offsets" in of)) return `\`${name}\` has no type, shape or place`
  const { dtype, shape, data_offsets: place } = of
  if (typeof dtype !== "string" || !WIDTHS.has(dtype)) return `\`${name}\` has the unknown type ${JSON.stringify(dtype)}`
  if (!isSizes(shape)) return `\`${name}\` has the shape ${JSON.stringify(shape)}`
  if (!isSizes(place) || place.length !== 2) return `\`${name}\` has no place`
  const [start, end] = [place[0]!, place[1]!]
  const bytes = shape.reduce((n, d) => n * d, WIDTHS.get(dtype)!)
  if (!Number.isSafeInteger(bytes)) return `\`${name}\` has the shape ${JSON.stringify(shape)}`
  if (end - start !== bytes) return `\`${name}\` takes ${end - start} bytes where ${dtype} [${shape.join(", ")}] takes ${bytes}`
  return { name, dtype, shape, start: base + start, end: base + end }
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 16 && value.every((n) => typeof n === "number" && Number.isSafeInteger(n) && n >= 0)
}

/** Tensors must fill the file from `base` to its end without gap or overlap. */
function misplaced(tensors: readonly TensorHeader[], base: number, fileSize: number): string | null {
  let at = base
  for (const { name, start, end } of [...tensors].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (start < at) return `\`${name}\` overlaps another tensor`
    if (start > at) return `there is a gap before \`${name}\``
    at = end
  }
  if (at > fileSize) return `its tensors take ${at} bytes and the file has ${fileSize}`
  return at < fileSize ? `there are ${fileSize - at} bytes after its last tensor` : null
}

/** Reads a whole file. Tensors of types that slm does not compute with are a problem. */
export function parseSafetensors(bytes: Uint8Array): Result<SafetensorsFile> {
  const header = parseHeader(bytes, bytes.length)
  if (!header.ok) return header
  const tensors: FileTensor[] = []
  for (const entry of header.value.tensors) {
    const tensor = readTensor(entry, bytes.subarray(entry.start, entry.end))
    if (tensor === null) return wrong(problem("SLM3208", `\`${entry.name}\` has type ${entry.dtype}, which slm does not read`))
    tensors.push(tensor)
  }
  return fine({ metadata: header.value.metadata, tensors })
}

/** One tensor from its bytes; null for a type slm does not read. */
export function readTensor({ name, dtype, shape }: TensorHeader, bytes: Uint8Array): FileTensor | null {
  const own = new Uint8Array(bytes).buffer // a copy is aligned, and a Buffer has no slice of its own
  switch (dtype) {
    case "F32": return { name, dtype, shape, data: swapped(new Float32Array(own)) }
    case "F16": case "BF16": case "U16": return { name, dtype, shape, data: swapped(new Uint16Array(own)) }
    case "I32": return { name, dtype, shape, data: swapped(new Int32Array(own)) }
    case "I8": return { name, dtype, shape, data: new Int8Array(own) }
    case "U8": return { name, dtype, shape, data: new Uint8Array(own) }
    default: return null
  }
}

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/** The bytes of a tensor in file order. */
export function littleEndian(data: TensorData): Uint8Array {
  const copy = LITTLE ? data : swapped(data.slice())
  return new Uint8Array(copy.buffer, copy.byteOffset, copy.byteLength)
}

/** Reverses the bytes of each element in place on machines that keep the high byte first. */
function swapped<T extends TensorData>(data: T): T {
  if (LITTLE || data.BYTES_PER_ELEMENT === 1) return data
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  for (let i = 0; i < bytes.length; i += data.BYTES_PER_ELEMENT) bytes.subarray(i, i + data.BYTES_PER_ELEMENT).reverse()
  return data
}

function damaged(what: string): Problem {
  return problem("SLM3208", `this is not a safetensors file: ${what}`)
}
