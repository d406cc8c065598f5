import { readdirSync } from "node:fs"
import { join } from "node:path"
import { check } from "../compiler/check/check.ts"
import { diagnostic, type Diagnostic } from "../grammar/diagnostic.ts"
import { parse } from "../grammar/parse.ts"
import { failure, good, type Failure } from "./data/result.ts"
import type { Device } from "./device.ts"
import { openHashes, type FileHashes } from "./file-hashes.ts"
import { writeAtomic } from "./files.ts"
import { moduleReader } from "./library.ts"
import { readLock, writeLock, type Lock } from "./lock.ts"
import { machineLimits, type Limits } from "./limits.ts"
import { mostRecordBytes, readBoundedText } from "./open-file.ts"
import { foreignPlace } from "./own-place.ts"
import { rememberRun } from "./past-runs.ts"
import type { RecipeFile } from "./recipe.ts"
import { openRecord, waitForRecord, type RunRecord } from "./record.ts"
import { modelsOf, writersOf } from "./report-models.ts"
import { searchesOf } from "./report-searches.ts"
import { readSnapshot } from "./snapshot.ts"
import { run } from "./run.ts"
import type { RunOptions, RunResult } from "./run-state.ts"
import type { Emit } from "./stages/events.ts"
import { openStore, type Store } from "./store/store.ts"
import { reasonOf, shownPath } from "./system-error.ts"
import { version } from "./version.ts"

export interface RunFolderOptions {
  readonly params: ReadonlyMap<string, string>
  readonly device: Device
  /** Default: `runs/NAME` beside the recipe. */
  readonly out?: string | null
  /** Nothing is reused. */
  readonly fresh?: boolean
  /** Refuses where anything differs from `NAME.lock` beside the recipe; without it, a run that ends well writes that file. */
  readonly locked?: boolean
  /** Refuses where anything differs from the plan in this file. */
  readonly plan?: string | null
  /** Between checkpoints of a training (default 30). */
  readonly checkpointSeconds?: number
  readonly allowRead?: readonly string[]
  readonly limits?: Limits
  readonly next?: RunOptions["next"]
  readonly signal?: AbortSignal | null
  readonly emit?: Emit
  /** Hears of damaged entries of the store. */
  readonly warn?: (message: string) => void
}

export interface RecordedRun extends RunResult {
  /** It began, and the folder has its record; what is refused before leaves the folder as it was. */
  readonly recorded: boolean
  /** The run's folder: `run.yaml`, `events.jsonl`, `report.html`, `recipe.json`, `artifacts/` and what the recipe exports. */
  readonly out: string
}

/** Results of stages, kept beside the recipe, for all of its runs. */
export function storeOf(folder: string, warn: (message: string) => void): Store {
  return openStore(join(folder, ".slm", "store"), warn, machineLimits().memory)
}

/** Hashes of the inputs of a folder's recipes; `verify`: each is read, whatever is remembered of it. */
export function hashesFor(folder: string, verify: boolean): FileHashes {
  return openHashes(join(folder, ".slm", "hashes.json"), verify)
}

/** What the last run of a recipe that ended well depended on, or else the last one that began; null: there was none. */
export function lastLock(recipe: RecipeFile): Lock | null {
  const beside = openLock(join(recipe.folder, `${recipe.name}.lock`))
  return "code" in beside ? (readSnapshot(join(recipe.folder, "runs", recipe.name))?.lock ?? null) : beside
}

/** Why the store beside a recipe may not be written to; null: it may. */
export function foreignStore({ folder }: RecipeFile): Failure | null {
  const store = join(folder, ".slm", "store")
  const linked = linksIn(store).map((name) => foreignPlace(folder, join(store, name)))
  return [foreignPlace(folder, store), ...linked].find((found) => found !== null) ?? null
}

function linksIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isSymbolicLink()).map(({ name }) => name)
  } catch {
    return [] // it is not there, or no folder: whoever writes there is told
  }
}

