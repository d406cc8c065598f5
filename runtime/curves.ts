/** Losses of trainings as a run's log has them, and two of them drawn with letters. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { mostRecordBytes, readSmallText } from "./open-file.ts"

export interface Point { readonly step: number; readonly loss: number; readonly valid: number | null }
/** By step, each once. */
export type Curve = readonly Point[]

/**
 * The curves that a run's folder has told of, by the key of the training's stage: also of the runs before, since a run that was
 * refused has none, and trainings with one key have one curve.
 */
export function readCurves(folder: string): ReadonlyMap<string, Curve> {
  const found = new Map<string, Map<number, Point>>()
  const before = existsSync(join(folder, "earlier")) ? readdirSync(join(folder, "earlier")).sort((a, b) => Number(a) - Number(b)).map((name) => join(folder, "earlier", name)) : []
  for (const line of [...before, folder].flatMap((place) => linesOf(join(place, "events.jsonl")))) {
    const told = progressOf(line)
    if (told !== null) found.set(told.key, (found.get(told.key) ?? new Map<number, Point>()).set(told.point.step, told.point))
  }
  return new Map([...found].map(([key, points]) => [key, [...points.values()].sort((a, b) => a.step - b.step)]))
}

/** A run that was not recorded has none. */
function linesOf(file: string): readonly string[] {
  return (readSmallText(file, mostRecordBytes) ?? "").split("\n").filter((line) => line.includes('"event":"progress"'))
}

function progressOf(line: string): { readonly key: string; readonly point: Point } | null {
  try {
    const event: unknown = JSON.parse(line)
    if (typeof event !== "object" || event === null || !("stage" in event) || !("step" in event) || !("loss" in event)) return null
    const { stage, step, loss } = event
    const valid = "valid" in event && typeof event.valid === "number" ? event.valid : null
    if (typeof stage !== "object" || stage === null || !("key" in stage) || typeof stage.key !== "string" || typeof step !== "number" || typeof loss !== "number") return null
    return { key: stage.key, point: { step, loss, valid } }
  } catch {
    return null // a line that was cut off when the run was killed
  }
}

/** `•` the first, `×` the second, `*` where they meet; the axis at the left has losses, the one below steps. */
export function drawTwo(a: Curve, b: Curve, width: number, height: number): readonly string[] {
  const all = [...a, ...b]
  const [low, high] = [Math.min(...all.map(({ loss }) => loss)), Math.max(...all.map(({ loss }) => loss))]
  const last = Math.max(...all.map(({ step }) => step))
  const cells = Array.from({ length: height }, () => Array.from({ length: width }, () => " "))
  for (const [curve, mark] of [[a, "•"], [b, "×"]] as const) {
    for (const { step, loss } of curve) {
      const x = last <= 1 ? 0 : Math.round(((step - 1) / (last - 1)) * (width - 1))
      const y = high === low ? height - 1 : Math.round(((high - loss) / (high - low)) * (height - 1))
      const row = cells[y]
      if (row !== undefined) row[x] = row[x] === " " || row[x] === mark ? mark : "*"
    }
  }
  const label = (i: number): string => (i === 0 ? high : i === height - 1 ? low : null)?.toFixed(3) ?? ""
  const wide = Math.max(label(0).length, label(height - 1).length)
  const below = `${" ".repeat(wide)} └${"─".repeat(width)}`
  const steps = `${" ".repeat(wide + 2)}1${String(last).padStart(width - 1)}`
  return [...cells.map((row, i) => `${label(i).padStart(wide)} │${row.join("").trimEnd()}`), below, steps]
}
