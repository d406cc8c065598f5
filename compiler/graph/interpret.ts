/** The interpreter that defines what every primitive op means. Composite ops run as their decomposition. */
import type { Primitive } from "./composite.ts"
import { decomposeNodes, isComposite } from "./composite.ts"
import type { BinaryOp, UnaryOp } from "./interpret-elementwise.ts"
import { binaryOf, castTo, narrowTo, unaryOf } from "./interpret-elementwise.ts"
import { gather, putAdd, scatterAdd, take } from "./interpret-indexed.ts"
import { argmax, cumsum, dot, maxOf, sum, topK } from "./interpret-reduce.ts"
import type { Body, Node, NodeOf, Shape } from "./node.ts"
import { size } from "./node.ts"
import { fillUniform } from "./random.ts"
import type { Data, Precision, Value, View } from "./value.ts"
import { addInto, allocate, permuted, readInto, stridesOf, writeInto } from "./value.ts"
import { reachable } from "./walk.ts"

/** What an op may ask for beside its inputs. */
interface Run {
  readonly precision: Precision
  readonly feeds: ReadonlyMap<string, Value>
  /** All results of a loop, computed once for the nodes that share it. */
  loop(node: NodeOf<"scan">, inputs: readonly Value[]): readonly Value[]
}

/** Fills `out`, which is zero at first, or returns data of its own. */
type Meaning<O extends Primitive> = (out: Data, node: NodeOf<O>, inputs: readonly Value[], run: Run) => void | Data

function input(inputs: readonly Value[], i: number): Value {
  const x = inputs[i]
  if (x === undefined) throw new Error(`interpret: input ${i} is missing`)
  return x
}

function fed(_: Data, node: NodeOf<"input">, __: readonly Value[], run: Run): Data {
  const given = run.feeds.get(node.args.name)
  if (given === undefined) throw new Error(`interpret: input ${node.args.name} is not given`)
  if (given.dtype !== node.dtype || given.data.length !== size(node.shape) || given.shape.join() !== node.shape.join()) {
    throw new Error(`interpret: input ${node.args.name} is ${given.dtype}[${given.shape.join(", ")}] instead of ${node.dtype}[${node.shape.join(", ")}]`)
  }
  const double = given.data instanceof Float64Array
  if (node.dtype !== "f32" || double === (run.precision === "f64")) return given.data
  const converted = allocate(node.dtype, given.data.length, run.precision)
  converted.set(given.data)
  return converted
}

function iota(out: Data, node: NodeOf<"iota">): void {
  const n = node.shape[node.args.axis] ?? 1
  const stride = stridesOf(node.shape)[node.args.axis] ?? 1
  for (let i = 0; i < out.length; i++) out[i] = Math.floor(i / stride) % n
}

function random(out: Data, node: NodeOf<"random">, inputs: readonly Value[]): void {
  const rows = input(inputs, 2).data
  const width = out.length / rows.length
  rows.forEach((row, i) => {
    const key = { seed: input(inputs, 0).data[0] ?? 0, stream: node.args.stream, step: input(inputs, 1).data[0] ?? 0, row }
    fillUniform(key, out as Float32Array | Float64Array, i * width, (i + 1) * width)
  })
}

function elementwise(out: Data, node: NodeOf<UnaryOp>, inputs: readonly Value[]): void {
  apply(out, input(inputs, 0).data, unaryOf[node.op])
}

function apply(out: Data, x: Data, f: (x: number) => number): void {
  for (let i = 0; i < out.length; i++) out[i] = f(x[i]!)
}

function pairwise(out: Data, node: NodeOf<BinaryOp>, inputs: readonly Value[]): void {
  const { dtype, data: x } = input(inputs, 0)
  const y = input(inputs, 1).data
  const f = binaryOf(node.op, dtype)
  for (let i = 0; i < out.length; i++) out[i] = f(x[i]!, y[i]!)
}

function view(out: Data, x: Value, at: View): void {
  readInto(out, x.data, at)
}

function slice(out: Data, node: NodeOf<"slice">, inputs: readonly Value[]): void {
  const x = input(inputs, 0)
  const own = stridesOf(x.shape)
  const offset = own.reduce((sum, stride, i) => sum + stride * (node.args.start[i] ?? 0), 0)
  view(out, x, { offset, shape: node.shape, strides: own.map((stride, i) => stride * (node.args.step[i] ?? 1)) })
}

function pad(out: Data, node: NodeOf<"pad">, inputs: readonly Value[]): void {
  const x = input(inputs, 0)
  const strides = stridesOf(node.shape)
  out.fill(node.args.value)
  writeInto(out, x.data, { offset: strides.reduce((sum, stride, i) => sum + stride * (node.args.low[i] ?? 0), 0), shape: x.shape, strides })
}

