import { readFileSync } from "node:fs"

/** The version of this slm: written in by the build, read from package.json when run from source. */
export const version: string = process.env["SLM_VERSION"] ?? fromPackage()

function fromPackage(): string {
  const text: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))
  return typeof text === "object" && text !== null && "version" in text && typeof text.version === "string" ? text.version : "?"
}
