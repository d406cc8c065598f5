import { createTokenInstance } from "chevrotain"
import type { IToken, TokenType } from "chevrotain"
import { balance, bracketsOf } from "./brackets.ts"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Source, Span } from "./diagnostic.ts"
import { maxReported } from "./limits.ts"
import { after, become, closesGroup, isName, isWord, onSameLine, opensGroup, placeOf } from "./place.ts"
import type { Place } from "./place.ts"
import { lineIndex } from "./position.ts"
import { applies, retype } from "./retype.ts"
import * as t from "./tokens.ts"

/**
 * Between lexer and parser: decides where line breaks separate entries, and which words and brackets begin what
 * (`retype.ts`). The parser then needs two tokens of lookahead and never backtracks.
 */

/**
 * Limits that keep every walk over the tree, ours and others', within the stack: how deep brackets, functions and `if`s
 * nest, and how many operators one expression has, summed over the groups it stands in.
 */
export const maxNesting = 100
const maxChain = 300

interface Frame {
  readonly open: IToken | null
  /** First token of the entry that is being read. */
  first: IToken | null
  nest: number
  chain: number
}

interface State {
  readonly source: Source
  readonly out: IToken[]
  readonly frames: Frame[]
  readonly diagnostics: Diagnostic[]
  nest: number
  chain: number
}

export function layout(source: Source, lexed: readonly IToken[]): { readonly tokens: IToken[]; readonly diagnostics: readonly Diagnostic[] } {
  const lines = lineIndex(source.text)
  let line = 0
  let last = -1
  for (const token of lexed) {
    while (line + 1 < lines.starts.length && (lines.starts[line + 1] ?? 0) <= token.startOffset) line++
    const place: Place = { first: line !== last, line, entryEnd: 0, lineEnd: 0, groupEnd: 0 }
    token.payload = place
    last = line + (token.tokenType === t.RawString ? lineBreaks(token.image) : 0)
  }
  const balanced = balance(source, lexed)
  const state: State = { source, out: [], frames: [{ open: null, first: null, nest: 0, chain: 0 }], diagnostics: [...balanced.diagnostics], nest: 0, chain: 0 }
  const match = bracketsOf(balanced.tokens)
  for (let i = 0; i < balanced.tokens.length; i++) i = step(state, balanced.tokens, match, i)
  setEnds(state.out)
  return { tokens: state.out, diagnostics: state.diagnostics }
}

function lineBreaks(text: string): number {
  return text.split("\n").length - 1
}

/** Takes token `i`; the result is the index of the last token dealt with. */
function step(state: State, tokens: readonly IToken[], match: Int32Array, i: number): number {
  const token = tokens[i]
  if (token === undefined) return i
  const previous = state.out.at(-1)
  if (token.tokenType === t.Comma && previous !== undefined && (opensGroup(previous) || previous.tokenType === t.Comma || previous.tokenType === t.Newline)) {
    report(state, diagnostic("SLM1013", spanOf(state, token), "there is nothing before this comma", { help: "remove it, or write the missing entry before it" }))
    return i
  }
  if (breaksHere(state, tokens, i, previous)) pushBreak(state, token, previous)
  const habit = foreignWord(state, tokens, match, i)
  if (habit !== null) return habit
  const frame = state.frames.at(-1)
  if (frame !== undefined) frame.first ??= token
  retype(tokens, match, i)
  if (tooDeep(state, token)) return elide(state, tokens, match, i)
  state.out.push(token)
  if (opensGroup(token)) state.frames.push({ open: token, first: null, nest: 0, chain: 0 })
  else if (closesGroup(token) && state.frames.length > 1) leave(state)
  else if (token.tokenType === t.Comma) endEntry(state)
  return i
}

/** Forms of other languages that would leave a wrong tree behind; null where this is none. The result is the last token dealt with. */
function foreignWord(state: State, tokens: readonly IToken[], match: Int32Array, i: number): number | null {
  const [token, next] = [tokens[i], tokens[i + 1]]
  const frame = state.frames.at(-1)
  if (token === undefined || next === undefined || frame === undefined) return null
  if (token.image === "return" && frame.first === null && frame.open?.tokenType === t.BlockOpen && onSameLine(next) && (isWord(next) || next.tokenType === t.NumberLiteral || opensGroup(next))) {
    report(state, diagnostic("SLM1029", spanOf(state, token), "`return` means nothing here", { label: "a word of another language", help: "the last line of a block is its result", fix: { span: { ...spanOf(state, token), end: next.startOffset }, text: "" } }))
    return i
  }
  if (token.tokenType === t.Equals && state.out.at(-1) !== frame.first && (frame.first?.tokenType === t.Expect || frame.first?.tokenType === t.Require)) {
    report(state, diagnostic("SLM1017", spanOf(state, token), "a value is compared with `==`", { help: "write `==`", fix: { span: spanOf(state, token), text: "==" } }))
    become(token, t.EqualEqual)
  }
  return frame.open === null && frame.first === null && isName(token) && next.tokenType === t.Colon && onSameLine(next) ? strayField(state, tokens, match, i) : null
}

