/** Kernels of more workgroups than one row of the grid may have (65,535): they lie in several rows. One kernel of each kind that can grow so large here. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import * as g from "../../compiler/graph/ops.ts"
import { isRefused, stepsIn } from "../../compiler/schedule/gpu.ts"
import { checkDevice } from "./conformance.ts"
import { waves } from "./device.fixture.ts"
import { softwareGpu } from "./webgpu-testing.ts"
import { compileGpu } from "./webgpu.ts"

const device = await softwareGpu()

if (device !== null) test("products, attention, sums along an axis and single points", async () => {
  const item = waves({ absolute: 2e-6, relative: 1e-6 }, (input, b) => ({
    sums: g.cumsum(b, input(70001, 3), 1),
    products: g.dot(b, input(70001, 1, 2), input(70001, 2, 3)),
    attended: g.attend(b, input(70001, 1, 1, 2), input(70001, 1, 2, 2), input(70001, 1, 2, 2)),
    points: g.iota(b, [256 * 65535 + 300]),
  }))
  const program = compileGpu(item.program, device.target)
  if (isRefused(program)) throw new Error(program.refused.limit)
  const large = stepsIn(program.work).filter(({ workgroups }) => workgroups > 65535).map((step) => step.is)
  assert.equal([...new Set(large)].sort(), ["attend", "axis", "contract", "points"])
  assert.equal(await checkDevice(device, [item]), [])
})

test.after(() => device?.close())
test.run()