function concat(out: Data, node: NodeOf<"concat">, inputs: readonly Value[]): void {
  const strides = stridesOf(node.shape)
  let start = 0
  for (const x of inputs) {
    writeInto(out, x.data, { offset: start * (strides[node.args.axis] ?? 1), shape: x.shape, strides })
    start += x.shape[node.args.axis] ?? 1
  }
}

function reverse(out: Data, node: NodeOf<"reverse">, inputs: readonly Value[]): void {
  const x = input(inputs, 0)
  const own = stridesOf(x.shape)
  const offset = node.args.axes.reduce((sum, axis) => sum + (own[axis] ?? 0) * ((x.shape[axis] ?? 1) - 1), 0)
  view(out, x, { offset, shape: x.shape, strides: own.map((stride, i) => (node.args.axes.includes(i) ? -stride : stride)) })
}

/** Windows of an axis as a view: element (window, place) is number window * stride + place * dilation. */
function windows(whole: Shape, args: { readonly axis: number; readonly stride: number; readonly dilation: number }, shape: Shape): View {
  const own = stridesOf(whole)
  const along = own[args.axis] ?? 1
  return { offset: 0, shape, strides: [...own.slice(0, args.axis), along * args.stride, along * args.dilation, ...own.slice(args.axis + 1)] }
}

function scan(_: Data, node: NodeOf<"scan">, inputs: readonly Value[], run: Run): Data {
  const result = run.loop(node, inputs)[node.args.output]
  if (result === undefined) throw new Error(`interpret: scan has no output ${node.args.output}`)
  return result.data
}

const meanings: { readonly [O in Primitive]: Meaning<O> } = {
  input: fed,
  fill: (out, node) => void out.fill(node.args.value),
  literal: (out, node) => out.set(node.args.values),
  iota, random,
  neg: elementwise, abs: elementwise, sign: elementwise, exp: elementwise, log: elementwise, sqrt: elementwise, rsqrt: elementwise,
  sin: elementwise, cos: elementwise, tanh: elementwise, erf: elementwise, sigmoid: elementwise, floor: elementwise, round: elementwise,
  not: elementwise, stop_gradient: elementwise,
  cast: (out, node, inputs) => apply(out, input(inputs, 0).data, castTo(input(inputs, 0).dtype, node.dtype)),
  narrow: (out, node, inputs) => apply(out, input(inputs, 0).data, narrowTo[node.args.format]),
  add: pairwise, sub: pairwise, mul: pairwise, div: pairwise, pow: pairwise, mod: pairwise, max: pairwise, min: pairwise,
  lt: pairwise, le: pairwise, eq: pairwise, and: pairwise, or: pairwise,
  select: (out, _, inputs) => {
    const [condition, yes, no] = [input(inputs, 0).data, input(inputs, 1).data, input(inputs, 2).data]
    for (let i = 0; i < out.length; i++) out[i] = condition[i] ? yes[i]! : no[i]!
  },
  reshape: (_, __, inputs) => input(inputs, 0).data,
  permute: (out, node, inputs) => view(out, input(inputs, 0), permuted(input(inputs, 0).shape, node.args.axes)),
  broadcast: (out, node, inputs) => {
    const x = input(inputs, 0)
    const strides = stridesOf(x.shape).map((stride, i) => (x.shape[i] === 1 ? 0 : stride))
    view(out, x, { offset: 0, shape: node.shape, strides })
  },
  slice, pad, concat, reverse,
  window: (out, node, inputs) => view(out, input(inputs, 0), windows(input(inputs, 0).shape, node.args, node.shape)),
  unwindow: (out, node, inputs) => addInto(out, input(inputs, 0).data, windows(node.shape, node.args, input(inputs, 0).shape)),
  sum: (out, node, inputs) => sum(out, input(inputs, 0), node.args.axes),
  max_of: (out, node, inputs) => maxOf(out, input(inputs, 0), node.args.axes),
  argmax: (out, node, inputs) => argmax(out, input(inputs, 0), node.args.axis),
  cumsum: (out, node, inputs) => cumsum(out, input(inputs, 0), node.args),
  dot: (out, node, inputs) => dot(out, node, input(inputs, 0), input(inputs, 1)),
  gather: (out, _, inputs) => gather(out, input(inputs, 0), input(inputs, 1)),
  scatter_add: (out, node, inputs) => scatterAdd(out, input(inputs, 0), input(inputs, 1), node.args.rows),
  take: (out, _, inputs) => take(out, input(inputs, 0), input(inputs, 1)),
  put_add: (out, node, inputs) => putAdd(out, input(inputs, 0), input(inputs, 1), node.args.n),
  top_k: (out, node, inputs) => topK(out, input(inputs, 0), node.args.k),
  scan,
}

function meaningOf<O extends Primitive>(op: O): Meaning<O> {
  return meanings[op]
}

