import type { CstNode, IToken } from "chevrotain"
import type * as ast from "./ast.ts"
import { ident, identIn, missing, node, nodes, spanOf, spanOfToken, token, tokens } from "./build-cst.ts"
import type { Builder } from "./build-cst.ts"
import { diagnostic } from "./diagnostic.ts"
import type { Span } from "./diagnostic.ts"
import { numberOf } from "./numbers.ts"
import { climb } from "./precedence.ts"
import type { Operand } from "./precedence.ts"
import { dedent, unescape } from "./strings.ts"
import * as t from "./tokens.ts"

/** The expression of `cst`, or one that is missing where `cst` ends. */
export function expressionIn(b: Builder, cst: CstNode | undefined, index = 0): ast.Expr {
  const found = nodes(cst, "expression")[index]
  if (found !== undefined) return buildExpression(b, found)
  return missing(b, cst === undefined ? 0 : spanOf(b, cst).end)
}

export function buildExpression(b: Builder, cst: CstNode): ast.Expr {
  const operation = node(cst, "operation")
  if (operation !== undefined) return buildOperation(b, operation)
  const span = spanOf(b, cst)
  const lambda = node(cst, "lambda")
  if (lambda !== undefined) return { kind: "lambda", span, params: tokens(lambda, "Name").map((n) => ident(b, n)), body: expressionIn(b, lambda) }
  const conditional = node(cst, "conditional")
  if (conditional === undefined) return missing(b, span.start)
  return { kind: "if", span, condition: expressionIn(b, conditional, 0), then: expressionIn(b, conditional, 1), else: expressionIn(b, conditional, 2) }
}

function buildOperation(b: Builder, cst: CstNode): ast.Expr {
  const operands = nodes(cst, "operand").map((n) => buildOperand(b, n))
  const changes = nodes(cst, "changes")
  const operators = tokens(cst, "operator").map((tok) => {
    const change = tok.tokenType === t.With ? changes.shift() : undefined
    return { text: tok.image, type: tok.tokenType, span: spanOfToken(b, tok), changes: change === undefined ? null : buildChanges(b, change) }
  })
  return climb(operands, operators, b.diagnostics, (at) => missing(b, at))
}

function buildChanges(b: Builder, cst: CstNode): Pick<ast.WithExpr, "fields" | "ats" | "span"> {
  const fields: ast.FieldExpr[] = []
  const ats: { address: ast.Expr; value: ast.Expr; span: Span }[] = []
  for (const entry of nodes(cst, "withEntry")) {
    const span = spanOf(b, entry)
    fields.push(...fieldsIn(b, entry))
    if (node(entry, "operand") !== undefined) ats.push({ address: operandIn(b, entry, 0), value: expressionIn(b, entry), span })
  }
  return { fields, ats, span: spanOf(b, cst) }
}

export function operandIn(b: Builder, cst: CstNode, index: number): ast.Expr {
  const found = nodes(cst, "operand")[index]
  if (found === undefined) return missing(b, spanOf(b, cst).end)
  return climb([buildOperand(b, found)], [], b.diagnostics, (at) => missing(b, at))
}

function buildOperand(b: Builder, cst: CstNode): Operand {
  const prefixes = tokens(cst, "prefix").map((tok) => ({ text: tok.tokenType === t.Not ? ("not" as const) : ("-" as const), span: spanOfToken(b, tok) }))
  const primary = node(cst, "primary")
  let value = primary === undefined ? missing(b, spanOf(b, cst).end) : buildPrimary(b, primary)
  for (const postfix of nodes(cst, "postfix")) value = buildPostfix(b, value, postfix)
  return { prefixes, value }
}

function buildPostfix(b: Builder, object: ast.Expr, cst: CstNode): ast.Expr {
  const span = { ...object.span, end: Math.max(object.span.end, spanOf(b, cst).end) }
  const args = node(cst, "arguments")
  if (args !== undefined) return { kind: "call", span, callee: object, args: nodes(args, "argument").map((a) => buildArgument(b, a)) }
  const index = node(cst, "index")
  if (index !== undefined) {
    const star = token(index, "Star")
    return { kind: "index", span, object, index: star === undefined ? expressionIn(b, index) : { kind: "wildcard", span: spanOfToken(b, star) } }
  }
  const selection = node(cst, "selection")
  if (selection !== undefined) return { kind: "select", span, object, names: selectedNames(b, selection) }
  const name = identIn(b, cst, "FieldName")
  return name === null ? object : { kind: "field", span, object, name }
}

