import { join } from "node:path"
import { openDevice } from "../devices/open.ts"
import { moduleReader } from "../library.ts"
import { planRecipe, type Plan } from "../plan.ts"
import { createArtifactKeys } from "../stages/keys.ts"
import { openStore, type Store } from "../store/store.ts"
import type { Arguments } from "./args.ts"
import type { ExitCode } from "./commands.ts"
import { openRecipe, type RecipeFile } from "./recipe.ts"
import type { Terminal } from "./terminal.ts"

/** The store of finished stages beside a recipe; damaged entries are named. */
export function storeOf(recipe: RecipeFile, terminal: Terminal): Store {
  return openStore(join(recipe.folder, ".slm", "store"), (message) => terminal.error(`${terminal.style("yellow", "warning")}: ${message}`))
}

/** The plan of the recipe that the arguments name, or the exit code after its mistakes were shown. */
export async function openPlan(args: Arguments, terminal: Terminal): Promise<{ readonly recipe: RecipeFile; readonly plan: Plan } | ExitCode> {
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, params, checked } = opened
  // Whether a result can be reused depends on the arithmetic of the device that made it.
  const device = await openDevice(args.value("device"))
  const numericsClass = "load" in device ? device.info.numericsClass : ""
  const finished = { store: storeOf(recipe, terminal), keys: createArtifactKeys({ folder: recipe.folder, allowRead: [] }, numericsClass) }
  const plan = planRecipe(recipe.source, { modules: moduleReader(recipe.folder), params, facts: new Map() }, checked, finished)
  return plan === null ? 1 : { recipe, plan }
}
