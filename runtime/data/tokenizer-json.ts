/** Hugging Face's `tokenizer.json`: what slm writes, and the byte-level BPE tokenizers of others. */
import { bpeEncoder, pairKey, type BpeModel } from "./bpe.ts"
import { byteCharacters, cutBy, fromCharacters, fromRustPattern, gpt2Words, type Cutter } from "./bytelevel.ts"
import { bad, failure, good, type Result } from "./result.ts"
import { endOfTextToken, makeTokenizer, unknownToken, type IdList, type SpecialToken, type Tokenizer } from "./tokenizer.ts"

export interface LoadOptions {
  /** The control token that ends a text, where the file does not use a common name for it. */
  readonly endOfText?: string
}

type Json = Readonly<Record<string, unknown>>

/** Reads a `tokenizer.json`. `json()` of the result is the given text. */
export function loadTokenizer(json: string, options: LoadOptions = {}): Result<Tokenizer> {
  let file: unknown
  try {
    file = JSON.parse(json)
  } catch {
    return bad(failure("SLM3132", "tokenizer.json is not JSON"))
  }
  const model = isJson(file) ? file["model"] : null
  if (!isJson(file) || !isJson(model)) return unsupported("it has no `model`")
  if (model["type"] !== "BPE" && !(model["type"] === undefined && Array.isArray(model["merges"]))) return unsupported(`its model is ${String(model["type"])}`)
  for (const field of ["continuing_subword_prefix", "end_of_word_suffix", "dropout"]) if (model[field] !== undefined && model[field] !== null && model[field] !== "" && model[field] !== 0) return unsupported(`its model has ${field}`)
  if (model["byte_fallback"] === true) return unsupported("its model falls back to bytes, as SentencePiece does")
  const vocabulary = readVocabulary(model["vocab"], file["added_tokens"])
  if (!vocabulary.ok) return vocabulary
  const endOfText = findEndOfText(vocabulary.value.special, options.endOfText)
  if (endOfText === null) return unsupported("no control token ends a text", `name it; it has ${vocabulary.value.special.map((t) => t.text).slice(0, 8).join(", ") || "none"}`)
  const normalise = readNormalizer(file["normalizer"])
  if (normalise === null) return unsupported("its normalizer is not NFC")
  const decoder = isJson(file["decoder"]) ? file["decoder"]["type"] : null
  const context = { json, file, model, vocabulary: vocabulary.value, endOfText, normalise }
  if (decoder === "Fuse") return loadCharacters(context)
  if (decoder === "ByteLevel") return loadByteLevel(context)
  return unsupported(`its decoder is ${String(decoder)}`)
}

interface Vocabulary {
  /** Written form of each id; undefined where an id is not used. */
  readonly written: readonly (string | undefined)[]
  readonly ids: ReadonlyMap<string, number>
  readonly special: readonly SpecialToken[]
}

interface Loading {
  readonly json: string
  readonly file: Json
  readonly model: Json
  readonly vocabulary: Vocabulary
  readonly endOfText: number
  readonly normalise: (text: string) => string
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function unsupported<T>(why: string, help?: string): Result<T> {
  return unsupportedTokenizer("tokenizer.json", why, help)
}

export function unsupportedTokenizer<T>(what: string, why: string, help = "read are byte-level BPE tokenizers (GPT-2, Llama 3, Qwen and relatives)"): Result<T> {
  return bad(failure("SLM3132", `${what} is not supported: ${why}`, help))
}

const mostEntries = 1 << 22

function readVocabulary(vocab: unknown, added: unknown): Result<Vocabulary> {
  if (!isJson(vocab)) return unsupported("it has no `vocab`")
  const written: (string | undefined)[] = []
  const ids = new Map<string, number>()
  const special: SpecialToken[] = []
  const put = (text: string, id: unknown): boolean => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= mostEntries) return false
    while (written.length <= id) written.push(undefined)
    written[id] = text
    ids.set(text, id)
    return true
  }
  for (const [text, id] of Object.entries(vocab)) if (!put(text, id)) return unsupported(`the id of \`${text}\` is ${String(id)}`)
  const list: readonly unknown[] = Array.isArray(added) ? added : []
  for (const token of list) {
    const text = isJson(token) ? token["content"] : undefined
    const id = isJson(token) ? token["id"] : undefined
    if (typeof text !== "string" || text === "" || !put(text, id)) return unsupported("an added token is malformed")
    special.push({ text, id: Number(id) })
  }
  return good({ written, ids, special })
}

const commonEnds = [endOfTextToken, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]"]

function findEndOfText(special: readonly SpecialToken[], wanted: string | undefined): number | null {
  for (const text of wanted === undefined ? commonEnds : [wanted]) {
    const token = special.find((t) => t.text === text)
    if (token !== undefined) return token.id
  }
  return null
}

