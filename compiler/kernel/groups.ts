/**
 * Fusion: stored values that share a domain and line up are computed by one kernel. A value joins the kernel that makes what
 * it needs, or one that reads the same, unless that would make kernels wait for one another in a circle.
 */
import type { Node, NodeOf } from "../graph/node.ts"
import type { Domain, Extent, Reduction } from "./domain.ts"
import { colIndex, coordinatesIn, extentIn, naturalDomain, pointIndex, reductionOf, rowIndex } from "./domain.ts"
import type { ExprBuilder } from "./expr.ts"
import { createExprBuilder } from "./expr.ts"
import type { Index } from "./index.ts"
import { linear, plus, sameIndex, times, variable } from "./index.ts"
import type { Buffer, Column, Combine, Expr } from "./ir.ts"
import { inputAt, isLeaf, isOpaque, isReduction, stridesOf } from "./primitives.ts"
import type { Storage } from "./storage.ts"
import { createValues } from "./values.ts"

/** Values of one kernel-to-be. */
export interface RowsGroup {
  readonly is: "rows"
  readonly domain: Domain
  readonly e: ExprBuilder
  readonly values: Map<Node, { readonly expr: Expr; readonly extent: Extent }>
  readonly columns: Column[]
  readonly members: Node[]
  readonly reads: Set<Node>
  readonly number: number
  readonly deps: Set<Group>
  /** Numbers of the groups that it waits for, directly or not, as bits. */
  readonly waits: Uint32Array
}
/** One op (or the outputs of one op) with a kernel of its own. */
export interface SoloGroup {
  readonly is: "solo"
  readonly members: Node[]
  readonly number: number
  readonly deps: Set<Group>
  readonly waits: Uint32Array
}
export type Group = RowsGroup | SoloGroup

export interface Grouping {
  readonly storage: Storage
  /** The buffer of a stored node; made when first asked for. */
  bufferOf(node: Node): Buffer
  partial(node: Node, chunks: number, cols: number): Buffer
  /** Rows of one chunk, of so many rows. */
  chunkOf(rows: number): number
  /** Ops that become one kernel together have one key. */
  soloKey(node: Node): string
}

interface State extends Grouping {
  readonly groups: Group[]
  readonly groupOf: Map<Node, Group>
  readonly readers: Map<Node, RowsGroup[]>
  readonly solos: Map<string, SoloGroup>
  /** Words of a set of groups. */
  readonly words: number
}

/** All kernels-to-be, in an order of which the first members are in the graph's order. */
export function groupNodes(order: readonly Node[], grouping: Grouping): readonly Group[] {
  const s: State = { ...grouping, groups: [], groupOf: new Map(), readers: new Map(), solos: new Map(), words: Math.ceil((2 * grouping.storage.size + 1) / 32) }
  for (const node of order) {
    if (!s.storage.has(node) || isLeaf(node)) continue
    if (isOpaque(node)) addSolo(s, node)
    else place(s, node)
  }
  return s.groups
}

function addSolo(s: State, node: Node): void {
  const key = s.soloKey(node)
  const deps = producers(s, node.inputs.flatMap((x) => leavesOf(s, x)))
  const before = s.solos.get(key)
  const group: SoloGroup = before ?? { is: "solo", members: [], number: s.groups.length, deps: new Set(), waits: new Uint32Array(s.words) }
  group.members.push(node)
  for (const dep of deps) wait(s, group, dep)
  if (before === undefined) {
    s.solos.set(key, group)
    s.groups.push(group)
  }
  s.groupOf.set(node, group)
}

/** Stored nodes from which a value is computed. */
function leavesOf(s: State, top: Node): Node[] {
  const leaves = new Set<Node>()
  const seen = new Set<Node>([top])
  const pending = [top]
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (s.storage.has(node)) {
      leaves.add(node)
      continue
    }
    for (const x of node.inputs) if (!seen.has(x)) { seen.add(x); pending.push(x) }
  }
  return [...leaves].sort((x, y) => y.id - x.id)
}

function producers(s: State, leaves: readonly Node[]): Set<Group> {
  return new Set(leaves.map((leaf) => s.groupOf.get(leaf)).filter((group) => group !== undefined))
}

/** Whether `from` is `to` or waits for it, directly or not. */
function waitsFor(from: Group, to: Group): boolean {
  return from === to || (((from.waits[to.number >>> 5] ?? 0) >>> (to.number & 31)) & 1) === 1
}

function wait(s: State, group: Group, dep: Group): void {
  if (group.deps.has(dep)) return
  group.deps.add(dep)
  const join = (of: Group): void => {
    for (let i = 0; i < s.words; i++) of.waits[i] = (of.waits[i] ?? 0) | (dep.waits[i] ?? 0)
    of.waits[dep.number >>> 5] = (of.waits[dep.number >>> 5] ?? 0) | (1 << (dep.number & 31))
  }
  join(group)
  for (const other of s.groups) if (other !== group && waitsFor(other, group)) join(other)
}

function place(s: State, node: Node): void {
  const leaves = node.inputs.flatMap((x) => leavesOf(s, x))
  const deps = producers(s, leaves)
  const makers = [...deps].filter((group): group is RowsGroup => group.is === "rows").reverse()
  for (const group of makers) if (add(s, group, node, leaves, deps)) return
  const siblings = new Set(leaves.flatMap((leaf) => s.readers.get(leaf) ?? []))
  for (const group of [...siblings].reverse().slice(0, 8)) {
    if (!deps.has(group) && addsNoWait(group, deps) && add(s, group, node, leaves, deps)) return
  }
  const last = s.groups.at(-1)
  if (last?.is === "rows" && last.domain.rows * last.domain.cols === 1 && !deps.has(last) && addsNoWait(last, deps) && add(s, last, node, leaves, deps)) return
  const domain = isReduction(node) ? reductionOf(node as NodeOf<"sum">).domain : naturalDomain(node.shape)
  const fresh = newGroup(s, domain)
  if (!add(s, fresh, node, leaves, deps)) throw new Error(`fuse: %${node.id} (${node.op}) does not fit a kernel of its own`)
}

