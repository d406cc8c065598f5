import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { narrowTable } from "./show.ts"
import { columns, cut, oneLine, visible, wrap } from "./text.ts"

const red = (text: string): string => `\u001b[31m${text}\u001b[39m`

test("wide characters take two columns, marks and colours none", () => {
  assert.equal(["abc", "中文", "é", "e\u0301", "🐋", red("ab"), ""].map(columns), [3, 4, 1, 1, 2, 2, 0])
})

test("a text is cut at the width with an ellipsis, and ends in its own colour", () => {
  assert.is(cut("The whale", 9), "The whale")
  assert.is(cut("The whale swims", 9), "The whal…")
  assert.is(cut("中文字", 5), "中文…")
  assert.is(cut(red("The whale swims"), 9), red("The whal…"))
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 40 }), (text, width) => columns(cut(text, width)) <= width))
})

test("lines break at spaces, long words anywhere, and nothing but spaces is lost", () => {
  assert.equal(wrap("the whale swims in the sea", 10), ["the whale", "swims in", "the sea"])
  assert.equal(wrap("Leviathanleviathan swims", 8, "  "), ["Leviatha", "  nlevia", "  than", "  swims"])
  const text = fc.array(fc.string({ unit: fc.constantFrom(..."ab 中🐋é"), maxLength: 12 })).map((words) => words.join(" "))
  fc.assert(fc.property(text, fc.integer({ min: 4, max: 40 }), (given, width) => {
    const lines = wrap(given, width)
    return lines.every((line) => columns(line.trimEnd()) <= width) && lines.join("").replaceAll(" ", "") === given.replaceAll(" ", "")
  }))
})

test("a table that is wider than the terminal leaves out what is spare, then cuts names", () => {
  const rows = [["", "stage", "kind", "memory"], ["+", "evaluate teacher", "evaluate", "5.97 MB"], ["=", "中文", "text", ""]]
  const at = (width: number) => narrowTable(rows, [false, false, false, true], width, { spare: ["kind"], long: "stage" })
  assert.equal(at(38), { lines: ["   stage             kind       memory", "+  evaluate teacher  evaluate  5.97 MB", "=  中文              text"], leftOut: [] })
  assert.equal(at(37), { lines: ["   stage              memory", "+  evaluate teacher  5.97 MB", "=  中文"], leftOut: ["kind"] })
  assert.equal(at(24).lines, ["   stage          memory", "+  evaluate te…  5.97 MB", "=  中文"])
  assert.equal(at(Infinity).leftOut, [])
  fc.assert(fc.property(fc.integer({ min: 20, max: 60 }), (width) => at(width).lines.every((line) => columns(line) <= width)))
})

test("what a model writes cannot steer the terminal", () => {
  assert.is(oneLine("a\u001b[2J\u0007b\r\nc\td\u202ee\ufffd\ufffd"), "a·[2J·b ⏎ c d·e�")
  assert.is(visible("a\u001b]0;x\u0007\n\tb"), "a·]0;x·\n    b")
})

test.run()
