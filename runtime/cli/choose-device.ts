import type { Device, Unusable } from "../device.ts"
import { deviceNames, openDevice, readDeviceName } from "../devices/open.ts"
import type { Arguments, UsageError } from "./args.ts"
import type { ExitCode } from "./commands.ts"
import { nearest } from "../../grammar/nearest.ts"
import { usage } from "./problem.ts"
import type { Terminal } from "./terminal.ts"

/** What is wrong with the name after `--device`, or null. */
export function wrongDevice(args: Arguments): UsageError | null {
  const name = args.value("device")
  if (name === null || readDeviceName(name) !== null) return null
  if (name.startsWith("webgpu:")) return { message: `there is no adapter ${JSON.stringify(name.slice("webgpu:".length))}`, help: "write webgpu:0, webgpu:1, … as `slm doctor` lists them, or webgpu:software for one that runs on the processor" }
  const close = nearest(name, deviceNames)
  return { message: `there is no device ${JSON.stringify(name)}`, help: close === null ? `devices: ${deviceNames.join(", ")}` : `did you mean ${close}?` }
}

/** The device asked for, or the best usable one; where there is none, why. */
export async function chooseDevice(args: Arguments, terminal: Terminal): Promise<Device | ExitCode> {
  const wrong = wrongDevice(args)
  if (wrong !== null) return usage(terminal, wrong)
  const passed: Unusable[] = []
  const device = await openDevice(args.value("device"), (unusable) => { if (unusable.name === "cpu") passed.push(unusable) })
  if ("load" in device) {
    for (const { name, reason, help } of passed) terminal.error(`${terminal.style("yellow", "warning")}: ${name} cannot be used, ${device.info.name} takes its place: ${reason}\n${terminal.style("cyan", "help")}: ${help}`)
    return device
  }
  for (const { name, reason, help } of device) terminal.error(`${terminal.style("red", "error")}: ${name} cannot be used: ${reason}\n${terminal.style("cyan", "help")}: ${help}`)
  return 1
}
