/** What lies in a store, and what of it nothing needs any more. */
import * as fs from "node:fs"
import * as path from "node:path"
import { readManifest } from "./entry.ts"
import { isHeld } from "./hold.ts"

export type Stored =
  /** The result of a stage. */
  | { readonly is: "entry"; readonly file: string; readonly bytes: number; readonly key: string; readonly kind: string; readonly name: string; readonly made: Date }
  /** Checkpoints of a stage that was stopped. */
  | { readonly is: "partial"; readonly file: string; readonly bytes: number }
  /** What a killed process left half-written, a lock without a holder, an entry that is damaged. */
  | { readonly is: "rest"; readonly file: string; readonly bytes: number }
  /** A lock whose holder is at work. */
  | { readonly is: "held"; readonly file: string; readonly bytes: number }

/** A file that is being written is younger than this. */
const restMilliseconds = 3_600_000

/** Everything in the store, by name. Young files that are still being written are left out. */
export function listStore(root: string, now = Date.now()): readonly Stored[] {
  if (!fs.existsSync(root)) return []
  return fs.readdirSync(root).sort().flatMap((name) => storedAt(path.join(root, name), now))
}

function storedAt(file: string, now: number): readonly Stored[] {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return [] // gone in the meantime
  const bytes = bytesOf(file)
  if (file.endsWith(".tmp")) return now - stat.mtimeMs < restMilliseconds ? [] : [{ is: "rest", file, bytes }]
  if (file.endsWith(".lock")) return [{ is: isHeld(file) ? "held" : "rest", file, bytes }]
  if (file.endsWith(".partial")) return [{ is: "partial", file, bytes }]
  const manifest = readManifest(file)
  if (manifest === null) return [{ is: "rest", file, bytes }]
  return [{ is: "entry", file, bytes, key: manifest.key, kind: manifest.about.kind, name: manifest.about.name, made: stat.mtime }]
}

function bytesOf(file: string): number {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  if (stat?.isDirectory() !== true) return stat?.size ?? 0
  return fs.readdirSync(file).reduce((sum, name) => sum + bytesOf(path.join(file, name)), 0)
}

export interface TidyOptions {
  /** Keys of artifacts that are still wanted. */
  readonly wanted: ReadonlySet<string>
  /** Checkpoints of stopped trainings go too, unless a run is at work on them. */
  readonly partials: boolean
}

/** Removes what nothing wants, and what a run at work does not hold; yields what was removed. */
export function tidyStore(root: string, { wanted, partials }: TidyOptions): readonly Stored[] {
  const all = listStore(root)
  const held = new Set(all.flatMap(({ is, file }) => (is === "held" ? [file.replace(/\.lock$/, "")] : [])))
  const done = new Set(all.flatMap(({ is, file }) => (is === "entry" ? [file] : [])))
  const goes = (stored: Stored): boolean => {
    const stage = stored.file.replace(/\.(partial|lock)$/, "")
    if (held.has(stage)) return false
    if (stored.is === "entry") return !wanted.has(stored.key)
    return stored.is === "rest" || (stored.is === "partial" && (partials || done.has(stage)))
  }
  const removed = all.filter(goes)
  for (const { file } of removed) fs.rmSync(file, { recursive: true, force: true })
  return removed
}
