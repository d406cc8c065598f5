/** A kernel over rows with some of its loads replaced by other expressions. */
import type { ExprBuilder } from "./expr.ts"
import { createExprBuilder, exprsIn } from "./expr.ts"
import type { Guard, Index } from "./index.ts"
import { substitute, valueIndex } from "./index.ts"
import type { Expr, RowsKernel } from "./ir.ts"

type Load = Extract<Expr, { is: "load" }>

/** `replace` gets each load with its places already renewed; null keeps it. */
export function replaceLoads(kernel: RowsKernel, replace: (e: ExprBuilder, load: Load) => Expr | null): RowsKernel {
  const e = createExprBuilder()
  const images = new Map<Expr, Expr>()
  const image = (x: Expr): Expr => images.get(x) ?? x
  const place = (index: Index): Index => substitute(index, (atom) => (atom.is === "value" ? valueIndex(image(atom.expr)) : null))
  const guards = (given: readonly Guard[]): Guard[] => given.map((guard) => ({ ...guard, index: place(guard.index) }))
  const renewed = (x: Expr): Expr => {
    switch (x.is) {
      case "load": {
        const load = e.load(x.buffer, place(x.index), guards(x.guards))
        return (load.is === "load" ? replace(e, load) : null) ?? load
      }
      case "constant": return e.constant(x.value, x.dtype)
      case "index": return e.index(place(x.index))
      case "unary": return e.unary(x.op, image(x.x))
      case "binary": return e.binary(x.op, image(x.x), image(x.y))
      case "select": return e.select(image(x.condition), image(x.yes), image(x.no))
      case "cast": return e.cast(image(x.x), x.dtype)
      case "guarded": return e.guarded(guards(x.guards), image(x.yes), image(x.no))
      case "random": return e.random(x.stream, image(x.seed), image(x.step), image(x.row), place(x.element))
      case "reduced": return e.reduced(x.combine, image(x.value))
      case "fold": return e.fold(x.combine, x.count, image(x.body))
    }
  }
  for (const x of exprsIn([...kernel.stores, ...kernel.columns].map((root) => root.value))) images.set(x, renewed(x))
  return {
    ...kernel,
    stores: kernel.stores.map((store) => ({ ...store, index: place(store.index), value: image(store.value) })),
    columns: kernel.columns.map((column) => ({ ...column, value: image(column.value) })),
  }
}
