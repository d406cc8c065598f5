import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { optimise } from "../../compiler/transform/pipeline.ts"
import type { HostTensor } from "../device.ts"
import { DeviceFailure } from "../device.ts"
import type { ConformanceCase } from "./conformance.ts"
import { checkDevice, conformanceCases, difference, runCase } from "./conformance.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { checkMerged, merged } from "./cpu-testing.ts"
import { f32, fiftySteps, odd, plainCases, programOf, tradingPlaces, waves } from "./device.fixture.ts"
import { createReference } from "./reference.ts"
import { keptCase } from "./kept.fixture.ts"
import { storageTypes, storedCase } from "./stored.fixture.ts"
import { driverHelp } from "./webgpu-adapter.ts"
import { dawnPackage, softwareGpu } from "./webgpu-testing.ts"
import { openWebgpu } from "./webgpu.ts"

// One device for all of them: shaders that they share are compiled once.
const device = await softwareGpu()
if (device !== null) {
  test("every op and every gradient agrees with the reference, and a second time with itself", async () => {
    assert.equal(await checkMerged(device, createReference(), plainCases()), [])
    assert.equal(await runCase(device, merged(plainCases())), await runCase(device, merged(plainCases())))
  })

  test("training steps agree with the reference, and two runs give the same bits", async () => {
    const cases = conformanceCases("training")
    assert.equal(await checkDevice(device, cases), [])
    for (const item of cases) assert.equal(await runCase(device, item), await runCase(device, item))
  })

  test("numbers in narrower storage are read where they lie, in products and everywhere else", async () => {
    assert.equal(await checkMerged(device, createReference(), storageTypes.map(storedCase)), [])
    assert.equal(await checkDevice(device, (["f16", "bf16"] as const).map(keptCase)), [])
  })

  test("products of odd sizes in every storage, with what follows them", async () => {
    const item = waves({ absolute: 2e-5, relative: 1e-4 }, (input, b) => {
      const outputs: Record<string, Node> = {}
      // Tiles of 32, 64 and 128, k in parts, few rows, and ones.
      for (const [m, k, n, storages] of [[67, 131, 97, [0, 1, 2, 3]], [33, 1029, 35, [0, 2]], [1290, 40, 1100, [0]], [1, 257, 131, [0, 1]], [3, 64, 300, [0]], [17, 1, 1, [0]], [1, 1, 1, [0]]] as const) {
        for (const storage of storages) {
          const [ta, tb] = [storage % 2 === 1, storage > 1]
          const y = g.dot(b, ta ? input(k, m) : input(m, k), tb ? input(n, k) : input(k, n), ta, tb)
          outputs[`${m}x${k}x${n} ${ta} ${tb}`] = g.geluTanh(b, g.add(b, y, g.broadcastTo(b, input(n), [m, n])))
          if (m < 100) outputs[`${m}x${k}x${n} ${ta} ${tb} normed`] = g.softmax(b, y)
          outputs[`${m}x${k}x${n} ${ta} ${tb} columns`] = g.sum(b, g.mul(b, y, y), [0])
        }
      }
      return outputs
    })
    assert.equal(await checkDevice(device, [item]), [])
  })
}

if (device !== null) {
  test("fifty steps of training stay beside the reference", () => fiftySteps(device))

  test("states that trade places, and one that is also returned", () => tradingPlaces(device))

  test("without subgroups rows are reduced in shared memory, and the arena may lie in parts", async () => {
    const other = await softwareGpu({ subgroups: false, binding: 65536, shared: 16384 })
    if (other === null) throw new Error("the device was there a moment ago")
    const b = createBuilder()
    const inputs = [0, 1, 2, 3].map((i) => b.input(`x${i}`, "batch", "f32", [8, 1500]))
    const [x, y, z, w] = inputs as [Node, Node, Node, Node]
    const program = programOf(inputs, { y: g.softmax(b, g.add(b, x, y)), z: g.sum(b, g.mul(b, z, w), [1]), top: g.sub(b, w, g.broadcastTo(b, g.reshape(b, g.sum(b, w, [0]), [1, 1500]), [8, 1500])) })
    const batch = Object.fromEntries(inputs.map((_, i) => [`x${i}`, f32([8, 1500], Array.from({ length: 12000 }, (__, n) => Math.cos(n * (i + 1))))]))
    const item: ConformanceCase = { name: "parts", program, state: {}, batches: [batch], tolerance: { absolute: 4e-6, relative: 1e-5 } }
    assert.equal(await checkDevice(other, [item]), [])
    const [here, there] = [await runCase(device, item), await runCase(other, item)]
    for (const [name, value] of here) assert.is(difference(there.get(name) as HostTensor, value, item.tolerance), null)
    other.close()
  })
}

