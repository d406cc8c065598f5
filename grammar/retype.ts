import type { IToken } from "chevrotain"
import { after, become, closesGroup, isName, isWord, onSameLine, placeOf } from "./place.ts"
import * as t from "./tokens.ts"

/** What a word or bracket begins, seen from what follows it: a record, a lambda, a share, a unit, a stage. */
export function retype(tokens: readonly IToken[], match: Int32Array, i: number): void {
  const token = tokens[i]
  const next = tokens[i + 1]
  if (token === undefined || next === undefined) return
  switch (token.tokenType) {
    case t.LCurly: {
      let at = i + 1
      while (tokens[at]?.tokenType === t.Comma) at++ // reported as such
      const first = tokens[at]
      const record = first?.tokenType === t.RCurly || (first !== undefined && isWord(first) && tokens[at + 1]?.tokenType === t.Colon)
      return become(token, record ? t.RecordOpen : t.BlockOpen)
    }
    case t.LParen: {
      const close = match[i] ?? -1
      if (close >= 0 && tokens[close + 1]?.tokenType === t.FatArrow && !applies(tokens, i)) become(token, t.LambdaOpen)
      return
    }
    case t.NumberLiteral: {
      if (next?.tokenType === t.LParen && onSameLine(next) && token.image.endsWith("%")) become(token, t.Share)
      if (!isName(next) || !onSameLine(next) || tokens[i + 2]?.tokenType === t.Colon) return
      if (token.image.endsWith("%")) {
        if (next.tokenType === t.Word || next.tokenType === t.VerbWord) become(token, t.Share)
      } else if (Object.hasOwn(t.unitNames, next.image)) become(next, t.Unit)
      return
    }
    case t.VerbWord:
      if (beginsStage(tokens, match, i)) become(token, t.StageVerb)
      return
    default:
      return
  }
}

/** Whether the bracket at `i` is applied to what stands before it. */
export function applies(tokens: readonly IToken[], i: number): boolean {
  const before = tokens[i - 1]
  const token = tokens[i]
  if (before === undefined || token === undefined || placeOf(token).first) return false
  return isName(before) || closesGroup(before) || before.tokenType === t.StringEnd
}

/**
 * A stage is: verb, perhaps a subject, perhaps `into` and another, and `{` on the same line. Each bracket is
 * stepped over once, so that the scan is as short as the text it covers.
 */
function beginsStage(tokens: readonly IToken[], match: Int32Array, i: number): boolean {
  const before = tokens[i - 1]
  if (before !== undefined && onSameLine(tokens[i]) && (isName(before) || before.tokenType === t.Repeat || before.tokenType === t.Dot)) return false
  let at = i + 1
  if (isOpenCurly(tokens[at])) return onSameLine(tokens[at])
  at = skipPostfix(tokens, match, at)
  if (at > i + 1 && tokens[at]?.tokenType === t.Into && onSameLine(tokens[at])) at = skipPostfix(tokens, match, at + 1)
  return at > i + 1 && isOpenCurly(tokens[at]) && onSameLine(tokens[at])
}

function isOpenCurly(token: IToken | undefined): boolean {
  return token?.tokenType === t.LCurly
}

/** The index after `name.name(…)[…]`, `"…"` or `(…)` that starts at `at` on the same line; `at` if none does. */
function skipPostfix(tokens: readonly IToken[], match: Int32Array, at: number): number {
  const first = tokens[at]
  if (first === undefined || !onSameLine(first)) return at
  let i = at
  if (first.tokenType === t.StringStart) {
    while (i < tokens.length && tokens[i]?.tokenType !== t.StringEnd) i = tokens[i]?.tokenType === t.HoleOpen ? Math.max(match[i] ?? i, i) + 1 : i + 1
    i++
  } else if (first.tokenType === t.LParen) i = after(match, i)
  else if (isName(first) || first.tokenType === t.RawString) i++
  else return at
  for (;;) {
    const type = tokens[i]?.tokenType
    if (type === t.Dot) i = tokens[i + 1]?.tokenType === t.LCurly ? after(match, i + 1) : i + 2
    else if ((type === t.LParen || type === t.LSquare) && onSameLine(tokens[i])) i = after(match, i)
    else return i
  }
}
