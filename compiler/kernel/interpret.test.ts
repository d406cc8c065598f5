import { test } from "uvu"
import * as assert from "uvu/assert"
import { createCaseInputs } from "../graph/case-inputs.ts"
import { createMemory, interpretKernels } from "./interpret.ts"
import { evaluate } from "../graph/interpret.ts"
import type { Op, Program } from "../graph/node.ts"
import { opCases } from "../graph/op-cases.ts"
import { fuse } from "./fuse.ts"
import { orderKernels } from "./order.ts"
import { putRows } from "./put.ts"

/** Kernels of every op's cases against the interpreter of graphs. */
for (const op of Object.keys(opCases) as Op[]) {
  test(`kernels of ${op} mean what the graph means`, () => {
    const { smooth, edge = [] } = opCases[op]
    for (const [number, graph] of [...smooth, ...edge].entries()) {
      const { inputs, feeds, nodes } = createCaseInputs(`${op} ${number}`)
      const outputs = graph(inputs)
      const program: Program = { name: op, inputs: nodes, outputs: outputs.map((node, i) => ({ name: `out${i}`, node })) }
      const fused = orderKernels(fuse(program))
      const memory = createMemory(fused)
      for (const { name, buffer } of fused.inputs) memory.get(buffer)?.set(feeds[name]?.data ?? [])
      interpretKernels(fused, memory)
      const expected = evaluate(outputs, feeds)
      fused.outputs.forEach(({ name, buffer }) => {
        const want = expected[Number(name.slice(3))]?.data ?? []
        const got = memory.get(buffer) ?? []
        assert.is(got.length, want.length)
        const largest = Math.max(1, ...Array.from(want, (x) => (Number.isFinite(x) ? Math.abs(x) : 0)))
        for (let i = 0; i < want.length; i++) {
          const [x = NaN, y = NaN] = [got[i], want[i]]
          assert.ok(Object.is(x, y) || x === y || Math.abs(x - y) <= 4e-6 * largest + 1e-5 * Math.abs(y), `${op} ${number}, ${name}[${i}]: ${x} instead of ${y}`)
        }
      })
    }
  })
}

test("a put over all places means what the kernel of its own means", () => {
  for (const [number, graph] of [...opCases.put.smooth, ...(opCases.put.edge ?? [])].entries()) {
    const { inputs, feeds, nodes } = createCaseInputs(`put ${number}`)
    const program: Program = { name: "put", inputs: nodes, outputs: graph(inputs).map((node, i) => ({ name: `out${i}`, node })) }
    const fused = orderKernels(fuse(program))
    const asRows = { ...fused, kernels: fused.kernels.map((kernel) => (kernel.kind === "put" ? putRows(kernel) : kernel)) }
    assert.ok(fused.kernels.some((kernel) => kernel.kind === "put"))
    const run = (of: typeof fused): readonly unknown[] => {
      const memory = createMemory(of)
      for (const { name, buffer } of of.inputs) memory.get(buffer)?.set(feeds[name]?.data ?? [])
      interpretKernels(of, memory)
      return of.outputs.map(({ buffer }) => memory.get(buffer))
    }
    assert.equal(run(asRows), run(fused))
  }
})

test.run()