if (device !== null) {
  test("steps read back what they return and nothing else", async () => {
    const training = trainingProgram(odd, "momentum", false)
    const runner = await device.load(training.program)
    for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
    const before = { ...device.counters }
    for (let step = 0; step < 5; step++) await runner.step(trainingBatch(odd, step))
    assert.is(device.counters.stateReads - before.stateReads, 0)
    assert.is(device.counters.metricReads - before.metricReads, 5)
    assert.is(device.counters.submits - before.submits, 5)
    assert.is(device.counters.pipelines - before.pipelines, 0)
    // Several steps in one go are the same steps, and one read.
    const one = await runner.step(trainingBatch(odd, 9))
    for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
    const again = await runner.steps?.([0, 1, 2, 3, 4, 9].map((step) => trainingBatch(odd, step)))
    assert.equal(again?.at(-1), one)
    assert.is(device.counters.metricReads - before.metricReads, 7)
    runner.dispose()
  })

  test("kernels are timed one by one when that is asked for, and results stay the same", async () => {
    const other = await softwareGpu()
    if (other?.measure === undefined) return console.log("  skipped: the adapter has no timestamp-query")
    const measured = other.measure()
    const b = createBuilder()
    const x = b.input("x", "batch", "f32", [16, 24])
    const item: ConformanceCase = { name: "timed", program: programOf([x], { y: g.softmax(b, g.dot(b, x, x, false, true)) }), state: {}, batches: [0, 1, 2].map((n) => ({ x: f32([16, 24], Array.from({ length: 384 }, (_, i) => Math.sin(i * n))) })), tolerance: { absolute: 4e-6, relative: 1e-5 } }
    assert.equal(await checkDevice(other, [item]), [])
    const kernels = measured()
    assert.equal(kernels.map(({ kernel, dispatches, steps }) => `${kernel.replace(/ .*/, "")} ${dispatches} ${steps}`).sort(), ["contract 3 3", "lines 3 3"])
    assert.ok(kernels.every(({ seconds }) => seconds > 0))
    // A GPU at rest is slow: where there are many steps, later ones count in place of the first.
    const runner = await other.load({ ...item.program, name: "often" })
    const often = (): readonly (readonly [number, number])[] => measured().filter(({ program }) => program === "often").map(({ dispatches, steps }) => [dispatches, steps] as const)
    const [batch] = item.batches
    if (batch === undefined) throw new Error("there is no batch")
    for (let step = 0; step < 32; step++) await runner.step(batch)
    assert.equal(often(), [[8, 8], [8, 8]])
    await runner.step(batch)
    assert.equal(often(), [[1, 1], [1, 1]])
    runner.dispose()
    other.close()
  })

  test("pipelines are compiled side by side, and none while a step waits", async () => {
    const other = await softwareGpu()
    if (other === null) throw new Error("the device was there a moment ago")
    const { gpu } = other
    const compile = gpu.createComputePipelineAsync.bind(gpu)
    let [open, most, all] = [0, 0, 0]
    gpu.createComputePipelineAsync = async (descriptor) => {
      most = Math.max(most, ++open)
      all++
      return compile(descriptor).finally(() => { open-- })
    }
    gpu.createComputePipeline = () => { throw new Error("compiled while somebody waits") }
    const b = createBuilder()
    const x = b.input("x", "batch", "f32", [64, 48])
    const program = programOf([x], { y: g.softmax(b, g.dot(b, x, x, false, true)), z: g.sum(b, x, [0]), v: g.cumsum(b, x, 1), w: g.argmax(b, x, 1) })
    const runner = await other.load(program)
    assert.ok(all >= 5 && most === all, `${most} of ${all} at once`)
    await runner.step({ x: f32([64, 48], Array.from({ length: 3072 }, (_, i) => Math.sin(i))) })
    assert.is(all, other.counters.pipelines)
    assert.is(other.counters.submits, 1)
    other.close()
  })

  test("states go from program to program on the GPU, can be set aside there, and have hashes that tell them apart", async () => {
    const b = createBuilder()
    const [s, x] = [b.input("s", "state", "f32", [3, 5]), b.input("x", "batch", "f32", [3, 5])]
    const adding = programOf([s, x], { s: g.add(b, s, x) })
    const [first, second] = [await device.load(adding), await device.load(adding)]
    const ones = f32([3, 5], Array<number>(15).fill(1))
    await first.write("s", ones)
    await second.write("s", ones)
    const before = { ...device.counters }
    const hash = async (runner: typeof first): Promise<string> => (await runner.hashes?.(["s"]))?.get("s") ?? ""
    const at = await hash(first)
    assert.is(at, await hash(second))
    const kept = await first.keep?.(["s"])
    await first.step({ x: ones })
    assert.is.not(await hash(first), at)
    // What is lent is the value of now; a batch input that was taken holds for one step.
    if (first.lend === undefined || second.take === undefined || kept == null) throw new Error("the device lends states")
    second.take(new Map([["x", first.lend("s")]]))
    await second.step({})
    assert.match(await second.step({}).then(() => "nothing", String), /the batch lacks x/)
    const lent = kept.lent.get("s")
    if (lent === undefined) throw new Error("s was set aside")
    first.take?.(new Map([["s", lent]]))
    assert.is(await hash(first), at)
    assert.is(device.counters.stateReads, before.stateReads)
    assert.equal(await second.read("s"), f32([3, 5], Array<number>(15).fill(3)))
    assert.equal((await kept.read()).get("s"), ones)
    assert.throws(() => second.take?.(new Map([["s", { name: "s", dtype: "f32" as const, shape: [3, 5] }]])), /lent by another device/)
    for (const each of [first, second, kept]) each.dispose()
  })

  test("what another program does before each of several steps stays on the GPU, and only the last program is read", async () => {
    const b = createBuilder()
    const [s, x] = [b.input("s", "state", "f32", [7]), b.input("x", "batch", "f32", [7])]
    const [adding, telling] = [await device.load(programOf([s, x], { s: g.add(b, s, x) })), await device.load(programOf([s], { sum: g.sum(b, s) }))]
    const { lend } = adding
    if (lend === undefined || telling.take === undefined) throw new Error("the device lends states")
    for (const runner of [adding, telling]) await runner.write("s", f32([7], Array<number>(7).fill(0)))
    const before = { ...device.counters }
    // More steps than are read at once, and more of them than are queued without waiting.
    const told = await telling.steps?.(Array.from({ length: 20 }, () => ({})), async (step) => {
      for (const part of [1, 2, 3]) await adding.step({ x: f32([7], Array<number>(7).fill(part * (step + 1))) })
      telling.take?.(new Map([["s", lend("s")]]))
    })
    // 7 * (1 + 2 + 3) for each step so far.
    assert.equal(told?.map(({ sum }) => sum?.data[0]), Array.from({ length: 20 }, (_, step) => 21 * (step + 1) * (step + 2)))
    assert.is(device.counters.metricReads - before.metricReads, 2)
    assert.is(device.counters.stateReads, before.stateReads)
    assert.is(device.counters.submits - before.submits, 80)
    for (const runner of [adding, telling]) runner.dispose()
  })

  test("values that are computed again change no bit", async () => {
    const { program, parameters } = trainingProgram(odd, "momentum", true)
    const item: ConformanceCase = { name: "again", program: optimise(program), state: trainingState({ program, parameters }), batches: [0, 1].map((step) => trainingBatch(odd, step)), tolerance: { absolute: 0, relative: 0 } }
    const all = device.memoryOf?.(item.program).arena ?? NaN
    const results = []
    for (const most of [undefined, Math.floor(0.85 * all), 0]) {
      const { arena, again } = device.memoryOf?.(item.program, most) ?? { arena: NaN, again: NaN }
      assert.ok(most === undefined ? again === 0 : again > 0 && arena < all, `${most}: ${arena} of ${all}, ${again} again`)
      results.push(await runCase({ ...device, load: (given) => device.load(given, most) }, item))
    }
    assert.equal(results[1], results[0])
    assert.equal(results[2], results[0])
  })

  test("a lost device says what is kept", async () => {
    const other = await softwareGpu()
    if (other === null) throw new Error("the device was there a moment ago")
    const b = createBuilder()
    const x = b.input("x", "batch", "f32", [4])
    const runner = await other.load(programOf([x], { y: g.exp(b, x) }))
    await runner.step({ x: f32([4], [1, 2, 3, 4]) })
    other.gpu.destroy()
    const error = await runner.step({ x: f32([4], [1, 2, 3, 4]) }).then(() => null, (thrown: unknown) => thrown)
    assert.ok(error instanceof DeviceFailure, String(error))
    assert.ok(error.message.startsWith(`${other.adapter.name} was lost: it was closed`), error.message)
    assert.match(error.help, /checkpoints and finished stages are kept: run the same command again/)
  })

  test("memory that is not there is a failure that says how much was wanted", async () => {
    const b = createBuilder()
    const x = b.input("x", "state", "f32", [2 ** 22])
    const other = await softwareGpu({ binding: 2 ** 20 })
    const refused = await other?.load(programOf([x], { y: g.sum(b, x) })).then(() => null, (thrown: unknown) => thrown)
    assert.ok(refused instanceof DeviceFailure)
    // What a step returns must fit into one buffer.
    const narrow = await softwareGpu({ buffer: 4096 })
    const z = b.input("z", "batch", "f32", [2048])
    const returned = await narrow?.load(programOf([z], { y: g.exp(b, z) })).then(() => null, (thrown: unknown) => thrown)
    assert.ok(returned instanceof DeviceFailure && returned.message === "test returns 8192 bytes and the adapter's maxBufferSize is 4096", String(returned))
    narrow?.close()
    assert.is(refused.message, "x, [4194304], needs 16777216 and the adapter's maxStorageBufferBindingSize is 1048576")
    other?.close()
    // Beyond what the adapter really has: the arena is one part of more than its largest buffer.
    const lying = await softwareGpu({ binding: 2 ** 33 })
    const y = Array.from({ length: 3 }, (_, i) => b.input(`y${i}`, "state", "f32", [2 ** 27]))
    const full = await lying?.load(programOf(y, { z: y.map((s) => g.sum(b, s)).reduce((p, q) => g.add(b, p, q)) })).then(() => null, (thrown: unknown) => thrown)
    assert.ok(full instanceof DeviceFailure)
    assert.match(full.message, /has no room for the 1611 MB of test/)
    lying?.close()
  })
}

test("drivers are explained for each system", () => {
  assert.match(driverHelp("linux"), /libvulkan1 mesa-vulkan-drivers/)
  assert.match(driverHelp("darwin"), /Metal/)
  assert.match(driverHelp("win32"), /Direct3D 12/)
})

test("without the package, and for an adapter that does not exist, the device says what to do", async () => {
  // Where no GPU is either, that comes first: installing a package would not help.
  const none = await openWebgpu({ package: "/nowhere/webgpu/index.js", software: true })
  assert.ok("reason" in none && none.reason === "the package webgpu is not installed" && /npm install webgpu/.test(none.help), JSON.stringify(none))
  if (device === null) return
  const wrong = await openWebgpu({ package: await dawnPackage(), software: true, adapter: 7 })
  assert.ok("reason" in wrong && wrong.reason === "there is no adapter 7" && wrong.help.includes(device.adapter.name), JSON.stringify(wrong))
  const real = await openWebgpu({ package: await dawnPackage() })
  assert.ok(!("reason" in real) || /processor|loader|no GPU/.test(real.reason))
})

test.after(() => device?.close())
test.run()
