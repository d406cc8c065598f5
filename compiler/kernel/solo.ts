/** Ops with a kernel of their own: products, attention, scatters, and what looks along an axis in order. */
import { sizesOf } from "../graph/composite-attend.ts"
import type { Node, NodeOf, Shape } from "../graph/node.ts"
import { size } from "../graph/node.ts"
import { attendInputs } from "../graph/shapes.ts"
import type { Index } from "./index.ts"
import { coordinatesOf, factorOf, linear, substitute, variable, zero } from "./index.ts"
import type { AttendGradKernel, AttendKernel, AxisKernel, Buffer, ContractKernel, Kernel, Operand, PutKernel, ScatterKernel, Strided } from "./ir.ts"
import { madeOperand, makingKernel } from "./made.ts"
import { inputAt, stridesOf } from "./primitives.ts"
import type { Storage } from "./storage.ts"
import { baseOf, putsRows } from "./storage.ts"

type BufferOf = (node: Node) => Buffer

/** `fresh` makes a buffer that stands for a matrix which is not in memory. */
export function soloKernel(members: readonly Node[], storage: Storage, bufferOf: BufferOf, fresh: BufferOf, number: number): Kernel {
  const [node] = members
  switch (node?.op) {
    case "dot": return contract(node, storage, bufferOf, fresh, number)
    case "attend": return attend(node, storage, bufferOf, number)
    case "attend_grad": return attendGrad(members as readonly NodeOf<"attend_grad">[], node, storage, bufferOf, number)
    case "put": return put(node, storage, bufferOf, number)
    case "scatter_add": return scatter(node, 1, node.args.rows, size(node.shape) / node.args.rows, bufferOf, storage, number)
    case "put_add": return scatter(node, size(node.shape) / node.args.n, node.args.n, 1, bufferOf, storage, number)
    case "argmax": case "cumsum": case "top_k": return axis(node, storage, bufferOf, number)
    default: throw new Error(`kernel: no kernel for ${node?.op}`)
  }
}

/** What an operand shows, and where its elements lie there. */
function located(node: Node, axes: readonly Index[], storage: Storage, bufferOf: BufferOf): { readonly buffer: Buffer; readonly place: Index } {
  const base = baseOf(node, axes, (view) => storage.has(view))
  if (base === null || !storage.has(base.node)) throw new Error(`kernel: operand %${node.id} (${node.op}) is not stored`)
  return { buffer: bufferOf(base.node), place: linear(base.coordinates, storage.get(base.node) ?? stridesOf(base.node.shape)) }
}

const axesOf = (shape: Shape): Index[] => shape.map((n, i) => variable(`x${i}`, n))

/** The index without the parts that belong to some variables. */
function without(place: Index, names: readonly string[]): Index {
  return substitute(place, (atom) => (atom.is === "var" && names.includes(atom.name) ? zero : null))
}

function matrix(node: Node, storage: Storage, bufferOf: BufferOf): Operand {
  const rank = node.shape.length
  const lead = node.shape.slice(0, -2)
  const batches = coordinatesOf(variable("b", size(lead)), lead)
  const { buffer, place } = located(node, [...batches, ...axesOf(node.shape).slice(-2)], storage, bufferOf)
  const [row, col] = [factorOf(place, `x${rank - 2}`), factorOf(place, `x${rank - 1}`)]
  if (row === null || col === null) throw new Error(`kernel: operand %${node.id} (${node.op}) has no strides`)
  return { buffer, offset: without(place, [`x${rank - 2}`, `x${rank - 1}`]), rowStride: row, colStride: col }
}

const turned = (x: Operand): Operand => ({ ...x, rowStride: x.colStride, colStride: x.rowStride })

function contract(node: NodeOf<"dot">, storage: Storage, bufferOf: BufferOf, fresh: BufferOf, number: number): ContractKernel {
  const [m = 1, n = 1] = node.shape.slice(-2)
  const [x, y] = [inputAt(node as Node, 0), inputAt(node as Node, 1)]
  const k = x.shape.at(node.args.ta ? -2 : -1) ?? 1
  const operand = madeOperand(node)
  const prologue = operand === null ? null : makingKernel(node, operand, storage, bufferOf, fresh(operand))
  const made = prologue?.stores[0]?.buffer
  const [a, b] = [matrix(x, storage, bufferOf), made === undefined ? matrix(y, storage, bufferOf) : { buffer: made, offset: zero, rowStride: k, colStride: 1 }]
  return {
    kind: "contract", name: `dot${number}`, note: node.note, batch: size(node.shape) / (m * n), m, n, k, factors: node.args.factors,
    a: node.args.ta ? turned(a) : a, b: node.args.tb ? turned(b) : b, prologue, out: bufferOf(node as Node), epilogue: null, keep: true,
  }
}

function strided(node: Node, storage: Storage, bufferOf: BufferOf): Strided {
  const { buffer, place } = located(node, axesOf(node.shape), storage, bufferOf)
  const strides = node.shape.map((_, i) => factorOf(place, `x${i}`) ?? NaN)
  return { buffer, base: place.base, strides: strides as unknown as Strided["strides"] }
}

