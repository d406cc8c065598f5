import type { Command, ExitCode } from "../commands.ts"
import { checkRecipe, hasErrors, readRecipe, readSettings, showDiagnostics, usage } from "../recipe.ts"

export const check: Command = async (args, terminal) => {
  const params = readSettings(args)
  if ("message" in params) return usage(terminal, params)
  let exit: ExitCode = 0
  for (const path of args.positionals) {
    const recipe = readRecipe(path)
    if ("message" in recipe) return usage(terminal, recipe)
    const { diagnostics, sources, recipe: typed } = checkRecipe(recipe, params)
    showDiagnostics(diagnostics, sources, args, terminal)
    const ok = !hasErrors(diagnostics)
    if (!ok) exit = 1
    const errors = diagnostics.filter((d) => d.severity === "error").length
    if (args.flag("json")) terminal.line(JSON.stringify({ event: "checked", file: recipe.source.id, ok, errors, stages: typed?.stages.length ?? null }))
    else if (ok) terminal.line(`${terminal.style("green", "✓")} ${recipe.source.id}: ${typed?.stages.length ?? 0} stages fit together`)
    else terminal.error(`${terminal.style("red", "✗")} ${recipe.source.id}: ${errors} ${errors === 1 ? "mistake" : "mistakes"}`)
  }
  return exit
}
