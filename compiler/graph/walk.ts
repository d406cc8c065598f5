import type { Builder } from "./builder.ts"
import type { Node, NodeOf, Op } from "./node.ts"

/**
 * All nodes that the roots need, inputs before users (ascending id). The roots must come from one builder. `known` nodes and
 * what only they need are left out.
 */
export function reachable(roots: readonly Node[], known: ReadonlyMap<Node, unknown> = new Map()): Node[] {
  const seen = new Set<Node>(roots.filter((node) => !known.has(node)))
  const pending = [...seen]
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    for (const input of node.inputs) {
      if (seen.has(input) || known.has(input)) continue
      seen.add(input)
      pending.push(input)
    }
  }
  return [...seen].sort((x, y) => x.id - y.id)
}

function remake<O extends Op>(b: Builder, node: NodeOf<O>, inputs: readonly Node[]): NodeOf<O> {
  return b.make(node.op, node.args, inputs, node.note)
}

/** The same node over other inputs, with its note. */
export function copy(b: Builder, node: Node, inputs: readonly Node[]): Node {
  return remake(b, node, inputs) as Node
}