function selectedNames(b: Builder, cst: CstNode): ast.Ident[] {
  const names = tokens(cst, "FieldName").map((n) => ident(b, n))
  if (names.length === 0 && token(cst, "RCurly") !== undefined) {
    b.diagnostics.push(diagnostic("SLM1010", spanOf(b, cst), "nothing is selected between these braces", { help: "list parts: `attn.{q, v}`" }))
  }
  return names
}

function buildArgument(b: Builder, cst: CstNode): ast.Argument {
  return { name: identIn(b, cst, "FieldName"), value: expressionIn(b, cst), span: spanOf(b, cst) }
}

function buildPrimary(b: Builder, cst: CstNode): ast.Expr {
  const span = spanOf(b, cst)
  const kind = Object.keys(cst.children)[0]
  switch (kind) {
    case "Name": return { kind: "name", span, name: token(cst, "Name")?.image ?? "" }
    case "NumberLiteral": return buildNumber(b, token(cst, "NumberLiteral"), token(cst, "Unit"), span)
    case "share": return buildShare(b, node(cst, "share") ?? cst, span)
    case "string": return buildString(b, node(cst, "string") ?? cst)
    case "True": return { kind: "bool", span, value: true }
    case "False": return { kind: "bool", span, value: false }
    case "None": return { kind: "none", span }
    case "LParen": return { ...expressionIn(b, cst), span }
    case "list": return buildList(b, node(cst, "list") ?? cst)
    case "braces": return buildBraces(b, node(cst, "braces") ?? cst)
    case "repeat": return buildRepeat(b, node(cst, "repeat") ?? cst)
    case "stage": return buildStage(b, node(cst, "stage") ?? cst)
    default: return missing(b, span.start)
  }
}

function buildShare(b: Builder, cst: CstNode, span: Span): ast.Expr {
  const tok = token(cst, "Share")
  const of = token(cst, "Name")
  const left = buildNumber(b, tok, undefined, tok === undefined ? span : spanOfToken(b, tok))
  let right: ast.Expr = token(cst, "LParen") !== undefined ? expressionIn(b, cst) : of === undefined ? missing(b, left.span.end) : { kind: "name", span: spanOfToken(b, of), name: of.image }
  for (const postfix of nodes(cst, "postfix")) right = buildPostfix(b, right, postfix)
  return { kind: "binary", op: "*", opSpan: { ...left.span, start: left.span.end }, left, right, span }
}

function buildNumber(b: Builder, tok: IToken | undefined, unit: IToken | undefined, span: Span): ast.NumberLit {
  const { value, integer, percent, text, problem } = numberOf(tok?.image ?? "0")
  if (problem !== null && tok !== undefined) b.diagnostics.push(diagnostic("SLM1004", spanOfToken(b, tok), problem.message, { help: problem.help }))
  if (percent && unit !== undefined) b.diagnostics.push(diagnostic("SLM1005", spanOfToken(b, unit), "a percentage has no second unit", { help: `write \`${text}%\` or \`${text} ${unit.image}\`` }))
  return { kind: "number", span, value, integer, unit: percent ? "%" : unit === undefined ? null : (t.unitNames[unit.image] ?? null), text }
}

export function buildString(b: Builder, cst: CstNode): ast.StringLit {
  const span = spanOf(b, cst)
  const raw = token(cst, "RawString")
  if (raw !== undefined) {
    const closed = raw.image.length >= 6 && raw.image.endsWith('"""')
    return { kind: "string", span, parts: [dedent(raw.image.slice(3, closed ? -3 : undefined))].filter((text) => text !== ""), raw: true }
  }
  const parts: (string | ast.Expr)[] = []
  for (const part of nodes(cst, "stringPart")) {
    const hole = node(part, "interpolation")
    const text = token(part, "StringText")
    if (hole !== undefined) parts.push(expressionIn(b, hole))
    else if (text !== undefined) appendText(parts, textOf(b, text))
  }
  return { kind: "string", span, parts }
}

function appendText(parts: (string | ast.Expr)[], text: string): void {
  const last = parts.at(-1)
  if (typeof last === "string") parts[parts.length - 1] = last + text
  else if (text !== "") parts.push(text)
}

