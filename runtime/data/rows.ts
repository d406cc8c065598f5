import { bad, failure, good, type Result } from "./result.ts"

export type Role = "system" | "user" | "assistant" | "tool"
export interface Message { readonly role: Role; readonly content: string }

/** One typed column of a data set: flat arrays, one entry per row. */
export type Column =
  | { readonly is: "string"; readonly values: readonly string[] }
  | { readonly is: "int" | "float"; readonly values: Float64Array }
  /** Indices into `classes`, which are sorted and hold every class of the whole data set. */
  | { readonly is: "class"; readonly values: Int32Array; readonly classes: readonly string[] }
  | { readonly is: "chat"; readonly values: readonly (readonly Message[])[] }

/** Which input and line each row begins at. */
export interface Places {
  readonly files: readonly string[]
  readonly file: Int32Array
  readonly line: Int32Array
}

/** Typed rows before tokenisation. */
export interface Rows {
  readonly count: number
  readonly columns: ReadonlyMap<string, Column>
  readonly places: Places
  /** Set by `chat` and `instruct`: how the column `text` is made of markup and contents. */
  readonly dialogue: Dialogue | null
}

/** Rendered conversations, or prompts and their answers. */
export interface Dialogue {
  /** The chat template; null: prompt and answer behind each other, and end of text ends the answer. */
  readonly template: string | null
  /** The default system message that was rendered where a row has none. */
  readonly system: string | null
  /** Control tokens that the tokenizer must know. */
  readonly special: readonly string[]
  /** Per row: pairs (end in UTF-16 units, flags) of consecutive pieces; see `pieceMarkup` and `pieceCounts`. */
  readonly pieces: readonly Int32Array[]
}
/** The piece is markup of the template: control tokens in it are control tokens. Elsewhere they are plain text. */
export const pieceMarkup = 1
/** The tokens of the piece are targets of the loss. */
export const pieceCounts = 2

export type PartName = "train" | "valid" | "test"
/** What `split` makes: `train` is always there. */
export interface Parts<T> {
  readonly train: T
  readonly valid: T | null
  readonly test: T | null
}

export function mapParts<A, B>(parts: Parts<A>, f: (part: A, name: PartName) => B): Parts<B> {
  return {
    train: f(parts.train, "train"),
    valid: parts.valid === null ? null : f(parts.valid, "valid"),
    test: parts.test === null ? null : f(parts.test, "test"),
  }
}

/** `file:line` of a row. */
export function placeOf(rows: Rows, row: number): string {
  const file = rows.places.files[rows.places.file[row] ?? 0] ?? "?"
  return `${file}:${rows.places.line[row] ?? 0}`
}

/** The given rows in the given order. */
export function pickRows(rows: Rows, indices: ArrayLike<number>): Rows {
  const columns = new Map<string, Column>()
  for (const [name, column] of rows.columns) columns.set(name, pickColumn(column, indices))
  return {
    count: indices.length,
    columns,
    places: {
      files: rows.places.files,
      file: Int32Array.from(indices, (i) => rows.places.file[i] ?? 0),
      line: Int32Array.from(indices, (i) => rows.places.line[i] ?? 0),
    },
    dialogue: rows.dialogue === null ? null : { ...rows.dialogue, pieces: pick(rows.dialogue.pieces, indices) },
  }
}

function pickColumn(column: Column, indices: ArrayLike<number>): Column {
  switch (column.is) {
    case "string": return { is: "string", values: pick(column.values, indices) }
    case "chat": return { is: "chat", values: pick(column.values, indices) }
    case "class": return { is: "class", classes: column.classes, values: Int32Array.from(indices, (i) => column.values[i] ?? 0) }
    case "int":
    case "float": return { is: column.is, values: Float64Array.from(indices, (i) => column.values[i] ?? 0) }
  }
}

function pick<T>(values: readonly T[], indices: ArrayLike<number>): T[] {
  return Array.from(indices, (i) => {
    const value = values[i]
    if (value === undefined) throw new Error(`pickRows: row ${i} of ${values.length}`)
    return value
  })
}

/** The first `count` rows. */
export function takeRows(rows: Rows, count: number): Rows {
  return pickRows(rows, Array.from({ length: Math.max(0, Math.min(count, rows.count)) }, (_, i) => i))
}

/** The same rows with one column replaced or added. */
export function withColumn(rows: Rows, name: string, column: Column): Rows {
  return { ...rows, columns: new Map([...rows.columns, [name, column]]) }
}

/** The column that cleaning, splitting and encoding look at: `text`, or the only one of strings, or the only chat. */
export type Content =
  | { readonly is: "string"; readonly name: string; readonly values: readonly string[] }
  | { readonly is: "chat"; readonly name: string; readonly values: readonly (readonly Message[])[] }

export function contentOf(rows: Rows): Result<Content> {
  const strings: Content[] = []
  const chats: Content[] = []
  for (const [name, column] of rows.columns) {
    if (column.is === "string") {
      if (name === "text") return good({ is: "string", name, values: column.values })
      strings.push({ is: "string", name, values: column.values })
    }
    if (column.is === "chat") chats.push({ is: "chat", name, values: column.values })
  }
  const [only, second] = chats.length > 0 ? chats : strings
  if (only !== undefined && second === undefined) return good(only)
  if (only === undefined) return bad(failure("SLM3121", "the rows have no text", "read a column as text: `fields: { text: \"string\" }`"))
  const names = (chats.length > 0 ? chats : strings).map((c) => `\`${c.name}\``).join(", ")
  return bad(failure("SLM3121", `which column is the text? there are ${names}`, "name the column `text`, or read only that one"))
}

/** One row's content as one string: what is hashed, compared and shown. */
export function contentText(content: Content, row: number): string {
  if (content.is === "string") return content.values[row] ?? ""
  return (content.values[row] ?? []).map((m) => `${m.role}\u0000${m.content}`).join("\u0001")
}
