/** What `filter` knows about a text: the names are the compiler's, the scanner is `runtime/data/measures.ts`. */
export const textMeasures = [
  "characters", "words", "lines", "paragraphs", "sentences",
  "word_length", "longest_word", "letters", "digits", "capitals", "symbols", "worded", "stop_words", "braces", "filler",
  "bulleted", "trailing_off", "finished", "short_lines",
  "repeated_lines", "repeated_line_characters", "repeated_paragraphs", "repeated_paragraph_characters",
  "top_2", "top_3", "top_4", "repeated_5", "repeated_6", "repeated_7", "repeated_8", "repeated_9", "repeated_10",
] as const
export type TextMeasure = (typeof textMeasures)[number]

/** Kinds of personal data that `redact` finds; the scanner is `runtime/data/redact.ts`. */
export const personalKinds = ["email", "phone", "card", "iban", "national_id", "ip"] as const
export type PersonalKind = (typeof personalKinds)[number]
