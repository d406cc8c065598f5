import type { CstElement, CstNode, IToken } from "chevrotain"
import type * as ast from "./ast.ts"
import type { Comments } from "./comments.ts"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Source, Span } from "./diagnostic.ts"
import { numberOf } from "./numbers.ts"
import { climb } from "./precedence.ts"
import type { Operand } from "./precedence.ts"
import { dedent, unescape } from "./strings.ts"
import * as t from "./tokens.ts"

/**
 * Makes the tree from what Chevrotain parsed; nothing else sees the CST. What is missing after a mistake becomes a
 * `missing` expression, or is left out where a list goes on without it.
 */
export interface Builder {
  readonly source: Source
  readonly comments: Comments
  readonly diagnostics: Diagnostic[]
}

export function buildModule(b: Builder, cst: CstNode): ast.Module {
  const items = nodes(cst, "item").flatMap((item) => buildItem(b, item) ?? [])
  const rest = b.comments.rest()
  for (const d of rest.diagnostics) b.diagnostics.push(d)
  return { kind: "module", span: { source: b.source.id, start: 0, end: b.source.text.length }, doc: b.comments.moduleDoc, items, comments: rest.comments }
}

// ---------------------------------------------------------------- reading the CST

function isToken(element: CstElement): element is IToken {
  return "image" in element
}

function nodes(cst: CstNode | undefined, name: string): CstNode[] {
  return (cst?.children[name] ?? []).filter((e): e is CstNode => !isToken(e))
}

function node(cst: CstNode | undefined, name: string): CstNode | undefined {
  const first = cst?.children[name]?.[0]
  return first === undefined || isToken(first) ? undefined : first
}

function tokens(cst: CstNode | undefined, name: string): IToken[] {
  return (cst?.children[name] ?? []).filter((e): e is IToken => isToken(e) && e.isInsertedInRecovery !== true)
}

function token(cst: CstNode | undefined, name: string): IToken | undefined {
  return tokens(cst, name)[0]
}

function spanOfToken(b: Builder, tok: IToken): Span {
  return { source: b.source.id, start: tok.startOffset, end: tok.startOffset + tok.image.length }
}

/** The text a node covers. After a mistake Chevrotain knows no end: then it is that of its last part. */
function spanOf(b: Builder, cst: CstNode): Span {
  const start = cst.location?.startOffset ?? Number.NaN
  const end = cst.location?.endOffset ?? Number.NaN
  if (Number.isFinite(start) && Number.isFinite(end)) return { source: b.source.id, start, end: Math.max(start, end + 1) }
  const from = Number.isFinite(start) ? start : b.source.text.length
  return { source: b.source.id, start: from, end: Math.max(from, lastEnd(cst)) }
}

function lastEnd(cst: CstNode): number {
  let end = 0
  for (const elements of Object.values(cst.children)) {
    for (const e of elements) end = Math.max(end, isToken(e) ? (Number.isFinite(e.startOffset) ? e.startOffset + e.image.length : 0) : (e.location?.endOffset ?? lastEnd(e)) + 1 || 0)
  }
  return end
}

function ident(b: Builder, tok: IToken): ast.Ident {
  return { name: tok.image, span: spanOfToken(b, tok) }
}

function identIn(b: Builder, cst: CstNode, name = "Name"): ast.Ident | null {
  const tok = token(cst, name)
  return tok === undefined ? null : ident(b, tok)
}

function missing(b: Builder, offset: number): ast.MissingExpr {
  const at = Math.min(offset, b.source.text.length)
  return { kind: "missing", span: { source: b.source.id, start: at, end: at } }
}

/** The expression of `cst`, or one that is missing where `cst` ends. */
function expressionIn(b: Builder, cst: CstNode | undefined, index = 0): ast.Expr {
  const found = nodes(cst, "expression")[index]
  if (found !== undefined) return buildExpression(b, found)
  return missing(b, cst === undefined ? 0 : spanOf(b, cst).end)
}

// ---------------------------------------------------------------- items

