/** From a program to kernels. */
import type { Body, Factors, Node, NodeOf, Program } from "../graph/node.ts"
import { size } from "../graph/node.ts"
import { reachable } from "../graph/walk.ts"
import type { Grain } from "./domain.ts"
import { chunkOf, coarse, colIndex, pointIndex, rowIndex } from "./domain.ts"
import { createExprBuilder } from "./expr.ts"
import type { RowsGroup, SoloGroup } from "./groups.ts"
import { groupNodes } from "./groups.ts"
import { coordinatesOf, linear, plus, times, variable } from "./index.ts"
import type { Buffer, Kernel, KernelProgram, RowsKernel, Store } from "./ir.ts"
import { inputAt, isLeaf, storageOf, toPrimitives } from "./primitives.ts"
import { withRoundedResults } from "./rounded.ts"
import { withSiblings } from "./siblings.ts"
import { soloKernel } from "./solo.ts"
import { chooseStorage, heldIn } from "./storage.ts"
import type { Storage } from "./storage.ts"
import { trafficOf } from "./traffic.ts"

/** A state that the program replaces: after the call it holds what `value` holds. */
export interface Update { readonly state: Buffer; readonly value: Buffer }

export interface Fused extends KernelProgram {
  readonly updates: readonly Update[]
}

interface Table {
  readonly buffers: Buffer[]
  add(name: string, role: Buffer["role"], node: Pick<Node, "dtype" | "shape">, extra?: Partial<Pick<Buffer, "values" | "stored">>): Buffer
}

function createTable(): Table {
  const buffers: Buffer[] = []
  return {
    buffers,
    add(name, role, { dtype, shape }, extra) {
      const buffer: Buffer = { id: buffers.length, name, role, dtype, stored: null, size: size(shape), shape, values: null, ...extra }
      buffers.push(buffer)
      return buffer
    },
  }
}

/** A format in which a target multiplies, so that rounded factors may lie in it, and whose kernels round what they store. */
interface Held { readonly format: Factors; readonly rounded: ReadonlySet<Node> }

/** What a target wants of all kernels. */
interface Way { readonly held: Held | null; readonly grain: Grain }

/** `format`: in which a target multiplies rounded factors; null: in f32. `grain`: how finely it divides sums over rows. */
export function fuse(given: Program, format: Factors | null = null, grain = coarse): Fused {
  const opened = toPrimitives(given)
  const { program, rounded } = format === null || format === "f32" ? { program: opened, rounded: new Set<Node>() } : withRoundedResults(opened, format, (of) => targetsOf(changedBy(of).map(({ node }) => node)))
  const table = createTable()
  const inputs = new Map<Node, Buffer>()
  for (const node of program.inputs) inputs.set(node, table.add(node.args.name, node.args.role, node, { stored: node.args.stored ?? null }))
  const states = statesOf(program)
  const changed = changedBy(program)
  const { kernels, values } = fuseNodes(table, inputs, changed.map((output) => output.node), { held: format === null || format === "f32" ? null : { format, rounded }, grain })
  const updates: Update[] = []
  const outputs: { name: string; buffer: Buffer }[] = []
  const widened: Kernel[] = []
  changed.forEach(({ name, node }, i) => {
    const value = values[i]
    const state = states.get(name)
    if (value === undefined) throw new Error(`fuse: output ${name} has no value`)
    if (state === undefined && value.stored !== null) {
      const wide = table.add(`${name}, widened`, "temp", node)
      widened.push(copyKernel(value, wide, node, new Map()))
      outputs.push({ name, buffer: wide })
    } else if (state === undefined) outputs.push({ name, buffer: value })
    else updates.push({ state: bufferFor(inputs, state), value })
  })
  return { name: program.name, buffers: table.buffers, kernels: [...kernels, ...widened], updates, outputs, inputs: program.inputs.map((node) => ({ name: node.args.name, buffer: bufferFor(inputs, node) })) }
}

const statesOf = (program: Program): ReadonlyMap<string, Node> => new Map(program.inputs.filter((node) => node.args.role === "state").map((node) => [node.args.name, node]))

/** Outputs but states that stay as they are. */
function changedBy(program: Program): Program["outputs"] {
  const states = statesOf(program)
  return program.outputs.filter(({ name, node }) => states.get(name) !== node)
}

