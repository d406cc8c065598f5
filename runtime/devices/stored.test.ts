import { test } from "uvu"
import * as assert from "uvu/assert"
import { createMemory, interpretKernels } from "../../compiler/kernel/interpret.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import { asPlain } from "../device.ts"
import { checkDevice, difference, runCase } from "./conformance.ts"
import { checkMerged } from "./cpu-testing.ts"
import { localFamily } from "./cpu-build.ts"
import { openCpu } from "./cpu.ts"
import { isUsable } from "./open.ts"
import { createReference } from "./reference.ts"
import { storageTypes, storedCase } from "./stored.fixture.ts"
import { openTfjs } from "./tfjs.ts"

const cases = storageTypes.map(storedCase)

test("kernels over numbers in narrower storage mean what the graph means", async () => {
  for (const item of cases) {
    const fused = orderKernels(fuse(item.program))
    const memory = createMemory(fused)
    for (const { name, buffer } of fused.inputs) {
      const feed = item.batches[0]?.[name]
      if (feed !== undefined) memory.get(buffer)?.set(asPlain(feed).data)
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
})

const families = ["avx512", "avx2", "portable"] as const
for (const family of families) {
  test(`the ${family} program reads numbers in narrower storage as the reference does`, async () => {
    if (family !== "portable" && !families.slice(0, families.indexOf(family) + 1).some((better) => better === localFamily())) return console.log(`  skipped: this processor has no ${family}`)
    const device = await openCpu({ family })
    if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
    assert.equal(await checkMerged(device, createReference(), cases), [])
  })
}

test("tfjs takes packed numbers and keeps them wide", async () => {
  const device = await openTfjs()
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
  assert.equal(await checkDevice(device, cases.slice(2, 3)), [])
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
