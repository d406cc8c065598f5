import { diagnostic, type Diagnostic, type Span } from "../../grammar/diagnostic.ts"
import type { LockCode } from "../lock-codes.ts"
import type { SafetyCode } from "../safety-codes.ts"
import type { DataCode } from "./codes.ts"

/** Where in an input a mistake is: the name the recipe gives the file, line and column from 1, and the row itself. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number | null
  /** The row, shortened to a line that fits a terminal. */
  readonly row: string
}

/** A mistake in what a recipe reads or asks of its data, or in what a run is held to, as a value. The executor adds the span in the recipe. */
export interface Failure {
  readonly code: DataCode | LockCode | SafetyCode
  /** One lower-case line without a full stop. */
  readonly message: string
  readonly help: string | null
  readonly place: Place | null
}

export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failures: readonly Failure[] }

export function good<T>(value: T): Result<T> {
  return { ok: true, value }
}

export function bad<T>(...failures: readonly Failure[]): Result<T> {
  return { ok: false, failures }
}

export function failuresOf(result: Result<unknown>): readonly Failure[] {
  return result.ok ? [] : result.failures
}

/** The value where a failure would be a bug of ours; `phase` says whose. */
export function expectGood<T>(result: Result<T>, phase: string): T {
  if (result.ok) return result.value
  throw new Error(`${phase}: ${result.failures.map((f) => `${f.code} ${f.message}`).join("; ")}`)
}

export function failure(code: Failure["code"], message: string, help: string | null = null, place: Place | null = null): Failure {
  return { code, message, help, place }
}

/** The mistake at the place of the recipe that asked for the data; where it is in the data becomes a note. */
export function placedFailure(found: Failure, span: Span): Diagnostic {
  const { place } = found
  const notes = place === null ? [] : [`${place.file}:${place.line}${place.column === null ? "" : `:${place.column}`}: ${place.row}`]
  return diagnostic(found.code, span, found.message, found.help === null ? { notes } : { notes, help: found.help })
}

/** Shortens a row or document to `width` characters for a message; line ends become visible. */
export function excerpt(text: string, width = 100): string {
  const head = text.length > 4 * width ? text.slice(0, 4 * width) : text
  const line = head.replace(/\r?\n/g, "⏎").replace(/[\u0000-\u001f\u007f]/g, "·")
  const points = Array.from(line)
  return points.length > width || head.length < text.length ? points.slice(0, width - 1).join("") + "…" : line
}

/** How many failures of one input are listed; the rest are counted. */
export const failuresShown = 5
