/** Packed rows once more, in the tokens of another tokenizer; and where both end a token at the same byte. */
import { documentCount } from "./encode.ts"
import type { PackedRows, RowArrays } from "./pack.ts"
import { documentAt, rowArrays } from "./pack.ts"
import { bad, failure, good, type Result } from "./result.ts"
import { IdList, type Tokenizer } from "./tokenizer.ts"

export interface Reread extends RowArrays {
  /** [rows, length of `packed`]: for each place the place of the other row behind which the same text lies, -1 where there is none. */
  readonly match: Int32Array
  /** Targets, those of them that are predicted at a place with a match, and tokens of the other tokenizer that found no place in their row. */
  readonly targets: number
  readonly matched: number
  readonly left: number
}

/** A document in both tokenizers: the number of bytes up to the end of each token, end of text counted as one. */
interface Reading { readonly ends: Int32Array; readonly ids: Int32Array; readonly idEnds: Int32Array }

/** Tokens `from` … `to` - 1 of a document stand in the row from column `at` on. `shortened`: the last of them is an end of text that stands for the rest. */
interface Piece { readonly document: number; readonly from: number; readonly to: number; readonly at: number; readonly shortened: boolean }

/** Rows of `length` predictions beside those of `packed`: of each document the tokens that lie within what the row has of it. At least the share `least` of the targets must have a match. */
export function reread(packed: PackedRows, own: Tokenizer, other: Tokenizer, length: number, least: number): Result<Reread> {
  const found = rowsBeside(packed, own, other, length)
  const { targets, matched, left } = found
  if (matched > 0 && matched >= least * targets) return good(found)
  const how = matched === 0 ? "nowhere do" : `only at ${percent(matched / targets)} of the targets do`
  const lost = left === 0 ? "" : `; ${left.toLocaleString("en")} tokens found no place in rows of ${length}`
  return bad(failure("SLM3146", `${how} tokens of both tokenizers end at the same byte${lost}`, left > 0 ? "give `reread` a greater `length`" : `at least ${percent(least)} are asked for: \`least\` says how many`))
}

const percent = (share: number): string => `${Number((100 * share).toPrecision(2))}%`

function rowsBeside(packed: PackedRows, own: Tokenizer, other: Tokenizer, length: number): Reread {
  const { set, rows } = packed
  const width = length + 1
  const arrays = rowArrays(rows * width)
  const match = new Int32Array(rows * packed.length).fill(-1)
  const source = rowArrays(packed.length + 1)
  let [targets, matched, left] = [0, 0, 0]
  let known: { readonly document: number; readonly reading: Reading } | null = null
  const readingOf = (document: number): Reading => {
    if (known?.document !== document) known = { document, reading: read(set.tokens.subarray(set.offsets[document] ?? 0, set.offsets[document + 1] ?? 0), own, other) }
    return known.reading
  }
  for (let row = 0; row < rows; row++) {
    let used = 0
    piecesOf(packed, row).forEach((piece, segment) => {
      const found = placed(piece, readingOf(piece.document), other)
      const fits = Math.min(found.ids.length, width - used)
      left += found.ids.length - fits
      for (let i = 0; i < fits; i++) {
        const to = row * width + used + i
        const joined = packed.layout === "joined"
        arrays.tokens[to] = found.ids[i] ?? 0
        arrays.segments[to] = joined ? 0 : segment
        arrays.positions[to] = joined ? used + i : i
        arrays.counts[to] = used + i > 0 && (joined || found.first + i > 0) ? 1 : 0
      }
      found.matches.forEach((place, i) => {
        const column = piece.at + i
        if (place >= 0 && used + place < length && column < packed.length) match[row * packed.length + column] = used + place
      })
      used += fits
    })
    for (let i = row * width + used; i < (row + 1) * width; i++) {
      arrays.tokens[i] = other.endOfText
      arrays.segments[i] = -1
    }
    packed.fill(row, source, 0)
    for (let i = 0; i < packed.length; i++) {
      if (source.counts[i + 1] !== 1) continue
      targets++
      if ((match[row * packed.length + i] ?? -1) >= 0) matched++
    }
  }
  return { ...arrays, match, targets, matched, left }
}

