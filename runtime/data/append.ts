import { sortedClasses } from "./fields.ts"
import { bad, failure, good, type Result } from "./result.ts"
import type { Column, Dialogue, Rows } from "./rows.ts"

/** The rows of both, one behind the other. They have the same columns; classes of either are classes of both. */
export function appendRows(a: Rows, b: Rows): Result<Rows> {
  const columns = new Map<string, Column>()
  for (const [name, column] of a.columns) {
    const other = b.columns.get(name)
    const joined = other === undefined ? null : appendColumn(column, other)
    if (joined === null) return bad(failure("SLM3126", `the column \`${name}\` is ${column.is}, and ${other === undefined ? "missing" : other.is} in the rows behind`, "rows that are joined have the same columns"))
    columns.set(name, joined)
  }
  const dialogue = appendDialogue(a.dialogue, b.dialogue)
  if (dialogue === undefined) return bad(failure("SLM3126", "the texts are not rendered in one way", "join the rows first: `|> append(more) |> chat()`"))
  const moved = b.places.file.map((file) => file + a.places.files.length)
  return good({
    count: a.count + b.count,
    columns,
    places: { files: [...a.places.files, ...b.places.files], file: Int32Array.from([...a.places.file, ...moved]), line: Int32Array.from([...a.places.line, ...b.places.line]) },
    dialogue,
  })
}

function appendColumn(a: Column, b: Column): Column | null {
  if (a.is === "string" && b.is === "string") return { is: "string", values: [...a.values, ...b.values] }
  if (a.is === "chat" && b.is === "chat") return { is: "chat", values: [...a.values, ...b.values] }
  if (a.is === "class" && b.is === "class") return appendClasses(a, b)
  if ((a.is === "int" || a.is === "float") && b.is === a.is) return { is: a.is, values: Float64Array.from([...a.values, ...b.values]) }
  return null
}

type Classes = Extract<Column, { is: "class" }>

function appendClasses(a: Classes, b: Classes): Column {
  const classes = sortedClasses(new Set([...a.classes, ...b.classes]))
  const index = new Map(classes.map((name, i) => [name, i]))
  const renumbered = ({ values, classes: old }: Classes): number[] => Array.from(values, (i) => index.get(old[i] ?? "") ?? 0)
  return { is: "class", classes, values: Int32Array.from([...renumbered(a), ...renumbered(b)]) }
}

/** undefined: they are rendered differently. */
function appendDialogue(a: Dialogue | null, b: Dialogue | null): Dialogue | null | undefined {
  if (a === null || b === null) return a === b ? null : undefined
  return a.template === b.template && a.system === b.system ? { ...a, pieces: [...a.pieces, ...b.pieces] } : undefined
}
