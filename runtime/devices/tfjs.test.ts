import * as core from "@tensorflow/tfjs-core"
import "@tensorflow/tfjs-backend-cpu"
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import * as g from "../../compiler/graph/ops.ts"
import type { Device } from "../device.ts"
import { checkDevice, conformanceCases, runCase } from "./conformance.ts"
import { f32, programOf, tradingPlaces } from "./device.fixture.ts"
import { isUsable } from "./open.ts"
import { engineKernels, openBackend } from "./tfjs-backend.ts"
import type { Kernels } from "./tfjs-backend.ts"
import { createDevice, openTfjs } from "./tfjs.ts"

async function wasm(): Promise<{ device: Device; kernels: Kernels }> {
  const opened = await openBackend("wasm")
  if (!("kernels" in opened)) throw new Error(opened.reason)
  return { device: createDevice(opened), kernels: opened.kernels }
}

test("the WebAssembly backend agrees with the reference on every op, gradient and training step", async () => {
  const { device } = await wasm()
  assert.equal(await checkDevice(device, conformanceCases()), [])
})

test("the rules for other backends agree too, on the plain JavaScript one", async () => {
  await core.setBackend("cpu")
  const device = createDevice({ kernels: engineKernels(core), detail: "", numericsClass: "" })
  assert.equal(await checkDevice(device, conformanceCases()), [])
  await core.setBackend("wasm")
})

test("the device says what it is", async () => {
  const device = await openTfjs({ backend: "wasm" })
  assert.ok(isUsable(device))
  assert.is(device.info.name, "tfjs")
  assert.match(device.info.detail, /^WebAssembly backend \d+\.\d+\.\d+, (no )?SIMD, \d+ threads?$/)
  assert.match(device.info.numericsClass, /^tfjs\/wasm \d+\.\d+\.\d+\/(simd|scalar) \w+\/\d+$/)
})

test("uncaught errors of the process stay what they were", async () => {
  await wasm()
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    assert.equal(process.rawListeners(event).filter((listener) => /ExitStatus|throw reason/.test(String(listener))), [])
  }
})

test("a backend that is not installed is unusable, with a reason and a way out", async () => {
  const device = await openTfjs({ backend: "gpu" })
  if (isUsable(device)) return assert.match(device.info.detail, /tfjs-node-gpu/)
  assert.match(device.reason, /tfjs-node-gpu is not installed/)
  assert.match(device.help, /install/)
})

test("two runs give the same bits", async () => {
  const { device } = await wasm()
  for (const item of conformanceCases("training")) assert.equal(await runCase(device, item), await runCase(device, item))
})

test("memory does not grow from step to step, and all of it is given back", async () => {
  const { device, kernels } = await wasm()
  for (const item of conformanceCases("training")) {
    const before = kernels.count()
    const runner = await device.load(item.program)
    for (const [name, value] of Object.entries(item.state)) await runner.write(name, value)
    const [batch = {}] = item.batches
    await runner.step(batch)
    const [count, bytes] = [kernels.count(), kernels.heap?.module.HEAPU8.length]
    for (let i = 0; i < 50; i++) await runner.step(batch)
    assert.is(kernels.count(), count)
    assert.is(kernels.heap?.module.HEAPU8.length, bytes)
    runner.dispose()
    assert.is(kernels.count(), before)
  }
})

