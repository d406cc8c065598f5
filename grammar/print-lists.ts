import type { Comment } from "./ast.ts"
import type { Doc } from "./doc.ts"
import { all, blankline, cat, choice, group, hardline, indent, isHard, line, softline, suffix } from "./doc.ts"
import type { Span } from "./diagnostic.ts"

/**
 * What the printer carries along: the source, for the blank lines and line breaks that it keeps, and the comments that
 * have not been printed yet. Comments are taken in order by the lists and chains that they stand in.
 */
export interface Printer {
  readonly text: string
  readonly comments: readonly Comment[]
  next: number
  /** Everything on one line: inside strings, and in diagnostics. */
  readonly flat: boolean
}

export interface Entry {
  readonly span: Span
  /** Where its documentation starts, if it has any. */
  readonly start?: number
  readonly doc: () => Doc
}

/** The comments before `offset` that nobody has taken, each on its own line. */
export function commentsBefore(p: Printer, offset: number): Doc[] {
  const taken: Doc[] = []
  for (let c = p.comments[p.next]; c !== undefined && c.span.start < offset; c = p.comments[p.next]) {
    p.next++
    taken.push(c.text)
  }
  return taken
}

/** A comment that follows `end` on the same line. */
export function commentAfter(p: Printer, end: number): Doc {
  const c = p.comments[p.next]
  if (c === undefined || c.ownLine || c.span.start < end || !/^[ \t,]*$/.test(p.text.slice(end, c.span.start))) return ""
  p.next++
  return suffix(`  ${c.text}`)
}

/** Whether only white space stands between `offset` and the start of its line. */
export function startsLine(p: Printer, offset: number): boolean {
  if (p.flat) return false
  const before = /(^|[\r\n])[ \t\uFEFF]*$/.exec(p.text.slice(Math.max(0, offset - 200), offset))
  return before !== null && (before[1] !== "" || offset < 200)
}

function blankBefore(p: Printer, offset: number): boolean {
  return /(?:\n|\r(?!\n))[ \t]*(?:\r\n|\n|\r)[ \t]*$/.test(p.text.slice(Math.max(0, offset - 400), offset))
}

interface Printed {
  readonly doc: Doc
  readonly blank: boolean // an empty line stood before it
}

/** Prints entries in order, with the comments before, inside and behind each. */
export function printEntries(p: Printer, entries: readonly Entry[], end: number): readonly Printed[] {
  const printed: Printed[] = []
  for (const entry of entries) {
    const start = entry.start ?? entry.span.start
    const first = Math.min(start, p.comments[p.next]?.span.start ?? start)
    const lead = commentsBefore(p, entry.span.start)
    const gap = lead.length > 0 && blankBefore(p, start)
    const doc = entry.doc()
    const inner = commentsBefore(p, entry.span.end) // stood where comments are not kept in place
    const above = [...lead, ...inner].flatMap((c, i, all) => [c, gap && i === all.length - 1 ? blankline : hardline])
    printed.push({ doc: cat(all(above), doc, commentAfter(p, entry.span.end)), blank: blankBefore(p, first) })
  }
  for (const c of p.comments.slice(p.next)) {
    if (c.span.start >= end) break
    p.next++
    printed.push({ doc: c.text, blank: blankBefore(p, c.span.start) })
  }
  return printed
}

/** Whether comments that have not been printed stand between two places. */
export function hasComments(p: Printer, from: number, to: number): boolean {
  for (let i = p.next; i < p.comments.length; i++) {
    const start = p.comments[i]?.span.start ?? to
    if (start >= to) return false
    if (start >= from) return true
  }
  return false
}

/** Entries on lines of their own, empty lines between them kept (one at most). */
export function lines(printed: readonly Printed[]): Doc {
  return all(printed.flatMap(({ doc, blank }, i) => (i === 0 ? [doc] : [blank ? blankline : hardline, doc])))
}

/** `{ a, b }` on one line, or one entry to a line without commas. It stays broken where it was broken after `{`. */
export function braced(p: Printer, entries: readonly Entry[], end: number, always = false): Doc {
  const first = entries[0]
  const broken = always || (first !== undefined && startsLine(p, first.start ?? first.span.start))
  const count = entries.length
  const printed = printEntries(p, entries, end)
  if (printed.length === 0) return "{}"
  if (printed.length > count || printed.some((e) => isHard(e.doc) && e.blank)) return cat("{", indent(hardline, lines(printed)), hardline, "}")
  const body = all(printed.flatMap(({ doc, blank }, i) => (i === 0 ? [doc] : [choice("", ","), blank ? choice(blankline, line) : line, doc])))
  return group(cat("{", indent(line, body), line, "}"), broken)
}

/** `(a, b)` or `[a, b]`: on one line, or one entry to a line. */
export function bracketed(p: Printer, open: string, entries: readonly Entry[], close: string, end: number): Doc {
  const count = entries.length
  const printed = printEntries(p, entries, end)
  if (printed.length === 0) return open + close
  const body = printed.flatMap(({ doc }, i) => (i === 0 ? [doc] : [i < count ? "," : "", line, doc]))
  const dangling = printed.length > count
  return group(cat(open, indent(softline, all(body)), softline, close), dangling)
}
