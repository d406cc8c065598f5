/** The inputs of a recipe as rows: text, JSON lines, CSV. */
import { parse, CsvError, type InfoRecord } from "csv-parse/sync"
import type { InputFile } from "../files.ts"
import { readLines, readWhole, type TextEncodingName } from "./decode.ts"
import { fromText, rowBuilder, type Fields, type RowBuilder } from "./fields.ts"
import { scanJson } from "./json.ts"
import { bad, excerpt, failure, failuresShown, good, type Failure, type Result } from "./result.ts"
import type { Rows } from "./rows.ts"

/** Each file as one document, in a column `text`. */
export function readText(files: readonly InputFile[], options: { readonly encoding?: TextEncodingName } = {}): Result<Rows> {
  const failures: Failure[] = []
  const values: string[] = []
  for (const file of files) {
    const text = readWhole(file, options.encoding ?? "utf8")
    if (text.ok) values.push(text.value)
    else failures.push(...text.failures)
  }
  if (failures.length > 0) return { ok: false, failures: failures.slice(0, failuresShown) }
  if (values.every((text) => text === "")) return bad(noRows(files))
  return good({
    count: values.length,
    columns: new Map([["text", { is: "string", values }]]),
    places: { files: files.map((f) => f.name), file: Int32Array.from(files, (_, i) => i), line: new Int32Array(files.length).fill(1) },
    dialogue: null,
  })
}

/** One JSON object per line; lines of blanks are skipped, fields that are not named are not looked at. */
export function readJsonl(files: readonly InputFile[], options: { readonly fields: Fields }): Result<Rows> {
  const builder = rowBuilder(options.fields)
  const failures: Failure[] = []
  for (const [index, file] of files.entries()) {
    const found = readLines(file, "utf8", (text, line) => {
      if (text.trim() !== "") {
        const failed = jsonRow(builder, text, file, index, line)
        if (failed !== null) failures.push(failed)
      }
      return failures.length >= failuresShown ? "stop" : "more"
    })
    if (found !== null) failures.push(found)
    if (failures.length >= failuresShown) break
  }
  return finished(builder, files, failures)
}

function jsonRow(builder: RowBuilder, text: string, file: InputFile, index: number, line: number): Failure | null {
  const at = (offset: number | null) => ({ file: file.name, line, column: offset === null ? null : Array.from(text.slice(0, offset)).length + 1, row: excerpt(text) })
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    const error = scanJson(text).error
    return failure("SLM3112", `the line is not JSON: ${error?.message ?? "it is nested too deeply"}`, "one object per line: {\"text\": \"…\"}", at(error?.at ?? null))
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    return failure("SLM3112", `a row is an object, not ${Array.isArray(parsed) ? "a list" : "a single value"}`, "one object per line: {\"text\": \"…\"}", at(0))
  }
  const record = parsed as Readonly<Record<string, unknown>>
  for (const name of builder.fields.keys()) {
    if (!Object.hasOwn(record, name)) return failure("SLM3114", `the row has no field \`${name}\``, `it has ${Object.keys(record).slice(0, 8).map((k) => `\`${excerpt(k, 30)}\``).join(", ") || "none"}`, at(0))
  }
  const misfit = builder.add([...builder.fields.keys()].map((name) => record[name]), index, line)
  if (misfit === null) return null
  return failure("SLM3115", `\`${misfit.field}\` should be ${misfit.misfit}`, null, at(scanJson(text).values.get(misfit.field) ?? null))
}

export interface CsvOptions { readonly fields: Fields; readonly separator?: string }

/** Comma-separated values (RFC 4180) under a header line. */
export function readCsv(files: readonly InputFile[], options: CsvOptions): Result<Rows> {
  const builder = rowBuilder(options.fields)
  const failures: Failure[] = []
  for (const [index, file] of files.entries()) {
    const text = readWhole(file, "utf8")
    if (text.ok) csvRows(builder, text.value, file, index, options.separator ?? ",", failures)
    else failures.push(...text.failures)
    if (failures.length >= failuresShown) break
  }
  return finished(builder, files, failures.slice(0, failuresShown))
}

interface RawRecord { readonly record: readonly string[]; readonly raw: string; readonly info: InfoRecord }