test("no kernel writes outside its tensors", async () => {
  const { device, kernels } = await wasm()
  const module = kernels.heap?.module
  if (module === undefined) throw new Error("no WebAssembly memory")
  const { _malloc: malloc, _free: free } = module
  const margin = 64
  const sizes = new Map<number, number>()
  const damaged: string[] = []
  const mark = (at: number, i: number): number => (at * 31 + i * 7) & 255 // another one for each tensor, so that a copied one is seen
  let running = ""
  module._malloc = (bytes) => {
    const at = malloc(bytes + 2 * margin) + margin
    for (let i = 0; i < margin; i++) module.HEAPU8[at - 1 - i] = module.HEAPU8[at + bytes + i] = mark(at, i)
    sizes.set(at, bytes)
    return at
  }
  module._free = (at) => {
    const bytes = sizes.get(at)
    if (bytes === undefined) return free(at) // from before
    for (let i = 0; i < margin; i++) if (module.HEAPU8[at - 1 - i] !== mark(at, i) || module.HEAPU8[at + bytes + i] !== mark(at, i)) damaged.push(running)
    sizes.delete(at)
    free(at - margin)
  }
  try {
    for (const item of conformanceCases()) {
      running = item.name
      await runCase(device, item)
    }
  } finally {
    Object.assign(module, { _malloc: malloc, _free: free })
  }
  assert.equal([...new Set(damaged)], [])
  assert.is(sizes.size, 0)
})

test("threads change no bits", () => {
  const script = fileURLToPath(new URL("./tfjs-threads.fixture.ts", import.meta.url))
  const run = (threads: number): readonly string[] => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", script, String(threads)], { encoding: "utf8", timeout: 60_000 })
    assert.is(status, 0, stderr.slice(0, 400))
    return stdout.trim().split("\n")
  }
  const [one = [], two = []] = [run(1), run(2)].map((lines) => lines.slice(-2))
  assert.match(one[0] ?? "", /1 thread$/)
  assert.match(two[0] ?? "", /2 threads$/)
  assert.is(one[1], two[1])
})

test("loops give their memory back", async () => {
  const { device, kernels } = await wasm()
  for (const item of conformanceCases("scan")) {
    const before = kernels.count()
    await runCase(device, item)
    assert.is(kernels.count(), before, item.name)
  }
})

test("states that trade places, and one that is also returned", async () => tradingPlaces((await wasm()).device))

test("what depends on a constant state follows a write to it", async () => {
  const { device, kernels } = await wasm()
  const before = kernels.count()
  const b = createBuilder()
  const [w, x] = [b.input("w", "state", "f32", [3, 2]), b.input("x", "batch", "f32", [1, 2])]
  const runner = await device.load(programOf([w, x], { y: g.dot(b, x, g.mul(b, w, 2), false, true) }))
  await runner.write("w", f32([3, 2], [1, 2, 3, 4, 5, 6]))
  const batch = { x: f32([1, 2], [1, 10]) }
  assert.equal((await runner.step(batch))["y"], f32([1, 3], [42, 86, 130]))
  await runner.write("w", f32([3, 2], [0, 1, 0, 1, 0, 1]))
  assert.equal((await runner.step(batch))["y"], f32([1, 3], [20, 20, 20]))
  assert.equal(await runner.read("w"), f32([3, 2], [0, 1, 0, 1, 0, 1]))
  runner.dispose()
  assert.is(kernels.count(), before)
})

test("one tensor may be the right side of products of several shapes", async () => {
  // The kernel keeps a packed copy under the tensor's number alone.
  const { device } = await wasm()
  const b = createBuilder()
  const x = b.input("x", "state", "f32", [4, 6])
  const ones = g.fill(b, 1, [1, 4])
  const flat = g.reshape(b, x, [2, 12])
  const runner = await device.load(programOf([x], {
    wide: g.dot(b, ones, x), tall: g.dot(b, g.fill(b, 1, [1, 2]), flat), columns: g.sum(b, x, [0]), turned: g.dot(b, g.fill(b, 1, [1, 6]), x, false, true),
  }))
  await runner.write("x", f32([4, 6], Array.from({ length: 24 }, (_, i) => i)))
  const out = await runner.step({})
  assert.equal(out["wide"], f32([1, 6], [36, 40, 44, 48, 52, 56]))
  assert.equal(out["columns"], f32([6], [36, 40, 44, 48, 52, 56]))
  assert.equal(out["tall"], f32([1, 12], [12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34]))
  assert.equal(out["turned"], f32([1, 4], [15, 51, 87, 123]))
  runner.dispose()
})

