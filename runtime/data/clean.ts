import { createHash } from "node:crypto"
import { bad, failure, good, type Result } from "./result.ts"
import { contentOf, contentText, pickRows, withColumn, type Content, type Parts, type Rows } from "./rows.ts"
import { dropCounter, type Stepped } from "./steps.ts"

export interface CleanOptions {
  readonly dedup?: "exact" | "off"
  /** In characters (Unicode code points) after normalisation. */
  readonly minChars?: number
  readonly maxChars?: number | null
}

/** Normalises the text of each row and drops rows that are empty, too short, too long or repeated. The first of equals stays. */
export function clean(rows: Rows, options: CleanOptions = {}): Result<Stepped<Rows>> {
  return cleanAgainst(rows, options, new Map())
}

/**
 * Cleans the parts of a split together: a document of the test or validation part that occurs again elsewhere stays
 * where it is measured and is dropped where it would be learned.
 */
export function cleanParts(parts: Parts<Rows>, options: CleanOptions = {}): Result<Parts<Stepped<Rows>>> {
  const seen: Seen = new Map()
  const test = parts.test === null ? null : cleanAgainst(parts.test, options, seen)
  const valid = parts.valid === null ? null : cleanAgainst(parts.valid, options, seen)
  const train = cleanAgainst(parts.train, options, seen)
  const failed = [test, valid, train].flatMap((part) => (part === null || part.ok ? [] : part.failures))
  if (!train.ok || failed.length > 0) return { ok: false, failures: failed }
  return good({ train: train.value, valid: valid?.ok === true ? valid.value : null, test: test?.ok === true ? test.value : null })
}

/** Hash of a text -> the classes of the row it was first seen in. */
type Seen = Map<string, string>

function cleanAgainst(rows: Rows, options: CleanOptions, seen: Seen): Result<Stepped<Rows>> {
  if (rows.dialogue !== null) return bad(failure("SLM3124", "rendered conversations cannot be cleaned", "clean the messages first: `|> clean() |> chat()`"))
  const raw = contentOf(rows)
  if (!raw.ok) return raw
  const content = normaliseContent(raw.value)
  const counter = dropCounter()
  const kept: number[] = []
  let changed = 0
  for (let row = 0; row < rows.count; row++) {
    const text = contentText(content, row)
    const reason = dropReason(rows, row, content, text, options, seen)
    if (reason !== null) counter.drop(reason, rows, row, visible(raw.value, row))
    else {
      kept.push(row)
      if (text !== contentText(raw.value, row)) changed++
    }
  }
  if (kept.length === 0) return bad(failure("SLM3116", `cleaning dropped all ${rows.count} rows`, counter.drops().map((d) => `${d.reason}: ${d.count}`).join(", ")))
  return good({
    value: pickRows(withColumn(rows, content.name, content), kept),
    report: { step: "clean", before: rows.count, after: kept.length, drops: counter.drops(), notes: changed > 0 ? [`rows whose text was normalised: ${changed}`] : [] },
  })
}

function dropReason(rows: Rows, row: number, content: Content, text: string, options: CleanOptions, seen: Seen): string | null {
  const minChars = options.minChars ?? 1
  const maxChars = options.maxChars ?? null
  const chars = content.is === "string" ? characters(text) : (content.values[row] ?? []).reduce((n, m) => n + characters(m.content), 0)
  if (chars === 0) return minChars > 0 ? "empty" : null
  if (chars < minChars) return `shorter than ${minChars} characters`
  if (maxChars !== null && chars > maxChars) return `longer than ${maxChars} characters`
  if (options.dedup === "off") return null
  const hash = createHash("sha256").update(text, "utf8").digest("base64")
  const classes = classesOf(rows, row)
  const first = seen.get(hash)
  if (first === undefined) {
    seen.set(hash, classes)
    return null
  }
  return first === classes ? "repeated" : "repeated with another class"
}

function classesOf(rows: Rows, row: number): string {
  let all = ""
  for (const column of rows.columns.values()) if (column.is === "class") all += `${column.classes[column.values[row] ?? 0] ?? ""}\u0000`
  return all
}

function visible(content: Content, row: number): string {
  return content.is === "string" ? (content.values[row] ?? "") : (content.values[row] ?? []).map((m) => `${m.role}: ${m.content}`).join(" | ")
}

function normaliseContent(content: Content): Content {
  if (content.is === "string") return { ...content, values: content.values.map(normalise) }
  return { ...content, values: content.values.map((messages) => messages.map((m) => ({ role: m.role, content: normalise(m.content) }))) }
}

/** Controls without a meaning in text (tab and line feed stay), and byte order marks. */
const controls = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufeff]/g

/**
 * Canonical composition (NFC), line ends as line feeds, no control characters, no half surrogates, no blanks at line
 * ends, at most one blank line in a row and none at the ends. Linear in the text; applying it again changes nothing.
 */
export function normalise(text: string): string {
  const plain = text.replace(/\r\n?/g, "\n").replace(controls, "").replace(/\p{Cs}/gu, "\ufffd").normalize("NFC")
  const lines: string[] = []
  for (const line of plain.split("\n")) {
    const trimmed = line.trimEnd()
    if (trimmed !== "" || (lines.length > 0 && lines.at(-1) !== "")) lines.push(trimmed)
  }
  if (lines.at(-1) === "") lines.pop()
  return lines.join("\n")
}

/** Unicode code points. */
export function characters(text: string): number {
  let n = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0xdc00 && unit <= 0xdfff) n--
  }
  return n
}
