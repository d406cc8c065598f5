/** A put as a kernel over all places of the result: for targets that have nothing better. */
import type { KeptFormat } from "../graph/node.ts"
import { largest, largestHalf } from "../graph/ops.ts"
import { chunkOf, pointIndex } from "./domain.ts"
import type { ExprBuilder } from "./expr.ts"
import { createExprBuilder } from "./expr.ts"
import type { Guard } from "./index.ts"
import { constant, coordinatesOf, linear, plus, times, valueIndex, zero } from "./index.ts"
import type { Expr, PutKernel, RowsKernel } from "./ir.ts"

export function putRows({ name, note, batch, middle, places, count, inner, format, x, fresh, offset, out }: PutKernel): RowsKernel {
  const e = createExprBuilder()
  const domain = { rows: batch * middle * places, cols: inner }
  const [b = zero, m = zero, place = zero, j = zero] = coordinatesOf(pointIndex(domain), [batch, middle, places, inner])
  const from = plus(place, times(valueIndex(e.load(offset, b, [])), -1))
  const inside: Guard = { index: from, low: 0, high: count }
  const taken = e.load(fresh.buffer, plus(constant(fresh.base), linear([b, m, from, j], fresh.strides)), [inside])
  return { kind: "rows", name, note, ...domain, chunk: chunkOf(domain.rows), columns: [], stores: [{ buffer: out, index: pointIndex(domain), value: e.guarded([inside], format === null ? taken : kept(e, taken, format), e.load(x, pointIndex(domain), [])) }] }
}

/** As `kept` of the graph. */
function kept(e: ExprBuilder, x: Expr, format: KeptFormat): Expr {
  if (format === "bf16") return e.unary("narrow_bf16", x)
  const [size, most, least] = [e.unary("abs", x), e.constant(largestHalf, "f32"), e.constant(-largestHalf, "f32")]
  const isBeyond = e.binary("and", e.binary("lt", most, size), e.binary("le", size, e.constant(largest, "f32")))
  return e.unary("narrow_f16", e.select(isBeyond, e.binary("max", least, e.binary("min", x, most)), x))
}
