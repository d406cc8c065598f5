/** For tests: the built command line as a process, and a recipe small enough for the interpreter. */
import { spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
/** Inside of the project, so that packages are found. */
const built = join(root, ".cache", `slm-test-${process.pid}`)

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface Call {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  /** Arguments of Node itself. */
  readonly node?: readonly string[]
  /** Runs as this user (only root may ask for it). */
  readonly uid?: number
  /** An open file for standard output. */
  readonly stdout?: number
  /** Milliseconds after which the process is killed. */
  readonly killAfter?: number
  /** Sees standard output as it grows. */
  readonly watch?: (out: string, child: ChildProcess) => void
}

/** Builds the command line as users get it; `dispose` removes it. */
export async function build(): Promise<{ dispose(): void }> {
  const ended = await collect(spawn(process.execPath, [join(root, ".ci", "build.mjs"), built], { stdio: ["ignore", "pipe", "pipe"] }), {})
  if (ended.code !== 0) throw new Error(`the build failed\n${ended.err}`)
  return { dispose: () => rmSync(built, { recursive: true, force: true }) }
}

/** The entry of the built program. */
export const entry = join(built, "slm.js")

export function slm(args: readonly string[], call: Call = {}): Promise<Ended> {
  return node([...(call.node ?? []), entry, ...args], call)
}

export function node(args: readonly string[], call: Call): Promise<Ended> {
  const { FORCE_COLOR, NO_COLOR, ...env } = process.env
  const child = spawn(process.execPath, args, {
    cwd: call.cwd ?? tmpdir(), env: { ...env, ...call.env }, stdio: ["pipe", call.stdout ?? "pipe", "pipe"], ...(call.uid === undefined ? {} : { uid: call.uid, gid: call.uid }),
  })
  child.stdin?.on("error", () => {}) // a command that reads nothing may have ended already
  child.stdin?.end(call.input ?? "")
  if (call.killAfter !== undefined) {
    const timer = setTimeout(() => child.kill("SIGKILL"), call.killAfter)
    child.on("close", () => clearTimeout(timer))
  }
  return collect(child, call)
}

function collect(child: ChildProcess, { watch }: Call): Promise<Ended> {
  return new Promise((done, refuse) => {
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    child.stdout?.on("data", (chunk: Buffer) => {
      out.push(chunk)
      watch?.(Buffer.concat(out).toString("utf8"), child)
    })
    child.stderr?.on("data", (chunk: Buffer) => err.push(chunk))
    child.on("error", refuse)
    child.on("close", (code, signal) => done({ code, signal, out: Buffer.concat(out).toString("utf8"), err: Buffer.concat(err).toString("utf8") }))
  })
}

/** A temporary folder, gone afterwards. */
export async function inFolder<T>(body: (folder: string) => Promise<T>, name = "slm-cli-"): Promise<T> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), name)))
  try {
    return await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Half a kilobyte of text, a model of a thousand weights, three steps. */
export const tiny = `//! A recipe for tests.
use std.models { Llama }
use std.optim { adamw }

/// Steps of the training.
param steps = 3

lines = text("lines.txt") |> documents(by: line) |> split(valid: 20%)
letters = char(lines.train)
tokens = lines |> encode(letters) |> pack(length: 8)

model Tiny = Llama(vocab: letters.size, dim: 8, depth: 1, heads: 2, context: 16)

small = train Tiny {
  data: tokens.train
  valid: tokens.valid
  objective: next_token
  batch: 2 sequences
  steps: steps
  optim: adamw(lr: 0.01)
  samples: ["th"]
}
pocket = quantize small { format: int8 }
talk = generate pocket { prompts: ["th"], tokens: 4 }

expect perplexity(small, tokens.valid) < 1000
export small { safetensors: "small" }
`

/** Writes `tiny` and its text. */
export function writeTiny(folder: string, name = "tiny.slm", recipe = tiny): void {
  const words = "the whale swims in the deep blue sea and the ship sails over the waves".split(" ")
  const line = (i: number): string => [0, 1, 2, 3].map((k) => words[(i * 7 + k * 5) % words.length]).join(" ")
  writeFileSync(join(folder, "lines.txt"), Array.from({ length: 24 }, (_, i) => `${line(i)}\n`).join(""))
  writeFileSync(join(folder, name), recipe)
}

/** The objects of an answer in JSON: each line of standard output must be one. */
export function objects(out: string): Readonly<Record<string, unknown>>[] {
  return out.split("\n").filter((line) => line !== "").map((line) => {
    const value: unknown = JSON.parse(line)
    if (typeof value !== "object" || value === null) throw new Error(`not an object: ${line}`)
    return Object.fromEntries(Object.entries(value))
  })
}
