/** `recipe.json` of a run's folder. */
import * as path from "node:path"
import type { Result } from "./data/result.ts"
import { writeAtomic } from "./files.ts"
import type { Lock } from "./lock.ts"

/** Everything needed to check the recipe again as it was run, for `slm generate` and for comparing runs. */
export interface Snapshot {
  readonly version: 1
  readonly entry: string
  readonly sources: Readonly<Record<string, string>>
  readonly params: Readonly<Record<string, string>>
  readonly facts: Readonly<Record<string, number | string>>
  /** Of every stage, also of those that are still to come; `folder`, where there is a copy of the result. */
  readonly artifacts: Readonly<Record<string, { readonly name: string; readonly kind: string; readonly key: string | null; readonly folder: string | null }>>
  /** Where the recipe's paths begin, from the run's folder. */
  readonly home: string
  readonly allow_read: readonly string[]
  /** What the run depended on, and what came out so far. */
  readonly lock: Lock
}

export const snapshotFile = "recipe.json"

export function writeSnapshot(folder: string, snapshot: Snapshot): Result<null> {
  return writeAtomic(path.join(folder, snapshotFile), `${JSON.stringify(snapshot, null, 1)}\n`)
}
