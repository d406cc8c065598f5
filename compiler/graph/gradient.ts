/** Reverse-mode differentiation, graph to graph. */
import type { Builder } from "./builder.ts"
import { decomposeNode } from "./composite.ts"
import { scanGradients } from "./gradient-scan.ts"
import type { GradientFunction } from "./gradients.ts"
import { gradientRules } from "./gradients.ts"
import type { Body, Node, NodeOf, Op } from "./node.ts"
import { size } from "./node.ts"
import * as g from "./ops.ts"
import { reachable } from "./walk.ts"

/**
 * Gradients of `loss` (f32, one element) by each node of `wrt` (f32), as nodes of the builder the loss was made with.
 * A node on which the loss does not depend smoothly gets zeros.
 */
export function gradients(b: Builder, loss: Node, wrt: readonly Node[]): Node[] {
  if (loss.dtype !== "f32" || size(loss.shape) !== 1) throw new Error(`gradient: the loss is ${loss.dtype}[${loss.shape.join(", ")}], not one f32`)
  const found = backward(b, [[loss, g.fill(b, 1, loss.shape)]], wrt)
  return wrt.map((node, i) => found[i] ?? g.zerosLike(b, node))
}

/** A value and the gradient that arrives at it. */
export type Seed = readonly [value: Node, upstream: Node]

/**
 * Products of the seeds' gradients with the derivatives by `wrt`; null where there is no smooth path. With `cut`, the nodes
 * of `wrt` count as independent of one another: nothing flows on through them.
 */
export function backward(b: Builder, seeds: readonly Seed[], wrt: readonly Node[], cut = false): (Node | null)[] {
  for (const node of wrt) if (node.dtype !== "f32") throw new Error(`gradient: %${node.id} (${node.op}) is ${node.dtype}; only f32 has gradients`)
  const order = reachable(seeds.map(([value]) => value))
  const active = activeNodes(order, wrt)
  const upstream = new Map<Node, Node>()
  const leaves = new Set(cut ? wrt : [])

  function arrive(node: Node, gradient: Node | null | undefined): void {
    if (!gradient || !active.has(node)) return
    const before = upstream.get(node)
    upstream.set(node, before === undefined ? gradient : g.add(b, before, gradient))
  }

  for (const [value, gradient] of seeds) arrive(value, gradient)
  const loops = loopGroups(order.filter((node) => active.has(node)))
  for (const node of order.reverse()) {
    if (!active.has(node) || leaves.has(node)) continue
    b.at(node.note, () => {
      if (node.op === "scan") return passLoop(b, loops.get(node), upstream, active, arrive)
      const u = upstream.get(node)
      if (u !== undefined) passThrough(b, node, u, active).forEach((gradient, i) => arrive(node.inputs[i] ?? node, gradient))
    })
  }
  return wrt.map((node) => upstream.get(node) ?? null)
}

/** The nodes of `order` whose value depends on one of `wrt` in a way that has a gradient. */
function activeNodes(order: readonly Node[], wrt: readonly Node[]): Set<Node> {
  const asked = new Set(wrt)
  const active = new Set<Node>()
  for (const node of order) {
    const depends = gradientRules[node.op] !== "none" && node.dtype === "f32" && node.inputs.some((x) => active.has(x))
    if (depends || asked.has(node)) active.add(node)
  }
  return active
}

/** Gradients by the inputs of one node. */
function passThrough(b: Builder, node: Node, u: Node, active: ReadonlySet<Node>): readonly (Node | null)[] {
  const rule = gradientRules[node.op]
  if (rule === "none" || rule === "loop") return []
  if (rule === "decompose") return throughDecomposition(b, node, u, active)
  return callRule(rule as GradientFunction<Op>, b, node, u, active)
}

function callRule(rule: GradientFunction<Op>, b: Builder, node: Node, u: Node, active: ReadonlySet<Node>): readonly (Node | null)[] {
  return rule({ b, node, y: node, u, wanted: (i) => active.has(node.inputs[i] ?? node) })
}

function throughDecomposition(b: Builder, node: Node, u: Node, active: ReadonlySet<Node>): readonly (Node | null)[] {
  const asked = node.inputs.filter((x) => active.has(x))
  const found = backward(b, [[decomposeNode(b, node, node.inputs), u]], asked, true)
  // An input that is given twice has one gradient, which is to arrive once.
  return node.inputs.map((x, i) => (node.inputs.indexOf(x) === i ? found[asked.indexOf(x)] ?? null : null))
}

/** The outputs of one loop that are used. Each group is handled at its first node, when gradients of all of them have arrived. */
function loopGroups(nodes: readonly Node[]): ReadonlyMap<Node, readonly NodeOf<"scan">[]> {
  const groups: NodeOf<"scan">[][] = []
  const byBody = new Map<Body, NodeOf<"scan">[][]>()
  for (const node of nodes) {
    if (node.op !== "scan") continue
    const candidates = byBody.get(node.args.body) ?? []
    byBody.set(node.args.body, candidates)
    const group = candidates.find(([first]) => first !== undefined && first.inputs.every((x, i) => x === node.inputs[i]))
    if (group === undefined) {
      const fresh = [node]
      candidates.push(fresh)
      groups.push(fresh)
    } else group.push(node)
  }
  return new Map(groups.map((group) => [group[0] as Node, group]))
}

function passLoop(
  b: Builder, group: readonly NodeOf<"scan">[] | undefined, upstream: ReadonlyMap<Node, Node>, active: ReadonlySet<Node>,
  arrive: (node: Node, gradient: Node | null) => void,
): void {
  const first = group?.[0]
  if (group === undefined || first === undefined) return
  const arrived = new Map<number, Node>()
  for (const node of group) {
    const u = upstream.get(node)
    if (u !== undefined) arrived.set(node.args.output, u)
  }
  if (arrived.size === 0) return
  scanGradients(b, first, arrived, (i) => active.has(first.inputs[i] ?? first), backward).forEach((gradient, i) => arrive(first.inputs[i] ?? first, gradient))
}
