/** Kernels as text, and what fusion saved. */
import type { Program } from "../graph/node.ts"
import { cost } from "../plan/cost.ts"
import { indexKey } from "./index.ts"
import type { Buffer, ContractKernel, Expr, Kernel, Operand, RowsKernel } from "./ir.ts"
import { bytesMoved } from "./traffic.ts"
import type { Fused } from "./fuse.ts"

export interface FusionSummary {
  readonly ops: number
  readonly kernels: number
  /** Bytes read and written by one call, when every op stands alone and after fusion. */
  readonly bytesBefore: number
  readonly bytesAfter: number
}

export function summarise(program: Program, fused: Fused): FusionSummary {
  const before = cost(program)
  return { ops: before.ops, kernels: countKernels(fused.kernels), bytesBefore: before.bytes, bytesAfter: fused.kernels.reduce((sum, kernel) => sum + bytesMoved(kernel), 0) }
}

export function countKernels(kernels: readonly Kernel[]): number {
  return kernels.reduce((sum, kernel) => sum + (kernel.kind === "loop" ? countKernels(kernel.body) : 1), 0)
}

/** One line per kernel. */
export function printFusion(program: Program, fused: Fused): string {
  const { ops, kernels, bytesBefore, bytesAfter } = summarise(program, fused)
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
  return `${fused.name}: ${ops} ops in ${kernels} kernels; moves ${megabytes(bytesAfter)} instead of ${megabytes(bytesBefore)}\n${fused.kernels.map((kernel) => headline(kernel, "  ")).join("")}`
}

/** With every expression. */
export function printKernels(fused: Fused): string {
  return `kernels of ${fused.name}\n${fused.kernels.map((kernel) => printKernel(kernel, "  ")).join("")}`
}

const buffer = (b: Buffer): string => `#${b.id}`
const typed = (b: Buffer): string => `#${b.id} ${b.dtype}[${b.shape.join(", ")}]${b.stored === null ? "" : ` stored as ${b.stored}`} ${b.name}`

function headline(kernel: Kernel, indent: string): string {
  const note = kernel.note === "" ? "" : `  // ${kernel.note}`
  switch (kernel.kind) {
    case "rows": return `${indent}rows ${kernel.rows} x ${kernel.cols} -> ${[...kernel.stores, ...kernel.columns].map((s) => buffer(s.buffer)).join(" ")}${note}\n`
    case "contract": return `${indent}dot ${sizesOf(kernel)}${kernel.prologue === null ? "" : ", the second made where it is read"} -> ${buffer(kernel.out)}${kernel.keep ? "" : " (not kept)"}${note}\n${kernel.epilogue === null ? "" : headline(kernel.epilogue, `${indent}  then `)}`
    case "siblings": return `${indent}${kernel.members.length} dots of one first operand${note}\n${kernel.members.map((member) => headline(member, `${indent}  `)).join("")}`
    case "attend": case "attend_grad": {
      const { batch, heads, queries, keys, depth } = kernel.sizes
      return `${indent}${kernel.kind} ${batch} x ${heads} heads, ${queries} queries, ${keys} keys of ${depth}${note}\n`
    }
    case "scatter": return `${indent}scatter ${kernel.lead} x ${kernel.count} into ${kernel.rows} rows of ${kernel.width}${note}\n`
    case "put": return `${indent}put ${kernel.batch} x ${kernel.middle} x ${kernel.count} of ${kernel.inner} into ${kernel.places} places${note}\n`
    case "axis": return `${indent}${kernel.op.is} ${kernel.outer} x ${kernel.n} x ${kernel.inner}${note}\n`
    case "loop": return `${indent}loop ${kernel.trips} times${note}\n${kernel.body.map((inner) => headline(inner, `${indent}  `)).join("")}`
  }
}

function sizesOf(kernel: ContractKernel): string {
  return `${kernel.batch === 1 ? "" : `${kernel.batch} x `}[${kernel.m}, ${kernel.k}] x [${kernel.k}, ${kernel.n}]`
}

function printKernel(kernel: Kernel, indent: string): string {
  const head = headline(kernel.kind === "loop" ? { ...kernel, body: [] } : kernel.kind === "siblings" ? { ...kernel, members: [] } : kernel.kind === "contract" ? { ...kernel, epilogue: null } : kernel, indent)
  switch (kernel.kind) {
    case "rows": return head + rowsBody(kernel, `${indent}  `)
    case "contract": return `${head}${indent}  a ${operand(kernel.a)}\n${indent}  b ${operand(kernel.b)}\n${kernel.prologue === null ? "" : rowsBody(kernel.prologue, `${indent}  made where it is read: `)}${indent}  out ${typed(kernel.out)}\n${kernel.epilogue === null ? "" : rowsBody(kernel.epilogue, `${indent}  then `)}`
    case "siblings": return head + kernel.members.map((inner) => printKernel(inner, `${indent}  `)).join("")
    case "loop": return head + kernel.body.map((inner) => printKernel(inner, `${indent}  `)).join("")
    default: return head
  }
}

function operand(x: Operand): string {
  return `${typed(x.buffer)} at ${indexKey(x.offset)} + ${x.rowStride} row + ${x.colStride} col`
}

function rowsBody(kernel: RowsKernel, indent: string): string {
  const stores = kernel.stores.map((s) => `${indent}${typed(s.buffer)} [${indexKey(s.index)}] = ${printExpr(s.value)}\n`)
  const columns = kernel.columns.map((c) => `${indent}${typed(c.buffer)} = ${c.combine} over rows of ${printExpr(c.value)}\n`)
  return [...stores, ...columns].join("")
}

export function printExpr(x: Expr): string {
  switch (x.is) {
    case "load": return `#${x.buffer.id}[${indexKey(x.index)}]`
    case "constant": return String(x.value)
    case "index": return `(${indexKey(x.index)})`
    case "unary": return `${x.op}(${printExpr(x.x)})`
    case "binary": return `${x.op}(${printExpr(x.x)}, ${printExpr(x.y)})`
    case "select": return `select(${printExpr(x.condition)}, ${printExpr(x.yes)}, ${printExpr(x.no)})`
    case "cast": return `${x.dtype}(${printExpr(x.x)})`
    case "guarded": return `(${x.guards.map((g) => `${g.low} <= ${indexKey(g.index)} < ${g.high}`).join(" and ")} ? ${printExpr(x.yes)} : ${printExpr(x.no)})`
    case "random": return `random(${printExpr(x.row)}, ${indexKey(x.element)})`
    case "reduced": return `${x.combine} along j of (${printExpr(x.value)})`
    case "fold": return `${x.combine} over k < ${x.count} of (${printExpr(x.body)})`
  }
}
