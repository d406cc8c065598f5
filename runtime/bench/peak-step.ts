/** One setting's training in a process of its own: `peak-step.ts A f32 THREADS` prints the most memory that the process held, as the system counts it. */
import { readFileSync } from "node:fs"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { batchOf, configs, firstState, prepareConfig, recipeOf } from "./config.ts"

/** MiB. */
function mostHeld(): number {
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? NaN) / 1024
}

const [name, precision, threads] = process.argv.slice(2)
const config = configs.find((candidate) => candidate.name === name)
if (config === undefined) throw new Error(`bench: no config ${name ?? ""}`)
const prepared = prepareConfig(config, recipeOf(config, precision === "bf16" ? "bf16" : "f32"))
const device = await openCpu({ threads: Number(threads) })
if (!isUsable(device)) throw new Error(device.reason)
const before = mostHeld()
const runner = await device.load(prepared.step)
for (const { args } of prepared.step.inputs) if (args.role === "state") await runner.write(args.name, firstState(prepared, args))
for (let step = 1; step <= 5; step++) await runner.step(batchOf(prepared, step))
console.log(JSON.stringify({ idle: before, peak: mostHeld(), arena: (runner.memory?.arena ?? NaN) / 2 ** 20, threads: (runner.memory?.threads ?? NaN) / 2 ** 20 }))
runner.dispose()
