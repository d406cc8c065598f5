import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { check } from "../compiler/check/check.ts"
import type { Session } from "../compiler/check/session.ts"
import type { ArtifactType } from "../compiler/check/value.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Tokenizer } from "./data/tokenizer.ts"
import { snapshotFile, type Snapshot } from "./run.ts"
import type { ArtifactData } from "./stages/artifact.ts"
import { fromFiles } from "./stages/persist.ts"
import type { Files } from "./store/store.ts"

/** A finished run, read back from its folder: the recipe as it was, with everything the run taught. */
export interface PastRun {
  readonly folder: string
  readonly session: Session
  /** Stages whose result is a single model, in order. */
  readonly models: readonly Model[]
}

export interface Model { readonly stage: Stage; readonly type: Extract<ArtifactType, { is: "weights" }> }

export interface PastRunError { readonly message: string; readonly help: string }

export function openPastRun(folder: string): PastRun | PastRunError {
  const path = join(folder, snapshotFile)
  if (!existsSync(path)) return { message: `${folder} is not the folder of a run`, help: "a run's folder holds run.yaml and recipe.json; `slm run` makes it below runs/" }
  const snapshot = readSnapshot(path)
  if (snapshot === null) return { message: `${path} is damaged`, help: "run the recipe again: finished stages are reused" }
  const sources = new Map(Object.entries(snapshot.sources).map(([id, text]) => [id, { id, text }]))
  const facts = new Map(Object.entries(snapshot.facts).map(([name, value]) => [name, Number(value)]))
  const entry = sources.get(snapshot.entry)
  if (entry === undefined) return { message: `${path} is damaged`, help: "run the recipe again: finished stages are reused" }
  const checked = check(entry, { modules: (id, from) => sources.get(id) ?? sources.get(join(from, "..", id)) ?? null, params: new Map(Object.entries(snapshot.params)), facts })
  if (checked.recipe === null) return { message: `the recipe of ${folder} does not fit this version of slm`, help: "run the recipe again" }
  const models = checked.recipe.stages.flatMap((stage): Model[] => (stage.type.is === "weights" && artifactFolder(folder, stage) !== null ? [{ stage, type: stage.type }] : []))
  return { folder, session: checked.session, models }
}

/** The stored result of a stage; null where it is not in the folder or does not read. */
export function readArtifact(run: PastRun, stage: Stage): ArtifactData | null {
  const folder = artifactFolder(run.folder, stage)
  if (folder === null) return null
  const files: Files = new Map(readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]))
  return fromFiles(stage, files, run.session)
}

/** The tokenizer a model reads and writes with. */
export function tokenizerOfModel(run: PastRun, model: Model): Tokenizer | null {
  if (model.type.tokenizer === null) {
    const weights = readArtifact(run, model.stage)
    return weights?.is === "weights" ? weights.tokenizer : null
  }
  const data = readArtifact(run, model.type.tokenizer.stage)
  return data?.is === "tokenizer" ? data.tokenizer : null
}

function artifactFolder(run: string, stage: Stage): string | null {
  const folder = join(run, "artifacts", stage.name.replace(/[^A-Za-z0-9._-]+/g, "-"))
  return existsSync(folder) ? folder : null
}

function readSnapshot(path: string): Snapshot | null {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"))
    return isSnapshot(value) ? value : null
  } catch {
    return null
  }
}

function isSnapshot(x: unknown): x is Snapshot {
  if (typeof x !== "object" || x === null || !("version" in x) || x.version !== 1) return false
  return "entry" in x && typeof x.entry === "string" && ["sources", "params", "facts"].every((name) => isPlain(Object.entries(x).find(([key]) => key === name)?.[1]))
}

function isPlain(x: unknown): boolean {
  return typeof x === "object" && x !== null && Object.values(x).every((v) => typeof v === "string" || typeof v === "number")
}
