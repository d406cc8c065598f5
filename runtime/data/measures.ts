/** Numbers about a text, for quality filters: one pass over its characters, lines and words. All take time linear in the text. */
import type { TextMeasure } from "../../compiler/check/text-measures.ts"
import { characters } from "./clean.ts"

/** English function words of which running text has some. (Rae et al., 2021) */
const stopWords: ReadonlySet<string> = new Set(["the", "be", "to", "of", "and", "that", "have", "with"])

const bullet = /^[\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013*-](?:\s|$)/u
const closing = /["'”’»)\]]+$/u

export function measuresOf(text: string): Readonly<Record<TextMeasure, number>> {
  const words = text.split(/\s+/u).filter((word) => word !== "")
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "")
  const paragraphs = text.split(/\n\s*\n/u).map((one) => one.trim()).filter((one) => one !== "")
  const all = characters(text)
  return {
    characters: all, words: words.length, lines: lines.length, paragraphs: paragraphs.length,
    ...ofCharacters(text, words.length), ...ofWords(words), ...ofLines(lines), ...repeatedOf(lines, paragraphs), ...ngramsOf(words),
  }
}

type Some<K extends TextMeasure> = Readonly<Record<K, number>>
const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)

function ofCharacters(text: string, words: number): Some<"letters" | "digits" | "capitals" | "symbols" | "braces" | "filler" | "sentences"> {
  let [visible, letters, digits, capitals, symbols, braces, sentences] = [0, 0, 0, 0, 0, 0, 0]
  let ended = true // a row of marks ends one sentence
  for (const c of text) {
    const code = c.codePointAt(0) ?? 0
    if (code === 32 || (code >= 9 && code <= 13)) continue
    visible++
    const small = code | 32
    const letter = code < 128 ? small >= 97 && small <= 122 : /\p{L}/u.test(c)
    if (letter) {
      letters++
      if (code < 128 ? code < 97 : c !== c.toLowerCase()) capitals++
    } else if (code >= 48 && code <= 57) digits++
    else if (c === "#" || c === "…") symbols++
    else if (c === "{" || c === "}") braces++
    const ends = c === "." || c === "!" || c === "?" || c === "。" || c === "！" || c === "？"
    if (ends && !ended) sentences++
    ended = ends || (ended && !letter)
  }
  return {
    letters: share(letters, visible), digits: share(digits, visible), capitals: share(capitals, letters), symbols: share(symbols + count(text, "..."), words),
    braces, filler: /lorem ipsum/i.test(text) ? 1 : 0, sentences,
  }
}

function count(text: string, of: string): number {
  let n = 0
  for (let at = text.indexOf(of); at >= 0; at = text.indexOf(of, at + of.length)) n++
  return n
}

function ofWords(words: readonly string[]): Some<"word_length" | "longest_word" | "worded" | "stop_words"> {
  let [length, longest, worded] = [0, 0, 0]
  const found = new Set<string>()
  for (const word of words) {
    const n = characters(word)
    length += n
    longest = Math.max(longest, n)
    if (/\p{L}/u.test(word)) worded++
    const plain = word.length <= 8 ? word.toLowerCase().replace(/[^a-z]/g, "") : ""
    if (stopWords.has(plain)) found.add(plain)
  }
  return { word_length: share(length, words.length), longest_word: longest, worded: share(worded, words.length), stop_words: found.size }
}

function ofLines(lines: readonly string[]): Some<"bulleted" | "trailing_off" | "finished" | "short_lines"> {
  const has = (test: (line: string) => boolean): number => share(lines.reduce((n, line) => n + (test(line) ? 1 : 0), 0), lines.length)
  const bare = (line: string): string => line.slice(-16).replace(closing, "")
  return {
    bulleted: has((line) => bullet.test(line)), trailing_off: has((line) => /(?:…|\.\.\.)$/u.test(bare(line))),
    finished: has((line) => /[.!?。！？…]$/u.test(bare(line))), short_lines: has((line) => line.length < 30),
  }
}

function repeatedOf(lines: readonly string[], paragraphs: readonly string[]): Some<"repeated_lines" | "repeated_line_characters" | "repeated_paragraphs" | "repeated_paragraph_characters"> {
  const of = (items: readonly string[]): readonly [number, number] => {
    const seen = new Set<string>()
    let [again, characters, all] = [0, 0, 0]
    for (const item of items) {
      all += item.length
      if (seen.has(item)) {
        again++
        characters += item.length
      } else seen.add(item)
    }
    return [share(again, items.length), share(characters, all)]
  }
  const [byLine, byParagraph] = [of(lines), of(paragraphs)]
  return { repeated_lines: byLine[0], repeated_line_characters: byLine[1], repeated_paragraphs: byParagraph[0], repeated_paragraph_characters: byParagraph[1] }
}

type Ngrams = Some<"top_2" | "top_3" | "top_4" | "repeated_5" | "repeated_6" | "repeated_7" | "repeated_8" | "repeated_9" | "repeated_10">

function ngramsOf(words: readonly string[]): Ngrams {
  const ids = numbered(words)
  const lengths = words.map((word) => word.length)
  const all = lengths.reduce((a, b) => a + b, 0)
  const top = (n: number): number => share(mostOften(ids, lengths, n), all)
  const repeated = (n: number): number => share(inRepeated(ids, lengths, n), all)
  return {
    top_2: top(2), top_3: top(3), top_4: top(4),
    repeated_5: repeated(5), repeated_6: repeated(6), repeated_7: repeated(7), repeated_8: repeated(8), repeated_9: repeated(9), repeated_10: repeated(10),
  }
}

function numbered(words: readonly string[]): Int32Array {
  const known = new Map<string, number>()
  return Int32Array.from(words, (word) => {
    const id = known.get(word) ?? known.size
    known.set(word, id)
    return id
  })
}

/** A text that stands for the words at `at`: exact, so that no two n-grams are taken for one. */
function keyAt(ids: Int32Array, at: number, n: number): string {
  let key = ""
  for (let i = at; i < at + n; i++) key += `${ids[i] ?? 0},`
  return key
}

function sumOf(lengths: readonly number[], from: number, n: number): number {
  let sum = 0
  for (let i = from; i < from + n; i++) sum += lengths[i] ?? 0
  return sum
}

/** Characters that the n-gram that occurs most often takes in all its places; nothing where none occurs twice. Of equals the longer. */
function mostOften(ids: Int32Array, lengths: readonly number[], n: number): number {
  const counts = new Map<string, number>()
  let [most, taken] = [1, 0]
  for (let at = 0; at + n <= ids.length; at++) {
    const key = keyAt(ids, at, n)
    const times = (counts.get(key) ?? 0) + 1
    counts.set(key, times)
    if (times < 2 || times < most) continue
    taken = times > most ? times * sumOf(lengths, at, n) : Math.max(taken, times * sumOf(lengths, at, n))
    most = times
  }
  return taken
}

/** Characters of the words that lie in an n-gram that has occurred before, each once. */
function inRepeated(ids: Int32Array, lengths: readonly number[], n: number): number {
  const seen = new Set<string>()
  let [taken, covered] = [0, 0]
  for (let at = 0; at + n <= ids.length; at++) {
    const key = keyAt(ids, at, n)
    if (!seen.has(key)) {
      seen.add(key)
      continue
    }
    for (let i = Math.max(at, covered); i < at + n; i++) taken += lengths[i] ?? 0
    covered = at + n
  }
  return taken
}
