import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../graph/builder.ts"
import type { Node, NodeOf, Program } from "../graph/node.ts"
import * as g from "../graph/ops.ts"
import { gradients } from "../graph/gradient.ts"
import { optimise } from "../transform/pipeline.ts"
import { fuse } from "./fuse.ts"
import { createMemory, interpretKernels } from "./interpret.ts"
import type { Kernel } from "./ir.ts"
import { planArena } from "./memory.ts"
import type { Ordered } from "./order.ts"
import { orderKernels } from "./order.ts"
import { countKernels, printFusion, printKernels, summarise } from "./print.ts"

function programOf(inputs: readonly Node[], outputs: Readonly<Record<string, Node>>): Program {
  return { name: "test", inputs: inputs as readonly NodeOf<"input">[], outputs: Object.entries(outputs).map(([name, node]) => ({ name, node })) }
}

const kernelsOf = (inputs: readonly Node[], outputs: Readonly<Record<string, Node>>): Ordered => orderKernels(fuse(optimise(programOf(inputs, outputs))))
const kinds = (kernels: readonly Kernel[]): string => kernels.map((kernel) => `${kernel.kind}${kernel.kind === "contract" && kernel.epilogue !== null ? "+rows" : ""}`).join(" ")

const [rows, dim, hidden] = [192, 48, 96]

test("softmax, norms and losses are one kernel each", () => {
  const b = createBuilder()
  const [x, scale] = [b.input("x", "batch", "f32", [rows, dim]), b.input("scale", "batch", "f32", [dim])]
  const labels = b.input("labels", "batch", "i32", [rows])
  assert.is(kinds(kernelsOf([x], { y: g.softmax(b, x) }).kernels), "rows")
  assert.is(kinds(kernelsOf([x, scale], { y: g.layerNorm(b, g.add(b, x, x), scale, scale, 1e-5) }).kernels), "rows")
  assert.is(kinds(kernelsOf([x, labels], { y: g.crossEntropy(b, x, labels) }).kernels), "rows")
})

test("a product takes bias, activation, residual and norm along", () => {
  const b = createBuilder()
  const [x, w, bias] = [b.input("x", "batch", "f32", [rows, hidden]), b.input("w", "batch", "f32", [hidden, dim]), b.input("bias", "batch", "f32", [dim])]
  const residual = b.input("residual", "batch", "f32", [rows, dim])
  const y = g.add(b, residual, g.gelu(b, g.add(b, g.dot(b, x, w), g.broadcastTo(b, bias, [rows, dim]))))
  const { kernels } = kernelsOf([x, w, bias, residual], { y: g.rmsNorm(b, y, bias, 1e-5) })
  assert.is(kinds(kernels), "contract+rows")
  assert.ok(kernels[0]?.kind === "contract" && !kernels[0].keep)
})

test("a product that others read is kept", () => {
  const b = createBuilder()
  const [x, w] = [b.input("x", "batch", "f32", [rows, dim]), b.input("w", "batch", "f32", [dim, dim])]
  const y = g.dot(b, x, w)
  const { kernels } = kernelsOf([x, w], { y, z: g.relu(b, y) })
  assert.is(kinds(kernels), "contract+rows")
  assert.ok(kernels[0]?.kind === "contract" && kernels[0].keep)
})

test("few rows meet all weights in one kernel, however wide they are; many rows, and what is multiplied with results, do not", () => {
  const of = (count: number): Ordered => {
    const b = createBuilder()
    const x = b.input("x", "batch", "f32", [count, dim])
    const weights = [dim, 16, 16, hidden].map((n, i) => b.input(`w${i}`, "state", "f32", [n, dim]))
    const [q, k, v, up] = weights.map((w) => g.dot(b, x, w, false, true)) as [Node, Node, Node, Node]
    return kernelsOf([x, ...weights], { scores: g.mul(b, k, v), gated: g.relu(b, up), own: g.dot(b, x, q, false, true) })
  }
  const few = of(3)
  assert.is(few.kernels.map(({ kind }) => kind).sort().join(" "), "contract rows rows siblings")
  const group = few.kernels.find((kernel) => kernel.kind === "siblings")
  assert.equal(group?.members.map(({ n }) => n), [dim, 16, 16, hidden])
  assert.ok(of(192).kernels.every(({ kind }) => kind !== "siblings"))
})

test("attention reads heads where they lie, and its gradients are one kernel", () => {
  const b = createBuilder()
  const [batch, time, heads] = [2, 32, 4]
  const wide = b.input("x", "batch", "f32", [batch * time, dim])
  const weights = ["q", "k", "v"].map((name) => b.input(name, "state", "f32", [dim, dim]))
  const split = (y: Node): Node => g.permute(b, g.reshape(b, y, [batch, time, heads, dim / heads]), [0, 2, 1, 3])
  const [q, k, v] = weights.map((w) => split(g.dot(b, wide, w)))
  if (!q || !k || !v) throw new Error("three")
  const y = g.reshape(b, g.permute(b, g.attend(b, q, k, v, { causal: true }), [0, 2, 1, 3]), [batch * time, dim])
  const loss = g.sum(b, g.mul(b, y, y))
  const found = gradients(b, loss, weights)
  const { kernels } = kernelsOf([wide, ...weights], Object.fromEntries(found.map((node, i) => [`d${i}`, node])))
  assert.is(kernels.filter((kernel) => kernel.kind === "attend").length, 1)
  assert.is(kernels.filter((kernel) => kernel.kind === "attend_grad").length, 1)
  // 3 products forward and 3 by weights; what is between attention and its gradient (2 y) is the only other kernel.
  assert.is(countKernels(kernels), 9)
})