const targetsOf = (wanted: readonly Node[]): readonly Node[] => wanted.map((node) => (node.op === "reshape" ? underReshapes(node) : node)).filter((node) => !isLeaf(node))

function bufferFor(inputs: ReadonlyMap<Node, Buffer>, node: Node): Buffer {
  const buffer = inputs.get(node)
  if (buffer === undefined) throw new Error(`fuse: %${node.id} (${node.op}) has no buffer`)
  return buffer
}

/** Kernels that compute nodes into buffers of their own, none of which is an input's. */
function fuseNodes(table: Table, inputs: ReadonlyMap<Node, Buffer>, wanted: readonly Node[], way: Way): { readonly kernels: readonly Kernel[]; readonly values: readonly Buffer[] } {
  const { held, grain } = way
  const order = reachable(wanted)
  const targets = wanted.map((node) => (node.op === "reshape" ? underReshapes(node) : node))
  const storage = chooseStorage(order, targets.filter((node) => !isLeaf(node)))
  const narrow = held === null ? new Set<Node>() : heldIn(held.format, order, storage, targets, held.rounded)
  const buffers = new Map<Node, Buffer>(inputs)
  const bufferOf = (node: Node): Buffer => {
    const known = buffers.get(node)
    if (known !== undefined) return known
    const made = table.add(nameOf(node), node.op === "literal" ? "constant" : "temp", node, node.op === "literal" ? { values: node.args.values } : narrow.has(node) && held?.format === "bf16" ? { stored: held.format } : { stored: storageOf(node) })
    buffers.set(node, made)
    return made
  }
  const partial = (node: Node, chunks: number, cols: number): Buffer => table.add(`${nameOf(node)}, partial sums`, "temp", { dtype: node.dtype, shape: [chunks, cols] })
  const numbers = new Map<Body, number>()
  const soloKey = (node: Node): string => keyOf(node, numbers)
  const groups = groupNodes(order, { storage, bufferOf, partial, soloKey, chunkOf: (rows) => chunkOf(rows, grain) })
  const kernels = groups.flatMap((group, i) => (group.is === "rows" ? [rowsKernel(group, bufferOf, i, grain)] : soloKernels(table, group, storage, bufferOf, i, way)))
  const copies = new Map<Node, Buffer>()
  const values = targets.map((node) => {
    if (!isLeaf(node) && !isCopied(node, storage)) return bufferOf(node)
    const copy = copies.get(node) ?? table.add(`${nameOf(node)}, copied`, "temp", node)
    if (!copies.has(node)) kernels.push(copyKernel(bufferOf(node), copy, node, storage))
    copies.set(node, copy)
    return copy
  })
  return { kernels: withSiblings(withoutDead(kernels, new Set(values))), values }
}

function underReshapes(node: Node): Node {
  let at = node
  while (at.op === "reshape") at = inputAt(at, 0)
  return at
}

/** What is laid out as a reader wants it is not laid out as the caller does. */
function isCopied(node: Node, storage: Storage): boolean {
  const strides = storage.get(node)
  return strides !== undefined && strides.some((stride, i) => node.shape[i] !== 1 && stride !== size(node.shape.slice(i + 1)))
}

function nameOf(node: Node): string {
  return node.op === "input" ? node.args.name : `${node.op}${node.note === "" ? "" : ` ${node.note}`}`
}

/** Gradients of one attention are one kernel, and so are the outputs of one loop. */
function keyOf(node: Node, numbers: Map<Body, number>): string {
  const inputs = node.inputs.map((x) => x.id).join()
  if (node.op === "attend_grad") return `attend_grad ${inputs} ${JSON.stringify({ ...node.args, wrt: null })}`
  if (node.op !== "scan") return `%${node.id}`
  const number = numbers.get(node.args.body) ?? numbers.size
  numbers.set(node.args.body, number)
  return `scan ${inputs} ${number} ${node.args.trips}`
}

function rowsKernel(group: RowsGroup, bufferOf: (node: Node) => Buffer, number: number, grain: Grain): RowsKernel {
  const stores: Store[] = [...group.values].map(([node, { expr, extent }]) => ({
    buffer: bufferOf(node), value: expr, index: extent === "full" ? pointIndex(group.domain) : rowIndex(group.domain),
  }))
  const notes = [...new Set(group.members.map((node) => node.note).filter((note) => note !== ""))]
  const ops = [...new Set(group.members.map((node) => node.op))]
  return { kind: "rows", name: `rows${number}`, note: `${ops.join(", ")}${notes.length > 0 ? ` of ${notes.slice(0, 3).join(", ")}` : ""}`, ...group.domain, chunk: chunkOf(group.domain.rows, grain), stores, columns: group.columns }
}

