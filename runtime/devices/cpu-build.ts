/** C to a shared object, by the system's compiler; each text is compiled once and kept in the user's cache. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism, homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { commonFlags, familyFlags, quickly } from "../../compiler/render/c-flags.ts"
import { partsOf } from "../../compiler/render/c-parts.ts"
import { systemHeaders } from "../../compiler/render/c-prelude.ts"
import { cpuTargets, withTiles } from "../../compiler/schedule/cpu.ts"
import type { CpuTarget } from "../../compiler/schedule/cpu.ts"
import { reasonOf } from "../system-error.ts"
import type { Ran } from "../programs.ts"
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
  const all = (...names: readonly string[]): boolean => hasAll(cpuinfo, names)
  if (all("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma")) return "avx512"
  return all("avx2", "fma") ? "avx2" : "portable"
}

function hasAll(cpuinfo: string, names: readonly string[]): boolean {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/))
  return names.every((name) => flags.has(name))
}

/** Whether the processor multiplies tiles of bf16; the system may still refuse. */
export function detectTiles(cpuinfo: string | null, arch: string): boolean {
  return arch === "x64" && cpuinfo !== null && hasAll(cpuinfo, ["amx_tile", "amx_bf16", "avx512_bf16"])
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

/** Cores that this process may really use: affinity, then the limits of its control group and of those around it. */
export function coresAvailable(read: (path: string) => string | null = readText, cores = availableParallelism()): number {
  const limits = groupsOf(read("/proc/self/cgroup")).map((folder) => quotient(read(`/sys/fs/cgroup${folder}/cpu.max`)?.trim().split(" ") ?? []))
  const older = quotient([read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") ?? "", read("/sys/fs/cgroup/cpu/cpu.cfs_period_us") ?? ""])
  return Math.max(1, Math.min(cores, Math.floor(Math.min(older, ...limits) + 0.01)))
}

/** The folders of a control group and of those around it: `/a/b`, `/a`, and the outermost. */
function groupsOf(text: string | null): readonly string[] {
  const own = /^0::(\/.*)$/m.exec(text ?? "")?.[1]?.split("/").filter((part) => part !== "" && part !== "..") ?? []
  return Array.from({ length: own.length + 1 }, (_, i) => own.slice(0, own.length - i).map((part) => `/${part}`).join(""))
}

/** Quota over period; Infinity where there is no limit ("max", -1). */
function quotient([quota, period]: readonly string[]): number {
  const limit = Number(quota?.trim() || NaN) / Number(period?.trim() || NaN)
  return limit > 0 ? limit : Infinity
}

/** The first compiler that answers; `family` and `tiles` override what the processor has. */
export async function findToolchain(env: NodeJS.ProcessEnv, family?: CpuTarget["family"], patience = 20, tiles?: boolean): Promise<Toolchain | Broken> {
  const named = env["CC"]
  const candidates = named !== undefined && named !== "" ? [named] : ["cc", "gcc", "clang"]
  let problem = ""
  for (const command of candidates) {
    const asked = await runProgram(command, ["--version"], patience)
    if (asked.out === null) {
      if (command === named) problem = asked.problem
      continue
    }
    const chosen = family ?? localFamily()
    const hasTiles = chosen === "avx512" && (tiles ?? detectTiles(readText("/proc/cpuinfo"), process.arch))
    const version = asked.out.split("\n")[0] ?? ""
    const isGcc = !version.includes("clang")
    return { command, version, target: hasTiles ? withTiles(cpuTargets[chosen]) : cpuTargets[chosen], flags: [quickly(chosen, isGcc), ...commonFlags, "-fPIC", "-shared", "-w", ...familyFlags[chosen]], cache: cacheFolder(env) }
  }
  return { reason: named !== undefined && named !== "" ? `the C compiler that CC names, ${JSON.stringify(named)}, does not run: ${excerpt(problem)}` : `there is no C compiler (tried ${candidates.join(", ")})`, help: installHelp }
}

export interface Built {
  readonly path: string
  readonly cached: boolean
}

/** Vectors, threads and shared libraries of the compiler: what every program needs, and a number that only a working one yields. */
const probeText = (lanes: number): string => `#include <pthread.h>
#include <stdio.h>
typedef float vector __attribute__((vector_size(4 * ${lanes})));
static void *add(void *x) { vector *v = x; for (int i = 0; i < 100; i++) *v = *v * 0.5f + 1; return 0; }
int main(void) {
  vector v = {0};
  pthread_t thread;
  if (pthread_create(&thread, 0, add, &v) || pthread_join(thread, 0)) return 1;
  float sum = 0;
  for (int i = 0; i < ${lanes}; i++) sum += v[i];
  printf("slm %d", (int)(sum * 21 / ${lanes}));
  return 0;
}
`

/** What is wrong with a compiler or the cache, found out by a program that is compiled and run in a process of its own; null: they work. */
export async function probe(toolchain: Toolchain, patience = 60): Promise<Broken | null> {
  const text = probeText(toolchain.target.lanes)
  const mark = join(toolchain.cache, `${keyOf(toolchain, text)}.works`)
  if (existsSync(mark)) return null
  return inWorkFolder(toolchain, async (work): Promise<Broken | null> => {
    const [source, program] = [join(work, "probe.c"), join(work, "probe")]
    writeFileSync(source, text)
    const made = await runProgram(toolchain.command, [...toolchain.flags.filter((flag) => flag !== "-shared" && flag !== "-fPIC"), "-o", program, source], patience)
    if (made.out === null) return { reason: `${toolchain.command} could not compile a program of a few lines: ${excerpt(made.problem)}`, help: compileHelp(toolchain) }
    const ran = await runProgram(program, [], patience)
    if (ran.out !== "slm 42") return { reason: `a program that ${toolchain.command} compiled does not run: ${ran.out === null ? excerpt(ran.problem) : "it yields another number than it must"}`, help: installHelp }
    writeFileSync(join(work, "works"), toolchain.version)
    renameSync(join(work, "works"), mark)
    return null
  })
}

const compileHelp = ({ cache }: Toolchain): string => `${installHelp}; free some disk space in ${cache} and ${tmpdir()} if that is full`

function keyOf(toolchain: Toolchain, source: string): string {
  return createHash("sha256").update(JSON.stringify([toolchain.version, toolchain.flags, process.arch, processorName()])).update(source).digest("hex").slice(0, 40)
}

/** Works in a folder of the cache that is gone afterwards; or says why there can be none. */
async function inWorkFolder<T>({ cache }: Toolchain, work: (folder: string) => Promise<T>): Promise<T | Broken> {
  let folder: string | null = null
  try {
    mkdirSync(cache, { recursive: true })
    folder = mkdtempSync(join(cache, "build-"))
    return await work(folder)
  } catch (error) {
    return { reason: `the program could not be written to ${cache}: ${reasonOf(error)}`, help: "make room there or point XDG_CACHE_HOME to another folder" }
  } finally {
    if (folder !== null) rmSync(folder, { recursive: true, force: true })
  }
}

/** The shared object of a C text: from the cache, or compiled and put there whole. */
export async function build(toolchain: Toolchain, source: string): Promise<Built | Broken> {
  const key = keyOf(toolchain, source)
  const path = join(toolchain.cache, `${key}.so`)
  if (existsSync(path)) return { path, cached: true }
  return inWorkFolder(toolchain, async (work): Promise<Built | Broken> => {
    writeFileSync(join(work, "step.c"), source)
    const done = await compile(toolchain, work, source)
    if (done.out === null) return { reason: `${toolchain.command} could not compile the program: ${excerpt(done.problem)}`, help: compileHelp(toolchain) }
    renameSync(join(work, "step.c"), join(toolchain.cache, `${key}.c`))
    renameSync(join(work, "step.so"), path)
    return { path, cached: false }
  })
}

/** `step.c` as `step.so`, with the system's headers translated beforehand where they are; the first program has them translated beside itself. */
async function compile(toolchain: Toolchain, work: string, source: string): Promise<Ran> {
  const headers = source.includes(systemHeaders) ? join(toolchain.cache, `${keyOf(toolchain, systemHeaders)}.h`) : null
  const parts = partsOf(source, coresAvailable())
  if (headers === null || !existsSync(`${headers}.gch`)) {
    const [done] = await Promise.all([link(toolchain, work, parts, []), headers === null ? null : translate(toolchain, work, headers)])
    return done
  }
  const done = await link(toolchain, work, parts, ["-include", headers])
  return done.out === null ? link(toolchain, work, parts, []) : done
}

/** The step as a whole, or its parts side by side, which are linked then. */
async function link({ command, flags }: Toolchain, work: string, parts: number, included: readonly string[]): Promise<Ran> {
  const [source, result] = [join(work, "step.c"), join(work, "step.so")]
  if (parts === 1) return runProgram(command, [...flags, ...included, "-o", result, source], 600)
  const objects = Array.from({ length: parts }, (_, part) => join(work, `part${part}.o`))
  const made = await Promise.all(objects.map((object, part) => runProgram(command, [...flags.filter((flag) => flag !== "-shared"), ...included, `-DPARTS=${parts}`, `-DPART=${part}`, "-c", "-o", object, source], 600)))
  return made.find(({ out }) => out === null) ?? runProgram(command, [...flags, "-o", result, ...objects], 600)
}

/** The system's headers in the compiler's own form, which takes it a tenth of the time to read; a compiler that cannot do this reads them each time. */
async function translate({ command, flags }: Toolchain, work: string, headers: string): Promise<void> {
  const text = join(work, "headers.h")
  writeFileSync(text, systemHeaders)
  const made = await runProgram(command, [...flags.filter((flag) => flag !== "-shared"), "-x", "c-header", "-o", `${text}.gch`, text], 600)
  if (made.out === null) return
  renameSync(text, headers)
  renameSync(`${text}.gch`, `${headers}.gch`)
}

/** `-march=native` means another thing on another processor. */
export function processorName(): string {
  return /^model name\s*:(.*)$/m.exec(readText("/proc/cpuinfo") ?? "")?.[1]?.trim() ?? ""
}

function excerpt(text: string): string {
  return text.trim().split("\n").slice(0, 6).join("\n").slice(0, 800)
}
