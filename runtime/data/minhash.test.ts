import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { bandsFor, distinct, distinctParts, estimate, jaccard, shingles, signature, type DistinctOptions } from "./minhash.ts"
import { renderReport } from "./report.ts"
import { expectGood } from "./result.ts"
import { novel, rowsOf, textsOf, told } from "./testing.ts"
import { documents } from "./documents.ts"
import { takeRows } from "./rows.ts"

const options: DistinctOptions = { threshold: 0.7, by: "words", size: 3, hashes: 128, seed: 0 }

/** The definition, without hashes: sets of shingles as texts. */
function exact(a: string, b: string, size: number): number {
  const of = (text: string): Set<string> => {
    const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
    return new Set(words.length <= size ? [words.join(" ")] : words.slice(size - 1).map((_, i) => words.slice(i, i + size).join(" ")))
  }
  const [x, y] = [of(a), of(b)]
  const both = [...x].filter((one) => y.has(one)).length
  return both / (x.size + y.size - both)
}

const word = fc.constantFrom("the", "white", "whale", "sea", "ship", "captain", "old", "man", "rose", "sank")
const sentence = fc.array(word, { minLength: 1, maxLength: 40 }).map((words) => words.join(" "))

test("the overlap of hashed shingles is the overlap of shingles", () => {
  fc.assert(fc.property(sentence, sentence, fc.integer({ min: 1, max: 6 }), (a, b, size) => {
    const found = jaccard(shingles(a, { by: "words", size }), shingles(b, { by: "words", size }))
    assert.ok(Math.abs(found - exact(a, b, size)) < 1e-12, `${a} | ${b}`)
  }), { numRuns: 500, seed: 1 })
})

test("a row is dropped if, and only if, it overlaps an earlier row that stays", () => {
  const edited = fc.tuple(sentence, fc.array(fc.tuple(fc.nat(39), word), { maxLength: 3 })).map(([text, edits]) => {
    const words = text.split(" ")
    for (const [at, put] of edits) words[at % words.length] = put
    return [text, words.join(" ")]
  })
  let [wrong, right] = [0, 0]
  fc.assert(fc.property(fc.array(edited, { minLength: 1, maxLength: 8 }), (pairs) => {
    const texts = pairs.flat()
    const kept = textsOf(expectGood(distinct(rowsOf(texts), options), "test").value)
    const wanted: string[] = []
    for (const text of texts) if (!wanted.some((one) => exact(one, text, 3) >= 0.7)) wanted.push(text)
    // Nothing that differs is ever dropped; at the threshold one in a hundred may be overlooked.
    for (const text of texts) assert.ok(kept.some((one) => one === text || exact(one, text, 3) >= 0.7), text)
    if (kept.join("|") === wanted.join("|")) right++
    else wrong++
  }), { numRuns: 300, seed: 2 })
  assert.ok(wrong <= 0.02 * right, `${wrong} of ${wrong + right} sets differ from the definition`)
})

test("equal hashes estimate the overlap, the better the more there are", () => {
  const base = Array.from({ length: 400 }, (_, i) => `w${i}`)
  for (const shared of [100, 250, 350]) {
    const [a, b] = [base, [...base.slice(0, shared), ...Array.from({ length: 400 - shared }, (_, i) => `v${i}`)]].map((words) => shingles(words.join(" "), { by: "words", size: 1 }))
    if (a === undefined || b === undefined) throw new Error("no sets")
    const truth = jaccard(a, b)
    for (const [hashes, within] of [[64, 0.2], [1024, 0.05]] as const) {
      for (const seed of [0, 1, 2]) assert.ok(Math.abs(estimate(signature(a, { hashes, seed }), signature(b, { hashes, seed })) - truth) < within, `${shared} ${hashes} ${seed}`)
    }
  }
})

test("bands overlook a pair at the threshold in one case of a hundred at most, with the fewest candidates", () => {
  for (const threshold of [0.3, 0.5, 0.7, 0.8, 0.9, 1]) for (const hashes of [16, 64, 128, 256]) {
    const { bands, rows } = bandsFor(threshold, hashes)
    assert.ok(bands * rows <= hashes)
    const missed = (n: number): number => (1 - threshold ** n) ** Math.floor(hashes / n)
    if (rows > 1) assert.ok(missed(rows) <= 0.01)
    assert.ok(rows === hashes || missed(rows + 1) > 0.01)
  }
  assert.equal(bandsFor(0.8, 128), { bands: 21, rows: 6 })
})

test("parts are compared together: what is measured stays", () => {
  const text = "the old captain rose and the white whale sank in the sea"
  const parts = { train: rowsOf([`${text} again`, "something else entirely, about the land and its trees"]), valid: rowsOf([text]), test: null }
  const { train, valid } = expectGood(distinctParts(parts, options), "test")
  assert.equal(textsOf(train.value), ["something else entirely, about the land and its trees"])
  assert.is(valid?.value.count, 1)
  assert.is(told(distinctParts({ ...parts, train: rowsOf([text]) }, options)), "SLM3116 all 1 rows nearly repeat rows of the parts that are measured")
})

test("a real text: copies with small changes go, the first stays, and the report shows pairs", () => {
  const paragraphs = takeRows(expectGood(documents(novel()), "test").value, 600)
  const texts = textsOf(paragraphs).filter((text) => text.length > 200)
  const changed = texts.slice(0, 100).map((text) => text.replace(/\bthe\b/, "that").toUpperCase())
  const { value, report } = expectGood(distinct(rowsOf([...texts, ...changed]), { ...options, size: 5 }), "test")
  assert.ok(report.before - report.after >= 98, `${report.before} -> ${report.after}`)
  assert.equal(textsOf(value).slice(0, 3), texts.slice(0, 3))
  const [drop] = report.drops
  assert.is(drop?.samples.length, 4, "two pairs")
  assert.match(renderReport({ name: "book", steps: [report], parts: [] }), /dropped (99|100|9\d): overlap with an earlier text by 70% or more\n.*test:\d+ .*\n.*\d+% of test:\d+/)
  const again = expectGood(distinct(rowsOf([...texts, ...changed]), { ...options, size: 5 }), "test")
  assert.equal(textsOf(again.value), textsOf(value), "the same rows, each time")
})

test("hostile rows: many that share a beginning, none, and letters", () => {
  const start = "all rows begin with the same long line of boilerplate text that says nothing at all ".repeat(3)
  const rows = rowsOf(Array.from({ length: 3000 }, (_, i) => `${start} ${Array.from({ length: 60 }, (_, j) => `x${i}y${j}`).join(" ")}`))
  const before = process.cpuUsage().user
  assert.is(expectGood(distinct(rows, { ...options, threshold: 0.5 }), "test").value.count, 3000)
  assert.ok((process.cpuUsage().user - before) / 1e6 < 30)
  assert.is(expectGood(distinct(rowsOf(["", "", "…", "…"]), options), "test").value.count, 4, "texts without a word are left to `clean`")
  assert.is(expectGood(distinct(rowsOf(["abcdefghij", "abcdefghi", "zzzzz"]), { ...options, by: "letters", size: 2 }), "test").value.count, 2)
})

test.run()
