/**
 * Right factors of products as panels of vectors: what a block of sums reads at one k lies together. Packing is a step of its own, divided among all
 * threads and done once for all products that read the same matrix in the same way. Left factors meet one block of sums, which packs them itself.
 */
import { indexKey } from "../kernel/index.ts"
import type { Buffer, ContractKernel, Operand } from "../kernel/ir.ts"
import type { Factors } from "../graph/node.ts"
import { padded } from "./tiles.ts"
import type { Packing } from "./tiles.ts"

/** `lines` of `depth` numbers, columns of a right factor, as to[batch][panel][depth][width]. Zeros fill the last panel. */
export interface PanelKernel {
  readonly kind: "panels"
  readonly note: string
  readonly batch: number
  readonly lines: number
  readonly depth: number
  readonly width: number
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

export const panelShares = ({ batch, lines, depth, width }: PanelKernel): number => batch * Math.ceil(lines / width) * Math.ceil(depth / panelDepth)

interface Paneled { readonly kernel: ContractKernel; readonly panels: readonly PanelKernel[] }

/** A product whose right factor is packed before, in panels of `width` columns. */
export function paneled(given: ContractKernel, width: number, packing: Packing): Paneled {
  const { batch, n, k, b, note, factors } = given
  const key = `panels ${width} ${factors} ${b.buffer.id}.${packing.versions.get(b.buffer) ?? 0} ${batch} ${n} ${k} ${indexKey(b.offset)} ${b.colStride} ${b.rowStride}`
  const before = packing.known.get(key)
  const to = before ?? addBuffer(packing, `${b.buffer.name}, in panels`, batch * padded(n, width) * k)
  packing.known.set(key, to)
  const panels: readonly PanelKernel[] = before !== undefined ? [] : [{ kind: "panels", note: `right factor of ${note}`, batch, lines: n, depth: k, width, factors, from: b, lineStride: b.colStride, depthStride: b.rowStride, to }]
  return { kernel: { ...given, b: { ...b, buffer: to } }, panels }
}

/** Whether the right factor of a product fits in panels. */
export function fitsPanels({ batch, m, n, k, prologue }: ContractKernel): boolean {
  return prologue === null && batch * Math.max(m, n) * k <= mostPacked
}

function addBuffer(packing: Packing, name: string, size: number): Buffer {
  const buffer: Buffer = { id: packing.firstId + packing.buffers.length, name, role: "temp", dtype: "f32", stored: null, size, shape: [size], values: null }
  packing.buffers.push(buffer)
  return buffer
}
