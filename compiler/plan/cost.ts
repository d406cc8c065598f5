/**
 * What a program costs before it runs: arithmetic, memory traffic and the memory it needs at once. Counted from the graph
 * op by op; a device that fuses ops moves fewer bytes and needs less memory, so both are upper bounds.
 */
import type { Node, NodeOf, Op, Program } from "../graph/node.ts"
import { size } from "../graph/node.ts"
import { bytesOfNumbers } from "../graph/stored.ts"
import { reachable } from "../graph/walk.ts"

export interface Cost {
  /** Additions, multiplications and elementary functions, each counted as one. */
  readonly flops: number
  /** Bytes read and written when every op stands alone. */
  readonly bytes: number
  /** Elements and bytes of the `state` inputs. */
  readonly stateElements: number
  readonly stateBytes: number
  /** Most bytes in use at once: states, their next values and intermediate results, each freed after its last use. */
  readonly peakBytes: number
  readonly ops: number
}

const bytesOf = (node: Node): number => bytesOfNumbers(size(node.shape), node.dtype, node.op === "input" ? node.args.stored ?? null : null)
const inputSize = (node: Node, i = 0): number => size(node.inputs[i]?.shape ?? [])

type Count<O extends Op> = (node: NodeOf<O>) => number

const none = (): number => 0
const each = (n: number) => (node: Node): number => n * size(node.shape)
const eachInput = (n: number) => (node: Node): number => n * inputSize(node)

/** Multiply-adds of q k^T and p v over all pairs, as two operations each. */
function attention(node: NodeOf<"attend"> | NodeOf<"attend_grad">): { readonly scores: number; readonly values: number; readonly pairs: number } {
  const [b = 1, h = 1, t = 1, d = 1] = node.inputs[0]?.shape ?? []
  const [, , s = 1, e = 1] = node.inputs[2]?.shape ?? []
  const pairs = b * h * t * s
  return { pairs, scores: 2 * pairs * d, values: 2 * pairs * e }
}

/** The parts that gradients by q, k and v share (scores and their upstream) are counted with the gradient by q. */
function attendGrad(node: NodeOf<"attend_grad">): number {
  const { pairs, scores, values } = attention(node)
  if (node.args.wrt === 2) return values
  if (node.args.wrt === 1) return scores
  return 2 * scores + values + 10 * pairs
}

const flops: { readonly [O in Op]: Count<O> } = {
  input: none, fill: none, literal: none, iota: none, random: each(80),
  neg: each(1), abs: each(1), sign: each(1), exp: each(1), log: each(1), sqrt: each(1), rsqrt: each(1), sin: each(1), cos: each(1),
  tanh: each(1), erf: each(1), sigmoid: each(1), floor: each(1), round: each(1), not: none, cast: none, narrow: each(1), stop_gradient: none,
  add: each(1), sub: each(1), mul: each(1), div: each(1), pow: each(1), max: each(1), min: each(1), mod: each(1),
  lt: each(1), le: each(1), eq: each(1), and: none, or: none, select: none,
  reshape: none, permute: none, broadcast: none, slice: none, pad: none, concat: none, reverse: none, window: none,
  unwindow: eachInput(1),
  sum: eachInput(1), max_of: eachInput(1), argmax: eachInput(1), cumsum: each(1),
  dot: (node) => 2 * size(node.shape) * (node.inputs[0]?.shape.at(node.args.ta ? -2 : -1) ?? 1),
  gather: none, scatter_add: (node) => inputSize(node, 1), take: none, put_add: (node) => inputSize(node, 1),
  top_k: eachInput(1),
  scan: (node) => (node.args.output === 0 ? node.args.trips * sumOf(reachable(node.args.body.outputs), flopsOf) : 0),
  softmax: each(5), log_softmax: each(5), cross_entropy: eachInput(5), cross_entropy_grad: eachInput(5),
  rms_norm: each(4), rms_norm_grad: eachInput(6), layer_norm: each(6), layer_norm_grad: eachInput(8), rope: each(4), put: none,
  attend: (node) => { const { pairs, scores, values } = attention(node); return scores + values + 5 * pairs },
  attend_grad: attendGrad,
}

/** Arithmetic of one node. */
export function flopsOf<O extends Op>(node: NodeOf<O>): number {
  const count: Count<O> = flops[node.op]
  return count(node)
}

function sumOf(nodes: readonly Node[], f: (node: Node) => number): number {
  let total = 0
  for (const node of nodes) total += f(node)
  return total
}

/** Ops that no device need store: leaves that are made where they are read, and other views of the same numbers. */
const unstored: ReadonlySet<Op> = new Set<Op>(["input", "fill", "literal", "iota", "reshape", "broadcast"])

function trafficOf(node: Node): number {
  if (unstored.has(node.op)) return 0
  const table = node.op === "gather" || node.op === "take" ? node.inputs[0] : undefined
  return bytesOf(node) + sumOf(node.inputs, (input) => (input === table ? bytesOf(node) : bytesOf(input)))
}

/** The node whose memory a view shows. */
function owner(node: Node): Node {
  let at = node
  while (at.op === "reshape" || at.op === "broadcast") {
    const input = at.inputs[0]
    if (input === undefined) return at
    at = input
  }
  return at
}

function peak(nodes: readonly Node[], program: Program): number {
  const last = new Map<Node, number>()
  nodes.forEach((node, i) => node.inputs.forEach((input) => last.set(owner(input), i)))
  for (const { node } of program.outputs) last.set(owner(node), nodes.length)
  const freed = new Map<number, number>()
  let [live, most] = [0, 0]
  nodes.forEach((node, i) => {
    if (!unstored.has(node.op)) {
      live += bytesOf(node)
      const end = last.get(node) ?? i
      freed.set(end, (freed.get(end) ?? 0) + bytesOf(node))
    }
    most = Math.max(most, live)
    live -= freed.get(i) ?? 0
  })
  return most
}

/** Counts one call of a program. */
export function cost(program: Program): Cost {
  const nodes = reachable(program.outputs.map((output) => output.node))
  const states = program.inputs.filter((input) => input.args.role === "state")
  const inputBytes = sumOf(program.inputs, bytesOf)
  return {
    flops: sumOf(nodes, flopsOf),
    bytes: sumOf(nodes, trafficOf),
    stateElements: sumOf(states, (node) => size(node.shape)),
    stateBytes: sumOf(states, bytesOf),
    peakBytes: inputBytes + peak(nodes, program),
    ops: nodes.length,
  }
}
