/**
 * Checkpoints of one unfinished stage: `<key>.partial/<step>/`, each an entry of its own. The last two are kept, so that there
 * is a good one at every moment, and one before it where the last is damaged.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { Files } from "./entry.ts"
import { readEntry, writeEntry } from "./entry.ts"

export interface Checkpoints {
  /** The newest one that is whole; damaged ones are named and passed over. */
  latest(): Checkpoint | null
  /** Keeps it, whole or not at all; throws what the operating system refuses. */
  save(checkpoint: Checkpoint): void
  clear(): void
}

export interface Checkpoint {
  readonly step: number
  readonly files: Files
}

const kept = 2

export function openCheckpoints(folder: string, key: string, warn: (message: string) => void, from: readonly string[] = [], most = Infinity): Checkpoints {
  const nameOf = (step: number): string => String(step).padStart(12, "0")
  const names = (): readonly string[] => (fs.existsSync(folder) ? fs.readdirSync(folder) : [])
  const steps = (): readonly number[] => names().filter((name) => /^\d{12}$/.test(name)).map(Number).sort((a, b) => b - a)
  const remove = (name: string): void => fs.rmSync(path.join(folder, name), { recursive: true, force: true })
  return {
    latest() {
      for (const step of steps()) {
        const place = path.join(folder, nameOf(step))
        const entry = readEntry(place, `${key} ${step}`, most)
        if (entry !== null) return { step, files: entry.files }
        warn(`the checkpoint ${place} is damaged; the one before is used`)
        remove(nameOf(step))
      }
      return null
    },
    save({ step, files }) {
      writeEntry(path.join(folder, nameOf(step)), `${key} ${step}`, { kind: "checkpoint", name: nameOf(step), facts: {}, from }, files)
      for (const old of steps().slice(kept)) remove(nameOf(old))
      // What a killed process left half-written: whoever saves here holds the stage.
      for (const name of names()) if (name.endsWith(".tmp")) remove(name)
    },
    clear() {
      fs.rmSync(folder, { recursive: true, force: true })
    },
  }
}
