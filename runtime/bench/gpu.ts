/**
 * What a real GPU makes of our programs, in a few minutes: `npm run gpu [-- A B --steps N --rows N --skip-ops --dawn TOGGLE]`. Every op and gradient beside the reference (in f16 too, where the
 * adapter has `shader-f16`), equal bits of two runs, training steps of the settings A and B, and what their slowest kernels take.
 * `npm run gpu -- pack FOLDER` writes the same as a folder that needs Node and a driver and nothing else: `node FOLDER/gpu.mjs`.
 * SLM_GPU=software takes an adapter that runs on the processor, to try the script itself.
 */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { Factors } from "../../compiler/graph/node.ts"
import { cost } from "../../compiler/plan/cost.ts"
import { conformanceCases } from "../devices/conformance.ts"
import { casesInF16 } from "../devices/conformance-f16.ts"
import { checkMerged } from "../devices/cpu-testing.ts"
import { createReference } from "../devices/reference.ts"
import { findAdapters, shownHere } from "../devices/webgpu-adapter.ts"
import type { Dawn } from "../devices/webgpu-adapter.ts"
import { dawnPackage } from "../devices/webgpu-testing.ts"
import type { WebgpuDevice, WebgpuOptions } from "../devices/webgpu.ts"
import { openWebgpu } from "../devices/webgpu.ts"
import type { Config, Prepared } from "./config.ts"
import { batchOf, configs, prepareConfig, recipeOf } from "./config.ts"
import { fiftySteps, loaded, lossOf, tolerance } from "./gpu-steps.ts"

const { values, positionals } = parseArgs({ allowPositionals: true, options: { steps: { type: "string" }, rows: { type: "string" }, "skip-ops": { type: "boolean" }, dawn: { type: "string", multiple: true } } })
const beside = fileURLToPath(new URL("webgpu/index.js", import.meta.url))

if (positionals[0] === "pack") await (await import("./gpu-pack.ts")).pack(positionals[1] ?? "dist/gpu", await dawnPackage())
else await tryGpu()
process.exit(process.exitCode ?? 0)

async function tryGpu(): Promise<void> {
  const file = existsSync(beside) ? beside : await dawnPackage()
  // A packed folder has no koffi, with which the loader of Vulkan is looked for; Dawn complains by itself.
  const around = { platform: process.platform, load: async () => (await import(file)) as Dawn, vulkan: () => null, shown: shownHere }
  const options: WebgpuOptions = { package: file, toggles: values.dawn ?? [], ...(file === beside ? { around } : {}) }
  const all = await findAdapters({ ...options, software: true })
  if ("reason" in all) return refuse(all.reason, all.help)
  for (const { name, backend, software, features } of all) console.log(`${name}, ${backend}${software ? ", on the processor" : ""}: ${["subgroups", "shader-f16", "timestamp-query"].filter((feature) => features.includes(feature)).join(", ")}`)
  const device = await openWebgpu({ ...options, software: process.env["SLM_GPU"] === "software" ? "only" : false })
  if ("reason" in device) return refuse(device.reason, device.help)
  console.log(`\n${device.info.numericsClass}`)
  if (values["skip-ops"] !== true) {
    await conforms(device)
    await fifty(device)
  }
  for (const setting of configs.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
    const config = { ...setting, rows: Number(values.rows ?? setting.rows) }
    for (const precision of ["f32", ...(device.target.f16 ? ["f16"] as const : [])] as const) await train(device, config, precision)
  }
  device.close()
}

function refuse(reason: string, help: string): void {
  console.log(`${reason}\n${help}`)
  process.exitCode = 1
}

