/** What is known of programs that were compiled before, so that a second run need not fuse and render them again. */
import { createHash } from "node:crypto"
import { readFileSync, readdirSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { bodyKey } from "../../compiler/graph/builder.ts"
import type { Node, Program } from "../../compiler/graph/node.ts"
import type { CpuProgram } from "../../compiler/schedule/cpu.ts"
import type { Toolchain } from "./cpu-build.ts"
import { processorName } from "./cpu-build.ts"

/** Where things lie in the arena of a shared object, in bytes. */
export interface Layout {
  readonly object: string
  readonly arena: number
  readonly again: number
  readonly inputs: Readonly<Record<string, number>>
  readonly outputs: Readonly<Record<string, number>>
}

/** Changes with the generator itself: the size and date of its files, here or in the bundle. */
function generatorStamp(): string {
  const here = fileURLToPath(import.meta.url)
  const folders = here.endsWith(".ts") ? ["graph", "transform", "kernel", "schedule", "render"].map((name) => join(dirname(here), "..", "..", "compiler", name)) : [dirname(here)]
  return folders.flatMap((folder) => readdirSync(folder).filter((name) => /\.m?[jt]s$/.test(name)).map((name) => {
    const { size, mtimeMs } = statSync(join(folder, name))
    return `${name} ${size} ${mtimeMs}`
  })).join("\n")
}

/** The file that holds the layout of a program. */
export function layoutPath(toolchain: Toolchain, program: Program, most = Infinity): string {
  const body = bodyKey({ inputs: program.inputs as readonly Node[], outputs: program.outputs.map((output) => output.node) })
  const text = JSON.stringify([generatorStamp(), toolchain.version, toolchain.flags, toolchain.target.tiles, process.arch, processorName(), program.name, program.outputs.map((output) => output.name), body, String(most)])
  return join(toolchain.cache, `${createHash("sha256").update(text).digest("hex").slice(0, 40)}.json`)
}

export function layoutOf(scheduled: CpuProgram, object: string): Layout {
  const places = (list: CpuProgram["inputs"]): Record<string, number> => Object.fromEntries(list.map(({ name, buffer }) => [name, scheduled.offsets.get(buffer) ?? 0]))
  return { object, arena: scheduled.arena, again: scheduled.again, inputs: places(scheduled.inputs), outputs: places(scheduled.outputs) }
}

/** The layout of an earlier run, if its shared object is still there. */
export function recall(path: string): Layout | null {
  try {
    const layout = JSON.parse(readFileSync(path, "utf8")) as Layout
    const age = Date.now() - statSync(layout.object).mtimeMs
    if (age > 86_400_000) [path, layout.object, layout.object.replace(/\.so$/, ".c")].forEach(markUsed)
    return layout
  } catch {
    return null
  }
}

/** `slm gc` removes programs that were not used for long. */
function markUsed(file: string): void {
  try {
    utimesSync(file, new Date(), new Date())
  } catch {
    return // a cache of somebody else: whoever owns it tidies it
  }
}

/** Keeps a layout; a cache that cannot be written is no cache. */
export function remember(path: string, layout: Layout): void {
  try {
    const half = `${path}.${process.pid}`
    writeFileSync(half, JSON.stringify(layout))
    renameSync(half, path)
  } catch {
    return
  }
}
