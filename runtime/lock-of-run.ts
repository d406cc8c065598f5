/** The lock of a run: what its checked recipe, its inputs and its results amount to. */
import type { Checked } from "../compiler/check/check.ts"
import { factorsOf } from "../compiler/graph/lower/context.ts"
import { fieldsOf } from "../compiler/plan/fields.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Source } from "../grammar/diagnostic.ts"
import { classOf } from "./device.ts"
import type { NumericsClasses } from "./device.ts"
import { sha256 } from "./files.ts"
import type { Lock, LockedInput, LockedStage } from "./lock.ts"
import { kinds } from "./stages/execute.ts"
import type { ArtifactKeys } from "./stages/keys.ts"
import { pathOf, saysPrivate } from "./stages/sources.ts"
import type { Files } from "./store/entry.ts"
import { traceFile } from "./trace.ts"
import { compilerHash, version } from "./version.ts"

/** What a stage yielded. */
export interface Yield {
  /** A hash over its files, where it is kept. */
  readonly result: string | null
  readonly facts: Readonly<Record<string, number>>
}

export interface LockParts {
  readonly checked: Checked
  readonly params: ReadonlyMap<string, string>
  readonly numericsClass: string
  readonly keys: ArtifactKeys
  /** By the key of the stage. */
  readonly yields: ReadonlyMap<string, Yield>
  /** What was told of stages before, for whoever asks several times. */
  readonly told?: Told
}

/** Arguments of stages as people read them. */
export type Told = WeakMap<Stage, LockedStage["with"]>

export function lockOf({ checked, params, numericsClass, keys, yields, told = new WeakMap() }: LockParts): Lock {
  const stages = checked.recipe?.stages ?? []
  const inputs = stages.flatMap((stage) => lockedInputs(stage, keys) ?? [])
  return {
    version: 2, slm: version, compiler: compilerHash(), library: libraryHash(checked.sources), set: Object.fromEntries([...params].sort(byName)), numerics_class: numericsClass,
    inputs: Object.fromEntries([...inputs].sort(byName)),
    stages: stages.map((stage) => lockedStage(stage, checked, yields.get(stage.key), told)),
  }
}

/** The numerics classes of all stages that compute on a device. */
export function classesOf(checked: Checked, info: NumericsClasses): string {
  const computed = (checked.recipe?.stages ?? []).filter((stage) => kinds[stage.kind].numeric)
  return [...new Set([info.numericsClass, ...computed.map((stage) => classOf(info, factorsOf(stage.args)))])].join(", ")
}

/** What a stage reads, by name; of private files nothing but how many there are. null: something of it is not there. */
export function lockedInputs(stage: Stage, keys: ArtifactKeys): readonly (readonly [string, LockedInput])[] | null {
  const inputs = keys.inputs(stage)
  const path = pathOf(stage)
  if (inputs === null || path === null) return inputs === null ? null : []
  if (!saysPrivate(stage)) return inputs.map(({ name, bytes, sha256: hash, package: from }) => [name, { bytes, sha256: hash, ...(from === null ? {} : { package: from }) }])
  const all = sha256(JSON.stringify(inputs.map(({ name, sha256: hash }) => [name, hash])))
  return [[path, { bytes: inputs.reduce((sum, { bytes }) => sum + bytes, 0), sha256: all, files: inputs.length }]]
}

/** A hash over the files of a result; what a training recorded on its way is none of it. */
export function hashOfFiles(files: Files): string {
  return sha256(JSON.stringify([...files].filter(([name]) => name !== traceFile).map(([name, data]) => [name, sha256(data)] as const).sort(byName)))
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1
}

/** A hash over the texts of the library's modules that a recipe reads, or brings along. */
export function libraryHash(sources: ReadonlyMap<string, Source>): string {
  return sha256(JSON.stringify([...sources].filter(([id]) => id.startsWith("std.")).map(([id, { text }]) => [id, text] as const).sort(byName)))
}

export function lockedStage(stage: Stage, checked: Checked, yielded: Yield | undefined, told: Told = new WeakMap()): LockedStage {
  const { name, kind, key } = stage
  const fields = told.get(stage) ?? fieldsOf(stage, checked.session)
  told.set(stage, fields)
  return {
    name, kind, key, with: fields, ...(yielded?.result === undefined || yielded.result === null ? {} : { result: yielded.result }),
    // What is made from numeric results is as numeric: of a quantised model, too.
    numeric: numeric(stage), facts: yielded?.facts ?? {},
  }
}

function numeric(stage: Stage): boolean {
  return kinds[stage.kind].numeric || stage.inputs.some(numeric)
}
