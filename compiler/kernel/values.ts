/** The value of a node at given coordinates, as an expression over what is stored. Views change coordinates, pointwise ops are written out. */
import type { Node, NodeOf } from "../graph/node.ts"
import type { ExprBuilder } from "./expr.ts"
import type { Guard, Index } from "./index.ts"
import { constant, coordinatesOf, div, indexKey, linear, mod, plus, times, valueIndex, variable, zero } from "./index.ts"
import type { BinaryOp, Expr, UnaryOp } from "./ir.ts"
import { inputAt, stridesOf } from "./primitives.ts"

export interface Reader {
  readonly e: ExprBuilder
  /** The expression of a stored node, or null: then it is computed here. */
  source(node: Node, coordinates: readonly Index[], guards: readonly Guard[]): Expr | null
}

export type ValueAt = (node: Node, coordinates: readonly Index[], guards: readonly Guard[]) => Expr

export function createValues(reader: Reader): ValueAt {
  const known = new Map<string, Expr>()
  const at: ValueAt = (node, coordinates, guards) => {
    const key = `${node.id}|${coordinates.map(indexKey).join()}|${guards.map((g) => `${g.low}<${indexKey(g.index)}<${g.high}`).join()}`
    const before = known.get(key)
    if (before !== undefined) return before
    const found = reader.source(node, coordinates, guards) ?? computed(reader.e, at, node, coordinates, guards)
    known.set(key, found)
    return found
  }
  return at
}

function computed(e: ExprBuilder, at: ValueAt, node: Node, c: readonly Index[], guards: readonly Guard[]): Expr {
  const input = (i: number): Expr => at(inputAt(node, i), c, guards)
  switch (node.op) {
    case "fill": return e.constant(node.args.value, node.dtype)
    case "iota": return e.index(c[node.args.axis] ?? zero)
    case "random": return random(e, at, node, c, guards)
    case "neg": case "abs": case "sign": case "exp": case "log": case "sqrt": case "rsqrt": case "sin": case "cos": case "tanh":
    case "erf": case "sigmoid": case "floor": case "round": case "not": return e.unary(node.op satisfies UnaryOp, input(0))
    case "narrow": return e.unary(node.args.format === "f16" ? "narrow_f16" : "narrow_bf16", input(0))
    case "cast": return e.cast(input(0), node.dtype)
    case "stop_gradient": return input(0)
    case "add": case "sub": case "mul": case "div": case "pow": case "max": case "min": case "mod":
    case "lt": case "le": case "eq": case "and": case "or": return e.binary(node.op satisfies BinaryOp, input(0), input(1))
    case "select": return e.select(input(0), input(1), input(2))
    case "gather": return gathered(e, at, node, c, guards)
    case "take": return taken(e, at, node, c, guards)
    case "unwindow": return unwindow(e, at, node, c, guards)
    case "pad": return padded(e, at, node, c, guards)
    case "concat": return joined(e, at, node, c, guards)
    case "reshape": case "permute": case "broadcast": case "slice": case "reverse": case "window":
      return at(inputAt(node, 0), viewed(node, c), guards)
    default: throw new Error(`kernel: %${node.id} (${node.op}) is not stored and cannot be computed in place`)
  }
}

/** Coordinates in the input of a view that only moves elements. */
export function viewed(node: NodeOf<"reshape"> | NodeOf<"permute"> | NodeOf<"broadcast"> | NodeOf<"slice"> | NodeOf<"reverse"> | NodeOf<"window">, c: readonly Index[]): readonly Index[] {
  const from = inputAt(node as Node, 0).shape
  switch (node.op) {
    case "reshape": return coordinatesOf(linear(c, stridesOf(node.shape)), from)
    case "permute": {
      const place: Index[] = from.map(() => zero)
      node.args.axes.forEach((axis, i) => { place[axis] = c[i] ?? zero })
      return place
    }
    case "broadcast": return from.map((n, i) => (n === 1 ? zero : c[i] ?? zero))
    case "slice": return from.map((_, i) => plus(constant(node.args.start[i] ?? 0), times(c[i] ?? zero, node.args.step[i] ?? 1)))
    case "reverse": return from.map((n, i) => (node.args.axes.includes(i) ? plus(constant(n - 1), times(c[i] ?? zero, -1)) : c[i] ?? zero))
    case "window": {
      const { axis, stride, dilation } = node.args
      const place = plus(times(c[axis] ?? zero, stride), times(c[axis + 1] ?? zero, dilation))
      return [...c.slice(0, axis), place, ...c.slice(axis + 2)]
    }
  }
}

