import { createTokenInstance } from "chevrotain"
import type { IToken, TokenType } from "chevrotain"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Source, Span } from "./diagnostic.ts"
import type { Place } from "./place.ts"
import { maxReported } from "./limits.ts"
import * as t from "./tokens.ts"

/**
 * Makes brackets pair up before parsing, so that one forgotten bracket costs one diagnostic and the parser can
 * step over groups. Where they do not pair up, indentation says where the missing one should have been.
 */
export function balance(source: Source, tokens: readonly IToken[]): { readonly tokens: readonly IToken[]; readonly diagnostics: readonly Diagnostic[] } {
  if (pairsUp(tokens)) return { tokens, diagnostics: [] }
  const state: State = { source, out: [], open: [], counts: new Map(), mended: new Map(), diagnostics: [], indents: indents(source, tokens) }
  tokens.forEach((token, i) => take(state, token, i))
  const end = source.text.length
  while (state.open.length > 0) closeMissing(state, end, null)
  return { tokens: state.out, diagnostics: state.diagnostics }
}

/** For each bracket the index of its partner; -1 for other tokens. Expects brackets that pair up. */
export function bracketsOf(tokens: readonly IToken[]): Int32Array {
  const match = new Int32Array(tokens.length).fill(-1)
  const stack: number[] = []
  tokens.forEach((token, i) => {
    if (closerOf(token) !== undefined) stack.push(i)
    else if (isCloser(token)) {
      const open = stack.pop()
      if (open === undefined) return
      match[open] = i
      match[i] = open
    }
  })
  return match
}

interface Open {
  readonly token: IToken
  readonly indent: number // column of the first token on the line of the opener
  readonly line: number
}

interface State {
  readonly source: Source
  readonly out: IToken[]
  readonly open: Open[]
  readonly counts: Map<TokenType, number> // how many of each opener are open since the last hole
  readonly mended: Map<TokenType, number> // closers that were put in by indentation; the same many later strays are dropped silently
  readonly diagnostics: Diagnostic[]
  readonly indents: Int32Array
}

function closerOf(token: IToken): TokenType | undefined {
  switch (token.tokenType) {
    case t.LCurly: return t.RCurly
    case t.LParen: return t.RParen
    case t.LSquare: return t.RSquare
    case t.HoleOpen: return t.HoleClose
    default: return undefined
  }
}

function isCloser(token: IToken): boolean {
  const type = token.tokenType
  return type === t.RCurly || type === t.RParen || type === t.RSquare || type === t.HoleClose
}

function pairsUp(tokens: readonly IToken[]): boolean {
  const stack: TokenType[] = []
  for (const token of tokens) {
    const closer = closerOf(token)
    if (closer !== undefined) stack.push(closer)
    else if (isCloser(token) && stack.pop() !== token.tokenType) return false
  }
  return stack.length === 0
}

/** For each token the column of the first token on its line. */
function indents(source: Source, tokens: readonly IToken[]): Int32Array {
  const columns = new Int32Array(tokens.length)
  let indent = 0
  tokens.forEach((token, i) => {
    if ((token.payload as Place).first) indent = token.startOffset - 1 - source.text.lastIndexOf("\n", token.startOffset - 1)
    columns[i] = indent
  })
  return columns
}

function take(state: State, token: IToken, i: number): void {
  const place = token.payload as Place
  const indent = state.indents[i] ?? 0
  if (place.first && !isCloser(token)) closeOutdented(state, token, indent, place.line)
  const closer = closerOf(token)
  if (closer !== undefined) {
    state.out.push(token)
    state.open.push({ token, indent, line: place.line })
    state.counts.set(closer, (state.counts.get(closer) ?? 0) + 1)
  } else if (isCloser(token)) close(state, token, indent, place.first)
  else state.out.push(token)
}

/** A line that starts no deeper than the line of an open bracket is outside of it. */
function closeOutdented(state: State, token: IToken, indent: number, line: number): void {
  for (let top = state.open.at(-1); top !== undefined; top = state.open.at(-1)) {
    if (top.token.tokenType === t.HoleOpen || top.line === line || indent > top.indent) return
    if (indent === top.indent && continuesOutdented(token)) return
    const closer = closerOf(top.token)
    if (closer !== undefined) state.mended.set(closer, (state.mended.get(closer) ?? 0) + 1)
    closeMissing(state, null, token)
  }
}

