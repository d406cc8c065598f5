/** Choosing among trials: their names, what they come to, and their order. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { display, kindOf } from "./describe.ts"
import type { Machine } from "./machine.ts"
import { numberOf } from "./operators.ts"
import type { ArtifactValue, Value } from "./value.ts"

/** `dim: 64, lr: 0.003` */
export function nameOf(point: Value, m: Machine): string {
  const text = display(point, m) ?? "?"
  return point.kind === "record" ? text.slice(2, -2) : text
}

/** Facts that say: as if the trials came out in the order in which they stand. They are taken where what follows is to be known ahead of a run. */
export const takenInOrder = (key: string): string => `${key}.taken`

/** The fact of a trial that diverged, and of what would have been made of it: the step. Its numbers are none. */
export const divergedAt = "diverged"

/** What each report comes to; null: not known yet. Null for all of them where a mistake was reported. */
export function scoresOf(reports: readonly ArtifactValue[], by: Value, at: Span, m: Machine): readonly (number | null)[] | null {
  const values = reports.map((report) => m.apply(by, [report], at))
  const wrong = values.find((value) => value.kind !== "int" && value.kind !== "float" && value.kind !== "unknown")
  if (wrong === undefined) return values.map((value) => numberOf(value, m))
  if (wrong.kind !== "error") m.report(diagnostic("SLM2110", at, `what is best is decided by a number for each report, not by ${kindOf(wrong, m)}`))
  return null
}

/** The places from the least to the greatest; equal ones in their order, what is not a number behind all others. */
export function inOrder(scores: readonly number[]): readonly number[] {
  const rank = (x: number): number => (Number.isNaN(x) ? Infinity : x)
  return scores.map((_, i) => i).sort((a, b) => {
    const [x, y] = [scores[a] ?? NaN, scores[b] ?? NaN]
    return rank(x) === rank(y) ? Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b : rank(x) - rank(y)
  })
}
