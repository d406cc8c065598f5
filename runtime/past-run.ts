import { existsSync, readdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { check, type Checked } from "../compiler/check/check.ts"
import type { Session } from "../compiler/check/session.ts"
import type { ArtifactType, ArtifactValue, EncodingValue, SpecValue } from "../compiler/check/value.ts"
import { numbersFor } from "../compiler/graph/lower/context.ts"
import { weightsOfSpec } from "../compiler/graph/lower/forward.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import type { Tokenizer } from "./data/tokenizer.ts"
import type { Device } from "./device.ts"
import { limited, machineLimits } from "./limits.ts"
import type { LockedStage } from "./lock.ts"
import { readBounded } from "./open-file.ts"
import { readSnapshot, snapshotFile, type Snapshot } from "./snapshot.ts"
import type { ArtifactData, Sample } from "./stages/artifact.ts"
import { chatFrameOf } from "./stages/chat-frame.ts"
import { fromFiles } from "./stages/persist.ts"
import { givenTo } from "./stages/encoded.ts"
import { createWriter, type WriteOptions } from "./stages/writer.ts"
import type { Files } from "./store/store.ts"
import { shownPath } from "./system-error.ts"
import { yielding } from "./yielding.ts"

/** A finished run, read back from its folder: the recipe as it was, with everything the run taught. */
export interface PastRun {
  /** As the user named it. */
  readonly folder: string
  readonly checked: Checked
  readonly session: Session
  readonly snapshot: Snapshot
  /** The text that was run, and those it uses. */
  readonly entry: Source
  readonly modules: (id: string, from: string) => Source | null
  /** Where the recipe's paths begin. */
  readonly home: string
  readonly facts: ReadonlyMap<string, number>
  /** What the run recorded of a stage, by its key. */
  readonly locked: ReadonlyMap<string, LockedStage>
  /** Keys of the stages that the run finished. */
  readonly done: ReadonlySet<string>
  /** Where the result of a stage lies, by its key. */
  readonly folders: ReadonlyMap<string, string>
  /** What the run trained or quantised, in order; each role of a training by itself. */
  readonly models: readonly Model[]
}

export interface Model {
  /** `pocket`, or `pair.wide` for a role of a training with several. */
  readonly name: string
  readonly stage: Stage
  /** The role, or "" for a single model. */
  readonly member: string
  readonly spec: SpecValue
  /** Of its weights; none where they are plain numbers. */
  readonly encodings: readonly EncodingValue[]
  readonly tokenizer: ArtifactValue | null
}

export interface PastRunError { readonly message: string; readonly help: string }

const runAgain = "run the recipe again: finished stages are reused"

/** Opens the folder of a run. */
export function openPastRun(folder: string): PastRun | PastRunError {
  const path = join(folder, snapshotFile)
  if (!existsSync(path)) {
    const what = existsSync(folder) ? "is not the folder of a run" : "does not exist"
    return { message: `${shownPath(folder)} ${what}`, help: "`slm run` makes a folder below runs/ for each recipe; name that one" }
  }
  const snapshot = readSnapshot(folder)
  const sources = new Map(Object.entries(snapshot?.sources ?? {}).map(([id, text]) => [id, { id, text }]))
  const entry = sources.get(snapshot?.entry ?? "")
  if (snapshot === null || entry === undefined) return { message: `${shownPath(path)} is damaged`, help: runAgain }
  const facts = new Map(Object.entries(snapshot.facts).map(([name, value]) => [name, Number(value)]))
  const modules = (id: string, from: string): Source | null => sources.get(id) ?? sources.get(join(from, "..", id)) ?? null
  const checked = check(entry, { modules, params: new Map(Object.entries(snapshot.params)), facts })
  if (checked.recipe === null) return { message: `the recipe of ${shownPath(folder)} does not fit this version of slm`, help: "run the recipe again" }
  const folders = new Map(Object.entries(snapshot.artifacts).flatMap(([key, { folder: own }]) => (own === null ? [] : [[key, join(folder, own)] as const])))
  const models = checked.recipe.stages.filter((stage) => folders.has(stage.key)).flatMap((stage) => modelsOf(stage, stage.type, ""))
  const locked = new Map(snapshot.lock.stages.map((stage) => [stage.key, stage]))
  const done = new Set([...facts.keys()].map((name) => name.split(".")[0] ?? "").concat([...folders.keys()]))
  return {
    folder, checked, session: checked.session, snapshot, entry, modules, home: resolve(folder, snapshot.home), facts, locked, done, folders, models,
  }
}

function modelsOf(stage: Stage, type: ArtifactType, member: string): readonly Model[] {
  if (type.is === "weights") return [{ name: member === "" ? stage.name : `${stage.name}.${member}`, stage, member, spec: type.spec, encodings: type.encodings, tokenizer: type.tokenizer }]
  return type.is === "roles" ? [...type.roles].flatMap(([role, value]) => modelsOf(stage, value.type, role)) : []
}

/** Continues prompts with a model of the run; or says why it cannot. */
export async function writeText(run: PastRun, model: Model, device: Device, prompts: readonly string[], options: WriteOptions): Promise<readonly Sample[] | PastRunError | Diagnostic> {
  const tokenizer = tokenizerOfModel(run, model)
  const weights = readArtifact(run, model.stage)
  const states = weights?.is === "weights" ? weights.members.get(model.member) : undefined
  if (tokenizer === null || states === undefined) return { message: `the model ${model.name} cannot be read from ${shownPath(run.folder)}`, help: runAgain }
  const writer = createWriter(run.session, { spec: model.spec, tokenizer, frame: chatFrameOf(model.stage), numbers: numbersFor(model.encodings, "f32") }, model.stage.span)
  if ("code" in writer) return writer
  return writer.write(limited(yielding(device), machineLimits()), givenTo(device, states, weightsOfSpec(run.session, model.spec)), prompts, options)
}

/** The stored result of a stage; null where it is not in the folder or does not read. */
function readArtifact(run: PastRun, stage: Stage): ArtifactData | null {
  const folder = run.folders.get(stage.key)
  const files = folder === undefined ? null : filesIn(folder)
  return files === null ? null : fromFiles(stage, files, run.session)
}

/** The files of a result's copy, by name; null: something there is no file that can be read. */
export function filesIn(folder: string): Files | null {
  try {
    const names = readdirSync(folder).filter((name) => !name.endsWith(".tmp")).sort()
    return new Map(names.map((name) => [name, readBounded(join(folder, name), machineLimits().memory)]))
  } catch {
    return null
  }
}

/** The tokenizer a model reads and writes with: of its data, or what came with its weights. */
function tokenizerOfModel(run: PastRun, model: Model): Tokenizer | null {
  const data = readArtifact(run, model.tokenizer?.stage ?? model.stage)
  return data?.is === "tokenizer" || data?.is === "weights" ? data.tokenizer : null
}
