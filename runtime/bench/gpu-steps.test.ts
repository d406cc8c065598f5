/** Fifty training steps of config B beside the reference: its model, its optimiser and its rows of 64 tokens, but one row a step instead of twelve. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { HostTensor, Runner } from "../device.ts"
import { createReference } from "../devices/reference.ts"
import { softwareGpu } from "../devices/webgpu-testing.ts"
import { ids } from "../stages/feeds.ts"
import { batchOf, configs, firstStates, prepareConfig } from "./config.ts"

const steps = 50
/** Of the loss: what fifty updates of AdamW make of sums that are added up in another order. SwiftShader stays within 1.6e-6. */
const tolerance = 2e-5

const device = await softwareGpu()

if (device !== null) test("fifty steps of config B agree with the reference, and begin with the same bits a second time", async () => {
  const config = configs.find(({ name }) => name === "B")
  if (config === undefined) throw new Error("there is no config B")
  const prepared = prepareConfig({ ...config, rows: 1 })
  const load = async (on: { load: (program: typeof prepared.step) => Promise<Runner> }): Promise<Runner> => {
    const runner = await on.load(prepared.step)
    for (const [name, value] of firstStates(prepared)) await runner.write(name, value)
    return runner
  }
  const loss = (outputs: Readonly<Record<string, HostTensor>> | undefined): number => (outputs?.["sum.0"]?.data[0] ?? NaN) / (outputs?.["count.0"]?.data[0] ?? NaN)
  // Four rows again and again, so that there is something to learn: they are random.
  const batches = Array.from({ length: steps }, (_, i) => ({ ...batchOf(prepared, 1 + (i % 4)), step: ids([], [i + 1]) }))
  const [gpu, again, reference] = [await load(device), await load(device), await load(createReference())]
  const states = prepared.step.inputs.flatMap(({ args }) => (args.role === "state" ? [args.name] : []))
  const hashes = async (runner: Runner): Promise<ReadonlyMap<string, string>> => await runner.hashes?.(states) ?? new Map()
  const some = await gpu.steps?.(batches.slice(0, 4)) ?? []
  assert.equal(await again.steps?.(batches.slice(0, 4)), some)
  const after = await hashes(gpu)
  assert.is(after.size, states.length)
  assert.equal(await hashes(again), after)
  const found = [...some, ...await gpu.steps?.(batches.slice(4)) ?? []].map(loss)
  const wanted: number[] = []
  for (const batch of batches) wanted.push(loss(await reference.step(batch)))
  const worst = Math.max(...found.map((x, i) => Math.abs(x / (wanted[i] ?? NaN) - 1)))
  assert.ok(found.length === steps && worst < tolerance, `the losses differ by up to ${worst} of their value`)
  // It learns something: otherwise equal losses would show nothing of the updates.
  const mean = (values: readonly number[]): number => values.reduce((x, y) => x + y, 0) / values.length
  assert.ok(mean(wanted.slice(-5)) < 0.95 * mean(wanted.slice(0, 5)), `${mean(wanted.slice(0, 5))} became ${mean(wanted.slice(-5))}`)
  for (const runner of [gpu, again, reference]) runner.dispose()
})

test.after(() => device?.close())
test.run()
