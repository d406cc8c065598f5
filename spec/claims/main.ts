/**
 * `npm run claims [WORD…]`: runs the recipes of this folder whose name contains a word with three seeds each, and writes `spec/claims.md`.
 * Finished stages are reused, so a run that was interrupted goes on. `--data FOLDER` has tinyshakespeare.txt (default: ../shared/data).
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { sha256, writeAtomic } from "../../runtime/files.ts"
import { run } from "../../runtime/index.ts"
import type { Measured } from "./table.ts"
import { claimsIn, row } from "./table.ts"

const folder = fileURLToPath(new URL(".", import.meta.url))
const root = path.resolve(folder, "../..")
const resultsFile = path.join(folder, "results.json")
const seeds = ["0", "1", "2"]

/** What was measured, by recipe; of a recipe that has been changed since, nothing counts. */
type Results = Record<string, { recipe: string; seeds: Record<string, Measured[]> }>

const { values, positionals } = parseArgs({ allowPositionals: true, options: { data: { type: "string" }, device: { type: "string" } } })
const data = path.resolve(root, values.data ?? "../shared/data")
const readResults = (): Results => (fs.existsSync(resultsFile) ? (JSON.parse(fs.readFileSync(resultsFile, "utf8")) as Results) : {})
const names = fs.readdirSync(folder).filter((name) => name.endsWith(".slm") && name !== ".slm").sort()

const head = `# Claims

What the literature says of small models, as conditions that are measured here at our scale. \`npm run claims\` writes this page: it runs the recipes of [\`claims/\`](claims) with three seeds each and takes both sides of every \`expect\`, as mean ± standard
deviation over the seeds. A claim *holds* if it does for every seed, and by more on average than the seeds differ in it; seeds share data and base model with what they are compared with. Everything else stays *open*: nothing here is tuned until it holds.
Perplexities are those of the validation part (482 rows of 64 tokens) unless another measure is named.
`

for (const name of names.filter((n) => positionals.length === 0 || positionals.some((word) => n.includes(word)))) {
  for (const seed of seeds) await measure(name, seed)
}
fs.writeFileSync(path.join(root, "spec/claims.md"), page())

async function measure(name: string, seed: string): Promise<void> {
  const text = fs.readFileSync(path.join(folder, name), "utf8")
  const set = { seed, ...(/^param other\b/m.test(text) ? { other: path.join(data, "tinyshakespeare.txt") } : {}) }
  const out = path.join(folder, "runs", `${name.replace(".slm", "")}-${seed}`)
  const report = await run(path.join(folder, name), {
    set, out, ...(values.device === "cpu" || values.device === "tfjs" || values.device === "reference" ? { device: values.device } : {}),
    onEvent: (event) => { if (event.event === "stage-finished") console.log(`${name} ${seed}: ${event.stage.name}, ${event.seconds.toFixed(1)} s`) },
  })
  const found = claimsIn({ id: name, text }).map(({ condition }) => report.expects.find((e) => e.text === condition))
  const measured = found.flatMap((e): Measured[] => (e === undefined || e.left === null || e.right === null ? [] : [{ left: e.left, right: e.right, operator: e.operator, holds: e.holds }]))
  if (measured.length !== found.length) throw new Error(`${name}, seed ${seed}: ${report.diagnostics.filter((d) => d.code !== "SLM3307").map((d) => `${d.code} ${d.message}`).join("; ")}`)
  const results = readResults() // others may have measured something meanwhile
  const before = results[name]?.recipe === sha256(text) ? results[name]?.seeds : {}
  results[name] = { recipe: sha256(text), seeds: { ...before, [seed]: measured } }
  writeAtomic(resultsFile, new TextEncoder().encode(`${JSON.stringify(results, null, 1)}\n`))
}

/** The table, with what has been measured of the recipes as they are now. */
function page(): string {
  const results = readResults()
  const sections = names.map((name) => {
    const text = fs.readFileSync(path.join(folder, name), "utf8")
    const known = results[name]?.recipe === sha256(text) ? Object.values(results[name]?.seeds ?? {}) : []
    const about = text.split("\n").filter((line) => line.startsWith("//! ")).map((line) => line.slice(4)).join(" ")
    const rows = claimsIn({ id: name, text }).map((claim, i) => row(claim, known.flatMap((seed) => seed[i] ?? [])))
    return `## ${name.replace(".slm", "")}\n\n${about} [\`${name}\`](claims/${name})\n\n| claim | source | setting | measured | verdict |\n|---|---|---|---|---|\n${rows.join("\n")}\n`
  })
  return `${head}\n${sections.join("\n")}`
}
