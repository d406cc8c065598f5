/** A shared object in this process: its arena as host memory, and one foreign call per step that leaves Node's loop free. */
import { createRequire } from "node:module"
import type { Broken, Toolchain } from "./cpu-build.ts"
import { build } from "./cpu-build.ts"

/** What is used of koffi. */
export interface Koffi {
  load(path: string): { func(name: string, result: string, args: readonly string[]): Foreign; unload(): void }
  view(pointer: unknown, bytes: number): ArrayBuffer
}
interface Foreign {
  (...args: readonly unknown[]): unknown
  async(...args: readonly unknown[]): void
}

/** koffi is native: it may be missing or not fit this platform. */
export function loadKoffi(): Koffi | Broken {
  try {
    return createRequire(import.meta.url)("koffi") as Koffi
  } catch (error) {
    return { reason: `the package koffi cannot be loaded: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`, help: "run `npm install koffi` for this platform" }
  }
}

/** Whether the compiler and the system let a program use tiles. */
const asksForTiles = `
#if defined(__linux__) && defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include <sys/syscall.h>
#include <unistd.h>
int slm_tiles(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
#else
int slm_tiles(void) { return 0; }
#endif
`

export async function allowsTiles(koffi: Koffi, toolchain: Toolchain): Promise<boolean> {
  const built = await build(toolchain, asksForTiles)
  if ("reason" in built) return false
  const library = koffi.load(built.path)
  const allowed = library.func("slm_tiles", "int", [])() === 1
  library.unload()
  return allowed
}

export interface Opened {
  /** Of the program, of its arena, and of the function that runs one step: for other foreign code. */
  readonly program: unknown
  readonly address: unknown
  readonly stepAddress: unknown
  /** The arena; views of it see what steps write. */
  readonly memory: ArrayBuffer
  /** Bytes that the program has taken from the system. */
  readonly bytes: number
  /** Runs one step without leaving the thread. */
  stepNow(): void
  /** Runs one step on another thread, so that Node's loop goes on. */
  step(): Promise<void>
  close(): void
}

/** `damaged`: the file is not what the compiler made. */
export function openProgram(koffi: Koffi, path: string, arena: number, threads: number): Opened | (Broken & { readonly damaged?: true }) {
  const library = loadLibrary(koffi, path)
  if (typeof library === "string") return { damaged: true, reason: `the compiled program ${path} cannot be loaded: ${library}`, help: "delete that folder: programs are compiled again" }
  const [open, close, step, stepAddress, address, bytes] = [
    library.func("slm_open", "void *", ["long"]), library.func("slm_close", "void", ["void *"]),
    library.func("slm_step", "int", ["void *"]), library.func("slm_step_address", "void *", []), library.func("slm_arena", "void *", ["void *"]),
    library.func("slm_bytes", "long", ["void *"]),
  ]
  const program = open(threads)
  if (program === null) return { reason: `there is no memory for an arena of ${(arena / 1e6).toFixed(0)} MB`, help: "make the batch or the model smaller" }
  const start = address(program)
  return {
    program, address: start, stepAddress: stepAddress(),
    memory: koffi.view(start, arena),
    bytes: Number(bytes(program)),
    stepNow: () => void step(program),
    step: () => new Promise((done, failed) => step.async(program, (error: unknown) => (error === null || error === undefined ? done() : failed(error)))),
    close: () => void close(program),
  }
}


/** A shared object, or why it is none. */
function loadLibrary(koffi: Koffi, path: string): ReturnType<Koffi["load"]> | string {
  try {
    return koffi.load(path)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
