/** The tokenizer inside a GGUF file, as a `tokenizer.json` that does the same. */
import { loadTokenizer, tokenizerJson, unsupportedTokenizer, writtenTokenizer, type WrittenTokenizer } from "../data/tokenizer-json.ts"
import type { Result } from "../data/result.ts"
import type { SpecialToken, Tokenizer } from "../data/tokenizer.ts"
import type { GgufValue } from "./gguf.ts"
import { CONTROL, NORMAL, UNUSED, USER_DEFINED, byteTexts, spelled, textOfBytes } from "./vocabulary.ts"

type Metadata = ReadonlyMap<string, GgufValue>

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const rest = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/** How llama.cpp cuts text, by the name in the file: an expression before the byte level, or `gpt-2`. */
const cuts: Readonly<Record<string, Pick<WrittenTokenizer, "cut" | "wholeWords">>> = {
  "gpt-2": { cut: ["gpt-2"], wholeWords: false },
  "smollm": { cut: ["digits", "gpt-2"], wholeWords: false },
  "qwen2": { cut: [`${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${rest}`], wholeWords: false },
  "llama-bpe": { cut: [`${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${rest}`], wholeWords: true },
}

/** Names of one way. */
const others: Readonly<Record<string, string>> = { "gpt2": "gpt-2", "llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2" }

/** Reads byte-level BPE; what `char` became when it was exported is `char` again. */
export function tokenizerOfGguf(metadata: Metadata): Result<Tokenizer> {
  const model = textIn(metadata, "tokenizer.ggml.model")
  if (model === null) return refused("it has no tokenizer")
  if (model !== "gpt2") return refused(`its tokenizer is of the kind ${model}${model === "llama" || model === "t5" ? ", SentencePiece's" : ""}`)
  const pre = textIn(metadata, "tokenizer.ggml.pre") ?? "default"
  const way = cuts[others[pre] ?? pre]
  if (way === undefined || !Object.hasOwn(cuts, others[pre] ?? pre)) return refused(`it cuts text in the way ${pre}`, `read are ${[...Object.keys(cuts), ...Object.keys(others)].join(", ")}`)
  const [written, types, merges] = [textsIn(metadata, "tokens"), numbersIn(metadata, "token_type"), textsIn(metadata, "merges") ?? []]
  if (written === null || (types !== null && types.length !== written.length)) return refused("its vocabulary is damaged")
  const typeOf = (id: number): number => types?.[id] ?? NORMAL
  const wrong = written.findIndex((_, id) => ![NORMAL, CONTROL, USER_DEFINED, UNUSED].includes(typeOf(id)))
  if (wrong >= 0) return refused(`its token ${wrong} is of type ${typeOf(wrong)}`)
  const special = written.flatMap((text, id): (SpecialToken & { readonly control: boolean })[] => (typeOf(id) === CONTROL || typeOf(id) === USER_DEFINED ? [{ text, id, control: typeOf(id) === CONTROL }] : []))
  const entries = written.flatMap((text, id) => (typeOf(id) === NORMAL ? [[text, id] as const] : []))
  if (new Set([...special.map(({ text }) => text), ...entries.map(([text]) => text)]).size < special.length + entries.length) return refused("a token stands in it twice")
  const characters = asCharacters(metadata, special, entries, merges)
  if (characters !== null) return loadTokenizer(characters)
  const known = new Set(entries.map(([text]) => text))
  const lacking = byteTexts.findIndex((text) => !known.has(text))
  if (lacking >= 0) return refused(`it has no token for the byte ${lacking}`)
  return loadTokenizer(writtenTokenizer({ special, entries, merges, cut: merges.length === 0 ? [] : way.cut, wholeWords: way.wholeWords }))
}

function refused(why: string, help?: string): Result<never> {
  return unsupportedTokenizer("the tokenizer of this GGUF file", why, help)
}

/** A tokenizer of characters, spelled in bytes: its merges are those that spell them, and it has a token for what it lacks. */
function asCharacters(metadata: Metadata, special: readonly SpecialToken[], entries: readonly (readonly [string, number])[], merges: readonly string[]): string | null {
  const unknown = metadata.get("tokenizer.ggml.unknown_token_id")
  const texts = entries.map(([text]) => textOfBytes(text))
  const behind = entries.every(([, id], i) => id === special.length + i) && special.every(({ id }, i) => id === i)
  if (unknown?.type !== "u32" || !behind || texts.some((text) => text === null || [...text].length !== 1)) return null
  const wanted = new Set(spelled(entries.map(([text]) => text)).map(([a, b]) => `${a} ${b}`))
  if (wanted.size !== merges.length || merges.some((merge) => !wanted.has(merge))) return null
  return tokenizerJson({ kind: "char", special, entries: texts.map((text) => text ?? ""), merges: [] })
}

function textIn(metadata: Metadata, key: string): string | null {
  const value = metadata.get(key)
  return value?.type === "string" ? value.value : null
}

function textsIn(metadata: Metadata, name: string): readonly string[] | null {
  const value = metadata.get(`tokenizer.ggml.${name}`)
  return value?.type === "array" && value.values.every((item) => typeof item === "string") ? value.values.map(String) : null
}

function numbersIn(metadata: Metadata, name: string): readonly number[] | null {
  const value = metadata.get(`tokenizer.ggml.${name}`)
  return value?.type === "array" && value.values.every((item) => typeof item === "number") ? value.values.map(Number) : null
}
