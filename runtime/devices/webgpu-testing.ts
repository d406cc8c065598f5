/// <reference types="@webgpu/types" />
/** The device on a software adapter, for tests: Dawn as spec/gpu installs it, SwiftShader as Chromium brings it. */
import { fileURLToPath, pathToFileURL } from "node:url"
import type { Dawn } from "./webgpu-adapter.ts"
import type { WebgpuDevice, WebgpuOptions } from "./webgpu.ts"
import { openWebgpu } from "./webgpu.ts"

const folder = new URL("../../spec/gpu/", import.meta.url)

/** The package's file, installed on the first call. */
export async function dawnPackage(): Promise<string> {
  await ((await import(new URL("setup.mjs", folder).href)) as { setup(): Promise<void> }).setup()
  return fileURLToPath(new URL("node_modules/webgpu/index.js", folder))
}

/** The device, or null after saying what is missing. With SLM_GPU=real in the environment it is a real GPU in place of the software adapter. */
export async function softwareGpu(limit: WebgpuOptions["limit"] = {}): Promise<WebgpuDevice | null> {
  const reason = await dawnPackage().then(async (path) => {
    const device = await openWebgpu({ package: path, software: process.env["SLM_GPU"] === "real" ? false : "only", limit })
    return "reason" in device ? `${device.reason}; ${device.help}` : device
  }, (error: unknown) => (error instanceof Error ? error.message : String(error)))
  if (typeof reason !== "string") return reason
  console.log(`  skipped: ${reason}`)
  return null
}

/**
 * A device of Dawn's null backend: it has every feature and runs nothing, but takes only shaders that Tint does. For features that no adapter
 * here has.
 */
export async function validator(features: readonly GPUFeatureName[]): Promise<{ readonly device: GPUDevice; close(): void } | null> {
  const reason = await dawnPackage().then(async (path) => {
    const dawn = (await import(pathToFileURL(path).href)) as Dawn
    const gpu = dawn.create(["backend=null"])
    const adapter = await gpu.requestAdapter()
    if (adapter === null) return "Dawn has no null backend"
    const device = await adapter.requestDevice({ requiredFeatures: [...features] })
    // Dawn dies with whoever forgets the instance that the device belongs to.
    return { device, close: () => void [gpu, device.destroy()] }
  }, (error: unknown) => (error instanceof Error ? error.message : String(error)))
  if (typeof reason !== "string") return reason
  console.log(`  skipped: ${reason}`)
  return null
}
