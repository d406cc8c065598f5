import type { TokenType } from "chevrotain"
import type * as ast from "./ast.ts"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Span } from "./diagnostic.ts"
import * as t from "./tokens.ts"

/** How tightly operators bind, from low to high. The printer uses the same table. */
export const binding = {
  pipe: 1, with: 2, or: 3, and: 4, not: 5, comparison: 6, "&": 7, range: 8, sum: 9, product: 10, minus: 11, power: 12, postfix: 13, atom: 14,
} as const

export function bindingOf(op: ast.BinaryOp): number {
  switch (op) {
    case "or": return binding.or
    case "and": return binding.and
    case "==": case "!=": case "<": case "<=": case ">": case ">=": return binding.comparison
    case "&": return binding["&"]
    case "+": case "-": return binding.sum
    case "*": case "/": case "%": case "@": return binding.product
    case "^": return binding.power
  }
}

export interface Operand {
  readonly prefixes: readonly { readonly text: "-" | "not"; readonly span: Span }[]
  readonly value: ast.Expr
}

export interface Operator {
  readonly text: string
  readonly type: TokenType
  readonly span: Span
  readonly changes: Pick<ast.WithExpr, "fields" | "ats" | "span"> | null // of `with`
}

interface Climb {
  readonly operands: readonly Operand[]
  readonly operators: readonly Operator[]
  readonly diagnostics: Diagnostic[]
  readonly missing: (at: number) => ast.Expr
  operand: number
  operator: number
  prefix: number
}

/** Precedence climbing over `operand { operator operand }`. `with` has changes in place of a right operand. */
export function climb(operands: readonly Operand[], operators: readonly Operator[], diagnostics: Diagnostic[], missing: (at: number) => ast.Expr): ast.Expr {
  return above({ operands, operators, diagnostics, missing, operand: 0, operator: 0, prefix: 0 }, 0)
}

function above(c: Climb, least: number): ast.Expr {
  let left = prefixed(c)
  let compared: { readonly op: Operator; readonly right: ast.Expr } | null = null
  for (let op = c.operators[c.operator]; op !== undefined; op = c.operators[c.operator]) {
    const power = powerOf(op)
    if (power < least) break
    c.operator++
    if (op.type === t.With) {
      left = withChanges(left, op)
      continue
    }
    const right = above(c, op.type === t.Caret ? power : power + 1)
    const again: typeof compared = compared !== null && powerOf(compared.op) === power ? compared : null
    if (again !== null) c.diagnostics.push(chained(again.op, op))
    if (power === binding.comparison || power === binding.range) compared = { op, right }
    left = again === null || power === binding.range ? combine(op, left, right) : both(left, combine(op, again.right, right), op.span)
  }
  return left
}

function prefixed(c: Climb): ast.Expr {
  const operand = c.operands[c.operand]
  if (operand === undefined) return c.missing(c.operators[c.operator - 1]?.span.end ?? 0)
  const prefix = operand.prefixes[c.prefix]
  if (prefix === undefined) {
    c.operand++
    c.prefix = 0
    return operand.value
  }
  c.prefix++
  const inner = above(c, prefix.text === "-" ? binding.minus : binding.not)
  return { kind: "unary", op: prefix.text, operand: inner, span: { ...prefix.span, end: Math.max(prefix.span.end, inner.span.end) } }
}

function powerOf(op: Operator): number {
  if (op.type === t.PipeRight) return binding.pipe
  if (op.type === t.With) return binding.with
  if (op.type === t.DotDot) return binding.range
  return bindingOf(binaryOp(op))
}

function binaryOp(op: Operator): ast.BinaryOp {
  if (op.type === t.And) return "and"
  if (op.type === t.Or) return "or"
  if (op.type === t.Caret) return "^"
  if (op.type === t.EqualEqual) return "==" // written `=` in a condition, which is reported
  return op.text as ast.BinaryOp
}

function withChanges(base: ast.Expr, op: Operator): ast.Expr {
  const end = op.changes?.span.end ?? op.span.end
  return { kind: "with", base, fields: op.changes?.fields ?? [], ats: op.changes?.ats ?? [], span: { ...base.span, end } }
}

function combine(op: Operator, left: ast.Expr, right: ast.Expr): ast.Expr {
  const span = { ...left.span, end: Math.max(right.span.end, op.span.end) }
  if (op.type === t.PipeRight) return { kind: "pipe", left, right, span }
  if (op.type === t.DotDot) return { kind: "range", from: left, to: right, span }
  return { kind: "binary", op: binaryOp(op), opSpan: op.span, left, right, span }
}

/** What a chain of comparisons is meant to be. */
function both(left: ast.Expr, right: ast.Expr, opSpan: Span): ast.Expr {
  return { kind: "binary", op: "and", opSpan, left, right, span: { ...left.span, end: Math.max(left.span.end, right.span.end) } }
}

function chained(first: Operator, second: Operator): Diagnostic {
  const range = first.type === t.DotDot
  return diagnostic("SLM1014", second.span, range ? "a range has two ends" : "comparisons cannot be chained", {
    label: range ? "a third end" : "a second comparison",
    labels: [{ span: first.span, message: range ? "the range is here" : "the first is here" }],
    help: range ? "write `from..to`" : `compare twice: \`a ${first.text} b and b ${second.text} c\``,
  })
}
