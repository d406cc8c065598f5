import { bad, failure, good, type Result } from "./result.ts"
import { contentOf, pickRows, withColumn, type Rows } from "./rows.ts"
import type { Stepped } from "./steps.ts"

export type DocumentsBy = "paragraph" | "line" | "file"

/**
 * Cuts every row's text into documents: paragraphs (runs of lines that are not blank), single lines that are not blank,
 * or the whole text. Other columns are repeated for each document of a row.
 */
export function documents(rows: Rows, options: { readonly by?: DocumentsBy } = {}): Result<Stepped<Rows>> {
  const by = options.by ?? "paragraph"
  const content = contentOf(rows)
  if (!content.ok) return content
  if (content.value.is === "chat" || rows.dialogue !== null) return bad(failure("SLM3121", "conversations cannot be cut into documents", "each row is one document already"))
  const from: number[] = []
  const line: number[] = []
  const values: string[] = []
  for (const [row, text] of content.value.values.entries()) {
    const first = rows.places.line[row] ?? 1
    for (const piece of by === "file" ? [{ text, line: 0 }] : cut(text, by)) {
      from.push(row)
      line.push(first + piece.line)
      values.push(piece.text)
    }
  }
  const picked = pickRows(rows, from)
  const placed = { ...picked, places: { ...picked.places, line: Int32Array.from(line) } }
  return good({
    value: withColumn(placed, content.value.name, { is: "string", values }),
    report: { step: `documents by ${by}`, before: rows.count, after: values.length, drops: [], notes: [] },
  })
}

interface Piece { readonly text: string; readonly line: number }

/** Pieces with the number of lines above them. Line ends inside a paragraph are kept as they are. */
function cut(text: string, by: "paragraph" | "line"): Piece[] {
  const pieces: Piece[] = []
  let open: { readonly start: number; readonly line: number; end: number } | null = null
  let line = 0
  for (let start = 0; start <= text.length; line++) {
    const found = text.indexOf("\n", start)
    const next = found < 0 ? text.length : found
    const end = next > start && text[next - 1] === "\r" ? next - 1 : next
    const blank = text.slice(start, end).trim() === ""
    if (!blank && by === "line") pieces.push({ text: text.slice(start, end), line })
    if (!blank && by === "paragraph") {
      open ??= { start, line, end }
      open.end = end
    }
    if (blank && open !== null) {
      pieces.push({ text: text.slice(open.start, open.end), line: open.line })
      open = null
    }
    start = next + 1
  }
  if (open !== null) pieces.push({ text: text.slice(open.start, open.end), line: open.line })
  return pieces
}
