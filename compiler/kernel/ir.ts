/**
 * The kernel IR: what remains of a program when pointwise ops, broadcasts, reductions and views have been fused. Kernels have
 * static domains, read and write typed buffers at affine or explicitly indirect places, and say how reductions are split (by
 * shape alone, so that results do not depend on how many threads there are). Nothing here knows a target.
 */
import type { AttendArgs, DType, Factors, KeptFormat } from "../graph/node.ts"
import type { StorageType } from "../graph/stored.ts"
import { bytesOfNumbers } from "../graph/stored.ts"
import type { Guard, Index, Variable } from "./index.ts"

/**
 * `state` lives on between calls, `batch` and `output` are exchanged with the caller, `constant` holds literals, `temp` lives within a
 * call. `size` counts elements.
 */
export interface Buffer {
  readonly id: number
  readonly name: string
  readonly role: "state" | "batch" | "output" | "constant" | "temp"
  /** What loads yield. */
  readonly dtype: DType
  /** How the numbers lie in memory; null: as the dtype says. */
  readonly stored: StorageType | null
  readonly size: number
  /** For comments: the shape of the tensor it holds. */
  readonly shape: readonly number[]
  readonly values: readonly number[] | null
}

export type UnaryOp = "neg" | "abs" | "sign" | "exp" | "log" | "sqrt" | "rsqrt" | "sin" | "cos" | "tanh" | "erf" | "sigmoid" | "floor" | "round" | "not" | "narrow_f16" | "narrow_bf16"
export type BinaryOp = "add" | "sub" | "mul" | "div" | "pow" | "max" | "min" | "mod" | "lt" | "le" | "eq" | "and" | "or"
export type Combine = "sum" | "max"

interface Common {
  readonly id: number
  readonly dtype: DType
  /** Variables that the value depends on. */
  readonly depends: ReadonlySet<Variable>
  /** How many reductions along a row come before it. */
  readonly level: number
}

/** A scalar per point of the domain. Equal expressions of one kernel are one object. */
export type Expr = Common & (
  | { readonly is: "load"; readonly buffer: Buffer; readonly index: Index; readonly guards: readonly Guard[] } // 0 where a guard fails
  | { readonly is: "constant"; readonly value: number }
  | { readonly is: "index"; readonly index: Index } // the place itself, as i32
  | { readonly is: "unary"; readonly op: UnaryOp; readonly x: Expr }
  | { readonly is: "binary"; readonly op: BinaryOp; readonly x: Expr; readonly y: Expr }
  | { readonly is: "select"; readonly condition: Expr; readonly yes: Expr; readonly no: Expr }
  | { readonly is: "cast"; readonly x: Expr }
  | { readonly is: "guarded"; readonly guards: readonly Guard[]; readonly yes: Expr; readonly no: Expr }
  /** Threefry: element `element` of row `row` (compiler/graph/random.ts). */
  | { readonly is: "random"; readonly stream: number; readonly seed: Expr; readonly step: Expr; readonly row: Expr; readonly element: Index }
  /** `value` combined over all columns of the row; in lanes of the target's width, then pairwise. */
  | { readonly is: "reduced"; readonly combine: Combine; readonly value: Expr }
  /** `body` combined over k = 0 … count - 1, in this order. */
  | { readonly is: "fold"; readonly combine: Combine; readonly count: number; readonly body: Expr }
)

export interface Store {
  readonly buffer: Buffer
  readonly index: Index
  readonly value: Expr
}

/**
 * `value` combined over rows: each chunk of `chunk` rows in order of rows, into `buffer` [chunks, cols] (cols = 1 where the
 * value is one per row). The chunks are combined by a kernel that follows.
 */
export interface Column {
  readonly buffer: Buffer
  readonly combine: Combine
  readonly value: Expr
}

/** Rows of columns: every value is computed at each point, or once per row. */
export interface RowsKernel {
  readonly kind: "rows"
  readonly name: string
  readonly note: string
  readonly rows: number
  readonly cols: number
  /** Rows of one chunk of the column reductions; the unit that is never divided. */
  readonly chunk: number
  readonly stores: readonly Store[]
  readonly columns: readonly Column[]
  /** The kernel of which this makes some results again: what fixes the order of its sums fixes it here. */
  readonly whole?: RowsKernel
}

/** A matrix within a buffer: element (x, y) of matrix b at offset(b) + x * rowStride + y * colStride. */
export interface Operand {
  readonly buffer: Buffer
  readonly offset: Index
  readonly rowStride: number
  readonly colStride: number
}

