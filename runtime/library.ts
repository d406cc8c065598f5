import { existsSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import type { ModuleSource } from "../compiler/check/session.ts"
import type { Module } from "../grammar/ast.ts"
import type { Source } from "../grammar/diagnostic.ts"

/** The folder of the standard library: beside the bundle, or in the source tree. */
export const stdlibFolder: string = [new URL("./stdlib/", import.meta.url), new URL("../stdlib/", import.meta.url)]
  .map((url) => fileURLToPath(url))
  .find((folder) => existsSync(join(folder, "prelude.slm"))) ?? fileURLToPath(new URL("../stdlib/", import.meta.url))

/** Finds modules for the compiler, which itself reads nothing: `std.name` in the library, other ids as files of the recipe's folder. */
export function moduleReader(recipeFolder: string): (id: string, from: string) => ModuleSource | null {
  return (id, from) => {
    if (/^std\.[a-z][a-z0-9_]*$/.test(id)) return readLibrary(id)
    const path = resolve(dirname(resolve(from)), id)
    const inside = relative(recipeFolder, path)
    if (inside.startsWith("..") || resolve(recipeFolder, inside) !== path) return null
    return readSource(path, relative(process.cwd(), path))
  }
}

/** A module of the library; beside the bundle lies its tree, so that it need not be parsed each time. */
function readLibrary(id: string): ModuleSource | null {
  const path = join(stdlibFolder, id.slice("std.".length))
  const source = readSource(`${path}.slm`, id)
  if (source === null || !existsSync(`${path}.json`)) return source
  return { ...source, module: JSON.parse(readFileSync(`${path}.json`, "utf8")) as Module }
}

function readSource(path: string, id: string): Source | null {
  try {
    return { id, text: readFileSync(path, "utf8") }
  } catch {
    return null
  }
}
