/** The device on a software adapter, for tests: Dawn as spec/gpu installs it, SwiftShader as Chromium brings it. */
import { fileURLToPath } from "node:url"
import type { WebgpuDevice, WebgpuOptions } from "./webgpu.ts"
import { openWebgpu } from "./webgpu.ts"

const folder = new URL("../../spec/gpu/", import.meta.url)

/** The package's file, installed on the first call. */
export async function dawnPackage(): Promise<string> {
  await ((await import(new URL("setup.mjs", folder).href)) as { setup(): Promise<void> }).setup()
  return fileURLToPath(new URL("node_modules/webgpu/index.js", folder))
}

/** The device, or null after saying what is missing. */
export async function softwareGpu(limit: WebgpuOptions["limit"] = {}): Promise<WebgpuDevice | null> {
  const reason = await dawnPackage().then(async (path) => {
    const device = await openWebgpu({ package: path, software: true, limit })
    return "reason" in device ? `${device.reason}; ${device.help}` : device
  }, (error: unknown) => (error instanceof Error ? error.message : String(error)))
  if (typeof reason !== "string") return reason
  console.log(`  skipped: ${reason}`)
  return null
}
