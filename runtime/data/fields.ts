import { bad, excerpt, failure, good, type Failure, type Result } from "./result.ts"
import type { Column, Message, Role, Rows } from "./rows.ts"

export type FieldType = "string" | "int" | "float" | "class" | "chat"
export type Fields = ReadonlyMap<string, FieldType>

const types: readonly string[] = ["string", "int", "float", "class", "chat"] satisfies readonly FieldType[]
const roles: readonly string[] = ["system", "user", "assistant", "tool"] satisfies readonly Role[]

/** Types as the recipe writes them: `{ text: "string", label: "class" }`. */
export function parseFields(written: ReadonlyMap<string, string>): Result<Fields> {
  const failures: Failure[] = []
  const fields = new Map<string, FieldType>()
  for (const [name, type] of written) {
    if (isFieldType(type)) fields.set(name, type)
    else failures.push(failure("SLM3117", `\`${type}\` is not a type of a field`, `types are ${types.join(", ")}`))
  }
  if (written.size === 0) failures.push(failure("SLM3117", "no field is read", "name what the rows have: `fields: { text: \"string\" }`"))
  return failures.length > 0 ? { ok: false, failures } : good(fields)
}

function isFieldType(type: string): type is FieldType {
  return types.includes(type)
}

/** What a value should have been; null when it fits. */
export type Misfit = string

/** Collects rows value by value into columns. */
export interface RowBuilder {
  readonly fields: Fields
  /** Adds a row of values in the order of `fields`; nothing is added when one does not fit. */
  add(values: readonly unknown[], file: number, line: number): { readonly field: string; readonly misfit: Misfit } | null
  finish(files: readonly string[]): Rows
}

export function rowBuilder(fields: Fields): RowBuilder {
  const names = [...fields.keys()]
  const kinds = [...fields.values()]
  const collected: unknown[][] = names.map(() => [])
  const file: number[] = []
  const line: number[] = []
  return {
    fields,
    add(values, fileIndex, lineNumber) {
      const read: unknown[] = []
      for (const [i, kind] of kinds.entries()) {
        const value = convert(values[i], kind)
        if ("misfit" in value) return { field: names[i] ?? "", misfit: value.misfit }
        read.push(value.value)
      }
      for (const [i, column] of collected.entries()) column.push(read[i])
      file.push(fileIndex)
      line.push(lineNumber)
      return null
    },
    finish: (files) => ({
      count: file.length,
      columns: new Map(names.map((name, i) => [name, column(kinds[i] ?? "string", collected[i] ?? [])])),
      places: { files, file: Int32Array.from(file), line: Int32Array.from(line) },
      dialogue: null,
    }),
  }
}

type Converted = { readonly value: string | number | readonly Message[] } | { readonly misfit: Misfit }

function convert(value: unknown, type: FieldType): Converted {
  switch (type) {
    case "string": return typeof value === "string" ? { value } : { misfit: `a string, not ${shown(value)}` }
    case "int": return typeof value === "number" && Number.isSafeInteger(value) ? { value } : { misfit: `a whole number, not ${shown(value)}` }
    case "float": return typeof value === "number" && Number.isFinite(value) ? { value } : { misfit: `a number, not ${shown(value)}` }
    case "class":
      return typeof value === "string" || typeof value === "boolean" || (typeof value === "number" && Number.isSafeInteger(value))
        ? { value: String(value) }
        : { misfit: `the name of a class, not ${shown(value)}` }
    case "chat": return messages(value)
  }
}

/** The value of a CSV cell, which is always text, as the type of its field. */
export function fromText(cell: string, type: FieldType): unknown {
  if (type === "int") return /^\s*[+-]?\d+\s*$/.test(cell) ? Number(cell) : cell
  if (type === "float") return /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/.test(cell) ? Number(cell) : cell
  if (type !== "chat") return cell
  try {
    return JSON.parse(cell) as unknown
  } catch {
    return cell
  }
}

function messages(value: unknown): Converted {
  if (!Array.isArray(value)) return { misfit: `a list of messages, not ${shown(value)}` }
  const list: readonly unknown[] = value
  if (list.length === 0) return { misfit: "a list of messages, not an empty one" }
  const read: Message[] = []
  for (const [i, item] of list.entries()) {
    if (typeof item !== "object" || item === null || Array.isArray(item)) return { misfit: `a list of { role, content }, but message ${i + 1} is ${shown(item)}` }
    const role: unknown = "role" in item ? item.role : undefined
    const content: unknown = "content" in item ? item.content : undefined
    if (typeof role !== "string" || !isRole(role)) return { misfit: `messages with a role of ${roles.join(", ")}, but message ${i + 1} has ${role === undefined ? "none" : shown(role)}` }
    if (typeof content !== "string") return { misfit: `messages with text as content, but message ${i + 1} has ${content === undefined ? "none" : shown(content)}` }
    read.push({ role, content })
  }
  return { value: read }
}

function isRole(role: string): role is Role {
  return roles.includes(role)
}

function shown(value: unknown): string {
  if (value === undefined) return "nothing"
  if (value === null) return "null"
  if (Array.isArray(value)) return "a list"
  if (typeof value === "object") return "an object"
  return excerpt(typeof value === "string" ? JSON.stringify(value) : String(value), 40)
}

function column(type: FieldType, values: readonly unknown[]): Column {
  switch (type) {
    case "string": return { is: "string", values: values as readonly string[] }
    case "chat": return { is: "chat", values: values as readonly (readonly Message[])[] }
    case "int":
    case "float": return { is: type, values: Float64Array.from(values as readonly number[]) }
    case "class": {
      const classes = sortedClasses(new Set(values as readonly string[]))
      const index = new Map(classes.map((name, i) => [name, i]))
      return { is: "class", classes, values: Int32Array.from(values as readonly string[], (name) => index.get(name) ?? 0) }
    }
  }
}

/** By code unit; classes that are all whole numbers by their value, so that `10` follows `9`. */
export function sortedClasses(names: Iterable<string>): string[] {
  const list = [...names]
  if (list.every((name) => /^-?\d{1,15}$/.test(name))) return list.sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1))
  return list.sort()
}

/** The rows with the labels of column `field` as indices into `classes`, the list of the data a model was trained on. */
export function withClasses(rows: Rows, field: string, classes: readonly string[]): Result<Rows> {
  const old = rows.columns.get(field)
  if (old?.is !== "class") return bad(failure("SLM3123", `there is no column of classes \`${field}\``))
  const index = new Map(classes.map((name, i) => [name, i]))
  const strange = old.classes.filter((name) => !index.has(name))
  if (strange.length > 0) return bad(failure("SLM3134", `class \`${strange[0]}\` of \`${field}\` is not among ${classes.map((c) => `\`${c}\``).join(", ")}`))
  const values = old.values.map((i) => index.get(old.classes[i] ?? "") ?? 0)
  return good({ ...rows, columns: new Map([...rows.columns, [field, { is: "class", classes, values }]]) })
}
