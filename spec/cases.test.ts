import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join, posix } from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../compiler/check/check.ts"
import { codes } from "../compiler/codes.ts"
import type { ModuleSource } from "../compiler/check/session.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import { parse } from "../grammar/parse.ts"
import { lineIndex, positionAt } from "../grammar/position.ts"
import { format } from "../grammar/print.ts"
import { renderDiagnostics } from "../grammar/render.ts"
import { moduleReader } from "../runtime/library.ts"

/**
 * Runs `spec/tests/<chapter>/{accept,reject}/*.slm`. An accepted case has no diagnostics and survives the formatter. A
 * rejected one starts with a line `// expect SLM1003 at 4:7` for each diagnostic, in order of place, and has its rendered
 * diagnostics beside it in `NAME.txt`; `UPDATE=1` writes these anew.
 */
type Diagnose = (source: Source, folder: string) => Diagnosed
interface Diagnosed { readonly diagnostics: readonly Diagnostic[]; readonly sources: ReadonlyMap<string, Source> }

/** What finds the mistakes of a chapter's cases. Chapters after the syntax add the checker here. */
const chapters: Readonly<Record<string, Diagnose>> = {
  syntax: (source) => ({ diagnostics: parse(source).diagnostics, sources: new Map([[source.id, source]]) }),
  names: checked, types: checked, shapes: checked, meaning: checked, delivery: checked, safety: checked,
}

/** Modules of the library, read once for all cases. */
const standard = new Map<string, ModuleSource>()
function read(source: Source | null): ModuleSource | null {
  if (source === null) return null
  const found = { ...source, module: parse(source).module }
  standard.set(source.id, found)
  return found
}

/** What the checker says, with the library, the files beside the case, and the settings of its lines `// set lr=1e-3`. */
function checked(source: Source, folder: string): Diagnosed {
  const library = moduleReader(folder)
  const params = new Map([...source.text.matchAll(/^\/\/ set (\w+)=(.*)$/gm)].map((m) => [m[1] ?? "", m[2] ?? ""] as const))
  const modules = (id: string, from: string): ModuleSource | null => {
    if (id.startsWith("std.")) return standard.get(id) ?? read(library(id, from))
    const path = posix.join(posix.dirname(from), id)
    return existsSync(join(folder, path)) ? { id: path, text: readFileSync(join(folder, path), "utf8") } : null
  }
  return check(source, { modules, params, facts: new Map() })
}

const root = fileURLToPath(new URL("./tests/", import.meta.url))

function casesIn(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).filter((f) => f.isFile() && f.name.endsWith(".slm")).map((f) => f.name).sort()
}

function foldersIn(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).filter((f) => f.isDirectory()).map((f) => f.name).sort()
}

function place(d: Diagnostic, { sources }: Diagnosed): string {
  const { line, column } = positionAt(lineIndex(sources.get(d.span.source)?.text ?? ""), d.span.start)
  return `${d.code} at ${line}:${column}`
}

function show({ diagnostics, sources }: Diagnosed): string {
  return renderDiagnostics(diagnostics, sources, { color: false })
}

function expected(text: string): readonly string[] {
  const found: string[] = []
  for (const line of text.split("\n")) {
    const match = /^\/\/ expect (SLM\d+ at \d+:\d+)$/.exec(line.trimEnd())
    if (match?.[1] === undefined) break
    found.push(match[1])
  }
  return found
}

function accept(folder: string, name: string, diagnose: Diagnose): void {
  const source = { id: name, text: readFileSync(join(folder, name), "utf8") }
  assert.is(show(diagnose(source, folder)), "")
  const once = { id: name, text: format(parse(source).module, source) }
  assert.is(format(parse(once).module, once), once.text, "formatting again changes nothing")
  assert.is(show(diagnose(once, folder)), "")
}

function reject(folder: string, name: string, diagnose: Diagnose): void {
  const source = { id: name, text: readFileSync(join(folder, name), "utf8") }
  const found = diagnose(source, folder)
  const want = expected(source.text)
  assert.ok(want.length > 0, "a rejected case says what is expected")
  assert.equal(found.diagnostics.map((d) => place(d, found)), want, show(found))
  const snapshot = join(folder, name.replace(/\.slm$/, ".txt"))
  const shown = show(found)
  if (process.env["UPDATE"] === "1") writeFileSync(snapshot, shown)
  assert.fixture(readFileSync(snapshot, "utf8"), shown)
}

for (const chapter of foldersIn(root)) {
  for (const kind of foldersIn(join(root, chapter)).filter((name) => name !== "run")) { // what only a run refuses: safety.test.ts
    const folder = join(root, chapter, kind)
    for (const name of casesIn(folder)) {
      test(`${chapter}/${kind}/${name}`, () => {
        const diagnose = chapters[chapter]
        if (diagnose === undefined) throw new Error(`spec: nothing is registered to run the chapter ${chapter}`)
        if (kind === "accept") accept(folder, name, diagnose)
        else if (kind === "reject") reject(folder, name, diagnose)
        else throw new Error(`spec: ${kind} is neither accept nor reject`)
      })
    }
  }
}

test("every code of the language has a case that shows it", () => {
  const shown = new Set(foldersIn(root).flatMap((chapter) => casesIn(join(root, chapter, "reject")).flatMap((name) => expected(readFileSync(join(root, chapter, "reject", name), "utf8")).map((e) => e.slice(0, 7)))))
  const elsewhere = ["SLM1009", "SLM1030"] // a text of a million characters, fifty mistakes: grammar/limits.test.ts
  assert.equal(Object.keys(codes).filter((code) => !shown.has(code) && !elsewhere.includes(code)), [])
})

test.run()
