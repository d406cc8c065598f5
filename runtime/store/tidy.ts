/** What lies in a store, and what of it nothing needs any more. */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { readManifest } from "./entry.ts"
import { isSystemError } from "../system-error.ts"
import { isHeld } from "./hold.ts"

export type Stored =
  /** The result of a stage. */
  | { readonly is: "entry"; readonly file: string; readonly bytes: number; readonly key: string; readonly kind: string; readonly name: string; readonly made: Date; readonly from: readonly string[] }
  /** Checkpoints of a stage that was stopped. */
  | { readonly is: "partial"; readonly file: string; readonly bytes: number; readonly from: readonly string[] }
  /** What a killed process left half-written, a lock without a holder, an entry that is damaged. */
  | { readonly is: "rest"; readonly file: string; readonly bytes: number }
  /** A lock whose holder is at work. */
  | { readonly is: "held"; readonly file: string; readonly bytes: number }
  /** What a compiled program consists of, in the cache of the user. */
  | { readonly is: "program"; readonly file: string; readonly bytes: number }

/** A file that is being written is younger than this. */
const restMilliseconds = 3_600_000
const programMilliseconds = 30 * 86_400_000

/** Everything in the store, by name. Young files that are still being written are left out. */
export function listStore(root: string, now = Date.now()): readonly Stored[] {
  if (!fs.existsSync(root)) return []
  return fs.readdirSync(root).sort().flatMap((name) => storedAt(path.join(root, name), now))
}

function storedAt(file: string, now: number): readonly Stored[] {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return [] // gone in the meantime
  const bytes = bytesOf(file)
  if (file.endsWith(".tmp")) return now - stat.mtimeMs < restMilliseconds ? [] : [{ is: "rest", file, bytes }]
  if (file.endsWith(".lock")) return [{ is: isHeld(file) ? "held" : "rest", file, bytes }]
  if (!stat.isDirectory()) return [{ is: "rest", file, bytes }]
  if (file.endsWith(".partial")) return [{ is: "partial", file, bytes, from: fs.readdirSync(file).flatMap((step) => readManifest(path.join(file, step))?.about.from ?? []) }]
  const manifest = readManifest(file)
  if (manifest === null) return [{ is: "rest", file, bytes }]
  return [{ is: "entry", file, bytes, key: manifest.key, kind: manifest.about.kind, name: manifest.about.name, made: stat.mtime, from: manifest.about.from ?? [] }]
}

/** Files of compiled programs that nobody has used for a month, and what killed compilations left. */
export function unusedPrograms(cache: string, now = Date.now()): readonly Stored[] {
  if (!fs.existsSync(cache)) return []
  return fs.readdirSync(cache).sort().flatMap((name): readonly Stored[] => {
    const file = path.join(cache, name)
    const stat = fs.lstatSync(file, { throwIfNoEntry: false })
    if (stat === undefined) return []
    const rests = stat.isDirectory() ? restMilliseconds : programMilliseconds
    return now - stat.mtimeMs < rests ? [] : [{ is: stat.isDirectory() ? "rest" : "program", file, bytes: bytesOf(file) }]
  })
}

function bytesOf(file: string): number {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false })
  if (stat?.isDirectory() !== true) return stat?.size ?? 0
  return fs.readdirSync(file).reduce((sum, name) => sum + bytesOf(path.join(file, name)), 0)
}

export interface TidyOptions {
  /** Keys of artifacts that are still wanted. */
  readonly wanted: ReadonlySet<string>
  /** Checkpoints of stopped trainings go too, unless a run is at work on them. */
  readonly partials: boolean
}

/** What nothing wants, and a run at work does not hold. */
export function untidy(root: string, { wanted, partials }: TidyOptions): readonly Stored[] {
  const all = listStore(root)
  const held = heldIn(all)
  const done = new Set(all.flatMap(({ is, file }) => (is === "entry" ? [file] : [])))
  const goes = (stored: Stored): boolean => {
    const stage = stored.file.replace(/\.(partial|lock)$/, "")
    if (held.has(stage)) return false
    if (stored.is === "entry") return !wanted.has(stored.key)
    return stored.is === "rest" || (stored.is === "partial" && (partials || done.has(stage)))
  }
  return all.filter(goes)
}

/** Places of the results that runs are at work on. */
export function heldIn(all: readonly Stored[]): ReadonlySet<string> {
  return new Set(all.flatMap(({ is, file }) => (is === "held" ? [file.replace(/\.lock$/, "")] : [])))
}

/** Removes these, each at once for whoever reads at this moment; yields what was removed. What a run has taken hold of since stays. */
export function removeStored(stored: readonly Stored[]): readonly Stored[] {
  return stored.filter(({ file }) => {
    if (isHeld(`${file.replace(/\.(partial|lock)$/, "")}.lock`)) return false
    const aside = path.join(path.dirname(file), `.${path.basename(file)}.${randomBytes(6).toString("hex")}.tmp`)
    try {
      fs.renameSync(file, aside)
    } catch (error) {
      if (isSystemError(error) && error.code === "ENOENT") return false // gone in the meantime
      throw error
    }
    fs.rmSync(aside, { recursive: true, force: true })
    return true
  })
}
