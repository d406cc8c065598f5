import { parse } from "../../../grammar/parse.ts"
import { format } from "../../../grammar/print.ts"
import { writeAtomic } from "../../files.ts"
import type { Command, ExitCode } from "../commands.ts"
import { hasErrors, readRecipe, showDiagnostics, usage } from "../recipe.ts"

export const fmt: Command = async (args, terminal) => {
  let exit: ExitCode = 0
  for (const path of args.positionals) {
    const recipe = readRecipe(path)
    if ("message" in recipe) return usage(terminal, recipe)
    const { module, diagnostics } = parse(recipe.source)
    if (hasErrors(diagnostics)) {
      // Nothing is rewritten that was not understood.
      showDiagnostics(diagnostics, new Map([[recipe.source.id, recipe.source]]), args, terminal)
      exit = 1
      continue
    }
    const text = format(module, recipe.source)
    if (args.flag("stdout")) {
      process.stdout.write(text)
      continue
    }
    if (text === recipe.source.text) continue
    if (args.flag("check")) {
      terminal.line(`${recipe.source.id} is not in canonical layout`)
      exit = 1
      continue
    }
    await writeAtomic(path, new TextEncoder().encode(text))
    terminal.line(`${recipe.source.id} rewritten`)
  }
  return exit
}
