/**
 * Which values are kept in memory. The others are computed where they are read: on today's machines a dozen operations cost less
 * than writing a number and reading it back.
 */
import type { Factors, Node, NodeOf } from "../graph/node.ts"
import { size } from "../graph/node.ts"
import { isFew } from "./domain.ts"
import type { Index } from "./index.ts"
import { factorOf, linear, variable } from "./index.ts"
import { coneOf as coneOfMade, madeOperand } from "./made.ts"
import { inputAt, isExpensive, isGenerated, isLeaf, isOpaque, isPointwise, isReduction, isView, stridesOf } from "./primitives.ts"
import { viewed } from "./values.ts"

/** Stored nodes with the strides of their axes. */
export type Storage = ReadonlyMap<Node, readonly number[]>

/** What a value is computed from, where it is computed in place. */
interface Cone {
  /** Stored values of about its own size; gathers count as one. */
  readonly full: ReadonlySet<Node>
  readonly ops: number
  readonly expensive: boolean
}

/** Ops of one expression at most. */
const largestCone = 96

interface Uses {
  readonly consumers: Set<Node>
  /** The largest shape in which it is read. */
  widest: number
}

/** Who reads a value, through views. */
function usesOf(order: readonly Node[], outputs: readonly Node[]): ReadonlyMap<Node, Uses> {
  const uses = new Map<Node, Uses>(order.map((node) => [node, { consumers: new Set<Node>(), widest: size(node.shape) }]))
  for (const node of [...order].reverse()) {
    const own = uses.get(node)
    for (const input of node.inputs) {
      const of = uses.get(input)
      if (of === undefined || own === undefined) continue
      if (isView(node)) {
        for (const consumer of own.consumers) of.consumers.add(consumer)
        of.widest = Math.max(of.widest, own.widest)
        if (outputs.includes(node)) of.consumers.add(node)
      } else {
        of.consumers.add(node)
        of.widest = Math.max(of.widest, isPointwise(node) ? own.widest : 0)
      }
    }
  }
  return uses
}

/** The view's place in what it shows, for axes named x0, x1, …; null if a view on the way pads or joins. */
export function baseOf(top: Node, coordinates: readonly Index[], stop: (node: Node) => boolean): { readonly node: Node; readonly coordinates: readonly Index[] } | null {
  let [node, c] = [top, coordinates]
  while (isView(node) && !stop(node)) {
    if (node.op !== "reshape" && node.op !== "permute" && node.op !== "broadcast" && node.op !== "slice" && node.op !== "reverse" && node.op !== "window") return null
    c = viewed(node, c)
    node = inputAt(node, 0)
  }
  return { node, coordinates: c }
}

/** Whether an operand can be read in place, by a stride per axis (`free` leading axes may be read in any order). */
function isStrided(place: Index, rank: number, free: number): boolean {
  const factors = Array.from({ length: rank }, (_, i) => factorOf(place, `x${i}`))
  return factors.every((factor, i) => factor !== null || i < free)
}

interface Operand {
  readonly node: Node
  /** `matrix`: two strides; `tensor`: four, the last 1; `plain`: row-major. */
  readonly as: "matrix" | "tensor" | "plain"
}

function operandsOf(node: Node): readonly Operand[] {
  if (node.op === "dot") return node.inputs.map((x) => ({ node: x, as: "matrix" }))
  if (node.op === "put") return node.inputs.map((x, i) => ({ node: x, as: i === 1 && putsRows(node) ? "tensor" : "plain" }))
  if (node.op !== "attend" && node.op !== "attend_grad") return node.inputs.map((x) => ({ node: x, as: "plain" }))
  const last = node.op === "attend_grad" ? node.inputs.length - 1 : -1
  return node.inputs.map((x, i) => ({ node: x, as: i < 3 || i === last ? "tensor" : "plain" }))
}

/** Whether what is put has the axes of an operand of attention. */
export function putsRows(node: NodeOf<"put">): boolean {
  return node.shape.length === 4 && node.args.axis === 2
}

/** The node to store so that the operand can be read as it must be: what the views show, or the view itself. */
function storedOperand({ node, as }: Operand, stored: ReadonlySet<Node>, strides: (node: Node) => readonly number[]): Node {
  const rank = node.shape.length
  const axes = node.shape.map((n, i) => variable(`x${i}`, n))
  const base = baseOf(node, axes, (view) => stored.has(view))
  if (base === null || isGenerated(base.node)) return node
  const place = linear(base.coordinates, strides(base.node))
  if (as === "plain") return base.node === node || isReshapeOnly(node, base.node) ? base.node : node
  if (!isStrided(place, rank, as === "matrix" ? rank - 2 : 0)) return node
  const last = factorOf(place, `x${rank - 1}`)
  return as === "tensor" && last !== 1 && (node.shape[rank - 1] ?? 1) > 1 ? node : base.node
}

/** Whether only reshapes lie between: the same numbers in the same order. */
export function isReshapeOnly(top: Node, base: Node): boolean {
  let node = top
  while (node !== base && node.op === "reshape") node = inputAt(node, 0)
  return node === base
}

