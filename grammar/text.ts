import type { Expr, TypeExpr } from "./ast.ts"
import { render } from "./doc.ts"
import { printFlat } from "./print-exprs.ts"
import { printType } from "./print-types.ts"

/** An expression on one line, as the formatter would write it: for diagnostics and keys. */
export function printExpr(e: Expr): string {
  return printFlat(e)
}

/** A type on one line. */
export function printTypeExpr(type: TypeExpr): string {
  return render(printType(type), Number.POSITIVE_INFINITY)
}
