/** `slm bundle`: one text that runs elsewhere as the recipe does here. */
import { check, type Checked } from "../compiler/check/check.ts"
import { bundle } from "../compiler/render/bundle.ts"
import type { Lock } from "./lock.ts"
import { writeLock } from "./lock.ts"
import { libraryHash } from "./lock-of-run.ts"
import type { RecipeFile } from "./recipe.ts"
import { pathOf, saysPrivate } from "./stages/sources.ts"

/** What a text by itself amounts to: nothing else is read. */
function alone(recipe: RecipeFile, text: string, { session }: Checked): Checked {
  const { params, facts } = session.environment
  return check({ id: recipe.source.id, text }, { modules: () => null, params, facts })
}

/** The recipe with everything it uses, proved to mean the same by itself. `lock`: of a run of it, to be carried. */
export function bundleRecipe(recipe: RecipeFile, checked: Checked, lock: Lock | null): string {
  const text = bundle(checked, recipe.source, null)
  const found = alone(recipe, text, checked)
  const keys = ({ recipe: of }: Checked): string => (of?.stages ?? []).map(({ key }) => key).join()
  if (found.recipe === null) throw new Error(`bundle: ${found.diagnostics.map(({ code, message }) => `${code} ${message}`).join("; ")}`)
  if (keys(found) !== keys(checked)) throw new Error("bundle: the bundled text has other keys than the recipe")
  return lock === null ? text : bundle(checked, recipe.source, writeLock({ ...lock, library: libraryHash(found.sources) }))
}

/** Whether a lock belongs to the recipe as it is now: its stages have the same keys, and it does not name what is private by now. */
export function isOf(lock: Lock, { recipe }: Checked): boolean {
  const stages = recipe?.stages ?? []
  const hidden = stages.filter(saysPrivate).every((stage) => lock.inputs[pathOf(stage) ?? ""]?.files !== undefined)
  return hidden && lock.stages.map(({ key }) => key).join() === stages.map(({ key }) => key).join()
}
