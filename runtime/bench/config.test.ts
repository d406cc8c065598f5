import { test } from "uvu"
import * as assert from "uvu/assert"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import { countKernels, summarise } from "../../compiler/kernel/print.ts"
import { cpuTargets, scheduleCpu } from "../../compiler/schedule/cpu.ts"
import { configs, prepareConfig } from "./config.ts"

for (const config of configs) {
  test(`the training step of config ${config.name} is fused as it was`, () => {
    const prepared = prepareConfig(config)
    const ordered = orderKernels(fuse(prepared.step))
    const { bytesBefore, bytesAfter } = summarise(prepared.step, ordered)
    // By block: 6 products and their 12 gradients less the sum of three, attention and its gradient, 4 norms' sums, 6 norms of gradients.
    assert.is(countKernels(ordered.kernels), 17 + 28 * config.depth)
    assert.ok(bytesAfter < 0.28 * bytesBefore, `${bytesAfter} of ${bytesBefore} bytes`)
    // Every weight and every moment is replaced where it lies.
    assert.is(ordered.inPlace.size, 3 * prepared.lowered.weights.length)
    const gradients = ordered.kernels.filter((kernel) => kernel.kind === "contract" && kernel.epilogue !== null && kernel.epilogue.stores.length === 3)
    assert.is(gradients.length, 6 * config.depth, "each matrix is updated in the pass that makes its gradient")
  })

  test(`no two buffers of config ${config.name} that live together overlap`, () => {
    const { offsets, arena, copies } = scheduleCpu(orderKernels(fuse(prepareConfig(config).step)), cpuTargets.avx512)
    assert.is(copies.length, 0)
    for (const [buffer, offset] of offsets) assert.ok(offset >= 0 && offset + buffer.size * (buffer.dtype === "bool" ? 1 : 4) <= arena)
    const states = [...offsets].filter(([buffer]) => buffer.role === "state").sort((x, y) => x[1] - y[1])
    states.forEach(([buffer, offset], i) => assert.ok(offset + buffer.size * 4 <= (states[i + 1]?.[1] ?? Infinity), buffer.name))
  })
}

test.run()
