import type { Tokenizer } from "../data/tokenizer.ts"

/** A text to continue; nothing is continued from the end of a text. Of one too long for the model the end is kept. */
export function promptIds(tokenizer: Pick<Tokenizer, "encode" | "endOfText">, prompt: string, context: number | null): readonly number[] {
  const ids = [...tokenizer.encode(prompt)]
  if (ids.length === 0) ids.push(tokenizer.endOfText)
  return context !== null && ids.length >= context ? ids.slice(-Math.max(1, Math.floor(context / 2))) : ids
}
