/** What was made from an input: results and checkpoints in the store, runs with all they wrote, locks. */
import * as fs from "node:fs"
import * as path from "node:path"
import { matchesPath } from "./data/glob.ts"
import { readLock, type Lock } from "./lock.ts"
import { mostRecordBytes, readSmallText } from "./open-file.ts"
import { runFolders } from "./past-runs.ts"
import { readSnapshot } from "./snapshot.ts"
import { heldIn, listStore, removeStored, type Stored } from "./store/tidy.ts"

export interface Derived {
  readonly stored: readonly Stored[]
  /** Folders of runs, with what each wrote. */
  readonly runs: readonly { readonly folder: string; readonly files: readonly string[] }[]
  readonly locks: readonly string[]
  /** A run is at work on something of it. */
  readonly atWork: readonly Stored[]
  /** Every input that something here was made from, as recipes name them. */
  readonly known: readonly string[]
}

/** `input`: a file, a folder, a pattern of a recipe, or `npm:pkg/file`; paths begin where the user stands. */
export function derivedFrom(folder: string, input: string): Derived {
  const all = listStore(path.join(folder, ".slm", "store"))
  const runs = runFolders(folder).map((place) => ({ place, lock: readSnapshot(place)?.lock ?? null }))
  const locks = fs.readdirSync(folder).filter((name) => name.endsWith(".lock")).map((name) => path.join(folder, name)).map((file) => ({ file, lock: readLock(readSmallText(file, mostRecordBytes) ?? "") }))
  const is = (wanted: string): boolean => names(input, wanted, folder)
  const uses = (lock: Lock | null): lock is Lock => lock !== null && pathsIn(lock).some(is)
  const stored = all.filter((one) => (one.is === "entry" || one.is === "partial") && one.from.some(is))
  const held = heldIn(all)
  const known = [...all.flatMap((one) => (one.is === "entry" || one.is === "partial" ? one.from : [])), ...[...runs, ...locks].flatMap(({ lock }) => (lock === null ? [] : pathsIn(lock)))]
  return {
    stored, runs: runs.flatMap(({ place, lock }) => (uses(lock) ? [{ folder: place, files: writtenBy(place, lock) }] : [])), locks: locks.flatMap(({ file, lock }) => (uses(lock) ? [file] : [])),
    atWork: stored.filter(({ file }) => held.has(file.replace(/\.partial$/, ""))), known: [...new Set(known)].sort(),
  }
}

function pathsIn(lock: Lock): readonly string[] {
  return lock.stages.flatMap((stage) => stage.with["path"] ?? [])
}

/** Whether what the user names is, holds, or is matched by what a recipe in `folder` reads. */
function names(input: string, wanted: string, folder: string): boolean {
  if (input === wanted) return true
  if (wanted.startsWith("npm:") || input.startsWith("npm:")) return false
  const [given, place] = [path.resolve(input), path.resolve(folder, wanted)]
  return given === place || place.startsWith(given + path.sep) || (/[*?]/.test(wanted) && matchesPath(place, given))
}

const recordFiles = ["recipe.json", "run.yaml", "report.html", "artifacts", "earlier"]

/** Of a run's folder, which may be any folder, only what the run wrote. */
function writtenBy(folder: string, lock: Lock): readonly string[] {
  const logs = fs.readdirSync(folder).filter((name) => /^events.*\.jsonl$/.test(name))
  const exports = lock.stages.filter(({ kind }) => kind === "export").flatMap((stage) => [stage.with["gguf"], stage.with["weights"], ...exportedFiles(folder, stage.with["safetensors"])]).filter((name) => name !== undefined)
  return [...recordFiles, ...logs, ...exports].map((name) => path.join(folder, name)).filter((file) => path.resolve(file).startsWith(path.resolve(folder) + path.sep) && fs.existsSync(file))
}

const exported = /^(model.*\.safetensors|model\.safetensors\.index\.json|(config|generation_config|tokenizer|tokenizer_config|special_tokens_map)\.json|chat_template\.jinja)$/

function exportedFiles(folder: string, below: string | undefined): readonly string[] {
  if (below === undefined || !fs.existsSync(path.join(folder, below))) return []
  return fs.readdirSync(path.join(folder, below)).filter((name) => exported.test(name)).map((name) => path.join(below, name))
}

/** Deletes it. The input itself is not touched. */
export function forgetDerived(folder: string, { stored, runs, locks }: Derived): void {
  removeStored(stored)
  for (const run of runs) {
    for (const file of run.files) fs.rmSync(file, { recursive: true, force: true })
    for (const below of [...new Set(run.files.map((file) => path.dirname(file)))].sort((a, b) => b.length - a.length)) removeIfEmpty(below)
  }
  for (const file of [...locks, path.join(folder, ".slm", "hashes.json")]) fs.rmSync(file, { force: true })
}

function removeIfEmpty(folder: string): void {
  if (fs.existsSync(folder) && fs.readdirSync(folder).length === 0) fs.rmdirSync(folder)
}
