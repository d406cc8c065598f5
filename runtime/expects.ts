/** Conditions of a recipe, once their numbers are there. */
import type { CheckedExpect } from "../compiler/check/check.ts"
import { known } from "../compiler/check/poly.ts"
import type { Value } from "../compiler/check/value.ts"
import type { Facts } from "../compiler/plan/stage.ts"
import { diagnostic } from "../grammar/diagnostic.ts"
import type { Diagnostic } from "../grammar/diagnostic.ts"

export interface ExpectResult {
  readonly text: string
  readonly holds: boolean
  readonly operator: string
  readonly left: number | null
  readonly right: number | null
}

/** null: a number is not there yet. */
export function decided({ condition, comparison, text }: CheckedExpect, facts: Facts): ExpectResult | null {
  const holds = condition.value
  if (holds === null) return null
  return { text, holds, operator: comparison?.op ?? "", left: numberOf(comparison?.left, facts), right: numberOf(comparison?.right, facts) }
}

function numberOf(value: Value | undefined, facts: Facts): number | null {
  if (value?.kind === "float") return value.value
  return value?.kind === "int" ? known(value.poly, facts) : null
}

/** The mistake of a condition that is false. */
export function doesNotHold({ span, text }: CheckedExpect, { holds, left, operator, right }: ExpectResult): readonly Diagnostic[] {
  const notes = left === null || right === null ? [] : [`it is ${left} ${operator} ${right}`]
  return holds ? [] : [diagnostic("SLM3307", span, `this does not hold: ${text}`, { notes })]
}

/** The mistake of a condition whose numbers never came. */
export function undecided({ span, text }: CheckedExpect): Diagnostic {
  return diagnostic("SLM3308", span, `this cannot be decided: ${text}`, { notes: ["a number in it was not measured: see the facts of its stages."] })
}
