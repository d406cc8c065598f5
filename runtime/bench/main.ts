/**
 * `npm run bench [-- A|B|products|generation|overhead|webgpu] [--precision f32|bf16] [--seconds N] [--rounds N] [--skip-tfjs] [--skip-torch] [--only "A int4"] [--json FILE]`: training steps of two settings on the devices of this machine and on
 * PyTorch, in turns, so that all of them meet the same moods of the machine, and ours again beside a process that spins on one core; products alone; generation; and what keys and locks take. Medians and ratios.
 * `webgpu [--rows N] [--depth N]`, only where asked for: TensorFlow.js on the same GPU.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import type { Factors } from "../../compiler/graph/node.ts"
import type { Device } from "../device.ts"
import { coresAvailable, localFamily } from "../devices/cpu-build.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { openTfjs } from "../devices/tfjs.ts"
import type { Config, Prepared } from "./config.ts"
import { batchOf, configs, firstStates, prepareConfig, recipeOf } from "./config.ts"
import type { PeerSetting } from "./peer.ts"
import { peerSettings, runPeer, threadCounts } from "./peer.ts"
import { runJax } from "./jax.ts"
import type { Peak } from "./peak.ts"
import { measurePeak } from "./peak.ts"
import { measureGeneration } from "./generation.ts"
import { measureOverhead } from "./overhead.ts"
import { measureProducts } from "./products.ts"

/** One way to run a setting; a turn yields milliseconds of steps. */
interface Contender {
  readonly name: string
  readonly detail: string
  /** Milliseconds from the program to a runner with its states. */
  readonly load: number | null
  turn(seconds: number): Promise<readonly number[]>
  close(): void
}

interface Row {
  readonly config: string
  readonly precision: Factors
  readonly contender: string
  readonly detail: string
  readonly steps: number
  readonly median: number
  readonly best: number
  readonly tokensPerSecond: number
  readonly load: number | null
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "4" }, rounds: { type: "string", default: "3" }, json: { type: "string" }, only: { type: "string", default: "" }, precision: { type: "string" }, "skip-tfjs": { type: "boolean", default: false }, "skip-jax": { type: "boolean", default: false }, "skip-torch": { type: "boolean", default: false }, rows: { type: "string", default: "2" }, depth: { type: "string", default: "1" } },
})
const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)]

async function onDevice(device: Device, name: string, prepared: Prepared): Promise<Contender> {
  const states = firstStates(prepared)
  const start = performance.now()
  const runner = await device.load(prepared.step)
  for (const [state, value] of states) await runner.write(state, value)
  const load = performance.now() - start
  let step = 0
  return {
    name, detail: device.info.detail, load, close: () => runner.dispose(),
    async turn(limit) {
      const times: number[] = []
      const end = performance.now() + 1000 * limit
      while (performance.now() < end || times.length < 2) {
        const batch = batchOf(prepared, ++step)
        const begun = performance.now()
        await runner.step(batch)
        times.push(performance.now() - begun)
      }
      return times
    },
  }
}

const neighbour = "busy neighbour,"

/** The same one while a process of its own spins, which takes a core or what the system gives it of one. */
function besideNeighbour(own: Contender): Contender {
  return {
    ...own, name: `${neighbour} ${own.name}`, load: null, close: () => {},
    async turn(limit) {
      // It ends by itself, should this process be ended before it.
      const spinning = spawn(process.execPath, ["-e", `process.stdout.write("spins"); for (const end = Date.now() + ${1000 * limit + 60_000}; Date.now() < end;);`], { stdio: ["ignore", "pipe", "inherit"] })
      await once(spinning.stdout, "data")
      try {
        return await own.turn(limit)
      } finally {
        spinning.kill("SIGKILL")
      }
    },
  }
}

function peerContender(config: Config, setting: PeerSetting): Contender {
  return {
    name: `torch, ${setting.threads} thread${setting.threads === 1 ? "" : "s"}${setting.coreType === null ? "" : `, ${setting.coreType}`}`,
    detail: `${setting.precision === "bf16" ? "autocast to bf16" : "OMP_WAIT_POLICY=PASSIVE"}${setting.coreType === null ? "" : `, OPENBLAS_CORETYPE=${setting.coreType}`}`, load: null, close: () => {},
    async turn(limit) {
      const result = await runPeer(config, setting, limit)
      if (typeof result === "string") {
        console.log(`  skipped: ${result}`)
        return []
      }
      return result.times
    },
  }
}

function jaxContender(config: Config, threads: number): Contender {
  return {
    name: threads === 0 ? "jax-js, as it is on Node" : `jax-js, ${threads} workers`,
    detail: threads === 0 ? "WebAssembly on the calling thread: Node has no Web Workers" : "WebAssembly with Web Workers of a few lines over worker_threads", load: null, close: () => {},
    async turn(limit) {
      const times = await runJax(config, threads, limit)
      if (typeof times !== "string") return times
      console.log(`  skipped: ${times}`)
      return []
    },
  }
}

