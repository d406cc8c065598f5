import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { kindOf } from "./describe.ts"
import type { Machine } from "./machine.ts"
import type { Value } from "./value.ts"

/** What a loss function returned must be a loss, or one number. */
export function lossOf(value: Value, at: Span, m: Machine): Value {
  if (value.kind === "loss" || value.kind === "unknown" || value.kind === "error") return value
  if (value.kind === "tensor" && value.shape.length === 0) return value
  return m.report(diagnostic("SLM2207", at, `a loss function returns a loss, not ${kindOf(value, m)}`, {
    help: value.kind === "tensor" ? "`average(values)` makes a loss of a tensor" : "for example `cross_entropy(out.logits, batch.labels)`",
  }))
}
