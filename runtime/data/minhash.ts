/**
 * Near duplicates: texts as sets of shingles, signatures of smallest hashes (Broder, 1997), candidates by bands (Leskovec et al., 2014), each
 * candidate compared exactly before anything is dropped.
 */
import { mixed } from "./mix32.ts"
import { contentOf, contentText, pickRows, type Parts, type Rows } from "./rows.ts"
import { bad, excerpt, failure, good, type Result } from "./result.ts"
import { placeOf } from "./rows.ts"
import type { Sample, Stepped } from "./steps.ts"

export interface DistinctOptions {
  /** Texts whose shingles overlap by so much (Jaccard) are one. */
  readonly threshold: number
  readonly by: "words" | "letters"
  /** Words, or letters, in a shingle. */
  readonly size: number
  readonly hashes: number
  readonly seed: number
}

// ---------------------------------------------------------------- shingles

/** The hashes of a text's shingles, each once. Case and marks do not count. A text shorter than one shingle is one. */
export function shingles(text: string, { by, size }: Pick<DistinctOptions, "by" | "size">): ReadonlySet<number> {
  const units = by === "words" ? (text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? []) : Array.from(text.toLowerCase().replace(/[^\p{L}\p{M}\p{N}]+/gu, " ").trim())
  const hashes = units.map(hashOf)
  const found = new Set<number>()
  if (hashes.length === 0) return found
  for (let at = 0; at === 0 || at + size <= hashes.length; at++) {
    let [low, high] = [0, 0]
    for (let i = at; i < Math.min(at + size, hashes.length); i++) {
      low = mixed(low ^ (hashes[i] ?? 0), 0x9e3779b9)
      high = mixed(high ^ (hashes[i] ?? 0), 0x7f4a7c15)
    }
    found.add((high & 0x1fffff) * 2 ** 32 + low)
  }
  return found
}

function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return mixed(hash >>> 0, text.length)
}

export function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  const [small, large] = a.size < b.size ? [a, b] : [b, a]
  let both = 0
  for (const x of small) if (large.has(x)) both++
  return a.size + b.size === 0 ? 0 : both / (a.size + b.size - both)
}

// ---------------------------------------------------------------- signatures and bands

export function signature(set: ReadonlySet<number>, { hashes, seed }: Pick<DistinctOptions, "hashes" | "seed">): Uint32Array {
  const least = new Uint32Array(hashes).fill(0xffffffff)
  for (const shingle of set) {
    const x = mixed((shingle >>> 0) ^ Math.floor(shingle / 2 ** 32), seed)
    for (let i = 0; i < hashes; i++) {
      const h = mixed(x, i)
      if (h < (least[i] ?? 0)) least[i] = h
    }
  }
  return least
}

export interface Bands { readonly bands: number; readonly rows: number }

/** A pair exactly at the threshold is overlooked this often at most, if so many hashes can do it. */
const missed = 0.01

/** The most hashes per band (the fewest candidates to look at) with which a pair at the threshold is hardly ever overlooked. */
export function bandsFor(threshold: number, hashes: number): Bands {
  for (let rows = hashes; rows > 1; rows--) {
    const bands = Math.floor(hashes / rows)
    if ((1 - threshold ** rows) ** bands <= missed) return { bands, rows }
  }
  return { bands: hashes, rows: 1 }
}

/** Texts that share a band with this one, at most: more share boilerplate, and the earliest are looked at. */
const mostCandidates = 256

interface Index {
  /** The earlier text that this one nearly repeats, if there is one; else this one is remembered. */
  add(rows: Rows, row: number, text: string): { readonly rows: Rows; readonly row: number; readonly text: string; readonly overlap: number } | null
}

