import { test } from "uvu"
import * as assert from "uvu/assert"
import { cost } from "../../compiler/plan/cost.ts"
import { countDispatches, isRefused } from "../../compiler/schedule/gpu.ts"
import { workCost } from "../../compiler/schedule/gpu-cost.ts"
import { smallestTarget } from "../../compiler/schedule/gpu-plans.ts"
import { compileGpu } from "../devices/webgpu.ts"
import { configs, prepareConfig } from "./config.ts"

test("a training step of config B takes a quarter of the dispatches and half of the bytes that its ops would alone", () => {
  const config = configs.find(({ name }) => name === "B")
  if (config === undefined) throw new Error("there is no config B")
  const { step } = prepareConfig(config)
  const program = compileGpu(step, { ...smallestTarget, subgroups: true, shared: 32768 })
  if (isRefused(program)) throw new Error(program.refused.limit)
  const before = cost(step)
  const [dispatches, { bytes }] = [countDispatches(program.work), workCost(program.work)]
  assert.ok(4 * dispatches <= before.ops, `${dispatches} dispatches for ${before.ops} ops`)
  assert.ok(2 * bytes <= before.bytes, `${bytes} bytes instead of ${before.bytes}`)
})

test.run()
