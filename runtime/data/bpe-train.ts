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

/**
 * Every distinct word as symbols in one flat array. A merge keeps the place of its first symbol and unlinks the second,
 * so that its cost does not depend on the length of the word.
 */
interface Text {
  readonly symbols: Int32Array // -1 where merged into an earlier place
  readonly next: Int32Array // -1 at the end of a word
  readonly previous: Int32Array // -1 at its beginning
  readonly word: Int32Array
  readonly count: Float64Array // of each word
}

/** Counts of adjacent pairs, and the places each pair begins at; places may be stale. */
interface Pairs {
  readonly index: Map<number, number> // pair key -> number of the pair
  readonly keys: number[]
  readonly counts: number[]
  readonly places: number[][]
}

/** Learns entries until there are `size` (at least 256) or no pair occurs twice. */
export function learnBpe(wordCounts: ReadonlyMap<string, number>, size: number): LearnedBpe {
  const text = linked(wordCounts)
  const pairs: Pairs = { index: new Map(), keys: [], counts: [], places: [] }
  for (let at = 0; at < text.symbols.length; at++) addPair(text, pairs, at)
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
    for (const grown of mergeEverywhere(text, pairs, pair, a, b, made)) queue.push(grown)
  }
  return { entries, merges }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")
}

function linked(wordCounts: ReadonlyMap<string, number>): Text {
  const byteToId = new Int32Array(256)
  for (const [id, byte] of byteOrder.entries()) byteToId[byte] = id
  let total = 0
  for (const word of wordCounts.keys()) total += Buffer.byteLength(word, "utf8")
  const text: Text = {
    symbols: new Int32Array(total), next: new Int32Array(total), previous: new Int32Array(total), word: new Int32Array(total),
    count: Float64Array.from(wordCounts.values()),
  }
  let at = 0
  let w = 0
  for (const word of wordCounts.keys()) {
    const start = at
    for (const byte of Buffer.from(word, "utf8")) {
      text.symbols[at] = byteToId[byte] ?? 0
      text.previous[at] = at === start ? -1 : at - 1
      text.next[at] = at + 1
      text.word[at++] = w
    }
    if (at > start) text.next[at - 1] = -1
    w++
  }
  return text
}

/** Counts the pair that begins at a place, if one does; yields its number. */
function addPair(text: Text, pairs: Pairs, at: number): number | null {
  const right = text.next[at] ?? -1
  if (right < 0) return null
  const pair = pairNumber(pairs, pairKey(text.symbols[at] ?? 0, text.symbols[right] ?? 0))
  pairs.counts[pair] = (pairs.counts[pair] ?? 0) + (text.count[text.word[at] ?? 0] ?? 0)
  pairs.places[pair]?.push(at)
  return pair
}

/** Takes back the count of the pair that begins at a place. */
function removePair(text: Text, pairs: Pairs, at: number): void {
  const right = text.next[at] ?? -1
  if (right < 0) return
  const pair = pairNumber(pairs, pairKey(text.symbols[at] ?? 0, text.symbols[right] ?? 0))
  pairs.counts[pair] = (pairs.counts[pair] ?? 0) - (text.count[text.word[at] ?? 0] ?? 0)
}

function pairNumber(pairs: Pairs, key: number): number {
  const known = pairs.index.get(key)
  if (known !== undefined) return known
  const number = pairs.keys.length
  pairs.index.set(key, number)
  pairs.keys.push(key)
  pairs.counts.push(0)
  pairs.places.push([])
  return number
}

/** Merges a pair at all its places, from left to right; yields the pairs that became more frequent. */
function mergeEverywhere(text: Text, pairs: Pairs, pair: number, a: number, b: number, made: number): ReadonlySet<number> {
  const grown = new Set<number>()
  const places = Int32Array.from(pairs.places[pair] ?? []).sort()
  pairs.places[pair] = []
  for (const at of places) {
    const right = text.next[at] ?? -1
    if (text.symbols[at] !== a || right < 0 || text.symbols[right] !== b) continue
    const before = text.previous[at] ?? -1
    const after = text.next[right] ?? -1
    if (before >= 0) removePair(text, pairs, before)
    removePair(text, pairs, right)
    text.symbols[at] = made
    text.symbols[right] = -1
    text.next[at] = after
    if (after >= 0) text.previous[after] = at
    for (const place of before >= 0 ? [before, at] : [at]) {
      const added = addPair(text, pairs, place)
      if (added !== null) grown.add(added)
    }
  }
  pairs.counts[pair] = 0 // overlapping occurrences (`aaa`) were counted and are gone
  return grown
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
