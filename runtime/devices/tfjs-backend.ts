/** Which TensorFlow.js backend runs the kernels, and a thin interface to it. */
import { createRequire } from "node:module"
import { dirname, join, sep } from "node:path"
import type { DType, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Unusable } from "../device.ts"
import { createPace } from "./tfjs-pace.ts"
import { machine, releaseThreads, startThreads, threadsOf, usableThreads } from "./tfjs-threads.ts"

export type Core = typeof import("@tensorflow/tfjs-core")
/** The numbers of a tensor in host memory: f32, i32, bool. */
export type HostData = Float32Array | Int32Array | Uint8Array

/** A reference to a tensor of the backend; whoever makes one drops it. */
export interface Tensor {
  readonly dataId: object
  shape: number[]
  readonly dtype: TfDType
}
export type TfDType = "float32" | "int32" | "bool"
export type Kernel = (inputs: object, attrs?: object) => Tensor

/** What the op rules need of a backend. Kernels are found when a program is loaded, so a missing one shows early. */
export interface Kernels {
  /** The kernel of that name with one result; the tensors it takes stay alive. */
  kernel(name: string): Kernel
  kernels(name: string): (inputs: object, attrs?: object) => Tensor[]
  /** Another reference to the same numbers, with another shape. */
  view(x: Tensor, shape: Shape): Tensor
  drop(x: Tensor): void
  upload(data: HostData, shape: Shape, dtype: DType): Tensor
  read(x: Tensor): Promise<HostData>
  /** A tensor computed in host memory: `body` fills `out`, which is zero at first, and does not keep the arrays. */
  host(inputs: readonly Tensor[], shape: Shape, dtype: DType, body: (inputs: readonly HostData[], out: HostData) => void): Tensor
  /** The memory of the WebAssembly module, where that is the backend. */
  readonly heap: Heap | null
  /** To be called after each step. */
  pace(): void
  /** Live buffers of the backend, for tests. */
  count(): number
}

/** The WebAssembly backend from the inside: kernels can run on parts of a tensor. */
export interface Heap {
  idOf(x: Tensor): number
  offsetOf(x: Tensor): number
  make(shape: Shape, dtype: TfDType): Tensor
  data(x: Tensor): HostData
  readonly module: WasmModule
  /** A number for a part of a tensor; tensors of the backend itself are numbered from 1. */
  newId(): number
}

export interface WasmModule {
  readonly HEAPU8: Uint8Array
  _malloc(bytes: number): number
  _free(at: number): void
  _Add(a: number, aShape: number, aRank: number, b: number, bShape: number, bRank: number, dtype: number, out: number): void
  _BatchMatMul(a: number, aShape: number, aRank: number, b: number, bShape: number, bRank: number, ta: number, tb: number, out: number): void
  readonly tfjs: { registerTensor(id: number, size: number, at: number): void; disposeData(id: number): void }
}

interface BackendWasm {
  readonly wasm: WasmModule
  readonly dataIdMap: { get(dataId: object): { readonly id: number; readonly memoryOffset: number } }
  write(values: HostData | null, shape: readonly number[], dtype: TfDType): object
  makeOutput(shape: readonly number[], dtype: TfDType): Tensor
  typedArrayFromHeap(x: Tensor): HostData
  disposeData(dataId: object): boolean
  incRef(dataId: object): void
  numDataIds(): number
}

export interface Opened {
  readonly kernels: Kernels
  readonly detail: string
  readonly numericsClass: string
}
export type BackendName = "gpu" | "node" | "wasm"

/** Counts changes of the rules that change bits. */
const revision = 1

export function tfDType(dtype: DType): TfDType {
  return dtype === "f32" ? "float32" : dtype === "i32" ? "int32" : "bool"
}

/** The backend of that name, or else the fastest one installed. */
export async function openBackend(name: BackendName | undefined, threads = usableThreads()): Promise<Opened | Unusable> {
  const reasons: string[] = []
  for (const choice of name === undefined ? (["gpu", "node", "wasm"] as const) : [name]) {
    const opened = choice === "wasm" ? await openWasm(threads) : await openNative(choice)
    if (typeof opened !== "string") return opened
    reasons.push(opened)
  }
  return { name: "tfjs", reason: reasons.join("; "), help: "run `npm install` in the folder of slm, or install @tensorflow/tfjs-node beside it" }
}

