/** An optimiser's text as graph: transforms of all gradients, then `update` for every weight. */
import type { Machine } from "../../check/machine.ts"
import { moved } from "../../check/machine.ts"
import { int } from "../../check/make.ts"
import * as check from "../../check/optimizer.ts"
import type { OptimizerValue, Value } from "../../check/value.ts"
import type { Span } from "../../../grammar/diagnostic.ts"
import type { Node } from "../node.ts"
import * as g from "../ops.ts"
import { builderOf, lowered, nodeOf, tensorOf } from "./context.ts"

/** The states of one weight by name, in the order of the optimiser's text. */
export type StateNodes = readonly (readonly [name: string, node: Node])[]

/** A value as f32 of the weight's shape: `state count = 0` is a number for each element. */
function shaped(value: Value, like: Node, m: Machine): Node {
  return g.broadcastTo(builderOf(m), g.cast(builderOf(m), nodeOf(value, m), "f32"), like.shape)
}

/** The first values of the states of a weight. */
export function firstStates(optimizer: OptimizerValue, p: Node, m: Machine): StateNodes {
  const states = lowered(check.firstStates(optimizer, tensorOf(p), m), m)
  return [...states].map(([name, value]) => [name, shaped(value, p, m)])
}

/** What the transforms make of all gradients together. */
export function transformed(optimizer: OptimizerValue, gradients: readonly Node[], at: Span, m: Machine): readonly Node[] {
  const changed = lowered(check.transformed(optimizer, gradients.map((node) => tensorOf(node)), at, m), m)
  return changed.map((value, i) => shaped(value, gradients[i] ?? nodeOf(value, m), m))
}

/** One weight's next value and states. `step`: i32 [], `total`: the steps of the run. */
export function updated(optimizer: OptimizerValue, p: Node, gradient: Node, states: StateNodes, step: Node, total: number, m: Machine): { readonly p: Node; readonly states: StateNodes } {
  const values = new Map<string, Value>(states.map(([name, node]) => [name, tensorOf(node)]))
  const next = lowered(check.update(optimizer, tensorOf(p), tensorOf(gradient), tensorOf(step), int(total), values, m), m)
  return { p: shaped(next.p, p, m), states: [...next.states].map(([name, value]) => [name, shaped(value, p, m)]) }
}

/** The learning rate at a step, where the optimiser has a schedule called `lr`. */
export function learningRate(optimizer: OptimizerValue, step: Node, total: number, at: Span, m: Machine): Node | null {
  const lr = optimizer.args.get("lr")
  if (lr === undefined) return null
  const value = lr.kind === "closure" || lr.kind === "primitive" ? moved(m, { total: int(total) }).apply(lr, [tensorOf(step), int(total)], at) : lr
  return value.kind === "tensor" || value.kind === "float" || value.kind === "int" ? nodeOf(value, m) : null
}
