/** What keys and locks take of a run: CPU time of fresh processes, in the form that users get. */
import { build } from "esbuild"
import { execFileSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export interface Part { readonly name: string; readonly milliseconds: number }

const root = fileURLToPath(new URL("../..", import.meta.url))
/** The first run of a recipe, the ones after it, and those that are held to its lock. */
const modes = ["first", "again", "locked"] as const

/** Prints, for each kind of run, each part and the sum: of the quickest of some processes, so that neighbours count little. */
export async function measureOverhead(rounds: number): Promise<Readonly<Record<string, readonly Part[]>>> {
  mkdirSync(join(root, ".cache"), { recursive: true })
  const built = mkdtempSync(join(root, ".cache", "overhead-"))
  try {
    await build({
      entryPoints: [join(root, "runtime/bench/overhead-process.ts")], outdir: built, bundle: true, splitting: true, format: "esm", platform: "node", target: "node20", logLevel: "warning", packages: "bundle",
      external: ["koffi", "webgpu", "ts-morph", "@tensorflow/*"], define: { "process.env.SLM_VERSION": '"0"', "process.env.SLM_COMPILER": '"0"' },
      banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
    })
    cpSync(join(root, "stdlib"), join(built, "stdlib"), { recursive: true })
    const recipe = join(root, "examples", "01-quickstart.slm")
    const run = (mode: string, folder: string): readonly Part[] => JSON.parse(execFileSync(process.execPath, [join(built, "overhead-process.js"), recipe, folder, mode], { encoding: "utf8" })) as readonly Part[]
    const found: Record<string, readonly Part[]> = {}
    for (let round = 0; round < rounds; round++) {
      const folder = join(built, `round-${round}`)
      for (const mode of modes) {
        const parts = run(mode, folder)
        if (found[mode] === undefined || sum(parts) < sum(found[mode])) found[mode] = parts
      }
    }
    for (const mode of modes) {
      const parts = found[mode] ?? []
      console.log(`  ${mode.padEnd(7)} ${sum(parts).toFixed(0).padStart(4)} ms: ${parts.map(({ name, milliseconds }) => `${name} ${milliseconds.toFixed(1)}`).join(", ")}`)
    }
    return found
  } finally {
    rmSync(built, { recursive: true, force: true })
  }
}

function sum(parts: readonly Part[]): number {
  return parts.reduce((total, { milliseconds }) => total + milliseconds, 0)
}
