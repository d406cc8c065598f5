/** Foreign programs: run to their end without a shell, and ended with this process or after a time. */
import { execa } from "execa"
import { duration } from "./numbers.ts"

export interface Ran {
  /** Its standard output; null where it failed. */
  readonly out: string | null
  /** What it said of its failure, or why it did not come to its end. */
  readonly problem: string
}

/** Runs a program; it gets nothing to read and no colour, and `seconds` at most. */
export async function runProgram(command: string, args: readonly string[], seconds: number, env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const running = execa(command, args, { reject: false, stdin: "ignore", timeout: seconds * 1000, maxBuffer: 2 ** 26, env: { NO_COLOR: "1", ...env }, stripFinalNewline: false })
  // What a script started holds its output open after the script was stopped: that is not waited for.
  const late = setTimeout(() => { for (const stream of [running.stdout, running.stderr]) stream?.destroy() }, seconds * 1000 + 500)
  const ran = await running
  clearTimeout(late)
  if (!ran.failed) return { out: ran.stdout, problem: "" }
  if (ran.timedOut) return { out: null, problem: `it did not end within ${duration(seconds)}` }
  if (ran.signal !== undefined) return { out: null, problem: `it was stopped by ${ran.signal}` }
  const missing = ran.code === "ENOENT" ? "there is no such program" : ran.code === "EACCES" ? "it may not be run" : null
  return { out: null, problem: missing ?? (ran.stderr.trim() === "" ? (ran.originalMessage ?? ran.shortMessage ?? "it failed") : ran.stderr) }
}
