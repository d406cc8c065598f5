/**
 * A program in two: what depends on none of the inputs that change from call to call is computed once, and its results are states of the rest.
 *
 *   (read inputs, weights) -> once.…      (once.…, other inputs, weights) -> outputs
 */
import { sha256 } from "../plan/sha256.ts"
import { bodyKey, createBuilder } from "./builder.ts"
import type { Node, NodeOf, Program } from "./node.ts"
import { copy, reachable } from "./walk.ts"
import { image, rewriteInto } from "./rewrite.ts"

/** Whatever the first program yields is a state of the second, by the same name; what it rounds is stored so there. */
export interface InTwo {
  readonly once: Program
  readonly rest: Program
}

/** `reads`: inputs that stay the same; `tables`: nodes that are worth keeping though they depend on weights alone. */
export function inTwo(program: Program, reads: ReadonlySet<string>, tables: readonly Node[]): InTwo {
  const nodes = reachable(program.outputs.map(({ node }) => node))
  const kept = new Set(tables)
  const changing = new Set<Node>()
  const worth = new Set<Node>()
  for (const node of nodes) {
    if (node.inputs.some((input) => changing.has(input)) || (node.op === "input" && node.args.role !== "state" && !reads.has(node.args.name)) || isCache(node)) changing.add(node)
    else if (kept.has(node) || (node.op === "input" && reads.has(node.args.name)) || node.inputs.some((input) => worth.has(input))) worth.add(node)
  }
  const borders = [...new Set(nodes.filter((node) => changing.has(node)).flatMap(({ inputs }) => inputs.filter((input) => worth.has(input))))]
  return { once: programOf(`${program.name}, once`, borders), rest: behind(program, borders) }
}

const isCache = (node: Node): boolean => node.op === "input" && node.args.role === "state" && node.args.name.startsWith("cache.")
/** By its meaning, so that programs that differ in the rest alone take the same states. */
const nameOf = (node: Node): string => `once.${sha256(bodyKey({ inputs: [], outputs: [node] })).slice(0, 12)}`

function programOf(name: string, results: readonly Node[]): Program {
  const b = createBuilder()
  const known = rewriteInto(b, results, (to, node, inputs) => copy(to, node, inputs))
  const outputs = results.map((node) => ({ name: nameOf(node), node: image(known, node) }))
  return { name, inputs: inputsOf(outputs.map(({ node }) => node)), outputs }
}

function behind(program: Program, borders: readonly Node[]): Program {
  const b = createBuilder()
  const known = new Map(borders.map((node): [Node, Node] => [node, b.input(nameOf(node), "state", node.dtype, node.shape, node.op === "narrow" ? node.args.format : undefined)]))
  rewriteInto(b, program.outputs.map(({ node }) => node), (to, node, inputs) => copy(to, node, inputs), known)
  const outputs = program.outputs.map(({ name, node }) => ({ name, node: image(known, node) }))
  return { name: program.name, inputs: inputsOf(outputs.map(({ node }) => node)), outputs }
}

function inputsOf(roots: readonly Node[]): readonly NodeOf<"input">[] {
  return reachable(roots).filter((node) => node.op === "input")
}
