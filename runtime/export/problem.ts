import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic, Span } from "../../grammar/diagnostic.ts"
import type { ExportCode } from "./codes.ts"

/** A mistake found in a file, a format or a tensor: a diagnostic that does not know its place in the recipe yet. */
export interface Problem {
  readonly code: ExportCode
  /** One lower-case line without a full stop. */
  readonly message: string
  readonly notes: readonly string[]
  readonly help: string | null
}

export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problems: readonly Problem[] }

export function problem(code: ExportCode, message: string, parts: { readonly notes?: readonly string[]; readonly help?: string } = {}): Problem {
  return { code, message, notes: parts.notes ?? [], help: parts.help ?? null }
}

export function fine<T>(value: T): Result<T> {
  return { ok: true, value }
}

export function wrong(...problems: readonly Problem[]): { readonly ok: false; readonly problems: readonly Problem[] } {
  return { ok: false, problems }
}

/** All values, or all problems. */
export function all<T>(results: Iterable<Result<T>>): Result<readonly T[]> {
  const values: T[] = []
  const problems: Problem[] = []
  for (const result of results) {
    if (result.ok) values.push(result.value)
    else problems.push(...result.problems)
  }
  return problems.length > 0 ? wrong(...problems) : fine(values)
}

/** The same mistake, at the place of the recipe that led to it. */
export function placed(found: Problem, span: Span): Diagnostic {
  return diagnostic(found.code, span, found.message, found.help === null ? { notes: found.notes } : { notes: found.notes, help: found.help })
}
