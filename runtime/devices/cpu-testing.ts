/** Many small programs as one, so that a test compiles C once. */
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node, NodeOf, Output } from "../../compiler/graph/node.ts"
import { image, rewriteInto } from "../../compiler/graph/rewrite.ts"
import { copy } from "../../compiler/graph/walk.ts"
import type { Device, HostTensor } from "../device.ts"
import type { ConformanceCase, Failure } from "./conformance.ts"
import { difference, runCase } from "./conformance.ts"

/** Cases of one batch and no state, side by side in one program; names of case i begin with `i:`. */
export function merged(cases: readonly ConformanceCase[]): ConformanceCase {
  const b = createBuilder()
  const inputs: NodeOf<"input">[] = []
  const outputs: Output[] = []
  const batch: Record<string, HostTensor> = {}
  cases.forEach(({ program, batches, state }, i) => {
    const [given = {}] = batches
    if (batches.length !== 1 || Object.keys(state).length > 0) throw new Error(`merged: ${program.name} has states or several batches`)
    const known = new Map<Node, Node>()
    for (const node of program.inputs) {
      const input = b.input(`${i}:${node.args.name}`, "batch", node.dtype, node.shape, node.args.stored)
      known.set(node, input)
      inputs.push(input)
      const value = given[node.args.name]
      if (value !== undefined) batch[`${i}:${node.args.name}`] = value
    }
    rewriteInto(b, program.outputs.map((output) => output.node), (builder, node, from) => copy(builder, node, from), known)
    for (const { name, node } of program.outputs) outputs.push({ name: `${i}:${name}`, node: image(known, node) })
  })
  return { name: "merged", program: { name: "merged cases", inputs, outputs }, state: {}, batches: [batch], tolerance: { absolute: 0, relative: 0 } }
}

/** Runs the cases as one program on `device` and each alone on `reference`, and reports where they differ. */
export async function checkMerged(device: Device, reference: Device, cases: readonly ConformanceCase[]): Promise<readonly Failure[]> {
  const together = await runCase(device, merged(cases))
  const failures: Failure[] = []
  for (const [i, item] of cases.entries()) {
    for (const [name, want] of await runCase(reference, item)) {
      const got = together.get(name.replace("step 0: ", `step 0: ${i}:`))
      const message = got === undefined ? "is missing" : difference(got, want, item.tolerance)
      if (message !== null) failures.push({ name: item.name, message: `${name} ${message}` })
    }
  }
  return failures
}
