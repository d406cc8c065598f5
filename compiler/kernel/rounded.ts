/**
 * Attention whose result is only read rounded stores it rounded. The rounding leaves the graph, and the kernel does it: then nothing stands
 * between attention and those who permute its axes, and the result lies as they read it.
 */
import type { Factors, Node, Program } from "../graph/node.ts"
import { rewriteProgram } from "../graph/rewrite.ts"
import { copy, reachable } from "../graph/walk.ts"
import { inputAt } from "./primitives.ts"
import { chooseStorage, heldIn, readsHeld } from "./storage.ts"

export interface RoundedResults {
  readonly program: Program
  /** Nodes of that program whose kernels round what they store. */
  readonly rounded: ReadonlySet<Node>
}

/** `targets`: what the program must store. */
export function withRoundedResults(program: Program, format: Factors, targets: (program: Program) => readonly Node[]): RoundedResults {
  let dropped = candidates(program, format)
  while (dropped.size > 0) {
    const found = withoutRounding(program, dropped)
    const order = reachable(targets(found.program))
    const held = heldIn(format, order, chooseStorage(order, targets(found.program)), targets(found.program), new Set(found.images.values()))
    const kept = new Set([...dropped].filter((node) => { const image = found.images.get(node); return image !== undefined && held.has(image) }))
    if (kept.size === dropped.size) return { program: found.program, rounded: new Set(found.images.values()) }
    dropped = kept
  }
  return { program, rounded: new Set() }
}

/** Roundings that alone read a result of attention on tiles. */
function candidates(program: Program, format: Factors): ReadonlySet<Node> {
  const order = reachable(program.outputs.map(({ node }) => node))
  const readers = new Map<Node, Node[]>()
  for (const node of order) for (const input of node.inputs) readers.set(input, [...readers.get(input) ?? [], node])
  const outputs = new Set(program.outputs.map(({ node }) => node))
  return new Set(order.filter((node) => {
    if (node.op !== "narrow" || node.args.format !== format || outputs.has(node)) return false
    const of = inputAt(node as Node, 0)
    return (of.op === "attend" || of.op === "attend_grad") && readsHeld(of, format) && !(of.op === "attend_grad" && of.args.wrt === 3) && !outputs.has(of) && readers.get(of)?.length === 1
  }))
}

/** The program without these roundings, and what stands for each of them. */
function withoutRounding(program: Program, dropped: ReadonlySet<Node>): { readonly program: Program; readonly images: ReadonlyMap<Node, Node> } {
  const images = new Map<Node, Node>()
  const rewritten = rewriteProgram(program, (b, node, inputs, original) => {
    const [of] = inputs
    if (!dropped.has(original) || of === undefined) return copy(b, node, inputs)
    images.set(original, of)
    return of
  })
  return { program: rewritten, images }
}
