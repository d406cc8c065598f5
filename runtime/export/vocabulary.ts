import { fromCharacters } from "../data/bytelevel.ts"
import { bool, list, text, u32 } from "./gguf.ts"
import type { GgufValue } from "./gguf.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Result } from "./problem.ts"

/** A tokenizer as it travels with a model into its exports. */
export interface ExportTokenizer {
  /** The text of its `tokenizer.json`. */
  readonly json: string
  /** Ends a document, and begins one where a program asks for a beginning. */
  readonly eos: number
  /** Ends an answer of a chat, where that is another token (`<|im_end|>`). */
  readonly endOfTurn: number | null
  readonly pad: number | null
  readonly unk: number | null
  /** Jinja text, as Hugging Face and llama.cpp read it. */
  readonly chatTemplate: string | null
}

/** The parts of a `tokenizer.json` that slm's exporters understand. */
export interface TokenizerJson {
  readonly tokens: readonly (string | null)[] // by id; null where no token has the id
  readonly special: ReadonlyMap<number, boolean> // added tokens: whether they are control tokens
  readonly merges: readonly (readonly [string, string])[]
  readonly byteLevel: boolean
}

/** Numbers of llama.cpp's token types. */
export const NORMAL = 1
export const CONTROL = 3
export const USER_DEFINED = 4
export const UNUSED = 5

const GPT2_SPLIT = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/** The `tokenizer.*` pairs of a GGUF file for a model whose embedding has `rows` rows. */
export function ggufVocabulary(tokenizer: ExportTokenizer, rows: number): Result<ReadonlyMap<string, GgufValue>> {
  const parsed = parseTokenizer(tokenizer.json)
  if (!parsed.ok) return parsed
  const { tokens, special, byteLevel } = parsed.value
  if (tokens.length > rows) {
    return wrong(problem("SLM3214", `the tokenizer has ${tokens.length} tokens and the model's embedding ${rows} rows`, { help: "give the model the tokenizer's size: `vocab: words.size`" }))
  }
  const written: string[] = []
  const types: number[] = []
  for (let id = 0; id < rows; id++) {
    const token = tokens[id] ?? null
    written.push(token === null ? `[PAD${id}]` : special.has(id) || byteLevel ? token : bytesAsText(token))
    types.push(token === null ? UNUSED : special.has(id) ? (special.get(id)! ? CONTROL : USER_DEFINED) : NORMAL)
  }
  const merges = byteLevel ? parsed.value.merges : spelled(written.filter((_, id) => types[id] === NORMAL))
  const pairs = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("gpt-2")],
    ["tokenizer.ggml.tokens", list("string", written)],
    ["tokenizer.ggml.token_type", list("i32", types)],
    ["tokenizer.ggml.merges", list("string", merges.map(([a, b]) => `${a} ${b}`))],
    ["tokenizer.ggml.bos_token_id", u32(tokenizer.eos)],
    ["tokenizer.ggml.eos_token_id", u32(tokenizer.eos)],
  ])
  // llama.cpp stops at the end of a turn as it stops at the end of a text.
  if (tokenizer.endOfTurn !== null) pairs.set("tokenizer.ggml.eot_token_id", u32(tokenizer.endOfTurn))
  if (tokenizer.pad !== null) pairs.set("tokenizer.ggml.padding_token_id", u32(tokenizer.pad))
  if (tokenizer.unk !== null) pairs.set("tokenizer.ggml.unknown_token_id", u32(tokenizer.unk))
  pairs.set("tokenizer.ggml.add_bos_token", bool(false))
  if (tokenizer.chatTemplate !== null) pairs.set("tokenizer.chat_template", text(tokenizer.chatTemplate))
  return fine(pairs)
}

// ---------------------------------------------------------------- tokenizer.json