test("states are replaced in place after their last reader, in the pass that makes their gradient", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [rows, dim])
  const w = b.input("w", "state", "f32", [dim, hidden])
  const m = b.input("m", "state", "f32", [dim, hidden])
  const y = g.dot(b, x, w)
  const [slope] = gradients(b, g.sum(b, g.mul(b, y, y)), [w])
  if (slope === undefined) throw new Error("one")
  const m1 = g.add(b, g.mul(b, m, 0.9), slope)
  const ordered = kernelsOf([x, w, m], { w: g.sub(b, w, g.mul(b, m1, 0.1)), m: m1, loss: g.sum(b, g.mul(b, y, y)) })
  assert.is(ordered.inPlace.size, 2)
  const last = ordered.kernels.at(-1)
  assert.ok(ordered.kernels.some((kernel) => kernel.kind === "contract" && kernel.m === dim && kernel.epilogue !== null && kernel.epilogue.stores.length === 2 && !kernel.keep), kinds(ordered.kernels))
  assert.ok(last !== undefined)
})

test("values that a reader could only get in a circle are not fused", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [rows, rows])
  const y = g.exp(b, x)
  const z = g.add(b, y, g.dot(b, y, y))
  assert.is(kinds(kernelsOf([x], { y, z }).kernels), "rows contract+rows")
})

test("fusion can be printed, and says what it saves", () => {
  const b = createBuilder()
  const [x, w] = [b.input("x", "batch", "f32", [rows, dim]), b.input("w", "batch", "f32", [dim, dim])]
  const program = optimise(programOf([x, w], { y: g.softmax(b, g.gelu(b, g.dot(b, x, w))) }))
  const ordered = orderKernels(fuse(program))
  const { kernels, bytesBefore, bytesAfter } = summarise(program, ordered)
  assert.is(kernels, 1)
  // x and w are read, y is written.
  assert.is(bytesAfter, 4 * (2 * rows * dim + dim * dim))
  assert.ok(bytesBefore > 5 * bytesAfter)
  assert.match(printFusion(program, ordered), /1 kernels; moves 0\.1 MB instead of .*\n {2}dot \[192, 48\] x \[48, 48\].*\(not kept\)\n {4}then rows 192 x 48/)
  assert.match(printKernels(ordered), /sum along j of/)
})

test("buffers that live at different times share memory, others do not", () => {
  const buffer = (id: number, size: number) => ({ id, name: `b${id}`, role: "temp", dtype: "f32", stored: null, size, shape: [size], values: null }) as const
  const lives = [[0, 0, 1], [1, 1, 2], [2, 2, 3], [3, 0, 3]].map(([id = 0, first = 0, last = 0]) => ({ buffer: buffer(id, 100 + id), bytes: 4 * (100 + id), first, last, spans: [{ first, last }] }))
  const { offsets, bytes } = planArena(lives)
  for (const x of lives) for (const y of lives) {
    if (x === y || x.last < y.first || y.last < x.first) continue
    const [a, c] = [offsets.get(x.buffer) ?? 0, offsets.get(y.buffer) ?? 0]
    assert.ok(a + x.bytes <= c || c + y.bytes <= a, `${x.buffer.name} and ${y.buffer.name} overlap`)
  }
  assert.is(bytes, 3 * 448)
})

test("attention whose result is only read rounded stores it rounded, as its readers want it", () => {
  const b = createBuilder()
  const [batch, time, heads] = [2, 32, 4]
  const wide = b.input("x", "batch", "f32", [batch * time, dim])
  const weights = ["q", "k", "v", "out"].map((name) => b.input(name, "state", "f32", [dim, dim]))
  const split = (y: Node): Node => g.permute(b, g.reshape(b, y, [batch, time, heads, dim / heads]), [0, 2, 1, 3])
  const [q, k, v, out] = weights
  if (!q || !k || !v || !out) throw new Error("four")
  const [x, y, z] = [q, k, v].map((w) => split(g.dot(b, wide, w, false, false, "bf16")))
  if (!x || !y || !z) throw new Error("three")
  const attended = b.make("attend", { causal: true, window: null, segmented: false, offset: false, biased: false, scale: 0.25, factors: "bf16" }, [x, y, z]) as Node
  const joined = g.reshape(b, g.permute(b, attended, [0, 2, 1, 3]), [batch * time, dim])
  const program = optimise(programOf([wide, ...weights], { y: g.dot(b, joined, out, false, false, "bf16") }))
  const [held, apart] = [orderKernels(fuse(program, "bf16")), orderKernels(fuse(program))]
  const attend = held.kernels.find((kernel) => kernel.kind === "attend")
  const last = held.kernels.at(-1)
  assert.ok(attend?.kind === "attend" && last?.kind === "contract")
  // Nothing stands between: the product reads rows of bf16 where attention left them.
  assert.equal([last.a.buffer, attend.out.buffer.stored, attend.q.buffer.stored, attend.v.buffer.stored], [attend.out.buffer, "bf16", "bf16", "bf16"])
  assert.equal([last.a.rowStride, last.a.colStride], [dim, 1])
  assert.is(apart.kernels.filter(({ kind }) => kind === "rows").length - held.kernels.filter(({ kind }) => kind === "rows").length, 1)
  // Both ways mean the same numbers.
  const [one, other] = [held, apart].map((ordered) => {
    const memory = createMemory(ordered)
    for (const { buffer } of ordered.inputs) memory.get(buffer)?.set(Array.from({ length: buffer.size }, (_, i) => ((i * 37 + buffer.id * 11) % 101) / 50 - 1))
    interpretKernels(ordered, memory)
    return Array.from(memory.get(ordered.outputs[0]?.buffer ?? attend.out.buffer) ?? [])
  })
  assert.ok((one?.length ?? 0) === batch * time * dim && one?.some((number) => number !== 0))
  assert.equal(one, other)
})

test.run()
