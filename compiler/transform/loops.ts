/** Loops that are one loop, and parts of loops that nobody needs. */
import type { Builder } from "../graph/builder.ts"
import { bodyKey, createBuilder } from "../graph/builder.ts"
import type { Body, Node, NodeOf, Program } from "../graph/node.ts"
import { image, rewriteInto, rewriteProgram } from "../graph/rewrite.ts"
import { copy, reachable } from "../graph/walk.ts"

function allLoops(program: Program): NodeOf<"scan">[] {
  return reachable(program.outputs.map((output) => output.node)).filter((node) => node.op === "scan")
}

function sameInputs(x: Node, y: Node): boolean {
  return x.inputs.length === y.inputs.length && x.inputs.every((input, i) => input === y.inputs[i])
}

/** Whether `whole` computes all that `part` does, under the same output numbers. */
function contains(whole: NodeOf<"scan">, part: NodeOf<"scan">): boolean {
  const [w, p] = [whole.args, part.args]
  if (w.trips !== p.trips || w.carries !== p.carries || w.body.outputs.length <= p.body.outputs.length || !sameInputs(whole, part)) return false
  return bodyKey({ inputs: w.body.inputs, outputs: w.body.outputs.slice(0, p.body.outputs.length) }) === bodyKey(p.body)
}

/** A loop becomes part of one that does the same and more: the gradient's loop with stored carries takes in the forward loop. */
export function mergeLoops(program: Program): Program {
  const loops = allLoops(program)
  const merged = new Map<Node, Body>()
  for (const part of loops) {
    const [whole] = loops.filter((other) => contains(other, part)).sort((x, y) => y.args.body.outputs.length - x.args.body.outputs.length)
    if (whole !== undefined) merged.set(part, whole.args.body)
  }
  if (merged.size === 0) return program
  return rewriteProgram(program, (b, node, inputs, original) => {
    const body = merged.get(original)
    return node.op === "scan" && body !== undefined ? b.make("scan", { ...node.args, body }, inputs) : copy(b, node, inputs)
  })
}

/** What of a loop is needed, as numbers of its outputs and inputs. */
interface Needed {
  readonly outputs: readonly number[]
  readonly inputs: readonly number[]
}

interface Cut {
  readonly needed: Needed
  readonly body: Body
}

/** From the used outputs: a carry is needed if its last value is, or if anything needed depends on it. */
function neededOf(body: Body, carries: number, used: ReadonlySet<number>): Needed {
  const outputs = new Set(used)
  let inputs: number[] = []
  for (let before = -1; before !== outputs.size; ) {
    before = outputs.size
    const reached = new Set(reachable([...outputs].map((i) => body.outputs[i]).filter((node) => node !== undefined)))
    inputs = body.inputs.map((_, i) => i).filter((i) => reached.has(body.inputs[i] as Node) || (i < carries && outputs.has(i)))
    for (const i of inputs) if (i < carries) outputs.add(i)
  }
  return { outputs: [...outputs].sort((x, y) => x - y), inputs }
}

/** The body without what is not needed, its inputs renumbered. */
function cutBody(body: Body, carries: number, needed: Needed): Body {
  const b = createBuilder()
  const known = new Map<Node, Node>()
  let [carry, x] = [0, 0]
  for (const i of needed.inputs) {
    const input = body.inputs[i]
    if (input?.op !== "input") throw new Error("loops: a body's input is not an input")
    known.set(input, b.input(i < carries ? `carry${carry++}` : `x${x++}`, "batch", input.dtype, input.shape))
  }
  const inputs = [...known.values()]
  const outputs = needed.outputs.map((i) => body.outputs[i]).filter((node) => node !== undefined)
  rewriteInto(b, outputs, copy, known)
  return { inputs, outputs: outputs.map((node) => image(known, node)) }
}

/** Drops results, carries and scanned inputs of loops that no used output depends on. */
export function pruneLoops(program: Program): Program {
  let current = program
  // What one loop no longer takes, another need no longer make.
  for (;;) {
    const next = pruneOnce(current)
    if (next === current) return current
    current = next
  }
}

function pruneOnce(program: Program): Program {
  const used = new Map<Body, Set<number>>()
  for (const node of allLoops(program)) used.set(node.args.body, (used.get(node.args.body) ?? new Set()).add(node.args.output))
  const cut = new Map<Body, Cut>()
  for (const node of allLoops(program)) {
    const { body, carries } = node.args
    const needed = neededOf(body, carries, used.get(body) ?? new Set())
    if (needed.outputs.length < body.outputs.length || needed.inputs.length < body.inputs.length) cut.set(body, { needed, body: cutBody(body, carries, needed) })
  }
  if (cut.size === 0) return program
  return rewriteProgram(program, (b, node, inputs, original) => {
    const change = original.op === "scan" ? cut.get(original.args.body) : undefined
    return node.op === "scan" && change !== undefined ? smaller(b, node, inputs, change) : copy(b, node, inputs)
  })
}

function smaller(b: Builder, node: NodeOf<"scan">, inputs: readonly Node[], { needed, body }: Cut): Node {
  const carries = needed.outputs.filter((i) => i < node.args.carries).length
  const kept = needed.inputs.map((i) => inputs[i]).filter((x) => x !== undefined)
  return b.make("scan", { body, trips: node.args.trips, carries, output: needed.outputs.indexOf(node.args.output) }, kept)
}
