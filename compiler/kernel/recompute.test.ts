import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../graph/builder.ts"
import { gradients } from "../graph/gradient.ts"
import type { NodeOf, Program } from "../graph/node.ts"
import * as g from "../graph/ops.ts"
import { optimise } from "../transform/pipeline.ts"
import { cpuTargets, scheduleCpu, scheduleWithin } from "../schedule/cpu.ts"
import type { CpuProgram } from "../schedule/cpu.ts"
import { fuse } from "./fuse.ts"
import { createMemory, interpretKernels } from "./interpret.ts"
import type { Buffer } from "./ir.ts"
import { bytesOf } from "./ir.ts"
import type { Ordered } from "./order.ts"
import { orderKernels } from "./order.ts"
import { recompute } from "./recompute.ts"
import { trafficOf } from "./traffic.ts"

/** Layers of products with something in between, and a step of gradient descent in place. */
function training(depth: number): Ordered {
  const b = createBuilder()
  const [rows, dim, wide] = [96, 24, 96]
  const x = b.input("x", "batch", "f32", [rows, dim])
  const weights = Array.from({ length: depth }, (_, i) => [b.input(`up${i}`, "state", "f32", [dim, wide]), b.input(`down${i}`, "state", "f32", [wide, dim])] as const)
  let h = x as (typeof b.nodes)[number]
  for (const [up, down] of weights) h = g.add(b, h, g.dot(b, g.gelu(b, g.dot(b, h, up)), down))
  const loss = g.sum(b, g.mul(b, h, h))
  const all = weights.flat()
  const found = gradients(b, loss, all)
  const inputs = [x, ...all] as unknown as readonly NodeOf<"input">[]
  const outputs = [{ name: "loss", node: loss }, ...all.map((w, i) => ({ name: w.args.name, node: g.sub(b, w, g.mul(b, found[i] ?? w, 1e-5)) }))]
  return orderKernels(fuse(optimise({ name: "training", inputs, outputs } satisfies Program)))
}

/** What a step leaves behind. */
function results(program: Ordered): ReadonlyMap<string, readonly number[]> {
  const memory = createMemory(program)
  for (const { name, buffer } of program.inputs) memory.get(buffer)?.forEach((_, i, data) => { data[i] = Math.sin(i * 0.37 + name.length) * 0.3 })
  interpretKernels(program, memory)
  return new Map([...program.outputs, ...program.updates.map(({ state, value }) => ({ name: state.name, buffer: value }))].map(({ name, buffer }) => [name, [...memory.get(buffer) ?? []]]))
}

test("computed again or kept, the numbers are the same", () => {
  const program = training(4)
  const again = recompute(program, 0, 1)
  assert.ok(again.again.size > 0)
  assert.equal(results(again), results(program))
})

test("the arena shrinks as it is asked to, and as few kernels run again as that takes", () => {
  const program = training(6)
  const kept = scheduleCpu(program, cpuTargets.portable)
  const [some, most] = [0.8, 0.6].map((share) => scheduleWithin(program, cpuTargets.portable, share * kept.arena))
  if (some === undefined || most === undefined) throw new Error("two")
  assert.ok(some.arena <= 0.8 * kept.arena && most.arena <= 0.6 * kept.arena, `${kept.arena} ${some.arena} ${most.arena}`)
  assert.ok(0 < some.again && some.again < most.again, `${some.again} ${most.again}`)
  assert.is(scheduleWithin(program, cpuTargets.portable, kept.arena).again, 0)
  assert.equal(scheduleWithin(program, cpuTargets.portable, 0).arena <= most.arena * 1.2, true)
})

/** Which value every place of the arena holds when each kernel begins: as what was written last. */
function clobbered(program: CpuProgram): readonly string[] {
  const wrong: string[] = []
  const holds = new Map<Buffer, boolean>()
  const at = (buffer: Buffer): number => program.offsets.get(buffer) ?? -1
  const overlap = (x: Buffer, y: Buffer): boolean => at(x) < at(y) + bytesOf(y) && at(y) < at(x) + bytesOf(x)
  const temps = [...program.offsets.keys()].filter((buffer) => buffer.role === "temp" && bytesOf(buffer) > 0)
  const inPlace = (x: Buffer, y: Buffer): boolean => at(x) === at(y) && x.size === y.size
  const turns = program.waves.flatMap((wave) => (wave.is === "loop" ? [] : [wave.steps.flatMap((step) => [step, ...step.then ?? []]), ...wave.tail.map((step) => [step])]))
  for (const steps of turns) {
    const kernels = steps.map(({ kernel }) => ({ note: kernel.note, ...kernel.kind === "pack" || kernel.kind === "panels" ? { reads: [kernel.from.buffer], writes: [kernel.to] } : trafficOf(kernel) }))
    for (const { note, reads } of kernels) for (const read of reads) if (read.role === "temp" && holds.get(read) !== true) wrong.push(`${note} reads ${read.name}`)
    for (const { writes } of kernels) for (const written of writes) {
      for (const other of temps) if (other !== written && !inPlace(other, written) && overlap(other, written)) holds.set(other, false)
      holds.set(written, true)
    }
  }
  return wrong
}

test("no value is read after its place was given away", () => {
  const program = training(6)
  for (const share of [1, 0.7, 0.5, 0]) assert.equal(clobbered(scheduleWithin(program, cpuTargets.avx2, share * scheduleCpu(program, cpuTargets.avx2).arena)), [])
})

test.run()
