/** Line starts of a text, as UTF-16 offsets. Lines end with `\n`, `\r\n` or a lone `\r`. */
export interface LineIndex {
  readonly text: string
  readonly starts: readonly number[]
}

export function lineIndex(text: string): LineIndex {
  const starts = [0]
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 10 || (c === 13 && text.charCodeAt(i + 1) !== 10)) starts.push(i + 1)
  }
  return { text, starts }
}

/** 1-based; the column counts code points. */
export interface Position {
  readonly line: number
  readonly column: number
}

export function positionAt(index: LineIndex, offset: number): Position {
  const at = Math.max(0, Math.min(offset, index.text.length))
  const line = lineOf(index, at)
  const start = index.starts[line] ?? 0
  return { line: line + 1, column: codePoints(index.text.slice(start, at)) + 1 }
}

/** 0-based line that holds the offset. */
export function lineOf(index: LineIndex, offset: number): number {
  let low = 0
  let high = index.starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((index.starts[middle] ?? 0) <= offset) low = middle
    else high = middle - 1
  }
  return low
}

/** The text of a 0-based line, without its line break. */
export function lineText(index: LineIndex, line: number): string {
  const start = index.starts[line] ?? index.text.length
  const end = index.starts[line + 1] ?? index.text.length
  return index.text.slice(start, end).replace(/[\r\n]+$/, "")
}

function codePoints(text: string): number {
  let count = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c >= 0xd800 && c <= 0xdbff && i + 1 < text.length) {
      const d = text.charCodeAt(i + 1)
      if (d >= 0xdc00 && d <= 0xdfff) i++
    }
    count++
  }
  return count
}
