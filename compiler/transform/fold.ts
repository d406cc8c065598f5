/** Folding of constants, exactly as a device would compute them in f32. */
import type { Builder } from "../graph/builder.ts"
import { createBuilder } from "../graph/builder.ts"
import { evaluate } from "../graph/interpret.ts"
import type { Node, Op } from "../graph/node.ts"
import { size } from "../graph/node.ts"
import { copy } from "../graph/walk.ts"

/** Results up to this many elements become literals; fills fold whatever their size. */
const largest = 64

/** Ops that IEEE 754 rounds exactly, or that only move or compare numbers: the result is the same wherever it is computed. */
const elementwise: ReadonlySet<Op> = new Set<Op>([
  "neg", "abs", "sign", "sqrt", "floor", "round", "not", "cast", "narrow", "add", "sub", "mul", "div", "mod", "max", "min", "lt", "le", "eq", "and", "or", "select",
])
const movement: ReadonlySet<Op> = new Set<Op>(["reshape", "permute", "broadcast", "slice", "reverse"])
const others: ReadonlySet<Op> = new Set<Op>(["pad", "concat", "iota", "window", "gather", "take", "max_of", "argmax", "top_k"])

/** The constant that a node of constants is, or null. */
export function folded(b: Builder, node: Node): Node | null {
  if (node.inputs.length > 0 && node.inputs.every((x) => x.op === "fill")) {
    if (movement.has(node.op)) return node.inputs[0]?.op === "fill" ? filled(b, node, node.inputs[0].args.value) : null
    if (elementwise.has(node.op)) return filled(b, node, valuesOf(node, "one element")[0] ?? 0)
  }
  const constant = node.inputs.every((x) => x.op === "fill" || x.op === "literal")
  const known = elementwise.has(node.op) || movement.has(node.op) || others.has(node.op)
  if (!constant || !known || size(node.shape) > largest || node.inputs.some((x) => size(x.shape) > largest)) return null
  const values = valuesOf(node, "all elements")
  const [first = 0] = values
  if (values.every((x) => Object.is(x, first))) return filled(b, node, first)
  return b.make("literal", { values, shape: node.shape, dtype: node.dtype }, [], node.note)
}

function filled(b: Builder, node: Node, value: number): Node {
  return b.make("fill", { value, shape: node.shape, dtype: node.dtype }, [], node.note)
}

/** Computes the node in a graph of its own; of an elementwise op over fills one element is enough. */
function valuesOf(node: Node, extent: "one element" | "all elements"): number[] {
  const alone = createBuilder()
  const inputs = node.inputs.map((x) => (x.op === "fill" && extent === "one element" ? alone.make("fill", { ...x.args, shape: [] }, []) : copy(alone, x, [])))
  const [result] = evaluate([copy(alone, node, inputs)])
  return [...(result?.data ?? [])]
}
