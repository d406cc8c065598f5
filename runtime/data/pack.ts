import { documentCount, takeDocuments, type TokenSet } from "./encode.ts"
import { bad, failure, good, type Result } from "./result.ts"
import type { Tokenizer } from "./tokenizer.ts"

/** Destination of rows: flat arrays of whole rows of `length + 1`. */
export interface RowArrays {
  readonly tokens: Int32Array
  /** Number of the document inside the row; -1 for padding. */
  readonly segments: Int32Array
  /** Place among the tokens of the document that are in the row. */
  readonly positions: Int32Array
  /** 1 where the token is a target. */
  readonly counts: Uint8Array
}

/** Rows of equal length over a token set. Nothing is stored per row but the number of its targets. */
export interface PackedRows {
  readonly rows: number
  /** Predictions per row; a row has one token more. */
  readonly length: number
  readonly set: TokenSet
  readonly layout: "apart" | "joined" | "one per row"
  /** What stands beside each row, by path. */
  readonly beside: Beside
  /** Number of places of the stream at which a training may begin a window; null: it reads the rows as they are. */
  readonly windows: number | null
  /** Targets of each row. */
  readonly targetsOf: Int32Array
  readonly stats: PackStats
  /** Writes a row at element `at` of the arrays. A row outside 0 … rows - 1 is padding. */
  fill(row: number, into: RowArrays, at: number): void
  /** Writes the window that begins at a place of the stream, 0 … windows - 1. */
  fillWindow(place: number, into: RowArrays, at: number): void
  get(row: number): RowArrays
  /** The class of the row's document; -1 where there is none. */
  label(row: number): number
}

/** Numbers that belong to a row. */
export type Numbers = Float32Array | Int32Array | Uint8Array
/** A tensor for each row: `shape` without the axis of the rows. A row outside of the data is filled as padding. */
export interface RowTensor {
  readonly dtype: "f32" | "i32" | "bool"
  readonly shape: readonly number[]
  /** Ids of the tokenizer of the data. */
  readonly ids: boolean
  fill(row: number, into: Numbers, at: number): void
}
export type Beside = ReadonlyMap<string, RowTensor>

export interface PackStats {
  readonly rows: number
  readonly targets: number
  /** Places that hold no token of a document. */
  readonly padding: number
  /** Rows in which nothing is a target. */
  readonly withoutTargets: number
  /** Documents of which parts lie in different rows. */
  readonly cutDocuments: number
  /** Documents that were shortened to fit a row of their own, and the tokens that lost. */
  readonly truncatedDocuments: number
  readonly truncatedTokens: number
}

export interface PackOptions {
  readonly length: number
  /** `joined`: the whole stream is one document; `alone`: each document has a row of its own. */
  readonly documents?: "apart" | "joined" | "alone"
  /** `random`: a training begins each window at a place of its own; evaluation reads the rows all the same. */
  readonly windows?: "fixed" | "random"
}

const longestRow = 2 ** 20

/**
 * Packs documents into rows of `length` predictions. Without labels the documents are one stream, cut into rows that
 * overlap by one token, so that each token but a document's (or, joined, the stream's) first is a target exactly once.
 * With labels, and with `alone`, each document has a row of its own.
 */
export function pack(set: TokenSet, options: PackOptions): Result<PackedRows> {
  const { length } = options
  if (!Number.isInteger(length) || length < 1) return bad(failure("SLM3141", `a row of ${length} predictions cannot be packed`, "`length` is at least 1"))
  if (length > longestRow) return bad(failure("SLM3141", `a row of ${length} predictions is too long`, `at most ${longestRow.toLocaleString("en")} are packed into one`))
  if (set.tokens.length < 2) return bad(failure("SLM3141", "the data has no token to predict"))
  if (set.labels !== null) {
    if (options.documents === "joined") return bad(failure("SLM3141", "documents with a class cannot be joined", "leave `documents: joined` out: each has a row of its own"))
    if (options.windows === "random") return bad(failure("SLM3141", "documents with a class have no windows", "leave `windows: random` out: each has a row of its own"))
    return good(packSingles(set, length))
  }
  if (options.documents === "alone") {
    return options.windows === "random" ? bad(failure("SLM3141", "documents in rows of their own have no windows", "leave `windows: random` out")) : good(packSingles(set, length))
  }
  return good(packStream(set, length, options.documents ?? "apart", options.windows ?? "fixed"))
}

function packStream(set: TokenSet, length: number, layout: "apart" | "joined", windows: "fixed" | "random"): PackedRows {
  const total = set.tokens.length
  const rows = Math.max(0, Math.ceil((total - 1) / length))
  const fillFrom = (start: number, end: number, into: RowArrays, at: number): void => {
    let document = layout === "joined" ? 0 : documentAt(set.offsets, start)
    let begin = layout === "joined" ? 0 : (set.offsets[document] ?? 0)
    let next = layout === "joined" ? total : (set.offsets[document + 1] ?? total)
    let segment = 0
    for (let place = start, to = at; place < end; place++, to++) {
      if (place === next) {
        begin = next
        next = set.offsets[++document + 1] ?? total
        segment++
      }
      into.tokens[to] = set.tokens[place] ?? 0
      into.segments[to] = segment
      into.positions[to] = place - Math.max(begin, start)
      into.counts[to] = place > start && place > begin && (set.counts === null || set.counts[place] === 1) ? 1 : 0
    }
    fillPadding(set, into, at + end - start, at + length + 1)
  }
  const fill = (row: number, into: RowArrays, at: number): void => {
    const start = row * length
    fillFrom(start, row < 0 || row >= rows ? start : Math.min(start + length + 1, total), into, at)
  }
  const fillWindow = (place: number, into: RowArrays, at: number): void => fillFrom(place, Math.min(place + length + 1, total), into, at)
  const places = windows === "random" ? Math.max(1, total - length) : null
  const cut = layout === "joined" ? 0 : countCut(set.offsets, length)
  return finish({ set, length, rows, layout, windows: places, fill, fillWindow }, { padding: rows === 0 ? 0 : rows * length + 1 - total, cutDocuments: cut, truncatedDocuments: 0, truncatedTokens: 0 })
}

