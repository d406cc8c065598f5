import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import type { Body, Node, NodeOf, Program } from "./node.ts"
import { copy, reachable } from "./walk.ts"

/** What becomes of a node in a new graph, whose inputs are there already. A loop comes with its body rebuilt; `original` has the old one. */
export type Rewrite = (b: Builder, node: Node, inputs: readonly Node[], original: Node) => Node

/**
 * Rebuilds everything that `roots` need in `b`, node by node. `known` maps nodes that are already there (inputs of a
 * body, for one) and receives the rest. Bodies of scans are rebuilt with the same rewrite.
 */
export function rewriteInto(b: Builder, roots: readonly Node[], rewrite: Rewrite, known = new Map<Node, Node>(), bodies = new Map<Body, Body>()): Map<Node, Node> {
  for (const node of reachable(roots, known)) {
    const inputs = node.inputs.map((input) => image(known, input))
    const renewed = node.op === "scan" ? withBody(b, node, inputs, rewriteBody(node.args.body, rewrite, bodies)) : null
    known.set(node, b.at(node.note, () => rewrite(b, renewed ?? node, inputs, node)))
  }
  return known
}

/** Where a node went in the new graph. */
export function image(known: ReadonlyMap<Node, Node>, node: Node): Node {
  const there = known.get(node)
  if (there === undefined) throw new Error(`graph: %${node.id} (${node.op}) was not rebuilt`)
  return there
}

function withBody(b: Builder, node: NodeOf<"scan">, inputs: readonly Node[], body: Body): Node {
  return body === node.args.body ? node : b.make("scan", { ...node.args, body }, inputs, node.note)
}

function rewriteBody(body: Body, rewrite: Rewrite, bodies: Map<Body, Body>): Body {
  const done = bodies.get(body)
  if (done !== undefined) return done
  const inner = createBuilder()
  const known = new Map<Node, Node>(body.inputs.map((node) => [node, copy(inner, node, [])]))
  rewriteInto(inner, body.outputs, rewrite, known, bodies)
  const renewed: Body = { inputs: body.inputs.map((node) => image(known, node)), outputs: body.outputs.map((node) => image(known, node)) }
  bodies.set(body, renewed)
  return renewed
}

/** A program rebuilt in a fresh graph: only what its outputs need is kept, and all its inputs. */
export function rewriteProgram(program: Program, rewrite: Rewrite): Program {
  const b = createBuilder()
  const inputs = program.inputs.map((node) => b.input(node.args.name, node.args.role, node.dtype, node.shape, node.args.stored))
  const known = new Map<Node, Node>(program.inputs.map((node, i) => [node, inputs[i] ?? node]))
  rewriteInto(b, program.outputs.map((output) => output.node), rewrite, known)
  return { name: program.name, inputs, outputs: program.outputs.map(({ name, node }) => ({ name, node: image(known, node) })) }
}
