/** Programs without narrower storage, for targets that have none: the numbers are those of the storage all the same. */
import { createBuilder } from "../graph/builder.ts"
import type { Node, NodeOf, Program } from "../graph/node.ts"
import { image, rewriteInto } from "../graph/rewrite.ts"
import { copy } from "../graph/walk.ts"

function widened(program: Program, of: (input: NodeOf<"input">) => boolean): Program {
  if (!program.inputs.some((input) => input.args.stored !== undefined && of(input))) return program
  const b = createBuilder()
  const inputs = program.inputs.map((input) => b.input(input.args.name, input.args.role, input.dtype, input.shape, of(input) ? undefined : input.args.stored))
  const known = new Map<Node, Node>(program.inputs.map((node, i) => [node, inputs[i] ?? node]))
  rewriteInto(b, program.outputs.map(({ node }) => node), (to, node, given) => copy(to, node, given), known)
  return { name: program.name, inputs, outputs: program.outputs.map(({ name, node }) => ({ name, node: image(known, node) })) }
}

/** All inputs as wide as their dtype. */
export const withoutStorage = (program: Program): Program => widened(program, () => true)

/** Those that the program replaces: where threads that write the two numbers of a word would race. */
export function withWideStates(program: Program): Program {
  const replaced = new Set(program.outputs.map(({ name }) => name))
  return widened(program, ({ args }) => replaced.has(args.name))
}
