import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node, NodeOf, Program } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { optimise } from "../../compiler/transform/pipeline.ts"
import type { HostTensor } from "../device.ts"
import { DeviceFailure } from "../device.ts"
import type { ConformanceCase } from "./conformance.ts"
import { checkDevice, conformanceCases, difference, runCase } from "./conformance.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { checkMerged, merged } from "./cpu-testing.ts"
import { createReference } from "./reference.ts"
import { driverHelp } from "./webgpu-adapter.ts"
import { dawnPackage, softwareGpu } from "./webgpu-testing.ts"
import { openWebgpu } from "./webgpu.ts"

// One device for all of them: shaders that they share are compiled once.
const device = await softwareGpu()
const plain = (): readonly ConformanceCase[] => conformanceCases().filter((item) => item.batches.length === 1 && Object.keys(item.state).length === 0)
const f32 = (shape: readonly number[], data: Iterable<number>): HostTensor => ({ shape, dtype: "f32", data: Float32Array.from(data) })

function programOf(inputs: readonly Node[], outputs: Readonly<Record<string, Node>>): Program {
  return { name: "test", inputs: inputs as readonly NodeOf<"input">[], outputs: Object.entries(outputs).map(([name, node]) => ({ name, node })) }
}

if (device !== null) {
  test("every op and every gradient agrees with the reference, and a second time with itself", async () => {
    assert.equal(await checkMerged(device, createReference(), plain()), [])
    assert.equal(await runCase(device, merged(plain())), await runCase(device, merged(plain())))
  })

  test("training steps agree with the reference, and two runs give the same bits", async () => {
    const cases = conformanceCases("training")
    assert.equal(await checkDevice(device, cases), [])
    for (const item of cases) assert.equal(await runCase(device, item), await runCase(device, item))
  })

  test("products of odd sizes in every storage, with what follows them", async () => {
    const b = createBuilder()
    const inputs: Node[] = []
    const batch: Record<string, HostTensor> = {}
    const input = (...shape: number[]): Node => {
      const name = `x${inputs.length}`
      batch[name] = f32(shape, Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => Math.sin(i * (inputs.length + 1)) * 0.5))
      inputs.push(b.input(name, "batch", "f32", shape))
      return inputs.at(-1) as Node
    }
    const outputs: Record<string, Node> = {}
    // Tiles of 32, 64 and 128, k in parts, and few rows.
    for (const [m, k, n, storages] of [[67, 131, 97, [0, 1, 2, 3]], [33, 1029, 35, [0, 2]], [1290, 40, 1100, [0]], [1, 257, 131, [0, 1]], [3, 64, 300, [0]]] as const) {
      for (const storage of storages) {
        const [ta, tb] = [storage % 2 === 1, storage > 1]
        const y = g.dot(b, ta ? input(k, m) : input(m, k), tb ? input(n, k) : input(k, n), ta, tb)
        outputs[`${m}x${k}x${n} ${ta} ${tb}`] = g.geluTanh(b, g.add(b, y, g.broadcastTo(b, input(n), [m, n])))
        if (m < 100) outputs[`${m}x${k}x${n} ${ta} ${tb} normed`] = g.softmax(b, y)
        outputs[`${m}x${k}x${n} ${ta} ${tb} columns`] = g.sum(b, g.mul(b, y, y), [0])
      }
    }
    const item: ConformanceCase = { name: "products", program: programOf(inputs, outputs), state: {}, batches: [batch], tolerance: { absolute: 2e-5, relative: 1e-4 } }
    assert.equal(await checkDevice(device, [item]), [])
  })
}

/** Sizes that fill no tile, no block and no chunk. */
const odd = { vocab: 67, dim: 40, hidden: 53, depth: 1, heads: 4, kvHeads: 2, batch: 3, time: 37 }

if (device !== null) {
  test("fifty steps of training stay beside the reference", async () => {
    const training = trainingProgram(odd, "momentum", false)
    const [here, there] = [await device.load(optimise(training.program)), await createReference().load(optimise(training.program))]
    for (const runner of [here, there]) for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
    let first = NaN
    for (let step = 0; step < 50; step++) {
      const batch = trainingBatch(odd, step % 4)
      const [got, want] = [(await here.step(batch))["loss"]?.data[0] ?? NaN, (await there.step(batch))["loss"]?.data[0] ?? NaN]
      if (step === 0) first = want
      assert.ok(Math.abs(got - want) < 1e-4 * want, `step ${step}: loss ${got} instead of ${want}`)
      if (step === 49) assert.ok(want < 0.9 * first, `the loss went from ${first} to ${want}`)
    }
    here.dispose()
    there.dispose()
  })

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
    other.close()
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
    assert.match(error.message, /SwiftShader.* was lost: it was closed/)
    assert.match(error.help, /checkpoints and finished stages are kept: run the same command again/)
  })

  test("memory that is not there is a failure that says how much was wanted", async () => {
    const b = createBuilder()
    const x = b.input("x", "state", "f32", [2 ** 22])
    const other = await softwareGpu({ binding: 2 ** 20 })
    const refused = await other?.load(programOf([x], { y: g.sum(b, x) })).then(() => null, (thrown: unknown) => thrown)
    assert.ok(refused instanceof DeviceFailure)
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
  const none = await openWebgpu({ package: "/nowhere/webgpu/index.js" })
  assert.ok("reason" in none && none.reason === "the package webgpu is not installed" && /npm install webgpu/.test(none.help), JSON.stringify(none))
  if (device === null) return
  const wrong = await openWebgpu({ package: await dawnPackage(), software: true, adapter: 7 })
  assert.ok("reason" in wrong && wrong.reason === "there is no adapter 7" && /there is one, webgpu:0: SwiftShader/.test(wrong.help), JSON.stringify(wrong))
  const real = await openWebgpu({ package: await dawnPackage() })
  assert.ok(!("reason" in real) || /processor|loader|no GPU/.test(real.reason))
})

test.after(() => device?.close())
test.run()
