import { createBuilder } from "./builder.ts"
import { gradients } from "./gradient.ts"
import type { Program } from "./node.ts"
import * as g from "./ops.ts"

/** A step of gradient descent on one matrix, with a composite op. */
export function trainingLike(): Program {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [4, 3])
  const w = b.input("w", "state", "f32", [3, 2])
  const loss = g.sum(b, g.square(b, g.softmax(b, g.matmul(b, x, w))))
  const [slope = w] = gradients(b, loss, [w])
  return { name: "step", inputs: [x, w], outputs: [{ name: "loss", node: loss }, { name: "w", node: g.sub(b, w, g.mul(b, slope, 0.1)) }] }
}
