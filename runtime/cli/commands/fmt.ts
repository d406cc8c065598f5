import { parse } from "../../../grammar/parse.ts"
import { format } from "../../../grammar/print.ts"
import { writeAtomic } from "../../files.ts"
import { readRecipe } from "../../recipe.ts"
import type { Arguments } from "../args.ts"
import type { Command, ExitCode } from "../commands.ts"
import { showProblem, usage } from "../problem.ts"
import { hasErrors, showDiagnostics } from "../recipe.ts"
import type { Terminal } from "../terminal.ts"

export const fmt: Command = async (args, terminal) => {
  let worst: ExitCode = 0
  for (const path of args.positionals) {
    const exit = formatOne(path, args, terminal)
    if (exit > worst) worst = exit
  }
  return worst
}

function formatOne(path: string, args: Arguments, terminal: Terminal): ExitCode {
  const recipe = readRecipe(path)
  if ("message" in recipe) return usage(terminal, recipe)
  const { id, text } = recipe.source
  const { module, diagnostics } = parse(recipe.source)
  if (hasErrors(diagnostics)) {
    // Nothing is rewritten that was not understood.
    showDiagnostics(diagnostics, new Map([[id, recipe.source]]), args, terminal)
    return 1
  }
  const canonical = format(module, recipe.source)
  const changed = canonical !== text
  const json = args.flag("json")
  if (args.flag("stdout")) {
    if (json) terminal.line(JSON.stringify({ event: "formatted", file: id, changed, text: canonical }))
    else terminal.line(canonical.replace(/\n$/, ""))
    return 0
  }
  const checks = args.flag("check")
  if (changed && !checks) {
    const written = writeAtomic(path, canonical)
    if (!written.ok) return Math.max(...written.failures.map((failure) => showProblem(failure, args, terminal))) as ExitCode
  }
  if (json) terminal.line(JSON.stringify({ event: "formatted", file: id, changed, written: changed && !checks }))
  else if (changed) terminal.line(checks ? `${id} is not in canonical layout` : `${id} rewritten`)
  return changed && checks ? 1 : 0
}
