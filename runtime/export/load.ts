import * as fs from "node:fs"
import { join } from "node:path"
import type { Shape } from "../../compiler/graph/node.ts"
import { openRegular, readBoundedText } from "../open-file.ts"
import { stored } from "../weights.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { plainOf, textOf, textsOf } from "./foreign.ts"
import type { ForeignFormat } from "./foreign.ts"
import { checkForeign, fromForeign } from "./format.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Problem, Result } from "./problem.ts"
import { headerLength, parseHeader, readTensor } from "./safetensors.ts"
import type { TensorHeader } from "./safetensors.ts"

/** What a folder in Hugging Face's layout says of itself before any tensor is read. */
export interface FolderHeaders {
  readonly folder: string
  readonly config: Readonly<Record<string, unknown>>
  readonly tensors: ReadonlyMap<string, TensorHeader & { readonly file: string }>
}

/** Reads `config.json` and the headers of all safetensors files. */
export function readHeaders(folder: string): Result<FolderHeaders> {
  const config = readJson(folder, "config.json")
  if (!config.ok) return config
  const files = tensorFiles(folder)
  if (!files.ok) return files
  const tensors = new Map<string, TensorHeader & { readonly file: string }>()
  for (const file of files.value) {
    const header = fileHeader(folder, file)
    if (!header.ok) return header
    for (const tensor of header.value) {
      if (tensors.has(tensor.name)) return wrong(problem("SLM3208", `\`${tensor.name}\` stands in two files of the folder`))
      tensors.set(tensor.name, { ...tensor, file })
    }
  }
  return fine({ folder, config: config.value, tensors })
}

/** Everything that keeps the folder from being loaded as the weights expected; empty when `loadWeights` will succeed. */
export function checkFolder(headers: FolderHeaders, format: ForeignFormat, expected: ReadonlyMap<string, Shape>): readonly Problem[] {
  const files = format.blocks.get("files")
  const found = [...foreignNames(headers, format)].map(([name, { shape }]) => ({ name, shape }))
  return [...checkConfig(headers.config, format), ...checkForeign(format.name, format.maps, expected, found, textsOf(files, "ignore")), ...unread(headers)]
}

/** Reads the weights. `checkFolder` must have found nothing. */
export function loadWeights(headers: FolderHeaders, format: ForeignFormat, expected: ReadonlyMap<string, Shape>): Result<Weights> {
  const names = foreignNames(headers, format)
  return fromForeign(format.name, format.maps, expected, (name) => {
    const header = names.get(name)
    return header === undefined ? null : readOne(headers.folder, header)
  })
}

// ---------------------------------------------------------------- files

const LARGEST_JSON = 50_000_000

function readJson(folder: string, name: string): Result<Readonly<Record<string, unknown>>> {
  const path = join(folder, name)
  try {
    if (fs.statSync(path).size > LARGEST_JSON) return wrong(problem("SLM3215", `${name} is larger than any configuration`))
    const parsed: unknown = JSON.parse(readBoundedText(path, LARGEST_JSON))
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return fine(Object.fromEntries(Object.entries(parsed)))
    return wrong(problem("SLM3215", `${name} is not a JSON object`))
  } catch (thrown) {
    if (thrown instanceof SyntaxError || thrown instanceof RangeError || thrown instanceof TypeError) return wrong(problem("SLM3215", `${name} is not JSON`))
    return wrong(problem("SLM3215", `the folder has no readable ${name}`, { help: "give the folder that holds config.json and model.safetensors" }))
  }
}

/** `model.safetensors`, or the files that its index names. */
function tensorFiles(folder: string): Result<readonly string[]> {
  if (fs.existsSync(join(folder, "model.safetensors"))) return fine(["model.safetensors"])
  if (!fs.existsSync(join(folder, "model.safetensors.index.json"))) {
    return wrong(problem("SLM3215", "the folder has no model.safetensors", { help: "weights in other files (.bin, .pt, .h5) run code when they are opened; convert them to safetensors" }))
  }
  const index = readJson(folder, "model.safetensors.index.json")
  if (!index.ok) return index
  const map = index.value["weight_map"]
  const files = typeof map === "object" && map !== null ? [...new Set(Object.values(map) as unknown[])] : []
  const names = files.filter((file) => typeof file === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$/.test(file)).map(String)
  if (names.length === 0 || names.length !== files.length) return wrong(problem("SLM3215", "model.safetensors.index.json does not name files of this folder"))
  return fine(names.sort())
}

