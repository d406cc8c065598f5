import { totalmem } from "node:os"
import { coresAvailable, findToolchain } from "../../devices/cpu-build.ts"
import { probeDevices } from "../../devices/open.ts"
import type { Adapter } from "../../devices/webgpu-adapter.ts"
import { findAdapters } from "../../devices/webgpu-adapter.ts"
import type { DeviceInfo, Unusable } from "../../device.ts"
import type { Command } from "../commands.ts"
import { version } from "../../version.ts"
import { bytes } from "../../numbers.ts"
import type { Terminal } from "../terminal.ts"

export const doctor: Command = async (args, terminal) => {
  const machine = { slm: version, node: process.version, platform: `${process.platform} ${process.arch}`, cores: coresAvailable(), memory: totalmem() }
  const compiler = await findCompiler()
  const devices = (await probeDevices()).map(foundDevice)
  const found = await findAdapters({ software: true })
  const adapters = "reason" in found ? [] : found
  if (args.flag("json")) {
    terminal.line(JSON.stringify({ event: "machine", ...machine }))
    terminal.line(JSON.stringify({ event: "compiler", ...plain(compiler) }))
    for (const device of devices) terminal.line(JSON.stringify({ event: "device", ...plain(device) }))
    adapters.forEach(({ name, backend, software, features, limits }, i) => terminal.line(JSON.stringify({ event: "adapter", device: `webgpu:${i}`, name, backend, software, features, limits })))
    return 0
  }
  terminal.line(`slm ${machine.slm}, Node ${machine.node}, ${machine.platform}, ${machine.cores} ${machine.cores === 1 ? "core" : "cores"}, ${bytes(machine.memory)}`)
  terminal.line()
  showDevices(devices, terminal)
  terminal.line()
  show(compiler, "", terminal)
  if (adapters.length > 0) terminal.line()
  adapters.forEach((adapter, i) => showAdapter(adapter, i, terminal))
  return 0
}

export function foundDevice(device: DeviceInfo | Unusable): Found {
  return "reason" in device ? { name: device.name, usable: false, about: device.reason, more: ["to use it", device.help] }
    : { name: device.name, usable: true, about: device.detail, more: ["numerics class", device.numericsClass] }
}

/** The first that can be used is the default. */
export function showDevices(devices: readonly Found[], terminal: Pick<Terminal, "line" | "style">): void {
  const best = devices.find((device) => device.usable)
  for (const device of devices) show(device, device === best ? "  (default)" : "", terminal)
}

/** What generated shaders ask of an adapter. */
const limitNames = [
  ["maxStorageBufferBindingSize", "binding"], ["maxBufferSize", "buffer"], ["maxComputeWorkgroupStorageSize", "shared memory"], ["maxComputeInvocationsPerWorkgroup", "threads of a workgroup"],
  ["maxStorageBuffersPerShaderStage", "bindings"],
] as const
const featureNames = ["subgroups", "shader-f16", "timestamp-query"]

function showAdapter({ name, backend, software, features, limits }: Adapter, number: number, terminal: Terminal): void {
  const sized = (key: string): string => (/Size$/.test(key) ? bytes(limits[key] ?? 0) : String(limits[key] ?? 0))
  const note = (text: string): void => terminal.line(`  ${"".padEnd(10)} ${terminal.style("dim", text)}`)
  terminal.line(`  webgpu:${String(number).padEnd(3)} ${name}, ${backend}${software ? "; runs on the processor, used only when asked for" : ""}`)
  note(`limits: ${limitNames.map(([key, label]) => `${label} ${sized(key)}`).join(", ")}`)
  note(`features: ${featureNames.map((feature) => `${features.includes(feature) ? "" : "no "}${feature}`).join(", ")}`)
}

export interface Found {
  readonly name: string
  readonly usable: boolean
  readonly about: string
  /** A second line: what it is, and text. */
  readonly more: readonly [label: string, text: string] | null
}

/** The C compiler that the `cpu` device builds its programs with. */
async function findCompiler(): Promise<Found> {
  const found = await findToolchain(process.env)
  if ("reason" in found) return { name: "C compiler", usable: false, about: found.reason, more: ["to have one", found.help] }
  return { name: "C compiler", usable: true, about: `${found.command}: ${found.version}`, more: null }
}

function plain({ name, usable, about, more }: Found): Readonly<Record<string, unknown>> {
  return { name, usable, about, ...(more === null ? {} : { [more[0].replaceAll(" ", "_")]: more[1] }) }
}

function show({ name, usable, about, more }: Found, note: string, terminal: Pick<Terminal, "line" | "style">): void {
  terminal.line(`${usable ? terminal.style("green", "✓") : terminal.style("yellow", "✗")} ${name.padEnd(10)} ${about}${note}`)
  if (more !== null) terminal.line(`  ${"".padEnd(10)} ${terminal.style(usable ? "dim" : "cyan", more[0])}: ${more[1]}`)
}
