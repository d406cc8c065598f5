/** What searches tried and what came of it, for the tables of a report. */
import { display } from "../compiler/check/describe.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { divergedAt, inOrder, scoresOf } from "../compiler/check/choice.ts"
import type { Session } from "../compiler/check/session.ts"
import type { ArtifactValue, Value } from "../compiler/check/value.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Facts } from "./stages/environment.ts"

export interface SearchTable {
  readonly name: string
  /** What the points say, by field. */
  readonly fields: readonly string[]
  /** The best first. */
  readonly trials: readonly { readonly values: readonly string[]; readonly score: number; readonly perplexity: number | null; readonly parameters: number | null; readonly diverged?: number | null }[]
  readonly refused: readonly string[]
}

const itemsOf = (value: Value | undefined): readonly Value[] => (value?.kind === "list" ? value.items : [])

export function searchesOf(stages: readonly Stage[], facts: ReadonlyMap<string, Facts>, session: Session): readonly SearchTable[] {
  return stages.filter(({ kind, key }) => kind === "ranking" && facts.has(key)).flatMap((stage) => tableOf(stage, facts, session) ?? [])
}

function tableOf(stage: Stage, facts: ReadonlyMap<string, Facts>, session: Session): SearchTable | null {
  const m = createMachine(session)
  const by = stage.args.get("by")
  const reports = itemsOf(stage.args.get("among")).filter((item): item is ArtifactValue => item.kind === "artifact")
  const scores = by === undefined ? null : scoresOf(reports, by, stage.span, m)
  if (scores === null) return null
  const known = scores.map((score) => score ?? NaN)
  const points = itemsOf(stage.args.get("points"))
  const fields = [...new Set(points.flatMap((point) => (point.kind === "record" ? [...point.fields.keys()] : [])))]
  const valuesOf = (point: Value | undefined): readonly string[] => fields.map((field) => {
    const value = point?.kind === "record" ? point.fields.get(field) : undefined
    return value === undefined ? "" : (display(value, m) ?? "?")
  })
  const trials = inOrder(known).map((i) => {
    const report = facts.get(reports[i]?.stage.key ?? "")
    return { values: valuesOf(points[i]), score: known[i] ?? NaN, perplexity: report?.["perplexity"] ?? null, parameters: report?.["parameters"] ?? null, diverged: report?.[divergedAt] ?? null }
  })
  return { name: stage.name.split("/")[0] ?? stage.name, fields, trials, refused: itemsOf(stage.args.get("refused")).map((item) => display(item, m) ?? "?") }
}
