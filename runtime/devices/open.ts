import type { Device, DeviceInfo, Rate, Unusable } from "../device.ts"

export interface Opener { readonly name: DeviceInfo["name"]; readonly open: (choice: string | null) => Promise<Device | Unusable> }

/** The devices of this build, best first. Each is imported only when it is tried. `choice`: what follows `NAME:`. */
const openers: readonly Opener[] = [
  // Only real GPUs count, unless another adapter is asked for.
  { name: "webgpu", open: async (choice) => (await import("./webgpu.ts")).openWebgpu(adapterChoice(choice)) },
  { name: "cpu", open: async () => (await import("./cpu.ts")).openCpu() },
  { name: "tfjs", open: async () => (await import("./tfjs.ts")).openTfjs() },
  { name: "reference", open: async () => (await import("./reference.ts")).createReference() },
]

/** What follows `webgpu:`. */
export function adapterChoice(choice: string | null): { readonly software?: boolean | "only"; readonly adapter?: number } {
  return choice === null ? {} : choice === "software" ? { software: "only" } : { software: true, adapter: Number(choice) }
}

export const deviceNames: readonly string[] = openers.map(({ name }) => name)

/** `webgpu:1` is the device webgpu with its second adapter; null for what names no device. */
export function readDeviceName(text: string): { readonly name: string; readonly choice: string | null } | null {
  const [name = "", choice = null, ...more] = text.split(":")
  if (!deviceNames.includes(name) || more.length > 0) return null
  return choice === null || (name === "webgpu" && /^(\d+|software)$/.test(choice)) ? { name, choice } : null
}

export function isUsable(x: Device | Unusable): x is Device {
  return "load" in x
}

/** The device of that name, or the best one usable here; else why each that was tried is not. `passed` hears of better ones that cannot be used. */
export async function openDevice(name: string | null, passed: (device: Unusable) => void = () => {}, among = openers): Promise<Device | readonly Unusable[]> {
  const tried: Unusable[] = []
  const wanted = name === null ? null : readDeviceName(name)
  for (const opener of among) {
    if (name !== null && opener.name !== wanted?.name) continue
    const device = await opener.open(wanted?.choice ?? null)
    if (isUsable(device)) return device
    tried.push(device)
    if (name === null) passed(device)
  }
  return tried
}

/** Every device with what it is, or why it cannot be used here. */
export async function probeDevices(): Promise<readonly (DeviceInfo | Unusable)[]> {
  const found: (DeviceInfo | Unusable)[] = []
  for (const { open } of openers) {
    const device = await open(null)
    found.push(isUsable(device) ? device.info : device)
  }
  return found
}

/** Floating-point operations per second that training reached on each device, and seconds until its first step, on two cores of a server CPU (LOG.md); of `webgpu` what a small GPU may reach. */
const measured: Readonly<Record<string, Omit<Rate, "device">>> = {
  // Of an adapter that runs on the processor it is far too much.
  webgpu: { flops: 1e12, prepare: { training: 4, other: 2 } },
  cpu: { flops: 150e9, prepare: { training: 4, other: 1.5 } },
  tfjs: { flops: 20e9, prepare: { training: 0.5, other: 0.2 } },
  reference: { flops: 0.4e9, prepare: { training: 0, other: 0 } },
}

/** For estimates before a run: about how fast a device is that can be used here. */
export function deviceRate(device: string): Rate {
  return { device, ...(measured[device] ?? { flops: 1e9, prepare: { training: 10, other: 5 } }) }
}
