/** Weights between artifacts and the states of programs. */
import { initialValues } from "../../compiler/graph/lower/initial.ts"
import type { WeightSlot } from "../../compiler/graph/lower/programs.ts"
import type { SpecWeight } from "../../compiler/graph/lower/forward.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import type { HostTensor } from "../device.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { plain, storedBytes } from "../weights.ts"
import { expectData, memberOf } from "./artifact.ts"
import type { StageEnv } from "./environment.ts"
import type { States } from "./stepper.ts"

export function f32(shape: readonly number[], data: Float32Array): HostTensor {
  return { shape, dtype: "f32", data }
}

/** The stream of a weight's first values; a single model's does not depend on what its role is called. */
function streamOf(slot: WeightSlot): string {
  return slot.role === "model" ? slot.path : `${slot.role}.${slot.path}`
}

/** The first values of all weights of a training: drawn, or taken from the weights it goes on from. */
export async function startStates(slots: readonly WeightSlot[], seed: number, env: StageEnv): Promise<Map<string, HostTensor>> {
  const states = new Map<string, HostTensor>()
  for (const slot of slots) {
    const values = slot.source === null ? initialValues(slot.info.init, slot.shape, streamOf(slot), seed) : decoded(await weightsInput(slot.source.stage, slot.source.member, env), slot)
    states.set(slot.name, f32(slot.shape, values))
  }
  return states
}

export async function weightsInput(stage: Stage, member: string | null, env: StageEnv): Promise<Weights> {
  return memberOf(expectData(await env.input(stage), "weights").members, member)
}

/** What codes stand for is what every use of the weights sees. A copy: devices and trainings may write into it. */
function decoded(weights: Weights, slot: { readonly path: string; readonly shape: readonly number[] }): Float32Array {
  const tensor = weights.tensors.get(slot.path)
  if (tensor === undefined) throw new Error(`stages: the weights have no ${slot.path}`)
  if (size(tensor.shape) !== size(slot.shape)) throw new Error(`stages: ${slot.path} is [${tensor.shape.join(", ")}] in the weights and [${slot.shape.join(", ")}] in the model`)
  return tensor.decoded().slice()
}

/** The states of a program that has the weights of one model. */
export function statesOf(weights: Weights, list: readonly SpecWeight[]): Map<string, HostTensor> {
  return new Map(list.map((weight) => [weight.name, f32(weight.shape, decoded(weights, weight))]))
}

/** The weights of one role after its training, in the order they are written. What was frozen is stored as it was. */
export async function weightsOfRole(slots: readonly WeightSlot[], role: string, states: States, env: StageEnv): Promise<Weights> {
  const tensors = new Map<string, StoredTensor>()
  for (const slot of slots.filter((s) => s.role === role)) {
    const before = slot.trained || slot.source === null ? undefined : (await weightsInput(slot.source.stage, slot.source.member, env)).tensors.get(slot.path)
    const state = states.get(slot.name)
    if (before !== undefined) tensors.set(slot.path, before)
    else if (state !== undefined && state.data instanceof Float32Array) tensors.set(slot.path, plain(slot.shape, state.data.slice()))
  }
  return { tensors }
}

export function countParameters(weights: Weights): number {
  let n = 0
  for (const tensor of weights.tensors.values()) n += size(tensor.shape)
  return n
}

export function countBytes(weights: Weights): number {
  let n = 0
  for (const tensor of weights.tensors.values()) n += storedBytes(tensor)
  return n
}
