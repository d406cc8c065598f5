import { readRecipe } from "../../recipe.ts"
import type { Arguments } from "../args.ts"
import type { Command, ExitCode } from "../commands.ts"
import { usage } from "../problem.ts"
import { checkRecipe, hasErrors, readSettings, showDiagnostics } from "../recipe.ts"
import type { Terminal } from "../terminal.ts"

export const check: Command = async (args, terminal) => {
  const params = readSettings(args)
  if ("message" in params) return usage(terminal, params)
  let worst: ExitCode = 0
  for (const path of args.positionals) {
    const exit = checkOne(path, params, args, terminal)
    if (exit > worst) worst = exit
  }
  return worst
}

function checkOne(path: string, params: ReadonlyMap<string, string>, args: Arguments, terminal: Terminal): ExitCode {
  const recipe = readRecipe(path)
  if ("message" in recipe) return usage(terminal, recipe)
  const { diagnostics, sources, recipe: typed } = checkRecipe(recipe, params)
  showDiagnostics(diagnostics, sources, args, terminal)
  const ok = !hasErrors(diagnostics)
  const errors = diagnostics.filter((d) => d.severity === "error").length
  const stages = typed?.stages.length ?? null
  if (args.flag("json")) terminal.line(JSON.stringify({ event: "checked", file: recipe.source.id, ok, errors, stages }))
  else if (ok) terminal.line(`${terminal.style("green", "✓")} ${recipe.source.id}: ${stages === 0 ? "nothing to run" : `${stages} ${stages === 1 ? "stage fits" : "stages fit together"}`}`)
  else terminal.error(`${terminal.style("red", "✗")} ${recipe.source.id}: ${errors} ${errors === 1 ? "mistake" : "mistakes"}`)
  return ok ? 0 : 1
}