async function conforms(device: WebgpuDevice): Promise<void> {
  const cases = [...conformanceCases().filter((item) => item.batches.length === 1 && Object.keys(item.state).length === 0), ...(device.target.f16 ? casesInF16() : [])]
  const start = performance.now()
  const failures = await checkMerged(device, createReference(), cases)
  console.log(`${cases.length} cases of ops and gradients beside the reference in ${((performance.now() - start) / 1000).toFixed(1)} s: ${failures.length === 0 ? "all agree" : `${failures.length} differ`}`)
  for (const { name, message } of failures.slice(0, 20)) console.log(`  ${name}: ${message}`)
  if (failures.length > 0) process.exitCode = 1
}

async function fifty(device: WebgpuDevice): Promise<void> {
  const rows = Number(values.rows ?? 1)
  const { found, worst, same } = await fiftySteps(device, rows)
  console.log(`50 steps of B with ${rows} ${rows === 1 ? "row" : "rows"} beside the reference: losses differ by at most ${worst.toExponential(2)} of their value (${tolerance} allowed), ${found[0]?.toFixed(6)} becomes ${found.at(-1)?.toFixed(6)}; two runs ${same ? "give the same bits" : "DIFFER"}`)
  if (!same || !(worst < tolerance)) process.exitCode = 1
}

async function train(device: WebgpuDevice, config: Config, precision: Factors): Promise<void> {
  const prepared = prepareConfig(config, recipeOf(config, precision))
  const tokens = config.rows * config.length
  const start = performance.now()
  const runner = await loaded(device, prepared)
  const batches = Array.from({ length: 16 }, (_, i) => batchOf(prepared, i + 1))
  const first = await runner.steps?.(batches.slice(0, 4)) ?? []
  const ready = performance.now() - start
  const states = prepared.step.inputs.flatMap(({ args }) => (args.role === "state" ? [args.name] : []))
  const again = await loaded(device, prepared)
  await again.steps?.(batches.slice(0, 4))
  const [a, b] = [await runner.hashes?.(states), await again.hashes?.(states)]
  const same = states.every((name) => a?.get(name) === b?.get(name))
  again.dispose()
  const times: number[] = []
  for (let left = Number(values.steps ?? 320); left > 0; left -= batches.length) {
    const from = performance.now()
    await runner.steps?.(batches)
    times.push((performance.now() - from) / batches.length)
  }
  times.sort((x, y) => x - y)
  const ms = times[times.length >> 1] ?? NaN
  console.log(`\n${config.name} ${precision}: ${ms.toFixed(2)} ms a step (best ${(times[0] ?? NaN).toFixed(2)}), ${((1000 * tokens) / ms).toFixed(0)} tokens/s, ${(cost(prepared.step).flops / ms / 1e9).toFixed(2)} TFLOP/s; first steps after ${(ready / 1000).toFixed(1)} s; first loss ${lossOf(first[0]).toFixed(6)}, fourth ${lossOf(first[3]).toFixed(6)}; two runs ${same ? "give the same bits" : "DIFFER"}`)
  if (!same) process.exitCode = 1
  await slowest(device, prepared, async () => void await runner.steps?.(batches))
  runner.dispose()
}

/** What each kernel takes, on a GPU that `warm` has woken: at rest its clock is a fifth of what it is at work. */
async function slowest(device: WebgpuDevice, prepared: Prepared, warm: () => Promise<void>): Promise<void> {
  const measured = device.measure?.()
  if (measured === undefined) return console.log("  no timestamp-query: kernels are not timed")
  const runner = await loaded(device, prepared)
  for (let again = 0; again < 8; again++) await warm()
  for (let step = 1; step <= 4; step++) await runner.step(batchOf(prepared, step))
  runner.dispose()
  const own = measured().filter(({ program }) => program === prepared.step.name)
  const total = own.reduce((sum, { seconds }) => sum + seconds, 0)
  for (const { kernel, note, seconds, dispatches, steps } of own.slice(0, 8)) console.log(`  ${(1e6 * seconds / steps).toFixed(0).padStart(7)} µs ${((100 * seconds) / total).toFixed(0).padStart(3)}%  ${kernel}, ${dispatches / steps} a step${note === "" ? "" : `: ${note}`}`)
}
