import type { CstElement, CstNode, IToken } from "chevrotain"
import type * as ast from "./ast.ts"
import type { Comments } from "./comments.ts"
import type { Diagnostic, Source, Span } from "./diagnostic.ts"

/** What the parts of the builder share: `build.ts`, `build-types.ts`, `build-expressions.ts`. They and this file alone see the CST. */
export interface Builder {
  readonly source: Source
  readonly comments: Comments
  readonly diagnostics: Diagnostic[]
}

function isToken(element: CstElement): element is IToken {
  return "image" in element
}

export function nodes(cst: CstNode | undefined, name: string): CstNode[] {
  return (cst?.children[name] ?? []).filter((e): e is CstNode => !isToken(e))
}

export function node(cst: CstNode | undefined, name: string): CstNode | undefined {
  const first = cst?.children[name]?.[0]
  return first === undefined || isToken(first) ? undefined : first
}

export function tokens(cst: CstNode | undefined, name: string): IToken[] {
  return (cst?.children[name] ?? []).filter((e): e is IToken => isToken(e) && e.isInsertedInRecovery !== true)
}

export function token(cst: CstNode | undefined, name: string): IToken | undefined {
  return tokens(cst, name)[0]
}

export function spanOfToken(b: Builder, tok: IToken): Span {
  return { source: b.source.id, start: tok.startOffset, end: tok.startOffset + tok.image.length }
}

/** The text a node covers. After a mistake Chevrotain knows no end: then it is that of its last part. */
export function spanOf(b: Builder, cst: CstNode): Span {
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

export function ident(b: Builder, tok: IToken): ast.Ident {
  return { name: tok.image, span: spanOfToken(b, tok) }
}

export function identIn(b: Builder, cst: CstNode, name = "Name"): ast.Ident | null {
  const tok = token(cst, name)
  return tok === undefined ? null : ident(b, tok)
}

export function missing(b: Builder, offset: number): ast.MissingExpr {
  const at = Math.min(offset, b.source.text.length)
  return { kind: "missing", span: { source: b.source.id, start: at, end: at } }
}