/** TensorFlow's own library, where the user has installed it beside us. */
async function openNative(choice: "gpu" | "node"): Promise<Opened | string> {
  const name = choice === "gpu" ? "@tensorflow/tfjs-node-gpu" : "@tensorflow/tfjs-node"
  try {
    // TensorFlow's library logs to stderr while it is loaded.
    process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2"
    const tf = withDefault(await import(name)) as Core & { readonly version: Readonly<Record<string, string>> }
    quiet(tf)
    await tf.ready()
    const version = tf.version[choice === "gpu" ? "tfjs-node-gpu" : "tfjs-node"] ?? tf.version_core
    const device = (tf.backend() as { readonly isUsingGpuDevice?: boolean }).isUsingGpuDevice === true ? "GPU" : "CPU"
    return {
      kernels: engineKernels(tf),
      detail: `TensorFlow (${name} ${version}), ${device}`,
      numericsClass: `tfjs/${choice} ${version}/${device.toLowerCase()} ${process.arch}/${revision}`,
    }
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND"
    return missing ? `${name} is not installed` : `${name}: ${firstLine(error)}`
  }
}

type WasmPackage = typeof import("@tensorflow/tfjs-backend-wasm")

async function openWasm(threads: number): Promise<Opened | string> {
  try {
    const core = withDefault(await import("@tensorflow/tfjs-core")) as Core
    quiet(core)
    const wasm = withDefault(await import("@tensorflow/tfjs-backend-wasm")) as WasmPackage
    const simd = (await core.env().getAsync("WASM_HAS_SIMD_SUPPORT")) === true
    // One module per process: the kernels of the package are bound to the first one.
    if (core.engine().registry["wasm"] === undefined) await withoutNewListeners(() => startWasm(core, wasm, simd ? threads : 1))
    if (!(await core.setBackend("wasm"))) return "the WebAssembly backend of TensorFlow.js does not start"
    const backend = core.findBackend("wasm") as unknown as BackendWasm
    guardMemory(backend.wasm)
    const count = wasm.getThreadsCount()
    return {
      kernels: wasmKernels(core, backend, count === 1 ? () => {} : createPace(threadsOf(backend.wasm, count), machine)),
      detail: `WebAssembly backend ${wasm.version_wasm}, ${simd ? "SIMD" : "no SIMD"}, ${count} thread${count === 1 ? "" : "s"}`,
      // Not the number of threads: each element is computed by one thread, in the same order.
      numericsClass: `tfjs/wasm ${wasm.version_wasm}/${simd ? "simd" : "scalar"} ${process.arch}/${revision}`,
    }
  } catch (error) {
    return `WebAssembly backend: ${firstLine(error)}`
  }
}

/** Makes `wasm` the backend of the engine, with several threads where they can be had. */
async function startWasm(core: Core, wasm: WasmPackage, threads: number): Promise<void> {
  if (threads > 1 && (await startThreaded(core, wasm, threads))) return
  wasm.setWasmPaths(wasmFolder())
  await core.setBackend("wasm")
}

async function startThreaded(core: Core, wasm: WasmPackage, threads: number): Promise<boolean> {
  try {
    const module = await startThreads(wasmFolder())
    wasm.setThreadsCount(threads)
    const backend = new wasm.BackendWasm(module as never)
    releaseThreads(module)
    core.removeBackend("wasm")
    core.registerBackend("wasm", () => backend)
    return await core.setBackend("wasm")
  } catch {
    return false // the plain module does the same with one thread
  }
}

/** The module throws every uncaught error of the process anew, from a line of itself that fills the screen. */
async function withoutNewListeners(start: () => Promise<void>): Promise<void> {
  const events = ["uncaughtException", "unhandledRejection"] as const
  const before = events.map((event) => new Set(process.rawListeners(event)))
  try {
    await start()
  } finally {
    events.forEach((event, i) => {
      for (const listener of process.rawListeners(event)) if (before[i]?.has(listener) === false) process.removeListener(event, listener as () => void)
    })
  }
}

/** A package of CommonJS comes as `default` from some loaders and spread out from others. */
function withDefault(module: object): unknown {
  return "default" in module && typeof module.default === "object" && module.default !== null && "engine" in module.default ? module.default : module
}

/** Production mode: no banner about faster backends and no NaN checks after each kernel. */
function quiet(core: Core): void {
  core.env().set("PROD", true)
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.split("\n")[0] ?? text
}

