import { openDevice } from "../devices/open.ts"
import { moduleReader } from "../library.ts"
import { classesOf } from "../lock-of-run.ts"
import { planRecipe, type Plan } from "../plan.ts"
import type { RecipeFile } from "../recipe.ts"
import type { Finished } from "../plan-sizes.ts"
import { hashesFor, lastLock, storeOf } from "../run-folder.ts"
import { createArtifactKeys } from "../stages/keys.ts"
import type { Arguments } from "./args.ts"
import { wrongDevice } from "./choose-device.ts"
import type { ExitCode } from "./commands.ts"
import { usage } from "./problem.ts"
import { openRecipe } from "./recipe.ts"
import type { Terminal } from "./terminal.ts"

/** Says that an entry of the store is damaged. */
export function warnOn(terminal: Terminal): (message: string) => void {
  return (message) => terminal.error(`${terminal.style("yellow", "warning")}: ${message}`)
}

export interface Planned {
  readonly recipe: RecipeFile
  readonly plan: Plan
  readonly params: ReadonlyMap<string, string>
  readonly device: string
  readonly numericsClass: string
  readonly finished: Finished
}

/** The plan of the recipe that the arguments name, or the exit code after its mistakes were shown. */
export async function openPlan(args: Arguments, terminal: Terminal): Promise<Planned | ExitCode> {
  const wrong = wrongDevice(args)
  if (wrong !== null) return usage(terminal, wrong)
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, params, access, checked } = opened
  // Whether a result can be reused depends on the arithmetic of the device that made it.
  const device = await openDevice(args.value("device"))
  const info = "load" in device ? device.info : { numericsClass: "" }
  const numericsClass = classesOf(checked, info)
  const place = { folder: recipe.folder, allowRead: access.allowRead }
  const hashes = hashesFor(recipe.folder, false)
  const finished = { store: storeOf(recipe.folder, warnOn(terminal)), keys: createArtifactKeys(place, info, hashes), limits: access.limits, ...("load" in device ? { device } : {}) }
  const lock = lastLock(recipe)
  const plan = planRecipe(recipe.source, { modules: moduleReader(recipe.folder), params, facts: new Map() }, checked, finished, place, lock === null ? null : { lock, numericsClass })
  hashes.save()
  return plan === null ? 1 : { recipe, plan, params, numericsClass, finished, device: "load" in device ? device.info.name : (args.value("device") ?? "reference") }
}
