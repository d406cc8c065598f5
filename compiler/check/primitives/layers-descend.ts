import { diagnostic } from "../../../grammar/diagnostic.ts"
import { firstStates, transformed, updated } from "../../graph/lower/optimizer.ts"
import type { Node } from "../../graph/node.ts"
import { fill } from "../../graph/ops.ts"
import type { Machine } from "../machine.ts"
import { tensor } from "../make.ts"
import type { OptimizerValue, Primitive } from "../value.ts"
import { reportRank, requireSize } from "./shape-dims.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, argSpan, converted, lowered, nodeOf, numberOf } from "./tensor-values.ts"

/** descend(optim, p, g, steps, total): p after some updates with the same gradient. */
const descend: Primitive = (args, site, ctx) => {
  const [optim, p, g] = [arg(args, "optim"), arg(args, "p"), arg(args, "g")]
  if (optim.kind !== "optimizer" || p.kind !== "tensor" || g.kind !== "tensor") throw new Error("descend: not an optimiser and two tensors")
  const steps = numberOf(arg(args, "steps"), ctx) ?? 1
  const total = numberOf(arg(args, "total"), ctx) ?? steps
  if (!(steps >= 1) || steps > total) return ctx.report(diagnostic("SLM2107", argSpan(site, "steps"), `${steps} steps of ${total}`))
  if (p.shape.length !== g.shape.length) return reportRank(g.shape, `${p.shape.length}, as \`p\``, "g", site, ctx)
  for (const [i, d] of p.shape.entries()) {
    const mistake = requireSize(g.shape[i] ?? d, d, "g", "the gradient has the shape of the weight", site, ctx)
    if (mistake) return mistake
  }
  const [weight, gradient] = [converted(p, "f32", ctx), converted(g, "f32", ctx)]
  const node = lowered(ctx, () => steppedNode(optim, nodeOf(weight, ctx), nodeOf(gradient, ctx), steps, total, site.span, ctx))
  return tensor("f32", p.shape, node, site.span)
}

function steppedNode(optim: OptimizerValue, p: Node, g: Node, steps: number, total: number, at: Parameters<typeof transformed>[2], m: Machine): Node {
  const b = m.lowering?.builder
  if (b === undefined) throw new Error("descend: no lowering")
  let now = { p, states: firstStates(optim, p, m) }
  for (let step = 1; step <= steps; step++) {
    const [gradient] = transformed(optim, [g], at, m)
    now = updated(optim, now.p, gradient ?? g, now.states, fill(b, step, [], "i32"), total, m)
  }
  return now.p
}

export const descendPrimitives: PrimitiveTable = { descend }
