import { existsSync, readFileSync, realpathSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { isAddress } from "../compiler/check/places.ts"
import type { ModuleSource } from "../compiler/check/session.ts"
import type { Module } from "../grammar/ast.ts"
import type { Source } from "../grammar/diagnostic.ts"
import { parse } from "../grammar/parse.ts"
import { isBelow } from "./files.ts"
import { cachedModule, maxModuleBytes } from "./module-cache.ts"
import { readSmallText } from "./open-file.ts"

/** The folder of the standard library: beside the bundle, or in the source tree. */
export const stdlibFolder: string = [new URL("./stdlib/", import.meta.url), new URL("../stdlib/", import.meta.url)]
  .map((url) => fileURLToPath(url))
  .find((folder) => existsSync(join(folder, "prelude.slm"))) ?? fileURLToPath(new URL("../stdlib/", import.meta.url))

/**
 * Finds modules for the compiler, which itself reads nothing: `std.name` in the library, addresses among what was fetched before,
 * other ids as files below the recipe's folder, links resolved.
 */
export function moduleReader(recipeFolder: string): (id: string, from: string, sha256?: string) => ModuleSource | null {
  return (id, from, sha256) => {
    if (/^std\.[a-z][a-z0-9_]*$/.test(id)) return readLibrary(id)
    if (isAddress(id)) return fetched(id, sha256)
    return readOwn(resolve(dirname(resolve(from)), id), recipeFolder)
  }
}

function fetched(id: string, sha256: string | undefined): Source | null {
  const text = sha256 === undefined ? null : cachedModule(sha256)
  return text === null ? null : { id, text }
}

function readOwn(path: string, recipeFolder: string): Source | null {
  try {
    if (!isBelow(realpathSync(path), [realpathSync(recipeFolder)])) return null
  } catch {
    return null
  }
  const text = readSmallText(path, maxModuleBytes)
  return text === null ? null : { id: relative(process.cwd(), path), text }
}

/** What was read of the library: it stays as it is while a process runs, and a recipe is checked several times. */
const library = new Map<string, ModuleSource>()

function readLibrary(id: string): ModuleSource | null {
  const known = library.get(id)
  if (known !== undefined) return known
  const path = join(stdlibFolder, id.slice("std.".length))
  const text = readSmallText(`${path}.slm`, maxModuleBytes)
  if (text === null) return null
  const source = { id, text }
  const module = treeOf(source, `${path}.json`)
  const read = module === null ? source : { ...source, module }
  library.set(id, read)
  return read
}

/** Beside the bundle lies the tree of a module, so that it need not be parsed; null: a module that is being written and has mistakes, which the checker tells. */
function treeOf(source: Source, stored: string): Module | null {
  if (existsSync(stored)) return JSON.parse(readFileSync(stored, "utf8")) as Module
  const { module, diagnostics } = parse(source)
  return diagnostics.length === 0 ? module : null
}
