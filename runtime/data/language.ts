/** Which language a text is in, by the frequency of byte n-grams (`eld`, loaded where a recipe asks). */
import { bad, excerpt, failure, good, type Result } from "./result.ts"
import { contentOf, contentText, pickRows, type Rows } from "./rows.ts"
import { dropCounter, type Stepped } from "./steps.ts"

export interface LanguageOptions {
  /** Codes of ISO 639-1. */
  readonly keep: readonly string[]
  /** What becomes of a text that could be of several languages. */
  readonly unsure: "keep" | "drop"
}

export interface Identifier {
  readonly languages: readonly string[]
  /** The likeliest language, and whether it is clearly that one. "": none. */
  identify(text: string): { readonly language: string; readonly sure: boolean }
}

/** Characters of a text that are looked at. */
const looked = 4000

export async function languageIdentifier(): Promise<Identifier> {
  const { eld } = await import("eld/extrasmall")
  // An instance of its own: settings of the shared one could be changed by others.
  const own = eld.newInstance()
  return {
    languages: Object.values(own.info().Languages).sort(),
    identify(text) {
      const found = own.detect(text.slice(0, looked))
      return { language: found.language, sure: found.isReliable() }
    },
  }
}

export function inLanguage(rows: Rows, { keep, unsure }: LanguageOptions, identifier: Identifier): Result<Stepped<Rows>> {
  const strange = keep.filter((code) => !identifier.languages.includes(code))
  if (strange.length > 0) return bad(failure("SLM3127", `\`${excerpt(strange[0] ?? "", 40)}\` is not the code of a language that is told apart`, `there are ${identifier.languages.join(", ")}`))
  const content = contentOf(rows)
  if (!content.ok) return content
  const counter = dropCounter()
  const kept: number[] = []
  for (let row = 0; row < rows.count; row++) {
    const text = contentText(content.value, row)
    const { language, sure } = identifier.identify(text)
    if (!sure && unsure === "keep") kept.push(row)
    else if (!sure) counter.drop("language not clear", rows, row, text)
    else if (!keep.includes(language)) counter.drop(`language: ${language}`, rows, row, text)
    else kept.push(row)
  }
  if (kept.length === 0) return bad(failure("SLM3116", `none of the ${rows.count} rows is in ${keep.join(" or ")}`, counter.drops().map((d) => `${d.reason}: ${d.count}`).join(", ")))
  return good({ value: pickRows(rows, kept), report: { step: `in language ${keep.join(", ")}`, before: rows.count, after: kept.length, drops: counter.drops(), notes: [] } })
}