/** Results of attention are stored as those want them who permute their axes. */
function layoutOf(node: Node, readers: readonly Node[], outputs: ReadonlySet<Node>): readonly number[] {
  const [first] = readers
  const plain = stridesOf(node.shape)
  if ((node.op !== "attend" && node.op !== "attend_grad") || outputs.has(node) || first?.op !== "permute") return plain
  if (node.op === "attend_grad" && node.args.wrt === 3) return plain
  if (!readers.every((reader) => reader.op === "permute" && reader.args.axes.join() === first.args.axes.join())) return plain
  const permuted = stridesOf(first.shape)
  const strides = [...plain]
  first.args.axes.forEach((axis, i) => { strides[axis] = permuted[i] ?? 1 })
  return strides[3] === 1 ? strides : plain
}

/** Whether a kernel of its own multiplies factors that may lie in the format: products and attention of more than a few rows. */
export function readsHeld(node: Node, format: Factors): boolean {
  if (node.op === "dot") return node.args.factors === format && !isFew(node.shape.at(-2) ?? 1) && madeOperand(node) === null
  return (node.op === "attend" || node.op === "attend_grad") && node.args.factors === format && !isFew(inputAt(node, 0).shape[2] ?? 1)
}

/**
 * Stored values that are rounded to a format (by a node, or by the kernel that makes them) and may lie in it: every op with a kernel of its
 * own that reads them multiplies such factors. Kernels of rows read and write any storage.
 */
export function heldIn(format: Factors, order: readonly Node[], storage: Storage, outputs: readonly Node[], rounded: ReadonlySet<Node>): ReadonlySet<Node> {
  const held = new Set([...storage.keys()].filter((node) => (rounded.has(node) || (node.op === "narrow" && node.args.format === format)) && !outputs.includes(node)))
  const stored = new Set(storage.keys())
  for (const node of order) {
    if (!isOpaque(node)) continue
    for (const operand of operandsOf(node)) if (!readsHeld(node, format) || operand.as === "plain") held.delete(storedOperand(operand, stored, (x) => storage.get(x) ?? stridesOf(x.shape)))
  }
  return held
}

export function chooseStorage(order: readonly Node[], outputs: readonly Node[]): Storage {
  const asked = new Set(outputs)
  const readers = new Map<Node, Node[]>(order.map((node) => [node, []]))
  for (const node of order) for (const input of node.inputs) readers.get(input)?.push(node)
  const layouts = new Map<Node, readonly number[]>()
  const strides = (node: Node): readonly number[] => layouts.get(node) ?? stridesOf(node.shape)
  const stored = new Set<Node>()
  for (const node of order) {
    if (isLeaf(node) || isOpaque(node) || isReduction(node) || node.op === "unwindow") stored.add(node)
    if (isOpaque(node)) layouts.set(node, layoutOf(node, readers.get(node) ?? [], asked))
  }
  for (const node of outputs) stored.add(node)
  const made = new Set<Node>()
  for (const node of order) {
    const operand = madeOperand(node)
    if (operand !== null) for (const inner of coneOfMade(operand)?.inside ?? []) made.add(inner)
    if (isOpaque(node)) for (const x of operandsOf(node)) if (x.node !== operand) stored.add(storedOperand(x, stored, strides))
  }
  const uses = usesOf(order, outputs)
  const cones = new Map<Node, Cone>()
  for (const node of order) {
    const cone = coneOf(node, cones)
    if (isPointwise(node) && !stored.has(node) && !made.has(node) && isWorthStoring(node, cone, uses.get(node))) stored.add(node)
    cones.set(node, stored.has(node) ? { full: new Set([node]), ops: 0, expensive: false } : cone)
  }
  return new Map([...stored].sort((x, y) => x.id - y.id).map((node) => [node, strides(node)]))
}

function coneOf(node: Node, cones: ReadonlyMap<Node, Cone>): Cone {
  const full = new Set<Node>()
  let [ops, costly] = [isPointwise(node) ? 1 : 0, isExpensive(node)]
  for (const input of new Set(node.inputs)) {
    const cone = cones.get(input)
    if (cone === undefined) continue
    for (const leaf of cone.full) if (8 * size(leaf.shape) >= size(node.shape)) full.add(leaf)
    ops += cone.ops
    costly ||= cone.expensive
  }
  if (node.op === "gather" || node.op === "take") full.add(node)
  return { full, ops, expensive: costly }
}

function isWorthStoring(node: Node, cone: Cone, uses: Uses | undefined): boolean {
  const readers = uses?.consumers.size ?? 0
  const n = size(node.shape)
  const spread = (uses?.widest ?? n) >= 2 * n
  if (cone.ops > largestCone) return true
  if (node.op === "random") return readers > 1
  if (spread && n === 1) return cone.ops > 1 || cone.expensive
  // One number for each row is computed again with each row; a table that rows share is not.
  if (spread && cone.expensive && node.shape.at(-1) !== 1) return true
  return readers > 1 && cone.full.size > 1
}
