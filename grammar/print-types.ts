import type * as ast from "./ast.ts"
import type { Doc } from "./doc.ts"
import { cat, group, indent, join, line } from "./doc.ts"
import { printFlat } from "./print-exprs.ts"

/** Types hold no comments of their own; those inside move to the entry around the type. */
export function printType(type: ast.TypeExpr): Doc {
  switch (type.kind) {
    case "named": return type.name + (type.dims === null ? "" : dimensions(type.dims))
    case "tensor": {
      const of = type.of === null ? "" : `(${printFlat(type.of)})`
      return type.dtype + of + (type.dtype === "ids" && type.dims.length === 0 ? "" : dimensions(type.dims))
    }
    case "optional": {
      const grouped = type.of.kind === "function" || type.of.kind === "optional"
      return grouped ? cat("(", printType(type.of), ")?") : cat(printType(type.of), "?")
    }
    case "list": return cat("[", printType(type.of), "]")
    case "oneof": return type.names.map((n) => n.name).join(" | ")
    case "function": return cat("(", join(", ", type.params.map(printType)), ") -> ", printType(type.returns))
    case "record": {
      if (type.fields.length === 0) return "{}"
      const fields = type.fields.map((f) => cat(`${f.name.name}: `, printType(f.type)))
      return group(cat("{", indent(line, join(cat(",", line), fields)), line, "}"))
    }
  }
}

function dimensions(dims: readonly ast.Expr[]): string {
  return `[${dims.map((d) => (d.kind === "wildcard" ? ".." : printFlat(d))).join(", ")}]`
}

/** ` -> T`, or nothing. */
export function printReturns(type: ast.TypeExpr | null): Doc {
  return type === null ? "" : cat(" -> ", printType(type))
}