async function contendersFor(prepared: Prepared, precision: Factors): Promise<readonly Contender[]> {
  const cores = coresAvailable()
  const found: Contender[] = []
  for (const threads of threadCounts(cores)) {
    const device = await openCpu({ threads })
    if (isUsable(device)) found.push(await onDevice(device, `cpu, ${threads} thread${threads === 1 ? "" : "s"}`, prepared))
    else console.log(`  skipped: ${device.reason}`)
  }
  found.push(...found.map(besideNeighbour))
  const tfjs = values["skip-tfjs"] || precision === "bf16" ? null : await openTfjs()
  if (tfjs !== null && isUsable(tfjs)) found.push(await onDevice(tfjs, "tfjs", prepared))
  // A step of A takes it tens of seconds.
  const jax = values["skip-jax"] || precision === "bf16" || prepared.config.name !== "B" ? [] : [0, cores].map((threads) => jaxContender(prepared.config, threads))
  const peers = values["skip-torch"] ? [] : peerSettings(cores, localFamily() === "avx512", precision)
  return [...found, ...jax, ...peers.map((setting) => peerContender(prepared.config, setting))]
}

const middle = (times: readonly number[]): number => [...times].sort((x, y) => x - y)[times.length >> 1] ?? NaN

async function measure(config: Config, precision: Factors): Promise<readonly Row[]> {
  const prepared = prepareConfig(config, recipeOf(config, precision))
  console.log(`\nconfig ${config.name}, ${precision}: ${(prepared.parameters / 1e6).toFixed(2)}M weights, ${config.rows} x ${config.length} tokens a step`)
  const contenders = await contendersFor(prepared, precision)
  const times = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]))
  for (let round = 0; round < rounds; round++) for (const contender of contenders) times.get(contender)?.push(...(await contender.turn(seconds)))
  for (const contender of contenders) contender.close()
  return contenders.flatMap((contender): Row[] => {
    const own = times.get(contender) ?? []
    if (own.length === 0) return []
    return [{
      config: config.name, precision, contender: contender.name, detail: contender.detail, steps: own.length, median: middle(own), best: Math.min(...own),
      tokensPerSecond: (1000 * config.rows * config.length) / middle(own), load: contender.load,
    }]
  })
}

function show(rows: readonly Row[]): void {
  const fastest = (prefix: string): number => Math.max(0, ...rows.filter((row) => row.contender.startsWith(prefix)).map((row) => row.tokensPerSecond))
  for (const row of rows) {
    console.log(`  ${row.contender.padEnd(30)} ${row.tokensPerSecond.toFixed(0).padStart(8)} tokens/s   median ${row.median.toFixed(1)} ms, best ${row.best.toFixed(1)} ms of ${row.steps}${row.load === null ? "" : `, load ${row.load.toFixed(0)} ms`}`)
  }
  const own = rows.filter((row) => row.contender.startsWith("cpu"))
  const best = Math.max(0, ...own.map((row) => row.tokensPerSecond))
  for (const alone of own) {
    const beside = rows.find((row) => row.contender === `${neighbour} ${alone.contender}`)
    if (beside !== undefined) console.log(`  of its speed ${alone.contender} keeps ${(beside.tokensPerSecond / alone.tokensPerSecond).toFixed(2)} beside a process that spins on one core`)
  }
  for (const peer of ["torch", "tfjs", "jax-js"]) {
    const of = rows.filter((row) => row.contender.startsWith(peer))
    if (of.length > 0 && best > 0) console.log(`  ratio to the best of ${peer}: ${(best / fastest(peer)).toFixed(2)}`)
  }
}

const chosen = configs.filter((config) => positionals.length === 0 || positionals.includes(config.name))
const rows: Row[] = []
const peaks: Peak[] = []
const precisions = (["f32", "bf16"] as const).filter((precision) => values.precision === undefined || values.precision === precision)
for (const config of chosen) for (const precision of precisions) {
  const measured = await measure(config, precision)
  show(measured)
  rows.push(...measured)
  peaks.push(...await measurePeak(config, precision, coresAvailable()))
}
const wants = (part: string): boolean => positionals.length === 0 || positionals.includes(part)
const products = wants("products") ? await measureProducts() : { rates: [], sums: [] }
const generation = wants("generation") ? await measureGeneration(values.only) : []
// The other backend takes this process for a browser's page, so that it comes after all others.
const webgpu = positionals.includes("webgpu") ? await (await import("./webgpu.ts")).measureWebgpu(Number(values.rows), Number(values.depth)) : null
if (wants("overhead")) console.log("\nkeys and locks of the quickstart, CPU time of a fresh process, the quickest of five")
const overhead = wants("overhead") ? await measureOverhead(5) : {}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine: cpus()[0]?.model ?? "", cores: coresAvailable(), rows, peaks, products, generation, overhead, webgpu }, null, 2)}\n`)
