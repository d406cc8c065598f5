/** C to a shared object, by the system's compiler; each text is compiled once and kept in the user's cache. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism, homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { commonFlags, familyFlags } from "../../compiler/render/c-flags.ts"
import { cpuTargets } from "../../compiler/schedule/cpu.ts"
import type { CpuTarget } from "../../compiler/schedule/cpu.ts"
import { runProgram } from "../programs.ts"

/** A compiler that works, and what it is told. */
export interface Toolchain {
  readonly command: string
  /** Its first line about itself, for the cache's key. */
  readonly version: string
  readonly target: CpuTarget
  readonly flags: readonly string[]
  readonly cache: string
}

export interface Broken { readonly reason: string; readonly help: string }

const installHelp = "install gcc or clang (Debian, Ubuntu: `apt-get install gcc libc6-dev`; macOS: `xcode-select --install`), or name one in the variable CC"

/** The instruction family by the processor's feature bits. */
export function detectFamily(cpuinfo: string | null, arch: string): CpuTarget["family"] {
  if (arch === "arm64") return "neon"
  if (arch !== "x64" || cpuinfo === null) return "portable"
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/))
  const all = (...names: readonly string[]): boolean => names.every((name) => flags.has(name))
  if (all("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma")) return "avx512"
  return all("avx2", "fma") ? "avx2" : "portable"
}

/** The family of the processor at hand. */
export function localFamily(): CpuTarget["family"] {
  return detectFamily(readText("/proc/cpuinfo"), process.arch)
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return null
  }
}

export function cacheFolder(env: NodeJS.ProcessEnv): string {
  const base = env["XDG_CACHE_HOME"]
  return join(base !== undefined && base.startsWith("/") ? base : join(homedir(), ".cache"), "slm", "cpu")
}

/** Cores that this process may really use: affinity, then the limits of its control group. */
export function coresAvailable(): number {
  const cores = availableParallelism()
  const [quota, period] = (readText("/sys/fs/cgroup/cpu.max") ?? "").trim().split(" ").map(Number)
  const older = Number(readText("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") ?? "-1") / Number(readText("/sys/fs/cgroup/cpu/cpu.cfs_period_us") ?? "1")
  const limit = quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : older > 0 ? older : cores
  return Math.max(1, Math.min(cores, Math.floor(limit + 0.01)))
}

/** The first compiler that answers; `family` overrides what the processor has. */
export async function findToolchain(env: NodeJS.ProcessEnv, family?: CpuTarget["family"]): Promise<Toolchain | Broken> {
  const named = env["CC"]
  const candidates = named !== undefined && named !== "" ? [named] : ["cc", "gcc", "clang"]
  let problem = ""
  for (const command of candidates) {
    const asked = await runProgram(command, ["--version"], 20)
    if (asked.out === null) {
      if (command === named) problem = asked.problem
      continue
    }
    const chosen = family ?? localFamily()
    return { command, version: asked.out.split("\n")[0] ?? "", target: cpuTargets[chosen], flags: [...commonFlags, "-fPIC", "-shared", "-w", ...familyFlags[chosen]], cache: cacheFolder(env) }
  }
  return { reason: named !== undefined && named !== "" ? `the C compiler that CC names, ${JSON.stringify(named)}, does not run: ${excerpt(problem)}` : `there is no C compiler (tried ${candidates.join(", ")})`, help: installHelp }
}

export interface Built {
  readonly path: string
  readonly cached: boolean
}

/** The shared object of a C text: from the cache, or compiled and put there whole. */
export async function build(toolchain: Toolchain, source: string): Promise<Built | Broken> {
  const key = createHash("sha256").update(JSON.stringify([toolchain.version, toolchain.flags, process.arch, processorName()])).update(source).digest("hex").slice(0, 40)
  const path = join(toolchain.cache, `${key}.so`)
  if (existsSync(path)) return { path, cached: true }
  let work: string | null = null
  try {
    mkdirSync(toolchain.cache, { recursive: true })
    work = mkdtempSync(join(toolchain.cache, "build-"))
    writeFileSync(join(work, "step.c"), source)
    const done = await runProgram(toolchain.command, [...toolchain.flags, "-o", join(work, "step.so"), join(work, "step.c")], 600)
    if (done.out === null) return { reason: `${toolchain.command} could not compile the program: ${excerpt(done.problem)}`, help: `${installHelp}; free some disk space in ${toolchain.cache} and ${tmpdir()} if that is full` }
    renameSync(join(work, "step.c"), join(toolchain.cache, `${key}.c`))
    renameSync(join(work, "step.so"), path)
    return { path, cached: false }
  } catch (error) {
    return { reason: `the program could not be written to ${toolchain.cache}: ${error instanceof Error ? error.message : String(error)}`, help: "make room there or point XDG_CACHE_HOME to another folder" }
  } finally {
    if (work !== null) rmSync(work, { recursive: true, force: true })
  }
}

/** `-march=native` means another thing on another processor. */
export function processorName(): string {
  return /^model name\s*:(.*)$/m.exec(readText("/proc/cpuinfo") ?? "")?.[1]?.trim() ?? ""
}

function excerpt(text: string): string {
  return text.trim().split("\n").slice(0, 6).join("\n").slice(0, 800)
}