/** out[b, m, n] = sum over k of a[b, m, k] * b[b, k, n], then `epilogue` on rows while they are near. The sum runs in order of k. */
export interface ContractKernel {
  readonly kind: "contract"
  readonly name: string
  readonly note: string
  readonly batch: number
  readonly m: number
  readonly n: number
  readonly k: number
  /** `a` holds numbers of this format alone; what is read of `b` is rounded to it. */
  readonly factors: Factors
  readonly a: Operand
  readonly b: Operand
  /**
   * Makes the second operand where it is read: row n and column k of the kernel are b[k, n]. Its one store names b's buffer, of which then only
   * the rows in use exist. Null: b lies in memory.
   */
  readonly prologue: RowsKernel | null
  readonly out: Buffer
  /** Rows of `out` as they are finished; `out` is not stored where `keep` is false. */
  readonly epilogue: RowsKernel | null
  readonly keep: boolean
}

/**
 * Products of few rows that have the first operand in common, side by side: one kernel over the columns of the first member, then over those of the
 * next. Members have no epilogue and need nothing of one another; each sum is what it would be alone.
 */
export interface SiblingsKernel {
  readonly kind: "siblings"
  readonly name: string
  readonly note: string
  readonly members: readonly ContractKernel[]
}

/** A tensor of four axes within a buffer. */
export interface Strided {
  readonly buffer: Buffer
  readonly base: number
  readonly strides: readonly [number, number, number, number]
}

export interface AttendSizes {
  readonly batch: number; readonly heads: number; readonly groups: number
  readonly queries: number; readonly keys: number; readonly depth: number; readonly values: number
}

interface AttendCommon {
  readonly name: string
  readonly note: string
  readonly args: AttendArgs
  readonly sizes: AttendSizes
  readonly q: Strided
  readonly k: Strided
  readonly v: Strided
  /** i32[b, t], i32[b, s]. */
  readonly segments: readonly [Buffer, Buffer] | null
  readonly offset: Buffer | null
  readonly bias: Strided | null
}

export interface AttendKernel extends AttendCommon {
  readonly kind: "attend"
  readonly out: Strided
}

/** All gradients that are asked for at once; scores are computed again. */
export interface AttendGradKernel extends AttendCommon {
  readonly kind: "attend_grad"
  readonly upstream: Strided
  readonly dq: Strided | null
  readonly dk: Strided | null
  readonly dv: Strided | null
  readonly dbias: Strided | null
}

/** Updates added at their ids in order: out [lead, rows, width], ids [lead, count], updates [lead, count, width]. */
export interface ScatterKernel {
  readonly kind: "scatter"
  readonly name: string
  readonly note: string
  readonly lead: number
  readonly rows: number
  readonly width: number
  readonly count: number
  readonly ids: Buffer
  readonly updates: Buffer
  readonly out: Buffer
}

/** What looks along one axis in order: x [outer, n, inner]. */
export interface AxisKernel {
  readonly kind: "axis"
  readonly name: string
  readonly note: string
  readonly op: { readonly is: "argmax" } | { readonly is: "cumsum"; readonly reverse: boolean } | { readonly is: "top_k"; readonly k: number }
  readonly outer: number
  readonly n: number
  readonly inner: number
  readonly x: Buffer
  readonly out: Buffer
}

/**
 * out = x with places offset[b] … of its third axis taken from `fresh`; x and out [batch, middle, places, inner], fresh the same with `count` places.
 * Places outside are dropped. Where out replaces x, nothing else is touched. `format`: what is put is rounded to it, as `kept` (graph/ops.ts) does.
 */
export interface PutKernel {
  readonly kind: "put"
  readonly name: string
  readonly note: string
  readonly batch: number
  readonly middle: number
  readonly places: number
  readonly count: number
  readonly inner: number
  readonly format: KeptFormat | null
  readonly x: Buffer
  readonly fresh: Strided
  readonly offset: Buffer
  readonly out: Buffer
}

/** The steps of `body`, `trips` times; `trip` counts. */
export interface LoopKernel {
  readonly kind: "loop"
  readonly name: string
  readonly note: string
  readonly trips: number
  readonly body: readonly Kernel[]
}

export type Kernel = RowsKernel | ContractKernel | SiblingsKernel | AttendKernel | AttendGradKernel | ScatterKernel | AxisKernel | PutKernel | LoopKernel

export interface KernelProgram {
  readonly name: string
  readonly buffers: readonly Buffer[]
  /** In an order in which they can run. */
  readonly kernels: readonly Kernel[]
  readonly inputs: readonly { readonly name: string; readonly buffer: Buffer }[]
  /** Outputs that go to the caller. */
  readonly outputs: readonly { readonly name: string; readonly buffer: Buffer }[]
}

export function bytesOf(buffer: Buffer): number {
  return bytesOfNumbers(buffer.size, buffer.dtype, buffer.stored)
}