function copyKernel(from: Buffer, to: Buffer, node: Node, storage: Storage): RowsKernel {
  const e = createExprBuilder()
  const domain = { rows: from.size / (node.shape.at(-1) ?? 1), cols: node.shape.at(-1) ?? 1 }
  const place = isCopied(node, storage) ? linear(coordinatesOf(pointIndex(domain), node.shape), storage.get(node) ?? []) : pointIndex(domain)
  return { kind: "rows", name: `copy${to.id}`, note: `copy of ${from.name}`, ...domain, chunk: chunkOf(domain.rows), columns: [], stores: [{ buffer: to, index: pointIndex(domain), value: e.load(from, place, []) }] }
}

function soloKernels(table: Table, group: SoloGroup, storage: Storage, bufferOf: (node: Node) => Buffer, number: number, way: Way): Kernel[] {
  const [first] = group.members
  if (first === undefined) return []
  return first.op === "scan" ? loopKernels(table, group, first, bufferOf, number, way) : [soloKernel(group.members, storage, bufferOf, (node) => table.add(`${nameOf(node)}, made`, "temp", node), number)]
}

// ---------------------------------------------------------------- loops

/** Carries live in buffers that the body reads; at the end of each turn they get their next values. */
function loopKernels(table: Table, group: SoloGroup, first: NodeOf<"scan">, bufferOf: (node: Node) => Buffer, number: number, way: Way): Kernel[] {
  const { body, trips, carries } = first.args
  const inside = new Map<Node, Buffer>()
  const before: Kernel[] = []
  const start: Kernel[] = []
  body.inputs.forEach((node, i) => {
    const buffer = table.add(`loop${number} ${i < carries ? "carry" : "slice"} ${i}`, "temp", node)
    inside.set(node, buffer)
    const given = bufferOf(inputAt(first as Node, i))
    if (i < carries) before.push(moved(given, buffer, buffer.size, 0, 0))
    else start.push(moved(given, buffer, buffer.size, buffer.size, 0))
  })
  const { kernels, values } = fuseNodes(table, inside, body.outputs, way)
  const end: Kernel[] = []
  values.forEach((value, i) => {
    const node = group.members.find((member) => member.op === "scan" && member.args.output === i)
    if (i < carries) end.push(moved(value, bufferFor(inside, body.inputs[i] as Node), value.size, 0, 0))
    else if (node !== undefined) end.push(moved(value, bufferOf(node), value.size, 0, value.size))
  })
  const after = group.members.flatMap((member) => (member.op === "scan" && member.args.output < carries ? [moved(bufferFor(inside, body.inputs[member.args.output] as Node), bufferOf(member as Node), size(member.shape), 0, 0)] : []))
  return [...before, { kind: "loop", name: `loop${number}`, note: first.note, trips, body: [...start, ...kernels, ...end] }, ...after]
}

/** Copies `n` elements; the places move on by the given steps with each trip. */
function moved(from: Buffer, to: Buffer, n: number, fromStep: number, toStep: number): RowsKernel {
  const e = createExprBuilder()
  const trip = variable("trip", 2 ** 30)
  const j = colIndex({ rows: 1, cols: n })
  return {
    kind: "rows", name: `move${from.id}to${to.id}`, note: `${to.name} from ${from.name}`, rows: 1, cols: n, chunk: 1, columns: [],
    stores: [{ buffer: to, index: plus(times(trip, toStep), j), value: e.load(from, plus(times(trip, fromStep), j), []) }],
  }
}

/** Drops stores that nobody reads, and kernels without any. */
function withoutDead(kernels: readonly Kernel[], wanted: ReadonlySet<Buffer>): Kernel[] {
  const read = new Set<Buffer>(wanted)
  for (const kernel of kernels) for (const buffer of trafficOf(kernel).reads) read.add(buffer)
  return kernels.flatMap((kernel): Kernel[] => {
    if (kernel.kind !== "rows") return [kernel]
    const stores = kernel.stores.filter((store) => read.has(store.buffer))
    return stores.length + kernel.columns.length === 0 ? [] : [{ ...kernel, stores }]
  })
}

