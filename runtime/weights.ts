import { createBuilder } from "../compiler/graph/builder.ts"
import { size } from "../compiler/graph/node.ts"
import type { Node, NodeOf, Program, Shape } from "../compiler/graph/node.ts"
import * as g from "../compiler/graph/ops.ts"
import { fromBrains, fromHalves, toHalf } from "../compiler/graph/half.ts"
import { bytesOfBits, layoutOf, packBits, tablesOf, unpackBits } from "./export/layouts.ts"
import { fine, problem, wrong } from "./export/problem.ts"
import type { Result } from "./export/problem.ts"
import { parseSafetensors, writeSafetensors } from "./export/safetensors.ts"
import type { FileTensor, TensorData } from "./export/safetensors.ts"

/** The weights of a specification, by path: `blocks[2].attn.q.weight`. */
export interface Weights {
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/**
 * One weight: its logical shape, how it is encoded, and the buffers that hold it.
 * `f32` has `values` (Float32Array); `f16` and `bf16` have `values` (Uint16Array of bit patterns); every other encoding
 * has the named tensors its `encode` yields, as a rule `codes` and `scales`.
 */
export interface StoredTensor {
  readonly shape: Shape
  readonly encoding: string // `f32`, `f16`, `bf16`, `gguf.q8_0`, `gguf.q4_0`, `int8`, `int4(group=32)`, or a name of the recipe's own
  readonly buffers: ReadonlyMap<string, TensorData>
  /** The values the codes stand for, row-major: what every use of the weight sees. */
  decoded(): Float32Array
  /** The program that makes these values (`w`) of the buffers, its inputs, as f32; null for plain f32. */
  decoding(): Program | null
}

/** A tensor without the means to read it. */
export type Encoded = Pick<StoredTensor, "shape" | "encoding" | "buffers">

/** Reads an encoding. */
export interface Decoder {
  values(tensor: Encoded): Float32Array
  program(tensor: Encoded): Program | null
}

export function plain(shape: Shape, values: Float32Array): StoredTensor {
  return stored(shape, "f32", new Map([["values", values]]))
}

/** A tensor over existing buffers. `decoder` is needed where the encoding is not one of the table in `export/layouts.ts`. */
export function stored(shape: Shape, encoding: string, buffers: ReadonlyMap<string, TensorData>, decoder: Decoder = knownDecoder): StoredTensor {
  const bare = { shape, encoding, buffers }
  return { ...bare, decoded: () => decoder.values(bare), decoding: () => decoder.program(bare) }
}

const knownDecoder: Decoder = { values: decodeKnown, program: programOfKnown }

function decodeKnown(tensor: Encoded): Float32Array {
  const values = tensor.buffers.get("values")
  if (tensor.encoding === "f32" && values instanceof Float32Array) return values
  if (tensor.encoding === "f16" && values instanceof Uint16Array) return fromHalves(values)
  if (tensor.encoding === "bf16" && values instanceof Uint16Array) return fromBrains(values)
  const layout = layoutOf(tensor.encoding)
  const codes = tensor.buffers.get("codes")
  const scales = tensor.buffers.get("scales")
  if (layout === null || codes === undefined || !(scales instanceof Float32Array)) throw new Error(`weights: nothing decodes ${tensor.encoding}`)
  return layout.decode(codes, scales, tensor.shape)
}

/** The same in ops: (codes - zero) * scale, a scale for each run of a row; numbers of 16 bits as they are. */
function programOfKnown({ encoding, shape }: Encoded): Program | null {
  const layout = layoutOf(encoding)
  const b = createBuilder()
  const program = (inputs: readonly NodeOf<"input">[], node: Node): Program => ({ name: `decode ${encoding}`, inputs, outputs: [{ name: "w", node }] })
  if (encoding === "f16" || encoding === "bf16") {
    const values = b.input("values", "batch", "f32", shape)
    return program([values], values)
  }
  if (layout === null) return null
  const run = layout.block ?? shape.at(-1) ?? 1
  const runs = size(shape) / run
  const [codes, scales] = [b.input("codes", "batch", "f32", [runs, run]), b.input("scales", "batch", "f32", [runs, 1])]
  const whole = layout.zero === 0 ? codes : g.sub(b, codes, layout.zero)
  return program([codes, scales], g.reshape(b, g.mul(b, whole, scales), shape))
}

/** Whether the tensor is held as plain numbers, one per element. */
export function isPlain(tensor: StoredTensor): boolean {
  return tensor.encoding === "f32" || tensor.encoding === "f16" || tensor.encoding === "bf16"
}

/** Bytes the tensor takes in the exact layout of its encoding. */
export function storedBytes(tensor: StoredTensor): number {
  const layout = layoutOf(tensor.encoding)
  if (layout !== null) return layout.bytes(tensor.shape)
  const tables = tablesOf(tensor.encoding)
  if (tables !== null) return bytesOfBits(size(tensor.shape), tables.bits) + (tables.half ? 2 : 4) * (tensor.buffers.get("scales")?.length ?? 0)
  let bytes = 0
  for (const buffer of tensor.buffers.values()) bytes += buffer.byteLength
  return bytes
}

// ---------------------------------------------------------------- as a file

const VERSION = "slm weights 1"

/** The artifact form: a safetensors container with one entry per buffer; what it means stands in the metadata. Bit-exact. */
export function writeWeights(weights: Weights): Uint8Array {
  const entries: FileTensor[] = []
  const meaning: Record<string, { encoding: string; shape: Shape; buffers: string[] }> = {}
  for (const [path, tensor] of weights.tensors) {
    meaning[path] = { encoding: tensor.encoding, shape: tensor.shape, buffers: [...tensor.buffers.keys()] }
    for (const [name, data] of tensor.buffers) entries.push(fileTensor(path, name, tensor, packed(tensor, name, data)))
  }
  return writeSafetensors(entries, new Map([["format", VERSION], ["weights", JSON.stringify(meaning)]]))
}

/** Codes and f16 tables of encodings with tables take their exact room. */
function packed({ encoding }: Encoded, name: string, data: TensorData): TensorData {
  const tables = tablesOf(encoding)
  if (tables === null) return data
  if (name === "codes") return packBits(data, tables.bits)
  return name === "scales" && tables.half ? Uint16Array.from(data, toHalf) : data
}

function unpacked(encoding: string, name: string, shape: Shape, data: TensorData): TensorData {
  const tables = tablesOf(encoding)
  if (tables === null) return data
  if (name === "codes" && data instanceof Uint8Array && data.length === bytesOfBits(size(shape), tables.bits)) return unpackBits(data, size(shape), tables.bits)
  return name === "scales" && tables.half && data instanceof Uint16Array ? fromHalves(data) : data
}

function fileTensor(path: string, name: string, tensor: StoredTensor, data: TensorData): FileTensor {
  const half = tensor.encoding === "f16" ? "F16" : tensor.encoding === "bf16" ? "BF16" : null
  const shape = isPlain(tensor) ? tensor.shape : [data.length]
  return { name: `${path}#${name}`, dtype: half ?? dtypeOf(data), shape, data }
}

function dtypeOf(data: TensorData): FileTensor["dtype"] {
  if (data instanceof Float32Array) return "F32"
  if (data instanceof Int8Array) return "I8"
  if (data instanceof Uint8Array) return "U8"
  if (data instanceof Int32Array) return "I32"
  return "U16"
}

/** Reads what `writeWeights` wrote. `decoder` yields the decoder of an encoding that only the recipe knows. */
export function readWeights(bytes: Uint8Array, decoder: (encoding: string) => Decoder | null = () => null): Result<Weights> {
  const file = parseSafetensors(bytes)
  if (!file.ok) return file
  if (file.value.metadata.get("format") !== VERSION) return wrong(problem("SLM3208", "this is not a file of weights written by slm"))
  const entries = new Map(file.value.tensors.map((tensor) => [tensor.name, tensor]))
  const meaning = parseMeaning(file.value.metadata.get("weights") ?? "")
  if (meaning === null) return wrong(problem("SLM3208", "the description of the weights is damaged"))
  const tensors = new Map<string, StoredTensor>()
  for (const [path, { encoding, shape, buffers }] of meaning) {
    const found = new Map<string, TensorData>()
    for (const name of buffers) {
      const entry = entries.get(`${path}#${name}`)
      if (entry === undefined) return wrong(problem("SLM3208", `\`${path}\` lacks its ${name}`))
      found.set(name, unpacked(encoding, name, shape, entry.data))
    }
    const known = checkBuffers(encoding, shape, found)
    if (!known) return wrong(problem("SLM3208", `the buffers of \`${path}\` do not fit its shape ${JSON.stringify(shape)} in ${encoding}`))
    tensors.set(path, stored(shape, encoding, found, decoder(encoding) ?? knownDecoder))
  }
  return fine({ tensors })
}

function checkBuffers(encoding: string, shape: Shape, buffers: ReadonlyMap<string, TensorData>): boolean {
  const values = buffers.get("values")
  if (encoding === "f32") return values instanceof Float32Array && values.length === size(shape)
  if (encoding === "f16" || encoding === "bf16") return values instanceof Uint16Array && values.length === size(shape)
  const layout = layoutOf(encoding)
  if (layout === null) return buffers.size > 0
  const codes = buffers.get("codes")
  const scales = buffers.get("scales")
  return codes?.length === size(shape) && scales instanceof Float32Array && scales.length === layout.scales(shape)
}

type Meaning = readonly (readonly [string, { readonly encoding: string; readonly shape: Shape; readonly buffers: readonly string[] }])[]

function parseMeaning(text: string): Meaning | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof parsed !== "object" || parsed === null) return null
  const found = Object.entries(parsed).map(([path, of]: [string, unknown]) => [path, entryOf(of)] as const)
  return found.every((pair): pair is Meaning[number] => pair[1] !== null) ? found : null
}

function entryOf(of: unknown): Meaning[number][1] | null {
  if (typeof of !== "object" || of === null || !("encoding" in of) || !("shape" in of) || !("buffers" in of)) return null
  const { encoding, shape, buffers } = of
  if (typeof encoding !== "string" || !Array.isArray(shape) || !Array.isArray(buffers)) return null
  if (!shape.every((n) => Number.isSafeInteger(n) && n >= 0) || !buffers.every((b) => typeof b === "string")) return null
  return { encoding, shape: shape.map(Number), buffers: buffers.map(String) }
}
