/** The graph on TensorFlow.js kernels: runs anywhere, on the WebAssembly backend or on TensorFlow's library where it is installed. */
import type { NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Device, HostTensor, Runner, Unusable } from "../device.ts"
import type { BackendName, HostData, Kernels, Opened, Tensor } from "./tfjs-backend.ts"
import { openBackend } from "./tfjs-backend.ts"
import { lower } from "./tfjs-lower.ts"
import { repeated, rules } from "./tfjs-ops.ts"
import type { Dialect, Step } from "./tfjs-plan.ts"
import { compile, createMemory } from "./tfjs-plan.ts"
import type { Loading } from "./tfjs-rule.ts"
import { wasmDialect } from "./tfjs-wasm.ts"

export interface TfjsOptions {
  /** `gpu` and `node` are TensorFlow's library, where installed; the fastest one there if not given. */
  readonly backend?: BackendName
  /** Of the WebAssembly backend; as many as there are idle cores if not given. They change no bits. Only the first call in a process chooses. */
  readonly threads?: number
}

export async function openTfjs(options: TfjsOptions = {}): Promise<Device | Unusable> {
  const opened = await openBackend(options.backend, options.threads)
  return "reason" in opened ? opened : createDevice(opened)
}

/** Sees each call of a kernel, to measure it: runs `run` and returns its result. */
export type Watch = (call: Step, run: () => readonly Tensor[]) => readonly Tensor[]

export function createDevice({ kernels, detail, numericsClass }: Opened, watch?: Watch): Device {
  return { info: { name: "tfjs", detail, numericsClass }, load: async (program) => createRunner(kernels, program, watch) }
}

const engineDialect: Dialect = { rules, repeated }

/** Checks what comes from outside against its declaration. */
function checked(node: NodeOf<"input">, { shape, dtype, data }: HostTensor): HostData {
  const { name } = node.args
  if (dtype !== node.dtype || shape.join() !== node.shape.join()) {
    throw new Error(`tfjs: ${name} is ${dtype}[${shape.join(", ")}] instead of ${node.dtype}[${node.shape.join(", ")}]`)
  }
  if (data.length !== size(shape)) throw new Error(`tfjs: ${name} has ${data.length} elements for [${shape.join(", ")}]`)
  return data
}

function createRunner(kernels: Kernels, given: Program, watch: Watch | undefined): Runner {
  const program = lower(given, { plainDots: kernels.heap !== null })
  const releases: (() => void)[] = []
  const k: Loading = {
    ...kernels,
    atEnd: (release) => void releases.push(release),
    constant(data, shape, dtype) {
      const x = kernels.upload(data, shape, dtype)
      releases.push(() => kernels.drop(x))
      return x
    },
  }
  const replaced = new Set(program.outputs.map((output) => output.name))
  // A state that the program does not replace is a constant of many steps.
  const isConstant = (node: NodeOf<"input">): boolean => node.args.role === "state" && !replaced.has(node.args.name)
  const plan = compile(k, kernels.heap === null ? engineDialect : wasmDialect, program.inputs.map((node) => ({ node, constant: isConstant(node) })), program.outputs.map((output) => output.node))
  const memory = createMemory(k, plan, watch)
  const states = new Map<string, Tensor>()

  function declared(name: string, role: "state" | "batch"): { readonly node: NodeOf<"input">; readonly index: number } {
    const index = program.inputs.findIndex((node) => node.args.name === name && node.args.role === role)
    const node = program.inputs[index]
    if (node === undefined) throw new Error(`tfjs: ${program.name} has no ${role} input ${name}`)
    return { node, index }
  }

  function setState(name: string, x: Tensor): void {
    const old = states.get(name)
    if (old !== undefined) kernels.drop(old)
    states.set(name, x)
  }

  function input(node: NodeOf<"input">, index: number, batch: Readonly<Record<string, HostTensor>>): Tensor | null {
    const { name, role } = node.args
    if (role === "batch") {
      const value = batch[name]
      if (value === undefined) throw new Error(`tfjs: the batch lacks ${name}`)
      return kernels.upload(checked(node, value), node.shape, node.dtype)
    }
    const x = isConstant(node) ? memory.get(index) : states.get(name)
    if (!x) throw new Error(`tfjs: state ${name} was never set`)
    return isConstant(node) ? null : kernels.view(x, x.shape)
  }

  return {
    async write(name, value) {
      const { node, index } = declared(name, "state")
      const x = kernels.upload(checked(node, value), node.shape, node.dtype)
      if (isConstant(node)) memory.set(index, x)
      else setState(name, x)
    },
    async read(name) {
      const { node, index } = declared(name, "state")
      const x = isConstant(node) ? memory.get(index) : states.get(name)
      if (!x) throw new Error(`tfjs: state ${name} was never set`)
      return { shape: node.shape, dtype: node.dtype, data: await kernels.read(x) }
    },
    async step(batch) {
      for (const name of Object.keys(batch)) declared(name, "batch")
      const results = memory.run(program.inputs.map((node, i) => input(node, i, batch)))
      const returned: Record<string, HostTensor> = {}
      for (const [i, { name, node }] of program.outputs.entries()) {
        const x = results[i]
        if (x === undefined) throw new Error(`tfjs: output ${name} has no value`)
        if (program.inputs.some((given) => given.args.name === name && given.args.role === "state")) setState(name, x)
        else {
          returned[name] = { shape: node.shape, dtype: node.dtype, data: await kernels.read(x) }
          kernels.drop(x)
        }
      }
      return returned
    },
    dispose() {
      memory.dispose()
      for (const x of states.values()) kernels.drop(x)
      states.clear()
      for (const release of releases.splice(0)) release()
    },
  }
}