function textOf(b: Builder, tok: IToken): string {
  const { value, bad } = unescape(tok.image)
  for (const escape of bad) {
    const span = { source: b.source.id, start: tok.startOffset + escape.start, end: tok.startOffset + escape.end }
    if (escape.text === "}") b.diagnostics.push(diagnostic("SLM1018", span, "this `}` in a string closes nothing", { help: "write `}}` for a brace", fix: { span, text: "}}" } }))
    else b.diagnostics.push(diagnostic("SLM1003", span, `\`${escape.text}\` is not an escape`, { label: "unknown", help: 'the escapes are `\\n`, `\\t`, `\\"`, `\\\\` and `\\u{41}`; a backslash itself is `\\\\`' }))
  }
  return value
}

function buildList(b: Builder, cst: CstNode): ast.Expr {
  const span = spanOf(b, cst)
  const items = nodes(cst, "listItem").map((n) => expressionIn(b, n))
  const generator = node(cst, "generator")
  if (generator === undefined) return { kind: "list", span, items }
  const variable = identIn(b, generator)
  const extra = items[1]
  if (extra !== undefined) b.diagnostics.push(diagnostic("SLM1010", extra.span, "a list made by `for` has one element expression", { label: "a second element", help: "join two lists with `+`" }))
  const condition = nodes(generator, "expression")[1]
  return {
    kind: "comprehension", span, result: items[0] ?? missing(b, span.start + 1), variable: variable ?? { name: "_", span },
    over: expressionIn(b, generator), condition: condition === undefined ? null : buildExpression(b, condition),
  }
}

export function buildBraces(b: Builder, cst: CstNode): ast.Expr {
  const span = spanOf(b, cst)
  const record = node(cst, "record")
  if (record !== undefined) return { kind: "record", span, fields: fieldsIn(b, record) }
  const block = node(cst, "block")
  if (block === undefined) return missing(b, span.end)
  const result = node(block, "blockResult")
  return { kind: "block", span, lets: letsIn(b, block), result: result === undefined ? missing(b, span.end) : expressionIn(b, result) }
}

export function fieldsIn(b: Builder, cst: CstNode | undefined): ast.FieldExpr[] {
  return nodes(cst, "field").flatMap((f) => {
    const name = identIn(b, f, "FieldName")
    return name === null ? [] : [{ name, value: expressionIn(b, f), span: spanOf(b, f) }]
  })
}

function buildRepeat(b: Builder, cst: CstNode): ast.Expr {
  const span = spanOf(b, cst)
  const count = node(cst, "operation")
  const braces = node(cst, "braces")
  let body = braces === undefined ? missing(b, span.end) : buildBraces(b, braces)
  while (body.kind === "block" && body.lets.length === 0) body = body.result // braces that hold no names mean nothing
  return {
    kind: "repeat", span, count: count === undefined ? missing(b, span.end) : buildOperation(b, count), variable: identIn(b, cst), body,
  }
}

function buildStage(b: Builder, cst: CstNode): ast.Expr {
  const verb = token(cst, "StageVerb")
  if (verb === undefined) return missing(b, spanOf(b, cst).start)
  const operands = nodes(cst, "operand")
  const into = token(cst, "Into")
  const intoIndex = into === undefined ? -1 : operands.length - 1
  return {
    kind: "stage", span: spanOf(b, cst), verb: verb.image as ast.StageVerb, verbSpan: spanOfToken(b, verb),
    subject: operands.length > (into === undefined ? 0 : 1) ? operandIn(b, cst, 0) : null,
    into: into === undefined ? null : operandIn(b, cst, intoIndex), fields: fieldsIn(b, node(cst, "fields")),
  }
}

export function buildLet(b: Builder, cst: CstNode): ast.LetMember | null {
  const name = identIn(b, cst)
  return name === null ? null : { kind: "let", span: spanOf(b, cst), name, value: expressionIn(b, cst) }
}

export function letsIn(b: Builder, cst: CstNode): ast.LetMember[] {
  return nodes(cst, "letStatement").flatMap((n) => buildLet(b, n) ?? [])
}

/** The text of a string that must not depend on values. */
export function plainText(b: Builder, string: ast.StringLit, what: string): string {
  const filled = string.parts.find((part) => typeof part !== "string")
  if (filled !== undefined && typeof filled !== "string") {
    b.diagnostics.push(diagnostic("SLM1019", filled.span, `${what} cannot hold values`, { label: "filled in when the recipe runs", help: "write the text itself; `{{` stands for a brace" }))
  }
  return string.parts.map((part) => (typeof part === "string" ? part : "")).join("")
}
