/** Runs `recipe.slm` of a folder on the reference device, with a checkpoint after every step, and says which step is done. */
import * as fs from "node:fs"
import * as path from "node:path"
import { createReference } from "./devices/reference.ts"
import { moduleReader } from "./library.ts"
import { run } from "./run.ts"
import { openStore } from "./store/store.ts"

const folder = process.argv[2] ?? "."
const result = await run({
  recipe: { id: "recipe.slm", text: fs.readFileSync(path.join(folder, "recipe.slm"), "utf8") }, folder, modules: moduleReader(folder), params: new Map(), device: createReference(),
  out: path.join(folder, "out"), store: openStore(path.join(folder, ".slm", "store"), (message) => console.log(`warning ${message}`)), clock: () => 0, checkpointSeconds: 0,
  emit: (event) => { if (event.event === "progress" || event.event === "resumed") console.log(`${event.event} ${event.step}`) },
})
console.log(result.status, ...result.diagnostics.map((d) => d.message))
