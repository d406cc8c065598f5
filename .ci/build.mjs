// Bundles the command line into dist/: one small entry and chunks that are loaded where they are used.
import { build } from "esbuild"
import { cpSync, readFileSync, rmSync } from "node:fs"

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
cpSync("examples/new", "dist/new", { recursive: true })

function bundled(name) {
  return name === "chevrotain" || name === "yaml"
}
