import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../graph/builder.ts"
import type { Node, NodeOf, Program } from "../graph/node.ts"
import * as g from "../graph/ops.ts"
import { fuse } from "../kernel/fuse.ts"
import { orderKernels } from "../kernel/order.ts"
import { optimise } from "../transform/pipeline.ts"
import type { GpuProgram, Refused } from "./gpu.ts"
import { arenaBytes, buffersOf, gpuBytes, isRefused, scheduleGpu, scheduleGpuWithin, stepsIn } from "./gpu.ts"
import type { GpuTarget } from "./gpu-plans.ts"
import { printRoofline } from "./gpu-cost.ts"
import { smallestTarget } from "./gpu-plans.ts"
import { renderWgsl } from "../render/wgsl.ts"

function programOf(inputs: readonly Node[], outputs: Readonly<Record<string, Node>>): Program {
  return { name: "test", inputs: inputs as readonly NodeOf<"input">[], outputs: Object.entries(outputs).map(([name, node]) => ({ name, node })) }
}

const scheduled = (program: Program, limit: Partial<GpuTarget> = {}): GpuProgram | Refused => scheduleGpu(orderKernels(fuse(optimise(program))), { ...smallestTarget, ...limit })

function accepted(program: GpuProgram | Refused): GpuProgram {
  if (isRefused(program)) throw new Error(program.refused.limit)
  return program
}

const kinds = (program: GpuProgram | Refused): string => stepsIn(accepted(program).work).map((step) => step.is).join(" ")

test("what follows a product at its own points stays in its tile; norms do not, and long sums are split", () => {
  const b = createBuilder()
  const [x, w, v] = [b.input("x", "batch", "f32", [512, 64]), b.input("w", "batch", "f32", [64, 128]), b.input("v", "batch", "f32", [4096, 48])]
  assert.is(kinds(scheduled(programOf([x, w], { y: g.gelu(b, g.dot(b, x, w)) }))), "contract")
  assert.is(kinds(scheduled(programOf([x, w], { y: g.softmax(b, g.dot(b, x, w)) }))), "contract lines")
  const long = accepted(scheduled(programOf([v], { y: g.gelu(b, g.dot(b, v, v, true)) })))
  assert.is(kinds(long), "contract points")
  const [first] = stepsIn(long.work)
  assert.ok(first?.is === "contract" && first.plan.way === "tile" && first.plan.split > 8)
})

test("few rows meet several weights in one dispatch, more rows in one for each", () => {
  const of = (rows: number): GpuProgram => {
    const b = createBuilder()
    const x = b.input("x", "batch", "f32", [rows, 64])
    const weights = [64, 16, 100].map((n, i) => b.input(`w${i}`, "state", "f32", [n, 64]))
    return accepted(scheduled(programOf([x, ...weights], Object.fromEntries(weights.map((w, i) => [`y${i}`, g.dot(b, x, w, false, true)])))))
  }
  assert.is(kinds(of(3)), "siblings")
  assert.equal(stepsIn(of(3).work).map(({ workgroups }) => workgroups), [8 + 2 + 13])
  assert.is(kinds(of(8)), "contract contract contract")
})

test("equal layers share their shaders", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [256, 64])
  const weights = [0, 1, 2, 3].map((i) => b.input(`w${i}`, "state", "f32", [64, 64]))
  const y = weights.reduce<Node>((at, w) => g.rmsNorm(b, g.relu(b, g.dot(b, at, w)), g.broadcastTo(b, g.fill(b, 1), [64]), 1e-5), x)
  const rendered = renderWgsl(accepted(scheduled(programOf([x, ...weights], { y }))))
  assert.is(rendered.commands.length, 8)
  // The first layer's norm may have its factors in another order.
  assert.ok(rendered.shaders.length <= 3, String(rendered.shaders.length))
})

test("rows are reduced by subgroups where the adapter has them, and in shared memory where not", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [8, 1500])
  const textFor = (subgroups: boolean): string => renderWgsl(accepted(scheduled(programOf([x], { y: g.softmax(b, x) }), { subgroups }))).shaders.map(({ text }) => text).join("\n")
  assert.match(textFor(true), /^enable subgroups;[^]*subgroupMax[^]*subgroupAdd/)
  assert.not.match(textFor(false), /subgroup/)
  assert.match(textFor(false), /var<workgroup> lanes_f32/)
})

