import { readFileSync } from "node:fs"
import { basename, dirname, extname, resolve } from "node:path"
import type { Source } from "../grammar/diagnostic.ts"
import { failure, type Failure } from "./data/result.ts"
import { reasonOf, shownPath } from "./system-error.ts"

/** A recipe as the user named it. */
export interface RecipeFile {
  /** Its id is the path as shown: relative to where the user stands. */
  readonly source: Source
  readonly folder: string
  /** `01-quickstart` of `examples/01-quickstart.slm`. */
  readonly name: string
}

/** Reads a recipe, or says why it cannot be read. */
export function readRecipe(path: string): RecipeFile | Failure {
  const absolute = resolve(path)
  try {
    const text = readFileSync(absolute, "utf8")
    return { source: { id: shownPath(absolute), text }, folder: dirname(absolute), name: basename(absolute, extname(absolute)) }
  } catch (error) {
    return failure("SLM3104", `cannot read ${path}: ${reasonOf(error)}`, "a recipe is a text file that ends in .slm")
  }
}