function buildItem(b: Builder, item: CstNode): ast.Item | null {
  const kind = Object.keys(item.children)[0]
  const cst = kind === undefined ? undefined : node(item, kind)
  if (cst === undefined) return null
  const span = spanOf(b, cst)
  const doc = kind === "use" || kind === "expect" || kind === "export" || kind === "example" ? null : b.comments.docBefore(span.start)
  const name = identIn(b, kind === "primitive" || kind === "function" ? (node(cst, "signature") ?? cst) : cst)
  if (kind === "use") return buildUse(b, cst, span)
  if (kind === "expect") return { kind: "expect", span, condition: expressionIn(b, cst) }
  if (kind === "export") return { kind: "export", span, subject: operandIn(b, cst, 0), fields: fieldsIn(b, node(cst, "fields")) }
  if (name === null) return null
  switch (kind) {
    case "binding": return { kind: "bind", span, doc, form: "artifact", name, value: expressionIn(b, cst) }
    case "letBinding": return { kind: "bind", span, doc, form: "let", name, value: expressionIn(b, cst) }
    case "param": return { kind: "param", span, doc, name, type: typeIn(b, cst), value: expressionIn(b, cst) }
    case "modelItem":
      if (node(cst, "expression") !== undefined || node(cst, "parameters") === undefined) return { kind: "bind", span, doc, form: "model", name, value: expressionIn(b, cst) }
      return { kind: "definition", span, doc, form: "model", name, params: paramsIn(b, cst), members: membersOf(b, node(cst, "members")) }
    case "layer": return { kind: "definition", span, doc, form: "layer", name, params: paramsIn(b, cst), members: membersOf(b, node(cst, "members")) }
    case "primitive":
    case "function": return buildFn(b, cst, span, doc, name, kind === "primitive")
    case "optimizer": return buildOptimizer(b, cst, span, doc, name)
    case "curriculum": return { kind: "curriculum", span, doc, name, params: paramsIn(b, cst), fields: fieldsIn(b, cst), stages: curriculumStages(b, cst) }
    case "format": return buildFormat(b, cst, span, doc, name)
    case "encoding": return buildEncoding(b, cst, span, doc, name)
    case "example": return { kind: "example", span, name, lets: letsIn(b, cst), expects: nodes(cst, "expect").map((e) => ({ kind: "expect", span: spanOf(b, e), condition: expressionIn(b, e) })) }
    default: throw new Error(`build: no item ${String(kind)}`)
  }
}

function buildUse(b: Builder, cst: CstNode, span: Span): ast.Use | null {
  const path = node(cst, "string")
  const plain = node(cst, "modulePath")
  const names = nodes(cst, "importedName").flatMap((n) => {
    const name = identIn(b, n)
    return name === null ? [] : [{ name, as: identIn(b, n, "alias") }]
  })
  const hash = token(cst, "Sha256")
  const sha256 = hash === undefined ? null : hash.image.slice("sha256:".length)
  if (hash !== undefined && !/^[0-9a-f]{64}$/.test(sha256 ?? "")) {
    b.diagnostics.push(diagnostic("SLM1020", spanOfToken(b, hash), "this is not a SHA-256 hash", { label: `${(sha256 ?? "").length} characters`, help: "a hash is `sha256:` and 64 hexadecimal digits in lower case" }))
  }
  if (plain !== undefined) {
    const words = [...tokens(plain, "Name"), ...tokens(plain, "FieldName")]
    return { kind: "use", span, module: words.map((w) => w.image).join("."), moduleSpan: spanOf(b, plain), isPath: false, sha256, names }
  }
  if (path === undefined) return null
  const string = buildString(b, path)
  return { kind: "use", span, module: plainText(b, string, "the name of a file"), moduleSpan: string.span, isPath: true, sha256, names }
}

/** The text of a string that must not depend on values. */
function plainText(b: Builder, string: ast.StringLit, what: string): string {
  const filled = string.parts.find((part) => typeof part !== "string")
  if (filled !== undefined && typeof filled !== "string") {
    b.diagnostics.push(diagnostic("SLM1019", filled.span, `${what} cannot hold values`, { label: "filled in when the recipe runs", help: "write the text itself; `{{` stands for a brace" }))
  }
  return string.parts.map((part) => (typeof part === "string" ? part : "")).join("")
}

function buildFn(b: Builder, cst: CstNode, span: Span, doc: string | null, name: ast.Ident, primitive: boolean): ast.Fn {
  const signature = node(cst, "signature") ?? cst
  const braces = node(cst, "braces")
  const body = primitive ? null : braces === undefined ? expressionIn(b, cst) : buildBraces(b, braces)
  return { kind: "fn", span, doc, primitive, name, params: paramsIn(b, signature, primitive), returns: returnsIn(b, signature), body }
}

