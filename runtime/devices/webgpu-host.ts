/// <reference types="@webgpu/types" />
/** What the programs of one GPU share: pipelines, layouts, counters, and how numbers come back from it. */
import { size } from "../../compiler/graph/node.ts"
import type { StorageType } from "../../compiler/graph/stored.ts"
import { bytesOfNumbers } from "../../compiler/graph/stored.ts"
import type { HostTensor, Lent } from "../device.ts"
import { DeviceFailure } from "../device.ts"
import type { Profile } from "./webgpu-profile.ts"
import type { Wait } from "./webgpu-wait.ts"

/** What was done, for tests: how often and what for data came back. */
export interface Counters { dispatches: number; submits: number; metricReads: number; stateReads: number; hashReads: number; pipelines: number }

export interface Host {
  readonly gpu: GPUDevice
  readonly counters: Counters
  /** By text: equal shaders of all programs are compiled once. */
  readonly pipelines: Map<string, Promise<GPUComputePipeline>>
  /** By the number of parts of an arena that are bound. */
  readonly layouts: Map<number, GPUBindGroupLayout>
  /** Where lent states lie. */
  readonly lent: WeakMap<Lent, Region>
  readonly adapter: string
  /** Bytes of one buffer. */
  readonly largest: number
  readonly wait: Wait
  /** Kernels are timed where there is one. */
  profile?: Profile
}

export function createHost(gpu: GPUDevice, adapter: string, largest = 268435456, wait: Wait = (wanted) => wanted): Host {
  return { gpu, adapter, largest, wait, counters: { dispatches: 0, submits: 0, metricReads: 0, stateReads: 0, hashReads: 0, pipelines: 0 }, pipelines: new Map(), layouts: new Map(), lent: new WeakMap() }
}

/** A tensor somewhere on the GPU. */
export interface Region { readonly buffer: GPUBuffer; readonly offset: number; readonly bytes: number; readonly port: Port }

/** A tensor that goes in or comes out. */
export interface Port { readonly name: string; readonly dtype: HostTensor["dtype"]; readonly shape: readonly number[]; readonly stored: StorageType | null }

export const usage = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const
const compute = 4

/** Waits for the queue and reads tensors from a staging buffer. */
export async function fetch(host: Host, buffer: GPUBuffer, wanted: readonly (Omit<Port, "name"> & { readonly from: number })[]): Promise<HostTensor[]> {
  try {
    await host.wait(buffer.mapAsync(usage.mapRead))
  } catch (error) {
    throw await lost(host, error)
  }
  const words = buffer.getMappedRange()
  const values = wanted.map(({ dtype, shape, stored, from }): HostTensor => {
    const n = size(shape)
    if (stored !== null) return { shape, dtype, stored, data: new Uint8Array(words, from, bytesOfNumbers(n, dtype, stored)).slice() }
    const data = dtype === "f32" ? new Float32Array(words, from, n).slice() : dtype === "i32" ? new Int32Array(words, from, n).slice() : Uint8Array.from(new Uint32Array(words, from, n))
    return { shape, dtype, data }
  })
  buffer.unmap()
  return values
}

/** What happened to a device that does not answer any more. */
export async function lost({ gpu, adapter }: Host, error: unknown): Promise<Error> {
  const info = await Promise.race([gpu.lost, new Promise<null>((done) => setTimeout(done, 1000, null))])
  if (info === null) return error instanceof Error ? error : new Error(String(error))
  const why = info.reason === "destroyed" ? "it was closed" : info.message.split("\n")[0] || "its driver was reset or the GPU was taken away"
  return new DeviceFailure(`${adapter} was lost: ${why}`, "checkpoints and finished stages are kept: run the same command again and it goes on from the last checkpoint. If it happens again, make the batch smaller or use `--device cpu`")
}

/** Buffers that were really made, or how much there is no room for. */
export async function allocate(host: Host, label: string, sizes: readonly number[], flags: number): Promise<readonly GPUBuffer[] | { readonly refused: string }> {
  const { gpu } = host
  gpu.pushErrorScope("out-of-memory")
  gpu.pushErrorScope("validation")
  const buffers = sizes.map((bytes) => gpu.createBuffer({ label, size: bytes, usage: flags }))
  const [wrong, full] = [await gpu.popErrorScope(), await gpu.popErrorScope()]
  if (wrong === null && full === null) return buffers
  for (const buffer of buffers) buffer.destroy()
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0)
  return { refused: `${host.adapter} has no room for the ${(total / 1e6).toFixed(0)} MB of ${label}${full === null ? `: ${wrong?.message.split("\n")[0]}` : ""}` }
}

export function layoutFor({ gpu, layouts }: Host, parts: number): GPUBindGroupLayout {
  const layout = layouts.get(parts) ?? gpu.createBindGroupLayout({
    entries: [{ binding: 0, visibility: compute, buffer: { type: "uniform", hasDynamicOffset: true } }, ...Array.from({ length: parts }, (_, i) => ({ binding: i + 1, visibility: compute, buffer: { type: "storage" as const } }))],
  })
  layouts.set(parts, layout)
  return layout
}

export function pipelineOf(host: Host, label: string, text: string, parts: number): Promise<GPUComputePipeline> {
  const known = host.pipelines.get(text)
  if (known !== undefined) return known
  const { gpu } = host
  const made = (async () => {
    const code = gpu.createShaderModule({ label, code: text })
    host.counters.pipelines++
    try {
      return await host.wait(gpu.createComputePipelineAsync({ label, layout: gpu.createPipelineLayout({ bindGroupLayouts: [layoutFor(host, parts)] }), compute: { module: code, entryPoint: "main" } }))
    } catch (error) {
      const { messages } = await code.getCompilationInfo()
      const [first] = messages.filter((message) => message.type === "error")
      if (first === undefined) throw await lost(host, new Error(`webgpu: ${host.adapter} does not take the shader ${label}: ${String(error)}`))
      throw new Error(`webgpu: ${host.adapter} does not take the shader ${label}: ${first.message} at line ${first.lineNum}: ${text.split("\n")[first.lineNum - 1]?.trim()}`)
    }
  })()
  host.pipelines.set(text, made)
  return made
}
