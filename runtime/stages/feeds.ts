/** What programs are given and what they give back. */
import type { Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { StorageType } from "../../compiler/graph/stored.ts"
import { bytesOfNumbers, packed } from "../../compiler/graph/stored.ts"
import type { HostTensor, Runner } from "../device.ts"

export function ids(shape: readonly number[], values: readonly number[]): HostTensor {
  return { shape, dtype: "i32", data: Int32Array.from(values) }
}

export function zeros(dtype: HostTensor["dtype"], shape: readonly number[], stored?: StorageType): HostTensor {
  const n = size(shape)
  if (stored !== undefined) return { shape, dtype, stored, data: new Uint8Array(bytesOfNumbers(n, dtype, stored)) }
  return { shape, dtype, data: dtype === "f32" ? new Float32Array(n) : dtype === "i32" ? new Int32Array(n) : new Uint8Array(n) }
}

/** What a program takes of a batch: a model that has no use for segments has no such input. */
export function taken(program: Program, batch: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  const result: Record<string, HostTensor> = {}
  for (const { args } of program.inputs) {
    if (args.role !== "batch") continue
    const value = batch[args.name]
    if (value === undefined) throw new Error(`${program.name}: nothing is given for input ${args.name}`)
    result[args.name] = value
  }
  return result
}

/** Writes the states that a program has and `values` knows; those that it stores more narrowly are rounded to that. */
export async function writeStates(runner: Runner, program: Program, values: ReadonlyMap<string, HostTensor>): Promise<void> {
  for (const { args } of program.inputs) {
    const value = args.role === "state" ? values.get(args.name) : undefined
    if (value !== undefined) await runner.write(args.name, args.stored !== undefined && value.stored === undefined ? { ...value, stored: args.stored, data: packed(value.data, args.stored) } : value)
  }
}

export const stateNames = (program: Program): string[] => program.inputs.filter(({ args }) => args.role === "state").map(({ args }) => args.name)

/** The states of a program, or those of them that are asked for. */
export async function readStates(runner: Runner, program: Program, names?: ReadonlySet<string>): Promise<Map<string, HostTensor>> {
  const states = new Map<string, HostTensor>()
  for (const name of stateNames(program)) if (names?.has(name) ?? true) states.set(name, await runner.read(name))
  return states
}

/** One number of the outputs; null where there is no such output. */
export function optional(outputs: Readonly<Record<string, HostTensor>>, name: string): number | null {
  return outputs[name]?.data[0] ?? null
}

/** One number of the outputs. */
export function scalar(outputs: Readonly<Record<string, HostTensor>>, name: string): number {
  const value = optional(outputs, name)
  if (value === null) throw new Error(`the program yields no ${name}`)
  return value
}

/** Several steps, and what must be done before each of them; together where the device can. */
export async function runSteps(runner: Runner, batches: readonly Readonly<Record<string, HostTensor>>[], before?: (step: number) => Promise<void>): Promise<readonly Readonly<Record<string, HostTensor>>[]> {
  if (runner.steps !== undefined) return runner.steps(batches, before)
  const outputs: Readonly<Record<string, HostTensor>>[] = []
  for (const [i, batch] of batches.entries()) {
    await before?.(i)
    outputs.push(await runner.step(batch))
  }
  return outputs
}
