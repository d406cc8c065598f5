/** Rows as the functions of `each_row` and `filter` see them, and what they make of them. */
import { float, int, record, string } from "./make.ts"
import { symbol } from "./poly.ts"
import type { ArtifactType, RecordValue, RowType, Value } from "./value.ts"
import { textMeasures, type TextMeasure } from "./text-measures.ts"

type Fields = Extract<ArtifactType, { is: "rows" }>["fields"]
type Cell = string | number

/** A row of which only the types are known. Classes are seen by their names, messages not at all. */
export function unknownRow(fields: Fields): RecordValue {
  return record(new Map([...fields].flatMap(([name, type]): [string, Value][] => (type === "chat" ? [] : [[name, unknownCell(name, type)]]))))
}

function unknownCell(name: string, type: RowType): Value {
  if (type === "int") return int(symbol(`field ${name}`, name))
  return type === "float" ? float(null) : string(null)
}

export function knownRow(cells: Iterable<readonly [name: string, type: "string" | "int" | "float", value: Cell]>): RecordValue {
  return record(new Map([...cells].map(([name, type, value]): [string, Value] => [name, typeof value === "string" ? string(value) : type === "int" ? int(value) : float(value)])))
}

export function unknownMeasures(): RecordValue {
  return record(new Map(textMeasures.map((name) => [name, float(null)])))
}

export function knownMeasures(values: Readonly<Record<TextMeasure, number>>): RecordValue {
  return record(new Map(textMeasures.map((name) => [name, float(values[name])])))
}

/** The type of a column that such a value belongs to; null: a column has no such values. */
export function cellType(value: Value): "string" | "int" | "float" | null {
  return value.kind === "string" || value.kind === "int" || value.kind === "float" ? value.kind : null
}
