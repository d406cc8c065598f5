/** A smaller vocabulary: only what some text needs, so that it encodes as before. */
import { good, type Result } from "./result.ts"
import type { Tokenizer } from "./tokenizer.ts"
import { loadTokenizer } from "./tokenizer-json.ts"

export interface Trimmed {
  readonly tokenizer: Tokenizer
  /** Of each entry its id before, ascending. */
  readonly ids: Int32Array
}

interface File {
  added_tokens?: { id: number; content: string }[]
  model: { vocab: Record<string, number>; merges?: (string | [string, string])[] }
}

/**
 * Keeps control tokens, the single bytes or the unknown token, so that every text still has tokens, the entries `used`, and what those are merged from.
 * A merge whose result is not kept never took part in what `used` was counted on: its result would be there, or be part of an entry that is. So what was counted on encodes as before, entry by entry;
 * also where words that are entries are taken as they are (`ignore_merges`): such a word was counted, or never seen.
 */
export function trimTokenizer(tokenizer: Tokenizer, used: Iterable<number>): Result<Trimmed> {
  const file = JSON.parse(tokenizer.json()) as File
  const { vocab } = file.model
  const added = file.added_tokens ?? []
  const written: string[] = []
  for (const [text, id] of Object.entries(vocab)) written[id] = text
  for (const { id, content } of added) written[id] = content
  const madeFrom = new Map<string, string[]>()
  const merges = (file.model.merges ?? []).map((merge): readonly [string, string] => {
    const [left = "", right = ""] = typeof merge === "string" ? merge.split(" ") : merge
    return [left, right]
  })
  for (const [left, right] of merges) madeFrom.set(left + right, [...(madeFrom.get(left + right) ?? []), left, right])

  const kept = new Set(added.map(({ content }) => content))
  const pending = [...used].map((id) => written[id] ?? "")
  for (const [text, id] of Object.entries(vocab)) if (tokenizer.kind !== "char" && tokenizer.tokenBytes(id).length === 1) pending.push(text)
  if (tokenizer.unknown !== null) pending.push(written[tokenizer.unknown] ?? "")
  for (let text = pending.pop(); text !== undefined; text = pending.pop()) {
    if (kept.has(text)) continue
    kept.add(text)
    pending.push(...(madeFrom.get(text) ?? []))
  }
  const ids = Int32Array.from(written.flatMap((text, id) => (kept.has(text) ? [id] : [])))
  const place = new Map([...ids].map((id, i) => [id, i]))
  const moved = (id: number): number => place.get(id) ?? 0
  file.model.vocab = Object.fromEntries(Object.entries(vocab).filter(([text]) => kept.has(text)).map(([text, id]): [string, number] => [text, moved(id)]).sort(([, a], [, b]) => a - b))
  file.model.merges = (file.model.merges ?? []).filter((_, i) => kept.has((merges[i] ?? []).join("")))
  file.added_tokens = added.map((token) => ({ ...token, id: moved(token.id) }))
  const loaded = loadTokenizer(JSON.stringify(file, null, 1))
  return loaded.ok ? good({ tokenizer: loaded.value, ids }) : loaded
}
