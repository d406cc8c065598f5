import type { Diagnostic, Label, Span } from "../../grammar/diagnostic.ts"
import type { Frame, Machine } from "./machine.ts"
import type { Session } from "./session.ts"

/**
 * A mistake met inside the library is the caller's: it is shown at the innermost call that the recipe itself wrote, with
 * the place in the library as a label. Where the library itself is being checked it stays where it is.
 */
export function relocate(d: Diagnostic, m: Machine): Diagnostic {
  if (!inLibrary(d.span, m.session)) return d
  const frame = ownFrame(m)
  if (frame === null) return d
  const inner: Label = { span: d.span, message: d.label === "" ? "found here" : d.label }
  const labels = [inner, ...d.labels].filter((l) => !sameSpan(l.span, frame.span))
  return { ...d, span: frame.span, label: "in this call", labels, fix: null }
}

function ownFrame(m: Machine): Frame | null {
  for (let f = m.frames; f !== null; f = f.outer) if (!inLibrary(f.span, m.session)) return f
  return null
}

export function inLibrary(span: Span, session: Session): boolean {
  return session.modules.get(span.source)?.library ?? false
}

export function sameSpan(a: Span, b: Span): boolean {
  return a.source === b.source && a.start === b.start && a.end === b.end
}
