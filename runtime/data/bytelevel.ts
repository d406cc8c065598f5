/** GPT-2's byte level: every byte is one visible character, and text is cut into words before pairs are merged. */

/** Bytes that stand for themselves, as GPT-2 chose them: visible Latin-1 without the soft hyphen. */
function isVisible(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
}

/** The character of each byte; invisible bytes take the characters from U+0100 in order. */
export const byteCharacters: readonly string[] = (() => {
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isVisible(byte) ? byte : next++))
})()

const characterBytes: ReadonlyMap<string, number> = new Map(byteCharacters.map((c, byte) => [c, byte]))

/** All bytes in the order of their characters, the order in which vocabularies list them. */
export const byteOrder: readonly number[] = Array.from({ length: 256 }, (_, byte) => byte)
  .sort((a, b) => (byteCharacters[a] ?? "").charCodeAt(0) - (byteCharacters[b] ?? "").charCodeAt(0))

export function toCharacters(bytes: Uint8Array): string {
  let text = ""
  for (const byte of bytes) text += byteCharacters[byte] ?? ""
  return text
}

/** The bytes of a token written in byte characters; null where it has any other character. */
export function fromCharacters(token: string): Uint8Array | null {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = characterBytes.get(token[i] ?? "")
    if (byte === undefined) return null
    bytes[i] = byte
  }
  return bytes
}

/** White space as Unicode defines it; JavaScript's `\s` differs in U+0085 and U+FEFF. */
const blank = "\\p{White_Space}"
const notBlank = "\\P{White_Space}"

/** The words of GPT-2 (Radford et al., 2019); llama.cpp knows it as pre-tokenizer `gpt-2`. */
export const gpt2Words = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${blank}\\p{L}\\p{N}]+|${blank}+(?!${notBlank})|${blank}+`

/** Cuts a text into words that together are the text. */
export type Cutter = (text: string) => readonly string[]

/** Every match is a word, and so is what lies between matches. */
export function cutBy(source: string): Cutter {
  const pattern = new RegExp(source, "gu")
  return (text) => {
    const words: string[] = []
    let end = 0
    for (const match of text.matchAll(pattern)) {
      if (match[0] === "") continue
      if (match.index > end) words.push(text.slice(end, match.index))
      words.push(match[0])
      end = match.index + match[0].length
    }
    if (end < text.length) words.push(text.slice(end))
    return words
  }
}

/**
 * An expression of Rust's (Oniguruma's) dialect, as tokenizer.json holds it, in JavaScript's. Translates what known
 * tokenizers use; null where that is not possible.
 */
export function fromRustPattern(pattern: string): string | null {
  const source = pattern
    .replace(/\(\?i:((?:'[a-z]+\|?)+)\)/g, (_, inner: string) => `(?:${inner.replace(/[a-z]/g, (c) => (c === "s" ? "[sSſ]" : `[${c}${c.toUpperCase()}]`))})`)
    .replace(/\\s/g, blank)
    .replace(/\\S/g, notBlank)
    .replace(/(?<!\\)\\'/g, "'")
  if (/\(\?[a-z]|\\[AzZhHX]/.test(source)) return null
  try {
    new RegExp(source, "u")
    return source
  } catch {
    return null
  }
}
