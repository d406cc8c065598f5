/**
 * Which weights a tensor depends on with a gradient, so that a training can name those that its loss never reaches. It is kept
 * while nothing is lowered; a graph knows it by its gradients.
 */
import type { Machine } from "./machine.ts"
import type { TensorValue, Value, WeightInfo } from "./value.ts"

export type Reach = { readonly role: string; readonly weight: WeightInfo } | { readonly of: readonly Reach[] }

/** Primitives whose result has no gradient (spec 6.3). */
const without: ReadonlySet<string> = new Set(["stop_gradient", "sign", "floor", "round", "zeros_like", "ones_like", "random_like"])

/** What `primitive` or an operator made of `from`. Tensors that know already what they depend on stay as they are. */
export function derived(value: Value, primitive: string | null, from: readonly Value[], m: Machine): Value {
  if (m.lowering !== null || (value.kind !== "tensor" && value.kind !== "loss" && value.kind !== "list" && value.kind !== "record")) return value
  if (primitive !== null && without.has(primitive)) return forgotten(value)
  const found: Reach[] = []
  for (const x of from) collect(x, found)
  const [only] = found
  return only === undefined ? value : stamped(value, found.length === 1 ? only : { of: found })
}

function collect(value: Value, found: Reach[]): void {
  switch (value.kind) {
    case "tensor": if (value.reach !== undefined) found.push(value.reach); break
    case "list": for (const item of value.items) collect(item, found); break
    case "record": for (const item of value.fields.values()) collect(item, found); break
    case "loss": for (const term of value.terms) { collect(term.sum, found); collect(term.count, found) } break
    default:
  }
}

function stamped(value: Value, reach: Reach): Value {
  switch (value.kind) {
    case "tensor": return tensorWith(value, reach)
    case "list": return { ...value, items: value.items.map((v) => stamped(v, reach)) }
    case "record": return { ...value, fields: new Map([...value.fields].map(([name, v]) => [name, stamped(v, reach)])) }
    case "loss": return { ...value, terms: value.terms.map((t) => ({ ...t, sum: tensorWith(t.sum, reach) })) }
    default: return value
  }
}

function tensorWith(value: TensorValue, reach: Reach): TensorValue {
  return value.dtype !== "f32" || value.reach !== undefined ? value : { ...value, reach }
}

/** The value without a gradient. */
export function forgotten<V extends Value>(value: V): V
export function forgotten(value: Value): Value {
  switch (value.kind) {
    case "tensor": {
      const { reach: _, ...rest } = value
      return rest
    }
    case "list": return { ...value, items: value.items.map(forgotten) }
    case "record": return { ...value, fields: new Map([...value.fields].map(([name, v]) => [name, forgotten(v)])) }
    default: return value
  }
}

/** `role.path` of every weight that a loss, or a tensor, depends on. */
export function weightsReached(value: Value): ReadonlySet<string> {
  const names = new Set<string>()
  const seen = new Set<Reach>()
  const open: Reach[] = []
  collect(value, open)
  for (let reach = open.pop(); reach !== undefined; reach = open.pop()) {
    if (seen.has(reach)) continue
    seen.add(reach)
    if ("weight" in reach) names.add(`${reach.role}.${reach.weight.path}`)
    else open.push(...reach.of)
  }
  return names
}
