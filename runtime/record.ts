import { appendFileSync, closeSync, mkdirSync, openSync } from "node:fs"
import { join } from "node:path"
import { stringify } from "yaml"
import { writeAtomic } from "./files.ts"
import type { Emit, Event } from "./stages/events.ts"

/** The folder of one run: `events.jsonl` grows as things happen, `run.yaml` says how it ended. */
export interface RunRecord {
  readonly folder: string
  readonly emit: Emit
  /** Writes `run.yaml`; to be called once, however the run ended. */
  close(summary: Readonly<Record<string, unknown>>): Promise<void>
}

export function openRecord(folder: string): RunRecord {
  mkdirSync(folder, { recursive: true })
  const log = openSync(join(folder, "events.jsonl"), "w")
  const start = performance.now()
  return {
    folder,
    emit(event: Event) {
      const seconds = Math.round(performance.now() - start) / 1000
      appendFileSync(log, `${JSON.stringify({ seconds, ...event })}\n`)
    },
    async close(summary) {
      closeSync(log)
      await writeAtomic(join(folder, "run.yaml"), new TextEncoder().encode(stringify(summary, { lineWidth: 0 })))
    },
  }
}