test("where only the total of all rows is wanted no row is summed by itself", () => {
  const b = createBuilder()
  const x = b.input("x", "state", "f32", [512, 96])
  const total = g.sum(b, g.mul(b, x, x))
  const textFor = (outputs: Readonly<Record<string, Node>>): string => renderWgsl(accepted(scheduled(programOf([x], outputs)))).shaders.map(({ text }) => text).find((text) => /slot/.test(text)) ?? ""
  const alone = textFor({ x: g.mul(b, x, 0.5), total })
  assert.match(alone, /sum0 = whole_sum_f32\(sum0/)
  assert.not.match(alone, /across_/)
  // A sum that its row needs too is made once for both.
  const rows = g.sum(b, g.mul(b, x, x), [1])
  assert.match(textFor({ x: g.mul(b, x, g.broadcastTo(b, g.reshape(b, rows, [512, 1]), [512, 96])), total: g.sum(b, rows) }), /a0 = across_sum_f32\(a0[^]*if \(live && lane == 0\) { sum0 = [^]*whole_sum_f32\(sum0/)
})

test("a program that computes values again keeps to fewer bytes, and adds up in the same order", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [64, 96])
  const layers = Array.from({ length: 6 }, (_, i) => b.input(`w${i}`, "state", "f32", [96, 96]))
  const made: Node[] = []
  const y = layers.reduce<Node>((at, w) => { const next = g.softmax(b, g.dot(b, at, w)); made.push(next); return next }, x)
  // Read backwards in the end: all of them wait.
  const program = programOf([x, ...layers], { y: [...made].reverse().reduce<Node>((sum, each) => g.softmax(b, g.dot(b, g.dot(b, sum, each, false, true), each)), y) })
  const ordered = orderKernels(fuse(optimise(program)))
  const whole = accepted(scheduleGpuWithin(ordered, smallestTarget, Infinity))
  const less = accepted(scheduleGpuWithin(ordered, smallestTarget, 0.8 * arenaBytes(whole)))
  assert.is(whole.again, 0)
  assert.ok(less.again > 0 && arenaBytes(less) < arenaBytes(whole), `${less.again} again, ${arenaBytes(less)} of ${arenaBytes(whole)}`)
  const plansOf = (given: GpuProgram): ReadonlySet<string> => new Set(stepsIn(given.work).flatMap((step) => (step.is === "lines" ? [`${step.plan.lanes} ${step.plan.slots}`] : [])))
  assert.equal([...plansOf(less)].sort(), [...plansOf(whole)].sort())
})

test("the arena lies in parts that a binding can cover, and no tensor lies across two", () => {
  const b = createBuilder()
  const states = Array.from({ length: 9 }, (_, i) => b.input(`s${i}`, "state", "f32", [1000 + i]))
  const program = accepted(scheduled(programOf(states, Object.fromEntries(states.map((s, i) => [`y${i}`, g.sum(b, s)]))), { binding: 16384 }))
  assert.ok(program.parts.length > 2)
  assert.ok(program.parts.every((bytes) => bytes <= 16384))
  for (const step of stepsIn(program.work)) for (const buffer of buffersOf(step)) {
    const place = program.places.get(buffer)
    assert.ok(place !== undefined && 4 * place.offset + gpuBytes(buffer) <= (program.parts[place.part] ?? 0), buffer.name)
  }
})

test("the roofline says of each kernel what would limit a GPU: arithmetic, memory or the launch", () => {
  const b = createBuilder()
  const [x, y, z] = [b.input("x", "batch", "f32", [1024, 1024]), b.input("y", "batch", "f32", [2048, 2048]), b.input("z", "batch", "f32", [8, 8])]
  const text = printRoofline(accepted(scheduled(programOf([x, y, z], { product: g.dot(b, x, x), sum: g.add(b, y, 1), small: g.mul(b, z, 2) }))))
  const [header, ...lines] = text.split("\n")
  // 2 * 1024^3 and some, and no byte more than what is read and written.
  assert.match(header ?? "", /^test: 2\.15 GFLOP, 41\.9 MB$/)
  const line = (kind: RegExp): string => lines.find((each) => kind.test(each)) ?? ""
  assert.match(line(/^ {2}contract/), /2\.15 GFLOP +8\.4 MB +256\.0 FLOP\/B {2}597 µs arithmetic \| 74 µs arithmetic \| 42 µs arithmetic/)
  assert.match(line(/4\.2 MFLOP/), /^ {2}points .* 33\.6 MB .* 336 µs memory \| 67 µs memory \| 17 µs memory/)
  assert.match(line(/0\.5 kB/), /4 µs launch \| 4 µs launch \| 4 µs launch/)
  assert.is(lines.filter((each) => /at best .* ms a step/.test(each)).length, 3)
})

test("what an adapter cannot hold is refused with the limit's name", () => {
  const b = createBuilder()
  const x = b.input("table", "state", "f32", [100, 100])
  const many = Array.from({ length: 40 }, (_, i) => b.input(`s${i}`, "state", "f32", [4000]))
  const q = b.input("q", "batch", "f32", [1, 1, 4, 4096])
  const refusal = (program: GpuProgram | Refused): string => (isRefused(program) ? `${program.refused.limit}: ${program.refused.what} ${program.refused.needs} > ${program.refused.has}` : "none")
  assert.is(refusal(scheduled(programOf([x], { y: g.sum(b, x) }), { binding: 32768 })), "maxStorageBufferBindingSize: table, [100, 100], 40000 > 32768")
  assert.match(refusal(scheduled(programOf(many, Object.fromEntries(many.map((s, i) => [`y${i}`, g.sum(b, s)]))), { binding: 16384 })), /^maxStorageBuffersPerShaderStage: test takes \d+ parts of memory/)
  assert.match(refusal(scheduled(programOf([q], { y: g.attend(b, q, q, q, { causal: true }) }))), /^maxComputeWorkgroupStorageSize: attention over heads of 4096 and 4096 numbers/)
})

test.run()
