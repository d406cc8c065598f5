// Installs the foreign programs that the verify tests ask (llama.cpp for the CPU, a GGUF parser) into this folder, once.
// `node spec/verify/setup.mjs` prints nothing when all is there. Needs nothing but npm and its registry.
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath, pathToFileURL } from "node:url"

const here = dirname(fileURLToPath(import.meta.url))
const stamp = join(here, "node_modules", ".slm-setup")
const stale = 10 * 60 * 1000 // an installation that takes longer has died

/** Resolves when the programs are there; rejects with the reason when they cannot be had. */
export async function setup() {
  const wanted = createHash("sha256").update(readFileSync(join(here, "package-lock.json"))).update(process.version).update(process.platform).digest("hex")
  const ready = () => existsSync(stamp) && readFileSync(stamp, "utf8") === wanted
  if (ready()) return
  // Tests run side by side; one of them installs and the others wait.
  const lock = join(tmpdir(), `slm-verify-${createHash("sha256").update(here).digest("hex").slice(0, 16)}.lock`)
  while (!taken(lock)) {
    await pause(250)
    if (ready()) return
  }
  try {
    if (ready()) return
    await npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"])
    writeFileSync(stamp, wanted)
  } finally {
    rmSync(lock, { recursive: true, force: true })
  }
}

function taken(lock) {
  try {
    mkdirSync(lock)
    return true
  } catch {
    try {
      if (Date.now() - statSync(lock).mtimeMs > stale) rmSync(lock, { recursive: true, force: true })
    } catch {
      // its holder has just finished
    }
    return false
  }
}

function npm(args) {
  return new Promise((resolve, reject) => {
    // On Windows npm is a script that only a shell can start.
    execFile("npm", args, { cwd: here, shell: process.platform === "win32", timeout: stale }, (error, _out, err) => {
      if (error === null) resolve(undefined)
      else reject(new Error(`npm could not install the verify programs: ${(err.split("\n").find((line) => line.includes("error")) ?? error.message).trim()}`))
    })
  })
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await setup().catch((error) => {
    console.error(error.message)
    process.exitCode = 1
  })
}