/** The documents of a row, as `pack` has laid them out. */
function piecesOf({ set, length, layout }: PackedRows, row: number): readonly Piece[] {
  if (layout === "one per row") {
    const tokens = (set.offsets[row + 1] ?? 0) - (set.offsets[row] ?? 0)
    return [{ document: row, from: 0, to: Math.min(tokens, length + 1), at: 0, shortened: tokens > length + 1 }]
  }
  const [start, end] = [row * length, Math.min((row + 1) * length + 1, set.tokens.length)]
  const pieces: Piece[] = []
  for (let document = documentAt(set.offsets, start); document < documentCount(set); document++) {
    const [begin, next] = [set.offsets[document] ?? 0, set.offsets[document + 1] ?? 0]
    if (begin >= end) break
    pieces.push({ document, from: Math.max(begin, start) - begin, to: Math.min(next, end) - begin, at: Math.max(begin, start) - start, shortened: false })
  }
  return pieces
}

/** The other tokens of a piece, which of the document's is the first, and for each token of the piece the one that ends with it. */
function placed({ from, to, shortened }: Piece, { ends, ids, idEnds }: Reading, other: Tokenizer): { readonly ids: readonly number[]; readonly first: number; readonly matches: readonly number[] } {
  const begin = from === 0 ? 0 : (ends[from - 1] ?? 0)
  const end = ends[shortened ? to - 2 : to - 1] ?? 0
  const first = begin === 0 ? 0 : Math.min(ids.length, reaching(idEnds, begin) + 1)
  const last = Math.max(first, reaching(idEnds, end + 1))
  const places = new Map(Array.from(idEnds.subarray(first, last), (at, i) => [at, i]))
  const matches = Array.from({ length: to - from }, (_, i) => (shortened && i === to - from - 1 ? last - first : (places.get(ends[from + i] ?? -1) ?? -1)))
  return { first, matches, ids: [...ids.subarray(first, last), ...(shortened ? [other.endOfText] : [])] }
}

/** The first of rising numbers that is at least `n`. */
function reaching(rising: Int32Array, n: number): number {
  let [low, high] = [0, rising.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((rising[middle] ?? 0) < n) low = middle + 1
    else high = middle
  }
  return low
}

/** As far as the other tokenizer reads the same bytes: up to what the first has no entry for, and what is no UTF-8. */
function read(tokens: Int32Array, own: Tokenizer, other: Tokenizer): Reading {
  const control = new Map(own.special.map(({ id, text }) => [id, text]))
  const ends = new Int32Array(tokens.length)
  const [ids, idEnds] = [new IdList(), [] as number[]]
  let [at, whole, begin] = [0, true, 0]
  const take = (id: number, bytes: number): void => {
    ids.push(id)
    idEnds.push((idEnds.at(-1) ?? 0) + bytes)
  }
  const plain = (bytes: Uint8Array): void => {
    const text = readable(bytes)
    let place = 0
    for (const id of other.encode(text, { special: false })) {
      const piece = other.tokenBytes(id)
      whole &&= piece.every((byte, i) => byte === bytes[place + i])
      if (!whole) return
      take(id, piece.length)
      place += piece.length
    }
    whole &&= place === bytes.length
  }
  tokens.forEach((id, i) => {
    const text = control.get(id)
    const ending = id === own.endOfText && i === tokens.length - 1
    at += ending ? 1 : own.tokenBytes(id).length
    ends[i] = at
    const broken = id === own.unknown
    if (text === undefined && !broken && i < tokens.length - 1) return
    if (whole) plain(own.decodeBytes(tokens.subarray(begin, text === undefined && !broken ? i + 1 : i)))
    begin = i + 1
    if (broken) whole = false
    if (text === undefined || !whole) return
    const same = other.special.find((token) => token.text === text)
    if (ending) take(other.endOfText, 1)
    else if (same !== undefined) take(same.id, own.tokenBytes(id).length)
    else plain(own.tokenBytes(id))
  })
  return { ends, ids: ids.ids(), idEnds: Int32Array.from(idEnds) }
}

/** The text of bytes up to the first that belong to none. */
function readable(bytes: Uint8Array): string {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
  const again = new TextEncoder().encode(text)
  const wrong = bytes.findIndex((byte, i) => byte !== again[i])
  return wrong < 0 && again.length === bytes.length ? text : new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, Math.max(wrong, 0)), { stream: true })
}
