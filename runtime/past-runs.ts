/** The runs whose folders lie beside a recipe: for listing them, and for knowing which results they need. */
import * as fs from "node:fs"
import * as path from "node:path"
import { mostRecordBytes, readSmallText } from "./open-file.ts"
import { readSnapshot, snapshotFile } from "./snapshot.ts"
import { readYaml } from "./yaml.ts"

export interface RunSummary {
  readonly folder: string
  /** `01-quickstart.slm` */
  readonly recipe: string
  /** `done`, `failed`, `interrupted`; `unfinished`: at work, or killed. */
  readonly status: string
  readonly seconds: number
  readonly ended: Date
  /** Of the last training or evaluation that has one. */
  readonly loss: number | null
  readonly bytes: number
}

/** The runs below `runs/` of a folder, the latest first; what is not the folder of a run is left out. */
export function listRuns(folder: string): readonly RunSummary[] {
  return runFolders(folder).flatMap((run) => summaryOf(run) ?? []).sort((a, b) => b.ended.getTime() - a.ended.getTime())
}

/** Keys of the artifacts that the runs of a folder hold, so that running them again finds them. */
export function keysOfRuns(folder: string): ReadonlySet<string> {
  return new Set(runFolders(folder).flatMap((run) => {
    return Object.values(readSnapshot(run)?.artifacts ?? {}).flatMap(({ key }) => key ?? [])
  }))
}

/** The folders of all runs of a folder's recipes, also of those that were sent elsewhere with `--out`. */
export function runFolders(folder: string): readonly string[] {
  const runs = path.join(folder, "runs")
  const below = fs.existsSync(runs) ? foldersBelow(runs, 2) : []
  return [...new Set([...below, ...elsewhere(folder)])].filter((place) => fs.existsSync(path.join(place, snapshotFile)))
}

const register = (folder: string): string => path.join(folder, ".slm", "runs.txt")

/** Remembers a run's folder that is not below `runs/`. What cannot be written down is not found later, and nothing else. */
export function rememberRun(folder: string, out: string): void {
  const below = !path.relative(path.join(folder, "runs"), out).startsWith("..")
  if (below || elsewhere(folder).includes(path.resolve(out))) return
  try {
    fs.mkdirSync(path.dirname(register(folder)), { recursive: true })
    fs.appendFileSync(register(folder), `${path.relative(folder, out)}\n`)
  } catch { /* the run itself says what is wrong with the disk */ }
}

/** Whether the folder of a recipe knows this run as one of its own: the record of a run could name any folder as its recipe's. */
export function isRunOf(folder: string, out: string): boolean {
  return runFolders(folder).some((place) => path.resolve(place) === path.resolve(out))
}

function elsewhere(folder: string): readonly string[] {
  return (readSmallText(register(folder), mostRecordBytes) ?? "").split("\n").filter((line) => line !== "").map((line) => path.resolve(folder, line))
}

/** `--out runs/slow/third` is a run too. */
function foldersBelow(folder: string, depth: number): readonly string[] {
  const below = fs.readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => path.join(folder, name)).sort()
  return depth === 0 ? [] : below.flatMap((place) => [place, ...foldersBelow(place, depth - 1)])
}

function summaryOf(folder: string): RunSummary | null {
  const [file, begun] = [path.join(folder, "run.yaml"), path.join(folder, snapshotFile)]
  const run = readYaml(readSmallText(file, mostRecordBytes) ?? "")
  const [ends, begins] = [timeOf(file), timeOf(begun)]
  if (begins === null) return null
  if (ends === null || begins > ends) {
    const snapshot = readSnapshot(folder)
    return snapshot === null ? null : { folder, recipe: path.basename(snapshot.entry), status: "unfinished", seconds: 0, ended: begins, loss: null, bytes: bytesOf(folder) }
  }
  if (!isRecord(run) || typeof run["recipe"] !== "string" || typeof run["status"] !== "string" || typeof run["seconds"] !== "number") return null
  const stages = Array.isArray(run["stages"]) ? run["stages"] : []
  const losses = stages.flatMap((stage) => (isRecord(stage) && isRecord(stage["facts"]) && typeof stage["facts"]["loss"] === "number" ? [stage["facts"]["loss"]] : []))
  return { folder, recipe: run["recipe"], status: run["status"], seconds: run["seconds"], ended: ends, loss: losses.at(-1) ?? null, bytes: bytesOf(folder) }
}

/** When a file was written; null: there is none. */
function timeOf(file: string): Date | null {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false })
  return stat?.isFile() === true ? stat.mtime : null
}

function bytesOf(place: string): number {
  return fs.readdirSync(place, { withFileTypes: true }).reduce((sum, entry) => {
    const file = path.join(place, entry.name)
    return sum + (entry.isDirectory() ? bytesOf(file) : fs.lstatSync(file, { throwIfNoEntry: false })?.size ?? 0)
  }, 0)
}

function isRecord(x: unknown): x is Readonly<Record<string, unknown>> {
  return typeof x === "object" && x !== null && !Array.isArray(x)
}