function paramsIn(b: Builder, cst: CstNode, primitive = false): ast.Parameter[] {
  const list = nodes(node(cst, "parameters"), "parameter")
  return list.flatMap((p, i) => {
    const name = identIn(b, p)
    if (name === null) return []
    const rest = token(p, "Ellipsis")
    if (rest !== undefined && (!primitive || i < list.length - 1)) {
      b.diagnostics.push(diagnostic("SLM1026", spanOfToken(b, rest), "`...` is for the last parameter of a `primitive fn`", { label: primitive ? "parameters follow" : "not a primitive", help: "name each parameter" }))
    }
    const value = node(p, "expression")
    return [{ name, rest: rest !== undefined, type: typeIn(b, p), default: value === undefined ? null : buildExpression(b, value), span: spanOf(b, p) }]
  })
}

function returnsIn(b: Builder, cst: CstNode | undefined): ast.TypeExpr | null {
  return typeIn(b, node(cst, "returns"))
}

function procedure(b: Builder, cst: CstNode | undefined, at: number): { params: ast.Parameter[]; returns: ast.TypeExpr | null; body: ast.Expr } {
  const p = node(cst, "procedure")
  if (p === undefined) return { params: [], returns: null, body: missing(b, at) }
  const braces = node(p, "braces")
  return { params: paramsIn(b, p), returns: returnsIn(b, p), body: braces === undefined ? missing(b, spanOf(b, p).end) : buildBraces(b, braces) }
}

function membersOf(b: Builder, cst: CstNode | undefined): ast.Member[] {
  return nodes(cst, "member").flatMap((m): ast.Member[] => {
    const kind = Object.keys(m.children)[0]
    const inner = kind === undefined ? undefined : node(m, kind)
    if (inner === undefined) return []
    const member = buildMember(b, kind ?? "", inner)
    return member === null ? [] : [member]
  })
}

function buildMember(b: Builder, kind: string, cst: CstNode): ast.Member | null {
  const span = spanOf(b, cst)
  if (kind === "require") return buildRequire(b, cst)
  if (kind === "letStatement") return buildLet(b, cst)
  const doc = b.comments.docBefore(span.start)
  if (kind === "forward") return { kind: "forward", span, doc, ...procedure(b, cst, span.end) }
  const name = identIn(b, cst)
  if (name === null) return null
  const condition = node(cst, "when")
  const when = condition === undefined ? null : expressionIn(b, condition)
  if (kind === "part") return { kind: "part", span, doc, name, value: expressionIn(b, cst), when }
  const type = typeIn(b, cst) ?? { kind: "named", span: name.span, name: "float", dims: null }
  return { kind: "weight", span, doc, name, type, init: expressionIn(b, cst), when }
}

function buildRequire(b: Builder, cst: CstNode): ast.Require {
  const message = node(cst, "string")
  return { kind: "require", span: spanOf(b, cst), condition: expressionIn(b, cst), message: message === undefined ? null : buildString(b, message) }
}

function buildLet(b: Builder, cst: CstNode): ast.LetMember | null {
  const name = identIn(b, cst)
  return name === null ? null : { kind: "let", span: spanOf(b, cst), name, value: expressionIn(b, cst) }
}

function letsIn(b: Builder, cst: CstNode): ast.LetMember[] {
  return nodes(cst, "letStatement").flatMap((n) => buildLet(b, n) ?? [])
}

function buildOptimizer(b: Builder, cst: CstNode, span: Span, doc: string | null, name: ast.Ident): ast.Optimizer {
  const states = nodes(cst, "state").flatMap((s) => nodes(s, "stateVariable")).flatMap((v) => {
    const variable = identIn(b, v)
    return variable === null ? [] : [{ name: variable, init: expressionIn(b, v) }]
  })
  const update = only(b, cst, "update", `the optimizer \`${name.name}\``, name)
  const updateSpan = update === undefined ? name.span : spanOf(b, update)
  const { params, body } = procedure(b, update, span.end)
  return { kind: "optimizer", span, doc, name, params: paramsIn(b, cst), requires: nodes(cst, "require").map((r) => buildRequire(b, r)), states, update: { params, body, span: updateSpan } }
}

/** The one `what` that a definition must have. */
function only(b: Builder, cst: CstNode, what: string, owner: string, name: ast.Ident): CstNode | undefined {
  const [first, second] = nodes(cst, what)
  const recovered = cst.recoveredNode === true || token(cst, "RCurly") === undefined
  if (first === undefined && !recovered) b.diagnostics.push(diagnostic("SLM1022", name.span, `${owner} has no \`${what}\``, { label: `\`${what}(…) { … }\` is missing`, help: `add \`${what}(…) { … }\`` }))
  if (first !== undefined && second !== undefined) {
    b.diagnostics.push(diagnostic("SLM1022", spanOf(b, second), `${owner} has a second \`${what}\``, { labels: [{ span: spanOf(b, first), message: "the first" }], help: "remove one of them" }))
  }
  return first
}

