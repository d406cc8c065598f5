import { closeSync, openSync, readSync } from "node:fs"
import { basename, dirname, extname, resolve } from "node:path"
import type { Source } from "../grammar/diagnostic.ts"
import { failure, type Failure } from "./data/result.ts"
import { maxModuleBytes } from "./module-cache.ts"
import { UnfitFile } from "./open-file.ts"
import { reasonOf, shownPath } from "./system-error.ts"

/** A recipe as the user named it. */
export interface RecipeFile {
  /** Its id is the path as shown: relative to where the user stands. */
  readonly source: Source
  readonly folder: string
  /** `01-quickstart` of `examples/01-quickstart.slm`. */
  readonly name: string
}

/** What a user names may be a pipe, but not without end. */
function readTyped(file: string): Buffer {
  const handle = openSync(file, "r")
  try {
    const pieces: Buffer[] = []
    for (let [all, n] = [0, 1]; n > 0; all += n) {
      const piece = Buffer.alloc(65536)
      n = readSync(handle, piece)
      pieces.push(piece.subarray(0, n))
      if (all + n > maxModuleBytes) throw new UnfitFile(file, `it has more than ${maxModuleBytes} bytes`)
    }
    return Buffer.concat(pieces)
  } finally {
    closeSync(handle)
  }
}

/** Reads a recipe, or says why it cannot be read. */
export function readRecipe(path: string): RecipeFile | Failure {
  const absolute = resolve(path)
  try {
    const text = readTyped(absolute).toString("utf8")
    return { source: { id: shownPath(absolute), text }, folder: dirname(absolute), name: basename(absolute, extname(absolute)) }
  } catch (error) {
    return failure("SLM3104", `cannot read ${path}: ${reasonOf(error)}`, "a recipe is a text file that ends in .slm")
  }
}
