/**
 * Keys of artifacts: the meaning of the stage (its key), the content of the files it reads, the keys of its inputs and, where
 * results depend on a device's arithmetic, the numerics class. Equal keys mean equal bits.
 */
import * as path from "node:path"
import type { Stage } from "../../compiler/plan/stage.ts"
import { sha256, sha256File } from "../files.ts"
import { inputFiles } from "./data.ts"
import type { StageEnv } from "./environment.ts"
import { loadFolder } from "./exchange.ts"
import { kinds } from "./execute.ts"
import * as fs from "node:fs"

export interface ArtifactKeys {
  /** null: a file that is read is not there, so the stage has to say what is wrong. */
  of(stage: Stage): string | null
}

export function createArtifactKeys(env: Pick<StageEnv, "folder" | "allowRead">, numericsClass: string): ArtifactKeys {
  const known = new Map<string, string | null>()
  const of = (stage: Stage): string | null => {
    const found = known.get(stage.key)
    if (found !== undefined) return found
    const files = contentOf(stage, env)
    const inputs = stage.inputs.map(of)
    const device = kinds[stage.kind].numeric ? numericsClass : ""
    const key = files === null || inputs.includes(null) ? null : sha256(JSON.stringify(["slm artifact 1", stage.key, files, inputs, device]))
    known.set(stage.key, key)
    return key
  }
  return { of }
}

/** Hashes of what a stage reads from outside, by name. */
function contentOf(stage: Stage, env: Pick<StageEnv, "folder" | "allowRead">): readonly (readonly [string, string])[] | null {
  try {
    if (stage.kind === "load") {
      const folder = loadFolder(stage, env)
      if (typeof folder !== "string") return null
      const names = fs.readdirSync(folder).filter((name) => /\.safetensors$|^(config|tokenizer|model\.safetensors\.index)\.json$/.test(name)).sort()
      return names.map((name) => [name, sha256File(path.join(folder, name))])
    }
    const files = inputFiles(stage, env)
    return files.ok ? files.value.map((file) => [file.name, sha256File(file.path)]) : null
  } catch {
    return null // unreadable: the stage itself reports it
  }
}
