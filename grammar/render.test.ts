import { test } from "uvu"
import * as assert from "uvu/assert"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, DiagnosticParts, Source, Span } from "./diagnostic.ts"
import { diagnosticToJson, renderDiagnostics } from "./render.ts"

const id = "npc.slm"

function at(source: Source, text: string, nth = 0): Span {
  let start = -1
  for (let i = 0; i <= nth; i++) start = source.text.indexOf(text, start + 1)
  if (start < 0) throw new Error(`test: ${text} is not in the source`)
  return { source: source.id, start, end: start + text.length }
}

function shown(source: Source, ds: readonly Diagnostic[], color = false): string {
  return renderDiagnostics(ds, new Map([[source.id, source]]), { color })
}

function one(text: string, mark: string, parts: DiagnosticParts = {}): string {
  const source = { id, text }
  return shown(source, [diagnostic("SLM9999", at(source, mark), "a message", parts)])
}

test("several labels on one line, as the design shows it", () => {
  const source = { id, text: `${"\n".repeat(20)}student = distill teacher into Small {\n` }
  const d = diagnostic("SLM2104", at(source, "teacher"), "the student and the teacher do not share a vocabulary", {
    label: "vocab 1024 (from `old_words`, line 4)",
    labels: [{ span: at(source, "Small"), message: "vocab 2048 (from `words`, line 9)" }],
    notes: ["kl() compares the two models token by token."],
    help: "encode both with one tokenizer",
  })
  assert.snapshot(
    shown(source, [d]),
    `error[SLM2104]: the student and the teacher do not share a vocabulary
  --> npc.slm:21:19
21 | student = distill teacher into Small {
   |                   ^^^^^^^      ^^^^^ vocab 2048 (from \`words\`, line 9)
   |                   vocab 1024 (from \`old_words\`, line 4)
   = kl() compares the two models token by token.
help: encode both with one tokenizer
`,
  )
})

test("labels on other lines are shown in order, with the gap between them", () => {
  const source = { id, text: "one\ntwo\nthree\nfour\nfive\n" }
  const d = diagnostic("SLM9999", at(source, "four"), "a message", { label: "here", labels: [{ span: at(source, "one"), message: "because of this" }, { span: at(source, "five"), message: "and this" }] })
  assert.snapshot(
    shown(source, [d]),
    `error[SLM9999]: a message
  --> npc.slm:4:1
1 | one
  | ^^^ because of this
  ...
4 | four
  | ^^^^ here
5 | five
  | ^^^^ and this
`,
  )
})

test("a span over several lines marks its first line and names its last", () => {
  assert.snapshot(one("let a = f(\n  1,\n  2\n)\n", "f(\n  1,\n  2\n)", { label: "too many" }), "error[SLM9999]: a message\n  --> npc.slm:1:9\n1 | let a = f(\n  |         ^^ too many (to line 4)\n")
})

test("an empty span is one mark wide, at the end of the text too", () => {
  const source = { id, text: "let a =" }
  assert.snapshot(shown(source, [diagnostic("SLM9999", { source: id, start: 7, end: 7 }, "a message", { label: "missing" })]), "error[SLM9999]: a message\n  --> npc.slm:1:8\n1 | let a =\n  |        ^ missing\n")
})

test("marks that overlap or stand in one another keep their texts", () => {
  const source = { id, text: "f(a, b)" }
  const d = diagnostic("SLM9999", at(source, "f(a, b)"), "a message", { label: "the call", labels: [{ span: at(source, "a"), message: "first" }, { span: at(source, "b"), message: "second" }] })
  assert.snapshot(
    shown(source, [d]),
    `error[SLM9999]: a message
  --> npc.slm:1:1
1 | f(a, b)
  | ^^^^^^^
  |      second
  |   first
  | the call
`,
  )
})

