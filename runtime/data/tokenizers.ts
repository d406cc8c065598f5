/** New tokenizers: byte, char and BPE. All are made by writing a `tokenizer.json` and reading it. */
import { cutBy, byteCharacters, byteOrder, gpt2Words, toCharacters } from "./bytelevel.ts"
import { learnBpe } from "./bpe-train.ts"
import { pieceTexts } from "./pieces.ts"
import { bad, expectGood, failure, good, type Result } from "./result.ts"
import type { Rows } from "./rows.ts"
import { fraction } from "./split.ts"
import { specialCutter, specialMistake, specialTokens, unknownToken, type SpecialToken, type Tokenizer } from "./tokenizer.ts"
import { loadTokenizer, tokenizerJson, type NewTokenizer } from "./tokenizer-json.ts"

export interface Trained {
  readonly tokenizer: Tokenizer
  /** What a user should know about the training. */
  readonly notes: readonly string[]
}

function made(file: NewTokenizer): Tokenizer {
  return expectGood(loadTokenizer(tokenizerJson(file)), `a new ${file.kind} tokenizer`)
}

/** One token per byte, after the special tokens. */
export function byteTokenizer(options: { readonly special?: readonly string[] } = {}): Result<Tokenizer> {
  const mistake = specialMistake(options.special ?? [])
  if (mistake !== null) return bad(failure("SLM3131", mistake.message, mistake.help))
  return good(made({ kind: "byte", special: specialTokens(options.special ?? []), entries: byteOrder.map((b) => byteCharacters[b] ?? ""), merges: [] }))
}

/** One token per character (code point) of the data, in code point order, after end of text, unknown and control tokens. */
export function charTokenizer(rows: Rows): Result<Trained> {
  const special = specialTokens([], [unknownToken, ...(rows.dialogue?.special ?? [])])
  const points = new Set<number>()
  const failed = eachPlainText(rows, special, () => true, (text) => {
    for (const character of text) points.add(character.codePointAt(0) ?? 0)
  })
  if (failed !== null) return failed
  const entries = [...points].filter((p) => p < 0xd800 || p > 0xdfff).sort((a, b) => a - b).map((p) => String.fromCodePoint(p))
  return good({ tokenizer: made({ kind: "char", special, entries, merges: [] }), notes: [] })
}

export interface BpeTrainOptions {
  /** At most this many entries, special tokens and the 256 bytes included. */
  readonly size: number
  readonly special?: readonly string[]
  /** Of more text than this a sample of documents is used, chosen by hash. */
  readonly maxBytes?: number
  /** Of more distinct words than this (in bytes, which bounds memory) the most frequent are used. */
  readonly maxWordBytes?: number
}

/** Byte-level BPE: special tokens, all bytes, then merges in the order they are learned. */
export function bpeTokenizer(rows: Rows, options: BpeTrainOptions): Result<Trained> {
  const mistake = specialMistake(options.special ?? [])
  if (mistake !== null) return bad(failure("SLM3131", mistake.message, mistake.help))
  const special = specialTokens(options.special ?? [], rows.dialogue?.special ?? [])
  const least = 256 + special.length
  if (!Number.isInteger(options.size) || options.size < least) {
    return bad(failure("SLM3131", `${options.size} entries are too few: 256 bytes and ${special.length} special tokens are always there`, `ask for ${least} or more`))
  }
  const sample = sampled(rows, options.maxBytes ?? 64 * 2 ** 20)
  const cut = cutBy(gpt2Words)
  const counts = new Map<string, number>()
  const failed = eachPlainText(rows, special, sample.uses, (text) => {
    for (const word of cut(text)) counts.set(word, (counts.get(word) ?? 0) + 1)
  })
  if (failed !== null) return failed
  const vocabulary = frequentWords(counts, options.maxWordBytes ?? 16 * 2 ** 20)
  const learned = learnBpe(vocabulary.counts, options.size - special.length)
  const entries = learned.entries.map(toCharacters)
  const name = (entry: number): string => entries[entry] ?? ""
  const size = special.length + entries.length
  const short = size < options.size ? [`the text yields ${size} entries, fewer than ${options.size}: no further pair occurs twice`] : []
  return good({
    tokenizer: made({ kind: "bpe", special, entries, merges: learned.merges.map(([a, b]) => [name(a), name(b)]) }),
    notes: [...sample.notes, ...vocabulary.notes, ...short],
  })
}

/** The most frequent words that fit, in an order that does not depend on the order of the text. */
function frequentWords(counts: ReadonlyMap<string, number>, maxBytes: number): { readonly counts: ReadonlyMap<string, number>; readonly notes: readonly string[] } {
  let bytes = 0
  for (const word of counts.keys()) bytes += Buffer.byteLength(word, "utf8")
  if (bytes <= maxBytes) return { counts, notes: [] }
  const kept = new Map<string, number>()
  let left = maxBytes
  for (const [word, count] of [...counts].sort(([v, m], [w, n]) => n - m || (v < w ? -1 : 1))) {
    left -= Buffer.byteLength(word, "utf8")
    if (left < 0) break
    kept.set(word, count)
  }
  return { counts: kept, notes: [`learned from the ${kept.size} most frequent of ${counts.size} words`] }
}

/** Calls `use` with the texts between control tokens of the rows that `wanted` accepts. */
function eachPlainText(rows: Rows, special: readonly SpecialToken[], wanted: (text: string) => boolean, use: (text: string) => void): Result<never> | null {
  const texts = pieceTexts(rows)
  if (!texts.ok) return texts
  const cut = specialCutter(special)
  for (let row = 0; row < rows.count; row++) {
    if (!wanted(texts.value.whole(row))) continue
    for (const piece of texts.value.pieces(row)) {
      if (!piece.markup) use(piece.text)
      else for (const part of cut(piece.text)) if (typeof part === "string") use(part)
    }
  }
  return null
}

function sampled(rows: Rows, maxBytes: number): { readonly uses: (text: string) => boolean; readonly notes: readonly string[] } {
  const texts = pieceTexts(rows)
  let bytes = 0
  if (texts.ok) for (let row = 0; row < rows.count; row++) bytes += Buffer.byteLength(texts.value.whole(row), "utf8")
  if (bytes <= maxBytes) return { uses: () => true, notes: [] }
  const share = maxBytes / bytes
  return { uses: (text) => fraction(text) < share, notes: [`trained on about ${(100 * share).toPrecision(2)}% of the documents: ${maxBytes / 2 ** 20} MB of text are enough`] }
}
