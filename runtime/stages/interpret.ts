import { prepare, runPrepared } from "../../compiler/graph/interpret.ts"
import type { Program } from "../../compiler/graph/node.ts"
import type { HostTensor } from "../device.ts"
import { taken } from "./feeds.ts"

/** Runs a small program without states on the host, in the arithmetic that defines the ops. */
export function interpretProgram(program: Program, batch: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  const results = runPrepared(prepare(program.outputs.map((output) => output.node)), new Map(Object.entries(taken(program, batch))), "f32")
  const outputs: Record<string, HostTensor> = {}
  program.outputs.forEach(({ name }, i) => {
    const value = results[i]
    if (value === undefined || value.data instanceof Float64Array) throw new Error(`${program.name}: output ${name} has no value in f32`)
    outputs[name] = { shape: value.shape, dtype: value.dtype, data: value.data }
  })
  return outputs
}
