/**
 * The multi-threaded WebAssembly module in Node. The package starts it in browsers only (tfjs issue 3830: its workers
 * come from Blob addresses, which Node's workers do not take), but the module itself knows Node. It is started here
 * with the options that Emscripten documents, and the backend is made of it by the package's own class.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { availableParallelism, loadavg } from "node:os"
import { join } from "node:path"
import type { WasmModule } from "./tfjs-backend.ts"
import type { Machine, Threads } from "./tfjs-pace.ts"
import { mainThreadTimes } from "./tfjs-pace.ts"

interface ThreadedModule extends WasmModule {
  cwrap(name: string, result: "number" | null, args: readonly string[]): (...args: readonly number[]) => number
  readonly PThread: { readonly runningWorkers: readonly { unref(): void }[]; readonly unusedWorkers: readonly object[] }
  tfjs: WasmModule["tfjs"] & { initWithThreadsCount(count: number): void } & Readonly<Record<string, unknown>>
}

interface ModuleOptions {
  locateFile(path: string): string | URL
  readonly mainScriptUrlOrBlob: string
  instantiateWasm(imports: Readonly<Record<string, object>>, receive: (instance: object, module: object) => void): object
}

/** The part of the global of that name that is used here; the type declarations of Node lack it. */
declare const WebAssembly: {
  instantiate(binary: Uint8Array, imports: object): Promise<{ readonly instance: object; readonly module: object }>
}

/** The module starts this many workers; one more thread is ours. */
const mostThreads = 8
/** Starting takes a fifth of a second; a worker that fails in silence must not hold up the program. */
const patience = 10_000

/**
 * One thread per core that is not busy with other programs: threads that wait for their turn hold up all others, and
 * on a crowded machine two are slower than one. The load of the last minute includes our own process.
 */
export function usableThreads(): number {
  const others = Math.max(0, (loadavg()[0] ?? 0) - 1)
  return Math.max(1, Math.min(Math.round(availableParallelism() - others), mostThreads))
}

/** The module from the folder of the .wasm files, ready for `BackendWasm`. Rejects where it does not start here. */
export async function startThreads(folder: string): Promise<WasmModule> {
  const require = createRequire(import.meta.url)
  const file = join(folder, "tfjs-backend-wasm-threaded-simd.js")
  const factory = require(file) as (options: ModuleOptions) => Promise<ThreadedModule>
  const hadWorker = "Worker" in globalThis
  const started = factory({
    locateFile: (path) => (path.endsWith(".worker.js") ? workerAddress(folder, require) : join(folder, path)),
    mainScriptUrlOrBlob: file,
    instantiateWasm(imports, receive) {
      // The module would take half of the logical cores, thinking of desktop processors: on two cores that is one thread.
      Object.assign(imports["env"] ?? {}, { emscripten_num_logical_cores: () => 2 * mostThreads })
      const binary = readFileSync(join(folder, "tfjs-backend-wasm-threaded-simd.wasm"))
      void WebAssembly.instantiate(binary, imports).then(({ instance, module }) => receive(instance, module))
      return {}
    },
  })
  const module = await guarded(started)
  if (!hadWorker) Reflect.deleteProperty(globalThis, "Worker") // the module leaves Node's worker class there
  module.tfjs = interfaceOf(module)
  return module
}

/** Once the threads run, they must not keep the process from ending. */
export function releaseThreads(module: WasmModule): void {
  for (const worker of (module as ThreadedModule).PThread.runningWorkers) worker.unref()
}

/** The threads of a running module, to be given up and taken back. Threads that were given up sleep; new ones need other workers. */
export function threadsOf(module: WasmModule, most: number): Threads {
  const { PThread, tfjs } = module as ThreadedModule
  return {
    most,
    canRestart: () => PThread.unusedWorkers.length >= most - 1,
    set(count) {
      tfjs.initWithThreadsCount(count)
      releaseThreads(module)
    },
  }
}

export const machine: Machine = { now: () => performance.now(), times: mainThreadTimes, idleCores: usableThreads }

/** The functions that the backend calls, as the package's own start-up names them. */
function interfaceOf(module: ThreadedModule): ThreadedModule["tfjs"] {
  return {
    init: module.cwrap("init", null, []),
    initWithThreadsCount: module.cwrap("init_with_threads_count", null, ["number"]),
    getThreadsCount: module.cwrap("get_threads_count", "number", []),
    registerTensor: module.cwrap("register_tensor", null, ["number", "number", "number"]),
    disposeData: module.cwrap("dispose_data", null, ["number"]),
    dispose: module.cwrap("dispose", null, []),
  }
}

/** The package keeps the program of its workers as a string; as a data address it needs no file. */
function workerAddress(folder: string, require: NodeJS.Require): URL {
  const { wasmWorkerContents } = require(join(folder, "tfjs-backend-wasm-threaded-simd.worker.js")) as { readonly wasmWorkerContents: string }
  const program = wasmWorkerContents.replace(/\n/g, "\\n") // as in the package: a line break is in one of its strings
  const place = JSON.stringify(join(folder, "worker.js"))
  const lines = [
    `import { createRequire } from "node:module"`,
    `globalThis.require = createRequire(${place})`,
    `globalThis.__filename = ${place}`,
    `;(0, eval)(${JSON.stringify(program)})`,
  ]
  return new URL(`data:text/javascript,${encodeURIComponent(lines.join("\n"))}`)
}

/** Waits with the event loop kept alive, and takes the errors of workers, which come as uncaught ones, as a refusal. */
async function guarded<T>(started: Promise<T>): Promise<T> {
  let refuse: (error: unknown) => void = () => {}
  const refused = new Promise<never>((_, reject) => { refuse = reject })
  const timer = setTimeout(() => refuse(new Error("the threads do not start")), patience)
  process.once("uncaughtException", refuse)
  try {
    return await Promise.race([started, refused])
  } finally {
    clearTimeout(timer)
    process.off("uncaughtException", refuse)
  }
}
