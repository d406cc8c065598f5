import { availableParallelism, totalmem } from "node:os"
import { probeDevices } from "../../devices/open.ts"
import type { Command } from "../commands.ts"
import { bytes } from "../show.ts"
import { version } from "../../version.ts"

export const doctor: Command = async (args, terminal) => {
  const devices = await probeDevices()
  const machine = { slm: version, node: process.version, platform: `${process.platform} ${process.arch}`, cores: availableParallelism(), memory: totalmem() }
  if (args.flag("json")) {
    terminal.line(JSON.stringify({ ...machine, devices }))
    return 0
  }
  terminal.line(`slm ${machine.slm}, Node ${machine.node}, ${machine.platform}, ${machine.cores} cores, ${bytes(machine.memory)}`)
  terminal.line()
  let first = true
  for (const d of devices) {
    if ("reason" in d) {
      terminal.line(`${terminal.style("yellow", "✗")} ${d.name.padEnd(10)} ${d.reason}`)
      terminal.line(`  ${"".padEnd(10)} ${terminal.style("cyan", "to use it")}: ${d.help}`)
      continue
    }
    terminal.line(`${terminal.style("green", "✓")} ${d.name.padEnd(10)} ${d.detail}${first ? "  (default)" : ""}`)
    terminal.line(`  ${"".padEnd(10)} ${terminal.style("dim", `numerics class: ${d.numericsClass}`)}`)
    first = false
  }
  return 0
}
