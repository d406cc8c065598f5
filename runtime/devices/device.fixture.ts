/** What the tests of several devices ask in the same words. */
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node, NodeOf, Program } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { optimise } from "../../compiler/transform/pipeline.ts"
import type { Device, HostTensor } from "../device.ts"
import type { ConformanceCase } from "./conformance.ts"
import { conformanceCases } from "./conformance.ts"
import type { ModelSizes } from "./conformance-training.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { createReference } from "./reference.ts"

export function f32(shape: readonly number[], data: Iterable<number>): HostTensor {
  return { shape, dtype: "f32", data: Float32Array.from(data) }
}

export function programOf(inputs: readonly Node[], outputs: Readonly<Record<string, Node>>): Program {
  return { name: "test", inputs: inputs as readonly NodeOf<"input">[], outputs: Object.entries(outputs).map(([name, node]) => ({ name, node })) }
}

/** Cases that can be merged into one program. */
export const plainCases = (): readonly ConformanceCase[] => conformanceCases().filter((item) => item.batches.length === 1 && Object.keys(item.state).length === 0)

/** Sizes that fill no tile, no vector, no block and no chunk. */
export const odd: ModelSizes = { vocab: 67, dim: 40, hidden: 53, depth: 1, heads: 4, kvHeads: 2, batch: 3, time: 37 }

export async function fiftySteps(device: Device): Promise<void> {
  const training = trainingProgram(odd, "momentum", false)
  const [here, there] = [await device.load(optimise(training.program)), await createReference().load(optimise(training.program))]
  for (const runner of [here, there]) for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
  let first = NaN
  for (let step = 0; step < 50; step++) {
    const batch = trainingBatch(odd, step % 4)
    const [got, want] = [(await here.step(batch))["loss"]?.data[0] ?? NaN, (await there.step(batch))["loss"]?.data[0] ?? NaN]
    if (step === 0) first = want
    assert.ok(Math.abs(got - want) < 1e-4 * want, `step ${step}: loss ${got} instead of ${want}`)
    if (step === 49) assert.ok(want < 0.9 * first, `the loss went from ${first} to ${want}`)
  }
  here.dispose()
  there.dispose()
}

export async function tradingPlaces(device: Device): Promise<void> {
  const b = createBuilder()
  const [x, y] = [b.input("x", "state", "f32", [2]), b.input("y", "state", "f32", [2])]
  const runner = await device.load(programOf([x, y], { x: y, y: x, seen: x, sum: g.add(b, x, y) }))
  await runner.write("x", f32([2], [1, 2]))
  await runner.write("y", f32([2], [3, 4]))
  assert.equal((await runner.step({}))["seen"], f32([2], [1, 2]))
  assert.equal(await runner.read("x"), f32([2], [3, 4]))
  assert.equal((await runner.step({}))["sum"], f32([2], [4, 6]))
  assert.equal(await runner.read("x"), f32([2], [1, 2]))
  runner.dispose()
}

/** Inputs of one batch, each with waves of its own, and what is made of them. */
export function waves(tolerance: ConformanceCase["tolerance"], body: (input: (...shape: number[]) => Node, b: ReturnType<typeof createBuilder>) => Readonly<Record<string, Node>>): ConformanceCase {
  const b = createBuilder()
  const inputs: Node[] = []
  const batch: Record<string, HostTensor> = {}
  const outputs = body((...shape) => {
    const name = `x${inputs.length}`
    batch[name] = f32(shape, Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => Math.sin(i * (inputs.length + 1)) * 0.5))
    const node: Node = b.input(name, "batch", "f32", shape)
    inputs.push(node)
    return node
  }, b)
  return { name: "products", program: programOf(inputs, outputs), state: {}, batches: [batch], tolerance }
}
