import type { CstNode } from "chevrotain"
import type * as ast from "./ast.ts"
import { identIn, missing, node, nodes, spanOf, spanOfToken, token, tokens } from "./build-cst.ts"
import type { Builder } from "./build-cst.ts"
import { buildBraces, buildExpression, buildLet, buildString, expressionIn, fieldsIn, letsIn, operandIn, plainText } from "./build-expressions.ts"
import { returnsIn, typeIn } from "./build-types.ts"
import { diagnostic } from "./diagnostic.ts"
import type { Span } from "./diagnostic.ts"

/**
 * Makes the tree from what Chevrotain parsed: modules and their items here, types and expressions in the files beside it. What is missing
 * after a mistake becomes a `missing` expression, or is left out where a list goes on without it.
 */
export function buildModule(b: Builder, cst: CstNode): ast.Module {
  const items = nodes(cst, "item").flatMap((item) => buildItem(b, item) ?? [])
  const rest = b.comments.rest()
  for (const d of rest.diagnostics) b.diagnostics.push(d)
  return { kind: "module", span: { source: b.source.id, start: 0, end: b.source.text.length }, doc: b.comments.moduleDoc, items, comments: rest.comments }
}

function buildItem(b: Builder, item: CstNode): ast.Item | null {
  const kind = Object.keys(item.children)[0]
  const cst = kind === undefined ? undefined : node(item, kind)
  if (cst === undefined) return null
  const span = spanOf(b, cst)
  const doc = kind === "use" || kind === "carried" || kind === "lock" || kind === "expect" || kind === "export" || kind === "example" ? null : b.comments.docBefore(span.start)
  const name = identIn(b, kind === "primitive" || kind === "function" ? (node(cst, "signature") ?? cst) : cst)
  if (kind === "use") return buildUse(b, cst, span)
  if (kind === "carried") return buildCarried(b, cst, span)
  if (kind === "lock") {
    const text = node(cst, "string")
    return text === undefined ? null : { kind: "lock", span, text: buildText(b, text, "a lock") }
  }
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
  const named = moduleNamed(b, plain, path)
  return named === null ? null : { kind: "use", span, ...named, sha256, names }
}

/** A module as `use` and `module` name it: `std.models`, or a text. */
function moduleNamed(b: Builder, plain: CstNode | undefined, path: CstNode | undefined): Pick<ast.Use, "module" | "moduleSpan" | "isPath"> | null {
  if (plain !== undefined) {
    const words = [...tokens(plain, "Name"), ...tokens(plain, "FieldName")]
    return { module: words.map((w) => w.image).join("."), moduleSpan: spanOf(b, plain), isPath: false }
  }
  if (path === undefined) return null
  const string = buildString(b, path)
  return { module: plainText(b, string, "the name of a file"), moduleSpan: string.span, isPath: true }
}

function buildCarried(b: Builder, cst: CstNode, span: Span): ast.Carried | null {
  const plain = node(cst, "modulePath")
  const strings = nodes(cst, "string")
  const named = moduleNamed(b, plain, plain === undefined ? strings[0] : undefined)
  const text = strings[plain === undefined ? 1 : 0]
  return named === null || text === undefined ? null : { kind: "carried", span, ...named, text: buildText(b, text, "a module") }
}

/** A string that must not depend on values, kept as it is written. */
function buildText(b: Builder, cst: CstNode, what: string): ast.StringLit {
  const string = buildString(b, cst)
  plainText(b, string, what)
  return string
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
