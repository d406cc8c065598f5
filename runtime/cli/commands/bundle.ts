import { bundleRecipe, isOf } from "../../bundle.ts"
import { writeAtomic } from "../../files.ts"
import type { Lock } from "../../lock.ts"
import { carriedLock, lockBeside } from "../../run-folder.ts"
import { shownPath } from "../../system-error.ts"
import type { Command } from "../commands.ts"
import { showProblem } from "../problem.ts"
import { openRecipe } from "../recipe.ts"

export const bundle: Command = async (args, terminal) => {
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, checked } = opened
  const found = carriedLock(recipe) ?? lockBeside(recipe)
  const lock: Lock | null = "code" in found || !isOf(found, checked) ? null : found
  if (!("code" in found) && lock === null) terminal.error(`${terminal.style("yellow", "warning")}: the lock is of another state of the recipe and is left out: run it once more`)
  const text = bundleRecipe(recipe, checked, lock)
  const out = args.value("out")
  if (out === null) {
    terminal.raw(args.flag("json") ? JSON.stringify({ event: "bundle", recipe: recipe.source.id, locked: lock !== null, text }) : text.trimEnd())
    return 0
  }
  const written = writeAtomic(out, text)
  const [failure] = written.ok ? [] : written.failures
  if (failure !== undefined) return showProblem(failure, args, terminal)
  const modules = [...text.matchAll(/^module /gm)].length
  if (args.flag("json")) terminal.line(JSON.stringify({ event: "bundle", recipe: recipe.source.id, file: shownPath(out), bytes: Buffer.byteLength(text), modules, locked: lock !== null }))
  else terminal.line(`${shownPath(out)}: the recipe with ${modules} modules${lock === null ? ", without a lock: none belongs to it yet" : " and its lock"}, ${Buffer.byteLength(text)} bytes`)
  return 0
}
