/** Fifty training steps of config B on a GPU beside the reference: its model, its optimiser and its rows of 64 tokens, of which a test takes one a step. */
import type { Device, HostTensor, Runner } from "../device.ts"
import { createReference } from "../devices/reference.ts"
import { ids } from "../stages/feeds.ts"
import type { Prepared } from "./config.ts"
import { batchOf, configs, firstStates, prepareConfig } from "./config.ts"

const steps = 50
/** Steps that are made a second time. */
const twice = 2

/** Of the loss: what fifty updates of AdamW make of sums that are added up in another order. SwiftShader stays within 1.6e-6. */
export const tolerance = 2e-5

export interface Fifty {
  /** Losses of the device and of the reference, one for each step. */
  readonly found: readonly number[]
  readonly wanted: readonly number[]
  /** The largest difference between them, as a share of the loss. */
  readonly worst: number
  /** Whether two runs gave the same losses and the same bits in every state after the first steps. */
  readonly same: boolean
}

export async function fiftySteps(device: Device, rows = 1): Promise<Fifty> {
  const config = configs.find(({ name }) => name === "B")
  if (config === undefined) throw new Error("there is no config B")
  const prepared = prepareConfig({ ...config, rows })
  // Four batches again and again, so that there is something to learn: they are random.
  const batches = Array.from({ length: steps }, (_, i) => ({ ...batchOf(prepared, 1 + (i % 4)), step: ids([], [i + 1]) }))
  const [gpu, again, reference] = [await loaded(device, prepared), await loaded(device, prepared), await loaded(createReference(), prepared)]
  const some = await gpu.steps?.(batches.slice(0, twice)) ?? []
  const others = await again.steps?.(batches.slice(0, twice)) ?? []
  const states = prepared.step.inputs.flatMap(({ args }) => (args.role === "state" ? [args.name] : []))
  const [a, b] = [await gpu.hashes?.(states), await again.hashes?.(states)]
  const same = some.length === twice && some.every((out, i) => lossOf(out) === lossOf(others[i])) && a?.size === states.length && states.every((name) => a.get(name) === b?.get(name))
  const found = some.map(lossOf)
  const wanted: number[] = []
  const refer = async (batch: (typeof batches)[number]): Promise<void> => void wanted.push(lossOf(await reference.step(batch)))
  for (const batch of batches.slice(0, twice)) await refer(batch)
  // The reference has Node's thread while the GPU works.
  for (let first = twice; first < steps; first += 16) {
    const group = batches.slice(first, first + 16)
    const made = gpu.steps?.(group)
    for (const batch of group) await refer(batch)
    found.push(...(await made ?? []).map(lossOf))
  }
  for (const runner of [gpu, again, reference]) runner.dispose()
  return { found, wanted, worst: found.length === steps ? Math.max(...found.map((x, i) => Math.abs(x / (wanted[i] ?? NaN) - 1))) : NaN, same }
}

/** The step on a device, with the first values of all its states. */
export async function loaded(device: Device, prepared: Prepared): Promise<Runner> {
  const runner = await device.load(prepared.step)
  for (const [name, value] of firstStates(prepared)) await runner.write(name, value)
  return runner
}

export function lossOf(out: Readonly<Record<string, HostTensor>> | undefined): number {
  return (out?.["sum.0"]?.data[0] ?? NaN) / (out?.["count.0"]?.data[0] ?? NaN)
}
