/** Evaluating optimisers: states, updates, transforms of gradients. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { kindOf, showShape } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { moved } from "./machine.ts"
import { error, list } from "./make.ts"
import { inner } from "./scopes.ts"
import { listed } from "./suggest.ts"
import type { OptimizerValue, TensorValue, Value } from "./value.ts"

/** The states of a weight before the first step. null: a mistake was reported. */
export function firstStates(optimizer: OptimizerValue, p: TensorValue, m: Machine): ReadonlyMap<string, Value> | null {
  const states = new Map<string, Value>()
  for (const { name, init } of optimizer.code.states) {
    const value = evaluate(init, inner(optimizer.scope, new Map<string, Value>([["p", p], ...states])), m)
    if (value.kind === "error") return null
    if (value.kind !== "tensor" && value.kind !== "unknown") {
      m.report(diagnostic("SLM2208", init.span, `the state \`${name.name}\` is a tensor, not ${kindOf(value, m)}`, { help: "`zeros_like(p)` makes one of the weight's shape" }))
      return null
    }
    states.set(name.name, value)
  }
  return states
}

export interface Updated { readonly p: Value; readonly states: ReadonlyMap<string, Value> }

/** One update of one weight. `total`: the steps of the run, which schedules see. null: a mistake was reported. */
export function update(
  optimizer: OptimizerValue, p: TensorValue, g: Value, step: Value, total: Value, states: ReadonlyMap<string, Value>, m: Machine,
): Updated | null {
  const { update: code, states: names } = optimizer.code
  const given = [p, g, step]
  if (code.params.length !== 3) {
    m.report(diagnostic("SLM2208", code.span, "`update` takes a weight, its gradient and the step", { help: "`update(p, g, step) { … }`" }))
    return null
  }
  const scope = inner(inner(optimizer.scope, states), code.params.map((param, i) => [param.name.name, given[i] ?? error] as const))
  const result = evaluate(code.body, scope, moved(m, { total }))
  if (result.kind === "error") return null
  if (result.kind === "unknown") return { p, states }
  const wanted = ["p", ...names.map((s) => s.name.name)]
  const missing = result.kind === "record" ? wanted.filter((name) => !result.fields.has(name)) : wanted
  const extra = result.kind === "record" ? [...result.fields.keys()].filter((name) => !wanted.includes(name)) : []
  if (result.kind !== "record" || missing.length > 0 || extra.length > 0) {
    const problem = result.kind !== "record" ? `not ${kindOf(result, m)}` : missing.length > 0 ? `and ${listed(missing)} ${missing.length === 1 ? "is" : "are"} missing` : `and ${listed(extra)} ${extra.length === 1 ? "is none of them" : "are none of them"}`
    m.report(diagnostic("SLM2208", code.span, `\`update\` returns a record of ${listed(wanted)}, ${problem}`))
    return null
  }
  for (const [name, value] of result.fields) if (!keepsShape(name, name === "p" ? p : states.get(name), value, code.span, m)) return null
  return { p: result.fields.get("p") ?? error, states: new Map(names.map((s) => [s.name.name, result.fields.get(s.name.name) ?? error])) }
}

function keepsShape(name: string, before: Value | undefined, after: Value, at: Span, m: Machine): boolean {
  if (after.kind === "error") return false
  if (before?.kind !== "tensor" || after.kind === "unknown") return true
  const same = after.kind === "tensor" && after.shape.length === before.shape.length && after.shape.every((d, i) => m.compare(d.size, before.shape[i]?.size ?? d.size) !== "different")
  if (!same) m.report(diagnostic("SLM2208", at, `\`${name}\` is ${showShape(before.shape, m)} before the update and ${kindOf(after, m)} after it`))
  return same
}

/** The gradients after the transforms, in order. null: a mistake was reported. */
export function transformed(optimizer: OptimizerValue, gradients: readonly Value[], at: Span, m: Machine): readonly Value[] | null {
  let current: Value = list(gradients)
  for (const change of optimizer.transforms) {
    const next = m.apply(change, [current], at)
    if (next.kind === "error") return null
    if (next.kind === "unknown") return gradients
    if (next.kind !== "list" || next.items.length !== gradients.length) {
      m.report(diagnostic("SLM2208", change.origin ?? at, `a transform of gradients returns a list of as many gradients, not ${kindOf(next, m)}`))
      return null
    }
    if (!next.items.every((g, i) => keepsShape("a gradient", gradients[i], g, change.origin ?? at, m))) return null
    current = next
  }
  return current.items
}
