import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Stage, StageKind } from "../../../compiler/plan/stage.ts"
import { renderReport, reportPacked, reportTokens, withoutRows, type DataReport, type PartReport } from "../../data/report.ts"
import type { StepReport } from "../../data/steps.ts"
import { createReference } from "../../devices/reference.ts"
import { moduleReader } from "../../library.ts"
import { foreignStore, storeOf } from "../../run-folder.ts"
import { run } from "../../run.ts"
import type { RunResult } from "../../run-state.ts"
import type { ArtifactData } from "../../stages/artifact.ts"
import { isPrivate } from "../../stages/sources.ts"
import type { Command } from "../commands.ts"
import { warnOn } from "../planned.ts"
import { showProblem } from "../problem.ts"
import { openRecipe, showDiagnostics } from "../recipe.ts"

/** Stages that read and prepare; none of them needs a device. */
const dataKinds: ReadonlySet<StageKind> = new Set<StageKind>(["text", "jsonl", "csv", "parquet", "documents", "clean", "split", "take", "chat", "each_row", "instruct", "append", "filter", "distinct", "redact", "in_language", "byte", "char", "bpe", "encode", "pack"])

export const data: Command = async (args, terminal) => {
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, params, access, checked } = opened
  const foreign = foreignStore(recipe)
  if (foreign !== null) return showProblem(foreign, args, terminal)
  const out = mkdtempSync(join(tmpdir(), "slm-data-"))
  try {
    const result = await run({
      recipe: recipe.source, folder: recipe.folder, modules: moduleReader(recipe.folder), params, device: createReference(), out, store: storeOf(recipe.folder, warnOn(terminal)), ...access,
      only: (stage) => dataKinds.has(stage.kind),
      emit(event) {
        if (event.event === "stage-started") terminal.status(`  ${event.stage.kind} ${event.stage.name} …`)
      },
    })
    showDiagnostics(result.diagnostics.slice(checked.diagnostics.length), result.sources, args, terminal)
    if (result.status !== "done") return 1
    const reports = await reportsOf(checked.recipe?.stages ?? [], result)
    for (const report of reports) terminal.line(args.flag("json") ? JSON.stringify({ event: "data", ...report }) : renderReport(report, { color: terminal.color }))
    return 0
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

/** One report for each data set that nothing prepares further: its steps from the input on, and what came out. */
async function reportsOf(stages: readonly Stage[], result: RunResult): Promise<readonly DataReport[]> {
  const sets = stages.filter((stage) => dataKinds.has(stage.kind) && stage.type.is !== "tokenizer")
  const used = new Set(sets.flatMap((stage) => stage.inputs))
  const reports: DataReport[] = []
  for (const last of sets.filter((stage) => !used.has(stage))) {
    const steps: StepReport[] = []
    for (const stage of linesOf(last)) {
      const found = await result.result(stage)
      if (found?.is === "rows") for (const [part, step] of found.reports) steps.push(part === "" ? step : { ...step, step: `${step.step}, ${part}` })
    }
    const found = await result.result(last)
    const shown = isPrivate(last) ? withoutRows : (report: DataReport) => report
    reports.push(shown({ name: last.name, steps, parts: found === null ? [] : await partsOf(last, found, result) }))
  }
  return reports
}

/** The stages a data set comes from, first to last. */
function linesOf(last: Stage): readonly Stage[] {
  const line: Stage[] = []
  for (let at: Stage | undefined = last; at !== undefined; at = at.inputs.find((stage) => dataKinds.has(stage.kind) && stage.type.is !== "tokenizer")) line.unshift(at)
  return line
}

async function partsOf(stage: Stage, found: ArtifactData, result: RunResult): Promise<readonly PartReport[]> {
  const name = (part: string): string => (part === "" ? stage.name : part)
  if (found.is === "tokens") return [...found.members].map(([part, set]) => reportTokens(name(part), set))
  if (found.is !== "packed" || stage.type.is !== "tokens") return []
  const tokenizer = await result.result(stage.type.tokenizer.stage)
  if (tokenizer?.is !== "tokenizer") return []
  return [...found.members].map(([part, packed]) => reportPacked(name(part), packed, tokenizer.tokenizer))
}
