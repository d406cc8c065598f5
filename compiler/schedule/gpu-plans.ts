/** Sizes of workgroups, tiles and blocks: functions of shapes and of the target's limits, never of the adapter's load. */
import { exprsIn } from "../kernel/expr.ts"
import { factorOf, sameIndex } from "../kernel/index.ts"
import type { AttendSizes, Buffer, ContractKernel, RowsKernel } from "../kernel/ir.ts"
import { pointIndex } from "../kernel/domain.ts"

export interface GpuTarget {
  /** Whether lanes of a subgroup can be added directly. Bits differ, so it is part of the numerics class. */
  readonly subgroups: boolean
  /** Whether shaders know numbers of 16 bits (shader-f16): tiles of such factors take half the room. Bits do not differ. */
  readonly f16: boolean
  /** Bytes of memory that a workgroup shares (maxComputeWorkgroupStorageSize). */
  readonly shared: number
  /** Threads of a workgroup (maxComputeInvocationsPerWorkgroup). */
  readonly threads: number
  /** Bytes of one binding (maxStorageBufferBindingSize): the arena has no larger part. */
  readonly binding: number
  /** Parts of the arena that one kernel can see (maxStorageBuffersPerShaderStage). */
  readonly bindings: number
}

/** What every WebGPU adapter offers. */
export const smallestTarget: GpuTarget = { subgroups: false, f16: false, shared: 16384, threads: 256, binding: 134217728, bindings: 8 }

/** What GPUs of the last ten years offer: for printing without an adapter. */
export const usualTarget: GpuTarget = { ...smallestTarget, subgroups: true, shared: 32768, binding: 1073741824, bindings: 10 }

/** Workgroups that keep a large GPU busy; products with fewer are split along k. */
const enoughWorkgroups = 256

// ---------------------------------------------------------------- rows

/** `slots` rows side by side in a workgroup, `lanes` threads for each. */
export interface LinesPlan {
  readonly lanes: number
  readonly slots: number
  /** Columns that one workgroup takes are all of them, or `lanes` where nothing is reduced along rows. */
  readonly blocks: number
  /** Sums over rows stay in registers (`private`), or in memory where there are too many columns. */
  readonly sums: "private" | "memory"
  readonly workgroups: number
}

const powerAbove = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)))

export function levelOf(kernel: RowsKernel): number {
  return Math.max(0, ...[...kernel.stores, ...kernel.columns].map((x) => x.value.level))
}

export function isPerColumn(kernel: RowsKernel, column: RowsKernel["columns"][number]): boolean {
  return kernel.cols > 1 && column.buffer.size === kernel.cols * Math.ceil(kernel.rows / kernel.chunk)
}

/**
 * Whether one thread per point will do: nothing is reduced, and no value that is one per row replaces one which the other columns
 * of the row read.
 */
export function isPoints(kernel: RowsKernel, place: (buffer: Buffer) => Buffer): boolean {
  if (kernel.columns.length > 0 || levelOf(kernel) > 0) return false
  if (kernel.cols === 1) return true
  const once = new Set(kernel.stores.filter((store) => factorOf(store.index, "j") === 0).map((store) => place(store.buffer)))
  return once.size === 0 || !exprsIn(kernel.stores.map((store) => store.value)).some((x) => x.is === "load" && once.has(place(x.buffer)))
}

/** What makes some results of a kernel again adds them up as that kernel did. */
export function planLines(kernel: RowsKernel, target: GpuTarget): LinesPlan {
  const { whole } = kernel
  const plan = planWhole(whole !== undefined && whole.rows === kernel.rows ? whole : kernel, target)
  if (whole === undefined || (whole.columns.length === 0) === (kernel.columns.length === 0)) return plan
  return { lanes: plan.lanes, slots: plan.slots, blocks: 1, sums: "private", workgroups: Math.ceil(kernel.rows / plan.slots) }
}

function planWhole(kernel: RowsKernel, target: GpuTarget): LinesPlan {
  const most = Math.min(256, target.threads)
  const { rows, cols, chunk } = kernel
  if (kernel.columns.length === 0) {
    const lanes = Math.min(most, powerAbove(cols / 4))
    let slots = most / lanes
    while (slots > 1 && slots * lanes > 64 && rows / slots < 128) slots /= 2
    return { lanes, slots, blocks: 1, sums: "private", workgroups: Math.ceil(rows / slots) }
  }
  const chunks = Math.ceil(rows / chunk)
  if (levelOf(kernel) === 0) {
    const lanes = Math.min(64, powerAbove(cols))
    const blocks = Math.ceil(cols / lanes)
    return { lanes, slots: Math.min(most / lanes, powerAbove(chunk)), blocks, sums: "private", workgroups: chunks * blocks }
  }
  const lanes = Math.min(most, powerAbove(cols / 4))
  const wide = kernel.columns.filter((column) => isPerColumn(kernel, column)).length
  // A function may hold 8192 bytes of variables.
  if (wide * Math.ceil(cols / lanes) > 512) return { lanes: most, slots: 1, blocks: 1, sums: "memory", workgroups: chunks }
  return { lanes, slots: Math.min(most / lanes, powerAbove(chunk)), blocks: 1, sums: "private", workgroups: chunks }
}

// ---------------------------------------------------------------- products

