import { test } from "uvu"
import * as assert from "uvu/assert"
import { softwareGpu } from "../devices/webgpu-testing.ts"
import { fiftySteps, tolerance } from "./gpu-steps.ts"

const device = await softwareGpu()

if (device !== null) test("fifty steps of config B agree with the reference, and begin with the same bits a second time", async () => {
  const { found, wanted, worst, same } = await fiftySteps(device)
  assert.ok(worst < tolerance, `the losses differ by up to ${worst} of their value`)
  assert.ok(same)
  // It learns something: otherwise equal losses would show nothing of the updates.
  const mean = (values: readonly number[]): number => values.reduce((x, y) => x + y, 0) / values.length
  assert.is(found.length, 50)
  assert.ok(mean(wanted.slice(-5)) < 0.95 * mean(wanted.slice(0, 5)), `${mean(wanted.slice(0, 5))} became ${mean(wanted.slice(-5))}`)
})

test.after(() => device?.close())
test.run()
