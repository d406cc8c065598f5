import { test } from "uvu"
import * as assert from "uvu/assert"
import { maxErrors, maxTextLength } from "./limits.ts"
import { parse } from "./parse.ts"
import type { Parsed } from "./parse.ts"

function read(text: string): Parsed {
  return parse({ id: "test.slm", text })
}

function codes(text: string): readonly string[] {
  return read(text).diagnostics.map((d) => d.code)
}

test("depth is bounded where any construct nests", () => {
  const nests: readonly (readonly [string, string, string])[] = [
    ["(", "a", ")"], ["[", "1", "]"], ["{ a: ", "1", " }"], ["f(", "a", ")"], ["x => ", "a", ""], ["(x, y) => ", "a", ""], ["if a then b else ", "c", ""], ["if ", "a", " then b else c"],
    ["a[", "1", "]"], ["repeat 2 { ", "1", " }"], ["train (", "a", ") {}"], ["a with { b: ", "1", " }"], ["{ let a = ", "1", " a }"], ["-", "1", ""], ["not ", "a", ""], ["a ^ ", "1", ""],
    ["a |> ", "b", ""], ["a + ", "1", ""], ["a.", "b", ""], ["f(x, y: [", "1", "])"],
  ]
  for (const [open, middle, close] of nests) {
    for (const depth of [20, 99, 150, 3000]) {
      const found = codes(`let a = ${open.repeat(depth)}${middle}${close.repeat(depth)}`)
      if (depth === 20) assert.equal(found, [], open)
      if (depth === 3000) assert.ok(found.includes("SLM1008"), open)
    }
    assert.ok(read(`let a = ${open.repeat(3000)}`).diagnostics.length > 0, "cut short")
  }
})

test("a text of 1 MiB is read, a longer one is not", () => {
  const line = "let a = f(1, b: [2, 3]) |> g // c\n"
  const text = line.repeat(Math.floor(maxTextLength / line.length))
  const { module, diagnostics } = read(text)
  assert.is(module.items.length, Math.floor(maxTextLength / line.length))
  assert.equal(diagnostics, [])
  assert.equal(codes(`${text}${line}`), ["SLM1009"])
})

test("junk has a bounded number of diagnostics", () => {
  for (const junk of ["(", '"{ ', "let "]) {
    assert.ok(codes(junk.repeat(100_000 / junk.length)).length <= maxErrors + 1, junk)
  }
  const many = codes("let = 1\n".repeat(200))
  assert.is(many.length, maxErrors + 1)
  assert.is(many.at(-1), "SLM1030")
})

test.run()
