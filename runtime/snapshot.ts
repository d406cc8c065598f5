/** `recipe.json` of a run's folder. */
import * as path from "node:path"
import type { Result } from "./data/result.ts"
import { writeAtomic } from "./files.ts"

/** Everything needed to check the recipe again as it was run, for `slm generate` and for comparing runs. */
export interface Snapshot {
  readonly version: 1
  readonly entry: string
  readonly sources: Readonly<Record<string, string>>
  readonly params: Readonly<Record<string, string>>
  readonly facts: Readonly<Record<string, number | string>>
  readonly artifacts: Readonly<Record<string, { readonly name: string; readonly kind: string; readonly key: string | null; readonly folder: string | null }>>
}

export const snapshotFile = "recipe.json"

export function writeSnapshot(folder: string, snapshot: Snapshot): Result<null> {
  return writeAtomic(path.join(folder, snapshotFile), `${JSON.stringify(snapshot, null, 1)}\n`)
}