function nothing(e: ExprBuilder, like: Expr): Expr {
  return e.constant(0, like.dtype)
}

/** A load under these guards is 0 where they fail; anything else is chosen. */
function under(e: ExprBuilder, guards: readonly Guard[], value: Expr): Expr {
  return value.is === "load" && guards.every((g) => value.guards.some((own) => own.low === g.low && own.high === g.high && indexKey(own.index) === indexKey(g.index))) ? value : e.guarded(guards, value, nothing(e, value))
}

function random(e: ExprBuilder, at: ValueAt, node: NodeOf<"random">, c: readonly Index[], guards: readonly Guard[]): Expr {
  const [seed, step, rows] = [inputAt(node, 0), inputAt(node, 1), inputAt(node, 2)]
  const element = linear(c.slice(1), stridesOf(node.shape.slice(1)))
  return e.random(node.args.stream, at(seed, [], guards), at(step, [], guards), at(rows, c.slice(0, 1), guards), element)
}

function gathered(e: ExprBuilder, at: ValueAt, node: NodeOf<"gather">, c: readonly Index[], guards: readonly Guard[]): Expr {
  const [table, ids] = [inputAt(node, 0), inputAt(node, 1)]
  const rank = ids.shape.length
  const id = valueIndex(at(ids, c.slice(0, rank), guards))
  const inside: Guard = { index: id, low: 0, high: table.shape[0] ?? 1 }
  return under(e, [inside], at(table, [id, ...c.slice(rank)], [...guards, inside]))
}

function taken(e: ExprBuilder, at: ValueAt, node: NodeOf<"take">, c: readonly Index[], guards: readonly Guard[]): Expr {
  const [x, ids] = [inputAt(node, 0), inputAt(node, 1)]
  const id = valueIndex(at(ids, c, guards))
  const inside: Guard = { index: id, low: 0, high: x.shape.at(-1) ?? 1 }
  return under(e, [inside], at(x, [...c.slice(0, -1), id], [...guards, inside]))
}

/** Element i of the axis gets place k of window w wherever w * stride + k * dilation = i. */
function unwindow(e: ExprBuilder, at: ValueAt, node: NodeOf<"unwindow">, c: readonly Index[], guards: readonly Guard[]): Expr {
  const x = inputAt(node, 0)
  const { axis, stride, dilation } = node.args
  const [count = 1, size = 1] = [x.shape[axis], x.shape[axis + 1]]
  const k = variable("k", size)
  // Counted from a place where nothing is negative.
  const behind = Math.ceil(((size - 1) * dilation) / stride)
  const from = plus(plus(c[axis] ?? zero, times(k, -dilation)), constant(behind * stride))
  const w = plus(div(from, stride), constant(-behind))
  const inside: Guard[] = [{ index: mod(from, stride), low: 0, high: 1 }, { index: w, low: 0, high: count }]
  const body = under(e, inside, at(x, [...c.slice(0, axis), w, k, ...c.slice(axis + 1)], [...guards, ...inside]))
  return e.fold("sum", size, body)
}

function padded(e: ExprBuilder, at: ValueAt, node: NodeOf<"pad">, c: readonly Index[], guards: readonly Guard[]): Expr {
  const x = inputAt(node, 0)
  const place = c.map((index, i) => plus(index, constant(-(node.args.low[i] ?? 0))))
  const inside = place.map((index, i): Guard => ({ index, low: 0, high: x.shape[i] ?? 1 }))
  const value = at(x, place, [...guards, ...inside])
  return node.args.value === 0 ? under(e, inside, value) : e.guarded(inside, value, e.constant(node.args.value, node.dtype))
}

function joined(e: ExprBuilder, at: ValueAt, node: NodeOf<"concat">, c: readonly Index[], guards: readonly Guard[]): Expr {
  const { axis } = node.args
  let start = 0
  const parts = node.inputs.map((x) => {
    const n = x.shape[axis] ?? 1
    const place = plus(c[axis] ?? zero, constant(-start))
    start += n
    const inside: Guard = { index: place, low: 0, high: n }
    return { inside, value: at(x, [...c.slice(0, axis), place, ...c.slice(axis + 1)], [...guards, inside]) }
  })
  const last = parts.at(-1)
  if (last === undefined) throw new Error("kernel: concat of nothing")
  return parts.slice(0, -1).reduceRight((rest, { inside, value }) => e.guarded([inside], value, rest), last.value)
}
