import { readFileSync, writeFileSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { grammarEbnf } from "./ebnf.ts"

const path = new URL("../spec/1-syntax.md", import.meta.url)
const block = /(```ebnf\n)([^]*?)(```)/

test("the grammar in the spec is that of the parser", () => {
  const spec = readFileSync(path, "utf8")
  const grammar = `${grammarEbnf()}\n`
  if (process.env["UPDATE"] === "1") writeFileSync(path, spec.replace(block, (_, open: string, _old: string, close: string) => open + grammar + close))
  assert.fixture(block.exec(readFileSync(path, "utf8"))?.[2] ?? "", grammar)
})

test("every rule that the grammar names is defined, and every word in lower case is described in the chapter", () => {
  const grammar = grammarEbnf().replace(/"(?:\\.|[^"\\])*"/g, "")
  const defined = new Set([...grammar.matchAll(/^([\w-]+) =/gm)].map((m) => m[1]))
  const prose = readFileSync(path, "utf8").replace(block, "")
  for (const [word] of grammar.matchAll(/[A-Za-z][\w-]*/g)) {
    if (/^[A-Z]/.test(word)) assert.ok(defined.has(word), `${word} is not defined`)
    else assert.ok(defined.has(word) || prose.includes(`\`${word}\``) || word === "characters", `${word} is not described`)
  }
})

test.run()
