/** One arena: places for buffers that live at different times may overlap. */
import type { Buffer } from "./ir.ts"

export interface Life {
  readonly buffer: Buffer
  readonly bytes: number
  /** First and last moments in which it is in use, both included; several where it is filled again after it was given up. */
  readonly spans: readonly Span[]
}

export interface Span { readonly first: number; readonly last: number }

export interface Arena {
  readonly offsets: Map<Buffer, number>
  readonly bytes: number
}

/** Cache lines, and vectors of any width. */
export const alignment = 64

function meet(x: Life, y: Life): boolean {
  return x.spans.some((a) => y.spans.some((b) => a.first <= b.last && b.first <= a.last))
}

/**
 * The largest first, each at the lowest place that is free for as long as it lives (Pisarchyk, Lee 2020: "greedy by size"). With `part`,
 * none lies across a multiple of so many bytes.
 */
export function planArena(lives: readonly Life[], part: number | null = null): Arena {
  const offsets = new Map<Buffer, number>()
  const placed: { readonly from: number; readonly to: number; readonly life: Life }[] = []
  let bytes = 0
  for (const life of [...lives].sort((x, y) => y.bytes - x.bytes || x.buffer.id - y.buffer.id)) {
    const need = Math.max(alignment, Math.ceil(life.bytes / alignment) * alignment)
    const taken = placed.filter((other) => meet(other.life, life)).sort((x, y) => x.from - y.from)
    let from = 0
    for (const other of taken) {
      if (other.from - from >= need) break
      from = within(Math.max(from, other.to), need, part)
    }
    offsets.set(life.buffer, from)
    placed.push({ from, to: from + need, life })
    bytes = Math.max(bytes, from + need)
  }
  return { offsets, bytes }
}

/** The place, or the start of the next part where what lies there would cross into it. */
function within(from: number, need: number, part: number | null): number {
  return part === null || (from % part) + need <= part ? from : Math.ceil(from / part) * part
}
