import { measuresOf } from "./measures.ts"
import { bad, failure, good, type Result } from "./result.ts"
import { contentOf, contentText, pickRows, type Rows } from "./rows.ts"
import { dropCounter, type Stepped } from "./steps.ts"

/** The first reason that holds for a text, of its measures and its row; null: it stays. */
export type DropRule = (measures: ReturnType<typeof measuresOf>, row: number) => string | null

export function filter(rows: Rows, rule: DropRule): Result<Stepped<Rows>> {
  return dropRows(rows, { step: "filter", allGone: `the filter dropped all ${rows.count} rows` }, (text, row) => rule(measuresOf(text), row)?.replaceAll("_", " ") ?? null)
}

/** The rows for which there is no reason to drop them; the others are counted by reason. To lose all of them is a mistake. */
export function dropRows(rows: Rows, { step, allGone }: { readonly step: string; readonly allGone: string }, reasonOf: (text: string, row: number) => string | null): Result<Stepped<Rows>> {
  const content = contentOf(rows)
  if (!content.ok) return content
  const counter = dropCounter()
  const kept: number[] = []
  for (let row = 0; row < rows.count; row++) {
    const text = contentText(content.value, row)
    const reason = reasonOf(text, row)
    if (reason === null) kept.push(row)
    else counter.drop(reason, rows, row, text)
  }
  if (kept.length === 0) return bad(failure("SLM3116", allGone, counter.drops().map((d) => `${d.reason}: ${d.count}`).join(", ")))
  return good({ value: pickRows(rows, kept), report: { step, before: rows.count, after: kept.length, drops: counter.drops(), notes: [] } })
}
