/** The CPU device: a program becomes kernels, kernels become one C program, and a step is one call of it. */
import { rmSync } from "node:fs"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import type { Node, NodeOf, Program, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { StorageType } from "../../compiler/graph/stored.ts"
import { bytesOfNumbers } from "../../compiler/graph/stored.ts"
import { renderC } from "../../compiler/render/c.ts"
import { cpuTargets, scheduleWithin, threadBytes } from "../../compiler/schedule/cpu.ts"
import type { CpuProgram, CpuTarget } from "../../compiler/schedule/cpu.ts"
import type { Continued, Device, HostTensor, Lent, Runner, Unusable } from "../device.ts"
import { DeviceFailure } from "../device.ts"
import { littleEndian } from "../export/safetensors.ts"
import { sha256 } from "../files.ts"
import type { Broken, Toolchain } from "./cpu-build.ts"
import { build, coresAvailable, findToolchain, probe } from "./cpu-build.ts"
import type { Layout } from "./cpu-cache.ts"
import { openContinue } from "./cpu-continue.ts"
import { layoutOf, layoutPath, recall, remember } from "./cpu-cache.ts"
import { allowsTiles, loadKoffi, openProgram } from "./cpu-run.ts"

export interface CpuOptions {
  /** As many as there are cores for this process if not given. They change no bits. */
  readonly threads?: number
  /** Of instructions; the best the processor has if not given. */
  readonly family?: CpuTarget["family"]
  /** false: no tiles, even where the processor has them. */
  readonly tiles?: boolean
  readonly env?: NodeJS.ProcessEnv
  /** Seconds that a compiler gets to say what it is, and to compile a few lines. */
  readonly patience?: number
}

/** They change whenever generated code may give other bits: that of vectors alone, and that with tiles. */
const generatorRevision = 5
const tilesRevision = 6

const unusable = ({ reason, help }: Broken): Unusable => ({ name: "cpu", reason, help })

/** Compiles and runs a program of a few lines first: whoever gets a device gets one that works. */
export async function openCpu(options: CpuOptions = {}): Promise<Device | Unusable> {
  const koffi = loadKoffi()
  if ("reason" in koffi) return unusable(koffi)
  const found = await findToolchain(options.env ?? process.env, options.family, options.patience, options.tiles)
  if ("reason" in found) return unusable(found)
  const broken = await probe(found, options.patience)
  if (broken !== null) return unusable(broken)
  const hasTiles = found.target.tiles !== null && await allowsTiles(koffi, found)
  const toolchain: Toolchain = hasTiles ? found : { ...found, target: cpuTargets[found.target.family] }
  const threads = options.threads ?? coresAvailable()
  const family = `${toolchain.target.family}${hasTiles ? "-amx" : ""}`
  const revision = hasTiles ? tilesRevision : generatorRevision
  return {
    info: {
      name: "cpu", detail: `generated C, ${toolchain.target.family}${hasTiles ? " and AMX" : ""}, ${threads} thread${threads === 1 ? "" : "s"}, ${toolchain.version}`,
      numericsClass: `cpu/${family}/f32/${revision}`, bf16Class: `cpu/${family}/bf16/${revision}`,
    },
    computesFromStorage: true,
    load: (program, most) => createRunner(koffi, toolchain, threads, program, most ?? Infinity),
    memoryOf(program, most = Infinity) {
      const scheduled = compileCpu(program, toolchain.target, most)
      return { arena: scheduled.arena, threads: threadBytes(scheduled, threads), again: scheduled.again }
    },
  }
}

/** From a program to what is rendered. */
export function compileCpu(program: Program, target: CpuTarget, most = Infinity): CpuProgram {
  return scheduleWithin(orderKernels(fuse(program, target.tiles?.format ?? null)), target, most)
}

/** Milliseconds for which Node's loop may stand still; whoever makes many steps gives way between them (`yielding`). */
const shortStep = 30

type HostData = HostTensor["data"]

/** A state in the arena of its program. */
interface Lying extends Lent, HostTensor { readonly dtype: HostTensor["dtype"]; readonly shape: Shape }

const isLying = (lent: Lent): lent is Lying => "data" in lent

const isSame = (x: Shape, y: Shape): boolean => x.length === y.length && x.every((n, i) => n === y[i])

const zeroBytes = Buffer.alloc(2 ** 16)

/** Whether all bytes are zeros, as those of -0 are not. */
function isZeros({ buffer, byteOffset, byteLength }: HostData): boolean {
  for (let at = 0; at < byteLength; at += zeroBytes.length) {
    const some = Math.min(zeroBytes.length, byteLength - at)
    if (!zeroBytes.subarray(0, some).equals(new Uint8Array(buffer, byteOffset + at, some))) return false
  }
  return true
}

/** The numbers of a node in the arena. */
function viewOf(memory: ArrayBuffer, { dtype, shape }: Pick<Node, "dtype" | "shape">, offset: number | undefined, stored: StorageType | null): HostData {
  if (offset === undefined) throw new Error("cpu: a tensor has no place in the arena")
  const n = size(shape)
  if (stored !== null) return new Uint8Array(memory, offset, bytesOfNumbers(n, dtype, stored))
  if (dtype === "f32") return new Float32Array(memory, offset, n)
  return dtype === "i32" ? new Int32Array(memory, offset, n) : new Uint8Array(memory, offset, n)
}

/** The shared object of a program and its layout: as an earlier run left them, or made now. */
async function prepare(toolchain: Toolchain, program: Program, most: number): Promise<Layout> {
  const path = layoutPath(toolchain, program, most)
  const known = recall(path)
  if (known !== null) return known
  const scheduled = compileCpu(program, toolchain.target, most)
  const built = await build(toolchain, renderC(scheduled))
  if ("reason" in built) throw new DeviceFailure(built.reason, `${built.help}; or run on another device: \`--device tfjs\``)
  const layout = layoutOf(scheduled, built.path)
  remember(path, layout)
  return layout
}

async function createRunner(koffi: Exclude<ReturnType<typeof loadKoffi>, Broken>, toolchain: Toolchain, threads: number, program: Program, most: number): Promise<Runner> {
  let layout = await prepare(toolchain, program, most)
  let opened = openProgram(koffi, layout.object, layout.arena, threads)
  if ("damaged" in opened) {
    // What lies in the cache is no program any more: it is made once more.
    rmSync(layout.object, { force: true })
    layout = await prepare(toolchain, program, most)
    opened = openProgram(koffi, layout.object, layout.arena, threads)
  }
  if ("reason" in opened) throw new DeviceFailure(opened.reason, `${opened.help}; or run on another device: \`--device tfjs\``)
  const inputs = new Map(program.inputs.map((node) => [node.args.name, viewOf(opened.memory, node, layout.inputs[node.args.name], node.args.stored ?? null)]))
  const returned = program.outputs.filter(({ name }) => !program.inputs.some(({ args }) => args.name === name && args.role === "state"))
  const outputs = returned.map(({ name, node }) => ({ name, node, data: viewOf(opened.memory, node, layout.outputs[name], null) }))
  const declared = new Map<string, NodeOf<"input">>(program.inputs.map((node) => [node.args.name, node]))
  const unset = new Set(program.inputs.filter((node) => node.args.role === "state").map((node) => node.args.name))
  const batchNames = program.inputs.filter((node) => node.args.role === "batch").map((node) => node.args.name)
  /** Inputs of the next batch that other programs lent. */
  const lent = new Set<string>()
  let closed = false

  function input(name: string, role: "state" | "batch"): { readonly node: NodeOf<"input">; readonly data: HostData } {
    const [node, data] = [declared.get(name), inputs.get(name)]
    if (node === undefined || data === undefined || node.args.role !== role) throw new Error(`cpu: ${program.name} has no ${role} input ${name}`)
    if (closed) throw new Error(`cpu: ${program.name} was disposed of`)
    return { node, data }
  }

  /** Where a value goes that is what the input is declared to be. */
  function fit(name: string, role: "state" | "batch", value: HostTensor): HostData {
    const { node, data } = input(name, role)
    if (value.dtype !== node.dtype || !isSame(value.shape, node.shape)) throw new Error(`cpu: ${name} is ${value.dtype}[${value.shape.join(", ")}] instead of ${node.dtype}[${node.shape.join(", ")}]`)
    if (value.stored !== node.args.stored) throw new Error(`cpu: ${name} is stored as ${value.stored ?? value.dtype} instead of ${node.args.stored ?? node.dtype}`)
    if (value.data.length !== data.length) throw new Error(`cpu: ${name} has ${value.data.length} elements for [${node.shape.join(", ")}]`)
    return data
  }

  /** A state as it lies in the arena. */
  function state(name: string): HostTensor {
    const { node: { shape, dtype, args: { stored } }, data } = input(name, "state")
    if (unset.has(name)) throw new Error(`cpu: state ${name} was never set`)
    return { shape, dtype, data, ...(stored === undefined ? {} : { stored }) }
  }

  /** Going to another thread and back takes up to 3 ms beside other work, as a core must be found for it: short steps run here. Long ones leave Node's loop free. */
  const running = opened
  const goOn = await openContinue(koffi, toolchain, program, layout, opened)
  let took = Infinity
  async function stepped(): Promise<void> {
    const start = performance.now()
    if (took < shortStep) running.stepNow()
    else await running.step()
    took = performance.now() - start
  }

  return {
    memory: { arena: layout.arena, threads: opened.bytes - layout.arena, again: layout.again },
    async write(name, value) {
      // The arena is zeros until something is written: the moments of an optimiser are never touched before the first step.
      const data = fit(name, "state", value)
      if (!unset.has(name) || !isZeros(value.data)) data.set(value.data)
      unset.delete(name)
    },
    async read(name) {
      const value = state(name)
      return { ...value, data: value.data.slice() }
    },
    lend: (name): Lying => ({ name, ...state(name) }),
    take(values) {
      for (const [name, value] of values) {
        if (!isLying(value)) throw new Error(`cpu: ${name} is lent by another device`)
        const role = declared.get(name)?.args.role ?? "state"
        fit(name, role, value).set(value.data)
        if (role === "batch") lent.add(name)
        else unset.delete(name)
      }
    },
    hashes: async (names) => new Map(names.map((name) => [name, sha256(littleEndian(state(name).data)).slice(0, 16)])),
    async step(batch) {
      for (const name of Object.keys(batch)) { const value = batch[name]; if (value !== undefined) fit(name, "batch", value).set(value.data) }
      for (const name of batchNames) if (batch[name] === undefined && !lent.has(name)) throw new Error(`cpu: the batch lacks ${name}`)
      lent.clear()
      for (const name of unset) throw new Error(`cpu: state ${name} was never set`)
      await stepped()
      return Object.fromEntries(outputs.map(({ name, node, data }) => [name, { shape: node.shape, dtype: node.dtype, data: data.slice() }]))
    },
    ...(goOn === null ? {} : {
      async continue(texts: Continued) {
        if (took >= shortStep || lent.size > 0) return null
        for (const name of unset) throw new Error(`cpu: state ${name} was never set`)
        const start = performance.now()
        const made = goOn(texts)
        took = (performance.now() - start) / made.length
        return made
      },
    }),
    dispose() {
      if (!closed) opened.close()
      closed = true
    },
  }
}
