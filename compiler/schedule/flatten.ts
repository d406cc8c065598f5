/** A kernel without structure along rows becomes one long row, so that it can be cut anywhere and equal ones share their code. */
import { pointIndex } from "../kernel/domain.ts"
import { createExprBuilder, exprsIn } from "../kernel/expr.ts"
import type { ExprBuilder } from "../kernel/expr.ts"
import { sameIndex, variable } from "../kernel/index.ts"
import type { Expr, RowsKernel } from "../kernel/ir.ts"

export function flattened(kernel: RowsKernel): RowsKernel {
  if (kernel.rows === 1 || kernel.columns.length > 0) return kernel
  const here = pointIndex(kernel)
  const exprs = exprsIn(kernel.stores.map((store) => store.value))
  const isPlain = (x: Expr): boolean => {
    if (x.is === "load") return x.guards.length === 0 && (x.index.terms.length === 0 || sameIndex(x.index, here))
    return x.is === "constant" || x.is === "unary" || x.is === "binary" || x.is === "select" || x.is === "cast"
  }
  if (!exprs.every(isPlain) || !kernel.stores.every((store) => sameIndex(store.index, here))) return kernel
  const cols = kernel.rows * kernel.cols
  const j = variable("j", cols)
  const e = createExprBuilder()
  const images = new Map<Expr, Expr>()
  for (const x of exprs) images.set(x, renewed(e, x, (part) => images.get(part) ?? part, j))
  return { ...kernel, rows: 1, cols, chunk: 1, stores: kernel.stores.map((store) => ({ ...store, index: j, value: images.get(store.value) ?? store.value })) }
}

function renewed(e: ExprBuilder, x: Expr, image: (x: Expr) => Expr, j: ReturnType<typeof variable>): Expr {
  switch (x.is) {
    case "load": return e.load(x.buffer, x.index.terms.length === 0 ? x.index : j, [])
    case "constant": return e.constant(x.value, x.dtype)
    case "unary": return e.unary(x.op, image(x.x))
    case "binary": return e.binary(x.op, image(x.x), image(x.y))
    case "select": return e.select(image(x.condition), image(x.yes), image(x.no))
    case "cast": return e.cast(image(x.x), x.dtype)
    default: throw new Error(`flatten: ${x.is} has structure`)
  }
}
