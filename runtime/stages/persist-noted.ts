/** Rows that a model wrote, and notes on rows, as files and back. */
import type { NotedTensor, NoteStorage } from "../data/beside.ts"
import { noteBytes } from "../data/beside.ts"
import type { TokenSet } from "../data/encode.ts"
import type { Numbers, PackedRows } from "../data/pack.ts"
import { pack } from "../data/pack.ts"
import type { Files } from "../store/store.ts"
import type { ArtifactData, DataOf } from "./artifact.ts"
import { whole } from "./artifact.ts"

const utf8 = new TextEncoder()

function raw(numbers: Numbers | Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(numbers.buffer.slice(numbers.byteOffset, numbers.byteOffset + numbers.byteLength))
}

function read(files: Files, name: string): unknown {
  const bytes = files.get(name)
  try {
    return bytes === undefined ? null : JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return null
  }
}

// ---- rows of their own

interface PackedAbout { readonly length: number; readonly endOfText: number; readonly chat: TokenSet["chat"]; readonly stats: TokenSet["stats"] }

/** Documents in rows of their own. */
export function packedFiles({ set, length, layout }: PackedRows): Files | null {
  if (layout !== "one per row" || set.counts === null) return null
  const about: PackedAbout = { length, endOfText: set.endOfText, chat: set.chat, stats: set.stats }
  return new Map([["rows.json", utf8.encode(`${JSON.stringify(about)}\n`)], ["tokens.i32", raw(set.tokens)], ["offsets.u32", raw(set.offsets)], ["counts.u8", raw(set.counts)]])
}

export function packedIn(files: Files): ArtifactData | null {
  const about = read(files, "rows.json") as PackedAbout | null
  const [tokens, offsets, counts] = ["tokens.i32", "offsets.u32", "counts.u8"].map((name) => files.get(name)?.slice())
  if (about === null || tokens === undefined || offsets === undefined || counts === undefined) return null
  const { length, ...rest } = about
  const made = pack({ tokens: new Int32Array(tokens.buffer), offsets: new Uint32Array(offsets.buffer), counts, labels: null, classes: null, ...rest }, { length, documents: "alone" })
  return made.ok ? { is: "packed", members: whole(made.value) } : null
}

// ---- notes

interface NotesAbout { readonly rows: number; readonly tensors: Readonly<Record<string, Pick<NotedTensor, "dtype" | "shape" | "stored">>> }

export function notesFiles({ rows, tensors }: DataOf<"notes">): Files {
  const about: NotesAbout = { rows, tensors: Object.fromEntries([...tensors].map(([path, { dtype, shape, stored }]) => [path, { dtype, shape, stored }])) }
  return new Map([["notes.json", utf8.encode(`${JSON.stringify(about)}\n`)], ...[...tensors].map(([path, { stored, data }]): [string, Uint8Array] => [`${path}.${stored}`, raw(data)])])
}

export function notesIn(files: Files): ArtifactData | null {
  const about = read(files, "notes.json") as NotesAbout | null
  if (about === null) return null
  const tensors = new Map<string, NotedTensor>()
  for (const [path, { dtype, shape, stored }] of Object.entries(about.tensors)) {
    const bytes = files.get(`${path}.${stored}`)?.slice()
    if (bytes === undefined || bytes.length !== shape.reduce((n, d) => n * d, noteBytes[stored])) return null
    tensors.set(path, { dtype, shape, stored, data: numbersIn(bytes, stored) })
  }
  return { is: "notes", rows: about.rows, tensors }
}

function numbersIn(bytes: Uint8Array<ArrayBuffer>, stored: NoteStorage): NotedTensor["data"] {
  switch (stored) {
    case "f32": return new Float32Array(bytes.buffer)
    case "i32": return new Int32Array(bytes.buffer)
    case "f16": case "u16": return new Uint16Array(bytes.buffer)
    case "u8": return bytes
  }
}
