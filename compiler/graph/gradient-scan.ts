/** The gradient of a loop: a loop over the trips in reverse, from stored carries. */
import type { Builder } from "./builder.ts"
import type { Seed } from "./gradient.ts"
import { gradientRules } from "./gradients.ts"
import type { Body, Node, NodeOf } from "./node.ts"
import * as g from "./ops.ts"
import { copy, reachable } from "./walk.ts"
import { image, rewriteInto } from "./rewrite.ts"

type Backward = (b: Builder, seeds: readonly Seed[], wrt: readonly Node[]) => (Node | null)[]

/** What is known of a loop before its reverse is built. Numbers count the body's inputs or outputs. */
interface Plan {
  readonly body: Body
  readonly trips: number
  readonly carries: number
  /** Carries that the body hands on unchanged: values from outside, which need not be stored per trip. */
  readonly constant: readonly number[]
  readonly varying: readonly number[]
  /** Carries and scanned inputs that depend on something whose gradient is asked for. */
  readonly carried: readonly number[]
  readonly scanned: readonly number[]
  /** Per-trip results with a gradient. */
  readonly results: readonly number[]
}

/**
 * Gradients by the inputs of the loop that `node` belongs to. `arrived`: gradients by its outputs.
 * `backward` differentiates the body (it is passed in because a body may hold a loop again).
 */
export function scanGradients(b: Builder, node: NodeOf<"scan">, arrived: ReadonlyMap<number, Node>, wanted: (input: number) => boolean, backward: Backward): (Node | null)[] {
  const plan = planOf(node, arrived, wanted)
  const reversed = (x: Node): Node => b.make("reverse", { axes: [0] }, [x])
  const scanned = node.inputs.slice(plan.carries)
  const carries = [
    ...plan.carried.map((i) => arrived.get(i) ?? g.zerosLike(b, inputAt(node.inputs, i))),
    ...plan.constant.map((i) => inputAt(node.inputs, i)),
  ]
  const xs = [
    ...storedCarries(b, node, plan).map(reversed), ...scanned.map(reversed),
    ...plan.results.map((i) => reversed(upstreamAt(arrived, i))),
  ]
  const back = g.scan(b, plan.trips, carries, xs, (inner, c, x) => reverseStep(inner, plan, c, x, backward))
  return node.inputs.map((_, i) => {
    if (!wanted(i)) return null
    if (i < plan.carries) return back.carries[plan.carried.indexOf(i)] ?? null
    const stack = back.results[plan.scanned.indexOf(i)]
    return stack === undefined ? null : reversed(stack)
  })
}

function inputAt(nodes: readonly Node[], i: number): Node {
  const node = nodes[i]
  if (node === undefined) throw new Error(`gradient: scan has nothing at place ${i}`)
  return node
}

function upstreamAt(arrived: ReadonlyMap<number, Node>, i: number): Node {
  const u = arrived.get(i)
  if (u === undefined) throw new Error(`gradient: nothing arrived at output ${i} of scan`)
  return u
}

function planOf(node: NodeOf<"scan">, arrived: ReadonlyMap<number, Node>, wanted: (input: number) => boolean): Plan {
  const { body, trips, carries } = node.args
  const all = Array.from({ length: carries }, (_, i) => i)
  const constant = all.filter((i) => body.inputs[i] === body.outputs[i])
  const scanned = node.inputs.map((_, i) => i).slice(carries).filter(wanted)
  return {
    body, trips, carries, constant, scanned,
    varying: all.filter((i) => !constant.includes(i)),
    carried: dependentCarries(body, all.filter(wanted), scanned, carries),
    results: [...arrived.keys()].filter((i) => i >= carries).sort((p, q) => p - q),
  }
}

/** Carries that depend on the asked ones or on the scanned inputs, after any number of trips. */
function dependentCarries(body: Body, asked: readonly number[], scanned: readonly number[], carries: number): readonly number[] {
  const found = new Set(asked)
  const order = reachable(body.outputs)
  for (let before = -1; before !== found.size; ) {
    before = found.size
    const active = new Set<Node>([...found, ...scanned].map((i) => inputAt(body.inputs, i)))
    for (const node of order) if (node.dtype === "f32" && gradientRules[node.op] !== "none" && node.inputs.some((x) => active.has(x))) active.add(node)
    for (let i = 0; i < carries; i++) if (active.has(inputAt(body.outputs, i))) found.add(i)
  }
  return [...found].sort((p, q) => p - q)
}

/** The carries before each trip, [trips, ..]: the same loop with these as further results. */
function storedCarries(b: Builder, node: NodeOf<"scan">, plan: Plan): Node[] {
  const stored = plan.varying.map((i) => inputAt(plan.body.inputs, i))
  const body: Body = { inputs: plan.body.inputs, outputs: [...plan.body.outputs, ...stored] }
  return stored.map((_, i) => b.make("scan", { ...node.args, body, output: plan.body.outputs.length + i }, node.inputs))
}

/** One trip backwards: computes the trip again, then sends the gradients through it. */
function reverseStep(inner: Builder, plan: Plan, c: readonly Node[], x: readonly Node[], backward: Backward): g.ScanStep {
  const { body, carries } = plan
  const constants = c.slice(plan.carried.length)
  const known = new Map<Node, Node>()
  plan.constant.forEach((i, k) => known.set(inputAt(body.inputs, i), inputAt(constants, k)))
  plan.varying.forEach((i, k) => known.set(inputAt(body.inputs, i), inputAt(x, k)))
  body.inputs.slice(carries).forEach((node, k) => known.set(node, inputAt(x, plan.varying.length + k)))
  rewriteInto(inner, body.outputs, copy, known)

  const upstream = x.slice(plan.varying.length + body.inputs.length - carries)
  const seeds: Seed[] = [
    ...plan.carried.map((i, k): Seed => [image(known, inputAt(body.outputs, i)), inputAt(c, k)]),
    ...plan.results.map((i, k): Seed => [image(known, inputAt(body.outputs, i)), inputAt(upstream, k)]),
  ]
  const asked = [...plan.carried, ...plan.scanned].map((i) => image(known, inputAt(body.inputs, i)))
  const found = backward(inner, seeds, asked).map((gradient, i) => gradient ?? g.zerosLike(inner, inputAt(asked, i)))
  return { carries: [...found.slice(0, plan.carried.length), ...constants], results: found.slice(plan.carried.length) }
}
