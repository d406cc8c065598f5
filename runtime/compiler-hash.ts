/** What identifies a compiler: not its version, which two builds may share, but the sources that decide what a recipe means and computes. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** What commands print, and how runs are recorded, makes no other results. The library is told apart by its own hash. */
const places = ["grammar", "compiler", "runtime/data", "runtime/devices", "runtime/export", "runtime/stages", "runtime/weights.ts"]

/** Packages that read recipes and data, and become a part of slm when it is built. Those that compute stand in the numerics class with their version. */
const packages = ["chevrotain", "csv-parse"]

/** A hash over the sources below `root`, the folder of the project: the same for every machine, and for a build as for its sources. */
export function hashOfSources(root: string): string {
  const hash = createHash("sha256")
  for (const file of places.flatMap((place) => filesOf(root, place)).sort()) {
    const text = readFileSync(join(root, file), "utf8").replaceAll("\r\n", "\n")
    hash.update(`${file} ${Buffer.byteLength(text)}\n${text}`)
  }
  for (const name of packages) hash.update(`${name} ${versionOf(root, name)}\n`)
  return hash.digest("hex")
}

function filesOf(root: string, place: string): readonly string[] {
  if (place.endsWith(".ts")) return [place]
  const below = readdirSync(join(root, place), { recursive: true, encoding: "utf8" }).map((name) => `${place}/${name.replaceAll("\\", "/")}`)
  return below.filter((name) => name.endsWith(".ts") && !/\.(test|fixture)\.ts$/.test(name))
}

function versionOf(root: string, name: string): string {
  const about: unknown = JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8"))
  return typeof about === "object" && about !== null && "version" in about ? String(about.version) : "?"
}