/**
 * `tile`: a workgroup of `across` x `down` threads makes a block of `rows` x `cols`, each thread `tall` x 4 of it, from slices of
 * `depth` in shared memory. `vector`: few rows; threads run along what lies together.
 */
export type ContractPlan =
  | { readonly way: "tile"; readonly rows: number; readonly cols: number; readonly depth: number; readonly tall: 4 | 8; readonly across: number; readonly down: number; readonly split: number; readonly workgroups: number }
  | { readonly way: "vector"; readonly cols: number; readonly lanes: number; readonly workgroups: number }

export type VectorPlan = Extract<ContractPlan, { way: "vector" }>

/** Still larger ones (128 x 128, 8 x 8 numbers for each thread) are a fifth slower on an H100. */
const largeTile = { size: 64, tall: 8, across: 16, down: 8 } as const
const smallTile = { size: 32, tall: 4, across: 8, down: 8 } as const

export function planContract(kernel: ContractKernel): ContractPlan {
  const { m, n, k, batch } = kernel
  if (m <= 4) {
    // Columns side by side where they lie together, else numbers of k.
    const cols = (kernel.prologue === null && kernel.b.colStride === 1) || k < 32 ? 32 : 8
    return { way: "vector", cols, lanes: 256 / cols, workgroups: batch * Math.ceil(n / cols) }
  }
  const large = tilePlan(kernel, largeTile)
  return large.workgroups >= 96 && Math.min(m, n) > 32 ? large : tilePlan(kernel, smallTile)
}

function tilePlan({ m, n, k, batch }: ContractKernel, { size, ...tile }: typeof largeTile | typeof smallTile): Extract<ContractPlan, { way: "tile" }> {
  const count = batch * Math.ceil(m / size) * Math.ceil(n / size)
  // Adding up the parts takes a pass over them: not for a few workgroups more.
  const least = 2 * count < enoughWorkgroups ? 128 : 512
  const split = Math.max(1, Math.min(Math.ceil(enoughWorkgroups / count), Math.floor(k / least)))
  return { way: "tile", rows: size, cols: size, ...tile, depth: 16, split, workgroups: count * split }
}

/** What may follow a product in the registers of its tile: it reads the product at its own point and reduces nothing. */
export function isTileEpilogue(after: RowsKernel, of: ContractKernel): boolean {
  if (after.columns.length > 0 || levelOf(after) > 0) return false
  if (after.cols > 1 && after.stores.some((store) => factorOf(store.index, "j") === 0)) return false
  const here = pointIndex(after)
  return exprsIn(after.stores.map((store) => store.value)).every((x) => x.is !== "load" || x.buffer !== of.out || (x.guards.length === 0 && sameIndex(x.index, here) && !x.depends.has("k")))
}

// ---------------------------------------------------------------- attention

/** Blocks of `rows` (queries, or keys in the gradient by keys) against blocks of `cols`; `lanes` threads for each row. */
export interface AttendPlan {
  readonly rows: number
  readonly cols: number
  readonly lanes: number
}

export type AttendPart = "forward" | "queries" | "keys"

const blocks: readonly AttendPlan[] = [
  { rows: 32, cols: 32, lanes: 8 }, { rows: 16, cols: 32, lanes: 8 }, { rows: 16, cols: 16, lanes: 8 }, { rows: 8, cols: 16, lanes: 8 },
  { rows: 8, cols: 8, lanes: 8 }, { rows: 4, cols: 8, lanes: 8 }, { rows: 4, cols: 4, lanes: 4 }, { rows: 2, cols: 2, lanes: 2 },
]
/** One query against many keys: generation. */
const single: readonly AttendPlan[] = [{ rows: 1, cols: 64, lanes: 64 }, { rows: 1, cols: 32, lanes: 32 }, { rows: 1, cols: 8, lanes: 8 }, { rows: 1, cols: 1, lanes: 1 }]

/** Vectors of four that a row of n numbers takes in shared memory; one more than needed, so that lanes meet different banks. */
export const rowVectors = (n: number): number => Math.ceil(n / 4) + 1

export function sharedByAttend({ rows, cols, lanes }: AttendPlan, { depth, values }: Pick<AttendSizes, "depth" | "values">, part: AttendPart): number {
  const [d, e] = [16 * rowVectors(depth), 16 * rowVectors(values)]
  const threads = 4 * rows * lanes
  if (part === "forward") return rows * d + cols * Math.max(d, e) + 4 * rows * cols + threads + 16
  return (rows + cols) * (d + e) + 4 * rows * cols * (part === "keys" ? 2 : 1) + threads + 12 * cols + 16
}

/** The largest block that fits; null where none does. */
export function planAttend(sizes: AttendSizes, target: GpuTarget, part: AttendPart): AttendPlan | null {
  const [rows, cols] = part === "keys" ? [sizes.keys, sizes.queries] : [sizes.queries, sizes.keys]
  const choices = rows === 1 && part === "forward" ? single : blocks
  return choices.find((plan) => plan.rows * plan.lanes <= target.threads && (plan.rows <= 4 || plan.rows < 2 * rows) && (plan.cols <= 8 || plan.cols < 2 * cols) && sharedByAttend(plan, sizes, part) <= target.shared) ?? null
}
