import { existsSync, readdirSync, readFileSync } from "node:fs"
import { mkdir } from "node:fs/promises"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { writeAtomic } from "../../files.ts"
import type { Command } from "../commands.ts"
import { nearest } from "../nearest.ts"
import { usage } from "../recipe.ts"

/** Where the templates are: beside the bundle, or in the source tree. */
const templates = [new URL("./new/", import.meta.url), new URL("../../../examples/new/", import.meta.url)].map((url) => fileURLToPath(url)).find(existsSync) ?? ""

export const newRecipe: Command = async (args, terminal) => {
  const [template = "", given] = args.positionals
  const known = readdirSync(templates).sort()
  if (!known.includes(template)) {
    const close = nearest(template, known)
    return usage(terminal, { message: `there is no template ${JSON.stringify(template)}`, help: close === null ? `templates: ${known.join(", ")}` : `did you mean ${close}?` })
  }
  const folder = given ?? template
  const files = readdirSync(join(templates, template)).sort()
  const taken = files.filter((file) => existsSync(join(folder, file)))
  if (taken.length > 0) return usage(terminal, { message: `${join(folder, taken[0] ?? "")} exists already; nothing was written`, help: `choose another folder: slm new ${template} my-${template}` })
  await mkdir(folder, { recursive: true })
  for (const file of files) await writeAtomic(join(folder, file), readFileSync(join(templates, template, file)))
  const recipe = relative(process.cwd(), join(folder, `${template}.slm`))
  if (args.flag("json")) {
    terminal.line(JSON.stringify({ event: "created", recipe, files: files.map((file) => join(folder, file)) }))
    return 0
  }
  for (const file of files) terminal.line(`  ${join(folder, file)}`)
  terminal.line()
  terminal.line(`Next: ${terminal.style("bold", `slm data ${recipe}`)} shows the rows as the model will see them, ${terminal.style("bold", `slm run ${recipe}`)} trains.`)
  return 0
}