/** `{`, `|>` and the like at the indentation of the opener continue it. */
function continuesOutdented(token: IToken): boolean {
  return !/^[A-Za-z_"]/.test(token.image)
}

function close(state: State, token: IToken, indent: number, first: boolean): void {
  const type = token.tokenType
  if (type === t.HoleClose) {
    while (state.open.at(-1) !== undefined && state.open.at(-1)?.token.tokenType !== t.HoleOpen) closeMissing(state, token.startOffset, token)
    return pair(state, token)
  }
  if (!isOpen(state, type)) return stray(state, token)
  for (let top = state.open.at(-1); top !== undefined; top = state.open.at(-1)) {
    const fits = closerOf(top.token) === type
    const outdented = first && fits && indent < top.indent && state.open.length > 1 && closerOf(state.open.at(-2)?.token ?? top.token) === type
    if (fits && !outdented) return pair(state, token)
    closeMissing(state, token.startOffset, token)
  }
}

function isOpen(state: State, closer: TokenType): boolean {
  if ((state.counts.get(closer) ?? 0) === 0) return false
  if ((state.counts.get(t.HoleClose) ?? 0) === 0) return true
  for (let i = state.open.length - 1; i >= 0; i--) {
    const type = state.open[i]?.token
    if (type === undefined || type.tokenType === t.HoleOpen) return false
    if (closerOf(type) === closer) return true
  }
  return false
}

function pair(state: State, token: IToken): void {
  const top = state.open.pop()
  if (top === undefined) return
  state.counts.set(token.tokenType, (state.counts.get(token.tokenType) ?? 1) - 1)
  state.out.push(token)
}

function stray(state: State, token: IToken): void {
  const mended = state.mended.get(token.tokenType) ?? 0
  if (mended > 0) {
    state.mended.set(token.tokenType, mended - 1)
    return
  }
  const top = state.open.at(-1)
  const span = spanOf(state, token)
  if (state.diagnostics.length < maxReported) state.diagnostics.push(diagnostic("SLM1007", span, `this \`${token.image}\` closes nothing`, {
    label: "no open bracket fits",
    ...(top === undefined ? {} : { labels: [{ span: spanOf(state, top.token), message: `this \`${top.token.image}\` is still open` }] }),
    help: "remove it",
    fix: { span, text: "" },
  }))
}

/** Puts in the closer of the innermost open bracket, before `found` or at the end of the text. */
function closeMissing(state: State, endOffset: number | null, found: IToken | null): void {
  const top = state.open.pop()
  const type = top === undefined ? undefined : closerOf(top.token)
  if (top === undefined || type === undefined) return
  state.counts.set(type, (state.counts.get(type) ?? 1) - 1)
  const last = state.out.at(-1) ?? top.token
  const at = last.startOffset + last.image.length
  const image = closerImage(type)
  const token = createTokenInstance(type, "", at, at - 1, Number.NaN, Number.NaN, Number.NaN, Number.NaN)
  token.payload = { ...(last.payload as Place), first: false }
  state.out.push(token)
  const source = state.source.id
  const insertion = { source, start: at, end: at }
  const meets = found !== null && isCloser(found) && found.image !== "" ? spanOf(state, found) : insertion
  if (state.diagnostics.length < maxReported) state.diagnostics.push(diagnostic("SLM1006", meets, `a \`${image}\` is missing`, {
    label: endOffset !== null && found === null ? "the text ends here" : `\`${image}\` expected here`,
    labels: [{ span: spanOf(state, top.token), message: `this \`${top.token.image}\` is never closed` }],
    help: `close it with \`${image}\``,
    fix: { span: insertion, text: image },
  }))
}

function closerImage(type: TokenType): string {
  return type === t.RParen ? ")" : type === t.RSquare ? "]" : "}"
}

function spanOf(state: State, token: IToken): Span {
  return { source: state.source.id, start: token.startOffset, end: token.startOffset + token.image.length }
}