/** Runs a recipe and keeps its record in the run's folder. */
export async function runInFolder(recipe: RecipeFile, options: RunFolderOptions): Promise<RecordedRun | Failure> {
  const out = options.out ?? join(recipe.folder, "runs", recipe.name)
  // A folder that the user names is theirs to choose; the others may have come with the recipe.
  const foreign = foreignStore(recipe) ?? (options.out == null ? foreignPlace(recipe.folder, out) : null)
  if (foreign !== null) return foreign
  const lockFile = join(recipe.folder, `${recipe.name}.lock`)
  const locked = options.locked === true ? (carriedLock(recipe) ?? openLock(lockFile)) : null
  if (locked !== null && "code" in locked) return locked
  const planned = options.plan === null || options.plan === undefined ? null : openPlanFile(options.plan)
  if (planned !== null && "code" in planned) return planned
  let record: RunRecord | null = null
  const waiting = waitForRecord()
  const hashes = hashesFor(recipe.folder, options.locked === true)
  const result = await run({
    recipe: recipe.source, folder: recipe.folder, modules: moduleReader(recipe.folder), params: options.params, device: options.device, out, fresh: options.fresh ?? false, locked, planned, hashes,
    ...(options.next === undefined ? {} : { next: options.next }),
    ...(options.checkpointSeconds === undefined ? {} : { checkpointSeconds: options.checkpointSeconds }),
    allowRead: options.allowRead ?? [], ...(options.limits === undefined ? {} : { limits: options.limits }), signal: options.signal ?? null, store: storeOf(recipe.folder, options.warn ?? (() => {})),
    begin() {
      const opened = openRecord(out)
      if ("code" in opened) return [opened]
      rememberRun(recipe.folder, out)
      waiting.keepIn(record = opened)
      return []
    },
    emit(event) {
      waiting.emit(event)
      options.emit?.(event)
    },
  })
  hashes.save()
  const kept = result.lock === null || locked !== null || result.status !== "done" ? good(null) : writeAtomic(lockFile, writeLock(result.lock))
  const closed = closeRecord(record, recipe, options, result)
  const failures = [...(kept.ok ? [] : kept.failures), ...closed]
  const refused = failures.map((failure) => atStart(recipe, failure))
  return { ...result, out, recorded: record !== null, diagnostics: [...result.diagnostics, ...refused], status: refused.length > 0 && result.status === "done" ? "failed" : result.status }
}

function closeRecord(record: RunRecord | null, recipe: RecipeFile, options: RunFolderOptions, result: RunResult): readonly Failure[] {
  return record === null ? [] : record.close(reportOf(recipe, options, result), summary(recipe, options, result))
}

/** What the report says beyond events: the recipe as it is understood with all that the run taught. */
function reportOf(recipe: RecipeFile, { params }: RunFolderOptions, { facts, stages }: RunResult): Parameters<RunRecord["close"]>[0] {
  const checked = check(recipe.source, { modules: moduleReader(recipe.folder), params, facts })
  const byKey = new Map(stages.map((result) => [result.stage.key, result.facts]))
  // Of a run that ended early only what it made: sizes of the rest may not be known.
  const known = (checked.recipe?.stages ?? []).filter(({ key }) => byKey.has(key))
  return { recipe: recipe.name, models: modelsOf(known, byKey, checked.session), writers: writersOf(known), searches: searchesOf(known, byKey, checked.session) }
}

function openPlanFile(file: string): Lock | Failure {
  const opened = openLock(file)
  if (!("code" in opened)) return opened
  return { ...opened, message: opened.message.replace("a lock file", "a plan"), help: `make it with \`slm plan RECIPE --out ${shownPath(file)}\`` }
}

/** `NAME.lock` beside a recipe. */
export function lockBeside({ folder, name }: RecipeFile): Lock | Failure {
  return openLock(join(folder, `${name}.lock`))
}

/** The lock that a recipe brings along; null: it brings none. */
export function carriedLock({ source }: RecipeFile): Lock | Failure | null {
  const item = parse(source).module.items.find(({ kind }) => kind === "lock")
  if (item?.kind !== "lock") return null
  const lock = readLock(item.text.parts.map((part) => (typeof part === "string" ? part : "")).join(""))
  return lock ?? failure("SLM3402", `the lock in ${source.id} is not one of this version of slm`, "bundle the recipe anew, or run without `--locked`")
}

function openLock(file: string): Lock | Failure {
  try {
    const lock = readLock(readBoundedText(file, mostRecordBytes))
    return lock ?? failure("SLM3402", `${shownPath(file)} is not a lock file of this version of slm`, "run without `--locked` to write it anew")
  } catch (error) {
    return failure("SLM3401", `${shownPath(file)} cannot be read: ${reasonOf(error)}`, "run once without `--locked`: a run that ends well writes it")
  }
}

/** A mistake that belongs to no line of the recipe. */
export function atStart(recipe: RecipeFile, { code, message, help }: Failure): Diagnostic {
  return diagnostic(code, { source: recipe.source.id, start: 0, end: 0 }, message, help === null ? {} : { help })
}

function summary(recipe: RecipeFile, { params, device }: RunFolderOptions, result: RunResult): Readonly<Record<string, unknown>> {
  return {
    recipe: `${recipe.name}.slm`, slm: version, numerics_class: device.info.numericsClass, status: result.status, seconds: Math.round(result.seconds * 10) / 10, set: Object.fromEntries(params),
    stages: result.stages.map(({ stage, cached, seconds, facts, folder, artifactKey }) => ({
      name: stage.name, kind: stage.kind, key: stage.key, artifact: artifactKey, cached, seconds: Math.round(seconds * 100) / 100, ...(folder === null ? {} : { folder }),
      ...(Object.keys(facts).length === 0 ? {} : { facts }),
    })),
    expects: result.expects,
  }
}