/** The document that holds a token: the last that begins at or before it. */
export function documentAt(offsets: Uint32Array, place: number): number {
  let low = 0
  let high = offsets.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((offsets[middle] ?? 0) <= place) low = middle
    else high = middle
  }
  return low
}

/** Documents whose targets lie in more than one row: targets `place` of row r have r * length < place <= (r + 1) * length. */
function countCut(offsets: Uint32Array, length: number): number {
  let cut = 0
  for (let d = 0; d + 1 < offsets.length; d++) {
    const first = (offsets[d] ?? 0) + 1
    const last = (offsets[d + 1] ?? 0) - 1
    if (last > first && Math.ceil(first / length) !== Math.ceil(last / length)) cut++
  }
  return cut
}

function packSingles(set: TokenSet, length: number): PackedRows {
  const rows = documentCount(set)
  let padding = 0
  let truncatedDocuments = 0
  let truncatedTokens = 0
  for (let d = 0; d < rows; d++) {
    const tokens = (set.offsets[d + 1] ?? 0) - (set.offsets[d] ?? 0)
    padding += Math.max(0, length + 1 - tokens)
    if (tokens > length + 1) truncatedDocuments++
    truncatedTokens += Math.max(0, tokens - length - 1)
  }
  const fill = (row: number, into: RowArrays, at: number): void => {
    const start = set.offsets[row] ?? 0
    const tokens = row < 0 || row >= rows ? 0 : Math.min(length + 1, (set.offsets[row + 1] ?? 0) - start)
    for (let i = 0; i < tokens; i++) {
      // A shortened document still ends: its last place holds end of text.
      const source = i === tokens - 1 ? (set.offsets[row + 1] ?? 0) - 1 : start + i
      into.tokens[at + i] = set.tokens[source] ?? 0
      into.segments[at + i] = 0
      into.positions[at + i] = i
      into.counts[at + i] = i > 0 && (set.counts === null || set.counts[source] === 1) ? 1 : 0
    }
    fillPadding(set, into, at + tokens, at + length + 1)
  }
  return finish({ set, length, rows, layout: "one per row", windows: null, fill, fillWindow: fill }, { padding, cutDocuments: 0, truncatedDocuments, truncatedTokens })
}

function fillPadding(set: TokenSet, into: RowArrays, from: number, to: number): void {
  into.tokens.fill(set.endOfText, from, to)
  into.segments.fill(-1, from, to)
  into.positions.fill(0, from, to)
  into.counts.fill(0, from, to)
}

function finish(packed: Omit<PackedRows, "targetsOf" | "stats" | "get" | "label" | "beside">, known: Omit<PackStats, "rows" | "targets" | "withoutTargets">): PackedRows {
  const { set, length, rows, fill } = packed
  const get = (row: number): RowArrays => {
    const arrays = rowArrays(length + 1)
    fill(row, arrays, 0)
    return arrays
  }
  const targetsOf = new Int32Array(rows)
  const scratch = rowArrays(length + 1)
  let targets = 0
  let withoutTargets = 0
  for (let row = 0; row < rows; row++) {
    fill(row, scratch, 0)
    let n = 0
    for (const counts of scratch.counts) n += counts
    targetsOf[row] = n
    targets += n
    if (n === 0) withoutTargets++
  }
  const label = (row: number): number => set.labels?.[row] ?? -1
  return { ...packed, beside: new Map(), targetsOf, stats: { rows, targets, withoutTargets, ...known }, get, label }
}

export function rowArrays(elements: number): RowArrays {
  return { tokens: new Int32Array(elements), segments: new Int32Array(elements), positions: new Int32Array(elements), counts: new Uint8Array(elements) }
}

/** The first `count` rows. */
export function takePacked(packed: PackedRows, count: number): PackedRows {
  return { ...taken(packed, Math.max(0, Math.min(count, packed.rows))), beside: packed.beside }
}

function taken({ set, length, layout, windows }: PackedRows, rows: number): PackedRows {
  if (layout === "one per row") return packSingles(takeDocuments(set, rows), length)
  return packStream(cutTokens(set, rows === 0 ? 0 : rows * length + 1), length, layout, windows === null ? "fixed" : "random")
}

function cutTokens(set: TokenSet, count: number): TokenSet {
  const end = Math.min(count, set.tokens.length)
  const documents = end === 0 ? 0 : documentAt(set.offsets, end - 1) + 1
  const offsets = set.offsets.slice(0, documents + 1)
  offsets[documents] = end
  return { ...set, tokens: set.tokens.subarray(0, end), offsets, counts: set.counts?.subarray(0, end) ?? null }
}

/** Bytes of text that the targets stand for, for bits per byte; control tokens stand for none. */
export function targetBytes(packed: PackedRows, tokenizer: Tokenizer): number {
  const special = new Set(tokenizer.special.map((t) => t.id))
  const lengths = Int32Array.from({ length: tokenizer.size }, (_, id) => (special.has(id) ? 0 : tokenizer.tokenBytes(id).length))
  const row = rowArrays(packed.length + 1)
  let bytes = 0
  for (let r = 0; r < packed.rows; r++) {
    packed.fill(r, row, 0)
    for (let i = 0; i <= packed.length; i++) if (row.counts[i] === 1) bytes += lengths[row.tokens[i] ?? 0] ?? 0
  }
  return bytes
}