test("tabs, wide characters, combining marks and control characters keep the marks in place", () => {
  assert.snapshot(one("\tx = 1", "x", { label: "x" }), "error[SLM9999]: a message\n  --> npc.slm:1:2\n1 |     x = 1\n  |     ^ x\n")
  assert.snapshot(one('"鯨と海" + x', "x", { label: "x" }), 'error[SLM9999]: a message\n  --> npc.slm:1:9\n1 | "鯨と海" + x\n  |            ^ x\n')
  assert.snapshot(one('"e\u0301" + x', "x", { label: "x" }), 'error[SLM9999]: a message\n  --> npc.slm:1:8\n1 | "e\u0301" + x\n  |       ^ x\n')
  assert.snapshot(one("\u001b[31m x", "x"), "error[SLM9999]: a message\n  --> npc.slm:1:7\n1 | ·[31m x\n  |       ^\n")
  assert.snapshot(one('"😀" x', "x"), 'error[SLM9999]: a message\n  --> npc.slm:1:5\n1 | "😀" x\n  |      ^\n')
})

test("a very long line is shown around its mark", () => {
  const out = one(`${"a ".repeat(500)}here${" b".repeat(500)}`, "here", { label: "this" })
  assert.ok(out.split("\n").every((line) => line.length < 180))
  assert.match(out, /a here b/)
  const [, , text = "", marks = ""] = out.split("\n")
  assert.is(text.indexOf("here"), marks.indexOf("^^^^"))
})

test("other files are shown by themselves, unknown ones by name", () => {
  const own = { id, text: "use x" }
  const other = { id: "std.models", text: "model Llama" }
  const d = diagnostic("SLM9999", at(own, "x"), "a message", { labels: [{ span: at(other, "Llama"), message: "defined here" }, { span: { source: "gone.slm", start: 3, end: 4 }, message: "and here" }] })
  assert.snapshot(
    renderDiagnostics([d], new Map([[own.id, own], [other.id, other]]), { color: false }),
    `error[SLM9999]: a message
  --> npc.slm:1:5
1 | use x
  |     ^
  --> std.models:1:7
1 | model Llama
  |       ^^^^^ defined here
  --> gone.slm
   = and here
`,
  )
})

test("notes and help of several lines are indented; diagnostics are apart", () => {
  const source = { id, text: "a" }
  const d = diagnostic("SLM9999", at(source, "a"), "a message", { notes: ["one\ntwo"], help: "three\nfour", severity: "warning" })
  const text = "warning[SLM9999]: a message\n  --> npc.slm:1:1\n1 | a\n  | ^\n  = one\n    two\nhelp: three\n      four\n"
  assert.snapshot(shown(source, [d, d]), `${text}\n${text}`)
})

test("colour changes nothing but colour", () => {
  const source = { id, text: "let a = b" }
  const d = diagnostic("SLM9999", at(source, "b"), "a message", { label: "here", notes: ["why"], help: "do", labels: [{ span: at(source, "a"), message: "there" }] })
  const coloured = shown(source, [d], true)
  assert.match(coloured, "\u001b[1;31merror[SLM9999]\u001b[0m")
  assert.is(coloured.replace(/\u001b\[[0-9;]*m/g, ""), shown(source, [d]))
})

test("as JSON, with lines and columns in code points", () => {
  const source = { id, text: 'let a = "😀"\nlet b = c' }
  const d = diagnostic("SLM9999", at(source, '"😀"'), "a message", { label: "l", labels: [{ span: at(source, "c"), message: "m" }], notes: ["n"], help: "h", fix: { span: at(source, "c"), text: "d" } })
  assert.equal(diagnosticToJson(d, new Map([[id, source]])), {
    code: "SLM9999", severity: "error", message: "a message", file: id, line: 1, column: 9, endLine: 1, endColumn: 12, label: "l",
    labels: [{ file: id, line: 2, column: 9, endLine: 2, endColumn: 10, message: "m" }],
    notes: ["n"], help: "h", fix: { file: id, line: 2, column: 9, endLine: 2, endColumn: 10, text: "d" },
  })
})

test.run()
