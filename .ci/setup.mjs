// Sets the project up: installs what the lock file names unless that is already there, then builds when asked to.
// Needs nothing but Node and npm.
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { dirname } from "node:path"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
process.chdir(root)

const major = Number(process.versions.node.split(".")[0])
if (major < 20) {
  console.error(`slm needs Node 20 or newer; this is ${process.version}.`)
  process.exit(2)
}

const stamp = "node_modules/.slm-setup"
const wanted = createHash("sha256").update(readFileSync("package-lock.json")).update(process.version).digest("hex")
const present = existsSync(stamp) ? readFileSync(stamp, "utf8") : ""
if (present !== wanted) {
  console.log("Installing dependencies …")
  npm(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
  writeFileSync(stamp, wanted)
}
if (process.argv.includes("--build")) execFileSync(process.execPath, [".ci/build.mjs"], { stdio: "inherit" })

function npm(args) {
  // On Windows npm is a script that only a shell can start.
  execFileSync("npm", args, { stdio: ["ignore", "inherit", "inherit"], shell: process.platform === "win32" })
}
