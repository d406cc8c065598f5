import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { dataCodes } from "./codes.ts"
import { documents } from "./documents.ts"
import { contentOf, type Column, type Rows } from "./rows.ts"
import { rowsOf, told } from "./testing.ts"

const folder = fileURLToPath(new URL(".", import.meta.url))
const read = (files: readonly string[]): string => files.map((file) => fs.readFileSync(file, "utf8")).join("\n")
const here = fs.readdirSync(folder).filter((name) => name.endsWith(".ts") && !name.startsWith("codes")).map((name) => folder + name)

test("every code is given by the source, shown by a test, and explained", () => {
  const tests = read([...here.filter((name) => name.endsWith(".test.ts")), fileURLToPath(import.meta.url), `${folder}../files.test.ts`])
  const source = read([...here.filter((name) => !name.endsWith(".test.ts")), `${folder}../files.ts`])
  for (const [code, entry] of Object.entries(dataCodes)) {
    assert.match(source, `"${code}"`, `${code} is never given`)
    assert.match(tests, code, `${code} is never tested`)
    assert.match(entry.page, /^[A-Z`].*\.$/s, code)
    assert.ok(entry.page.length > 60 && !entry.title.endsWith("."), code)
  }
})

test("rows whose text cannot be told", () => {
  const strings = (...names: string[]): Rows => ({ ...rowsOf(["x"]), columns: new Map(names.map((name): [string, Column] => [name, { is: "string", values: ["x"] }])) })
  assert.is(told(contentOf(strings("title", "body"))), "SLM3121 which column is the text? there are `title`, `body`")
  assert.is(told(contentOf(strings("body"))), "ok")
  assert.is(told(contentOf({ ...rowsOf(["x"]), columns: new Map() })), "SLM3121 the rows have no text")
  const chats: Column = { is: "chat", values: [[{ role: "user", content: "x" }]] }
  assert.is(told(documents({ ...rowsOf(["x"]), columns: new Map([["m", chats]]) })), "SLM3121 conversations cannot be cut into documents")
})

test.run()