test("sums over any axes of any length", async () => {
  const { device } = await wasm()
  const b = createBuilder()
  const shape = [9, 7, 5]
  const x = b.input("x", "batch", "f32", shape)
  const axes = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]]
  const outputs = Object.fromEntries(axes.map((list) => [list.join(), b.make("sum", { axes: list }, [x])]))
  const long = b.input("long", "batch", "f32", [1501, 3])
  const runner = await device.load(programOf([x, long], { ...outputs, columns: b.make("sum", { axes: [0] }, [long]), all: b.make("sum", { axes: [0, 1] }, [long]) }))
  const at = (i: number, j: number, l: number): number => (i * 7 + j) * 5 + l
  const out = await runner.step({ x: f32(shape, Array.from({ length: 315 }, (_, i) => i)), long: f32([1501, 3], Array.from({ length: 4503 }, () => 0.1)) })
  for (const list of axes) {
    const want = new Map<string, number>()
    for (let i = 0; i < 9; i++) for (let j = 0; j < 7; j++) for (let l = 0; l < 5; l++) {
      const key = [i, j, l].map((n, axis) => (list.includes(axis) ? 0 : n)).join()
      want.set(key, (want.get(key) ?? 0) + at(i, j, l))
    }
    assert.equal([...(out[list.join()]?.data ?? [])], [...want.values()], `axes ${list}`)
  }
  for (const value of out["columns"]?.data ?? []) assert.ok(Math.abs(value - 150.1) < 1e-4, `${value}`)
  assert.ok(Math.abs((out["all"]?.data[0] ?? 0) - 450.3) < 1e-4)
  runner.dispose()
})

test("functions that are composed of other kernels are exact to a few units in the last place", async () => {
  const { device } = await wasm()
  const n = 20001
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [n])
  const below = g.neg(b, g.abs(b, x))
  const runner = await device.load(programOf([x], { tanh: g.tanh(b, x), decay: g.exp(b, below), sign: g.sign(b, x), less: g.cast(b, g.lt(b, x, 0), "f32") }))
  // From -85 to 85, dense around 0: cubes.
  const data = Float32Array.from({ length: n }, (_, i) => 85 * ((2 * i) / (n - 1) - 1) ** 3)
  const out = await runner.step({ x: f32([n], data) })
  runner.dispose()
  const worst = (name: string, want: (x: number) => number): number =>
    data.reduce((most, value, i) => Math.max(most, Math.abs((out[name]?.data[i] ?? NaN) - want(value)) / Math.max(Math.abs(want(value)), 1e-37)), 0)
  assert.ok(worst("tanh", Math.tanh) < 5e-7, `tanh ${worst("tanh", Math.tanh)}`)
  assert.ok(worst("decay", (v) => Math.exp(-Math.abs(v))) < 1e-6, `exp ${worst("decay", (v) => Math.exp(-Math.abs(v)))}`)
  assert.is(worst("sign", Math.sign), 0)
  assert.is(worst("less", (v) => Number(v < 0)), 0)
})

test("wrong calls are refused with the name of the input", async () => {
  const { device } = await wasm()
  const b = createBuilder()
  const [s, x] = [b.input("s", "state", "f32", [2]), b.input("x", "batch", "f32", [2])]
  const runner = await device.load(programOf([s, x], { y: g.add(b, s, x) }))
  const refused = async (call: Promise<unknown>, pattern: RegExp): Promise<void> => {
    try {
      await call
    } catch (error) {
      assert.match(String(error), pattern)
      return
    }
    assert.unreachable(`not refused: ${pattern}`)
  }
  await refused(runner.step({ x: f32([2], [1, 2]) }), /state s was never set/)
  await runner.write("s", f32([2], [1, 2]))
  await refused(runner.step({}), /lacks x/)
  await refused(runner.step({ x: f32([3], [1, 2, 3]) }), /x is f32\[3\] instead of f32\[2\]/)
  await refused(runner.write("x", f32([2], [1, 2])), /no state input x/)
  runner.dispose()
})

test.run()
