import type { Module } from "./ast.ts"
import { buildModule } from "./build.ts"
import { Comments } from "./comments.ts"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Source } from "./diagnostic.ts"
import { explain } from "./explain.ts"
import { layout } from "./layout.ts"
import { lex } from "./lexer.ts"
import { maxErrors, maxTextLength } from "./limits.ts"
import { SlmParser } from "./parser.ts"

export interface Parsed {
  readonly module: Module
  readonly diagnostics: readonly Diagnostic[] // in order of place
}

/** The parser keeps nothing between runs; making one takes tens of milliseconds, so it is made once, when first used. */
const shared: { parser: SlmParser | null } = { parser: null }

/** Reads a text. Never throws: mistakes are in `diagnostics`, and there is a tree whatever the text. */
export function parse(source: Source): Parsed {
  if (source.text.length > maxTextLength) return tooLong(source)
  const parser = (shared.parser ??= new SlmParser({ validate: false }))
  const lexed = lex(source)
  const laid = layout(source, lexed.tokens)
  parser.input = laid.tokens
  const cst = parser.module()
  const diagnostics = [...lexed.diagnostics, ...laid.diagnostics]
  const comments = new Comments(source, lexed.comments, laid.tokens[0]?.startOffset ?? source.text.length)
  const syntax = parser.errors.map((error) => explain(source, laid.tokens, error))
  const module = buildModule({ source, comments, diagnostics }, cst)
  return { module, diagnostics: reported(source, syntax, diagnostics) }
}

/**
 * In order of place. Left out is what follows from a mistake already reported at the same place (a bracket that an open
 * string swallowed, too), and what exceeds the limit.
 */
function reported(source: Source, syntax: readonly Diagnostic[], others: readonly Diagnostic[]): readonly Diagnostic[] {
  const kept = syntax.filter((d) => !others.some((o) => o.severity === "error" && overlaps(o, d)))
  const openString = others.filter((o) => o.code === "SLM1002")
  const rest = openString.length === 0 ? others : others.filter((o) => o.code !== "SLM1006" || !openString.some((s) => overlaps(s, o)))
  const all = [...rest, ...kept].sort((a, b) => a.span.start - b.span.start || a.span.end - b.span.end)
  if (all.length <= maxErrors) return all
  const first = all.slice(0, maxErrors)
  const at = first.at(-1)?.span.end ?? 0
  const span = { source: source.id, start: at, end: at }
  return [...first, diagnostic("SLM1030", span, `there are at least ${all.length - maxErrors} more mistakes`, { help: "mend these first; the rest often follows from them" })]
}

function overlaps(a: Diagnostic, b: Diagnostic): boolean {
  return a.span.start <= b.span.end && b.span.start <= a.span.end
}

function tooLong(source: Source): Parsed {
  const span = { source: source.id, start: 0, end: 0 }
  const module: Module = { kind: "module", span, doc: null, items: [], comments: [] }
  const help = "a recipe is text; read data with `text(…)`, `jsonl(…)` or `csv(…)`, and split long recipes with `use`"
  return { module, diagnostics: [diagnostic("SLM1009", span, `this file is longer than ${maxTextLength} characters`, { help })] }
}
