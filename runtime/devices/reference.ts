/** The reference interpreter as a device: slow and clear, the measure of all others. */
import type { Prepared } from "../../compiler/graph/interpret.ts"
import { prepare, runPrepared } from "../../compiler/graph/interpret.ts"
import type { NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Precision, Value } from "../../compiler/graph/value.ts"
import type { Device, DeviceInfo, HostTensor, Runner } from "../device.ts"
import { asPlain } from "../device.ts"

export interface ReferenceOptions {
  /** `f64` keeps and computes every f32 tensor in double precision; only what leaves the device is rounded. */
  readonly precision: Precision
}

export function createReference(options: ReferenceOptions = { precision: "f32" }): Device {
  const { precision } = options
  const info: DeviceInfo = {
    name: "reference",
    detail: `plain interpreter, ${precision}`,
    numericsClass: `reference/${precision}/1`, f16Class: `reference/${precision}/1`,
  }
  return { info, load: async (program) => createRunner(program, precision) }
}

function toValue(name: string, given: HostTensor): Value {
  const tensor = asPlain(given)
  if (tensor.data.length !== size(tensor.shape)) throw new Error(`reference: ${name} has ${tensor.data.length} elements for [${tensor.shape.join(", ")}]`)
  return { shape: tensor.shape, dtype: tensor.dtype, data: tensor.data.slice() }
}

function toHost(value: Value): HostTensor {
  const { shape, dtype, data } = value
  return { shape, dtype, data: data instanceof Float64Array ? new Float32Array(data) : data.slice() }
}

function createRunner(program: Program, precision: Precision): Runner {
  const prepared: Prepared = prepare(program.outputs.map((output) => output.node))
  const inputs = new Map<string, NodeOf<"input">>(program.inputs.map((node) => [node.args.name, node]))
  const state = new Map<string, Value>()

  function declared(name: string, role: "state" | "batch"): NodeOf<"input"> {
    const node = inputs.get(name)
    if (node === undefined || node.args.role !== role) throw new Error(`reference: ${program.name} has no ${role} input ${name}`)
    return node
  }

  function checked(node: NodeOf<"input">, tensor: HostTensor): Value {
    if (tensor.dtype !== node.dtype || tensor.shape.join() !== node.shape.join()) {
      throw new Error(`reference: ${node.args.name} is ${tensor.dtype}[${tensor.shape.join(", ")}] instead of ${node.dtype}[${node.shape.join(", ")}]`)
    }
    return toValue(node.args.name, tensor)
  }

  return {
    async write(name, value) {
      state.set(name, checked(declared(name, "state"), value))
    },
    async read(name) {
      const value = state.get(declared(name, "state").args.name)
      if (value === undefined) throw new Error(`reference: state ${name} was never set`)
      return toHost(value)
    },
    async step(batch) {
      const feeds = new Map(state)
      for (const [name, value] of Object.entries(batch)) feeds.set(name, checked(declared(name, "batch"), value))
      const results = runPrepared(prepared, feeds, precision)
      const returned: Record<string, HostTensor> = {}
      program.outputs.forEach(({ name }, i) => {
        const value = results[i]
        if (value === undefined) throw new Error(`reference: output ${name} has no value`)
        if (inputs.get(name)?.args.role === "state") state.set(name, value)
        else returned[name] = toHost(value)
      })
      return returned
    },
    dispose() {
      state.clear()
    },
  }
}