/** `words: …` outside of a block: the name is bound, so that it is known; what it is bound to is left out. */
function strayField(state: State, tokens: readonly IToken[], match: Int32Array, i: number): number {
  const [token, colon] = [tokens[i], tokens[i + 1]]
  if (token === undefined || colon === undefined) return i
  const name = token.image
  report(state, diagnostic("SLM1011", spanOf(state, token), `the field \`${name}\` stands outside of a block`, { label: "no block is open here", help: `put it between the \`{\` and \`}\` of what it belongs to, or write \`${name} = …\`` }))
  become(colon, t.Equals)
  const filler = createTokenInstance(t.Elided, "", colon.startOffset + 1, colon.startOffset, Number.NaN, Number.NaN, Number.NaN, Number.NaN)
  filler.payload = { ...placeOf(colon), first: false }
  state.out.push(token, colon, filler)
  return endOfEntry(tokens, match, i + 2, true) - 1
}

function report(state: State, d: Diagnostic): void {
  if (state.diagnostics.length < maxReported) state.diagnostics.push(d)
}

function leave(state: State): void {
  endEntry(state)
  state.frames.pop()
}

function endEntry(state: State): void {
  const frame = state.frames.at(-1)
  if (frame === undefined) return
  state.nest -= frame.nest
  state.chain -= frame.chain
  frame.nest = 0
  frame.chain = 0
  frame.first = null
}

function pushBreak(state: State, token: IToken, previous: IToken | undefined): void {
  endEntry(state)
  const at = previous === undefined ? token.startOffset : previous.startOffset + previous.image.length
  const newline = createTokenInstance(t.Newline, "", at, token.startOffset - 1, Number.NaN, Number.NaN, Number.NaN, Number.NaN)
  newline.payload = { first: false, line: placeOf(token).line - 1, entryEnd: 0, lineEnd: 0, groupEnd: 0 } satisfies Place
  state.out.push(newline)
}

function spanOf(state: State, token: IToken): Span {
  return { source: state.source.id, start: token.startOffset, end: token.startOffset + token.image.length }
}

// ---------------------------------------------------------------- line breaks

const continuing: ReadonlySet<TokenType> = new Set([
  t.Plus, t.Minus, t.Star, t.Slash, t.Percent, t.Caret, t.AtSign, t.EqualEqual, t.NotEqual, t.LessEqual, t.GreaterEqual, t.Less, t.Greater,
  t.And, t.Or, t.Ampersand, t.PipeRight, t.Dot, t.DotDot, t.Comma, t.Colon, t.Equals, t.FatArrow, t.Arrow, t.Bar, t.Question,
  t.RCurly, t.RParen, t.RSquare, t.HoleClose, t.With, t.Then, t.Else,
])
/** Words that continue the line before them, unless they name something (`into: …`, `when = …`). */
const continuingWords: ReadonlySet<TokenType> = new Set([t.With, t.Then, t.Else, t.And, t.Or, t.Into, t.Via, t.When])

/** Behind these the line goes on below. */
const unfinished: ReadonlySet<TokenType> = new Set([
  t.Plus, t.Minus, t.Star, t.Slash, t.Percent, t.Caret, t.AtSign, t.EqualEqual, t.NotEqual, t.LessEqual, t.GreaterEqual, t.Less, t.Greater,
  t.And, t.Or, t.Not, t.Ampersand, t.PipeRight, t.Dot, t.DotDot, t.Comma, t.Colon, t.Equals, t.FatArrow, t.Arrow, t.Bar,
  t.LCurly, t.RecordOpen, t.BlockOpen, t.With, t.If, t.Then, t.Else, t.Let,
])

/** After these a `name =` or `name:` is no new entry; after an operator it is, and the operator's value is missing. */
const opensEntry: ReadonlySet<TokenType> = new Set([t.LCurly, t.RecordOpen, t.BlockOpen, t.Comma, t.Let])

function breaksHere(state: State, tokens: readonly IToken[], i: number, previous: IToken | undefined): boolean {
  const token = tokens[i]
  if (token === undefined || previous === undefined || !placeOf(token).first) return false
  const open = state.frames.at(-1)?.open ?? null
  if (open !== null && open.tokenType !== t.LCurly && open.tokenType !== t.RecordOpen && open.tokenType !== t.BlockOpen) return false
  const next = tokens[i + 1]?.tokenType
  // a reserved word that was used as a name (`x.with`) ends its line after all
  const named = t.reserved.includes(previous.tokenType) && state.out.at(-2)?.tokenType === t.Dot
  if (unfinished.has(previous.tokenType) && !named) {
    return !opensEntry.has(previous.tokenType) && isWord(token) && (next === t.Equals || next === t.Colon || beginsItem(token, tokens[i + 1]))
  }
  if (open === null && token.tokenType === t.LCurly) return false
  if (continuingWords.has(token.tokenType)) return next === t.Colon || next === t.Equals || next === t.FatArrow
  return !continuing.has(token.tokenType)
}

