import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Builder } from "../graph/builder.ts"
import { createBuilder } from "../graph/builder.ts"
import type { Node, NodeOf } from "../graph/node.ts"
import * as g from "../graph/ops.ts"
import { fuse } from "../kernel/fuse.ts"
import { orderKernels } from "../kernel/order.ts"
import { optimise } from "../transform/pipeline.ts"
import { cpuTargets, scheduleCpu } from "./cpu.ts"

/** Waves as text: kernels that follow each other block by block joined by `>`, tails behind `;`. */
function waves(make: (b: Builder, input: (...shape: number[]) => Node) => Readonly<Record<string, Node>>): string {
  const b = createBuilder()
  const inputs: NodeOf<"input">[] = []
  const outputs = make(b, (...shape) => {
    const made = b.input(`x${inputs.length}`, "batch", shape.length === 1 ? "i32" : "f32", shape)
    inputs.push(made)
    return made
  })
  const program = scheduleCpu(orderKernels(fuse(optimise({ name: "test", inputs, outputs: Object.entries(outputs).map(([name, node]) => ({ name, node })) }))), cpuTargets.avx512)
  return program.waves.map((wave) => (wave.is === "loop" ? "loop" : [wave.steps.map((step) => [step, ...step.then ?? []].map(({ kernel }) => kernel.kind).join(">")).join(" "), ...wave.tail.map(({ kernel }) => kernel.kind)].join("; "))).join(" | ")
}

test("what follows a product of few rows place by place runs on each block of its columns", () => {
  for (const m of [1, 3]) assert.is(waves((b, input) => ({ y: g.gelu(b, g.dot(b, input(m, 64), input(64, 1000))) })), "contract>rows")
  assert.is(waves((b, input) => ({ y: g.add(b, input(1, 1000), g.dot(b, input(1, 64), input(64, 1000))) })), "contract>rows")
})

test("what needs more of the product than its own place waits for all of it", () => {
  assert.is(waves((b, input) => ({ y: g.softmax(b, g.dot(b, input(1, 64), input(64, 1000))) })), "contract; rows")
  assert.is(waves((b, input) => ({ y: g.gelu(b, g.permute(b, g.dot(b, input(3, 64), input(64, 1000)), [1, 0])) })), "contract; rows")
  // Two products of one wave: their blocks are not made by the same thread.
  assert.is(waves((b, input) => ({ y: g.mul(b, g.dot(b, input(1, 64), input(64, 1000)), g.dot(b, input(1, 32), input(32, 1000))) })), "contract contract; rows")
})

/** One token for caches of 20 places: its key and value are put there, then attended to. */
const attending = (batch: number, heads: number, groups: number) => (b: Builder, input: (...shape: number[]) => Node): Readonly<Record<string, Node>> => {
  const offset = input(batch)
  const put = (): Node => b.make("put", { axis: 2 }, [input(batch, groups, 20, 16), input(batch, groups, 1, 16), offset])
  return { y: g.attend(b, input(batch, heads, 1, 16), put(), put(), { causal: true, offset }) }
}

test("a head attends to what the same thread put into its caches", () => {
  assert.is(waves(attending(1, 4, 4)), "put>put>attend")
  assert.is(waves(attending(2, 4, 4)), "put>put>attend")
})

test("heads that share keys wait for them", () => {
  assert.is(waves(attending(1, 4, 2)), "put put | attend")
})

test.run()