function readNormalizer(value: unknown): ((text: string) => string) | null {
  if (value === null || value === undefined) return (text) => text
  if (!isJson(value)) return null
  if (value["type"] === "NFC") return (text) => text.normalize("NFC")
  if (value["type"] !== "Sequence" || !Array.isArray(value["normalizers"])) return null
  const list: readonly unknown[] = value["normalizers"]
  const steps = list.map(readNormalizer)
  return steps.some((step) => step === null) ? null : (text) => steps.reduce((t, step) => (step === null ? t : step(t)), text)
}

// ---------------------------------------------------------------- characters

function loadCharacters(loading: Loading): Result<Tokenizer> {
  const { vocabulary } = loading
  const special = new Set(vocabulary.special.map((t) => t.text))
  const byPoint = new Map<number, number>()
  for (const [text, id] of vocabulary.ids) {
    if (special.has(text)) continue
    const point = text.codePointAt(0)
    if (point === undefined || String.fromCodePoint(point) !== text) return unsupported(`\`${text}\` is not one character`)
    byPoint.set(point, id)
  }
  const unknown = vocabulary.ids.get(String(loading.model["unk_token"] ?? ""))
  if (unknown === undefined) return unsupported("it has no token for unknown characters")
  const merges: unknown = loading.model["merges"]
  if ((Array.isArray(merges) && merges.length > 0) || (loading.file["pre_tokenizer"] ?? null) !== null) return unsupported("characters are merged or cut")
  const encodePlain = (text: string, out: IdList): void => {
    for (const character of loading.normalise(text)) out.push(byPoint.get(character.codePointAt(0) ?? 0) ?? unknown)
  }
  return good(makeTokenizer({
    kind: "char", tokens: vocabulary.written.map((text) => utf8(text ?? "")), special: vocabulary.special,
    endOfText: loading.endOfText, unknown, encodePlain, json: () => loading.json,
  }))
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

// ---------------------------------------------------------------- byte level

function loadByteLevel(loading: Loading): Result<Tokenizer> {
  const { vocabulary } = loading
  const special = new Set(vocabulary.special.map((t) => t.text))
  const tokens: Uint8Array[] = []
  for (const text of vocabulary.written) {
    const bytes = text === undefined ? new Uint8Array(0) : special.has(text) ? utf8(text) : fromCharacters(text)
    if (bytes === null) return unsupported(`\`${String(text)}\` is not written in byte characters`)
    tokens.push(bytes)
  }
  const byteIds = Int32Array.from(byteCharacters, (c) => vocabulary.ids.get(c) ?? -1)
  const model = readMerges(loading, byteIds, tokens)
  if (!model.ok) return model
  const cut = readCutter(loading.file["pre_tokenizer"])
  if (cut === null) return unsupported("its pre-tokenizer is not known")
  const encode = bpeEncoder(model.value, cut)
  const single = model.value.ranks.size === 0 && vocabulary.written.length === 256 + special.size
  return good(makeTokenizer({
    kind: single ? "byte" : "bpe", tokens, special: vocabulary.special, endOfText: loading.endOfText, unknown: null,
    encodePlain: (text, out) => encode(loading.normalise(text), out), json: () => loading.json,
  }))
}

function readMerges(loading: Loading, byteIds: Int32Array, tokens: readonly Uint8Array[]): Result<BpeModel> {
  const listed: unknown = loading.model["merges"]
  const list: readonly unknown[] = Array.isArray(listed) ? listed : []
  const ranks = new Map<number, number>()
  const merged = new Int32Array(list.length)
  for (const [rank, merge] of list.entries()) {
    const [left, right]: readonly unknown[] = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : []
    const a = typeof left === "string" ? loading.vocabulary.ids.get(left) : undefined
    const b = typeof right === "string" ? loading.vocabulary.ids.get(right) : undefined
    const made = loading.vocabulary.ids.get(`${String(left)}${String(right)}`)
    if (a === undefined || b === undefined || made === undefined) return unsupported(`merge ${rank + 1} names what is not in the vocabulary`)
    const key = pairKey(a, b)
    if (!ranks.has(key)) ranks.set(key, rank)
    merged[rank] = made
  }
  return good({ byteIds, ranks, merged, whole: loading.model["ignore_merges"] === true ? wholeWords(tokens) : null })
}

function wholeWords(tokens: readonly Uint8Array[]): ReadonlyMap<string, number> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  const words = new Map<string, number>()
  for (const [id, bytes] of tokens.entries()) {
    try {
      words.set(decoder.decode(bytes), id)
    } catch { /* part of a character is no word */ }
  }
  return words
}

