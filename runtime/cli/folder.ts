import { statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type { Arguments, UsageError } from "./args.ts"

/** The folder of recipes that a command is about: the first argument, the one that a recipe lies in, or where the user stands. */
export function folderOf(args: Arguments): string | UsageError {
  return openFolder(args.positionals[0] ?? ".")
}

export function openFolder(place: string): string | UsageError {
  const stat = statSync(place, { throwIfNoEntry: false })
  if (stat === undefined) return { message: `${place} does not exist`, help: "name the folder that the recipe lies in" }
  return resolve(stat.isDirectory() ? place : dirname(place))
}
