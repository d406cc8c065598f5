import { pieceTexts } from "./pieces.ts"
import { bad, failure, good, type Result } from "./result.ts"
import type { Rows } from "./rows.ts"
import { IdList, type Tokenizer } from "./tokenizer.ts"

/** Documents as token ids, one after another, each followed by end of text. */
export interface TokenSet {
  readonly tokens: Int32Array
  /** Where each document begins, and the end of the last: documents + 1 entries. */
  readonly offsets: Uint32Array
  /** Whether each token is a target (1) or only context (0); null where all are targets. */
  readonly counts: Uint8Array | null
  /** The class of each document, as an index into `classes`. */
  readonly labels: Int32Array | null
  readonly classes: readonly string[] | null
  readonly endOfText: number
  /** How conversations were rendered; travels with a model that learns from them. */
  readonly chat: { readonly template: string; readonly system: string | null } | null
  /** What encoding found, before any `take`. */
  readonly stats: EncodeStats
}

export interface EncodeStats {
  readonly documents: number
  /** Without the ends of text. */
  readonly tokens: number
  /** Bytes of the documents in UTF-8. */
  readonly bytes: number
  /** Tokens for what the vocabulary lacks. */
  readonly unknown: number
  /** Rows without any text, which make no document. */
  readonly empty: number
  /** Control tokens of a chat template that the tokenizer does not have, so that they are plain text. */
  readonly missingSpecial: readonly string[]
}

export interface EncodeOptions {
  /** The column of classes to carry along; by default the only one there is. */
  readonly label?: string | null
}

export function documentCount(set: TokenSet): number {
  return set.offsets.length - 1
}

/** Encodes the text of each row. Control tokens are recognised in plain rows and in a template's markup, not in what people wrote in a conversation. */
export function encode(rows: Rows, tokenizer: Tokenizer, options: EncodeOptions = {}): Result<TokenSet> {
  const texts = pieceTexts(rows)
  if (!texts.ok) return texts
  const label = labelColumn(rows, options.label)
  if (!label.ok) return label
  const ids = new IdList()
  const masks: (readonly [number, number])[] = [] // runs that are not targets
  const offsets: number[] = [0]
  const kept: number[] = []
  let bytes = 0
  for (let row = 0; row < rows.count; row++) {
    const start = ids.length
    for (const piece of texts.value.pieces(row)) {
      const from = ids.length
      ids.append(tokenizer.encode(piece.text, { special: piece.markup }))
      bytes += Buffer.byteLength(piece.text, "utf8")
      if (!piece.counts) masks.push([from, ids.length])
    }
    if (ids.length === start) continue
    // What follows a conversation is not an answer; without a template it is what ends one.
    if (rows.dialogue !== null && rows.dialogue.template !== null) masks.push([ids.length, ids.length + 1])
    ids.push(tokenizer.endOfText)
    offsets.push(ids.length)
    kept.push(row)
  }
  if (kept.length === 0) return bad(failure("SLM3133", `the ${rows.count} rows have no text to encode`))
  const tokens = ids.ids()
  return good({
    tokens,
    offsets: Uint32Array.from(offsets),
    counts: masks.length === 0 ? null : maskOf(tokens.length, masks),
    labels: label.value === null ? null : pickLabels(label.value.values, kept),
    classes: label.value?.classes ?? null,
    endOfText: tokenizer.endOfText,
    chat: rows.dialogue === null || rows.dialogue.template === null ? null : { template: rows.dialogue.template, system: rows.dialogue.system },
    stats: {
      documents: kept.length, tokens: tokens.length - kept.length, bytes, empty: rows.count - kept.length, unknown: countUnknown(tokens, tokenizer.unknown),
      missingSpecial: (rows.dialogue?.special ?? []).filter((text) => !tokenizer.special.some((t) => t.text === text)),
    },
  })
}

interface Labels { readonly values: Int32Array; readonly classes: readonly string[] }

function labelColumn(rows: Rows, wanted: string | null | undefined): Result<Labels | null> {
  const all = [...rows.columns].filter(([, column]) => column.is === "class").map(([name]) => name)
  const name = wanted === undefined ? (all.length === 1 ? all[0] : undefined) : wanted
  if (name === undefined || name === null) return good(null)
  const column = rows.columns.get(name)
  if (column?.is === "class") return good({ values: column.values, classes: column.classes })
  return bad(failure("SLM3123", `there is no column of classes \`${name}\``, all.length > 0 ? `columns of classes are ${all.join(", ")}` : `read it as a class: \`fields: { ${name}: "class" }\``))
}

function pickLabels(values: Int32Array, rows: readonly number[]): Int32Array {
  return Int32Array.from(rows, (row) => values[row] ?? 0)
}

function maskOf(length: number, runs: readonly (readonly [number, number])[]): Uint8Array {
  const counts = new Uint8Array(length).fill(1)
  for (const [from, to] of runs) counts.fill(0, from, to)
  return counts
}

function countUnknown(tokens: Int32Array, unknown: number | null): number {
  if (unknown === null) return 0
  let n = 0
  for (const id of tokens) if (id === unknown) n++
  return n
}

/** The first `count` documents. */
export function takeDocuments(set: TokenSet, count: number): TokenSet {
  const documents = Math.max(0, Math.min(count, documentCount(set)))
  const end = set.offsets[documents] ?? 0
  return {
    ...set,
    tokens: set.tokens.subarray(0, end),
    offsets: set.offsets.subarray(0, documents + 1),
    counts: set.counts?.subarray(0, end) ?? null,
    labels: set.labels?.subarray(0, documents) ?? null,
  }
}
