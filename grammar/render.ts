import type { Diagnostic, Source, Span } from "./diagnostic.ts"
import { lineIndex, lineOf, lineText, positionAt } from "./position.ts"
import type { LineIndex } from "./position.ts"

/** Colours of a terminal; the same text without them otherwise. */
interface Paint {
  error(text: string): string
  warning(text: string): string
  dim(text: string): string
  bold(text: string): string
  note(text: string): string
}

const plain: Paint = { error: (s) => s, warning: (s) => s, dim: (s) => s, bold: (s) => s, note: (s) => s }
const coloured: Paint = {
  error: (s) => `\u001b[1;31m${s}\u001b[0m`,
  warning: (s) => `\u001b[1;33m${s}\u001b[0m`,
  dim: (s) => `\u001b[2m${s}\u001b[0m`,
  bold: (s) => `\u001b[1m${s}\u001b[0m`,
  note: (s) => `\u001b[36m${s}\u001b[0m`,
}

/** Diagnostics as people read them, with the lines they speak of; an empty line between two. Ends with a line break. */
export function renderDiagnostics(diagnostics: readonly Diagnostic[], sources: ReadonlyMap<string, Source>, options: { readonly color: boolean }): string {
  const paint = options.color ? coloured : plain
  const indices = new Map<string, LineIndex>()
  const index = (id: string): LineIndex | null => {
    const known = indices.get(id)
    if (known !== undefined) return known
    const source = sources.get(id)
    if (source === undefined) return null
    const made = lineIndex(source.text)
    indices.set(id, made)
    return made
  }
  return diagnostics.map((d) => renderOne(d, index, paint)).join("\n")
}

/** The width of the line numbers of the file that the diagnostic is in. */
function gutterOf(d: Diagnostic, index: IndexOf): number {
  const lines = index(d.span.source)
  if (lines === null) return 2
  const starts = [d.span, ...d.labels.map((l) => l.span)].filter((s) => s.source === d.span.source).map((s) => s.start)
  return String(lineOf(lines, Math.max(...starts)) + 1).length
}

type IndexOf = (id: string) => LineIndex | null

function renderOne(d: Diagnostic, index: IndexOf, paint: Paint): string {
  const tint = d.severity === "error" ? paint.error : paint.warning
  const out = [`${tint(`${d.severity}[${d.code}]`)}${paint.bold(`: ${d.message.replace(/[\r\n]+/g, " ⏎ ")}`)}`]
  out.push(...snippets(d, index, paint, tint))
  const margin = " ".repeat(gutterOf(d, index) + 1)
  for (const note of d.notes) out.push(...note.split("\n").map((text, i) => `${margin}${i === 0 ? "=" : " "} ${text}`))
  if (d.help !== null) out.push(...d.help.split("\n").map((text, i) => (i === 0 ? `${paint.note("help")}: ${text}` : `      ${text}`)))
  return `${out.join("\n")}\n`
}

// ---------------------------------------------------------------- snippets

interface Mark {
  readonly span: Span
  readonly message: string
  readonly primary: boolean
}

/** One snippet for each file: the lines with labels, those of the primary file first. */
function snippets(d: Diagnostic, index: IndexOf, paint: Paint, tint: (s: string) => string): string[] {
  const marks: Mark[] = [{ span: d.span, message: d.label, primary: true }, ...d.labels.map((l) => ({ ...l, primary: false }))]
  const files = [...new Set(marks.map((m) => m.span.source))]
  return files.flatMap((file) => {
    const lines = index(file)
    const own = marks.filter((m) => m.span.source === file)
    const first = own[0]
    if (first === undefined) return []
    if (lines === null) return [`  ${paint.dim("-->")} ${file}`, ...own.filter((m) => m.message !== "").map((m) => `   = ${m.message}`)]
    const at = positionAt(lines, first.span.start)
    return [`  ${paint.dim("-->")} ${file}:${at.line}:${at.column}`, ...snippet(lines, own, paint, tint)]
  })
}

/** A mark on one line, in columns of what is shown. Of a span over several lines the first is marked, and the last named. */
interface Piece {
  readonly from: number
  readonly to: number
  readonly text: string
  readonly primary: boolean
}

function snippet(index: LineIndex, marks: readonly Mark[], paint: Paint, tint: (s: string) => string): string[] {
  const byLine = new Map<number, Piece[]>()
  for (const mark of marks) {
    const line = lineOf(index, mark.span.start)
    const pieces = byLine.get(line) ?? []
    pieces.push(pieceOf(index, mark, line))
    byLine.set(line, pieces)
  }
  const numbers = [...byLine.keys()].sort((a, b) => a - b)
  const gutter = String((numbers.at(-1) ?? 0) + 1).length
  return numbers.flatMap((line, i) => {
    const gap = i > 0 && line > (numbers[i - 1] ?? line) + 1 ? [paint.dim(`${" ".repeat(gutter)} ...`)] : []
    const { text, pieces } = clipped(shown(lineText(index, line)), byLine.get(line) ?? [])
    const head = `${paint.dim(`${String(line + 1).padStart(gutter)} |`)} ${text}`
    return [...gap, head.trimEnd(), ...under(pieces, paint, tint).map((text) => `${paint.dim(`${" ".repeat(gutter)} |`)} ${text}`)]
  })
}

