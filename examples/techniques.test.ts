/** The table of techniques in spec/7-library.md: what it names is defined, and the example beside it uses it. */
import { readdirSync, readFileSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Item } from "../grammar/ast.ts"
import { parse } from "../grammar/parse.ts"

const library = new URL("../stdlib/", import.meta.url)
const spec = new URL("../spec/", import.meta.url)
const chapter = readFileSync(new URL("7-library.md", spec), "utf8")

interface Row {
  readonly technique: string
  /** `name` or `name.field`. */
  readonly names: readonly string[]
  /** Paths from `spec/`. */
  readonly examples: readonly string[]
}

function rows(): readonly Row[] {
  const table = chapter.slice(chapter.indexOf("## 7.4 Techniques")).split("\n").filter((line) => line.startsWith("|")).slice(2)
  return table.map((line) => {
    const [, technique = "", names = "", examples = ""] = line.split("|")
    return { technique: technique.trim(), names: [...names.matchAll(/`([\w.]+)`/g)].map((m) => m[1] ?? ""), examples: [...examples.matchAll(/\]\(([\w./-]+\.slm)\)/g)].map((m) => m[1] ?? "") }
  })
}

/** Every definition of the library, with its parameters. */
function definitions(): ReadonlyMap<string, readonly string[]> {
  const files = readdirSync(library).filter((name) => name.endsWith(".slm"))
  return new Map(files.flatMap((name) => parse({ id: name, text: readFileSync(new URL(name, library), "utf8") }).module.items.flatMap(defined)))
}

function defined(item: Item): readonly (readonly [string, readonly string[]])[] {
  if (item.kind === "bind") return [[item.name.name, []]]
  return item.kind === "fn" || item.kind === "definition" || item.kind === "curriculum" || item.kind === "encoding" ? [[item.name.name, item.params.map((p) => p.name.name)]] : []
}

/** Whether the text of an example, without its comments, has the name, and its field as a named argument. */
function uses(text: string, name: string): boolean {
  const code = text.replace(/\/\/.*$/gm, "")
  const [subject = "", field] = name.split(".")
  return new RegExp(`\\b${subject}\\b`).test(code) && (field === undefined || new RegExp(`\\b${field}:`).test(code))
}

test("the table of techniques names what the library defines, and examples that use it", () => {
  const known = definitions()
  const found = rows()
  assert.ok(found.length > 40, `${found.length} rows`)
  const mistakes = found.flatMap((row) => [
    ...(row.names.length === 0 || row.examples.length === 0 ? [`${row.technique}: nothing named`] : []),
    ...row.names.flatMap((name) => {
      const [subject = "", field] = name.split(".")
      const params = known.get(subject)
      return params === undefined || (field !== undefined && !params.includes(field)) ? [`${name} is not defined`] : []
    }),
    ...row.examples.flatMap((path) => {
      const text = readFileSync(new URL(path, spec), "utf8")
      return row.names.filter((name) => !uses(text, name)).map((name) => `${path} does not use ${name}`)
    }),
  ])
  assert.equal(mistakes, [])
})

test.run()
