import type { Span } from "../../grammar/diagnostic.ts"
import { pendingOf, sameValue } from "./equal.ts"
import type { Machine } from "./machine.ts"
import { bool, error, float, int, string, unknown } from "./make.ts"
import { symbol } from "./poly.ts"
import { derived, forgotten } from "./reach.ts"
import type { Dim, RecordValue, TensorValue, Value } from "./value.ts"

/** What is certain of a value that is one of two: the result of `if` where the condition is not known. */
export function join(a: Value, b: Value, at: Span, m: Machine): Value {
  if (a.kind === "error" || b.kind === "error") return error
  if (a.kind === "tensor" && b.kind === "tensor") return joinTensors(a, b, at, m)
  if (a.kind === "record" && b.kind === "record") return joinRecords(a, b, at, m)
  if (a.kind === "int" && b.kind === "int") return m.compare(a.poly, b.poly) === "equal" ? a : int(either(at, 0), at)
  if ((a.kind === "int" || a.kind === "float") && (b.kind === "int" || b.kind === "float")) {
    return a.kind === "float" && b.kind === "float" && a.value === b.value && a.value !== null ? a : float(null, at, [...pendingOf(a, m), ...pendingOf(b, m)])
  }
  if (a.kind === "bool" && b.kind === "bool") return a.value === b.value ? a : bool(null, at, [...a.pending, ...b.pending])
  if (a.kind === "string" && b.kind === "string") return a.value === b.value ? a : string(null, at)
  if (a.kind === "mask" && b.kind === "mask") return a
  if (a.kind === "loss" && b.kind === "loss") return { ...a, terms: [...a.terms, ...b.terms] }
  if (a.kind === "unknown" && b.kind === "unknown" && a.type === b.type) return a
  return sameValue(a, b, m) === true ? a : unknown("any", at)
}

/** A size that is one of two, for each place and axis one. */
function either(at: Span, axis: number) {
  return symbol(`if ${at.source} ${at.start} ${axis}`, "a size chosen by `if`", { origin: at })
}

function joinTensors(a: TensorValue, b: TensorValue, at: Span, m: Machine): Value {
  if (a.shape.length !== b.shape.length || a.dtype !== b.dtype) return unknown("tensor", at)
  const shape = a.shape.map((d, i): Dim => (m.compare(d.size, (b.shape[i] as Dim).size) === "equal" ? d : { size: either(at, i), origin: at }))
  return derived({ ...forgotten(a), shape, vocab: a.vocab !== null && b.vocab !== null ? a.vocab : null }, null, [a, b], m)
}

function joinRecords(a: RecordValue, b: RecordValue, at: Span, m: Machine): Value {
  const fields = new Map<string, Value>()
  for (const [name, value] of a.fields) {
    const other = b.fields.get(name)
    if (other !== undefined) fields.set(name, join(value, other, at, m))
  }
  return { kind: "record", fields, origin: at }
}
