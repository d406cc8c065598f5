/** Where strings end, and what they hold. Works on text alone, so that the lexer and the tree builder share it. */

/** The longest `{…}` in a string. The bound keeps lexing linear on texts full of unclosed braces. */
const maxHole = 300

/** A piece of a quoted string: characters, or the inside of a hole (without its braces). */
export interface Piece {
  readonly kind: "text" | "hole" | "bad-hole"
  readonly start: number
  readonly end: number
}

export interface ScannedString {
  readonly end: number // just after the closing quote, or at the end of the line
  readonly closed: boolean
  readonly pieces: readonly Piece[]
}

/** Scans a `"…"` that starts at `start`. It ends at the latest at the end of its line. */
export function scanString(text: string, start: number): ScannedString {
  const pieces: Piece[] = []
  let from = start + 1
  let i = from
  const flush = (to: number): void => {
    if (to > from) pieces.push({ kind: "text", start: from, end: to })
  }
  while (i < text.length) {
    const c = text[i]
    if (c === "\n" || c === "\r") break
    if (c === '"') {
      flush(i)
      return { end: i + 1, closed: true, pieces }
    }
    if (c === "\\" && i + 1 < text.length && text[i + 1] !== "\n" && text[i + 1] !== "\r") {
      i += text.startsWith("\\u{", i) ? 3 : 2
    } else if (c === "{" && text[i + 1] !== "{") {
      const close = holeEnd(text, i)
      flush(i)
      if (close < 0) pieces.push({ kind: "bad-hole", start: i, end: i + 1 })
      else pieces.push({ kind: "hole", start: i + 1, end: close })
      i = close < 0 ? i + 1 : close + 1
      from = i
    } else {
      i += (c === "{" || c === "}") && text[i + 1] === c ? 2 : 1
    }
  }
  flush(i)
  return { end: i, closed: false, pieces }
}

/** The offset of the `}` that closes the `{` at `open`, or -1. Strings inside the hole may hold holes again. */
function holeEnd(text: string, open: number): number {
  const stack: ("hole" | "string")[] = ["hole"]
  const limit = Math.min(text.length, open + maxHole)
  for (let i = open + 1; i < limit; i++) {
    const c = text[i]
    if (c === "\n" || c === "\r") return -1
    if (stack.at(-1) === "string") {
      if (c === "\\") i++
      else if (c === '"') stack.pop()
      else if ((c === "{" || c === "}") && text[i + 1] === c) i++
      else if (c === "{") stack.push("hole")
    } else if (c === '"') stack.push("string")
    else if (c === "{") stack.push("hole")
    else if (c === "}") {
      stack.pop()
      if (stack.length === 0) return i
    }
  }
  return -1
}

/** Matcher of a quoted string for the lexer; `"""` is left to the raw string. */
export function matchString(text: string, offset: number): RegExpExecArray | null {
  if (text[offset] !== '"' || text.startsWith('"""', offset)) return null
  return matched(text, offset, scanString(text, offset).end)
}

/** Matcher of `"""…"""`; without an end it takes the rest of the text. */
export function matchRawString(text: string, offset: number): RegExpExecArray | null {
  if (!text.startsWith('"""', offset)) return null
  const close = text.indexOf('"""', offset + 3)
  return matched(text, offset, close < 0 ? text.length : close + 3)
}

function matched(text: string, from: number, to: number): RegExpExecArray {
  const result = [text.slice(from, to)] as unknown as RegExpExecArray
  result.index = from
  return result
}

export interface BadEscape {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The characters that a piece of a quoted string stands for, and the escapes that mean nothing. */
export function unescape(piece: string): { readonly value: string; readonly bad: readonly BadEscape[] } {
  if (!/[\\{}]/.test(piece)) return { value: piece, bad: [] }
  const bad: BadEscape[] = []
  const value = piece.replace(/\\u\{([^}"]*)\}?|\\(?:[^]|$)|\{\{|\}\}|[{}]/g, (found: string, hex: string | undefined, at: number) => {
    const plain = escapes[found]
    if (plain !== undefined) return plain
    const code = hex !== undefined && /^[0-9A-Fa-f]{1,6}$/.test(hex) && found.endsWith("}") ? Number.parseInt(hex, 16) : -1
    if (code >= 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff)) return String.fromCodePoint(code)
    if (found !== "{") bad.push({ start: at, end: at + found.length, text: found })
    return found.startsWith("\\") ? found.slice(1) : found
  })
  return { value, bad }
}

const escapes: Readonly<Record<string, string>> = { "\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\", "{{": "{", "}}": "}" }

/** The text of a quoted string (without quotes) that stands for `value`. */
export function escape(value: string): string {
  let out = ""
  for (const c of value) {
    const code = c.codePointAt(0) ?? 0
    if (c === "\n") out += "\\n"
    else if (c === "\t") out += "\\t"
    else if (c === '"' || c === "\\") out += "\\" + c
    else if (c === "{" || c === "}") out += c + c
    else if (code < 0x20 || code === 0x7f || code === 0x2028 || code === 0x2029) out += `\\u{${code.toString(16)}}`
    else out += c
  }
  return out
}

/** The value of the inside of a `"""…"""`: the first line break and the common indentation are not part of it. */
export function dedent(inside: string): string {
  const lines = inside.replace(/\r\n?/g, "\n").split("\n")
  if (lines.length === 1) return inside
  const first = (lines[0] ?? "").trim() === "" ? 1 : 0
  const body = lines.slice(first)
  const lastIsBlank = (body.at(-1) ?? "").trim() === ""
  const counted = body.filter((line, i) => (first === 1 || i > 0) && (line.trim() !== "" || (i === body.length - 1 && lastIsBlank)))
  const indent = counted.reduce((least, line) => Math.min(least, /^[ \t]*/.exec(line)?.[0].length ?? 0), Number.MAX_SAFE_INTEGER)
  const cut = body.map((line, i) => (first === 0 && i === 0 ? line : line.slice(Math.min(indent, line.length))))
  if (lastIsBlank) cut[cut.length - 1] = ""
  return cut.join("\n")
}
