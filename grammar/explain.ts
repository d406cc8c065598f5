import type { IRecognitionException, IToken } from "chevrotain"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, Source, Span } from "./diagnostic.ts"
export function explain(source: Source, _tokens: readonly IToken[], error: IRecognitionException): Diagnostic {
  const tok = error.token
  const start = Number.isFinite(tok.startOffset) ? tok.startOffset : source.text.length
  const span: Span = { source: source.id, start, end: Number.isFinite(tok.startOffset) ? start + tok.image.length : start }
  return diagnostic("SLM1010", span, `expected ${error.message}, found ${tok.image}`, { notes: error.context.ruleStack })
}
