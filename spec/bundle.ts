/** Test files as plain JavaScript: reading the sources one by one through a loader takes each process two seconds, and there are 150. */
import { build } from "esbuild"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

/** Bundles the files into a folder inside of the project, where packages are found; yields the place of each. */
export async function bundle(files: readonly string[], folder: string): Promise<ReadonlyMap<string, string>> {
  await build({
    entryPoints: [...files], outdir: folder, outbase: ".", bundle: true, splitting: true, format: "esm", platform: "node", target: "node20", packages: "external",
    sourcemap: true, sourcesContent: false, logLevel: "error",
    // Modules look for files beside themselves: each keeps the place of its source.
    define: { "import.meta.url": "sourcePlace__" },
    plugins: [{
      name: "places",
      setup: ({ onLoad }) => onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const text = readFileSync(path, "utf8")
        return { loader: "ts", contents: text.includes("import.meta.url") ? `const sourcePlace__ = ${JSON.stringify(pathToFileURL(path).href)}; ${text}` : text }
      }),
    }],
  })
  return new Map(files.map((file) => [file, join(folder, file.replace(/\.ts$/, ".js"))]))
}
