/** `npm run gpu -- pack FOLDER`: the script, the library and Dawn for this system in one folder. */
import { build } from "esbuild"
import { cpSync, mkdirSync, readdirSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { stdlibFolder } from "../library.ts"

export async function pack(folder: string, dawn: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  await build({
    entryPoints: [fileURLToPath(new URL("gpu.ts", import.meta.url))], outfile: join(folder, "gpu.mjs"), bundle: true, format: "esm", platform: "node", target: "node20", logLevel: "warning", minify: true,
    external: ["./gpu-pack.ts", "koffi", "ts-morph", "@tensorflow/*", "typescript"],
    banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  })
  cpSync(stdlibFolder, join(folder, "stdlib"), { recursive: true, filter: (path) => !path.endsWith(".ts") })
  const from = dirname(dawn)
  const system = `${process.platform}-${process.platform === "darwin" ? "universal" : process.arch}`
  for (const name of readdirSync(from)) if (/\.(js|json|md)$|^LICENSE/i.test(name)) cpSync(join(from, name), join(folder, "webgpu", name))
  cpSync(join(from, "dist", system), join(folder, "webgpu", "dist", system), { recursive: true })
  console.log(`node ${join(folder, "gpu.mjs")}`)
}