function pieceOf(index: LineIndex, mark: Mark, line: number): Piece {
  const start = index.starts[line] ?? 0
  const text = lineText(index, line)
  const from = displayWidth(text.slice(0, mark.span.start - start))
  const last = lineOf(index, Math.max(mark.span.start, mark.span.end - 1))
  const to = last > line ? displayWidth(text) : displayWidth(text.slice(0, mark.span.end - start))
  const until = last > line ? `${mark.message === "" ? "" : " "}(to line ${last + 1})` : ""
  return { from, to: Math.max(to, from + 1), text: mark.message + until, primary: mark.primary }
}

/** The lines under a source line: one of `^^^` with the last text beside it, then the other texts, right to left. */
function under(pieces: readonly Piece[], paint: Paint, tint: (s: string) => string): string[] {
  const sorted = [...pieces].sort((a, b) => a.from - b.from || b.to - a.to)
  const carets = caretLine(sorted, paint, tint)
  const last = sorted.at(-1)
  const beside = last !== undefined && sorted.every((s) => s === last || s.to <= last.from) ? last : null
  const out = [carets + (beside === null || beside.text === "" ? "" : ` ${colour(beside, beside.text, paint, tint)}`)]
  for (const piece of sorted.reverse()) {
    if (piece === beside || piece.text === "") continue
    out.push(`${" ".repeat(piece.from)}${colour(piece, piece.text, paint, tint)}`)
  }
  return out
}

function colour(piece: Piece, text: string, paint: Paint, tint: (s: string) => string): string {
  return piece.primary ? tint(text) : paint.note(text)
}

function caretLine(sorted: readonly Piece[], paint: Paint, tint: (s: string) => string): string {
  let out = ""
  let column = 0
  for (const piece of sorted) {
    const from = Math.max(piece.from, column)
    if (piece.to <= from) continue
    out += " ".repeat(from - column) + colour(piece, "^".repeat(piece.to - from), paint, tint)
    column = piece.to
  }
  return out
}

// ---------------------------------------------------------------- columns

const widest = 160

/** A very long line is shown around its marks only. */
function clipped(text: string, pieces: readonly Piece[]): { readonly text: string; readonly pieces: readonly Piece[] } {
  if (text.length <= widest) return { text, pieces }
  const first = Math.min(...pieces.map((p) => p.from))
  const from = Math.max(0, first - 40)
  const to = from + widest - 10
  const before = from > 0 ? "… " : ""
  const move = (column: number): number => Math.min(Math.max(column - from, 0) + before.length, widest)
  const kept = pieces.map((p) => ({ ...p, from: move(p.from), to: Math.max(move(p.to), move(p.from) + 1) }))
  return { text: before + sliceColumns(text, from, to) + (displayWidth(text) > to ? " …" : ""), pieces: kept }
}

function sliceColumns(text: string, from: number, to: number): string {
  let column = 0
  let out = ""
  for (const c of text) {
    if (column >= from && column < to) out += c
    column += charWidth(c)
  }
  return out
}

const tabWidth = 4

/** A line as it is shown: tabs become four spaces, other control characters one dot. */
function shown(text: string): string {
  return text.replaceAll("\t", " ".repeat(tabWidth)).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "·")
}

function displayWidth(text: string): number {
  let width = 0
  for (const c of text) width += charWidth(c)
  return width
}

/** Columns of one character on a terminal: 0 for combining marks, 2 for East Asian wide ones and emoji. */
function charWidth(c: string): number {
  const code = c.codePointAt(0) ?? 0
  if (c === "\t") return tabWidth
  if (code < 0x300) return 1
  if (/\p{M}|\u200d|[\ufe00-\ufe0f]/u.test(c)) return 0
  return isWide(code) ? 2 : 1
}

function isWide(code: number): boolean {
  return (
    (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0x303e) || (code >= 0x3041 && code <= 0xa4cf) || (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff01 && code <= 0xff60) || (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x1f300 && code <= 0x1f64f) || (code >= 0x1f900 && code <= 0x1f9ff) || (code >= 0x20000 && code <= 0x3fffd)
  )
}

// ---------------------------------------------------------------- for tools

export interface JsonPlace {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly endLine: number
  readonly endColumn: number
}

export interface JsonDiagnostic extends JsonPlace {
  readonly code: string
  readonly severity: "error" | "warning"
  readonly message: string
  readonly label: string
  readonly labels: readonly (JsonPlace & { readonly message: string })[]
  readonly notes: readonly string[]
  readonly help: string | null
  readonly fix: (JsonPlace & { readonly text: string }) | null
}

/** A diagnostic as plain data with lines and columns, both from 1; columns count code points. */
export function diagnosticToJson(d: Diagnostic, sources: ReadonlyMap<string, Source>): JsonDiagnostic {
  const place = (span: Span): JsonPlace => {
    const source = sources.get(span.source)
    const index = lineIndex(source?.text ?? "")
    const from = positionAt(index, span.start)
    const to = positionAt(index, span.end)
    return { file: span.source, line: from.line, column: from.column, endLine: to.line, endColumn: to.column }
  }
  return {
    code: d.code,
    severity: d.severity,
    message: d.message,
    ...place(d.span),
    label: d.label,
    labels: d.labels.map((l) => ({ ...place(l.span), message: l.message })),
    notes: d.notes,
    help: d.help,
    fix: d.fix === null ? null : { ...place(d.fix.span), text: d.fix.text },
  }
}
