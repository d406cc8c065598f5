import { isPlain } from "../weights.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { textOf } from "./foreign.ts"
import type { Fields, Floats, ForeignFormat, Metadata } from "./foreign.ts"
import { toForeign } from "./format.ts"
import type { NamedTensor } from "./format.ts"
import { bool, f32, list, text, u32 } from "./gguf.ts"
import type { GgufTensor, GgufValue } from "./gguf.ts"
import { writeGguf } from "./gguf-write.ts"
import { brains, halves } from "../../compiler/graph/half.ts"
import { layoutOf } from "./layouts.ts"
import { all, fine, problem, wrong } from "./problem.ts"
import type { Result } from "./problem.ts"
import { littleEndian } from "./safetensors.ts"
import { ggufVocabulary } from "./vocabulary.ts"
import type { ExportTokenizer } from "./vocabulary.ts"

export interface GgufOptions {
  /** What people see: the recipe's name of the weights. */
  readonly name: string
  /** How matrices that are not quantised are written; vectors stay f32. */
  readonly floats: Floats
}

/** `general.file_type`, by the encoding of most matrices. */
const FILE_TYPES: ReadonlyMap<string, number> = new Map([["f32", 0], ["f16", 1], ["gguf.q4_0", 2], ["gguf.q8_0", 7], ["bf16", 32]])

/** The bytes of a GGUF file: weights under llama.cpp's names, the model's sizes, its tokenizer and chat template. */
export function exportGguf(weights: Weights, format: ForeignFormat, tokenizer: ExportTokenizer, options: GgufOptions): Result<Uint8Array> {
  const named = toForeign(format.name, format.maps, weights)
  if (!named.ok) return named
  const tensors = all(named.value.map((entry) => ggufTensor(entry, options.floats)))
  if (!tensors.ok) return tensors
  const fields = format.blocks.get("gguf")
  const architecture = textOf(fields, "architecture")
  if (fields === undefined || architecture === null) return wrong(problem("SLM3218", `format ${format.name} has no block \`gguf\` with an \`architecture\``))
  const sizes = flattened(`${architecture}.`, fields)
  if (!sizes.ok) return sizes
  const rows = named.value.find(({ name }) => name === "token_embd.weight")?.tensor.shape[0] ?? 0
  const vocabulary = ggufVocabulary(tokenizer, rows)
  if (!vocabulary.ok) return vocabulary
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ["general.type", text("model")],
    ["general.name", text(options.name)],
    ["general.file_type", u32(fileType(tensors.value))],
    ["general.quantization_version", u32(2)],
    ...sizes.value,
    ...vocabulary.value,
  ])
  return fine(writeGguf({ metadata, tensors: tensors.value }))
}

/** The tensor in the exact bytes of the file; quantised codes go over as they are. */
function ggufTensor({ name, tensor }: NamedTensor, floats: Floats): Result<GgufTensor> {
  if (isPlain(tensor)) {
    const encoding = tensor.shape.length < 2 ? "f32" : floats
    return fine({ name, shape: tensor.shape, encoding, bytes: floatBytes(tensor, encoding) })
  }
  const layout = layoutOf(tensor.encoding)
  const codes = tensor.buffers.get("codes")
  const scales = tensor.buffers.get("scales")
  if (layout === null || !tensor.encoding.startsWith("gguf.") || codes === undefined || !(scales instanceof Float32Array)) {
    return wrong(problem("SLM3211", `\`${name}\` is stored as ${tensor.encoding}, which GGUF does not know`, {
      notes: ["exporters never quantise again: what was evaluated is what is shipped."],
      help: "quantise with `format: q8_0` or `format: q4_0`, or export to safetensors",
    }))
  }
  return fine({ name, shape: tensor.shape, encoding: tensor.encoding, bytes: layout.pack(codes, scales, tensor.shape) })
}

/** A plain tensor as floats of the type asked for, in file order. */
export function floatBytes(tensor: StoredTensor, floats: Floats): Uint8Array {
  const values = tensor.buffers.get("values")
  if (tensor.encoding === floats && values !== undefined) return littleEndian(values)
  const decoded = tensor.decoded()
  return littleEndian(floats === "f32" ? decoded : floats === "f16" ? halves(decoded) : brains(decoded))
}

function fileType(tensors: readonly GgufTensor[]): number {
  const sizes = new Map<string, number>()
  for (const { shape, encoding, bytes } of tensors) if (shape.length >= 2) sizes.set(encoding, (sizes.get(encoding) ?? 0) + bytes.length)
  const [most] = [...sizes].sort((a, b) => b[1] - a[1])
  return FILE_TYPES.get(most?.[0] ?? "f32") ?? 0
}

/** Nested records become dotted keys: `attention: { head_count: 4 }` is `llama.attention.head_count`. */
function flattened(prefix: string, fields: Fields): Result<readonly (readonly [string, GgufValue])[]> {
  const parts = [...fields].filter(([name]) => name !== "architecture").map(([name, value]) => {
    if (value.is === "record") return flattened(`${prefix}${name}.`, value.fields)
    if (value.is === "none") return fine([])
    const written = ggufValue(value)
    if (written !== null) return fine([[prefix + name, written] as const])
    return wrong(problem("SLM3218", `\`${prefix}${name}\` is not a number, text, truth value or list of one of these`))
  })
  const joined = all(parts)
  return joined.ok ? fine(joined.value.flat()) : joined
}

function ggufValue(value: Metadata): GgufValue | null {
  switch (value.is) {
    case "int": return value.value < 0 ? { type: "i32", value: value.value } : u32(value.value)
    case "float": return f32(value.value)
    case "string": return text(value.value)
    case "bool": return bool(value.value)
    case "list": return ggufList(value.items)
    default: return null
  }
}

function ggufList(items: readonly Metadata[]): GgufValue | null {
  const [first] = items
  if (first === undefined || !items.every((item) => item.is === first.is)) return null
  const values = items.flatMap((item) => (item.is === "int" || item.is === "float" || item.is === "string" || item.is === "bool" ? [item.value] : []))
  if (values.length !== items.length) return null
  return list(first.is === "int" ? "i32" : first.is === "float" ? "f32" : first.is === "string" ? "string" : "bool", values)
}
