/**
 * Products on a unit that multiplies whole tiles, of rounded factors, or of f32 in three parts (`partsOf`). Factors are packed: the numbers of a tile lie together, and zeros fill what is missing
 * at the edges. All shares of a product read its whole right factor: packing that is a step of its own, once for all products that read the same
 * matrix. Each share reads rows of the left one of its own: they are packed into scratch, near where they are read, or read where they lie.
 */
import { isFew } from "../kernel/domain.ts"
import { indexKey } from "../kernel/index.ts"
import type { AttendGradKernel, AttendKernel, AttendSizes, Buffer, ContractKernel, Operand } from "../kernel/ir.ts"

/** A tile of sums [rows][cols] takes left[rows][depth] times right[depth][cols]. One row of tiles and two columns are multiplied at once. */
export interface TileUnit {
  readonly rows: number
  readonly cols: number
  readonly depth: number
  readonly format: "bf16"
}

/** Numbers of the unit's format that stand for one of a factor: what was rounded to it is one; one of f32 is the sum of three, to the bit. */
export type Parts = 1 | 3

/** A factor that is packed: lines are rows of the left one, columns of the right one. A left tile is [line][k], a right one [k / 2][line][k mod 2]. */
export interface Packed {
  readonly side: "left" | "right"
  readonly from: Operand
  readonly lineStride: number
  readonly depthStride: number
  readonly parts: Parts
}

/** `lines` of `depth` numbers as to[batch][panel][slice of depth][part][tile]. */
export interface PackKernel extends Packed {
  readonly kind: "pack"
  readonly note: string
  readonly unit: TileUnit
  readonly batch: number
  readonly lines: number
  readonly depth: number
  readonly to: Buffer
}

export interface TilePlan {
  readonly unit: TileUnit
  readonly parts: Parts
  /** The right factor where it lies, of a product in parts: sums that are not finite are made again from it. */
  readonly whole: Operand | null
  /** Rows of one share: whole chunks of the kernel that follows. */
  readonly rows: number
  /** Tiles along k that are multiplied at once: so many of a share's rows are packed. */
  readonly slice: number
  /** How the rows of a share are packed; null: they are read where they lie. */
  readonly left: Packed | null
  /** Whether the rows of a share rest in scratch for what follows; where others read them as well, much later, they are copied from there past the cache. */
  readonly passing: boolean
  /** Floats of scratch. */
  readonly scratch: number
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
  if (unit === null || isFew(kernel.m) || kernel.prologue !== null) return false
  return kernel.factors === unit.format || (kernel.factors === "f32" && paysInParts(kernel, unit))
}

/** Numbers of a right factor beyond which it is not packed whole in three parts: it would take too much memory. */
const mostInParts = 2 ** 24

/**
 * Whether six products of tiles take less time than vectors do, by shape alone: a multiply-add is 0.45 of one there, zeros at the edges included; taking a number apart
 * and packing it costs as much as 40, packing a number of a right factor for vectors as much as 10.
 */
function paysInParts({ m, n, k, batch, a, b }: ContractKernel, unit: TileUnit): boolean {
  if (a.buffer.stored !== null || b.buffer.stored !== null || batch * n * k > mostInParts) return false
  return 0.45 * padded(m, unit.rows) * padded(n, unit.cols) * padded(k, unit.depth) + 40 * (m + n) * k < m * n * k + 10 * n * k
}

/** Bytes of a right factor that stay near while shares of a few rows go over it. */
const nearBytes = 1.25 * 2 ** 20
/** Bytes of a result that are gone from the second level of cache when they are read again. */
const farBytes = 4 * 2 ** 20
/** Tiles along k that are multiplied at once at most: the rows of a share must stay near. */
const longestSlice = 64
/** In parts a tile takes three times the room, and is read by six products. */
const longestInParts = 16

