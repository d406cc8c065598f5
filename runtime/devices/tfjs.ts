/** The graph on TensorFlow.js kernels: runs anywhere, on the WebAssembly backend or on TensorFlow's library where it is installed. */
import type { Node, NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Device, HostTensor, Runner, Unusable } from "../device.ts"
import { asPlain } from "../device.ts"
import type { BackendName, HostData, Kernels, Opened, Tensor } from "./tfjs-backend.ts"
import { openBackend } from "./tfjs-backend.ts"
import { lower } from "./tfjs-lower.ts"
import { repeated, rules } from "./tfjs-ops.ts"
import type { Dialect, Memory, Step } from "./tfjs-plan.ts"
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

/** A loaded program. */
interface Session {
  readonly kernels: Kernels
  readonly program: Program
  readonly memory: Memory
  /** States that the program replaces; the others are constant inputs of `memory`. */
  readonly replaced: ReadonlySet<string>
  readonly states: Map<string, Tensor>
  readonly releases: (() => void)[]
}

function createRunner(kernels: Kernels, given: Program, watch: Watch | undefined): Runner {
  const s = openSession(kernels, given, watch)
  return {
    async write(name, value) {
      const { node, index } = declared(s, name, "state")
      const x = kernels.upload(checked(node, value), node.shape, node.dtype)
      if (isConstant(s.replaced, node)) s.memory.set(index, x)
      else setState(s, name, x)
    },
    async read(name) {
      const { node, index } = declared(s, name, "state")
      return { shape: node.shape, dtype: node.dtype, data: await kernels.read(stateOf(s, node, index)) }
    },
    step: (batch) => step(s, batch),
    dispose() {
      s.memory.dispose()
      for (const x of s.states.values()) kernels.drop(x)
      s.states.clear()
      for (const release of s.releases.splice(0)) release()
    },
  }
}

function openSession(kernels: Kernels, given: Program, watch: Watch | undefined): Session {
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
  const outputs = new Set(program.outputs.map((output) => output.name))
  const states = program.inputs.filter((node) => node.args.role === "state").map((node) => node.args.name)
  const replaced = new Set(states.filter((name) => outputs.has(name)))
  const inputs = program.inputs.map((node) => ({ node, constant: isConstant(replaced, node) }))
  const plan = compile(k, kernels.heap === null ? engineDialect : wasmDialect, inputs, program.outputs.map((output) => output.node))
  return { kernels, program, memory: createMemory(k, plan, watch), replaced, states: new Map(), releases }
}

function isConstant(replaced: ReadonlySet<string>, node: NodeOf<"input">): boolean {
  return node.args.role === "state" && !replaced.has(node.args.name)
}

function declared(s: Session, name: string, role: "state" | "batch"): { readonly node: NodeOf<"input">; readonly index: number } {
  const index = s.program.inputs.findIndex((node) => node.args.name === name && node.args.role === role)
  const node = s.program.inputs[index]
  if (node === undefined) throw new Error(`tfjs: ${s.program.name} has no ${role} input ${name}`)
  return { node, index }
}

/** Checks what comes from outside against its declaration. */
function checked(node: NodeOf<"input">, given: HostTensor): HostData {
  const { shape, dtype, data } = asPlain(given)
  const { name } = node.args
  if (dtype !== node.dtype || shape.join() !== node.shape.join()) {
    throw new Error(`tfjs: ${name} is ${dtype}[${shape.join(", ")}] instead of ${node.dtype}[${node.shape.join(", ")}]`)
  }
  if (data.length !== size(shape)) throw new Error(`tfjs: ${name} has ${data.length} elements for [${shape.join(", ")}]`)
  return data
}

function stateOf(s: Session, node: NodeOf<"input">, index: number): Tensor {
  const x = isConstant(s.replaced, node) ? s.memory.get(index) : s.states.get(node.args.name)
  if (!x) throw new Error(`tfjs: state ${node.args.name} was never set`)
  return x
}

function setState(s: Session, name: string, x: Tensor): void {
  const old = s.states.get(name)
  if (old !== undefined) s.kernels.drop(old)
  s.states.set(name, x)
}

/** The tensor of an input for one step; null for a constant one, which is there already. */
function feed(s: Session, node: NodeOf<"input">, index: number, batch: Readonly<Record<string, HostTensor>>): Tensor | null {
  const { name, role } = node.args
  if (role === "batch") {
    const value = batch[name]
    if (value === undefined) throw new Error(`tfjs: the batch lacks ${name}`)
    return s.kernels.upload(checked(node, value), node.shape, node.dtype)
  }
  const x = stateOf(s, node, index)
  return isConstant(s.replaced, node) ? null : s.kernels.view(x, x.shape)
}

async function step(s: Session, batch: Readonly<Record<string, HostTensor>>): Promise<Record<string, HostTensor>> {
  for (const name of Object.keys(batch)) declared(s, name, "batch")
  const results = s.memory.run(s.program.inputs.map((node, i) => feed(s, node, i, batch)))
  s.kernels.pace()
  // All states first: reading waits, and the next step may begin meanwhile.
  const reads: { readonly name: string; readonly node: Node; readonly x: Tensor }[] = []
  for (const [i, { name, node }] of s.program.outputs.entries()) {
    const x = results[i]
    if (x === undefined) throw new Error(`tfjs: output ${name} has no value`)
    if (s.replaced.has(name)) setState(s, name, x)
    else reads.push({ name, node, x })
  }
  const returned: Record<string, HostTensor> = {}
  for (const { name, node, x } of reads) {
    returned[name] = { shape: node.shape, dtype: node.dtype, data: await s.kernels.read(x) }
    s.kernels.drop(x)
  }
  return returned
}
