import { readFileSync } from "node:fs"
import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { program } from "./arbitrary.fixture.ts"
import type { Module } from "./ast.ts"
import type { Source } from "./diagnostic.ts"
import { parse } from "./parse.ts"
import { format } from "./print.ts"
import { diagnosticToJson, renderDiagnostics } from "./render.ts"

const seed = 20240611

function sourceOf(text: string): Source {
  return { id: "random.slm", text }
}

/** Every place in the tree and the diagnostics lies in the text, and everything that shows them survives them. */
function survives(text: string): void {
  const source = sourceOf(text)
  const { module, diagnostics } = parse(source)
  assert.is(module.kind, "module")
  checkSpans(module, text.length)
  checkSpans(diagnostics, text.length)
  assert.ok(diagnostics.every((d, i) => i === 0 || (diagnostics[i - 1]?.span.start ?? 0) <= d.span.start), "in order of place")
  const sources = new Map([[source.id, source]])
  assert.type(renderDiagnostics(diagnostics, sources, { color: true }), "string")
  for (const d of diagnostics.slice(0, 3)) assert.is(diagnosticToJson(d, sources).code, d.code)
  assert.type(format(module, source), "string")
}

function checkSpans(node: unknown, length: number): void {
  const stack: unknown[] = [node]
  for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
    if (typeof value !== "object" || value === null) continue
    if ("start" in value && "end" in value && typeof value.start === "number" && typeof value.end === "number") {
      if (!(value.start >= 0 && value.start <= value.end && value.end <= length)) throw new Error(`span ${value.start}..${value.end} of ${length}`)
    }
    stack.push(...Object.values(value).filter((v) => typeof v === "object" && v !== null))
  }
}

const recipes = ["quickstart", "definitions"].map((name) => readFileSync(new URL(`../spec/tests/syntax/accept/${name}.slm`, import.meta.url), "utf8"))
const pieces = recipes.flatMap((text) => text.split(/(?<=\n)\n/))

const soup = [
  ..."{}()[],:;.=<>|&@^%*/+-!?#'\"\\\n\n\n \t", "..", "...", "=>", "->", "|>", "==", "!=", "<=", ">=", "//", "///", "//!", '"""', "{{", "}}", "/*", "*/", "&&", "||", "**",
  "let", "if", "then", "else", "and", "or", "not", "true", "none", "with", "repeat", "use", "as", "param", "model", "layer", "primitive", "fn", "optimizer", "curriculum", "format", "for",
  "in", "encoding", "expect", "export", "example", "require", "part", "forward", "state", "update", "stage", "map", "via", "when", "encode", "decode", "at", "into", "train", "merge", "load",
  "a", "Big", "x", "steps", "5%", "4k", "12", "0.5", "200", "1_", "sha256:0123456789abcdef0123", "\u00a0", "é", "“", "\u2028", "\ud800", "😀", "\0", "\r\n",
]

test("any text: 3500 strings of every kind of character", () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 80 }), fc.string({ unit: "grapheme", maxLength: 80 }), fc.string({ maxLength: 120 })), survives), { numRuns: 3500, seed })
})

test("any bytes: 2000 byte arrays read as UTF-8", () => {
  const decoder = new TextDecoder()
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => survives(decoder.decode(bytes))), { numRuns: 2000, seed })
})

test("any tokens: 3500 sequences of words and signs", () => {
  const tokens = fc.array(fc.tuple(fc.constantFrom(...soup), fc.constantFrom("", " ", " ", "\n", "\n  ")), { maxLength: 60 })
  fc.assert(fc.property(tokens, (list) => survives(list.map(([token, gap]) => token + gap).join(""))), { numRuns: 3500, seed })
})

test("almost right: 1500 recipes cut short or changed in a few places", () => {
  const change = fc.tuple(fc.nat(), fc.nat(12), fc.oneof(fc.constant(""), fc.constantFrom(...soup)))
  const mutated = fc.tuple(fc.constantFrom(...pieces), fc.array(change, { maxLength: 4 }), fc.option(fc.nat())).map(([text, changes, cut]) => {
    let out = text
    for (const [at, length, put] of changes) out = out.slice(0, at % (out.length + 1)) + put + out.slice((at % (out.length + 1)) + length)
    return cut === null ? out : out.slice(0, cut % (out.length + 1))
  })
  fc.assert(fc.property(mutated, survives), { numRuns: 1500, seed })
})

/** The tree without places, as text. */
function meaning(module: Module): string {
  const hidden = new Set(["span", "moduleSpan", "opSpan", "verbSpan", "comments"])
  return JSON.stringify(module, (key, value: unknown) => (hidden.has(key) ? undefined : value), 1)
}

function words(module: Module): readonly string[] {
  return module.comments.map((c) => c.text).sort()
}

test("the formatter: 500 programs keep meaning and comments, and are stable", () => {
  fc.assert(
    fc.property(program, (text) => {
      const source = sourceOf(text)
      const before = parse(source)
      assert.is(renderDiagnostics(before.diagnostics, new Map([[source.id, source]]), { color: false }), "")
      const once = sourceOf(format(before.module, source))
      const after = parse(once)
      assert.is(renderDiagnostics(after.diagnostics, new Map([[once.id, once]]), { color: false }), "")
      assert.is(meaning(after.module), meaning(before.module))
      assert.equal(words(after.module), words(before.module))
      assert.is(format(after.module, once), once.text)
    }),
    { numRuns: 500, seed },
  )
})

test.run()