export function tiled(kernel: ContractKernel, unit: TileUnit, packing: Packing): Tiled {
  const { m, n, k, batch, a, b, note, epilogue, keep } = kernel
  const [from, lineStride, depthStride] = [b, b.colStride, b.rowStride]
  const parts: Parts = kernel.factors === unit.format ? 1 : 3
  const key = `${parts} ${from.buffer.id}.${packing.versions.get(from.buffer) ?? 0} ${batch} ${n} ${k} ${indexKey(from.offset)} ${lineStride} ${depthStride}`
  const before = packing.known.get(key)
  const to = before ?? addBuffer(packing, `${from.buffer.name}, packed`, batch * padded(n, packShare(unit)) * padded(k, unit.depth) * parts, unit)
  packing.known.set(key, to)
  const packs: readonly PackKernel[] = before === undefined ? [{ kind: "pack", note: `right factor of ${note}`, side: "right", unit, batch, lines: n, depth: k, from, lineStride, depthStride, parts, to }] : []
  const inPlace = a.buffer.stored === unit.format && a.colStride === 1 && m % unit.rows === 0 && k % unit.depth === 0
  const left: Packed | null = inPlace ? null : { side: "left", from: a, lineStride: a.rowStride, depthStride: a.colStride, parts }
  const slices = Math.ceil(k / unit.depth)
  const slice = Math.ceil(slices / Math.ceil(slices / (parts === 1 ? longestSlice : longestInParts)))
  const rows = rowsOf(kernel, unit, parts)
  const passing = epilogue !== null && (!keep || (batch === 1 && m * n * 4 > farBytes && n % unit.cols === 0))
  const scratch = (left === null ? 0 : rows * slice * unit.depth * parts / 2) + (passing ? rows * n : 0)
  return { kernel: { ...kernel, b: { ...from, buffer: to } }, plan: { unit, parts, whole: parts === 1 ? null : from, rows, slice, left, passing, scratch }, packs }
}

/** Few rows keep what follows near. Where each share brings the right factor from afar, or in parts through the first level of cache, more of them pay for it; but there must be enough shares for some threads. */
function rowsOf({ m, n, k, epilogue }: ContractKernel, unit: TileUnit, parts: Parts): number {
  const least = packShare(unit)
  const far = n * k * 2 * parts > nearBytes
  const [fewest, most] = far ? [3, 6] : [1, parts === 1 ? 1 : 4]
  const wanted = Math.min(most, Math.max(fewest, Math.floor(m / least / 8))) * least
  const chunk = epilogue !== null && epilogue.columns.length > 0 ? epilogue.chunk : 1
  let rows = wanted
  while (rows % chunk !== 0) rows += least
  return rows
}

function addBuffer(packing: Packing, name: string, size: number, unit: TileUnit): Buffer {
  const buffer: Buffer = { id: packing.firstId + packing.buffers.length, name, role: "temp", dtype: "f32", stored: unit.format, size, shape: [size], values: null }
  packing.buffers.push(buffer)
  return buffer
}

// ---------------------------------------------------------------- attention

export function attendsInTiles({ args, sizes }: AttendKernel | AttendGradKernel, unit: TileUnit | null): boolean {
  return unit !== null && args.factors === unit.format && !isFew(sizes.queries)
}

/** Parts of scratch one after the other. */
export type AttendLayout = readonly { readonly name: string; readonly type: "uint16_t" | "float"; readonly floats: number }[]

const halves = (name: string, numbers: number): AttendLayout[number] => ({ name, type: "uint16_t", floats: numbers / 2 })
const floats = (name: string, numbers: number): AttendLayout[number] => ({ name, type: "float", floats: numbers })

export const layoutFloats = (layout: AttendLayout): number => layout.reduce((sum, part) => sum + part.floats, 0)

/** Keys and values packed, then what belongs to 32 queries. */
export function attendLayout(n: AttendSizes): AttendLayout {
  const [keys, depth, values] = [padded(n.keys, 32), padded(n.depth, 32), padded(n.values, 32)]
  return [halves("packed_k", keys * depth), halves("packed_v", keys * values), halves("packed_q", 32 * depth), halves("weights", 32 * keys), floats("scores", 32 * keys), floats("sums", 32 * values)]
}

/** Numbers of weights of one block of queries, as many of them as may stay near. */
const nearWeights = 2 ** 17

/** Gradients by keys and values are sums over blocks of `block` queries. */
export function gradientLayout(n: AttendSizes): { readonly layout: AttendLayout; readonly block: number } {
  const [keys, depth, values] = [padded(n.keys, 32), padded(n.depth, 32), padded(n.values, 32)]
  const block = Math.min(padded(n.queries, 32), Math.max(64, Math.floor(nearWeights / keys / 32) * 32))
  const layout = [
    halves("packed_k", keys * depth), halves("packed_v", keys * values), halves("lines_k", keys * depth), halves("packed_q", 32 * depth), halves("packed_u", 32 * values),
    halves("lines_q", block * depth), halves("lines_u", block * values), halves("turned", 32 * block), halves("weights", block * keys), halves("slopes", block * keys),
    floats("scores", 32 * keys), floats("changes", 32 * keys), floats("sums", 32 * depth), floats("sums_k", keys * depth), floats("sums_v", keys * values),
  ]
  return { layout, block }
}
