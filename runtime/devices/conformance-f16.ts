/** The cases with rounded factors over again, with factors of f16: for devices that have such products. */
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Program } from "../../compiler/graph/node.ts"
import { reachable } from "../../compiler/graph/walk.ts"
import { withFactors } from "../../compiler/transform/factors.ts"
import type { ConformanceCase } from "./conformance.ts"
import { conformanceCases } from "./conformance.ts"

/** A last bit of f16 is 2^-10 of a number; beside it there are the factors of gradients, computed in f32 and then rounded. */
const tolerance: ConformanceCase["tolerance"] = { absolute: 2 ** -10, relative: 2 ** -9 }

function inF16({ name, outputs: given }: Program): Program {
  const nodes = withFactors(createBuilder(), given.map(({ node }) => node), "f16")
  const outputs = nodes.map((node, i) => ({ name: given[i]?.name ?? "", node }))
  return { name, outputs, inputs: reachable(nodes).filter((node) => node.op === "input") }
}

/** Products and attention, and their gradients, of every size and kind that is tested with rounded factors. */
export function casesInF16(): readonly ConformanceCase[] {
  return conformanceCases().filter(({ name }) => name.includes(" bf16 ")).map((item): ConformanceCase => {
    const program = inF16(item.program)
    const needed = new Set(program.inputs.map(({ args }) => args.name))
    return { ...item, name: item.name.replace("bf16", "f16"), program, tolerance, batches: item.batches.map((batch) => Object.fromEntries(Object.entries(batch).filter(([input]) => needed.has(input)))) }
  })
}
