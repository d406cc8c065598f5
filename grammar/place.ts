import type { IToken, TokenType } from "chevrotain"
import * as t from "./tokens.ts"

/** Where a token stands. Indices are into the token list that the parser gets. */
export interface Place {
  /** First of its line. */
  readonly first: boolean
  readonly line: number
  /** Index of the `,`, line break or closing bracket that ends the entry which begins with this token. */
  entryEnd: number
  /** The same, but commas do not count. */
  lineEnd: number
  /** Index of the closing bracket of the group that the token stands in. */
  groupEnd: number
}

export function placeOf(token: IToken): Place {
  return token.payload as Place
}

/** Gives a token another type. */
export function become(token: IToken, type: TokenType): void {
  token.tokenType = type
  token.tokenTypeIdx = type.tokenTypeIdx ?? 0
}

export function opensGroup(token: IToken): boolean {
  const type = token.tokenType
  return type === t.LCurly || type === t.LParen || type === t.LSquare || type === t.RecordOpen || type === t.BlockOpen || type === t.LambdaOpen || type === t.HoleOpen
}

export function closesGroup(token: IToken): boolean {
  const type = token.tokenType
  return type === t.RCurly || type === t.RParen || type === t.RSquare || type === t.HoleClose
}

export function isWord(token: IToken): boolean {
  return /^[A-Za-z_\u0080-\uffff]/.test(token.image) && !isStringPart(token) && token.tokenType !== t.Sha256
}

function isStringPart(token: IToken): boolean {
  return token.tokenType === t.StringText
}

export function isName(token: IToken | undefined): boolean {
  return token !== undefined && isWord(token) && !t.reserved.includes(token.tokenType)
}

export function onSameLine(token: IToken | undefined): boolean {
  return token !== undefined && !placeOf(token).first
}

/** The index behind the group that token `i` opens. */
export function after(match: Int32Array, i: number): number {
  return Math.max(match[i] ?? i, i) + 1
}
