/** What fusion starts from: primitive ops and attention. Norms, softmax and losses are fused again from their parts, with whatever stands beside them. */
import type { Builder } from "../graph/builder.ts"
import { decomposeNode } from "../graph/composite.ts"
import type { Factors, Node, Op, Program } from "../graph/node.ts"
import { rewriteProgram } from "../graph/rewrite.ts"
import type { StorageType } from "../graph/stored.ts"
import { copy } from "../graph/walk.ts"
import { simplify } from "../transform/simplify.ts"

export function toPrimitives(program: Program): Program {
  const open = rewriteProgram(program, (b, node, inputs) => (node.op === "attend" || node.op === "attend_grad" || node.op === "put" ? copy(b, node, inputs) : decomposeNode(b, node, inputs)))
  return withReads(simplify(rewriteProgram(open, withRoundedFactors)))
}

/** The storage of an input, or of one whose places were replaced; null where numbers are as wide as their dtype. */
export function storageOf(node: Node): StorageType | null {
  let base = node
  while (base.op === "put") base = inputAt(base, 0)
  return base.op === "input" ? base.args.stored ?? null : null
}

/**
 * Numbers in narrower storage are read by an op of their own, so that an operand is either plain numbers or an expression. Keys and values of 16 bits
 * are read as they lie, and so is what a put replaces.
 */
function withReads(program: Program): Program {
  if (program.inputs.every((node) => node.args.stored === undefined)) return program
  return rewriteProgram(program, (b, node, inputs) => copy(b, node, inputs.map((x, i) => {
    const stored = storageOf(x)
    const asItLies = node.op === "put" ? i === 0 : node.op === "attend" && (i === 1 || i === 2) && (stored === "f16" || stored === "bf16")
    return stored === null || asItLies ? x : b.make("stop_gradient", {}, [x])
  })))
}

/**
 * Factors that are to be rounded are, where they are stored: so they are rounded once, however many products and views read them. Right
 * factors that come from outside are rounded as they are read: a weight is read by few products, and there is much of it.
 */
function withRoundedFactors(b: Builder, node: Node, inputs: readonly Node[]): Node {
  const factors = node.op === "dot" || node.op === "attend" || node.op === "attend_grad" ? node.args.factors : "f32"
  if (factors === "f32") return copy(b, node, inputs)
  const multiplied = (i: number): boolean => i < (node.op === "dot" ? 2 : 3) || (node.op === "attend_grad" && i === inputs.length - 1)
  return copy(b, node, inputs.map((x, i) => (multiplied(i) && !(node.op === "dot" && i === 1 && isGiven(x)) ? narrowed(b, x, factors) : x)))
}

/** Whether views show an input as it lies in f32. */
function isGiven(x: Node): boolean {
  let base = x
  while (moves.has(base.op)) base = inputAt(base, 0)
  return base.op === "input" && base.args.stored === undefined
}

/** The rounded value: below the views that only move numbers. */
function narrowed(b: Builder, x: Node, format: Exclude<Factors, "f32">): Node {
  const views: Node[] = []
  let base = x
  while (moves.has(base.op)) {
    views.push(base)
    base = inputAt(base, 0)
  }
  const rounded: Node = (base.op === "narrow" && base.args.format === format) || storageOf(base) === format ? base : b.make("narrow", { format }, [base], base.note)
  return views.reduceRight<Node>((from, view) => copy(b, view, [from]), rounded)
}

/** Other names of the same numbers: never stored for their own sake. */
const views: ReadonlySet<Op> = new Set<Op>(["reshape", "permute", "broadcast", "slice", "reverse", "window", "pad", "concat"])
/** Views that only move numbers. */
const moves: ReadonlySet<Op> = new Set<Op>(["reshape", "permute", "broadcast", "slice", "reverse", "window"])
/** Made where they are read. */
const generated: ReadonlySet<Op> = new Set<Op>(["fill", "iota"])
const reductions: ReadonlySet<Op> = new Set<Op>(["sum", "max_of"])
/** Ops with a kernel of their own. */
const opaque: ReadonlySet<Op> = new Set<Op>(["dot", "attend", "attend_grad", "put", "scatter_add", "put_add", "argmax", "cumsum", "top_k", "scan"])
const leaves: ReadonlySet<Op> = new Set<Op>(["input", "literal"])
const expensive: ReadonlySet<Op> = new Set<Op>(["exp", "log", "sin", "cos", "tanh", "erf", "sigmoid", "pow", "random"])

export const isView = (node: Node): boolean => views.has(node.op)
export const isGenerated = (node: Node): boolean => generated.has(node.op)
export const isReduction = (node: Node): boolean => reductions.has(node.op)
export const isOpaque = (node: Node): boolean => opaque.has(node.op)
export const isLeaf = (node: Node): boolean => leaves.has(node.op)
export const isExpensive = (node: Node): boolean => expensive.has(node.op)
/** A value at each point of its own shape, computed from values of other nodes. */
export const isPointwise = (node: Node): boolean => !isView(node) && !isGenerated(node) && !isReduction(node) && !isOpaque(node) && !isLeaf(node)

export function inputAt(node: Node, i: number): Node {
  const x = node.inputs[i]
  if (x === undefined) throw new Error(`kernel: %${node.id} (${node.op}) has no input ${i}`)
  return x
}

export function stridesOf(shape: readonly number[]): number[] {
  const strides: number[] = Array<number>(shape.length).fill(1)
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] ?? 1) * (shape[i + 1] ?? 1)
  return strides
}
