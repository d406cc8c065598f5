import type { CstNode } from "chevrotain"
import type * as ast from "./ast.ts"
import { identIn, node, nodes, spanOf, spanOfToken, token } from "./build-cst.ts"
import type { Builder } from "./build-cst.ts"
import { buildExpression, expressionIn } from "./build-expressions.ts"
import { diagnostic } from "./diagnostic.ts"

export function typeIn(b: Builder, cst: CstNode | undefined, index = 0): ast.TypeExpr | null {
  const found = nodes(cst, "type")[index]
  return found === undefined ? null : buildType(b, found)
}

function buildType(b: Builder, cst: CstNode): ast.TypeExpr {
  const span = spanOf(b, cst)
  const terms = nodes(cst, "typeTerm").map((n) => buildTypeTerm(b, n))
  const question = token(cst, "Question")
  let type = terms[0] ?? { kind: "named", span, name: "float", dims: null }
  if (terms.length > 1) {
    const end = terms.at(-1)?.span.end ?? span.end
    const words = terms.flatMap((term) => {
      if (term.kind === "named" && term.dims === null) return [{ name: term.name, span: term.span }]
      b.diagnostics.push(diagnostic("SLM1021", term.span, "`|` stands between plain words", { label: "not a word", help: "list words: `paragraph | line | file`" }))
      return []
    })
    type = { kind: "oneof", span: { ...span, end }, names: words }
  }
  return question === undefined ? type : { kind: "optional", span, of: type }
}

function buildTypeTerm(b: Builder, cst: CstNode): ast.TypeExpr {
  const span = spanOf(b, cst)
  const named = node(cst, "namedType")
  if (named !== undefined) return buildNamedType(b, named)
  const fn = node(cst, "functionType")
  if (fn !== undefined) return buildFunctionType(b, fn)
  const record = node(cst, "recordType")
  if (record !== undefined) {
    const fields = nodes(record, "typeField").flatMap((f) => {
      const name = identIn(b, f, "FieldName")
      const type = typeIn(b, f)
      return name === null || type === null ? [] : [{ name, type }]
    })
    return { kind: "record", span, fields }
  }
  const of = typeIn(b, cst)
  if (of !== null) return { kind: "list", span, of }
  return { kind: "named", span, name: "float", dims: null } // after a diagnostic
}

const tensorTypes: ReadonlySet<string> = new Set(["float", "int", "bool", "ids"])

function buildNamedType(b: Builder, cst: CstNode): ast.TypeExpr {
  const span = spanOf(b, cst)
  const name = token(cst, "Name")?.image ?? "float"
  const vocabulary = node(cst, "expression")
  const of = vocabulary === undefined ? null : buildExpression(b, vocabulary)
  const dims = token(cst, "LSquare") === undefined ? null : nodes(cst, "dimension").map((d): ast.Expr => {
    const dots = token(d, "DotDot")
    return dots === undefined ? expressionIn(b, d) : { kind: "wildcard", span: spanOfToken(b, dots) }
  })
  if (of !== null && name !== "ids") {
    b.diagnostics.push(diagnostic("SLM1021", of.span, `the type \`${name}\` takes nothing in parentheses`, { help: `axes are written \`${name}[…]\`; only \`ids(vocab)\` takes a vocabulary` }))
  }
  if (name === "ids" || (tensorTypes.has(name) && dims !== null)) {
    return { kind: "tensor", span, dtype: name as ast.TensorType["dtype"], of: name === "ids" ? of : null, dims: dims ?? [] }
  }
  return { kind: "named", span, name, dims }
}

function buildFunctionType(b: Builder, cst: CstNode): ast.TypeExpr {
  const span = spanOf(b, cst)
  const params = nodes(cst, "type").map((n) => buildType(b, n))
  const returns = returnsIn(b, cst)
  const [single] = params
  if (returns !== null) return { kind: "function", span, params, returns }
  if (params.length === 1 && single !== undefined) return { ...single, span }
  b.diagnostics.push(diagnostic("SLM1021", span, "a function type needs a result", { label: "`-> …` is missing after this", help: "write `(int, int) -> float`" }))
  return { kind: "function", span, params, returns: { kind: "named", span, name: "float", dims: null } }
}

export function returnsIn(b: Builder, cst: CstNode | undefined): ast.TypeExpr | null {
  return typeIn(b, node(cst, "returns"))
}
