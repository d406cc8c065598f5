/** Tokenizers: text to ids and back. */
import type { Failure } from "./result.ts"

export interface SpecialToken { readonly text: string; readonly id: number }

export interface SpecialOption {
  /** Encoding: whether control tokens written in the text are control tokens (default) or plain text. Decoding: whether they are shown. */
  readonly special?: boolean
}

export interface Tokenizer {
  readonly kind: "byte" | "char" | "bpe"
  /** Number of entries; ids are 0 … size - 1. */
  readonly size: number
  readonly endOfText: number
  /** The id of what the vocabulary has no entry for; null where every text has tokens. */
  readonly unknown: number | null
  readonly special: readonly SpecialToken[]
  encode(text: string, options?: SpecialOption): Int32Array
  /** The text of the ids; bytes that are not UTF-8 become U+FFFD. `special: false` leaves control tokens out. */
  decode(ids: Iterable<number>, options?: SpecialOption): string
  decodeBytes(ids: Iterable<number>, options?: SpecialOption): Uint8Array
  /** The bytes one id stands for; none for an id outside the vocabulary. */
  tokenBytes(id: number): Uint8Array
  /** Hugging Face's `tokenizer.json`. */
  json(): string
}

export const endOfTextToken = "<|endoftext|>"
export const unknownToken = "<|unknown|>"

export interface TokenizerParts {
  readonly kind: Tokenizer["kind"]
  /** The bytes of each id. */
  readonly tokens: readonly Uint8Array[]
  readonly special: readonly SpecialToken[]
  readonly endOfText: number
  readonly unknown: number | null
  /** Appends the ids of a text without control tokens. */
  readonly encodePlain: (text: string, out: IdList) => void
  readonly json: () => string
}

/** Tokenizers run in browsers too. */
function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((n, piece) => n + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}

export function makeTokenizer(parts: TokenizerParts): Tokenizer {
  const cut = specialCutter(parts.special)
  const tokenBytes = (id: number): Uint8Array => parts.tokens[id] ?? new Uint8Array(0)
  const control = new Set(parts.special.map((token) => token.id))
  const decodeBytes = (ids: Iterable<number>, options: SpecialOption = {}): Uint8Array => {
    const pieces: Uint8Array[] = []
    for (const id of ids) if (options.special !== false || !control.has(id)) pieces.push(tokenBytes(id))
    return joined(pieces)
  }
  return {
    kind: parts.kind,
    size: parts.tokens.length,
    endOfText: parts.endOfText,
    unknown: parts.unknown,
    special: parts.special,
    encode(text, options = {}) {
      const out = new IdList()
      if (options.special === false) parts.encodePlain(text, out)
      else for (const piece of cut(text)) typeof piece === "string" ? parts.encodePlain(piece, out) : out.push(piece.id)
      return out.ids()
    },
    decode: (ids, options) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(decodeBytes(ids, options)),
    decodeBytes,
    tokenBytes,
    json: parts.json,
  }
}

/** A growing list of ids. */
export class IdList {
  #data = new Int32Array(64)
  length = 0

  push(id: number): void {
    if (this.length === this.#data.length) this.#grow(this.length + 1)
    this.#data[this.length++] = id
  }

  append(ids: Int32Array): void {
    if (this.length + ids.length > this.#data.length) this.#grow(this.length + ids.length)
    this.#data.set(ids, this.length)
    this.length += ids.length
  }

  ids(): Int32Array {
    return this.#data.slice(0, this.length)
  }

  #grow(atLeast: number): void {
    const grown = new Int32Array(Math.max(atLeast, 2 * this.#data.length))
    grown.set(this.#data)
    this.#data = grown
  }
}

/** Cuts a text at control tokens: the leftmost one, the longest where several begin. */
export function specialCutter(special: readonly SpecialToken[]): (text: string) => readonly (string | SpecialToken)[] {
  const byText = new Map(special.map((token) => [token.text, token]))
  if (byText.size === 0) return (text) => [text]
  const alternatives = [...byText.keys()].sort((a, b) => b.length - a.length).map((text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"))
  const pattern = new RegExp(alternatives.join("|"), "g")
  return (text) => {
    const pieces: (string | SpecialToken)[] = []
    let end = 0
    for (const match of text.matchAll(pattern)) {
      const token = byText.get(match[0])
      if (token === undefined) continue
      if (match.index > end) pieces.push(text.slice(end, match.index))
      pieces.push(token)
      end = match.index + match[0].length
    }
    if (end < text.length) pieces.push(text.slice(end))
    return pieces
  }
}

/** The list of control tokens of a new tokenizer: end of text first, then the requested ones. */
export function specialTokens(requested: readonly string[], more: readonly string[] = []): readonly SpecialToken[] {
  return [...new Set([endOfTextToken, ...more, ...requested])].map((text, id) => ({ text, id }))
}

/** What is wrong with requested control tokens. */
export function specialMistake(requested: readonly string[]): Pick<Failure, "message" | "help"> | null {
  if (requested.some((text) => text.trim() === "")) return { message: "a special token is empty or blank", help: "write it as a text that occurs nowhere else: `\"<|npc|>\"`" }
  return null
}

/** Decodes ids one at a time, keeping back the bytes of a character until it is complete. */
export interface StreamDecoder {
  push(id: number): string
  /** What is left: U+FFFD for an incomplete character. */
  end(): string
}

export function streamDecoder(tokenizer: Tokenizer): StreamDecoder {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  return {
    push: (id) => decoder.decode(tokenizer.tokenBytes(id), { stream: true }),
    end: () => decoder.decode(),
  }
}
