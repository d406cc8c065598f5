/**
 * Training steps on WebGPU beside TensorFlow.js on WebGPU: one process, one GPU device, the same graph, turn by turn. On a software adapter the
 * numbers say how many kernels and bytes each takes, not how fast a GPU would be.
 *
 *     npm run bench -- webgpu [--rows N] [--depth N]     (2 rows and 1 layer of config B if not given)
 */
import { pathToFileURL } from "node:url"
import type { Core } from "../devices/tfjs-backend.ts"
import { engineKernels } from "../devices/tfjs-backend.ts"
import { createDevice } from "../devices/tfjs.ts"
import type { Device, Runner } from "../device.ts"
import { dawnPackage, softwareGpu } from "../devices/webgpu-testing.ts"
import type { WebgpuDevice } from "../devices/webgpu.ts"
import { openWebgpu } from "../devices/webgpu.ts"
import { batchOf, configs, firstStates, prepareConfig } from "./config.ts"

const folder = new URL("./webgpu/", import.meta.url)
const rounds = 5

/** Our tfjs device on the kernels of the WebGPU backend, on the same GPU device. */
async function peerOn({ gpu, adapter }: WebgpuDevice): Promise<Device> {
  await ((await import(new URL("setup.mjs", folder).href)) as { setup(): Promise<void> }).setup()
  const { globals } = (await import(pathToFileURL(await dawnPackage()).href)) as { globals: object }
  Object.assign(globalThis, globals)
  const load = async (name: string): Promise<unknown> => import(new URL(`node_modules/@tensorflow/${name}`, folder).href)
  const withDefault = <M>(module: unknown): M => ((module as { default?: M }).default ?? module) as M
  const core = withDefault<Core>(await load("tfjs-core/dist/tf-core.node.js"))
  const { WebGPUBackend } = withDefault<{ WebGPUBackend: new (device: GPUDevice, info: object) => object }>(await load("tfjs-backend-webgpu/dist/tf-backend-webgpu.node.js"))
  // The backend asks whether this is a browser; the device it gets is ours all the same.
  Object.defineProperty(globalThis, "navigator", { value: { gpu: {} }, configurable: true })
  Object.assign(globalThis, { window: globalThis })
  core.registerBackend("webgpu", () => new WebGPUBackend(gpu, { vendor: adapter.identity }) as never)
  await core.setBackend("webgpu")
  await core.ready()
  return createDevice({ kernels: engineKernels(core), detail: `WebGPU backend ${core.version_core}`, numericsClass: "tfjs/webgpu" })
}

export interface BesideTfjs { readonly device: string; readonly tokens: number; readonly rows: readonly { readonly name: string; readonly median: number; readonly tokensPerSecond: number; readonly first: number; readonly loss: number }[] }

/** A real GPU where there is one, else an adapter that runs on the processor; null without either. */
export async function measureWebgpu(rows: number, depth: number): Promise<BesideTfjs | null> {
  const real = await openWebgpu({ package: await dawnPackage() })
  const ours = "reason" in real ? await softwareGpu() : real
  const base = configs.find(({ name }) => name === "B")
  if (ours === null || base === undefined) return null
  const prepared = prepareConfig({ ...base, rows, depth })
  const tokens = rows * base.length
  const loaded: { readonly name: string; readonly runner: Runner; readonly first: number; readonly times: number[]; loss: number }[] = []
  for (const { name, device } of [{ name: "slm webgpu", device: ours }, { name: "tfjs webgpu", device: await peerOn(ours) }]) {
    const start = performance.now()
    const runner = await device.load(prepared.step)
    for (const [state, value] of firstStates(prepared)) await runner.write(state, value)
    await runner.step(batchOf(prepared, 1))
    loaded.push({ name, runner, first: performance.now() - start, times: [], loss: NaN })
  }
  for (let round = 0; round < rounds; round++) for (const each of loaded) {
    const start = performance.now()
    const out = await each.runner.step(batchOf(prepared, 2 + round))
    each.times.push(performance.now() - start)
    each.loss = out["sum.0"]?.data[0] ?? NaN
  }
  for (const { runner } of loaded) runner.dispose()
  ours.close()
  const result = loaded.map(({ name, first, times, loss }) => {
    const median = [...times].sort((x, y) => x - y)[times.length >> 1] ?? NaN
    return { name, median, tokensPerSecond: (1000 * tokens) / median, first, loss }
  })
  console.log(`\n${ours.info.detail}; config B with ${rows} rows and ${depth} layers, ${tokens} tokens a step`)
  for (const { name, median, tokensPerSecond, first, loss } of result) console.log(`  ${name.padEnd(12)} ${median.toFixed(1)} ms a step (${tokensPerSecond.toFixed(0)} tokens/s), first step after ${(first / 1000).toFixed(1)} s, sum of losses ${loss.toFixed(3)}`)
  return { device: ours.info.detail, tokens, rows: result }
}