function createIndex(options: DistinctOptions): Index {
  const { bands, rows: perBand } = bandsFor(options.threshold, options.hashes)
  const buckets = Array.from({ length: bands }, () => new Map<number, number[]>())
  const kept: { readonly rows: Rows; readonly row: number; readonly text: string; readonly signature: Uint32Array }[] = []
  // An estimate lies this far below the truth in fewer than one of a thousand cases.
  const slack = 3.1 * Math.sqrt((options.threshold * (1 - options.threshold)) / options.hashes)
  const sets = new Map<number, ReadonlySet<number>>()
  const setOf = (at: number): ReadonlySet<number> => {
    const known = sets.get(at) ?? shingles(kept[at]?.text ?? "", options)
    if (sets.size >= 512) sets.clear()
    sets.set(at, known)
    return known
  }
  return {
    add(rows, row, text) {
      const set = shingles(text, options)
      if (set.size === 0) return null
      const own = signature(set, options)
      const keys = buckets.map((_, band) => bandKey(own, band * perBand, perBand))
      const candidates = new Set<number>()
      for (const [band, key] of keys.entries()) for (const at of buckets[band]?.get(key) ?? []) if (candidates.size < mostCandidates) candidates.add(at)
      for (const at of [...candidates].sort((a, b) => a - b)) {
        const other = kept[at]
        if (other === undefined || estimate(own, other.signature) < options.threshold - slack) continue
        const overlap = jaccard(set, setOf(at))
        if (overlap >= options.threshold) return { rows: other.rows, row: other.row, text: other.text, overlap }
      }
      kept.push({ rows, row, text, signature: own })
      for (const [band, key] of keys.entries()) {
        const bucket = buckets[band]?.get(key)
        if (bucket === undefined) buckets[band]?.set(key, [kept.length - 1])
        else if (bucket.length < mostCandidates) bucket.push(kept.length - 1)
      }
      return null
    },
  }
}

function bandKey(signature: Uint32Array, from: number, count: number): number {
  let [low, high] = [0, 0]
  for (let i = from; i < from + count; i++) {
    low = mixed(low ^ (signature[i] ?? 0), 0x85ebca6b)
    high = mixed(high ^ (signature[i] ?? 0), 0xc2b2ae35)
  }
  return (high & 0x1fffff) * 2 ** 32 + low
}

/** The share of equal hashes: its mean is the overlap of the two sets. */
export function estimate(a: Uint32Array, b: Uint32Array): number {
  let equal = 0
  for (let i = 0; i < a.length; i++) if (a[i] === b[i]) equal++
  return equal / a.length
}

/** Bytes that so many rows take while they are compared. */
export function distinctBytes(rows: number, { hashes, threshold }: DistinctOptions): number {
  return rows * (4 * hashes + 40 * bandsFor(threshold, hashes).bands + 200)
}

// ---------------------------------------------------------------- rows

/** Drops every row that nearly repeats one before it that stays. */
export function distinct(rows: Rows, options: DistinctOptions): Result<Stepped<Rows>> {
  return distinctAgainst(rows, options, createIndex(options))
}

/** Parts are compared together: what is measured stays, and is dropped where it would be learned. */
export function distinctParts(parts: Parts<Rows>, options: DistinctOptions): Result<Parts<Stepped<Rows>>> {
  const index = createIndex(options)
  const [test, valid, train] = [parts.test, parts.valid, parts.train].map((part) => (part === null ? null : distinctAgainst(part, options, index)))
  const failed = [test, valid, train].flatMap((part) => (part?.ok === false ? part.failures : []))
  if (train?.ok !== true || failed.length > 0) return { ok: false, failures: failed }
  return good({ train: train.value, valid: valid?.ok === true ? valid.value : null, test: test?.ok === true ? test.value : null })
}

function distinctAgainst(rows: Rows, options: DistinctOptions, index: Index): Result<Stepped<Rows>> {
  const content = contentOf(rows)
  if (!content.ok) return content
  if (rows.dialogue !== null) return bad(failure("SLM3124", "rendered conversations are not compared", "compare the rows first: `|> distinct() |> chat()`"))
  const kept: number[] = []
  const samples: Sample[] = []
  for (let row = 0; row < rows.count; row++) {
    const text = contentText(content.value, row)
    const found = index.add(rows, row, text)
    if (found === null) kept.push(row)
    else if (samples.length < 4) {
      samples.push({ place: placeOf(rows, row), text: excerpt(text, 70) })
      samples.push({ place: `${(100 * found.overlap).toFixed(0)}% of ${placeOf(found.rows, found.row)}`, text: excerpt(found.text, 70) })
    }
  }
  if (kept.length === 0) return bad(failure("SLM3116", `all ${rows.count} rows nearly repeat rows of the parts that are measured`))
  const dropped = rows.count - kept.length
  const reason = `overlap with an earlier text by ${Number((100 * options.threshold).toFixed(2))}% or more`
  return good({ value: pickRows(rows, kept), report: { step: "distinct", before: rows.count, after: kept.length, drops: dropped === 0 ? [] : [{ reason, count: dropped, samples }], notes: [] } })
}
