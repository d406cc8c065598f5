/**
 * Operands of products that are made where they are read: a matrix that is computed from far fewer bytes than it has itself, such as codes
 * and scales that are decoded, is never written to memory. Which encoding it is does not matter, only that the arithmetic is cheap.
 */
import type { Node, NodeOf } from "../graph/node.ts"
import { size } from "../graph/node.ts"
import { bytesOfNumbers } from "../graph/stored.ts"
import { chunkOf, colIndex, pointIndex, rowIndex } from "./domain.ts"
import { createExprBuilder } from "./expr.ts"
import { linear } from "./index.ts"
import type { Buffer, RowsKernel } from "./ir.ts"
import { inputAt, isExpensive, isLeaf, isPointwise, isView, stridesOf } from "./primitives.ts"
import type { Storage } from "./storage.ts"
import { createValues } from "./values.ts"

/** The matrix of a product that is made where it is read, if that is worth it: rows of it are columns of the result. */
export function madeOperand(node: Node): Node | null {
  if (node.op !== "dot" || !node.args.tb || node.args.ta || size(node.shape.slice(0, -2)) !== 1) return null
  const operand = inputAt(node, 1)
  const cone = coneOf(operand)
  return cone !== null && 2 * cone.bytes <= 4 * size(operand.shape) ? operand : null
}

/** More operations than this for each number are not done again with each reading. */
const mostOps = 24

/** What is between an operand and the inputs it is computed from; null where something there is worth keeping. */
export function coneOf(top: Node): { readonly inside: ReadonlySet<Node>; readonly bytes: number } | null {
  const inside = new Set<Node>()
  const leaves = new Set<Node>()
  const pending = [top]
  let ops = 0
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (inside.has(node) || leaves.has(node)) continue
    if (isLeaf(node)) {
      leaves.add(node)
      continue
    }
    const generated = node.op === "fill" || node.op === "iota"
    if (!generated && !isView(node) && (!isPointwise(node) || isExpensive(node) || node.op === "unwindow")) return null
    if (isPointwise(node)) ops++
    if (ops > mostOps) return null
    inside.add(node)
    pending.push(...node.inputs)
  }
  const bytes = [...leaves].reduce((sum, leaf) => sum + bytesOfNumbers(size(leaf.shape), leaf.dtype, leaf.op === "input" ? leaf.args.stored ?? null : null), 0)
  return { inside, bytes }
}

/** The kernel that makes rows of the operand; `out` stands for the matrix, of which only rows in use exist. */
export function makingKernel(dot: NodeOf<"dot">, operand: Node, storage: Storage, bufferOf: (node: Node) => Buffer, out: Buffer): RowsKernel {
  const [rows = 1, cols = 1] = operand.shape.slice(-2)
  const e = createExprBuilder()
  const valueAt = createValues({ e, source: (node, c, guards) => (storage.has(node) ? e.load(bufferOf(node), linear(c, storage.get(node) ?? stridesOf(node.shape)), guards) : null) })
  const domain = { rows, cols }
  const lead = operand.shape.slice(0, -2).map(() => ({ base: 0, terms: [] }))
  const whole = valueAt(operand, [...lead, rowIndex(domain), colIndex(domain)], [])
  const isRounded = whole.is === "load" && whole.buffer.stored === dot.args.factors
  const value = dot.args.factors === "f32" || isRounded ? whole : e.unary(`narrow_${dot.args.factors}`, whole)
  return { kind: "rows", name: `made ${out.name}`, note: dot.note, ...domain, chunk: chunkOf(rows), columns: [], stores: [{ buffer: out, index: pointIndex(domain), value }] }
}