function compute(node: NodeOf<Primitive>, inputs: readonly Value[], run: Run): Value {
  const out = allocate(node.dtype, size(node.shape), run.precision)
  const data = meaningOf(node.op)(out, node, inputs, run) ?? out
  return { shape: node.shape, dtype: node.dtype, data }
}

/** One primitive op alone. Not for inputs and loops. */
export function interpretNode(node: NodeOf<Primitive>, inputs: readonly Value[], precision: Precision): Value {
  return compute(node, inputs, { precision, feeds: new Map(), loop: () => [] })
}

/** One primitive op alone, in f32, into `out`, which is zero at first: for devices that lack a kernel. Not for inputs and loops. */
export function interpretInto(out: Data, node: NodeOf<Primitive>, inputs: readonly Value[]): void {
  const run: Run = { precision: "f32", feeds: new Map(), loop: () => [] }
  const own = meaningOf(node.op)(out, node, inputs, run)
  if (own !== undefined) out.set(own)
}

/** A graph made ready: primitive ops in order, with the place of each value's last use. */
export interface Prepared {
  readonly order: readonly NodeOf<Primitive>[]
  readonly outputs: readonly Node[]
  readonly lastUse: ReadonlyMap<Node, number>
  readonly bodies: Map<Body, Prepared>
}

function isPrimitive(node: Node): node is Node & NodeOf<Primitive> {
  return !isComposite(node.op)
}

function prepareOutputs(outputs: readonly Node[], bodies: Map<Body, Prepared>): Prepared {
  const order = reachable(outputs).filter(isPrimitive)
  const lastUse = new Map<Node, number>()
  order.forEach((node, i) => node.inputs.forEach((x) => lastUse.set(x, i)))
  outputs.forEach((node) => lastUse.set(node, order.length))
  return { order, outputs, lastUse, bodies }
}

/** Decomposes and orders a graph once, for many runs. */
export function prepare(outputs: readonly Node[]): Prepared {
  return prepareOutputs(decomposeNodes(outputs), new Map())
}

function runLoop(node: NodeOf<"scan">, inputs: readonly Value[], bodies: Map<Body, Prepared>, precision: Precision): readonly Value[] {
  const { body, trips, carries } = node.args
  const prepared = bodies.get(body) ?? prepareOutputs(body.outputs, bodies)
  bodies.set(body, prepared)
  let current = inputs.slice(0, carries)
  const stacks = body.outputs.slice(carries).map((out) => ({ shape: [trips, ...out.shape], dtype: out.dtype, data: allocate(out.dtype, trips * size(out.shape), precision) }))
  for (let trip = 0; trip < trips; trip++) {
    const feeds = new Map(current.map((x, i) => [`carry${i}`, x]))
    inputs.slice(carries).forEach((x, i) => {
      const n = x.data.length / trips
      feeds.set(`x${i}`, { shape: x.shape.slice(1), dtype: x.dtype, data: x.data.subarray(trip * n, (trip + 1) * n) })
    })
    const results = runPrepared(prepared, feeds, precision)
    current = results.slice(0, carries)
    stacks.forEach((stack, i) => {
      const result = input(results, carries + i)
      stack.data.set(result.data, trip * result.data.length)
    })
  }
  return [...current, ...stacks]
}

/** Runs a prepared graph once. Values may share memory with feeds and with one another: they are not to be written. */
export function runPrepared(prepared: Prepared, feeds: ReadonlyMap<string, Value>, precision: Precision): Value[] {
  const values = new Map<Node, Value>()
  const loops = new Map<string, readonly Value[]>()
  const bodyNumbers = new Map<Body, number>()
  const run: Run = {
    precision,
    feeds,
    loop(node, inputs) {
      const number = bodyNumbers.get(node.args.body) ?? bodyNumbers.size
      bodyNumbers.set(node.args.body, number)
      const key = `${number}|${node.inputs.map((x) => x.id).join()}`
      const results = loops.get(key) ?? runLoop(node, inputs, prepared.bodies, precision)
      loops.set(key, results)
      return results
    },
  }
  prepared.order.forEach((node, i) => {
    const inputs = node.inputs.map((x) => valueOf(values, x))
    values.set(node as Node, compute(node, inputs, run))
    for (const x of node.inputs) if (prepared.lastUse.get(x) === i) values.delete(x)
  })
  return prepared.outputs.map((node) => valueOf(values, node))
}

function valueOf(values: ReadonlyMap<Node, Value>, node: Node): Value {
  const found = values.get(node)
  if (found === undefined) throw new Error(`interpret: %${node.id} (${node.op}) has no value yet`)
  return found
}

/** The values of nodes, for tests and for constants the compiler needs. */
export function evaluate(nodes: readonly Node[], feeds: Readonly<Record<string, Value>> = {}, precision: Precision = "f32"): Value[] {
  return runPrepared(prepare(nodes), new Map(Object.entries(feeds)), precision)
}
