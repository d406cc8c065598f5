/** Byte-pair encoding: merges applied in the order they were learned. */
import type { Cutter } from "./bytelevel.ts"
import type { IdList } from "./tokenizer.ts"

export interface BpeModel {
  /** The symbol each byte starts as; -1 where the vocabulary lacks it. */
  readonly byteIds: Int32Array
  /** `pairKey(a, b)` -> rank; earlier merges have smaller ranks. */
  readonly ranks: ReadonlyMap<number, number>
  /** The id each merge makes, by rank. */
  readonly merged: Int32Array
  /** Words that are entries as they are (`ignore_merges`), in text; null where merges decide. */
  readonly whole: ReadonlyMap<string, number> | null
}

/** Two ids below 2^26 as one exact number, ordered by the first, then the second. */
export function pairKey(a: number, b: number): number {
  return a * 2 ** 26 + b
}

const cachedWords = 1 << 16
const cachedLength = 64
/** Up to this many symbols, looking at all pairs each time is faster than a heap. */
const shortWord = 40

/** An encoder that remembers frequent words. */
export function bpeEncoder(model: BpeModel, cut: Cutter): (text: string, out: IdList) => void {
  const cache = new Map<string, Int32Array>()
  const utf8 = new TextEncoder()
  const encodeWord = (word: string): Int32Array => {
    const entry = model.whole?.get(word)
    if (entry !== undefined) return Int32Array.of(entry)
    const symbols = Int32Array.from(utf8.encode(word), (byte) => model.byteIds[byte] ?? -1).filter((id) => id >= 0)
    return mergeWord(symbols, model)
  }
  return (text, out) => {
    for (const word of cut(text)) {
      const known = cache.get(word)
      if (known !== undefined) {
        out.append(known)
        continue
      }
      const ids = encodeWord(word)
      out.append(ids)
      if (word.length > cachedLength) continue
      if (cache.size >= cachedWords) cache.clear()
      cache.set(word, ids)
    }
  }
}

/** Applies the merge of smallest rank, the leftmost of equals, until none applies. Overwrites `symbols`. */
export function mergeWord(symbols: Int32Array, model: BpeModel): Int32Array {
  return symbols.length <= shortWord ? mergeShort(symbols, model) : mergeLong(symbols, model)
}

function mergeShort(symbols: Int32Array, model: BpeModel): Int32Array {
  let length = symbols.length
  for (;;) {
    let best = Infinity
    let place = -1
    for (let i = 0; i + 1 < length; i++) {
      const rank = model.ranks.get(pairKey(symbols[i] ?? 0, symbols[i + 1] ?? 0))
      if (rank !== undefined && rank < best) {
        best = rank
        place = i
      }
    }
    if (place < 0) return symbols.slice(0, length)
    symbols[place] = model.merged[best] ?? 0
    symbols.copyWithin(place + 1, place + 2, length)
    length--
  }
}

/** The same through a heap of (rank, place), so that a text without blanks does not take quadratic time. */
function mergeLong(symbols: Int32Array, model: BpeModel): Int32Array {
  const n = symbols.length
  const next = Int32Array.from(symbols, (_, i) => i + 1)
  const previous = Int32Array.from(symbols, (_, i) => i - 1)
  const heap: number[] = [] // rank * 2^31 + place
  const offer = (place: number): void => {
    const right = next[place] ?? n
    if (place < 0 || right >= n) return
    const rank = model.ranks.get(pairKey(symbols[place] ?? 0, symbols[right] ?? 0))
    if (rank !== undefined) heapPush(heap, rank * 2 ** 31 + place)
  }
  for (let i = 0; i < n - 1; i++) offer(i)
  while (heap.length > 0) {
    const top = heapPop(heap)
    const rank = Math.floor(top / 2 ** 31)
    const place = top - rank * 2 ** 31
    const right = next[place] ?? n
    // An entry is stale where one of its two symbols was merged meanwhile.
    if (right >= n || (symbols[place] ?? -1) < 0 || model.ranks.get(pairKey(symbols[place] ?? 0, symbols[right] ?? 0)) !== rank) continue
    symbols[place] = model.merged[rank] ?? 0
    symbols[right] = -1
    const after = next[right] ?? n
    next[place] = after
    if (after < n) previous[after] = place
    offer(place)
    offer(previous[place] ?? -1)
  }
  return symbols.filter((id) => id >= 0)
}

function heapPush(heap: number[], value: number): void {
  let at = heap.length
  heap.push(value)
  while (at > 0) {
    const parent = (at - 1) >> 1
    const above = heap[parent] ?? 0
    if (above <= value) break
    heap[at] = above
    at = parent
  }
  heap[at] = value
}

function heapPop(heap: number[]): number {
  const top = heap[0] ?? 0
  const last = heap.pop() ?? 0
  const n = heap.length
  if (n === 0) return top
  let at = 0
  for (let child = 1; child < n; child = 2 * at + 1) {
    if (child + 1 < n && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++
    const below = heap[child] ?? 0
    if (below >= last) break
    heap[at] = below
    at = child
  }
  heap[at] = last
  return top
}
