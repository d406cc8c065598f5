/** Hashes of input files, remembered by size and times, so that a run need not read a gigabyte to learn that nothing changed. */
import * as fs from "node:fs"
import { sha256File, writeAtomic } from "./files.ts"
import { readRecordJson } from "./open-file.ts"

export interface FileHashes {
  /** SHA-256 of a file's content. */
  of(file: string): string
  /** Keeps what was learned. What cannot be kept is learned again. */
  save(): void
}

/** Reads every file. */
export const readingHashes: FileHashes = { of: sha256File, save: () => {} }

interface Known {
  readonly bytes: number
  readonly changed: number
  readonly attributes: number
  readonly node: number
  /** When it was read. */
  readonly at: number
  readonly sha256: string
}

/** A file that was written in the same moment as it was read may have changed since without its times telling. */
const moment = 2000 // milliseconds

/** `verify`: every file is read, whatever is known of it. */
export function openHashes(place: string, verify: boolean): FileHashes {
  const known = new Map(Object.entries(readKnown(place)))
  let changed = false
  return {
    of(file) {
      const stat = fs.statSync(file)
      const before = known.get(file)
      if (!verify && before !== undefined && isAsBefore(before, stat)) return before.sha256
      const at = Date.now()
      const sha256 = sha256File(file)
      known.set(file, { bytes: stat.size, changed: stat.mtimeMs, attributes: stat.ctimeMs, node: stat.ino, at, sha256 })
      changed = true
      return sha256
    },
    save() {
      if (!changed) return
      const there = [...known].filter(([file]) => fs.existsSync(file))
      writeAtomic(place, `${JSON.stringify({ version: 1, files: Object.fromEntries(there) }, null, 1)}\n`)
    },
  }
}

function isAsBefore(known: Known, { size, mtimeMs, ctimeMs, ino }: fs.Stats): boolean {
  return known.bytes === size && known.changed === mtimeMs && known.attributes === ctimeMs && known.node === ino && Math.max(mtimeMs, ctimeMs) < known.at - moment
}

function readKnown(place: string): Readonly<Record<string, Known>> {
  const value = readRecordJson(place)
  if (typeof value !== "object" || value === null || !("version" in value) || value.version !== 1 || !("files" in value) || typeof value.files !== "object" || value.files === null) return {}
  return Object.fromEntries(Object.entries(value.files).filter((entry): entry is [string, Known] => isKnown(entry[1])))
}

function isKnown(x: unknown): x is Known {
  if (typeof x !== "object" || x === null) return false
  const numbers: readonly unknown[] = ["bytes", "changed", "attributes", "node", "at"].map((name) => Object.entries(x).find(([key]) => key === name)?.[1])
  return numbers.every((n) => typeof n === "number") && "sha256" in x && typeof x.sha256 === "string" && /^[0-9a-f]{64}$/.test(x.sha256)
}
