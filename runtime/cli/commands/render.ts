import { writeAtomic } from "../../files.ts"
import { renderDefaults } from "../../../compiler/render/defaults.ts"
import { shownPath } from "../../system-error.ts"
import type { Command } from "../commands.ts"
import { showProblem } from "../problem.ts"
import { openRecipe } from "../recipe.ts"

export const render: Command = async (args, terminal) => {
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, checked } = opened
  const text = renderDefaults(recipe.source, checked)
  const out = args.value("out")
  if (out === null) {
    terminal.raw(args.flag("json") ? JSON.stringify({ event: "rendered", recipe: recipe.source.id, text }) : text.trimEnd())
    return 0
  }
  const written = writeAtomic(out, text)
  const [failure] = written.ok ? [] : written.failures
  if (failure !== undefined) return showProblem(failure, args, terminal)
  if (args.flag("json")) terminal.line(JSON.stringify({ event: "rendered", recipe: recipe.source.id, file: shownPath(out) }))
  else terminal.line(`${shownPath(out)} shows every default`)
  return 0
}
