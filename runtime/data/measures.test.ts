import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { textMeasures } from "../../compiler/check/text-measures.ts"
import { filter } from "./filter.ts"
import { measuresOf } from "./measures.ts"
import { expectGood } from "./result.ts"
import { novel, rowsOf, textsOf, told } from "./testing.ts"
import { documents } from "./documents.ts"

const near = (found: number, wanted: number, what: string): void => assert.ok(Math.abs(found - wanted) < 1e-9, `${what}: ${found}, not ${wanted}`)

test("each measure of a small text, counted by hand", () => {
  const text = "# The cat\n- sat on 2 mats.\n\n- sat on 2 mats.\nand so it went...\nEND {1} !?"
  const m = measuresOf(text)
  const words = ["#", "The", "cat", "-", "sat", "on", "2", "mats.", "-", "sat", "on", "2", "mats.", "and", "so", "it", "went...", "END", "{1}", "!?"]
  const letters = words.join("").replace(/[^a-z]/gi, "").length
  const visible = words.join("").length
  const wanted = {
    characters: text.length, words: 20, lines: 5, paragraphs: 2, sentences: 4, word_length: visible / 20, longest_word: 7, letters: letters / visible, digits: 3 / visible, capitals: 4 / letters, symbols: 2 / 20,
    worded: 13 / 20, stop_words: 2, braces: 2, filler: 0, bulleted: 2 / 5, trailing_off: 1 / 5, finished: 4 / 5, short_lines: 1,
    repeated_lines: 1 / 5, repeated_line_characters: 16 / 68, repeated_paragraphs: 0, repeated_paragraph_characters: 0,
    top_2: 18 / visible, top_3: 0, top_4: 0, repeated_5: 12 / visible, repeated_6: 0, repeated_7: 0, repeated_8: 0, repeated_9: 0, repeated_10: 0,
  }
  near(m.words, wanted.words, "words")
  for (const name of ["characters", "lines", "paragraphs", "word_length", "longest_word", "letters", "digits", "capitals", "symbols", "worded", "stop_words", "braces", "filler", "bulleted", "trailing_off", "finished", "short_lines", "repeated_lines", "repeated_paragraphs", "repeated_5", "repeated_6"] as const) near(m[name], wanted[name], name)
  assert.equal(Object.keys(m).sort(), [...textMeasures].sort())
  near(measuresOf("Lorem ipsum dolor").filler, 1, "filler")
  near(measuresOf("One. Two! Three? four").sentences, 3, "sentences")
})

test("n-grams: the one that takes most characters, and what lies in repeated ones", () => {
  near(measuresOf("a b a b a b c d").top_2, 6 / 8, "a b, three times")
  near(measuresOf("aa b aa b c d").top_2, 6 / 8, "aa b, twice")
  near(measuresOf("one two three four five six").top_2, 0, "none twice")
  const line = "p q r s t "
  near(measuresOf(line.repeat(3)).repeated_5, 10 / 15, "all but the first")
  near(measuresOf(line.repeat(3)).repeated_10, 10 / 15, "the last ten, which are the first ten")
})

test("measures are finite, shares lie between 0 and 1, and nothing is lost by it", () => {
  const shares = textMeasures.filter((name) => !["characters", "words", "lines", "paragraphs", "sentences", "word_length", "longest_word", "stop_words", "braces", "symbols"].includes(name) && !name.startsWith("top_"))
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
    const m = measuresOf(text)
    for (const name of textMeasures) assert.ok(Number.isFinite(m[name]) && m[name] >= 0, name)
    for (const name of shares) assert.ok(m[name] <= 1, name)
  }), { numRuns: 500, seed: 3 })
})

test("no text takes more than linear time", () => {
  for (const unit of ["a ", ". ", "\n", "- \n", "…", "#", "the ", "\"", ")", "{"]) {
    const before = process.cpuUsage().user
    measuresOf(unit.repeat(Math.ceil(100_000 / unit.length)))
    const ms = (process.cpuUsage().user - before) / 1000
    assert.ok(ms < 3000, `${JSON.stringify(unit)}: ${ms.toFixed(0)} ms`)
  }
})

test("the first reason is counted, and a real text mostly stays", () => {
  const rows = expectGood(documents(novel()), "test").value
  const { value, report } = expectGood(filter(rows, (m) => (m.words < 8 ? "too_short" : m.letters < 0.7 ? "few_letters" : null)), "test")
  assert.is(report.drops[0]?.reason, "too short")
  assert.ok(value.count > 2000 && value.count < rows.count)
  assert.is(value.count + report.drops.reduce((n, drop) => n + drop.count, 0), rows.count)
  assert.ok(textsOf(value).every((text) => text.split(/\s+/).length >= 8))
  assert.is(told(filter(rowsOf(["a", "b"]), () => "no_reason")), "SLM3116 the filter dropped all 2 rows")
})

test.run()
