/**
 * A small layout engine: a document is text with places where a line may break. A group stands on one line when it
 * fits, else all of its own places break. `hard` says that a document holds a break that must happen.
 */
export type Doc = string | DocNode

export type DocNode =
  | { readonly kind: "cat"; readonly parts: readonly Doc[]; readonly hard: boolean }
  | { readonly kind: "line"; readonly flat: string; readonly hard: boolean; readonly blank: boolean }
  | { readonly kind: "indent"; readonly of: Doc; readonly hard: boolean }
  | { readonly kind: "group"; readonly of: Doc; readonly hard: boolean }
  | { readonly kind: "choice"; readonly broken: Doc; readonly flat: Doc; readonly hard: false }
  | { readonly kind: "suffix"; readonly text: string; readonly hard: true } // a comment at the end of the line
  | { readonly kind: "verbatim"; readonly lines: readonly string[]; readonly hard: boolean } // later lines get the indentation

export const line: Doc = { kind: "line", flat: " ", hard: false, blank: false }
export const softline: Doc = { kind: "line", flat: "", hard: false, blank: false }
export const hardline: Doc = { kind: "line", flat: "", hard: true, blank: false }
/** A line break with an empty line. */
export const blankline: Doc = { kind: "line", flat: "", hard: true, blank: true }

export function isHard(doc: Doc): boolean {
  return typeof doc !== "string" && doc.hard
}

export function cat(...parts: readonly Doc[]): Doc {
  return all(parts)
}

/** `cat` for lists that may be long. */
export function all(parts: readonly Doc[]): Doc {
  return { kind: "cat", parts, hard: parts.some(isHard) }
}

export function indent(...parts: readonly Doc[]): Doc {
  const of = cat(...parts)
  return { kind: "indent", of, hard: isHard(of) }
}

/** `broken`: must not stand on one line even where it fits. */
export function group(of: Doc, broken = false): Doc {
  return { kind: "group", of, hard: broken || isHard(of) }
}

export function choice(broken: Doc, flat: Doc): Doc {
  return { kind: "choice", broken, flat, hard: false }
}

export function suffix(text: string): Doc {
  return { kind: "suffix", text, hard: true }
}

export function verbatim(lines: readonly string[]): Doc {
  return { kind: "verbatim", lines, hard: lines.length > 1 }
}

export function join(separator: Doc, parts: readonly Doc[]): Doc {
  return all(parts.flatMap((part, i) => (i === 0 ? [part] : [separator, part])))
}

interface Command {
  readonly indent: number
  readonly broken: boolean
  readonly doc: Doc
}

/** The text of a document, at most `width` wide where it can be. Iterative, so that depth costs no stack. */
export function render(doc: Doc, width: number): string {
  const stack: Command[] = [{ indent: 0, broken: true, doc }]
  const out: string[] = []
  let column = 0
  let comments = ""
  for (let c = stack.pop(); c !== undefined; c = stack.pop()) {
    const d = c.doc
    if (typeof d === "string") {
      out.push(d)
      column += d.length
      continue
    }
    switch (d.kind) {
      case "cat": pushParts(stack, d.parts, c.indent, c.broken); break
      case "indent": stack.push({ indent: c.indent + 2, broken: c.broken, doc: d.of }); break
      case "group": stack.push({ indent: c.indent, broken: d.hard || !fits({ ...c, broken: false, doc: d.of }, stack, width - column), doc: d.of }); break
      case "choice": stack.push({ ...c, doc: c.broken ? d.broken : d.flat }); break
      case "suffix": comments += d.text; break
      case "verbatim":
        out.push(d.lines.map((text, i) => (i === 0 || text === "" ? text : " ".repeat(c.indent) + text)).join("\n"))
        column = (d.lines.at(-1) ?? "").length + (d.lines.length > 1 ? c.indent : column)
        break
      case "line":
        if (!c.broken && !d.hard) {
          out.push(d.flat)
          column += d.flat.length
          break
        }
        trimEnd(out)
        out.push(comments, d.blank ? "\n\n" : "\n", " ".repeat(c.indent))
        comments = ""
        column = c.indent
    }
  }
  trimEnd(out)
  return out.join("") + comments
}

function pushParts(stack: Command[], parts: readonly Doc[], indentation: number, broken: boolean): void {
  for (let i = parts.length - 1; i >= 0; i--) stack.push({ indent: indentation, broken, doc: parts[i] ?? "" })
}

function trimEnd(out: string[]): void {
  for (let last = out.at(-1); last !== undefined && (last === "" || /^ +$/.test(last)); last = out.at(-1)) out.pop()
}

/** Whether `first` on one line, with what follows it up to the next possible break, fits in `room` columns. */
function fits(first: Command, rest: readonly Command[], room: number): boolean {
  if (room === Number.POSITIVE_INFINITY) return true
  const stack: Command[] = [first]
  let next = rest.length - 1
  let left = room
  while (left >= 0) {
    const c = stack.pop() ?? rest[next--]
    if (c === undefined) return true
    const d = c.doc
    if (typeof d === "string") left -= d.length
    else if (d.kind === "cat") pushParts(stack, d.parts, c.indent, c.broken)
    else if (d.kind === "indent") stack.push({ ...c, doc: d.of })
    else if (d.kind === "group") stack.push({ ...c, doc: d.of }) // behind `first`: may break, so only what stands before its first break counts
    else if (d.kind === "choice") stack.push({ ...c, doc: c.broken ? d.broken : d.flat })
    else if (d.kind === "verbatim") {
      left -= (d.lines[0] ?? "").length
      if (d.lines.length > 1) return left >= 0
    } else if (d.kind === "line") {
      if (c.broken || d.hard) return true
      left -= d.flat.length
    }
  }
  return false
}
