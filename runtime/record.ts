import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync } from "node:fs"
import { join } from "node:path"
import type { Failure } from "./data/result.ts"
import { writeAtomic } from "./files.ts"
import { mostRecordBytes, readSmallText } from "./open-file.ts"
import { foreignPlace } from "./own-place.ts"
import { reportPage, type ReportOptions } from "./report.ts"
import type { Event } from "./stages/events.ts"
import { systemFailure } from "./system-error.ts"
import { writeYaml } from "./yaml.ts"

/** The folder of one run: `events.jsonl` grows as things happen, `run.yaml` says how it ended, `report.html` shows it. */
export interface RunRecord {
  emit(event: Event): void
  /** Writes `run.yaml` and `report.html`; to be called once, however the run ended. What could not be written is returned. */
  close(report: Omit<ReportOptions, "events">, summary: Readonly<Record<string, unknown>>): readonly Failure[]
}

const logFile = "events.jsonl"
const summaryFile = "run.yaml"

/** Puts the record of the run before into a folder of its own, `earlier/N`; its log is there then, or null: there was none. */
function setAside(folder: string): string | null {
  if (!existsSync(join(folder, logFile))) return null
  const earlier = join(folder, "earlier")
  mkdirSync(earlier, { recursive: true })
  const last = readdirSync(earlier).reduce((n, name) => (/^\d+$/.test(name) ? Math.max(n, Number(name)) : n), 0)
  const own = join(earlier, String(last + 1))
  mkdirSync(own)
  // A run that was killed has no summary, nor does it inherit one.
  for (const name of [summaryFile, logFile]) if (existsSync(join(folder, name))) renameSync(join(folder, name), join(own, name))
  return join(own, logFile)
}

/** Events of a run that may never begin, in order, until there is a record to keep them in. */
export interface Waiting {
  emit(event: Event): void
  /** Keeps what has happened by now, and from now on all of it. */
  keepIn(record: RunRecord): void
}

export function waitForRecord(): Waiting {
  let waiting: readonly Event[] = []
  let kept: RunRecord | null = null
  return {
    emit(event) {
      if (kept === null) waiting = [...waiting, event]
      else kept.emit(event)
    },
    keepIn(record) {
      for (const event of waiting) record.emit(event)
      kept = record
    },
  }
}

/** Opens the record, or says why nothing can be written there. */
export function openRecord(folder: string): RunRecord | Failure {
  try {
    mkdirSync(folder, { recursive: true })
    const path = join(folder, logFile)
    const foreign = foreignPlace(folder, path) ?? foreignPlace(folder, join(folder, "earlier"))
    if (foreign !== null) return foreign
    const before = setAside(folder)
    return createRecord(folder, openSync(path, "w"), before === null ? new Map() : readEarlier(before))
  } catch (error) {
    const refused = systemFailure(error)
    if (refused === null) throw error
    return { ...refused, code: "SLM3105", message: refused.message.replace("cannot be read", "cannot be written") }
  }
}

type Earlier = ReadonlyMap<string, readonly Event[]>

function createRecord(folder: string, log: number, earlier: Earlier): RunRecord {
  const start = performance.now()
  const events: Event[] = []
  // A log that cannot be written must not end the run: what it said is told at the end.
  let refused: Failure | null = null
  const keep = (event: Event, more: Readonly<Record<string, unknown>> = {}): void => {
    events.push(event)
    if (refused !== null) return
    const seconds = Math.round(performance.now() - start) / 1000
    try {
      appendFileSync(log, `${JSON.stringify({ seconds, ...event, ...more })}\n`)
    } catch (error) {
      refused = systemFailure(error)
      if (refused === null) throw error
    }
  }
  return {
    emit(event) {
      keep(event)
      // A result that is used again keeps its history: curves, and what the model wrote while it was trained.
      if (event.event === "stage-cached") for (const past of earlier.get(event.stage.key) ?? []) keep(past, { earlier: true })
    },
    close(report, summary) {
      closeSync(log)
      const written = [
        writeAtomic(join(folder, summaryFile), writeYaml(summary)),
        writeAtomic(join(folder, "report.html"), reportPage({ ...report, events })),
      ]
      return [...(refused === null ? [] : [refused]), ...written.flatMap((result) => (result.ok ? [] : result.failures))]
    },
  }
}

/** What trainings said in the run that the folder holds, by the key of their stage. */
function readEarlier(path: string): Earlier {
  const found = new Map<string, Event[]>()
  for (const line of (readSmallText(path, mostRecordBytes) ?? "").split("\n")) {
    const event = trainingEvent(line)
    if (event !== null) found.set(event.stage.key, [...(found.get(event.stage.key) ?? []), event])
  }
  return found
}

type TrainingEvent = Extract<Event, { event: "progress" | "sample" | "trace" }>

/** The event of a line, where it is the progress, a sample or a trace of a training; null for anything else. */
function trainingEvent(line: string): TrainingEvent | null {
  if (!/"event":"(progress|sample|trace)"/.test(line)) return null
  try {
    const { seconds, earlier, ...event } = JSON.parse(line) as { seconds: unknown; earlier: unknown } & TrainingEvent
    const named = typeof event.stage === "object" && typeof event.stage.key === "string" && typeof event.stage.name === "string"
    if (!named) return null
    if (event.event === "progress") return typeof event.step === "number" && typeof event.loss === "number" ? event : null
    if (event.event === "trace") return typeof event.step === "number" && typeof event.steps === "string" ? event : null
    return event.event === "sample" && typeof event.at === "number" && typeof event.text === "string" && typeof event.prompt === "string" ? event : null
  } catch {
    return null // a line that was cut off when the run was killed
  }
}
