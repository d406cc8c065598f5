/**
 * Products on a unit that multiplies whole tiles. Factors are packed: the numbers of a tile lie together, and zeros fill what is missing
 * at the edges. Packing is a step of its own, shared by all threads and by all products that read the same matrix.
 */
import { isFew } from "../kernel/domain.ts"
import { indexKey } from "../kernel/index.ts"
import type { Buffer, ContractKernel, Operand } from "../kernel/ir.ts"

/** A tile of sums [rows][cols] takes left[rows][depth] times right[depth][cols]. Two by two tiles are multiplied at once. */
export interface TileUnit {
  readonly rows: number
  readonly cols: number
  readonly depth: number
  readonly format: "bf16"
}

/**
 * `lines` of `depth` numbers (rows of the left factor, columns of the right one) as to[batch][panel][slice of depth][tile]. A left tile is
 * [line][k], a right one [k / 2][line][k mod 2].
 */
export interface PackKernel {
  readonly kind: "pack"
  readonly note: string
  readonly side: "left" | "right"
  readonly unit: TileUnit
  readonly batch: number
  readonly lines: number
  readonly depth: number
  readonly from: Operand
  readonly lineStride: number
  readonly depthStride: number
  readonly to: Buffer
}

export interface TilePlan {
  readonly unit: TileUnit
  /** Rows of one share: whole chunks of the kernel that follows. */
  readonly rows: number
  /** Tiles along k whose sums stay in registers; fixed by the shape, as they fix the order of the sum. */
  readonly slice: number
  /** Whether the left factor is read where it lies. */
  readonly inPlace: boolean
}

/** A product whose operands are packed, and what packs them. */
export interface Tiled {
  readonly kernel: ContractKernel
  readonly plan: TilePlan
  readonly packs: readonly PackKernel[]
}

export const padded = (n: number, to: number): number => Math.ceil(n / to) * to

/** Lines of one share of packing: the panels of one block. */
export const packShare = (unit: TileUnit): number => 2 * unit.rows

/** Matrices that are packed already. */
export interface Packing {
  readonly buffers: Buffer[]
  readonly known: Map<string, Buffer>
  /** How often a buffer was written: what is written again is another matrix. */
  readonly versions: Map<Buffer, number>
  readonly firstId: number
  /** Whether factors of f32 products are packed whole. */
  readonly panels: boolean
}

export function isTiled(kernel: ContractKernel, unit: TileUnit | null): unit is TileUnit {
  return unit !== null && kernel.factors === unit.format && !isFew(kernel.m) && kernel.prologue === null
}

export function tiled(kernel: ContractKernel, unit: TileUnit, packing: Packing): Tiled {
  const { m, n, k, batch, a, b, note } = kernel
  const packs: PackKernel[] = []
  const packed = (side: PackKernel["side"], lines: number, from: Operand, lineStride: number, depthStride: number): Operand => {
    const key = `${side} ${from.buffer.id}.${packing.versions.get(from.buffer) ?? 0} ${batch} ${lines} ${k} ${indexKey(from.offset)} ${lineStride} ${depthStride}`
    const before = packing.known.get(key)
    const to = before ?? addBuffer(packing, `${from.buffer.name}, packed`, batch * padded(lines, packShare(unit)) * padded(k, unit.depth), unit)
    if (before === undefined) packs.push({ kind: "pack", note: `${side} factor of ${note}`, side, unit, batch, lines, depth: k, from, lineStride, depthStride, to })
    packing.known.set(key, to)
    return { ...from, buffer: to }
  }
  const inPlace = a.buffer.stored === unit.format && a.colStride === 1 && m % unit.rows === 0 && k % unit.depth === 0
  const left = inPlace ? a : packed("left", m, a, a.rowStride, a.colStride)
  const right = packed("right", n, b, b.colStride, b.rowStride)
  const slices = Math.ceil(k / unit.depth)
  const chunk = kernel.epilogue !== null && kernel.epilogue.columns.length > 0 ? kernel.epilogue.chunk : 1
  let rows = 3 * packShare(unit)
  while (rows % chunk !== 0) rows += packShare(unit)
  return { kernel: { ...kernel, a: left, b: right }, plan: { unit, rows, slice: Math.ceil(slices / Math.ceil(slices / 16)), inPlace }, packs }
}

function addBuffer(packing: Packing, name: string, size: number, unit: TileUnit): Buffer {
  const buffer: Buffer = { id: packing.firstId + packing.buffers.length, name, role: "temp", dtype: "f32", stored: unit.format, size, shape: [size], values: null }
  packing.buffers.push(buffer)
  return buffer
}