function csvRows(builder: RowBuilder, text: string, file: InputFile, index: number, separator: string, failures: Failure[]): void {
  if (separator === "" || /["\r\n]/.test(separator)) {
    failures.push(failure("SLM3113", `${JSON.stringify(separator)} cannot separate fields`, "use a comma, semicolon or tab"))
    return
  }
  let header: CsvHeader | null = null
  const onRecord = (record: unknown): null => {
    const row = record as RawRecord
    if (failures.length >= failuresShown) return null
    if (header === null) header = csvHeader(builder.fields, row, file, failures)
    else if (header.usable) csvRow(builder, header, row, file, index, separator, failures)
    return null
  }
  try {
    parse(text, { delimiter: separator, info: true, raw: true, relax_column_count: true, skip_empty_lines: true, record_delimiter: ["\r\n", "\n", "\r"], on_record: onRecord })
  } catch (error) {
    if (!(error instanceof CsvError)) throw error
    failures.push(csvFailure(error, text, file))
  }
}

interface CsvHeader { readonly usable: boolean; readonly names: readonly string[]; readonly places: readonly number[] }

function csvHeader(fields: Fields, row: RawRecord, file: InputFile, failures: Failure[]): CsvHeader {
  const names = row.record.map((name) => name.trim())
  const before = failures.length
  for (const name of fields.keys()) {
    const place = { file: file.name, line: recordLine(row), column: 1, row: excerpt(row.raw.trim()) }
    if (!names.includes(name)) failures.push(failure("SLM3114", `the header has no column \`${name}\``, `it has ${names.map((n) => `\`${excerpt(n, 30)}\``).join(", ")}`, place))
    else if (names.indexOf(name) !== names.lastIndexOf(name)) failures.push(failure("SLM3113", `the header names \`${name}\` twice`, null, place))
  }
  return { usable: failures.length === before, names, places: [...fields.keys()].map((name) => names.indexOf(name)) }
}

function csvRow(builder: RowBuilder, header: CsvHeader, row: RawRecord, file: InputFile, index: number, separator: string, failures: Failure[]): void {
  const line = recordLine(row)
  const raw = row.raw.replace(/^[\r\n]+/, "").replace(/[\r\n]+$/, "")
  if (row.record.length !== header.names.length) {
    failures.push(failure("SLM3113", `the row has ${row.record.length} fields, the header ${header.names.length}`, "put a field that holds the separator in double quotes", { file: file.name, line, column: 1, row: excerpt(raw) }))
    return
  }
  const kinds = [...builder.fields.values()]
  const values = header.places.map((place, i) => fromText(row.record[place] ?? "", kinds[i] ?? "string"))
  const misfit = builder.add(values, index, line)
  if (misfit === null) return
  const offset = fieldOffset(raw, header.names.indexOf(misfit.field), separator)
  const above = raw.slice(0, offset).split(/\r\n|\n|\r/)
  failures.push(failure("SLM3115", `\`${misfit.field}\` should be ${misfit.misfit}`, null, { file: file.name, line: line + above.length - 1, column: Array.from(above.at(-1) ?? "").length + 1, row: excerpt(raw) }))
}

/** The line a record begins on: the library counts to its end, and blank lines before it are in its raw text. */
function recordLine(row: RawRecord): number {
  const text = row.raw.replace(/^[\r\n]+/, "")
  const body = text.replace(/(\r\n|\n|\r)$/, "")
  return row.info.lines - (body.split(/\r\n|\n|\r/).length - 1)
}

function fieldOffset(raw: string, field: number, separator: string): number {
  let quoted = false
  let seen = 0
  for (let i = 0; i < raw.length && seen < field; i++) {
    if (raw[i] === "\"") quoted = !quoted
    else if (!quoted && raw.startsWith(separator, i)) {
      seen++
      i += separator.length - 1
      if (seen === field) return i + 1
    }
  }
  return 0
}

function csvFailure(error: CsvError, text: string, file: InputFile): Failure {
  const help = "put the field in double quotes and double the quotes inside it"
  if (error.code === "CSV_QUOTE_NOT_CLOSED") {
    // Everything before is well formed, so the quotes pair up and the last one is the one left open.
    const above = text.slice(0, text.lastIndexOf("\"")).split(/\r\n|\n|\r/)
    const row = (above.at(-1) ?? "") + text.slice(text.lastIndexOf("\""))
    return failure("SLM3113", "a quote is opened and not closed before the end of the file", help, { file: file.name, line: above.length, column: Array.from(above.at(-1) ?? "").length + 1, row: excerpt(row) })
  }
  const raw = typeof error["raw"] === "string" ? error["raw"].replace(/^[\r\n]+/, "") : ""
  const line = typeof error["lines"] === "number" ? error["lines"] : 1
  const message = error.code === "CSV_INVALID_CLOSING_QUOTE" ? "a closing quote is followed by more text"
    : error.code === "INVALID_OPENING_QUOTE" ? "a quote stands inside a field that does not begin with one"
    : `the file is not CSV (${error.code})`
  const column = Array.from(raw.split(/\r\n|\n|\r/).at(-1) ?? "").length
  return failure("SLM3113", message, help, { file: file.name, line, column: Math.max(1, column), row: excerpt(raw) })
}

export function finished(builder: RowBuilder, files: readonly InputFile[], failures: readonly Failure[]): Result<Rows> {
  if (failures.length > 0) return { ok: false, failures }
  const rows = builder.finish(files.map((f) => f.name))
  return rows.count === 0 ? bad(noRows(files)) : good(rows)
}

function noRows(files: readonly InputFile[]): Failure {
  return failure("SLM3116", `${files.map((f) => f.name).slice(0, 3).join(", ")} ${files.length === 1 ? "has" : "have"} no rows`)
}
