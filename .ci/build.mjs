// Bundles the command line into dist/: one small entry and chunks that are loaded where they are used.
import { build } from "esbuild"
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { pathToFileURL } from "node:url"

const pkg = JSON.parse(readFileSync("package.json", "utf8"))
rmSync("dist", { recursive: true, force: true })
await build({
  entryPoints: { slm: "runtime/cli/main.ts", index: "runtime/index.ts" },
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  // Small pure packages are bundled so that the command starts at once; native and large ones stay outside.
  external: [...Object.keys(pkg.dependencies ?? {}), ...Object.keys(pkg.peerDependencies ?? {})].filter((name) => !bundled(name)),
  banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  define: { "process.env.SLM_VERSION": JSON.stringify(pkg.version) },
  logLevel: "warning",
  legalComments: "none",
})
cpSync("stdlib", "dist/stdlib", { recursive: true, filter: (path) => !path.endsWith(".test.ts") })
await parseLibrary()
cpSync("examples/new", "dist/new", { recursive: true })

// The trees of the library lie beside its texts, so that a command need not parse it each time.
async function parseLibrary() {
  await build({ entryPoints: ["grammar/parse.ts"], outfile: "dist/parse.mjs", bundle: true, format: "esm", platform: "node", target: "node20", logLevel: "warning" })
  const { parse } = await import(pathToFileURL("dist/parse.mjs").href)
  for (const file of readdirSync("dist/stdlib").filter((name) => name.endsWith(".slm"))) {
    const name = file.slice(0, -".slm".length)
    const { module, diagnostics } = parse({ id: `std.${name}`, text: readFileSync(`dist/stdlib/${file}`, "utf8") })
    if (diagnostics.length > 0) throw new Error(`build: ${file}: ${diagnostics[0].message}`)
    writeFileSync(`dist/stdlib/${name}.json`, JSON.stringify(module))
  }
  rmSync("dist/parse.mjs")
}

function bundled(name) {
  return name === "chevrotain" || name === "yaml"
}
