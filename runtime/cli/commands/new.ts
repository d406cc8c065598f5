import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { writeAtomic } from "../../files.ts"
import { pasted, shownPath } from "../../system-error.ts"
import type { Command } from "../commands.ts"
import { nearest } from "../../../grammar/nearest.ts"
import { showProblem, usage } from "../problem.ts"

/** Where the templates are: beside the bundle, or in the source tree. */
const templates = [new URL("./new/", import.meta.url), new URL("../../../examples/new/", import.meta.url)].map((url) => fileURLToPath(url)).find(existsSync) ?? ""

/** A template that was tried out in its place has left results there. */
function filesOf(template: string): readonly string[] {
  return readdirSync(join(templates, template), { withFileTypes: true }).filter((entry) => entry.isFile() && !entry.name.startsWith(".")).map(({ name }) => name).sort()
}

export const newRecipe: Command = async (args, terminal) => {
  const [template, given] = args.positionals
  const known = readdirSync(templates).sort()
  if (template === undefined) return usage(terminal, { message: "which template?", help: `slm new NAME, one of ${known.join(", ")}` })
  if (!known.includes(template)) {
    const close = nearest(template, known)
    return usage(terminal, { message: `there is no template ${JSON.stringify(template)}`, help: close === null ? `templates: ${known.join(", ")}` : `did you mean ${close}?` })
  }
  const folder = given ?? template
  const files = filesOf(template)
  const taken = files.find((file) => existsSync(join(folder, file)))
  if (taken !== undefined) return usage(terminal, { message: `${shownPath(join(folder, taken))} exists already; nothing was written`, help: `choose another folder: slm new ${template} my-${template}` })
  for (const file of files) {
    const written = writeAtomic(join(folder, file), readFileSync(join(templates, template, file)))
    const [failure] = written.ok ? [] : written.failures
    if (failure !== undefined) return showProblem(failure, args, terminal)
  }
  const recipe = shownPath(join(folder, `${template}.slm`))
  if (args.flag("json")) {
    terminal.line(JSON.stringify({ event: "created", recipe, files: files.map((file) => shownPath(join(folder, file))) }))
    return 0
  }
  for (const file of files) terminal.line(`  ${shownPath(join(folder, file))}`)
  terminal.line()
  terminal.line(`Next: ${terminal.style("bold", `slm data ${pasted(recipe)}`)} shows the rows as the model will see them, ${terminal.style("bold", `slm run ${pasted(recipe)}`)} trains.`)
  return 0
}
