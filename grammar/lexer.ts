import { createTokenInstance, Lexer } from "chevrotain"
import type { ILexingError, IToken, TokenType } from "chevrotain"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Source, Span } from "./diagnostic.ts"
import { maxReported } from "./limits.ts"
import { scanString } from "./strings.ts"
import * as t from "./tokens.ts"

export interface LexedText {
  readonly tokens: IToken[]
  /** Every comment, in order, as offsets into the text. */
  readonly comments: readonly { readonly start: number; readonly end: number }[]
  readonly diagnostics: readonly Diagnostic[]
}

/** How deep strings may stand in strings: `"{f("{x}")}"` is two. */
const maxStringDepth = 8

const lexer = new Lexer([...t.lexed], { positionTracking: "onlyOffset", skipValidations: true, ensureOptimizations: false })

/** The lexer's definition problems; a test asserts that there are none. */
export function lexerProblems(): readonly string[] {
  return new Lexer([...t.lexed], { positionTracking: "onlyOffset", ensureOptimizations: true }).lexerDefinitionErrors.map((e) => e.message)
}

/** Tokens of a text, with strings taken apart, and what is wrong at this level. Linear in the text. */
export function lex(source: Source): LexedText {
  const state: State = { source, tokens: [], comments: [], diagnostics: [] }
  lexPart(state, source.text, 0, 0)
  return state
}

interface State {
  readonly source: Source
  readonly tokens: IToken[]
  readonly comments: { start: number; end: number }[]
  readonly diagnostics: Diagnostic[]
}

function note(state: State, d: Diagnostic): void {
  if (state.diagnostics.length < maxReported) state.diagnostics.push(d)
}

function spanOf(state: State, start: number, end: number): Span {
  return { source: state.source.id, start, end }
}

function lexPart(state: State, text: string, base: number, depth: number): void {
  const result = lexer.tokenize(text)
  for (const error of result.errors) note(state, strayCharacters(state, error, text, base))
  for (const comment of result.groups["comments"] ?? []) {
    const start = comment.startOffset + base
    if (depth === 0) state.comments.push({ start, end: start + comment.image.length })
    else note(state, commentInString(spanOf(state, start, start + comment.image.length)))
  }
  for (const token of result.tokens) {
    token.startOffset += base
    token.endOffset = token.startOffset + token.image.length - 1
    if (token.tokenType === t.QuotedString) takeApart(state, token, depth)
    else if (accept(state, token)) state.tokens.push(token)
  }
}

function commentInString(span: Span): Diagnostic {
  return diagnostic("SLM1018", span, "there is a comment inside a string", {
    label: "everything from here to the end of the braces is skipped",
    help: "write `//` outside of `{…}`, where it is two ordinary characters",
  })
}

function make(type: TokenType, image: string, start: number): IToken {
  return createTokenInstance(type, image, start, start + image.length - 1, Number.NaN, Number.NaN, Number.NaN, Number.NaN)
}

/** `"a {x} b"` becomes StringStart, StringText, HoleOpen, the tokens of `x`, HoleClose, StringText, StringEnd. */
function takeApart(state: State, token: IToken, depth: number): void {
  const { text } = state.source
  const start = token.startOffset
  const { end, closed, pieces } = scanString(text, start)
  state.tokens.push(make(t.StringStart, '"', start))
  for (const piece of pieces) {
    const inside = text.slice(piece.start, piece.end)
    if (piece.kind === "text") state.tokens.push(make(t.StringText, inside, piece.start))
    else if (piece.kind === "bad-hole") note(state, openHole(spanOf(state, piece.start, piece.end)))
    else if (inside.trim() === "") note(state, emptyHole(spanOf(state, piece.start - 1, piece.end + 1)))
    else if (depth + 1 >= maxStringDepth) note(state, deepString(spanOf(state, start, end)))
    else {
      state.tokens.push(make(t.HoleOpen, "{", piece.start - 1))
      lexPart(state, inside, piece.start, depth + 1)
      state.tokens.push(make(t.HoleClose, "}", piece.end))
    }
  }
  const last = closed ? make(t.StringEnd, '"', end - 1) : make(t.StringEnd, "", end)
  state.tokens.push(last)
  if (!closed) note(state, openString(state, start, end))
}

function openString(state: State, start: number, end: number): Diagnostic {
  return diagnostic("SLM1002", spanOf(state, start, end), "this string has no end", {
    label: 'a closing `"` is missing on this line',
    help: 'close it with `"`; a text of several lines goes between `"""` and `"""`',
    fix: { span: spanOf(state, end, end), text: '"' },
  })
}

function openHole(span: Span): Diagnostic {
  return diagnostic("SLM1018", span, "this `{` in a string is never closed", {
    label: "starts a value to fill in",
    help: "write `{{` for a brace, or close the value with `}`",
    fix: { span, text: "{{" },
  })
}

