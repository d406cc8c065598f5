import type { Stage } from "../plan/stage.ts"
import { numberOf } from "./operators.ts"
import type { Machine } from "./machine.ts"
import { symbolsOf } from "./poly.ts"
import type { Value } from "./value.ts"

/** Whether two values are the same; null where that is not known yet. Functions and graph values are never compared. */
export function sameValue(a: Value, b: Value, m: Machine): boolean | null {
  if (a.kind === "unknown" || b.kind === "unknown") return null
  if (a.kind === "int" && b.kind === "int") {
    const order = m.compare(a.poly, b.poly)
    return order === "later" ? null : order === "equal"
  }
  if ((a.kind === "int" || a.kind === "float") && (b.kind === "int" || b.kind === "float")) {
    const [x, y] = [numberOf(a, m), numberOf(b, m)]
    return x === null || y === null ? null : x === y
  }
  if (a.kind !== b.kind) return false
  switch (a.kind) {
    case "none": return true
    case "bool": case "string": {
      const other = b.kind === a.kind ? b.value : null
      return a.value === null || other === null ? null : a.value === other
    }
    case "symbol": return b.kind === "symbol" && a.name === b.name
    case "quantity": return b.kind === "quantity" && a.value === b.value && a.unit === b.unit
    case "list": return b.kind === "list" && a.count === undefined && b.count === undefined ? allSame(a.items, b.items, m) : null
    case "record": return b.kind === "record" && [...a.fields.keys()].join() === [...b.fields.keys()].join() && allSame([...a.fields.values()], [...b.fields.values()], m)
    case "artifact": return b.kind === "artifact" && a.stage.key === b.stage.key && a.member === b.member
    default: return m.session.keys.of(a) === m.session.keys.of(b)
  }
}

function allSame(a: readonly Value[], b: readonly Value[], m: Machine): boolean | null {
  if (a.length !== b.length) return false
  let result: boolean | null = true
  for (const [i, x] of a.entries()) {
    const same = sameValue(x, b[i] as Value, m)
    if (same === false) return false
    if (same === null) result = null
  }
  return result
}

/** The stages that must run before a value is known. */
export function pendingOf(value: Value, m: Machine): readonly Stage[] {
  if (value.kind === "float" || value.kind === "bool") return value.pending
  if (value.kind !== "int" || m.known(value.poly) !== null) return []
  return symbolsOf(value.poly).flatMap((s) => m.session.stages.get(s.id.split(".")[0] ?? "") ?? [])
}
