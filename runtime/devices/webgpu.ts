/** The WebGPU device: a program becomes kernels, kernels become WGSL, and a step is one command buffer. All state stays on the GPU. */
import { fine } from "../../compiler/kernel/domain.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { withWideStates } from "../../compiler/kernel/wide.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import type { Program } from "../../compiler/graph/node.ts"
import { renderWgsl } from "../../compiler/render/wgsl.ts"
import type { WgslProgram } from "../../compiler/render/wgsl.ts"
import { arenaBytes, isRefused, scheduleGpuWithin } from "../../compiler/schedule/gpu.ts"
import type { GpuProgram, Refused } from "../../compiler/schedule/gpu.ts"
import type { GpuTarget } from "../../compiler/schedule/gpu-plans.ts"
import type { Device, Unusable } from "../device.ts"
import { DeviceFailure } from "../device.ts"
import type { Adapter, AdapterOptions } from "./webgpu-adapter.ts"
import { findAdapters } from "./webgpu-adapter.ts"
import { createProfile } from "./webgpu-profile.ts"
import type { Counters } from "./webgpu-host.ts"
import { createHost } from "./webgpu-host.ts"
import { createRunner, signatureOf } from "./webgpu-run.ts"
import { napping } from "./webgpu-wait.ts"

export interface WebgpuOptions extends AdapterOptions {
  /** Number of the adapter in the list that `slm doctor` prints. */
  readonly adapter?: number
  /** Limits below those of the adapter, and subgroups left out: for tests. */
  readonly limit?: Partial<GpuTarget> & { readonly buffer?: number }
}

/** Changes whenever generated code may give other bits. */
const generatorRevision = 3

export interface WebgpuDevice extends Device {
  readonly adapter: Adapter
  readonly target: GpuTarget
  /** Of the whole device. */
  readonly counters: Counters
  readonly gpu: GPUDevice
  /** Lets go of the adapter, so that the process can end. */
  close(): void
}

/** From a program to what is rendered. */
export function compileGpu(program: Program, target: GpuTarget, most = Infinity): GpuProgram | Refused {
  return scheduleGpuWithin(orderKernels(fuse(withWideStates(program), null, fine)), target, most)
}

export function targetOf({ limits, features }: Pick<Adapter, "limits" | "features">): GpuTarget {
  const limit = (name: string, least: number): number => limits[name] ?? least
  return {
    subgroups: features.includes("subgroups"), f16: features.includes("shader-f16"), shared: limit("maxComputeWorkgroupStorageSize", 16384), threads: Math.min(256, limit("maxComputeInvocationsPerWorkgroup", 256)),
    binding: Math.min(limit("maxStorageBufferBindingSize", 134217728), limit("maxBufferSize", 268435456)), bindings: limit("maxStorageBuffersPerShaderStage", 8),
  }
}

export async function openWebgpu(options: WebgpuOptions = {}): Promise<WebgpuDevice | Unusable> {
  const adapters = await findAdapters(options)
  if ("reason" in adapters) return adapters
  const chosen = adapters[options.adapter ?? 0]
  if (chosen === undefined) return { name: "webgpu", reason: `there is no adapter ${options.adapter}`, help: `there ${adapters.length === 1 ? "is one, webgpu:0" : `are webgpu:0 to webgpu:${adapters.length - 1}`}: ${adapters.map((adapter) => adapter.name).join(", ")}` }
  return openAdapter(chosen, options.limit ?? {})
}

/** Limits that are asked for up to what the adapter has. */
const wantedLimits = ["maxBufferSize", "maxStorageBufferBindingSize", "maxComputeWorkgroupStorageSize", "maxComputeInvocationsPerWorkgroup", "maxStorageBuffersPerShaderStage"]
const wantedFeatures = ["subgroups", "shader-f16", "timestamp-query"] as const

async function openAdapter(adapter: Adapter, { buffer, ...limit }: NonNullable<WebgpuOptions["limit"]>): Promise<WebgpuDevice | Unusable> {
  const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name] ?? 0]).filter(([, value]) => value !== 0))
  const requiredFeatures = wantedFeatures.filter((feature) => adapter.features.includes(feature)) as GPUFeatureName[]
  let gpu: GPUDevice
  try {
    const requested = await adapter.request()
    if (requested === null) return { name: "webgpu", reason: `${adapter.name} gives no device`, help: "close programs that use the GPU, or update its driver" }
    gpu = await requested.requestDevice({ requiredLimits, requiredFeatures })
  } catch (error) {
    return { name: "webgpu", reason: `${adapter.name} gives no device: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`, help: "update the driver of the GPU" }
  }
  const target: GpuTarget = { ...targetOf(adapter), ...limit }
  const family = `webgpu/${adapter.identity}/${target.subgroups ? "subgroups" : "shared"}`
  const host = createHost(gpu, adapter.name, buffer ?? adapter.limits["maxBufferSize"], napping())
  const { counters } = host
  return {
    info: {
      name: "webgpu", detail: `${adapter.name}, ${adapter.backend}${adapter.software ? ", runs on the processor" : ""}`,
      numericsClass: `${family}/f32/${generatorRevision}`, ...(target.f16 ? { f16Class: `${family}/f16/${generatorRevision}` } : {}),
    },
    computesFromStorage: true, adapter, target, counters, gpu,
    load: async (program, most) => createRunner(host, signatureOf(program), compiled(program, target, most)),
    memoryOf(program, most) {
      const scheduled = compileGpu(program, target, most)
      return { arena: arenaBytes(scheduled), threads: 0, again: isRefused(scheduled) ? 0 : scheduled.again }
    },
    ...(requiredFeatures.includes("timestamp-query") ? {
      measure() {
        const profile = host.profile ?? createProfile()
        host.profile = profile
        return () => profile.kernels()
      },
    } : {}),
    close: () => gpu.destroy(),
  }
}

function compiled(program: Program, target: GpuTarget, most: number | undefined): WgslProgram {
  const scheduled = compileGpu(program, target, most)
  if (!isRefused(scheduled)) return renderWgsl(scheduled)
  const { limit, what, needs, has } = scheduled.refused
  throw new DeviceFailure(`${what} needs ${needs} and the adapter's ${limit} is ${has}`, "make the batch or the model smaller, or run on another device: `--device cpu`")
}
