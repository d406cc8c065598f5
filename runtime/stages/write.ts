/** `write`: rows whose answers a model has written. */
import { pickRows, withColumn } from "../data/rows.ts"
import { memberOf, whole } from "./artifact.ts"
import { rowsInput, rowsOutcome } from "./data.ts"
import type { Executor } from "./environment.ts"
import { failed, numberArg, textArg } from "./environment.ts"
import { openWriter, written } from "./generate.ts"

export const writeStage: Executor = async (stage, env) => {
  const opened = await openWriter(stage, env)
  if ("code" in opened) return failed(opened)
  const rows = memberOf(await rowsInput(stage, env), null)
  const times = numberArg(stage, "count", env) ?? 1
  const column = rows.columns.get(textArg(stage, "prompt") ?? "prompt")
  if (column?.is !== "string") throw new Error(`stages: ${stage.name} has no prompts`)
  // All that are written for one row stand behind each other.
  const from = Array.from({ length: times * rows.count }, (_, i) => Math.floor(i / times))
  const samples = await written(opened, from.map((row) => column.values[row] ?? ""), stage, env)
  if (samples === null) return { is: "interrupted" }
  const made = withColumn(pickRows(rows, from), textArg(stage, "answer") ?? "answer", { is: "string", values: samples.map(({ text }) => text) })
  const ended = samples.filter(({ end }) => end === "stop").length
  return rowsOutcome(whole(made), whole({ step: "write", before: rows.count, after: made.count, drops: [], notes: [], counts: [{ what: "came to an end by themselves", count: ended }] }))
}
