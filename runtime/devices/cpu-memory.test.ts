/** What a program takes is what was planned, and a training that computes values again has the same bits in less. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { openCpu } from "./cpu.ts"
import { isUsable } from "./open.ts"
import type { Device, HostTensor } from "../device.ts"

const sizes = { vocab: 37, dim: 32, hidden: 64, depth: 3, heads: 2, kvHeads: 1, batch: 4, time: 24 }

async function trained(device: Device, most: number | undefined): Promise<{ readonly states: ReadonlyMap<string, HostTensor>; readonly arena: number; readonly again: number }> {
  const training = trainingProgram(sizes, "adamw", false)
  const runner = await device.load(training.program, most)
  const planned = device.memoryOf?.(training.program, most)
  assert.equal(runner.memory, planned)
  for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
  for (let step = 1; step <= 3; step++) await runner.step(trainingBatch(sizes, step))
  const states = new Map<string, HostTensor>()
  for (const { args } of training.program.inputs) if (args.role === "state") states.set(args.name, await runner.read(args.name))
  runner.dispose()
  return { states, arena: runner.memory?.arena ?? 0, again: runner.memory?.again ?? 0 }
}

test("exactly what is planned is allocated; recomputing takes less and changes no bit", async () => {
  const device = await openCpu({ threads: 3 })
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
  const all = await trained(device, undefined)
  assert.is(all.again, 0)
  const least = await trained(device, 0)
  assert.ok(least.again > 0 && least.arena < 0.8 * all.arena, `${least.again} ${least.arena} ${all.arena}`)
  assert.equal(least.states, all.states)
  const some = await trained(device, 0.9 * all.arena)
  assert.ok(some.arena <= 0.9 * all.arena && some.again < least.again, `${some.arena} ${some.again}`)
  assert.equal(some.states, all.states)
})

test.run()
