/**
 * Learns byte-pair merges (Sennrich et al., 2016; on bytes: Radford et al., 2019). The result is a function of the word
 * counts alone: the most frequent pair is merged, on ties the one with the smaller ids. Agrees merge for merge with the
 * trainer of Hugging Face's `tokenizers`, which is not used because it reads files only, prints to standard output and
 * has a fixed size of 30,000.
 */
import { byteOrder } from "./bytelevel.ts"
import { pairKey } from "./bpe.ts"

export interface LearnedBpe {
  /** The bytes of each entry after the special tokens: 256 single bytes, then what merges made. */
  readonly entries: readonly Uint8Array[]
  /** Pairs of entry numbers and the entry they make, in order of learning. */
  readonly merges: readonly (readonly [number, number, number])[]
}

/** Every distinct word as symbols in one flat array. A merge shortens a word in place. */
interface Words {
  readonly symbols: Int32Array
  readonly start: Int32Array
  readonly length: Int32Array
  readonly count: Float64Array
}

/** Counts of adjacent pairs, and the words each pair may be in. */
interface Pairs {
  readonly index: Map<number, number> // pair key -> number of the pair
  readonly keys: number[]
  readonly counts: number[]
  readonly words: number[][]
}

/** Learns entries until there are `size` (at least 256) or no pair occurs twice. */
export function learnBpe(wordCounts: ReadonlyMap<string, number>, size: number): LearnedBpe {
  const words = flatten(wordCounts)
  const pairs: Pairs = { index: new Map(), keys: [], counts: [], words: [] }
  for (let w = 0; w < words.count.length; w++) countPairs(words, w, pairs, 1, null, null)
  const queue = new Queue(pairs)
  for (let p = 0; p < pairs.keys.length; p++) queue.push(p)
  const entries: Uint8Array[] = byteOrder.map((byte) => Uint8Array.of(byte))
  const ids = new Map(entries.map((bytes, id) => [latin1(bytes), id]))
  const merges: [number, number, number][] = []
  while (entries.length < size) {
    const pair = queue.pop()
    if (pair === null || (pairs.counts[pair] ?? 0) < 2) break
    const key = pairs.keys[pair] ?? 0
    const a = Math.floor(key / 2 ** 26)
    const b = key - a * 2 ** 26
    const bytes = new Uint8Array(Buffer.concat([entries[a] ?? new Uint8Array(0), entries[b] ?? new Uint8Array(0)]))
    // Two different pairs may spell the same entry.
    const made = ids.get(latin1(bytes)) ?? entries.length
    if (made === entries.length) {
      entries.push(bytes)
      ids.set(latin1(bytes), made)
    }
    merges.push([a, b, made])
    mergeEverywhere(words, pairs, pair, a, b, made, queue)
  }
  return { entries, merges }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")
}

function flatten(wordCounts: ReadonlyMap<string, number>): Words {
  const byteToId = new Int32Array(256)
  for (const [id, byte] of byteOrder.entries()) byteToId[byte] = id
  let total = 0
  for (const word of wordCounts.keys()) total += Buffer.byteLength(word, "utf8")
  const n = wordCounts.size
  const words: Words = { symbols: new Int32Array(total), start: new Int32Array(n), length: new Int32Array(n), count: new Float64Array(n) }
  let w = 0
  let at = 0
  for (const [word, count] of wordCounts) {
    const bytes = Buffer.from(word, "utf8")
    words.start[w] = at
    words.length[w] = bytes.length
    words.count[w] = count
    for (const byte of bytes) words.symbols[at++] = byteToId[byte] ?? 0
    w++
  }
  return words
}

/**
 * Adds (`sign` 1) or takes back (-1) the pairs of one word. After a merge the word is already listed with its old pairs:
 * only pairs with the entry `made` are listed anew, and put into `grown`.
 */
function countPairs(words: Words, w: number, pairs: Pairs, sign: 1 | -1, made: number | null, grown: Set<number> | null): void {
  const start = words.start[w] ?? 0
  const end = start + (words.length[w] ?? 0)
  const amount = sign * (words.count[w] ?? 0)
  for (let i = start; i + 1 < end; i++) {
    const a = words.symbols[i] ?? 0
    const b = words.symbols[i + 1] ?? 0
    const pair = pairNumber(pairs, pairKey(a, b))
    pairs.counts[pair] = (pairs.counts[pair] ?? 0) + amount
    if (sign < 0 || (made !== null && a !== made && b !== made)) continue
    const inWords = pairs.words[pair]
    if (inWords !== undefined && inWords.at(-1) !== w) inWords.push(w)
    grown?.add(pair)
  }
}

function pairNumber(pairs: Pairs, key: number): number {
  const known = pairs.index.get(key)
  if (known !== undefined) return known
  const number = pairs.keys.length
  pairs.index.set(key, number)
  pairs.keys.push(key)
  pairs.counts.push(0)
  pairs.words.push([])
  return number
}

function mergeEverywhere(words: Words, pairs: Pairs, pair: number, a: number, b: number, made: number, queue: Queue): void {
  const grown = new Set<number>()
  for (const w of new Set(pairs.words[pair])) {
    const start = words.start[w] ?? 0
    const end = start + (words.length[w] ?? 0)
    if (!holds(words.symbols, start, end, a, b)) continue // merged away since it was listed
    countPairs(words, w, pairs, -1, null, null)
    let to = start
    for (let from = start; from < end; from++) {
      const found = words.symbols[from] === a && from + 1 < end && words.symbols[from + 1] === b
      words.symbols[to++] = found ? made : (words.symbols[from] ?? 0)
      if (found) from++
    }
    words.length[w] = to - start
    countPairs(words, w, pairs, 1, made, grown)
  }
  pairs.words[pair] = []
  for (const p of grown) queue.push(p)
}

function holds(symbols: Int32Array, start: number, end: number, a: number, b: number): boolean {
  for (let i = start; i + 1 < end; i++) if (symbols[i] === a && symbols[i + 1] === b) return true
  return false
}

/** Pairs by count, largest first, then by ids. Counts that fell are corrected when their pair comes to the top. */
class Queue {
  readonly #pairs: Pairs
  readonly #heap: { readonly pair: number; readonly count: number; readonly key: number }[] = []

  constructor(pairs: Pairs) {
    this.#pairs = pairs
  }

  push(pair: number): void {
    const count = this.#pairs.counts[pair] ?? 0
    if (count <= 0) return
    const item = { pair, count, key: this.#pairs.keys[pair] ?? 0 }
    const heap = this.#heap
    let at = heap.length
    heap.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !before(item, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = item
  }

  pop(): number | null {
    for (;;) {
      const top = this.#take()
      if (top === null) return null
      const count = this.#pairs.counts[top.pair] ?? 0
      if (count === top.count) return top.pair
      this.push(top.pair)
    }
  }

  #take(): { readonly pair: number; readonly count: number } | null {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined) return null
    if (heap.length === 0) return top
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      const [left, right] = [heap[child], heap[child + 1]]
      if (left !== undefined && right !== undefined && before(right, left)) child++
      const below = heap[child]
      if (below === undefined || !before(below, last)) break
      heap[at] = below
      at = child
    }
    heap[at] = last
    return top
  }
}

function before(x: { readonly count: number; readonly key: number }, y: { readonly count: number; readonly key: number }): boolean {
  return x.count > y.count || (x.count === y.count && x.key < y.key)
}
