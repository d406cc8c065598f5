/**
 * Keys of artifacts: the meaning of the stage (its key), the content of the files it reads, the keys of its inputs and, where
 * results depend on a device's arithmetic, the numerics class. Equal keys mean equal bits.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { factorsOf } from "../../compiler/graph/lower/context.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { classOf } from "../device.ts"
import type { NumericsClasses } from "../device.ts"
import type { FileHashes } from "../file-hashes.ts"
import { readingHashes } from "../file-hashes.ts"
import { packageOf, sha256 } from "../files.ts"
import { inputFiles } from "./data.ts"
import { textArg } from "./environment.ts"
import type { StageEnv } from "./environment.ts"
import { loadFolder, weightFiles } from "./exchange.ts"
import { kinds } from "./execute.ts"

/**
 * Grows when the same stage on the same inputs yields other bits for a reason that no key tells: neither the revision of its kind or of a
 * primitive, nor that of a device's generated code.
 */
export const artifactRevision = 1

export interface ArtifactKeys {
  /** null: a file that is read is not there, so the stage has to say what is wrong. */
  of(stage: Stage): string | null
  /** What the stage reads from outside; null: something of it is not there. */
  inputs(stage: Stage): readonly InputHash[] | null
}

export interface InputHash {
  /** As the recipe knows it. */
  readonly name: string
  readonly bytes: number
  readonly sha256: string
  /** Name and version of the package it belongs to. */
  readonly package: string | null
}

export function createArtifactKeys(env: Pick<StageEnv, "folder" | "allowRead">, info: NumericsClasses, fileHashes: FileHashes = readingHashes): ArtifactKeys {
  const known = new Map<string, string | null>()
  const read = new Map<string, readonly InputHash[] | null>()
  const inputs = (stage: Stage): readonly InputHash[] | null => {
    const found = read.get(stage.key)
    if (found !== undefined) return found
    const hashes = hashesOf(stage, env, fileHashes)
    read.set(stage.key, hashes)
    return hashes
  }
  const of = (stage: Stage): string | null => {
    const found = known.get(stage.key)
    if (found !== undefined) return found
    const files = inputs(stage)?.map(({ name, sha256: hash }) => [stage.kind === "load" ? path.basename(name) : name, hash] as const) ?? null
    const before = stage.inputs.map(of)
    const device = kinds[stage.kind].numeric ? classOf(info, factorsOf(stage.args)) : ""
    const key = files === null || before.includes(null) ? null : sha256(JSON.stringify([`slm artifact ${artifactRevision}`, stage.key, files, before, device]))
    known.set(stage.key, key)
    return key
  }
  return { of, inputs }
}

function hashesOf(stage: Stage, env: Pick<StageEnv, "folder" | "allowRead">, hashes: FileHashes): readonly InputHash[] | null {
  try {
    if (stage.kind === "load") return folderHashes(stage, env, hashes)
    const files = inputFiles(stage, env)
    return files.ok ? files.value.map(({ name, path: file, bytes }) => ({ name, bytes, sha256: hashes.of(file), package: packageOf(name, file) })) : null
  } catch {
    return null // unreadable: the stage itself reports it
  }
}

/** Of a folder of weights, what `load` may read. */
function folderHashes(stage: Stage, env: Pick<StageEnv, "folder" | "allowRead">, hashes: FileHashes): readonly InputHash[] | null {
  const folder = loadFolder(stage, env)
  if (typeof folder !== "string") return null
  const names = weightFiles(folder)
  const shown = (textArg(stage, "path") ?? "").replace(/\/+$/, "")
  return names.map((name) => {
    const file = path.join(folder, name)
    return { name: `${shown}/${name}`, bytes: fs.statSync(file).size, sha256: hashes.of(file), package: packageOf(shown, file) }
  })
}