/** The pre-tokenizer as a function; null where it is of a kind we do not know. */
function readCutter(value: unknown): Cutter | null {
  if (value === null || value === undefined) return (text) => [text]
  if (!isJson(value)) return null
  switch (value["type"]) {
    case "ByteLevel":
      if (value["add_prefix_space"] === true) return null
      return value["use_regex"] === false ? (text) => [text] : cutBy(gpt2Words)
    case "Digits": return cutBy(value["individual_digits"] === true ? "\\p{N}" : "\\p{N}+")
    case "Split": return readSplit(value)
    case "Sequence": {
      const list: readonly unknown[] = Array.isArray(value["pretokenizers"]) ? value["pretokenizers"] : []
      const cutters = list.map(readCutter)
      const known = cutters.filter((cut) => cut !== null)
      return known.length < cutters.length ? null : (text) => known.reduce<readonly string[]>((words, cut) => words.flatMap(cut), [text])
    }
    default: return null
  }
}

function readSplit(value: Json): Cutter | null {
  const pattern = value["pattern"]
  const isolated = value["behavior"] === "Isolated" || (value["behavior"] === "Removed" && value["invert"] === true)
  if (!isJson(pattern) || !isolated) return null
  const { Regex: expression, String: literal } = pattern
  if (typeof expression === "string") {
    const source = fromRustPattern(expression)
    return source === null ? null : cutBy(source)
  }
  return typeof literal === "string" && literal !== "" ? cutBy(literal.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")) : null
}

// ---------------------------------------------------------------- writing

export interface NewTokenizer {
  readonly kind: "byte" | "char" | "bpe"
  readonly special: readonly SpecialToken[]
  /** Written forms of the ids after the special tokens. */
  readonly entries: readonly string[]
  /** Pairs of written forms. */
  readonly merges: readonly (readonly [string, string])[]
}

/** The text of a new tokenizer's `tokenizer.json`. */
export function tokenizerJson(made: NewTokenizer): string {
  const entries = made.entries.map((entry, i) => [entry, made.special.length + i] as const)
  const special = made.special.map((token) => ({ ...token, control: true }))
  const [cut, unknown] = [made.kind === "char" ? null : made.kind === "bpe" ? ["gpt-2"] : [], made.kind === "char" ? unknownToken : null]
  return fileOf({ special, entries, merges: made.merges.map(([a, b]) => `${a} ${b}`), cut, wholeWords: false }, unknown)
}

/** Any byte-level BPE. */
export interface WrittenTokenizer {
  readonly special: readonly (SpecialToken & { readonly control: boolean })[]
  /** Written forms with their ids. */
  readonly entries: readonly (readonly [text: string, id: number])[]
  /** Pairs of written forms, with a blank between. */
  readonly merges: readonly string[]
  /** How text is cut before merges, one way after the other: `gpt-2`, `digits` (each by itself), or an expression; empty: not at all. */
  readonly cut: readonly string[]
  /** Words that are entries are taken whole. */
  readonly wholeWords: boolean
}

export function writtenTokenizer(of: WrittenTokenizer): string {
  return fileOf(of, null)
}

const byteLevel = (useRegex: boolean) => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: useRegex })

/** The steps of a pre-tokenizer, the byte level last. */
function cutterJson(cut: readonly string[]): Json {
  const last = cut.at(-1) === "gpt-2"
  const steps = cut.slice(0, last ? -1 : cut.length).map((way): Json => (way === "digits" ? { type: "Digits", individual_digits: true } : { type: "Split", pattern: { Regex: way }, behavior: "Isolated", invert: false }))
  return steps.length === 0 ? byteLevel(last) : { type: "Sequence", pretokenizers: [...steps, byteLevel(last)] }
}

/** `cut` null: characters, not bytes. */
function fileOf(made: Omit<WrittenTokenizer, "cut"> & { readonly cut: readonly string[] | null }, unknown: string | null): string {
  const vocab = Object.fromEntries([...made.special.map(({ text, id }) => [text, id] as const), ...made.entries])
  const file = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: made.special.map((t) => ({ id: t.id, content: t.text, single_word: false, lstrip: false, rstrip: false, normalized: false, special: t.control })),
    normalizer: null,
    pre_tokenizer: made.cut === null ? null : cutterJson(made.cut),
    post_processor: null,
    decoder: made.cut === null ? { type: "Fuse" } : byteLevel(true),
    model: {
      type: "BPE", dropout: null, unk_token: unknown, continuing_subword_prefix: null, end_of_word_suffix: null,
      fuse_unk: false, byte_fallback: false, ignore_merges: made.wholeWords, vocab, merges: made.merges,
    },
  }
  return JSON.stringify(file, null, 1)
}
