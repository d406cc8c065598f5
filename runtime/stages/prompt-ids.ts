import type { Tokenizer } from "../data/tokenizer.ts"

/** A text to continue, behind ids that stand before every prompt; nothing is continued from the end of a text. Of one too long for the model the end is kept. */
export function promptIds(tokenizer: Pick<Tokenizer, "encode" | "endOfText">, prompt: string, context: number | null, before: readonly number[] = []): readonly number[] {
  const ids = [...tokenizer.encode(prompt)]
  if (ids.length === 0) ids.push(tokenizer.endOfText)
  const room = context === null ? Infinity : context - before.length
  return [...before, ...(ids.length >= room ? ids.slice(-Math.max(1, Math.floor(room / 2))) : ids)]
}
