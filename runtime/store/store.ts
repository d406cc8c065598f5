/**
 * Finished stages by their key: `<root>/<first 16 hex of the key>/` is the entry of one artifact, `….partial/` holds checkpoints
 * of a stage that is not finished, `….lock` says who works on it. An entry appears whole or not at all; one that was damaged
 * later is reported and counts as absent.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { Checkpoints } from "./checkpoints.ts"
import { openCheckpoints } from "./checkpoints.ts"
import type { Entry, EntryAbout, Files } from "./entry.ts"
import { readEntry, readManifest, writeEntry } from "./entry.ts"
import type { Hold } from "./hold.ts"
import { takeHold } from "./hold.ts"

export type { Entry, EntryAbout, Files } from "./entry.ts"

export interface Store {
  has(key: string): boolean
  /** The files of an entry, checked against their checksums; null where there is none or it is damaged. */
  get(key: string): Entry | null
  /** Keeps the files under the key; an entry that is there already is replaced. */
  put(key: string, about: EntryAbout, files: Files): void
  /** Where the files of a key lie, for links from a run's folder. */
  folder(key: string): string
  /** Of a stage that is not finished, with the inputs it is made from. */
  checkpoints(key: string, from?: readonly string[]): Checkpoints
  /** The right to make the result of a key; waits while another run makes it. null: interrupted. */
  hold(key: string, signal: AbortSignal | null, waiting: (holder: string) => void): Promise<Hold | null>
}

/** A store of plain files below `root`. `warn` hears of damaged entries. `most`: bytes that one entry may have, as what reads it may take. */
export function openStore(root: string, warn: (message: string) => void, most = Infinity): Store {
  const folder = (key: string): string => path.join(root, key.slice(0, 16))
  return {
    folder,
    has: (key) => readManifest(folder(key))?.key === key,
    get(key) {
      if (!fs.existsSync(folder(key))) return null
      const entry = readEntry(folder(key), key, most)
      if (entry !== null) return entry
      warn(`the stored result ${folder(key)} is damaged; its stage runs again`)
      discard(folder(key))
      return null
    },
    put: (key, about, files) => writeEntry(folder(key), key, about, files),
    checkpoints: (key, from) => openCheckpoints(`${folder(key)}.partial`, key, warn, from, most),
    hold: (key, signal, waiting) => takeHold(`${folder(key)}.lock`, signal, waiting),
  }
}

/** What is damaged is named once. Where it cannot be removed, it will be replaced. */
function discard(folder: string): void {
  try {
    fs.rmSync(folder, { recursive: true, force: true })
  } catch { /* the store of the new result says what is wrong */ }
}