/** The folder of the .wasm files, found from here also when this file is bundled, so that nothing is fetched. */
function wasmFolder(): string {
  const require = createRequire(import.meta.url)
  return join(dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json")), "wasm-out") + sep
}

/** A failed allocation is address 0 to the backend, which would then write there: it has to stop instead. */
function guardMemory(wasm: WasmModule): void {
  wasm._free(wasm._malloc(8)) // the first call replaces the function
  const malloc = wasm._malloc
  if (malloc.name === "guardedMalloc") return
  wasm._malloc = function guardedMalloc(bytes) {
    const at = malloc(bytes) >>> 0 // addresses beyond 2 GB come as negative numbers
    if (at === 0) throw new Error(`tfjs: out of WebAssembly memory (${wasm.HEAPU8.length} bytes in use, ${bytes} more wanted); use a smaller batch or another device`)
    return at
  }
}

// ---- the WebAssembly backend, called without TensorFlow.js's engine: no tape, no scopes, no book-keeping

function wasmKernels(core: Core, backend: BackendWasm, pace: () => void): Kernels {
  let nextId = 0x40000000
  const heap: Heap = {
    newId: () => nextId++,
    idOf: (x) => backend.dataIdMap.get(x.dataId).id,
    offsetOf: (x) => backend.dataIdMap.get(x.dataId).memoryOffset,
    make: (shape, dtype) => backend.makeOutput([...shape], dtype),
    data: (x) => backend.typedArrayFromHeap(x),
    module: backend.wasm,
  }
  function kernels(name: string): (inputs: object, attrs?: object) => Tensor[] {
    const found = core.getKernel(name, "wasm")
    if (found === undefined) throw new Error(`tfjs: the WebAssembly backend has no kernel ${name}`)
    return (inputs, attrs = {}) => {
      const out = found.kernelFunc({ inputs: inputs as never, attrs: attrs as never, backend: backend as never })
      return (Array.isArray(out) ? out : [out]) as unknown as Tensor[]
    }
  }
  return {
    heap,
    kernels,
    kernel: (name) => single(kernels(name), name),
    view(x, shape) {
      backend.incRef(x.dataId)
      return { dataId: x.dataId, shape: [...shape], dtype: x.dtype }
    },
    drop: (x) => void backend.disposeData(x.dataId),
    upload: (data, shape, dtype) => ({ dataId: backend.write(data, [...shape], tfDType(dtype)), shape: [...shape], dtype: tfDType(dtype) }),
    read: async (x) => heap.data(x).slice(),
    host(inputs, shape, dtype, body) {
      const out = heap.make(shape, tfDType(dtype))
      // Views come after the allocation, which may have moved the memory.
      body(inputs.map(heap.data), heap.data(out).fill(0))
      return out
    },
    pace,
    count: () => backend.numDataIds(),
  }
}

function single(kernels: (inputs: object, attrs?: object) => Tensor[], name: string): Kernel {
  return (inputs, attrs) => {
    const [out] = kernels(inputs, attrs)
    if (out === undefined) throw new Error(`tfjs: kernel ${name} has no result`)
    return out
  }
}

// ---- any backend, through the engine

/** Kernels of the current backend of `core`, called in the documented way. */
export function engineKernels(core: Core): Kernels {
  const engine = core.engine()
  function kernels(name: string): (inputs: object, attrs?: object) => Tensor[] {
    if (core.getKernel(name, core.getBackend()) === undefined) throw new Error(`tfjs: the backend ${core.getBackend()} has no kernel ${name}`)
    return (inputs, attrs = {}) => {
      const out = engine.runKernel(name, inputs as never, attrs as never)
      return (Array.isArray(out) ? out : [out]) as unknown as Tensor[]
    }
  }
  const reshape = single(kernels("Reshape"), "Reshape")
  function upload(data: HostData, shape: Shape, dtype: DType): Tensor {
    return engine.makeTensor(data.slice(), [...shape], tfDType(dtype)) as unknown as Tensor
  }
  const asCore = (x: Tensor) => x as unknown as import("@tensorflow/tfjs-core").Tensor
  return {
    heap: null,
    kernels,
    kernel: (name) => single(kernels(name), name),
    view: (x, shape) => reshape({ x }, { shape: [...shape] }),
    drop: (x) => asCore(x).dispose(),
    upload,
    read: async (x) => exact(await asCore(x).data(), x.dtype),
    host(inputs, shape, dtype, body) {
      const out = hostData(dtype, size(shape))
      body(inputs.map((x) => exact(asCore(x).dataSync(), x.dtype)), out)
      return upload(out, shape, dtype)
    },
    pace() {},
    count: () => core.memory().numTensors,
  }
}

export function hostData(dtype: DType, n: number): HostData {
  return dtype === "f32" ? new Float32Array(n) : dtype === "i32" ? new Int32Array(n) : new Uint8Array(n)
}

/** Some backends keep bool in other arrays than bytes. */
function exact(data: ArrayLike<number>, dtype: TfDType): HostData {
  if (dtype === "float32") return data instanceof Float32Array ? data : Float32Array.from(data)
  if (dtype === "int32") return data instanceof Int32Array ? data : Int32Array.from(data)
  return data instanceof Uint8Array ? data : Uint8Array.from(data)
}
