/**
 * One process at a time works on a stage. The right to do so is a file that names its holder; where the holder has died, the
 * next one takes it over. Nothing depends on it but work that would be done twice: entries appear whole whoever writes them.
 */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { hostname } from "node:os"
import * as path from "node:path"
import { readBoundedText } from "../open-file.ts"
import { isSystemError } from "../system-error.ts"

export interface Hold {
  release(): void
}

interface Holder {
  readonly token: string
  readonly pid: number
  readonly host: string
  /** When the process began, as its system counts: process numbers are used again. */
  readonly born: string | null
}

const mostBytes = 4096
const pollMilliseconds = 200
const beatMilliseconds = 30_000
/** A holder on another machine cannot be asked; it shows that it lives by touching the file. */
const silence = 10 * beatMilliseconds

/** Waits until nobody else holds the file; null: interrupted. `waiting` is called once, where there is someone to wait for. */
export async function takeHold(file: string, signal: AbortSignal | null, waiting: (holder: string) => void): Promise<Hold | null> {
  const mine: Holder = { token: randomBytes(12).toString("hex"), pid: process.pid, host: hostname(), born: bornOf(process.pid) }
  let told = false
  fs.mkdirSync(path.dirname(file), { recursive: true })
  for (;;) {
    if (signal?.aborted) return null
    if (create(file, mine)) return held(file, mine)
    const other = readHolder(file)
    if (other !== "absent" && !lives(file, other)) takeOver(file, other)
    else if (other !== "absent") {
      if (!told) waiting(other === null ? "another run" : `process ${other.pid}${other.host === mine.host ? "" : ` on ${other.host}`}`)
      told = true
      await new Promise((resolve) => setTimeout(resolve, pollMilliseconds))
    }
  }
}

/** The file appears with its content, or not at all. */
function create(file: string, holder: Holder): boolean {
  const temporary = `${file}.${holder.token}.tmp`
  fs.writeFileSync(temporary, JSON.stringify(holder))
  try {
    fs.linkSync(temporary, file)
    return true
  } catch (error) {
    if (isSystemError(error) && error.code === "EEXIST") return false
    // A file system without links.
    return createPlainly(file, holder)
  } finally {
    fs.rmSync(temporary, { force: true })
  }
}

function createPlainly(file: string, holder: Holder): boolean {
  try {
    fs.writeFileSync(file, JSON.stringify(holder), { flag: "wx" })
    return true
  } catch (error) {
    if (isSystemError(error) && error.code === "EEXIST") return false
    throw error
  }
}

function held(file: string, mine: Holder): Hold {
  const beat = setInterval(() => touch(file), beatMilliseconds)
  beat.unref()
  return {
    release() {
      clearInterval(beat)
      const holder = readHolder(file)
      if (holder !== "absent" && holder?.token === mine.token) fs.rmSync(file, { force: true })
    },
  }
}

function touch(file: string): void {
  try {
    fs.utimesSync(file, new Date(), new Date())
  } catch { /* taken away: the work goes on, at worst it is done twice */ }
}

/** null: it does not say. */
function readHolder(file: string): Holder | null | "absent" {
  try {
    const value: unknown = JSON.parse(readBoundedText(file, mostBytes))
    return isHolder(value) ? value : null
  } catch (error) {
    return isSystemError(error) && error.code === "ENOENT" ? "absent" : null
  }
}

function isHolder(x: unknown): x is Holder {
  return typeof x === "object" && x !== null && "token" in x && typeof x.token === "string" && "pid" in x && typeof x.pid === "number" && "host" in x && typeof x.host === "string" && "born" in x
}

function lives(file: string, holder: Holder | null): boolean {
  if (holder !== null && holder.host === hostname()) return runs(holder.pid) && (holder.born === null || bornOf(holder.pid) === holder.born)
  try {
    return Date.now() - fs.statSync(file).mtimeMs < (holder === null ? pollMilliseconds * 10 : silence)
  } catch {
    return false
  }
}

/** Whether the file is held by a process that lives; for those who tidy up. */
export function isHeld(file: string): boolean {
  const holder = readHolder(file)
  return holder !== "absent" && lives(file, holder)
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return isSystemError(error) && error.code === "EPERM"
  }
}

function bornOf(pid: number): string | null {
  try {
    // The name of the program may hold blanks and brackets; the 20th field after it is the time of start.
    return fs.readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ")[19] ?? null
  } catch {
    return null
  }
}

/** Removes the file of a dead holder, and no other: of two who try, one may find that of the other, which it puts back. */
function takeOver(file: string, dead: Holder | null): void {
  const aside = `${file}.${randomBytes(6).toString("hex")}.tmp`
  try {
    fs.renameSync(file, aside)
    const found = readHolder(aside)
    if (found !== "absent" && found?.token !== dead?.token) fs.linkSync(aside, file)
  } catch (error) {
    if (!isSystemError(error) || (error.code !== "ENOENT" && error.code !== "EEXIST")) throw error
  } finally {
    fs.rmSync(aside, { recursive: true, force: true })
  }
}
