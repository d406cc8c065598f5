/** Modules of the web that were fetched before, each under its hash. */
import { existsSync, mkdirSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { maxTextLength } from "../grammar/limits.ts"
import type { Result } from "./data/result.ts"
import { sha256, writeAtomic } from "./files.ts"
import { readSmallText } from "./open-file.ts"

/** A module has at most as many characters as a recipe; in UTF-8 a character takes at most three bytes for each of its units. */
export const maxModuleBytes: number = 4 * maxTextLength

/** Of the user, for all recipes: a hash means the same text everywhere. */
export function moduleFolder(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const cache = env["XDG_CACHE_HOME"]
  return join(cache !== undefined && cache !== "" ? cache : join(homedir(), ".cache"), "slm", "modules")
}

/** The text with this hash; null: it was not fetched, or what lies there is damaged. */
export function cachedModule(hash: string): string | null {
  if (!/^[0-9a-f]{64}$/.test(hash)) return null
  const text = readSmallText(join(moduleFolder(), `${hash}.slm`), maxModuleBytes)
  return text !== null && sha256(text) === hash ? text : null
}

export function keepModule(text: string): Result<null> {
  const folder = moduleFolder()
  if (!existsSync(folder)) mkdirSync(folder, { recursive: true })
  return writeAtomic(join(folder, `${sha256(text)}.slm`), text)
}
