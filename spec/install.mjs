// Installs the foreign packages of a folder beside this file, once; tests and measurements need them, users don't.
// Needs nothing but npm and its registry.
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"

const stale = 10 * 60 * 1000 // an installation that takes longer has died

/** Resolves when the packages are there; rejects with the reason when they cannot be had. */
export async function install(folder, what) {
  const stamp = join(folder, "node_modules", ".slm-setup")
  const wanted = createHash("sha256").update(readFileSync(join(folder, "package-lock.json"))).update(process.version).update(process.platform).digest("hex")
  const ready = () => existsSync(stamp) && readFileSync(stamp, "utf8") === wanted
  if (ready()) return
  // Tests run side by side; one of them installs and the others wait.
  const lock = join(tmpdir(), `slm-install-${createHash("sha256").update(folder).digest("hex").slice(0, 16)}.lock`)
  while (!taken(lock)) {
    await pause(250)
    if (ready()) return
  }
  try {
    if (ready()) return
    await npm(folder, what, ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"])
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

function npm(folder, what, args) {
  return new Promise((resolve, reject) => {
    // On Windows npm is a script that only a shell can start.
    execFile("npm", args, { cwd: folder, shell: process.platform === "win32", timeout: stale }, (error, _out, err) => {
      if (error === null) resolve(undefined)
      else reject(new Error(`npm could not install ${what}: ${(err.split("\n").find((line) => line.includes("error")) ?? error.message).trim()}`))
    })
  })
}
