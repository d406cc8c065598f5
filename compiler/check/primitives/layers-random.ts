import type { Builder } from "../../graph/builder.ts"
import type { Node } from "../../graph/node.ts"
import { size } from "../../graph/node.ts"
import { hash32 } from "../../graph/random.ts"
import * as ops from "../../graph/ops.ts"
import type { Machine } from "../machine.ts"
import { tensor } from "../make.ts"
import type { Primitive } from "../value.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, lowered, nodeOf } from "./tensor-values.ts"

/**
 * Uniform numbers of the shape of `x` for a purpose at the path of the machine: by global sample index where the first axis is the
 * batch, so that they do not depend on how a step is cut into batches.
 */
export function randomNode(b: Builder, x: Node, purpose: string, m: Machine): Node {
  const low = m.lowering
  if (low === null) throw new Error(`${purpose}: no lowering`)
  const { shape } = x
  const stream = freeStream(b, `${purpose}:${m.path}`)
  const perRow = low.rows !== null && low.rows.shape[0] === shape[0] && !isOfWeights(x)
  const rows = perRow && low.rows !== null ? low.rows : ops.fill(b, 0, [1], "i32")
  return ops.reshape(b, b.make("random", { shape: perRow ? shape : [1, size(shape)], stream }, [low.seed, low.step, rows]), shape)
}

/** Whether a tensor depends on weights and on no sample: it may have as many rows as a batch by chance. */
function isOfWeights(x: Node): boolean {
  const seen = new Set<Node>([x])
  const open = [x]
  let weights = false
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (node.op === "input" && node.args.role === "batch" && node.shape.length > 0) return false
    weights ||= node.op === "input" && node.args.role === "state"
    for (const input of node.inputs) {
      if (seen.has(input)) continue
      seen.add(input)
      open.push(input)
    }
  }
  return weights
}

/** The hash of `purpose`, or of `purpose#1`, `purpose#2`, … where the graph has used it: several uses in one path differ. */
function freeStream(b: Builder, purpose: string): number {
  const used = new Set(b.nodes.flatMap((node) => (node.op === "random" ? [node.args.stream] : [])))
  for (let n = 0; ; n++) {
    const stream = hash32(n === 0 ? purpose : `${purpose}#${n}`)
    if (!used.has(stream)) return stream
  }
}

/** random_like(x, purpose): uniform numbers in [0, 1) of the shape of `x`, while training and elsewhere. */
const randomLike: Primitive = (args, site, m) => {
  const [x, purpose] = [arg(args, "x"), arg(args, "purpose")]
  if (x.kind !== "tensor" || purpose.kind !== "string") throw new Error("random_like: not a tensor and a text")
  const node = lowered(m, (b) => {
    if (purpose.value === null) throw new Error("random_like: the purpose is not known")
    return randomNode(b, nodeOf(x, m), `random.${purpose.value}`, m)
  })
  return tensor("f32", x.shape, node, site.span)
}

export const randomPrimitives: PrimitiveTable = { random_like: randomLike }
