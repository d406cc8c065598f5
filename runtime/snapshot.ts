/** `recipe.json` of a run's folder. */
import * as path from "node:path"
import type { Result } from "./data/result.ts"
import { writeAtomic } from "./files.ts"
import { isLock, type Lock } from "./lock.ts"
import { readRecordJson } from "./open-file.ts"

/** Everything needed to check the recipe again as it was run, for `slm generate` and for comparing runs. */
export interface Snapshot {
  readonly version: 2
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

/** What a run's folder says of the run; null where it says nothing, or is damaged. */
export function readSnapshot(folder: string): Snapshot | null {
  const value = readRecordJson(path.join(folder, snapshotFile))
  return isSnapshot(value) ? value : null
}

function isSnapshot(x: unknown): x is Snapshot {
  if (typeof x !== "object" || x === null || !("version" in x) || x.version !== 2) return false
  if (!("artifacts" in x) || typeof x.artifacts !== "object" || x.artifacts === null || !Object.values(x.artifacts).every(isArtifact)) return false
  if (!("home" in x) || typeof x.home !== "string" || !("allow_read" in x) || !Array.isArray(x.allow_read) || !x.allow_read.every((f) => typeof f === "string")) return false
  if (!("lock" in x) || !isLock(x.lock)) return false
  return "entry" in x && typeof x.entry === "string" && ["sources", "params", "facts"].every((name) => isPlain(Object.entries(x).find(([key]) => key === name)?.[1]))
}

/** A folder is below the run's: the text of a run may come from anywhere. */
function isArtifact(x: unknown): boolean {
  return typeof x === "object" && x !== null && "folder" in x && (x.folder === null || (typeof x.folder === "string" && /^artifacts[\\/][A-Za-z0-9._-]+$/.test(x.folder)))
    && "key" in x && (x.key === null || typeof x.key === "string") && "name" in x && typeof x.name === "string" && "kind" in x && typeof x.kind === "string"
}

function isPlain(x: unknown): boolean {
  return typeof x === "object" && x !== null && Object.values(x).every((v) => typeof v === "string" || typeof v === "number")
}