function emptyHole(span: Span): Diagnostic {
  return diagnostic("SLM1018", span, "there is nothing between these braces", {
    label: "a value to fill in is missing",
    help: "write `{{}}` for two braces, or name a value: `{heads}`",
    fix: { span, text: "{{}}" },
  })
}

function deepString(span: Span): Diagnostic {
  return diagnostic("SLM1008", span, `strings are nested more than ${maxStringDepth} deep`, { help: "name the inner value with `let` and fill in the name" })
}

const lookalikes: Readonly<Record<string, string>> = {
  "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-", "×": "*", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->", "⇒": "=>",
  "；": ";", "：": ":", "，": ",", "（": "(", "）": ")", "\u00a0": " ", "…": "...",
}

function strayCharacters(state: State, error: ILexingError, text: string, base: number): Diagnostic {
  const image = text.slice(error.offset, error.offset + error.length)
  const shown = [...image].length > 12 ? [...image].slice(0, 12).join("") + "…" : image
  const span = spanOf(state, error.offset + base, error.offset + base + error.length)
  if (image.startsWith("/*")) return diagnostic("SLM1029", span, "this comment has no end", { help: "comments start with `//` and end with their line" })
  const code = image.codePointAt(0) ?? 0
  const name = /^[\p{C}\p{Z}]/u.test(image) ? `U+${code.toString(16).toUpperCase().padStart(4, "0")}` : shown
  const plain = lookalikes[image]
  return diagnostic("SLM1001", span, `\`${name}\` means nothing here`, {
    label: plain === undefined ? "unexpected" : `looks like \`${plain}\` but is another character`,
    ...(plain === undefined ? { help: "remove it; text belongs between quotes" } : { help: `write \`${plain}\``, fix: { span, text: plain } }),
  })
}

/** Mends what other languages write differently, and says so. False: the token is dropped. */
function accept(state: State, token: IToken): boolean {
  const span = spanOf(state, token.startOffset, token.startOffset + token.image.length)
  switch (token.tokenType) {
    case t.AndAnd: return rename(state, token, t.And, span, "and")
    case t.OrOr: return rename(state, token, t.Or, span, "or")
    case t.StarStar: return rename(state, token, t.Caret, span, "^")
    case t.Bang: return rename(state, token, t.Not, span, "not ")
    case t.Semicolon: return drop(state, span, "`;` separates nothing here", "entries are separated by line breaks or `,`")
    case t.Hash: return drop(state, span, "comments start with `//`, not `#`", `write \`//${token.image.slice(1)}\``)
    case t.BlockComment: return drop(state, span, "comments start with `//` and end with their line", "put `//` before each line")
    case t.QuotedWord: return requote(state, token, span)
    case t.RawString: return closedRaw(state, token, span)
    case t.Word: return plainName(state, token, span)
    default: return true
  }
}

function rename(state: State, token: IToken, type: TokenType, span: Span, text: string): true {
  note(state, diagnostic("SLM1029", span, `\`${token.image}\` is written \`${text.trim()}\` here`, { help: `write \`${text.trim()}\``, fix: { span, text } }))
  token.tokenType = type
  token.tokenTypeIdx = type.tokenTypeIdx ?? 0
  return true
}

function drop(state: State, span: Span, message: string, help: string): false {
  note(state, diagnostic("SLM1029", span, message, { help }))
  return false
}

function requote(state: State, token: IToken, span: Span): false {
  const inside = token.image.slice(1, -1)
  note(state, diagnostic("SLM1029", span, "strings are written with double quotes", { help: `write "${inside}"`, fix: { span, text: `"${inside}"` } }))
  state.tokens.push(make(t.StringStart, '"', token.startOffset))
  if (inside !== "") state.tokens.push(make(t.StringText, inside, token.startOffset + 1))
  state.tokens.push(make(t.StringEnd, '"', span.end - 1))
  return false
}

function closedRaw(state: State, token: IToken, span: Span): true {
  if (token.image.length < 6 || !token.image.endsWith('"""')) {
    note(state, diagnostic("SLM1002", { ...span, end: span.start + 3 }, 'this `"""` is never closed', {
      label: "the text that starts here has no end",
      help: 'close it with `"""`',
    }))
  }
  return true
}

function plainName(state: State, token: IToken, span: Span): true {
  if (/[^\x00-\x7f]/.test(token.image)) {
    note(state, diagnostic("SLM1001", span, `the name \`${token.image}\` has letters outside of a–z`, {
      label: "names are made of a–z, A–Z, 0–9 and `_`",
      help: "texts of any language belong between quotes",
    }))
  }
  return true
}