function curriculumStages(b: Builder, cst: CstNode): ast.Curriculum["stages"] {
  return nodes(cst, "curriculumStage").flatMap((s) => {
    const name = identIn(b, s)
    return name === null ? [] : [{ name, fields: fieldsIn(b, node(s, "fields")), span: spanOf(b, s) }]
  })
}

function buildFormat(b: Builder, cst: CstNode, span: Span, doc: string | null, name: ast.Ident): ast.Format | null {
  const model = identIn(b, cst, "model")
  if (model === null) return null
  const blocks = nodes(cst, "formatBlock").flatMap((n) => {
    const block = identIn(b, n)
    return block === null ? [] : [{ name: block, fields: fieldsIn(b, node(n, "fields")), span: spanOf(b, n) }]
  })
  const maps = nodes(cst, "formatMap").map((n): ast.FormatMap => {
    const theirs = node(n, "string")
    const via = node(n, "expression")
    const when = node(n, "when")
    return {
      span: spanOf(b, n),
      ours: operandIn(b, n, 0),
      theirs: theirs === undefined ? missing(b, spanOf(b, n).end) : buildString(b, theirs),
      via: via === undefined ? null : buildExpression(b, via),
      when: when === undefined ? null : expressionIn(b, when),
    }
  })
  return { kind: "format", span, doc, name, model, blocks, maps }
}

function buildEncoding(b: Builder, cst: CstNode, span: Span, doc: string | null, name: ast.Ident): ast.Encoding {
  const half = (what: "encode" | "decode"): ast.Encoding["encode"] => {
    const found = only(b, cst, what, `the encoding \`${name.name}\``, name)
    return { ...procedure(b, found, span.end), span: found === undefined ? name.span : spanOf(b, found) }
  }
  return {
    kind: "encoding", span, doc, name, params: paramsIn(b, cst), requires: nodes(cst, "require").map((r) => buildRequire(b, r)),
    fields: fieldsIn(b, cst), encode: half("encode"), decode: half("decode"),
  }
}

// ---------------------------------------------------------------- types

function typeIn(b: Builder, cst: CstNode | undefined, index = 0): ast.TypeExpr | null {
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

// ---------------------------------------------------------------- expressions

function buildExpression(b: Builder, cst: CstNode): ast.Expr {
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

function operandIn(b: Builder, cst: CstNode, index: number): ast.Expr {
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
  let right: ast.Expr = of === undefined ? missing(b, left.span.end) : { kind: "name", span: spanOfToken(b, of), name: of.image }
  for (const postfix of nodes(cst, "postfix")) right = buildPostfix(b, right, postfix)
  return { kind: "binary", op: "*", opSpan: { ...left.span, start: left.span.end }, left, right, span }
}

function buildNumber(b: Builder, tok: IToken | undefined, unit: IToken | undefined, span: Span): ast.NumberLit {
  const { value, integer, percent, text, problem } = numberOf(tok?.image ?? "0")
  if (problem !== null && tok !== undefined) b.diagnostics.push(diagnostic("SLM1004", spanOfToken(b, tok), problem.message, { help: problem.help }))
  if (percent && unit !== undefined) b.diagnostics.push(diagnostic("SLM1005", spanOfToken(b, unit), "a percentage has no second unit", { help: `write \`${text}%\` or \`${text} ${unit.image}\`` }))
  return { kind: "number", span, value, integer, unit: percent ? "%" : unit === undefined ? null : (t.unitNames[unit.image] ?? null), text }
}

function buildString(b: Builder, cst: CstNode): ast.StringLit {
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

function buildBraces(b: Builder, cst: CstNode): ast.Expr {
  const span = spanOf(b, cst)
  const record = node(cst, "record")
  if (record !== undefined) return { kind: "record", span, fields: fieldsIn(b, record) }
  const block = node(cst, "block")
  if (block === undefined) return missing(b, span.end)
  const result = node(block, "blockResult")
  return { kind: "block", span, lets: letsIn(b, block), result: result === undefined ? missing(b, span.end) : expressionIn(b, result) }
}

function fieldsIn(b: Builder, cst: CstNode | undefined): ast.FieldExpr[] {
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