/** Reads a `tokenizer.json`, and refuses what llama.cpp's GPT-2 tokenizer would do differently. */
export function parseTokenizer(json: string): Result<TokenizerJson> {
  let root: Json
  try {
    root = JSON.parse(json) as Json
  } catch {
    return wrong(foreign("its tokenizer.json is not JSON"))
  }
  const model = at(root, "model")
  const kind = at(model, "type")
  if (kind !== "BPE" && kind !== "WordLevel") return wrong(foreign(`it is of the kind ${JSON.stringify(kind ?? null)}`))
  if (at(root, "normalizer") !== null && at(root, "normalizer") !== undefined) return wrong(foreign("it normalises text before it splits it"))
  for (const option of ["continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"]) {
    if (at(model, option)) return wrong(foreign(`its model has \`${option}\``))
  }
  const merges = mergesOf(at(model, "merges"))
  if (merges === null) return wrong(foreign("its merges are not pairs"))
  const split = splitOf(at(root, "pre_tokenizer"))
  if (split === "other") return wrong(foreign("it splits text differently from GPT-2"))
  if (split !== "gpt-2" && merges.length > 0) return wrong(foreign("it merges without splitting text first, as GPT-2 does"))
  const byId = new Map<number, string>()
  for (const [token, id] of Object.entries(at(model, "vocab") ?? {})) if (typeof id === "number") byId.set(id, token)
  const special = new Map<number, boolean>()
  for (const added of items(at(root, "added_tokens"))) {
    const [id, content] = [at(added, "id"), at(added, "content")]
    if (typeof id !== "number" || typeof content !== "string") return wrong(foreign("its added tokens are damaged"))
    byId.set(id, content)
    special.set(id, at(added, "special") === true)
  }
  if (kind === "WordLevel" && [...byId].some(([id, token]) => !special.has(id) && [...token].length !== 1)) return wrong(foreign("its words are longer than a character"))
  const count = Math.max(-1, ...byId.keys()) + 1
  return fine({ tokens: Array.from({ length: count }, (_, id) => byId.get(id) ?? null), special, merges, byteLevel: split !== "characters" })
}

function foreign(why: string) {
  return problem("SLM3213", `GGUF cannot say what this tokenizer does: ${why}`, { help: "train one with `bpe`, or use `byte` or `char`" })
}

/** How the text is cut before merges: as GPT-2 does on bytes, into bytes, into characters, or otherwise. */
function splitOf(pre: Json | undefined): "gpt-2" | "bytes" | "characters" | "other" {
  if (pre === null || pre === undefined) return "characters"
  const steps = at(pre, "type") === "Sequence" ? items(at(pre, "pretokenizers")) : [pre]
  const last = steps.at(-1) ?? null
  const byteLevel = at(last, "type") === "ByteLevel" && at(last, "add_prefix_space") !== true
  if (steps.length === 1 && byteLevel) return at(last, "use_regex") === false ? "bytes" : "gpt-2"
  if (steps.length === 2 && byteLevel && at(last, "use_regex") === false && patternOf(steps[0]!) === GPT2_SPLIT) return "gpt-2"
  const characters = steps.length === 1 && at(last, "type") === "Split" && ["", "[\\s\\S]", "(?m).", "(?m:.)", "[^\\n]|\\n", ".|\\n"].includes(patternOf(last) ?? "?")
  return characters ? "characters" : "other"
}

function patternOf(step: Json | undefined): string | null {
  const pattern = at(step, "pattern")
  const found = at(pattern, "Regex") ?? at(pattern, "String")
  return at(step, "type") === "Split" && at(step, "invert") !== true && typeof found === "string" ? found : null
}

function mergesOf(value: Json | undefined): (readonly [string, string])[] | null {
  const merges: (readonly [string, string])[] = []
  for (const item of items(value)) {
    const [a, b, more] = typeof item === "string" ? item.split(" ") : items(item)
    if (typeof a !== "string" || typeof b !== "string" || more !== undefined) return null
    merges.push([a, b])
  }
  return merges
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

function at(value: Json | undefined, key: string): Json | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) return undefined
  return (value as { readonly [key: string]: Json })[key]
}

function items(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}

// ---------------------------------------------------------------- characters as bytes

/** GPT-2's alphabet: a printable character for each byte. */
export const byteTexts: readonly string[] = alphabet()

function alphabet(): string[] {
  const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++))
}

/** A text as GPT-2 writes its bytes: ` é` is `ĠÃ©`. */
export function bytesAsText(token: string): string {
  return Array.from(new TextEncoder().encode(token), (byte) => byteTexts[byte]!).join("")
}

/** The text of bytes in GPT-2's alphabet; null where they are none, or not whole characters. */
export function textOfBytes(written: string): string | null {
  const bytes = fromCharacters(written)
  try {
    return bytes === null ? null : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

/**
 * Merges that spell each character of a character tokenizer from its bytes. Beginnings of characters never stand elsewhere in UTF-8,
 * so these merges join nothing but whole characters.
 */
export function spelled(tokens: readonly string[]): (readonly [string, string])[] {
  const merges = new Map<string, readonly [string, string]>()
  for (const token of tokens) {
    const bytes = [...token]
    for (let n = 1; n < bytes.length; n++) {
      const pair = [bytes.slice(0, n).join(""), bytes[n]!] as const
      merges.set(pair.join(" "), pair)
    }
  }
  return [...merges.values()].sort((a, b) => a[0].length - b[0].length)
}
