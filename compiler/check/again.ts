/**
 * Names that are bound while the recipe is checked and used by a function that runs on numbers later: what they stand for is evaluated
 * again where there are numbers. (`let kept = top_k(importance, 8)` beside `with { at … : w => gather(w, kept) }`.)
 */
import type { Expr } from "../../grammar/ast.ts"
import { parsePath } from "./address.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { trainedInstance } from "./trained.ts"
import type { InstanceValue, Scope, Value } from "./value.ts"

export interface Binding { readonly expr: Expr; readonly scope: Scope }

/** Keeps how a value without numbers came about: of a value that is passed on, how it did first. */
export function remember(value: Value, expr: Expr, scope: Scope, m: Machine): void {
  if (m.lowering !== null || expr.kind === "name" || !isAbstract(value) || m.session.bindings.has(value)) return
  m.session.bindings.set(value, { expr, scope })
}

/** The value of a name here: with numbers where there are any. */
export function present(value: Value, m: Machine): Value {
  if (m.lowering === null) return value
  const binding = m.session.bindings.get(value)
  if (binding === undefined || !isAbstract(value)) return value
  const made = m.session.again.get(m.lowering.builder) ?? new Map<Value, Value>()
  m.session.again.set(m.lowering.builder, made)
  const found = made.get(value) ?? evaluate(binding.expr, binding.scope, m)
  made.set(value, found)
  return found
}

function isAbstract(value: Value): boolean {
  switch (value.kind) {
    case "tensor": return value.node === null
    case "list": return value.items.some(isAbstract)
    case "record": return [...value.fields.values()].some(isAbstract)
    case "instance": return value.trained !== undefined
    default: return false
  }
}

/** A part of trained weights in the graph that is being made. */
export function current(instance: InstanceValue, m: Machine): InstanceValue {
  if (m.lowering === null || instance.trained === undefined) return instance
  let now: Value | undefined = trainedInstance(instance.trained, m)
  for (const segment of parsePath(instance.path)) {
    now = "index" in segment ? (now?.kind === "list" ? now.items[segment.index] : undefined)
      : now?.kind === "instance" ? now.members.get(segment.name) : now?.kind === "record" ? now.fields.get(segment.name) : undefined
  }
  if (now?.kind !== "instance") throw new Error(`check: ${instance.role} has no part ${instance.path}`)
  return now
}
