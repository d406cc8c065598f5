/** What stands beside packed rows: tensors for each row, by their paths in the record `row`. */
import type { Machine } from "./machine.ts"
import { record } from "./make.ts"
import type { RowFields, TensorValue, Value } from "./value.ts"

/** Values by path (`taught.ids`) as records in records. */
export function nested(values: readonly (readonly [string, Value])[]): ReadonlyMap<string, Value> {
  const plain = values.filter(([path]) => !path.includes("."))
  const heads = new Set(values.flatMap(([path]) => (path.includes(".") ? [path.slice(0, path.indexOf("."))] : [])))
  const deeper = [...heads].map((head): [string, Value] => {
    const own = values.flatMap(([path, value]): [string, Value][] => (path.startsWith(`${head}.`) ? [[path.slice(head.length + 1), value]] : []))
    return [head, record(nested(own))]
  })
  return new Map([...plain, ...deeper])
}

/** The tensors of records in records, by path; null: something else is among them. */
export function flattened(value: Value): ReadonlyMap<string, TensorValue> | null {
  if (value.kind !== "record") return null
  const found = new Map<string, TensorValue>()
  for (const [name, item] of value.fields) {
    if (item.kind === "tensor") found.set(name, item)
    else {
      const inner = flattened(item)
      if (inner === null) return null
      for (const [path, tensor] of inner) found.set(`${name}.${path}`, tensor)
    }
  }
  return found
}

/** Whether rows of two data sets have the same tensors beside them, as far as sizes are known. */
export function sameFields(a: RowFields, b: RowFields, m: Machine): boolean {
  return a.size === b.size && [...a].every(([path, x]) => {
    const y = b.get(path)
    return y !== undefined && x.dtype === y.dtype && x.shape.length === y.shape.length && x.shape.every((d, i) => m.compare(d.size, y.shape[i]?.size ?? d.size) !== "different")
  })
}
