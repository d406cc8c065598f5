import { recipeKey } from "../../../compiler/plan/recipe-key.ts"
import type { Command } from "../commands.ts"
import { openRecipe } from "../recipe.ts"
import { table } from "../show.ts"

/** Nothing is read or opened: these are keys of meaning, the same on every machine. */
export const hash: Command = async (args, terminal) => {
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, checked } = opened
  if (checked.recipe === null) return 1
  const key = recipeKey(checked.recipe, checked.session.keys)
  const { stages } = checked.recipe
  if (args.flag("json")) {
    for (const stage of stages) terminal.line(JSON.stringify({ event: "stage", name: stage.name, kind: stage.kind, key: stage.key }))
    terminal.line(JSON.stringify({ event: "recipe", recipe: recipe.source.id, key }))
    return 0
  }
  for (const row of table([[key, recipe.source.id, ""], ...stages.map((stage) => [stage.key, stage.name, stage.kind])])) terminal.line(row)
  return 0
}