function fileHeader(folder: string, file: string): Result<readonly TensorHeader[]> {
  return withFile(folder, file, (handle, size) => {
    const length = headerLength(readAt(handle, 0, Math.min(8, size)), size)
    if (!length.ok) return length
    const header = parseHeader(readAt(handle, 0, 8 + length.value), size)
    return header.ok ? fine(header.value.tensors) : header
  })
}

function readOne(folder: string, header: TensorHeader & { readonly file: string }): StoredTensor {
  const read = withFile(folder, header.file, (handle) => fine(readTensor(header, readAt(handle, header.start, header.end - header.start))))
  const encoding = ENCODINGS.get(header.dtype)
  if (!read.ok || read.value === null || encoding === undefined) throw new Error(`load: ${header.name} was not checked before it was read`)
  return stored(header.shape, encoding, new Map([["values", read.value.data]]))
}

const ENCODINGS: ReadonlyMap<string, string> = new Map([["F32", "f32"], ["F16", "f16"], ["BF16", "bf16"]])

function withFile<T>(folder: string, file: string, use: (handle: number, size: number) => Result<T>): Result<T> {
  let handle: number
  try {
    handle = openRegular(join(folder, file))
  } catch {
    return wrong(problem("SLM3215", `${file} is missing or cannot be read`))
  }
  try {
    return use(handle, fs.fstatSync(handle).size)
  } finally {
    fs.closeSync(handle)
  }
}

function readAt(handle: number, start: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let got = 0
  while (got < length) {
    const count = fs.readSync(handle, bytes, got, length - got, start + got)
    if (count === 0) return bytes.subarray(0, got)
    got += count
  }
  return bytes
}

// ---------------------------------------------------------------- what they say

/**
 * The tensors of the folder under the names of the format. A folder saved from the inner model leaves out the outer prefix
 * (`files { optional_prefix: "transformer." }`).
 */
function foreignNames(headers: FolderHeaders, format: ForeignFormat): ReadonlyMap<string, TensorHeader & { readonly file: string }> {
  const prefix = textOf(format.blocks.get("files"), "optional_prefix")
  if (prefix === null || [...headers.tensors.keys()].some((name) => name.startsWith(prefix))) return headers.tensors
  const wanted = new Set(format.maps.map(({ theirs }) => theirs))
  return new Map([...headers.tensors].map(([name, header]) => [wanted.has(name) ? name : prefix + name, header]))
}

function unread(headers: FolderHeaders): readonly Problem[] {
  return [...headers.tensors.values()].filter(({ dtype }) => !ENCODINGS.has(dtype)).slice(0, 1).map(({ name, dtype }) => problem("SLM3208", `\`${name}\` has type ${dtype}; slm loads F32, F16 and BF16`))
}

/** What the format's `config` says of the model against the folder's `config.json`; fields that the folder leaves out are not compared. */
function checkConfig(config: Readonly<Record<string, unknown>>, format: ForeignFormat): readonly Problem[] {
  const problems: Problem[] = []
  const loose = new Set(textsOf(format.blocks.get("files"), "loose"))
  for (const [name, value] of format.blocks.get("config") ?? []) {
    const theirs = config[name]
    if (theirs === undefined || theirs === null || loose.has(name) || value.is === "none") continue
    const ours = plainOf(value)
    if (JSON.stringify(ours) === JSON.stringify(theirs)) continue
    problems.push(problem("SLM3216", `config.json has \`${name}\` ${JSON.stringify(theirs)}, and the model ${JSON.stringify(ours)}`, { help: `make the model compute what the file's did, or choose another format than ${format.name}` }))
  }
  return problems
}