/** Joining must not make a value wait for what it does not need. */
function addsNoWait(group: Group, deps: ReadonlySet<Group>): boolean {
  return [...group.deps].every((needed) => [...deps].some((dep) => waitsFor(dep, needed)))
}

function newGroup(s: State, domain: Domain): RowsGroup {
  const group: RowsGroup = { is: "rows", domain, e: createExprBuilder(), values: new Map(), columns: [], members: [], reads: new Set(), number: s.groups.length, deps: new Set(), waits: new Uint32Array(s.words) }
  s.groups.push(group)
  return group
}

/** Computes the node in the group if it lines up; says whether it did. */
function add(s: State, group: RowsGroup, node: Node, leaves: readonly Node[], deps: ReadonlySet<Group>): boolean {
  for (const dep of deps) if (dep !== group && waitsFor(dep, group)) return false
  const done = isReduction(node) ? addReduction(s, group, node as NodeOf<"sum"> | NodeOf<"max_of">) : addValue(s, group, node)
  if (!done) return false
  for (const dep of deps) if (dep !== group) wait(s, group, dep)
  for (const leaf of leaves) {
    group.reads.add(leaf)
    const readers = s.readers.get(leaf) ?? []
    if (readers.at(-1) !== group) readers.push(group)
    s.readers.set(leaf, readers)
  }
  return true
}

/** A value at given coordinates in a group; null if something the group makes is read out of line. */
function evaluate(s: State, group: RowsGroup, node: Node, coordinates: readonly Index[], top: Node | null): Expr | null {
  let aligned = true
  const values = createValues({
    e: group.e,
    source(x, c, guards) {
      if (x === top || !s.storage.has(x)) return null
      const own = group.values.get(x)
      if (own === undefined) {
        if (s.groupOf.get(x) === group) aligned = false
        return group.e.load(s.bufferOf(x), linear(c, s.storage.get(x) ?? stridesOf(x.shape)), guards)
      }
      const here = own.extent === "full" ? pointIndex(group.domain) : rowIndex(group.domain)
      if (!sameIndex(linear(c, stridesOf(x.shape)), here)) aligned = false
      return own.expr
    },
  })
  const expr = values(node, coordinates, [])
  return aligned ? expr : null
}

function addValue(s: State, group: RowsGroup, node: Node): boolean {
  const extent = extentIn(node.shape, group.domain)
  if (extent === null) return false
  const expr = evaluate(s, group, node, coordinatesIn(node.shape, group.domain, extent), node)
  if (expr === null) return false
  enter(s, group, node, expr, extent)
  return true
}

function enter(s: State, group: RowsGroup, node: Node, expr: Expr, extent: Extent): void {
  group.values.set(node, { expr, extent })
  group.members.push(node)
  s.groupOf.set(node, group)
}

function addReduction(s: State, group: RowsGroup, node: NodeOf<"sum"> | NodeOf<"max_of">): boolean {
  const x = inputAt(node as Node, 0)
  const combine: Combine = node.op === "sum" ? "sum" : "max"
  const reduction = reductionIn(node, group.domain)
  if (reduction === null) return false
  const value = evaluate(s, group, x, reduction.coordinates, null)
  if (value === null) return false
  const whole = (): Expr => group.e.reduced(combine, spread(group, value))
  if (reduction.kind === "along") enter(s, group, node as Node, whole(), "row")
  else addColumn(s, group, node as Node, combine, reduction.kind === "all" ? whole() : value, reduction.kind === "over" ? group.domain.cols : 1)
  return true
}

/** A value that is the same in all columns is still added once for each of them. */
function spread(group: RowsGroup, value: Expr): Expr {
  return value.depends.has("j") || group.domain.cols === 1 ? value : group.e.select(group.e.binary("le", group.e.constant(0, "i32"), group.e.index(colIndex(group.domain))), value, value)
}

/** The reduction in a group's domain: its own, or over rows of values that are one per row. */
function reductionIn(node: NodeOf<"sum"> | NodeOf<"max_of">, domain: Domain): Reduction | { readonly kind: "rows"; readonly coordinates: readonly Index[] } | null {
  const own = reductionOf(node)
  if (own.domain.rows === domain.rows && own.domain.cols === domain.cols) return own
  const { shape } = inputAt(node as Node, 0)
  const everything = shape.every((n, i) => n === 1 || node.args.axes.includes(i))
  if (!everything || extentIn(shape, domain) !== "row" || domain.rows === 1) return null
  return { kind: "rows", coordinates: coordinatesIn(shape, domain, "row") }
}

/** Chunks of rows are combined here, and the chunks by a small kernel of their own. */
function addColumn(s: State, group: RowsGroup, node: Node, combine: Combine, value: Expr, cols: number): void {
  const chunks = Math.ceil(group.domain.rows / s.chunkOf(group.domain.rows))
  if (chunks === 1) {
    group.columns.push({ buffer: s.bufferOf(node), combine, value })
    group.members.push(node)
    s.groupOf.set(node, group)
    return
  }
  const partial = s.partial(node, chunks, cols)
  group.columns.push({ buffer: partial, combine, value })
  const total = newGroup(s, { rows: 1, cols })
  wait(s, total, group)
  const k = variable("k", chunks)
  const place = plus(times(k, cols), colIndex(total.domain))
  enter(s, total, node, total.e.fold(combine, chunks, total.e.load(partial, place, [])), "full")
}
