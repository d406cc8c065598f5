import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { renderDiagnostics } from "../../grammar/render.ts"
import type { Checked } from "./check.ts"
import { checkText } from "./check-text.fixture.ts"

/** Recipes with a piece cut out, doubled, moved or replaced: the checker says something about them, and never throws. */
const cases = fileURLToPath(new URL("../../spec/tests/", import.meta.url))

const recipes = ["names", "types", "shapes", "meaning"].flatMap((chapter) => ["accept", "reject"].flatMap((kind) => {
  const folder = join(cases, chapter, kind)
  return readdirSync(folder).filter((f) => f.endsWith(".slm") && f !== "too-long.slm").map((f) => readFileSync(join(folder, f), "utf8"))
}))
const words = [...new Set(recipes.flatMap((text) => text.match(/[A-Za-z_]\w*|\d[\w.%]*|"[^"\n]*"|[-+*/^%=<>|@&!.]+|[()[\]{},:\n]/g) ?? []))]

function run(text: string): Checked {
  return checkText(text, { params: { steps: "3" } })
}

interface Edit { readonly at: number; readonly length: number; readonly what: "cut" | "double" | "replace" | "insert"; readonly word: string }
const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }), length: fc.integer({ min: 0, max: 3 }),
  what: fc.constantFrom("cut", "double", "replace", "insert"), word: fc.constantFrom(...words),
})

function edited(text: string, { at, length, what, word }: Edit): string {
  const tokens = text.match(/[A-Za-z_]\w*|\d[\w.%]*|"[^"\n]*"|\/\/[^\n]*|\s+|./g) ?? []
  const i = Math.floor(at * tokens.length)
  const piece = tokens.slice(i, i + length)
  const middle = what === "cut" ? [] : what === "double" ? [...piece, ...piece] : what === "replace" ? [word] : [" ", word, " ", ...piece]
  return [...tokens.slice(0, i), ...middle, ...tokens.slice(i + length)].join("")
}

const mutated = fc.tuple(fc.constantFrom(...recipes), fc.array(edit, { minLength: 1, maxLength: 3 })).map(([text, edits]) => edits.reduce(edited, text))
const runs = Number(process.env["FUZZ_RUNS"] ?? 700)

test("mutated recipes are checked without throwing, and their mistakes can be shown", () => {
  fc.assert(fc.property(mutated, (text) => {
    const checked = run(text)
    assert.ok(checked.recipe !== null || checked.diagnostics.some((d) => d.severity === "error"), "a recipe that is not accepted has a mistake")
    assert.type(renderDiagnostics(checked.diagnostics, checked.sources, { color: false }), "string")
  }), { numRuns: runs })
})

test("random text", () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), fc.array(fc.constantFrom(...words), { maxLength: 60 }).map((w) => w.join(" "))), (text) => {
    assert.ok(run(text).diagnostics.length >= 0)
  }), { numRuns: runs })
})

test.run()
