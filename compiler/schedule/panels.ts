/**
 * Operands of products as panels of vectors: what a block of sums reads at one k lies together. Packing is a step of its own, divided among all
 * threads and done once for all products that read the same matrix in the same way.
 */
import { indexKey } from "../kernel/index.ts"
import type { Buffer, ContractKernel, Operand } from "../kernel/ir.ts"
import type { Factors } from "../graph/node.ts"
import { padded } from "./tiles.ts"
import type { Packing } from "./tiles.ts"

/**
 * `lines` of `depth` numbers as to[batch][panel][depth][width]: rows of the left factor or columns of the right one. Zeros fill the last panel of a
 * right factor; the last one of a left factor is as wide as it has lines.
 */
export interface PanelKernel {
  readonly kind: "panels"
  readonly note: string
  readonly side: "left" | "right"
  readonly batch: number
  readonly lines: number
  readonly depth: number
  readonly width: number
  /** Lines that one share packs: whole panels. */
  readonly together: number
  readonly factors: Factors
  readonly from: Operand
  readonly lineStride: number
  readonly depthStride: number
  readonly to: Buffer
}

/** k of one share. */
export const panelDepth = 128

/** Numbers beyond which a factor is not packed whole: it would take too much memory. */
const mostPacked = 2 ** 23

export const panelShares = ({ batch, lines, depth, together }: PanelKernel): number => batch * Math.ceil(lines / together) * Math.ceil(depth / panelDepth)

interface Paneled { readonly kernel: ContractKernel; readonly panels: readonly PanelKernel[] }

/** A product whose factors are packed before, as far as they fit: the right one in panels of `width` columns, the left one (if `height` is not null) of `height` rows. */
export function paneled(given: ContractKernel, width: number, height: number | null, packing: Packing): Paneled {
  const { batch, m, n, k, note, factors } = given
  const panels: PanelKernel[] = []
  const packed = (side: PanelKernel["side"], lines: number, wide: number, from: Operand, lineStride: number, depthStride: number): Operand => {
    const key = `${side} panels ${wide} ${factors} ${from.buffer.id}.${packing.versions.get(from.buffer) ?? 0} ${batch} ${lines} ${k} ${indexKey(from.offset)} ${lineStride} ${depthStride}`
    const before = packing.known.get(key)
    const to = before ?? addBuffer(packing, `${from.buffer.name}, in panels`, batch * (side === "right" ? padded(lines, wide) : lines) * k)
    if (before === undefined) {
      const together = side === "right" ? wide : wide * Math.max(1, Math.floor(128 / wide))
      panels.push({ kind: "panels", note: `${side} factor of ${note}`, side, batch, lines, depth: k, width: wide, together, factors: side === "right" ? factors : "f32", from, lineStride, depthStride, to })
    }
    packing.known.set(key, to)
    return { ...from, buffer: to }
  }
  const right = packed("right", n, width, given.b, given.b.colStride, given.b.rowStride)
  const left = height === null ? given.a : packed("left", m, height, given.a, given.a.rowStride, given.a.colStride)
  return { kernel: { ...given, a: left, b: right }, panels }
}

/** Whether the factors of a product fit in panels. */
export function fitsPanels({ batch, m, n, k, prologue }: ContractKernel): boolean {
  return prologue === null && batch * Math.max(m, n) * k <= mostPacked
}

function addBuffer(packing: Packing, name: string, size: number): Buffer {
  const buffer: Buffer = { id: packing.firstId + packing.buffers.length, name, role: "temp", dtype: "f32", stored: null, size, shape: [size], values: null }
  packing.buffers.push(buffer)
  return buffer
}
