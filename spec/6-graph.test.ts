import { readFileSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { gradientRules } from "../compiler/graph/gradients.ts"
import { bits, hash32 } from "../compiler/graph/random.ts"
import { passes } from "../compiler/transform/pipeline.ts"

const chapter = readFileSync(new URL("6-graph.md", import.meta.url), "utf8")

/** Rows of the tables of ops: the op, and the last cell. */
const rows = [...chapter.matchAll(/^\| `(\w+)` \|.*\| ([^|]+) \|$/gm)].map((m): [string, string] => [m[1] ?? "", m[2] ?? ""])

test("the tables have a row for every op, once, and for nothing else", () => {
  assert.equal(rows.map(([op]) => op).sort(), Object.keys(gradientRules).sort())
})

test("the tables say none, decompose or a rule where the compiler does", () => {
  for (const [op, said] of rows) {
    const rule = gradientRules[op as keyof typeof gradientRules]
    const kind = said.startsWith("none") ? "none" : said === "decompose" ? "decompose" : "rule"
    assert.is(kind, rule === "none" || rule === "decompose" ? rule : "rule", op)
  }
})

test("the passes are listed in their order", () => {
  assert.equal([...chapter.matchAll(/^- \*([a-z ]+)\*:/gm)].map((m) => m[1]), passes.map(({ name }) => name))
})

test("the pinned numbers are those of the generator", () => {
  const stream = hash32("dropout blocks[0].mlp")
  assert.ok(chapter.includes(`= ${stream},`))
  const numbers = [0, 1, 2].map((i) => bits({ seed: 7, stream, step: 3, row: 11 }, i))
  assert.ok(chapter.includes(`are ${numbers.join(", ")}.`))
})

test.run()
