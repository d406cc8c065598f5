/** The CPU device: a program becomes kernels, kernels become one C program, and a step is one call of it. */
import { fuse } from "../../compiler/kernel/fuse.ts"
import type { Buffer } from "../../compiler/kernel/ir.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import type { NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { renderC } from "../../compiler/render/c.ts"
import { scheduleCpu } from "../../compiler/schedule/cpu.ts"
import type { CpuProgram, CpuTarget } from "../../compiler/schedule/cpu.ts"
import type { Device, HostTensor, Runner, Unusable } from "../device.ts"
import { DeviceFailure } from "../device.ts"
import type { Broken, Toolchain } from "./cpu-build.ts"
import { build, coresAvailable, findToolchain } from "./cpu-build.ts"
import { loadKoffi, openProgram } from "./cpu-run.ts"

export interface CpuOptions {
  /** As many as there are cores for this process if not given. They change no bits. */
  readonly threads?: number
  /** Of instructions; the best the processor has if not given. */
  readonly family?: CpuTarget["family"]
  readonly env?: NodeJS.ProcessEnv
}

/** Changes whenever generated code may give other bits. */
const generatorRevision = 1

const unusable = ({ reason, help }: Broken): Unusable => ({ name: "cpu", reason, help })

/** Compiles a program of a few lines first: whoever gets a device gets one that works. */
export async function openCpu(options: CpuOptions = {}): Promise<Device | Unusable> {
  const koffi = loadKoffi()
  if ("reason" in koffi) return unusable(koffi)
  const toolchain = await findToolchain(options.env ?? process.env, options.family)
  if ("reason" in toolchain) return unusable(toolchain)
  const probe = await build(toolchain, "int slm_probe(void) { return 1; }\n")
  if ("reason" in probe) return unusable(probe)
  const threads = options.threads ?? coresAvailable()
  const { family } = toolchain.target
  return {
    info: {
      name: "cpu", detail: `generated C, ${family}, ${threads} thread${threads === 1 ? "" : "s"}, ${toolchain.version}`,
      numericsClass: `cpu/${family}/f32/${generatorRevision}`,
    },
    load: (program) => createRunner(koffi, toolchain, threads, program),
  }
}

/** From a program to what is rendered. */
export function compileCpu(program: Program, target: CpuTarget): CpuProgram {
  return scheduleCpu(orderKernels(fuse(program)), target)
}

type HostData = HostTensor["data"]

/** The numbers of a buffer in the arena. */
function viewOf(memory: ArrayBuffer, buffer: Buffer, offset: number): HostData {
  if (buffer.dtype === "f32") return new Float32Array(memory, offset, buffer.size)
  return buffer.dtype === "i32" ? new Int32Array(memory, offset, buffer.size) : new Uint8Array(memory, offset, buffer.size)
}

async function createRunner(koffi: Exclude<ReturnType<typeof loadKoffi>, Broken>, toolchain: Toolchain, threads: number, program: Program): Promise<Runner> {
  const scheduled = compileCpu(program, toolchain.target)
  const built = await build(toolchain, renderC(scheduled))
  if ("reason" in built) throw new DeviceFailure(built.reason, `${built.help}; or run on another device: \`--device tfjs\``)
  const opened = openProgram(koffi, built.path, scheduled.arena, threads)
  if ("reason" in opened) throw new DeviceFailure(opened.reason, `${opened.help}; or run on another device: \`--device tfjs\``)
  const view = (buffer: Buffer): HostData => viewOf(opened.memory, buffer, scheduled.offsets.get(buffer) ?? 0)
  const inputs = new Map(scheduled.inputs.map(({ name, buffer }) => [name, view(buffer)]))
  const declared = new Map<string, NodeOf<"input">>(program.inputs.map((node) => [node.args.name, node]))
  const unset = new Set(program.inputs.filter((node) => node.args.role === "state").map((node) => node.args.name))
  let closed = false

  function input(name: string, role: "state" | "batch"): { readonly node: NodeOf<"input">; readonly data: HostData } {
    const [node, data] = [declared.get(name), inputs.get(name)]
    if (node === undefined || data === undefined || node.args.role !== role) throw new Error(`cpu: ${program.name} has no ${role} input ${name}`)
    if (closed) throw new Error(`cpu: ${program.name} was disposed of`)
    return { node, data }
  }

  function set(name: string, role: "state" | "batch", value: HostTensor): void {
    const { node, data } = input(name, role)
    if (value.dtype !== node.dtype || value.shape.join() !== node.shape.join()) throw new Error(`cpu: ${name} is ${value.dtype}[${value.shape.join(", ")}] instead of ${node.dtype}[${node.shape.join(", ")}]`)
    if (value.data.length !== size(node.shape)) throw new Error(`cpu: ${name} has ${value.data.length} elements for [${node.shape.join(", ")}]`)
    data.set(value.data)
  }

  return {
    async write(name, value) {
      set(name, "state", value)
      unset.delete(name)
    },
    async read(name) {
      const { node, data } = input(name, "state")
      if (unset.has(name)) throw new Error(`cpu: state ${name} was never set`)
      return { shape: node.shape, dtype: node.dtype, data: data.slice() }
    },
    async step(batch) {
      for (const [name, value] of Object.entries(batch)) set(name, "batch", value)
      for (const { args: { name, role } } of program.inputs) if (role === "batch" && batch[name] === undefined) throw new Error(`cpu: the batch lacks ${name}`)
      for (const name of unset) throw new Error(`cpu: state ${name} was never set`)
      await opened.step()
      return outputsOf(program, scheduled, inputs, view)
    },
    dispose() {
      if (!closed) opened.close()
      closed = true
    },
  }
}

/** What goes to the caller: outputs that are not states of the same name. */
function outputsOf(program: Program, scheduled: CpuProgram, inputs: ReadonlyMap<string, HostData>, view: (buffer: Buffer) => HostData): Readonly<Record<string, HostTensor>> {
  const computed = new Map(scheduled.outputs.map(({ name, buffer }) => [name, buffer]))
  const returned: Record<string, HostTensor> = {}
  for (const { name, node } of program.outputs) {
    if (inputs.has(name) && program.inputs.some(({ args }) => args.name === name && args.role === "state")) continue
    const buffer = computed.get(name)
    if (buffer === undefined) throw new Error(`cpu: output ${name} has no value`)
    returned[name] = { shape: node.shape, dtype: node.dtype, data: view(buffer).slice() }
  }
  return returned
}
