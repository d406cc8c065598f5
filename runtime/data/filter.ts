import { measuresOf } from "./measures.ts"
import { bad, failure, good, type Result } from "./result.ts"
import { contentOf, contentText, pickRows, type Rows } from "./rows.ts"
import { dropCounter, type Stepped } from "./steps.ts"

/** The first reason that holds for a text, of its measures and its row; null: it stays. */
export type DropRule = (measures: ReturnType<typeof measuresOf>, row: number) => string | null

export function filter(rows: Rows, rule: DropRule): Result<Stepped<Rows>> {
  const content = contentOf(rows)
  if (!content.ok) return content
  const counter = dropCounter()
  const kept: number[] = []
  for (let row = 0; row < rows.count; row++) {
    const text = contentText(content.value, row)
    const reason = rule(measuresOf(text), row)
    if (reason === null) kept.push(row)
    else counter.drop(reason.replaceAll("_", " "), rows, row, text)
  }
  if (kept.length === 0) return bad(failure("SLM3116", `the filter dropped all ${rows.count} rows`, counter.drops().map((d) => `${d.reason}: ${d.count}`).join(", ")))
  return good({ value: pickRows(rows, kept), report: { step: "filter", before: rows.count, after: kept.length, drops: counter.drops(), notes: [] } })
}
