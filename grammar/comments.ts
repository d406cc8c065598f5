import type { Comment } from "./ast.ts"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Source } from "./diagnostic.ts"
import { maxReported } from "./limits.ts"

/** Sorts comments into documentation, which becomes part of the tree, and the rest, which the printer keeps. */
export class Comments {
  private readonly source: Source
  private readonly all: readonly { readonly start: number; readonly end: number; readonly text: string }[]
  private readonly used = new Set<number>()
  readonly moduleDoc: string | null

  constructor(source: Source, ranges: readonly { readonly start: number; readonly end: number }[], firstToken: number) {
    this.source = source
    this.all = ranges.map(({ start, end }) => ({ start, end, text: source.text.slice(start, end).trimEnd() }))
    const lines: string[] = []
    this.all.forEach((comment, i) => {
      if (comment.start >= firstToken || !comment.text.startsWith("//!")) return
      this.used.add(i)
      lines.push(docText(comment.text))
    })
    this.moduleDoc = lines.length > 0 ? lines.join("\n") : null
  }

  /** The `///` lines directly above what starts at `offset`; from then on they belong to it. */
  docBefore(offset: number): string | null {
    const lines: string[] = []
    let next = offset
    for (let i = this.lastBefore(offset); i >= 0; i--) {
      const comment = this.all[i]
      if (comment === undefined || this.source.text.slice(comment.end, next).trim() !== "") break
      next = comment.start
      if (!isDoc(comment.text) || this.used.has(i) || !this.ownLine(comment.start)) continue
      this.used.add(i)
      lines.push(docText(comment.text))
    }
    return lines.length > 0 ? lines.reverse().join("\n") : null
  }

  private lastBefore(offset: number): number {
    let low = -1
    let high = this.all.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.all[middle]?.start ?? 0) < offset) low = middle
      else high = middle - 1
    }
    return low
  }

  private ownLine(start: number): boolean {
    for (let i = start - 1; i >= 0; i--) {
      const c = this.source.text[i]
      if (c === "\n" || c === "\r") return true
      if (c !== " " && c !== "\t" && c !== "\uFEFF") return false
    }
    return true
  }

  /** What documents nothing, and a warning for each that looks as if it should. */
  rest(): { readonly comments: readonly Comment[]; readonly diagnostics: readonly Diagnostic[] } {
    const comments: Comment[] = []
    const diagnostics: Diagnostic[] = []
    this.all.forEach(({ start, end, text }, i) => {
      if (this.used.has(i)) return
      const span = { source: this.source.id, start, end: Math.min(end, start + text.length) }
      comments.push({ span, text, ownLine: this.ownLine(start) })
      if (diagnostics.length >= maxReported) return
      if (isDoc(text)) {
        diagnostics.push(diagnostic("SLM1015", span, "this documentation belongs to nothing", {
          severity: "warning",
          label: "no item or member follows",
          help: "put `///` lines directly above what they document, or write `//`",
          fix: { span: { ...span, end: start + 3 }, text: "//" },
        }))
      } else if (text.startsWith("//!")) {
        diagnostics.push(diagnostic("SLM1015", span, "`//!` documents a file and belongs at its top", {
          severity: "warning",
          label: "code stands before it",
          help: "move it above the first item, or write `//`",
          fix: { span: { ...span, end: start + 3 }, text: "//" },
        }))
      }
    })
    return { comments, diagnostics }
  }
}

function isDoc(text: string): boolean {
  return text.startsWith("///") && !text.startsWith("////")
}

function docText(text: string): string {
  return text.slice(3).replace(/^ /, "")
}
