/** Text as a terminal shows it: how wide it is, cut, wrapped, and without what would steer the terminal. */

const escapes = /(\u001b\[\d+m)/

/** Two columns for East Asian wide characters and emoji, none for combining marks, one for others. */
function columnsOf(point: number): number {
  if (point < 0x300) return 1
  if (point <= 0x36f || point === 0x200d || (point >= 0xfe00 && point <= 0xfe0f)) return 0
  const wide = (point >= 0x1100 && point <= 0x115f) || (point >= 0x2e80 && point <= 0xa4cf) || (point >= 0xac00 && point <= 0xd7a3) || (point >= 0xf900 && point <= 0xfaff)
    || (point >= 0xfe30 && point <= 0xfe6f) || (point >= 0xff00 && point <= 0xff60) || (point >= 0x1f300 && point <= 0x1faff) || (point >= 0x20000 && point <= 0x3fffd)
  return wide ? 2 : 1
}

/** Columns of a text; colour codes take none. */
export function columns(text: string): number {
  let sum = 0
  for (const part of text.split(escapes)) if (!escapes.test(part)) for (const char of part) sum += columnsOf(char.codePointAt(0) ?? 0)
  return sum
}

/** The text in at most `width` columns; what is left out is marked by an ellipsis. Colour codes stay. */
export function cut(text: string, width: number): string {
  if (columns(text) <= width) return text
  let [used, result, full] = [0, "", false]
  for (const part of text.split(escapes)) {
    if (escapes.test(part)) {
      result += part
      continue
    }
    for (const char of part) {
      used += columnsOf(char.codePointAt(0) ?? 0)
      if (used > width - 1) full = true
      if (!full) result += char
    }
    if (full && !result.includes("…")) result += "…"
  }
  return result
}

/** Lines of at most `width` columns, broken at spaces where there are any; lines after the first begin with `indent`. */
export function wrap(text: string, width: number, indent = ""): string[] {
  const lines: string[] = []
  let line = ""
  for (const word of text.split(/(?<= )/)) {
    if (line !== "" && columns(line + word.trimEnd()) > width) {
      lines.push(line.trimEnd())
      line = indent
    }
    for (const char of word.match(/\u001b\[\d+m|[^]/gu) ?? []) {
      if (columns(line + char) > width && line.trim() !== "" && char !== " ") {
        lines.push(line)
        line = indent
      }
      line += char
    }
  }
  return [...lines, line.trimEnd()]
}

/** What a model wrote, in one line: line ends are shown, bytes that are no text and control characters become dots. */
export function oneLine(text: string): string {
  return text.replace(/\s*\r?\n\s*/g, " ⏎ ").replace(/\t/g, " ").replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "·").replace(/\ufffd+/g, "�")
}

/** The same with its lines. */
export function visible(text: string): string {
  return text.split(/\r?\n/).map((line) => line.replace(/\t/g, "    ").replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "·")).join("\n")
}

/** The colours this program writes itself: nothing else may steer the terminal. */
const ownColour = /\u001b\[(?:0|1|2|3[1-9]|22|1;3[1-9])m/g

/**
 * Controls, changes of writing direction, and characters that are not seen. Joiners stay: Persian and emoji need them. By UTF-16
 * unit, so that what is written in their place is what JSON writes, too.
 */
const steering = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udfff]/g

/** Text as it may reach a terminal: whatever could steer or deceive it is written out (`\u001b`). With `color` our own colours stay. */
export function harmless(text: string, color: boolean): string {
  const written = (part: string): string => part.replace(steering, (found) => [...Array(found.length).keys()].map((i) => `\\u${found.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""))
  if (!color) return written(text)
  let [result, from] = ["", 0]
  for (const { 0: code, index } of text.matchAll(ownColour)) {
    result += written(text.slice(from, index)) + code
    from = index + code.length
  }
  return result + written(text.slice(from))
}
