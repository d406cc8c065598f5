import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { hashOfSources } from "./compiler-hash.ts"

/** The version of this slm: written in by the build, read from package.json when run from source. */
export const version: string = process.env["SLM_VERSION"] ?? fromPackage()

function fromPackage(): string {
  const text: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))
  return typeof text === "object" && text !== null && "version" in text && typeof text.version === "string" ? text.version : "?"
}

let compiler: string | null = null

/** A hash over the sources of the compiler, written in by the build: two builds of one version may compute otherwise. */
export function compilerHash(): string {
  return (compiler ??= process.env["SLM_COMPILER"] ?? hashOfSources(fileURLToPath(new URL("..", import.meta.url))))
}
