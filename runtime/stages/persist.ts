/** Artifacts as files and back. Rows that a model wrote are kept; others, and tokens, are made again, in seconds, when something needs them. */
import type { Session } from "../../compiler/check/session.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
import { storeOf } from "../../compiler/graph/lower/encoding.ts"
import { weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { loadTokenizer } from "../data/tokenizer-json.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { Files } from "../store/store.ts"
import type { Decoder, Weights } from "../weights.ts"
import { readWeights, writeWeights } from "../weights.ts"
import type { ArtifactData, Sample } from "./artifact.ts"
import { notesFiles, notesIn, packedFiles, packedIn } from "./persist-noted.ts"
import { rowsFromFiles, rowsToFiles } from "./persist-rows.ts"
import { decoderOf } from "./quantize.ts"

const utf8 = new TextEncoder()
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const json = (value: unknown): Uint8Array => utf8.encode(`${JSON.stringify(value, null, 2)}\n`)

/** The files that hold an artifact; null for what is not kept. */
export function toFiles(data: ArtifactData): Files | null {
  switch (data.is) {
    case "tokenizer": return new Map([["tokenizer.json", utf8.encode(data.tokenizer.json())]])
    case "weights": {
      const files = new Map<string, Uint8Array>()
      for (const [name, weights] of data.members) files.set(weightsFile(name), writeWeights(weights))
      if (data.tokenizer !== null) files.set("tokenizer.json", utf8.encode(data.tokenizer.json()))
      return files
    }
    case "report": return new Map([["report.json", json(Object.fromEntries([...data.values].map(([name, value]) => [name, Number.isFinite(value) ? value : String(value)])))]])
    case "samples": return new Map([["samples.json", json(data.samples)]])
    case "difficulty": return new Map([["difficulty.f64", new Uint8Array(data.values.buffer.slice(data.values.byteOffset, data.values.byteOffset + data.values.byteLength))]])
    case "rows": return rowsToFiles(data.members, data.reports)
    case "notes": return notesFiles(data)
    case "packed": {
      const rows = data.members.get("")
      return rows === undefined ? null : packedFiles(rows)
    }
    case "tokens": case "curriculum": case "files": return null
  }
}

const weightsFile = (member: string): string => (member === "" ? "weights.safetensors" : `weights.${member}.safetensors`)

/** The artifact of a stage from its files; null where they do not hold one. */
export function fromFiles(stage: Stage, files: Files, session: Session): ArtifactData | null {
  switch (stage.type.is) {
    case "tokenizer": {
      const tokenizer = tokenizerIn(files)
      return tokenizer === null ? null : { is: "tokenizer", tokenizer }
    }
    case "weights": case "roles": case "statistics": return weightsIn(stage, files, session)
    case "report": {
      const values = parsed(files, "report.json")
      return isRecord(values) ? { is: "report", values: new Map(Object.entries(values).map(([name, value]) => [name, Number(value)])) } : null
    }
    case "samples": {
      const samples = parsed(files, "samples.json")
      return Array.isArray(samples) && samples.every(isSample) ? { is: "samples", samples } : null
    }
    case "difficulty": {
      const bytes = files.get("difficulty.f64")
      return bytes === undefined || bytes.length % 8 !== 0 ? null : { is: "difficulty", values: new Float64Array(bytes.slice().buffer) }
    }
    case "rows": return rowsFromFiles(files)
    case "notes": return notesIn(files)
    case "tokens": return stage.kind === "continued" ? packedIn(files) : null
  }
}

function weightsIn(stage: Stage, files: Files, session: Session): ArtifactData | null {
  const members = new Map<string, Weights>()
  const encodings = stage.type.is === "weights" ? stage.type.encodings : []
  const decoderFor = (store: string): Decoder | null => {
    const own = knownStore(store) ? undefined : encodings.find((encoding) => storeOf(session, encoding) === store)
    return own === undefined ? null : decoderOf(session, own)
  }
  const types = stage.type.is === "roles" ? [...stage.type.roles].map(([role, { type }]) => [role, type] as const) : [["", stage.type] as const]
  for (const [name, type] of types) {
    const bytes = files.get(weightsFile(name))
    const weights = bytes === undefined ? null : readWeights(bytes, decoderFor)
    if (weights === null || !weights.ok || (type.is === "weights" && !fits(weights.value, type.spec, session))) return null
    members.set(name, weights.value)
  }
  return { is: "weights", members, tokenizer: tokenizerIn(files) }
}

/** Whether the weights of a specification are all there, each of its size. */
function fits({ tensors }: Weights, spec: SpecValue, session: Session): boolean {
  return weightsOfSpec(session, spec).every(({ path, shape }) => {
    const tensor = tensors.get(path)
    return tensor !== undefined && size(tensor.shape) === size(shape)
  })
}

/** Layouts that `runtime/weights.ts` decodes by itself. */
function knownStore(store: string): boolean {
  return /^(gguf\.q[48]_0|int8|int[234]\(group=\d+\))$/.test(store)
}

function tokenizerIn(files: Files): Tokenizer | null {
  const bytes = files.get("tokenizer.json")
  const loaded = bytes === undefined ? null : loadTokenizer(text(bytes))
  return loaded?.ok === true ? loaded.value : null
}

function parsed(files: Files, name: string): unknown {
  const bytes = files.get(name)
  if (bytes === undefined) return null
  try {
    return JSON.parse(text(bytes))
  } catch {
    return null
  }
}

function isRecord(x: unknown): x is Record<string, unknown> {
  return typeof x === "object" && x !== null && !Array.isArray(x)
}

function isSample(x: unknown): x is Sample {
  return isRecord(x) && typeof x["prompt"] === "string" && typeof x["text"] === "string" && typeof x["tokens"] === "number" && typeof x["end"] === "string"
}
