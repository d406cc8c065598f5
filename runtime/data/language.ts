/** Which language a text is in, by the frequency of byte n-grams (`eld`, loaded where a recipe asks). */
import { dropRows } from "./filter.ts"
import { bad, excerpt, failure, type Result } from "./result.ts"
import type { Rows } from "./rows.ts"
import type { Stepped } from "./steps.ts"

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
  return dropRows(rows, { step: `in language ${keep.join(", ")}`, allGone: `none of the ${rows.count} rows is in ${keep.join(" or ")}` }, (text) => {
    const { language, sure } = identifier.identify(text)
    if (!sure) return unsure === "keep" ? null : "language not clear"
    return keep.includes(language) ? null : `language: ${language}`
  })
}
