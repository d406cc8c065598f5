/** A put as a kernel over all places of the result: for targets that have nothing better. */
import { chunkOf, pointIndex } from "./domain.ts"
import { createExprBuilder } from "./expr.ts"
import type { Guard } from "./index.ts"
import { constant, coordinatesOf, linear, plus, times, valueIndex, zero } from "./index.ts"
import type { PutKernel, RowsKernel } from "./ir.ts"

export function putRows({ name, note, batch, middle, places, count, inner, x, fresh, offset, out }: PutKernel): RowsKernel {
  const e = createExprBuilder()
  const domain = { rows: batch * middle * places, cols: inner }
  const [b = zero, m = zero, place = zero, j = zero] = coordinatesOf(pointIndex(domain), [batch, middle, places, inner])
  const from = plus(place, times(valueIndex(e.load(offset, b, [])), -1))
  const inside: Guard = { index: from, low: 0, high: count }
  const taken = e.load(fresh.buffer, plus(constant(fresh.base), linear([b, m, from, j], fresh.strides)), [inside])
  return { kind: "rows", name, note, ...domain, chunk: chunkOf(domain.rows), columns: [], stores: [{ buffer: out, index: pointIndex(domain), value: e.guarded([inside], taken, e.load(x, pointIndex(domain), [])) }] }
}
