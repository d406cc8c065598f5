import { readdirSync, readFileSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { syntaxCodes } from "./codes.ts"
import { parse } from "./parse.ts"

const rejected = new URL("../spec/tests/syntax/reject/", import.meta.url)
/** Their wrong texts are too long for a page; `limits.test.ts` makes them. */
const long: ReadonlySet<string> = new Set(["SLM1008", "SLM1009", "SLM1030"])

function codesOf(text: string): readonly string[] {
  return parse({ id: "page.slm", text }).diagnostics.map((d) => d.code)
}

for (const [code, { title, page }] of Object.entries(syntaxCodes)) {
  test(`${code}: ${title}`, () => {
    const [right, wrong] = [...page.matchAll(/```slm\n([^]*?)\n```/g)].map((m) => m[1] ?? "").reverse()
    assert.equal(codesOf(right ?? ""), [], "the right example is right")
    if (!long.has(code)) assert.ok(codesOf(wrong ?? "").includes(code), `the wrong example has ${code}`)
    assert.ok(page.startsWith(`# ${title}\n`))
  })
}

test("every code has a page and a rejected case in the spec, or a test of limits", () => {
  const texts = readdirSync(rejected).filter((f) => f.endsWith(".txt")).map((f) => readFileSync(new URL(f, rejected), "utf8"))
  const shown = new Set(texts.flatMap((text) => [...text.matchAll(/\[(SLM1\d{3})\]/g)].map((m) => m[1] ?? "")))
  const limits = readFileSync(new URL("./limits.test.ts", import.meta.url), "utf8")
  for (const code of shown) assert.ok(syntaxCodes[code], `${code} has no page`)
  for (const code of Object.keys(syntaxCodes)) assert.ok(shown.has(code) || limits.includes(code), `${code} has no case`)
})

test.run()
