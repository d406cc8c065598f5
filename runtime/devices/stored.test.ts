import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Program } from "../../compiler/graph/node.ts"
import { problems } from "../../compiler/graph/verify.ts"
import { createMemory, interpretKernels } from "../../compiler/kernel/interpret.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { bytesOf } from "../../compiler/kernel/ir.ts"
import type { Ordered } from "../../compiler/kernel/order.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import { asPlain } from "../device.ts"
import type { ConformanceCase } from "./conformance.ts"
import { checkDevice, difference, runCase } from "./conformance.ts"
import { checkMerged } from "./cpu-testing.ts"
import { localFamily } from "./cpu-build.ts"
import { openCpu } from "./cpu.ts"
import { keptCase } from "./kept.fixture.ts"
import { isUsable } from "./open.ts"
import { createReference } from "./reference.ts"
import { storageTypes, storedCase } from "./stored.fixture.ts"
import { openTfjs } from "./tfjs.ts"

const cases = storageTypes.map(storedCase)
const kept = (["f16", "bf16"] as const).map(keptCase)

/** The first step of a case as kernels, beside the graph. */
async function interpreted(item: ConformanceCase, fused: Ordered): Promise<void> {
  const memory = createMemory(fused)
  for (const { name, buffer } of fused.inputs) {
    const given = item.batches[0]?.[name] ?? item.state[name]
    if (given !== undefined) memory.get(buffer)?.set(asPlain(given).data)
  }
  interpretKernels(fused, memory)
  const expected = await runCase(createReference(), item)
  for (const { name, buffer } of fused.outputs) {
    const want = expected.get(`step 0: ${name}`)
    const data = memory.get(buffer)
    assert.ok(want !== undefined && data !== undefined)
    assert.is(difference({ ...want, data }, want, item.tolerance), null, `${item.name}, ${name}`)
  }
}

test("kernels over numbers in narrower storage mean what the graph means", async () => {
  for (const item of cases) await interpreted(item, orderKernels(fuse(item.program)))
})

const families = ["avx512", "avx2", "portable"] as const
for (const family of families) {
  test(`the ${family} program reads numbers in narrower storage as the reference does`, async () => {
    if (family !== "portable" && !families.slice(0, families.indexOf(family) + 1).some((better) => better === localFamily())) return console.log(`  skipped: this processor has no ${family}`)
    const device = await openCpu({ family })
    if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
    assert.equal(await checkMerged(device, createReference(), cases), [])
    assert.equal(await checkDevice(device, kept), [])
  })
}

test("keys and values in 16 bits are read by kernels as the graph says, and take two bytes", async () => {
  for (const [i, item] of kept.entries()) {
    const fused = orderKernels(fuse(item.program))
    assert.is(fused.kernels.filter(({ kind }) => kind === "rows").length, [2, 7][i], "only what is returned or compared is widened, and only queries are rounded")
    assert.is(fused.updates.filter(({ value }) => fused.inPlace.has(value)).length, fused.updates.length - 1, "all are replaced in place but the one that is read beside the new")
    for (const { state, value } of fused.updates) assert.equal([bytesOf(state), bytesOf(value)], [2 * state.size, 2 * state.size])
    await interpreted(item, fused)
  }
})

test("what is kept stays finite where f16 would not be, and keeps infinities and NaN", async () => {
  const on = [createReference(), await openCpu({ threads: 1 }), await openCpu({ threads: 1, family: "portable" })]
  const b = createBuilder()
  const put = b.make("put", { axis: 1, format: "f16" }, [b.input("kept", "state", "f32", [1, 5], "f16"), b.input("fresh", "batch", "f32", [1, 5]), b.input("at", "batch", "i32", [1])])
  const program: Program = { name: "kept", inputs: b.nodes.filter((node) => node.op === "input"), outputs: [{ name: "kept", node: put }] }
  for (const device of on) {
    if (!isUsable(device)) continue
    const runner = await device.load(program)
    await runner.write("kept", { shape: [1, 5], dtype: "f32", stored: "f16", data: new Uint8Array(10) })
    await runner.step({ fresh: { shape: [1, 5], dtype: "f32", data: Float32Array.of(1e5, -65520, Infinity, -Infinity, NaN) }, at: { shape: [1], dtype: "i32", data: Int32Array.of(0) } })
    assert.equal([...asPlain(await runner.read("kept")).data], [65504, -65504, Infinity, -Infinity, NaN], device.info.name)
    runner.dispose()
  }
})

test("a state in narrower storage is replaced by what is rounded to it, and by nothing else", () => {
  const wrong = (format: "f16" | "bf16" | undefined): readonly string[] => {
    const b = createBuilder()
    const put = b.make("put", { axis: 1, ...(format === undefined ? {} : { format }) }, [b.input("kept", "state", "f32", [1, 5], "f16"), b.input("fresh", "batch", "f32", [1, 1]), b.input("at", "batch", "i32", [1])])
    return problems({ name: "kept", inputs: b.nodes.filter((node) => node.op === "input"), outputs: [{ name: "kept", node: put }] })
  }
  assert.equal(wrong("f16"), [])
  for (const format of [undefined, "bf16"] as const) assert.equal(wrong(format), ["state kept is stored as f16 and becomes numbers that may be others"])
})

test("tfjs takes packed numbers and keeps them wide", async () => {
  const device = await openTfjs()
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
  assert.equal(await checkDevice(device, [...cases.slice(2, 3), ...kept]), [])
})

test("a cpu program refuses numbers in another storage than it was made for", async () => {
  const device = await openCpu({ threads: 1 })
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
  const item = storedCase("u4")
  const runner = await device.load(item.program)
  const problem = await runner.step({ ...item.batches[0], x: { shape: [5, 7], dtype: "f32", data: new Float32Array(35) } }).then(() => "nothing", String)
  assert.match(problem, /x is stored as f32 instead of u4/)
  runner.dispose()
})

test.run()
