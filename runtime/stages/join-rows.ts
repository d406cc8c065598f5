import type { Column, Rows } from "../data/rows.ts"
import type { Members } from "./artifact.ts"

/** All parts behind each other, for stages that look at the whole of split data (a tokenizer on `book`). */
export function joinRows(members: Members<Rows>): Rows {
  const [first, ...rest] = members.values()
  if (first === undefined) throw new Error("stages: data without a part")
  return rest.reduce(append, first)
}

function append(a: Rows, b: Rows): Rows {
  const columns = new Map([...a.columns].map(([name, column]) => [name, appendColumn(column, b.columns.get(name), name)]))
  const files = [...a.places.files, ...b.places.files]
  const moved = b.places.file.map((file) => file + a.places.files.length)
  return {
    count: a.count + b.count,
    columns,
    places: { files, file: Int32Array.from([...a.places.file, ...moved]), line: Int32Array.from([...a.places.line, ...b.places.line]) },
    dialogue: a.dialogue === null || b.dialogue === null ? null : { ...a.dialogue, pieces: [...a.dialogue.pieces, ...b.dialogue.pieces] },
  }
}

function appendColumn(a: Column, b: Column | undefined, name: string): Column {
  if (a.is === "string" && b?.is === "string") return { is: "string", values: [...a.values, ...b.values] }
  if (a.is === "chat" && b?.is === "chat") return { is: "chat", values: [...a.values, ...b.values] }
  if (a.is === "class" && b?.is === "class") return { ...a, values: Int32Array.from([...a.values, ...b.values]) }
  if ((a.is === "int" || a.is === "float") && b?.is === a.is) return { is: a.is, values: Float64Array.from([...a.values, ...b.values]) }
  throw new Error(`stages: the column ${name} differs between the parts`)
}
