/** Sizes of tokenizers for people, and the mistake of mixing two. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Label, Span } from "../../grammar/diagnostic.ts"
import { display, lineOf, showSize } from "./describe.ts"
import type { Machine } from "./machine.ts"
import { symbolsOf } from "./poly.ts"
import type { Dim, ErrorValue } from "./value.ts"

/** SLM2104. `note` says why the two must be the same. */
export function vocabularyMistake(found: Dim, wanted: Dim, message: string, at: Span, m: Machine, note?: string): ErrorValue {
  const labels = [found, wanted].flatMap((d): Label[] => {
    const from = d.origin ?? symbolsOf(d.size).find((s) => s.vocabulary)?.origin ?? null
    return from === null ? [] : [{ span: from, message: describeVocabulary(d, m) }]
  })
  return m.report(diagnostic("SLM2104", at, message, {
    label: `${describeVocabulary(found, m)}, not ${describeVocabulary(wanted, m)}`, labels, ...(note === undefined ? {} : { notes: [note] }),
    help: "use one tokenizer for the data and all models",
  }))
}

/** `vocab 2048 (from `words`, line 9)` */
export function describeVocabulary(d: Dim, m: Machine): string {
  const symbols = symbolsOf(d.size).filter((s) => s.vocabulary)
  const from = symbols.map((s) => ` (from \`${s.name.replace(/\.size$/, "")}\`${s.origin === null ? "" : `, line ${lineOf(s.origin, m.session)}`})`).join("")
  const size = m.known(d.size)
  const wanted = size === null ? symbols.map((s) => m.session.stages.get(s.id.split(".")[0] ?? "")?.args.get("size")).find((v) => v?.kind === "int") : undefined
  const shown = size !== null || from === "" ? ` ${showSize(d.size, m)}` : wanted === undefined ? "" : ` ${display(wanted, m) ?? ""}`
  return `vocab${shown}${from}`
}
