/** Rows as a file and back. */
import type { Column, Rows } from "../data/rows.ts"
import type { Drop, StepReport } from "../data/steps.ts"
import type { Files } from "../store/store.ts"
import type { DataOf, Members } from "./artifact.ts"

const name = "rows.json"

export function rowsToFiles(members: Members<Rows>, reports: Members<StepReport>): Files {
  const parts = [...members].map(([part, { columns, places, count }]) => ({
    part, count, files: places.files, file: [...places.file], line: [...places.line],
    columns: [...columns].map(([column, data]) => ({ name: column, ...data, values: [...data.values] })),
    report: reports.get(part) ?? null,
  }))
  return new Map([[name, new TextEncoder().encode(`${JSON.stringify(parts)}\n`)]])
}

/** null: the file does not hold rows. */
export function rowsFromFiles(files: Files): DataOf<"rows"> | null {
  const parts = parsed(files.get(name))
  if (!Array.isArray(parts)) return null
  const members = new Map<string, Rows>()
  const reports = new Map<string, StepReport>()
  for (const one of parts) {
    const read = isRecord(one) ? partOf(one) : null
    if (read === null) return null
    members.set(read.name, read.rows)
    if (read.report !== null) reports.set(read.name, read.report)
  }
  return { is: "rows", members, reports }
}

function partOf(one: Record<string, unknown>): { readonly name: string; readonly rows: Rows; readonly report: StepReport | null } | null {
  const { part, count, files, file, line, columns, report } = one
  if (typeof part !== "string" || typeof count !== "number" || !isList(files, isText) || !isList(file, isNumber) || !isList(line, isNumber) || !Array.isArray(columns)) return null
  const found = new Map<string, Column>()
  for (const column of columns) {
    const data = isRecord(column) ? columnOf(column) : null
    if (data === null || !isRecord(column) || typeof column["name"] !== "string" || data.values.length !== count) return null
    found.set(column["name"], data)
  }
  return { name: part, rows: { count, columns: found, places: { files, file: Int32Array.from(file), line: Int32Array.from(line) }, dialogue: null }, report: reportOf(report) }
}

function columnOf({ is, values, classes }: Record<string, unknown>): Column | null {
  if (is === "string" && isList(values, isText)) return { is, values }
  if ((is === "int" || is === "float") && isList(values, isNumber)) return { is, values: Float64Array.from(values) }
  return is === "class" && isList(values, isNumber) && isList(classes, isText) ? { is, classes, values: Int32Array.from(values) } : null
}

function reportOf(report: unknown): StepReport | null {
  if (!isRecord(report)) return null
  const { step, before, after, counts } = report
  if (typeof step !== "string" || typeof before !== "number" || typeof after !== "number" || !isList(counts, isCount)) return null
  return { step, before, after, drops: [] as readonly Drop[], notes: [], counts }
}

const isText = (x: unknown): x is string => typeof x === "string"
const isNumber = (x: unknown): x is number => typeof x === "number"
const isCount = (x: unknown): x is { readonly what: string; readonly count: number } => isRecord(x) && isText(x["what"]) && isNumber(x["count"])

function isList<T>(x: unknown, is: (item: unknown) => item is T): x is readonly T[] {
  return Array.isArray(x) && x.every(is)
}

function isRecord(x: unknown): x is Record<string, unknown> {
  return typeof x === "object" && x !== null && !Array.isArray(x)
}

function parsed(bytes: Uint8Array | undefined): unknown {
  try {
    return bytes === undefined ? null : JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return null
  }
}
