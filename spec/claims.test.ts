import { readFileSync, readdirSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../compiler/check/check.ts"
import { parse } from "../grammar/parse.ts"
import { format } from "../grammar/print.ts"
import { renderDiagnostics } from "../grammar/render.ts"
import { moduleReader } from "../runtime/library.ts"
import type { Measured } from "./claims/table.ts"
import { claimsIn, row, verdict } from "./claims/table.ts"

const folder = new URL("claims/", import.meta.url)

for (const name of readdirSync(folder).filter((n) => n.endsWith(".slm") && n !== ".slm")) {
  test(`claims/${name} has no mistakes, its canonical layout, and a claim for every condition`, () => {
    const source = { id: name, text: readFileSync(new URL(name, folder), "utf8") }
    const checked = check(source, { modules: moduleReader(folder.pathname), params: new Map(), facts: new Map() })
    assert.is(renderDiagnostics(checked.diagnostics, checked.sources, { color: false }), "")
    assert.is(format(parse(source).module, source), source.text)
    assert.ok(claimsIn(source).length > 0)
  })
}

const less = (pairs: readonly (readonly [number, number])[]): Measured[] => pairs.map(([left, right]) => ({ left, right, operator: "<", holds: left < right }))

test("a claim holds beyond the spread of three seeds, or is open", () => {
  assert.is(verdict(less([[10, 12], [11, 13.5], [20, 22.2]])), "holds", "differences count, not levels")
  assert.is(verdict(less([[10, 12], [11, 13], [20, 19.9]])), "open", "one seed against it")
  assert.is(verdict(less([[10, 10.1], [10, 10.1], [10, 19]])), "open", "one seed decides")
  assert.is(verdict(less([[10, 12], [11, 13]])), "open", "two seeds")
  const same = (left: number, right: number): Measured => ({ left, right, operator: "==", holds: left === right })
  assert.is(verdict([same(3, 3), same(4, 4), same(5, 5)]), "holds")
  assert.is(verdict([same(3, 3), same(4, 4), same(5, 5.1)]), "open")
})

test("a row shows both sides, and what was not measured", () => {
  const claim = { claim: "a < b", source: "here", setting: "x | y", condition: "a < b" }
  assert.is(row(claim, []), "| a &lt; b | here | x \\| y | not measured | open |")
  assert.is(row(claim, less([[69.1, 70], [69.2, 70.2], [69.3, 70.4]])), "| a &lt; b | here | x \\| y | 69.20 ± 0.10 &lt; 70.20 ± 0.20 | **holds** |")
  assert.match(row(claim, less([[71, 70], [69.2, 70.2], [69.3, 70.4]])), "open (2 of 3 seeds)")
})

test("claims and conditions must go together", () => {
  const text = "// claim: a\n// source: b\n// setting: c\nexpect 1 < 2\nexpect 2 < 3\n"
  assert.throws(() => claimsIn({ id: "x.slm", text }), /1 claims and 2 conditions/)
  const late = "// claim: a\n// source: b\n// setting: c\n// claim: a\n// source: b\n// setting: c\nexpect 1 < 2\nexpect 2 < 3\n"
  assert.throws(() => claimsIn({ id: "x.slm", text: late }), /no claim of its own/)
})

test.run()
