/**
 * Weights that a program only ever rounds to bf16 as states stored in bf16: half the bytes for each token, and the same bits. Products of few
 * rows read them as they lie; where a product packs its factors they are rounded once anyway, and stay as they are.
 */
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node, Program } from "../../compiler/graph/node.ts"
import { image, rewriteInto } from "../../compiler/graph/rewrite.ts"
import { copy, reachable } from "../../compiler/graph/walk.ts"
import { isFew } from "../../compiler/kernel/domain.ts"

/** The program with such states in bf16. */
export function roundedIn(program: Program): Program {
  const nodes = reachable(program.outputs.map(({ node }) => node))
  const others = new Set<Node>(program.outputs.map(({ node }) => node))
  for (const node of nodes) node.inputs.forEach((input, i) => { if (!(i === 1 && readsRounded(node))) others.add(input) })
  const narrow = new Set<Node>(program.inputs.filter((node) => node.args.role === "state" && node.dtype === "f32" && node.args.stored === undefined && !others.has(node)))
  if (narrow.size === 0) return program
  const b = createBuilder()
  const known = new Map<Node, Node>(program.inputs.map((node) => [node, b.input(node.args.name, node.args.role, node.dtype, node.shape, narrow.has(node) ? "bf16" : node.args.stored)]))
  rewriteInto(b, program.outputs.map(({ node }) => node), (builder, node, inputs) => copy(builder, node, inputs), known)
  const outputs = program.outputs.map(({ name, node }) => ({ name, node: image(known, node) }))
  return { name: program.name, outputs, inputs: reachable(outputs.map(({ node }) => node)).filter((node) => node.op === "input") }
}

/** Whether it is a product of few rows that rounds the rows of its second operand. */
function readsRounded(node: Node): boolean {
  return node.op === "dot" && node.args.factors === "bf16" && node.args.tb && !node.args.ta && isFew(node.shape.at(-2) ?? 1) && node.shape.slice(0, -2).every((n) => n === 1)
}
