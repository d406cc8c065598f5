/** What `slm compile --after fusion` says of the training step of setting B, held to numbers: kernels, bytes, and who touches a weight. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Program } from "../../compiler/graph/node.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import type { Buffer, Kernel } from "../../compiler/kernel/ir.ts"
import type { Ordered } from "../../compiler/kernel/order.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import { printFusion, summarise } from "../../compiler/kernel/print.ts"
import { trafficOf } from "../../compiler/kernel/traffic.ts"
import { configs, prepareConfig, recipeOf } from "./config.ts"

const [, b] = configs
if (b === undefined) throw new Error("no setting B")
const plain = prepareConfig(b).step
const clipped = prepareConfig(b, recipeOf(b).replace("{ adamw }", "{ adamw, clip_norm }").replace("weight_decay: 0.1)", "weight_decay: 0.1) |> clip_norm(1.0)")).step

const states = (program: Program): number => program.inputs.filter(({ args }) => args.role === "state").length
const kernelsWith = (ordered: Ordered, test: (traffic: { readonly reads: ReadonlySet<Buffer>; readonly writes: ReadonlySet<Buffer> }) => boolean): readonly Kernel[] => ordered.kernels.filter((kernel) => test(trafficOf(kernel)))

test("kernels and bytes of the step, before and after fusion", () => {
  for (const [program, most] of [[plain, { kernels: 135, bytes: 165e6 }], [clipped, { kernels: 172, bytes: 172e6 }]] as const) {
    const ordered = orderKernels(fuse(program))
    const { ops, kernels, bytesBefore, bytesAfter } = summarise(program, ordered)
    assert.ok(ops > 1000 && kernels <= most.kernels, `${ops} ops in ${kernels} kernels`)
    assert.ok(bytesAfter <= most.bytes && bytesBefore > 3.7 * bytesAfter, `${bytesAfter} bytes instead of ${bytesBefore}`)
    assert.match(printFusion(program, ordered), new RegExp(`: ${ops} ops in ${kernels} kernels; moves ${(bytesAfter / 1e6).toFixed(1)} MB instead of ${(bytesBefore / 1e6).toFixed(1)} MB`))
  }
})

test("the optimiser touches each weight and each of its states once, in place", () => {
  for (const program of [plain, clipped]) {
    const ordered = orderKernels(fuse(program))
    assert.is(ordered.updates.length, states(program))
    assert.is(ordered.inPlace.size, states(program))
    for (const { value } of ordered.updates) assert.is(kernelsWith(ordered, ({ writes }) => writes.has(value)).length, 1)
    // The weight, its moments and their next values are the work of one kernel.
    const updating = new Set(ordered.updates.map(({ value }) => kernelsWith(ordered, ({ writes }) => writes.has(value))[0]))
    assert.is(updating.size, states(program) / 3)
  }
})

test("gradients of matrices are never in memory without clipping; with it they are written once and read once", () => {
  /** Products over all tokens, but for that of the table that is embedding and head at once: two gradients add up there. */
  const products = (ordered: Ordered) => ordered.kernels.flatMap((kernel) => (kernel.kind === "contract" && kernel.k === b.rows * b.length && kernel.m !== b.vocab && kernel.n !== b.vocab ? [kernel] : []))
  const without = products(orderKernels(fuse(plain)))
  assert.is(without.length, 6 * b.depth)
  assert.ok(without.every(({ keep, epilogue }) => !keep && (epilogue?.stores.length ?? 0) >= 3))
  const ordered = orderKernels(fuse(clipped))
  for (const product of products(ordered)) {
    // The norm is taken while the rows are near: what clipping adds is one number for each chunk of them.
    assert.ok(product.keep && product.epilogue !== null && product.epilogue.stores.length === 0 && product.epilogue.columns.length === 1, product.note)
    assert.is(kernelsWith(ordered, ({ reads }) => reads.has(product.out)).length, 1)
  }
})

test.run()
