/** A half-open range of UTF-16 offsets in one source text. `source` is the module id (a relative path, or `std.models`). */
export interface Span {
  readonly source: string
  readonly start: number
  readonly end: number
}

/** A text as it was read, under the name that diagnostics show. */
export interface Source {
  readonly id: string
  readonly text: string
}

/** A secondary place: where a value, shape or name came from. */
export interface Label {
  readonly span: Span
  readonly message: string
}

/** A replacement that mends the mistake when applied. */
export interface Fix {
  readonly span: Span
  readonly text: string
}

/** A mistake of the user's, as a value. `code` is stable (`SLM2104`) and has a page in the catalogue. */
export interface Diagnostic {
  readonly code: string
  readonly severity: "error" | "warning"
  /** One lower-case line without a full stop: what is wrong. */
  readonly message: string
  readonly span: Span
  /** Text under the primary span; may be empty. */
  readonly label: string
  readonly labels: readonly Label[]
  /** The reason: `= kl() compares the two models token by token.` */
  readonly notes: readonly string[]
  /** What to do, in words. */
  readonly help: string | null
  readonly fix: Fix | null
}

export interface DiagnosticParts {
  readonly label?: string
  readonly labels?: readonly Label[]
  readonly notes?: readonly string[]
  readonly help?: string
  readonly fix?: Fix
  readonly severity?: "error" | "warning"
}

export function diagnostic(code: string, span: Span, message: string, parts: DiagnosticParts = {}): Diagnostic {
  return {
    code,
    span,
    message,
    severity: parts.severity ?? "error",
    label: parts.label ?? "",
    labels: parts.labels ?? [],
    notes: parts.notes ?? [],
    help: parts.help ?? null,
    fix: parts.fix ?? null,
  }
}