const itemTypes: ReadonlySet<TokenType> = new Set([
  t.Use, t.Param, t.Model, t.Layer, t.Primitive, t.Fn, t.Optimizer, t.Curriculum, t.Format, t.Encoding, t.Expect, t.Export, t.Example, t.Part, t.Require, t.State, t.Stage,
])
const joining: ReadonlySet<TokenType> = new Set([t.Into, t.Via, t.When, t.As, t.For, t.In])

/** `model Big`, `part q`, `let`: no expression goes on like this, so the line before it has lost its end. */
function beginsItem(token: IToken, next: IToken | undefined): boolean {
  return token.tokenType === t.Let || (itemTypes.has(token.tokenType) && next !== undefined && isName(next) && onSameLine(next) && !joining.has(next.tokenType))
}

// ---------------------------------------------------------------- depth

const nesting: ReadonlySet<TokenType> = new Set([t.FatArrow, t.Arrow, t.Else, t.If])
const chaining: ReadonlySet<TokenType> = new Set([
  t.Plus, t.Minus, t.Star, t.Slash, t.Percent, t.Caret, t.AtSign, t.EqualEqual, t.NotEqual, t.LessEqual, t.GreaterEqual, t.Less, t.Greater,
  t.And, t.Or, t.Not, t.Ampersand, t.PipeRight, t.Dot, t.DotDot, t.With, t.Bar, t.Question, t.LParen, t.LSquare,
])

function tooDeep(state: State, token: IToken): boolean {
  const frame = state.frames.at(-1)
  if (frame === undefined) return false
  if (opensGroup(token) && state.nest + state.frames.length > maxNesting) return true
  if (nesting.has(token.tokenType) && !(token.tokenType === t.If && state.out.at(-1)?.tokenType === t.Else)) {
    frame.nest++
    state.nest++
    return state.nest + state.frames.length - 1 > maxNesting
  }
  if (!chaining.has(token.tokenType)) return false
  frame.chain++
  state.chain++
  return state.chain > maxChain
}

/** Cuts the rest of the entry away: its tree would be too deep for the walks that follow. */
function elide(state: State, tokens: readonly IToken[], match: Int32Array, i: number): number {
  const token = tokens[i]
  const group = state.frames.at(-1)?.open ?? null
  if (token === undefined) return i
  const operandMissing = opensGroup(token) && !applies(tokens, i)
  if (nesting.has(token.tokenType)) state.out.push(token)
  if (nesting.has(token.tokenType) || operandMissing) {
    const filler = createTokenInstance(t.Elided, "", token.startOffset, token.startOffset, Number.NaN, Number.NaN, Number.NaN, Number.NaN)
    filler.payload = { ...placeOf(token), first: false }
    state.out.push(filler)
  }
  const braces = group === null || group.tokenType === t.RecordOpen || group.tokenType === t.BlockOpen || group.tokenType === t.LCurly
  const at = endOfEntry(tokens, match, i, braces)
  endEntry(state)
  const last = tokens[at - 1] ?? token
  const span = { source: state.source.id, start: token.startOffset, end: last.startOffset + last.image.length }
  report(state, tooDeepDiagnostic(span))
  return at - 1
}

/** The index behind the entry in which token `i` stands; line breaks end entries in `braces`. */
function endOfEntry(tokens: readonly IToken[], match: Int32Array, i: number, braces: boolean): number {
  let at = i
  for (;;) {
    const here = tokens[at]
    at = here !== undefined && opensGroup(here) ? after(match, at) : at + 1
    const next = tokens[at]
    if (next === undefined || closesGroup(next) || next.tokenType === t.Comma) return at
    if (braces && placeOf(next).first && !continuing.has(next.tokenType) && here !== undefined && !unfinished.has(here.tokenType)) return at
  }
}

function tooDeepDiagnostic(span: Span): Diagnostic {
  return diagnostic("SLM1008", span, "this is nested too deeply", {
    label: `more than ${maxNesting} levels, or ${maxChain} operators, in one expression`,
    help: "name parts of it with `let`",
  })
}

// ---------------------------------------------------------------- ends of entries

/** From the back: where the entry, the line and the group of each token end. */
function setEnds(tokens: readonly IToken[]): void {
  const stack: { entry: number; line: number; readonly group: number }[] = [{ entry: tokens.length, line: tokens.length, group: tokens.length }]
  for (let i = tokens.length - 1; i >= 0; i--) {
    const token = tokens[i]
    const top = stack.at(-1)
    if (token === undefined || top === undefined) continue
    if (token.tokenType === t.Comma) top.entry = i
    if (token.tokenType === t.Newline) top.entry = top.line = i
    if (opensGroup(token) && stack.length > 1) stack.pop()
    const here = stack.at(-1) ?? top
    const place = placeOf(token)
    place.entryEnd = here.entry
    place.lineEnd = here.line
    place.groupEnd = here.group
    if (closesGroup(token)) stack.push({ entry: i, line: i, group: i })
  }
}
