import { appendFileSync, closeSync, mkdirSync, openSync } from "node:fs"
import { join } from "node:path"
import { stringify } from "yaml"
import type { Failure } from "./data/result.ts"
import { writeAtomic } from "./files.ts"
import { reportPage } from "./report.ts"
import type { Event } from "./stages/events.ts"
import { systemFailure } from "./system-error.ts"

/** The folder of one run: `events.jsonl` grows as things happen, `run.yaml` says how it ended, `report.html` shows it. */
export interface RunRecord {
  emit(event: Event): void
  /** Writes `run.yaml` and `report.html`; to be called once, however the run ended. What could not be written is returned. */
  close(recipe: string, summary: Readonly<Record<string, unknown>>): readonly Failure[]
}

/** Opens the record, or says why nothing can be written there. */
export function openRecord(folder: string): RunRecord | Failure {
  try {
    mkdirSync(folder, { recursive: true })
    return createRecord(folder, openSync(join(folder, "events.jsonl"), "w"))
  } catch (error) {
    const refused = systemFailure(error)
    if (refused === null) throw error
    return { ...refused, code: "SLM3105", message: refused.message.replace("cannot be read", "cannot be written") }
  }
}

function createRecord(folder: string, log: number): RunRecord {
  const start = performance.now()
  const events: Event[] = []
  // A log that cannot be written must not end the run: what it said is told at the end.
  let refused: Failure | null = null
  return {
    emit(event) {
      events.push(event)
      if (refused !== null) return
      const seconds = Math.round(performance.now() - start) / 1000
      try {
        appendFileSync(log, `${JSON.stringify({ seconds, ...event })}\n`)
      } catch (error) {
        refused = systemFailure(error)
        if (refused === null) throw error
      }
    },
    close(recipe, summary) {
      closeSync(log)
      const written = [
        writeAtomic(join(folder, "run.yaml"), stringify(summary, { lineWidth: 0 })),
        writeAtomic(join(folder, "report.html"), reportPage(recipe, events)),
      ]
      return [...(refused === null ? [] : [refused]), ...written.flatMap((result) => (result.ok ? [] : result.failures))]
    },
  }
}
