// Bundles the command line and the library: small entries, and chunks that are loaded where they are used.
// `node .ci/build.mjs [FOLDER]`; the folder is dist if not given. Packages are found upward from it.
import { build } from "esbuild"
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const out = resolve(process.argv[2] ?? fileURLToPath(new URL("../dist", import.meta.url)))
process.chdir(fileURLToPath(new URL("..", import.meta.url)))
const pkg = JSON.parse(readFileSync("package.json", "utf8"))
const common = { bundle: true, format: "esm", platform: "node", target: "node20", logLevel: "warning", legalComments: "none" }

rmSync(out, { recursive: true, force: true })
const { hashOfSources } = await bundled("runtime/compiler-hash.ts")
const { metafile } = await build({
  ...common,
  entryPoints: { slm: "runtime/cli/main.ts", index: "runtime/index.ts" },
  outdir: out,
  splitting: true,
  metafile: true,
  // Native and large packages stay outside. What is bundled is a development dependency: users need not install it.
  external: [...Object.keys(pkg.dependencies), ...Object.keys(pkg.peerDependencies)],
  banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  define: { "process.env.SLM_VERSION": JSON.stringify(pkg.version), "process.env.SLM_COMPILER": JSON.stringify(hashOfSources(".")) },
})
// What `--emit web` puts beside the page.
await build({ ...common, platform: "browser", target: "es2022", minify: true, entryPoints: ["runtime/web/page.ts"], outfile: join(out, "web", "slm.js") })
writeFileSync(join(out, "LICENSES.txt"), licences(metafile))
cpSync("stdlib", join(out, "stdlib"), { recursive: true, filter: (path) => !path.endsWith(".ts") })
await parseLibrary(join(out, "stdlib"))
// A recipe that was tried out in its folder has left results there.
cpSync("examples/new", join(out, "new"), { recursive: true, filter: (path) => !basename(path).startsWith(".") && basename(path) !== "runs" })

// The trees of the library lie beside its texts, so that a command need not parse it each time.
async function parseLibrary(folder) {
  const { parse } = await bundled("grammar/parse.ts")
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".slm"))) {
    const name = file.slice(0, -".slm".length)
    const { module, diagnostics } = parse({ id: `std.${name}`, text: readFileSync(join(folder, file), "utf8") })
    if (diagnostics.length > 0) throw new Error(`build: ${file}: ${diagnostics[0].message}`)
    const read = { ...module, items: module.items.filter(({ kind }) => kind !== "example") } // a recipe checks none but its own
    writeFileSync(join(folder, `${name}.json`), JSON.stringify(read))
  }
}

// A module of the sources, for use by the build itself.
async function bundled(source) {
  const outfile = join(out, `${basename(source, ".ts")}.mjs`)
  await build({ ...common, entryPoints: [source], outfile })
  const module = await import(pathToFileURL(outfile).href)
  rmSync(outfile)
  return module
}

// The licences of the packages that are part of the bundle; each asks that its text goes with it.
function licences({ inputs }) {
  const folders = new Set(Object.keys(inputs).flatMap((path) => /^(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []))
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
    const file = ["LICENSE", "LICENSE.txt", "LICENSE.md", "license"].map((n) => join(folder, n)).find(existsSync)
    return `${name} ${version} (${license})\n\n${file === undefined ? "" : readFileSync(file, "utf8").trim()}\n`
  }).join(`\n${"-".repeat(80)}\n\n`)
}