function ownLayout(node: Node, storage: Storage, bufferOf: BufferOf): Strided {
  return { buffer: bufferOf(node), base: 0, strides: (storage.get(node) ?? stridesOf(node.shape)) as unknown as Strided["strides"] }
}

function plain(node: Node, storage: Storage, bufferOf: BufferOf): Buffer {
  return located(node, axesOf(node.shape), storage, bufferOf).buffer
}

function attendCommon(node: NodeOf<"attend"> | NodeOf<"attend_grad">, storage: Storage, bufferOf: BufferOf, name: string): Omit<AttendKernel, "kind" | "out"> {
  const places = attendInputs(node.args)
  const at = (i: number): Node => inputAt(node as Node, i)
  const n = sizesOf(at(0), at(1), at(2))
  const bias = node.args.biased ? at(places.bias) : null
  const biasStrides = bias === null ? null : stridesOf(bias.shape)
  return {
    name, note: node.note, args: node.args,
    sizes: { batch: n.b, heads: n.h, groups: n.g, queries: n.t, keys: n.s, depth: n.d, values: n.e },
    q: strided(at(0), storage, bufferOf), k: strided(at(1), storage, bufferOf), v: strided(at(2), storage, bufferOf),
    segments: node.args.segmented ? [plain(at(places.queryIds), storage, bufferOf), plain(at(places.keyIds), storage, bufferOf)] : null,
    offset: node.args.offset ? plain(at(places.offset), storage, bufferOf) : null,
    bias: bias === null || biasStrides === null ? null : { buffer: plain(bias, storage, bufferOf), base: 0, strides: [bias.shape[0] === 1 ? 0 : biasStrides[0] ?? 0, biasStrides[1] ?? 0, biasStrides[2] ?? 0, biasStrides[3] ?? 1] },
  }
}

function attend(node: NodeOf<"attend">, storage: Storage, bufferOf: BufferOf, number: number): AttendKernel {
  return { kind: "attend", ...attendCommon(node, storage, bufferOf, `attend${number}`), out: ownLayout(node as Node, storage, bufferOf) }
}

function attendGrad(members: readonly NodeOf<"attend_grad">[], node: NodeOf<"attend_grad">, storage: Storage, bufferOf: BufferOf, number: number): AttendGradKernel {
  const by = (wrt: number): Strided | null => {
    const member = members.find((candidate) => candidate.args.wrt === wrt)
    return member === undefined ? null : ownLayout(member as Node, storage, bufferOf)
  }
  const upstream = strided(inputAt(node as Node, node.inputs.length - 1), storage, bufferOf)
  const bias = by(3)
  const shared = bias !== null && bias.buffer.shape[0] === 1
  const dbias: Strided | null = bias !== null && shared ? { ...bias, strides: [0, bias.strides[1], bias.strides[2], bias.strides[3]] } : bias
  return { kind: "attend_grad", ...attendCommon(node, storage, bufferOf, `attend_grad${number}`), upstream, dq: by(0), dk: by(1), dv: by(2), dbias }
}

function scatter(node: Node, lead: number, rows: number, width: number, bufferOf: BufferOf, storage: Storage, number: number): ScatterKernel {
  const [ids, updates] = [inputAt(node, 0), inputAt(node, 1)]
  return {
    kind: "scatter", name: `scatter${number}`, note: node.note, lead, rows, width, count: size(ids.shape) / lead,
    ids: plain(ids, storage, bufferOf), updates: plain(updates, storage, bufferOf), out: bufferOf(node),
  }
}

function put(node: NodeOf<"put">, storage: Storage, bufferOf: BufferOf, number: number): PutKernel {
  const [x, fresh, offset] = [inputAt(node, 0), inputAt(node, 1), inputAt(node, 2)]
  const { axis } = node.args
  const [batch = 1, places = 1, count = 1] = [node.shape[0], node.shape[axis], fresh.shape[axis]]
  const [middle, inner] = [size(node.shape.slice(1, axis)), size(node.shape.slice(axis + 1))]
  const plainly = (): Strided => ({ buffer: plain(fresh, storage, bufferOf), base: 0, strides: [middle * count * inner, count * inner, inner, 1] })
  return {
    kind: "put", name: `put${number}`, note: node.note, batch, middle, places, count, inner, format: node.args.format ?? null, x: plain(x, storage, bufferOf),
    fresh: putsRows(node) ? strided(fresh, storage, bufferOf) : plainly(), offset: plain(offset, storage, bufferOf), out: bufferOf(node),
  }
}

function axis(node: NodeOf<"argmax"> | NodeOf<"cumsum"> | NodeOf<"top_k">, storage: Storage, bufferOf: BufferOf, number: number): AxisKernel {
  const x = inputAt(node as Node, 0)
  const along = node.op === "top_k" ? x.shape.length - 1 : node.args.axis
  const op: AxisKernel["op"] = node.op === "argmax" ? { is: "argmax" } : node.op === "cumsum" ? { is: "cumsum", reverse: node.args.reverse } : { is: "top_k", k: node.args.k }
  return {
    kind: "axis", name: `${node.op}${number}`, note: node.note, op, outer: size(x.shape.slice(0, along)), n: x.shape[along] ?? 1, inner: size(x.shape.slice(along + 1)),
    x: plain(x, storage, bufferOf), out: bufferOf(node as Node),
  }
}
