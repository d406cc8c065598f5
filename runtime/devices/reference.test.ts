import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import * as g from "../../compiler/graph/ops.ts"
import { decompose } from "../../compiler/graph/composite.ts"
import { optimise } from "../../compiler/transform/pipeline.ts"
import type { Device, HostTensor } from "../device.ts"
import { checkDevice, conformanceCases, difference, runCase } from "./conformance.ts"
import type { ModelSizes } from "./conformance-training.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { createReference } from "./reference.ts"

function tensor(values: readonly number[], shape: readonly number[]): HostTensor {
  return { shape, dtype: "f32", data: Float32Array.from(values) }
}

/** total' = total + x; returns twice the new total. */
function accumulator(): Parameters<Device["load"]>[0] {
  const b = createBuilder()
  const [total, x] = [b.input("total", "state", "f32", [2]), b.input("x", "batch", "f32", [2])]
  const next = g.add(b, total, x)
  return { name: "accumulator", inputs: [total, x], outputs: [{ name: "total", node: next }, { name: "twice", node: g.mul(b, next, 2) }, { name: "echo", node: x }] }
}

test("states stay on the device, other outputs are returned", async () => {
  const runner = await createReference().load(accumulator())
  await runner.write("total", tensor([1, 2], [2]))
  const x = tensor([10, 20], [2])
  const first = await runner.step({ x })
  assert.equal(Object.keys(first).sort(), ["echo", "twice"])
  assert.equal([...(first["twice"]?.data ?? [])], [22, 44])
  const second = await runner.step({ x })
  assert.equal([...(second["twice"]?.data ?? [])], [42, 84])
  assert.equal([...(await runner.read("total")).data], [21, 42])
})

test("what the caller holds and what the device holds are separate", async () => {
  const runner = await createReference().load(accumulator())
  const start = tensor([1, 2], [2])
  await runner.write("total", start)
  start.data[0] = 99
  const read = await runner.read("total")
  read.data[1] = 77
  const x = tensor([0, 0], [2])
  const { echo } = await runner.step({ x })
  if (!echo) throw new Error()
  echo.data[0] = 55
  assert.is(x.data[0], 0)
  assert.equal([...(await runner.read("total")).data], [1, 2])
})

test("mistakes name the program's inputs", async () => {
  const runner = await createReference().load(accumulator())
  const fails = async (act: () => Promise<unknown>, message: RegExp): Promise<void> => {
    let caught = ""
    await act().catch((error: unknown) => (caught = String(error)))
    assert.match(caught, message)
  }
  await fails(() => runner.read("total"), /state total was never set/)
  await fails(() => runner.write("x", tensor([1], [1])), /accumulator has no state input x/)
  await fails(() => runner.write("total", tensor([1], [1])), /total is f32\[1\] instead of f32\[2\]/)
  await fails(() => runner.step({ x: tensor([1, 2], [2]) }), /input total is not given/)
  await runner.write("total", tensor([1, 2], [2]))
  await fails(() => runner.step({}), /input x is not given/)
  await fails(() => runner.step({ x: tensor([1, 2], [2]), y: tensor([1], [1]) }), /no batch input y/)
})

test("f64 keeps its state in double precision", async () => {
  const total = async (device: Device): Promise<number> => {
    const runner = await device.load(accumulator())
    await runner.write("total", tensor([1, 0], [2]))
    for (let i = 0; i < 10; i++) await runner.step({ x: tensor([1e-8, 0], [2]) })
    return (await runner.read("total")).data[0] ?? 0
  }
  assert.is(await total(createReference({ precision: "f32" })), 1)
  assert.is(await total(createReference({ precision: "f64" })), Math.fround(1 + 1e-7))
})

test("f32 and f64 agree on every case within its tolerance", async () => {
  assert.equal(await checkDevice(createReference({ precision: "f64" }), conformanceCases()), [])
})

test("every case gives the same bits after the passes, and after decomposition and the passes", async () => {
  const device = createReference()
  for (const item of conformanceCases()) {
    const before = await runCase(device, item)
    for (const program of [optimise(item.program), optimise(decompose(item.program))]) {
      const after = await runCase(device, { ...item, program })
      for (const [name, want] of before) {
        const got = after.get(name)
        assert.is(got && difference(got, want, { absolute: 0, relative: 0 }), null, `${item.name}: ${name}`)
      }
    }
  }
})

test("a device that is wrong somewhere is found out, with the place", async () => {
  const honest = createReference()
  const liar: Device = {
    info: honest.info,
    async load(program) {
      const runner = await honest.load(program)
      return {
        ...runner,
        async step(batch) {
          const results = await runner.step(batch)
          for (const result of Object.values(results)) if (result.data.length > 3) result.data[3] = (result.data[3] ?? 0) * 1.001 + 0.01
          return results
        },
      }
    },
  }
  const [failure] = await checkDevice(liar, conformanceCases("exp 0"))
  assert.match(failure?.message ?? "", /differs at element 3 .*exp/)
  const broken: Device = { info: honest.info, load: async () => { throw new Error("no such kernel") } }
  assert.equal(await checkDevice(broken, conformanceCases("exp 0")), [{ name: "exp 0", message: "no such kernel" }])
})

test("difference tells shape, dtype, NaN and tolerance apart", () => {
  const x = tensor([1, 2], [2])
  const loose = { absolute: 0.1, relative: 0 }
  assert.is(difference(tensor([1.05, 2], [2]), x, loose), null)
  assert.match(difference(tensor([1.05, 2.5], [2]), x, loose) ?? "", /element 1/)
  assert.match(difference(tensor([NaN, 2], [2]), x, loose) ?? "", /element 0/)
  assert.is(difference(tensor([NaN, 2], [2]), tensor([NaN, 2], [2]), loose), null)
  assert.match(difference(tensor([Infinity, 2], [2]), x, loose) ?? "", /element 0/)
  assert.match(difference(tensor([1, 2], [1, 2]), x, loose) ?? "", /instead of f32\[2\]/)
  assert.match(difference({ shape: [2], dtype: "i32", data: Int32Array.from([1, 2]) }, x, loose) ?? "", /is i32/)
})

test("training lowers the loss on a repeated batch", async () => {
  const sizes: ModelSizes = { vocab: 17, dim: 16, hidden: 24, depth: 1, heads: 4, kvHeads: 2, batch: 2, time: 9 }
  const training = trainingProgram(sizes, "momentum", false)
  const runner = await createReference().load(optimise(training.program))
  for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
  const losses: number[] = []
  for (let i = 0; i < 40; i++) losses.push((await runner.step(trainingBatch(sizes, 0)))["loss"]?.data[0] ?? NaN)
  assert.ok(Math.abs((losses[0] ?? 0) - Math.log(17)) < 0.5, `first loss ${losses[0]}`)
  assert.ok((losses.at(-1) ?? 9) < 0.6 * (losses[0] ?? 0), `last loss ${losses.at(-1)}`)
})

test.run()
