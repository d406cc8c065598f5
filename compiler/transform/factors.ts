/** `precision` of a stage as a rewrite: every product of a forward pass and of its gradients takes rounded factors. */
import type { Builder } from "../graph/builder.ts"
import type { Factors, Node } from "../graph/node.ts"
import { image, rewriteInto } from "../graph/rewrite.ts"
import { copy } from "../graph/walk.ts"

/** The same values with all products (those of attention and of loops included) over factors of that format; f32 leaves all as it is. */
export function withFactors(b: Builder, roots: readonly Node[], factors: Factors): readonly Node[] {
  if (factors === "f32") return roots
  const known = rewriteInto(b, roots, (into, node, inputs) => {
    switch (node.op) {
      case "dot": return into.make("dot", { ...node.args, factors }, inputs) as Node
      case "attend": return into.make("attend", { ...node.args, factors }, inputs) as Node
      case "attend_grad": return into.make("attend_grad", { ...node.args, factors }, inputs) as Node
      default: return copy(into, node, inputs)
    }
  })
  return roots.map((node) => image(known, node))
}
