import * as fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { expectGood } from "../data/result.ts"
import { rowsOf, told } from "../data/testing.ts"
import { loadTokenizer } from "../data/tokenizer-json.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import { bpeTokenizer, byteTokenizer, charTokenizer } from "../data/tokenizers.ts"
import { list, text } from "./gguf.ts"
import type { GgufValue } from "./gguf.ts"
import { tokenizerOfGguf } from "./gguf-tokenizer.ts"
import { expectFine } from "./testing.ts"
import { byteTexts, ggufVocabulary } from "./vocabulary.ts"

const book = ["the whale the whale the ship, 1851! It's the  whale's", "Über 12345 Wellen — 鲸鱼", "__proto__ toString"]
const made: Readonly<Record<string, Tokenizer>> = {
  bpe: expectGood(bpeTokenizer(rowsOf(book), { size: 300, special: ["<|npc|>"] }), "test").tokenizer,
  byte: expectGood(byteTokenizer(), "test"),
  char: expectGood(charTokenizer(rowsOf(book)), "test").tokenizer,
}

/** The pairs that our exporter writes for a model whose embedding has more rows than there are tokens. */
function pairsOf(tokenizer: Tokenizer): Map<string, GgufValue> {
  return new Map(expectFine(ggufVocabulary({ json: tokenizer.json(), eos: tokenizer.endOfText, endOfTurn: null, pad: null, unk: tokenizer.unknown, chatTemplate: null }, tokenizer.size + 3)))
}

for (const [kind, tokenizer] of Object.entries(made)) {
  test(`what is exported comes back: ${kind}`, () => {
    const read = expectGood(tokenizerOfGguf(pairsOf(tokenizer)), "test")
    assert.is(read.json(), tokenizer.json())
    assert.is(read.kind, tokenizer.kind)
    fc.assert(fc.property(fc.oneof(fc.string({ unit: "grapheme", maxLength: 30 }), fc.constantFrom(...book)), (words) => {
      assert.equal(read.encode(words), tokenizer.encode(words))
    }), { numRuns: 200 })
  })
}

test("texts are cut as the file says", () => {
  const parts = (pre: string, words: string): readonly string[] => {
    const pairs = pairsOf(made["bpe"] ?? expectGood(byteTokenizer(), "test")).set("tokenizer.ggml.pre", text(pre))
    // Two digits, and two blanks, would be merged wherever they meet in a word.
    const digits = [..."0123456789"]
    const merged = [...digits.flatMap((a) => digits.map((b) => [a, b] as const)), ["Ġ", "Ġ"] as const]
    for (const [name, more] of [["tokens", merged.map(([a, b]) => a + b)], ["merges", merged.map((pair) => pair.join(" "))], ["token_type", merged.map(() => 1)]] as const) {
      const old = pairs.get(`tokenizer.ggml.${name}`)
      if (old?.type !== "array") throw new Error(name)
      const kept = name === "merges" ? [] : old.values.slice(0, made["bpe"]?.size)
      const known = new Set(kept)
      pairs.set(`tokenizer.ggml.${name}`, list(old.of, [...kept, ...(name === "tokens" ? more.map((t, i) => (known.has(t) ? `unused ${i}`.replaceAll(" ", "Ġ") : t)) : more)]))
    }
    const read = expectGood(tokenizerOfGguf(pairs), "test")
    return [...read.encode(words)].map((id) => read.decode([id]))
  }
  assert.equal(parts("gpt-2", "12345  x"), ["12", "34", "5", " ", " ", "x"].map(String))
  assert.equal(parts("smollm", "123 4"), ["1", "2", "3", " ", "4"])
  assert.equal(parts("qwen2", "123"), ["1", "2", "3"])
  assert.equal(parts("llama-bpe", "1234567"), ["12", "3", "45", "6", "7"])
})

test("what is not read says what it is", () => {
  const with_ = (...changes: readonly (readonly [string, GgufValue | null])[]): string => {
    const pairs = pairsOf(made["bpe"] ?? expectGood(byteTokenizer(), "test"))
    for (const [name, value] of changes) { if (value === null) pairs.delete(`tokenizer.ggml.${name}`); else pairs.set(`tokenizer.ggml.${name}`, value) }
    return told(tokenizerOfGguf(pairs))
  }
  const start = "SLM3132 the tokenizer of this GGUF file is not supported: "
  assert.is(with_(["model", text("llama")]), `${start}its tokenizer is of the kind llama, SentencePiece's`)
  assert.is(with_(["model", null]), `${start}it has no tokenizer`)
  assert.is(with_(["pre", text("tekken")]), `${start}it cuts text in the way tekken`)
  assert.is(with_(["pre", text("toString")]), `${start}it cuts text in the way toString`)
  assert.is(with_(["tokens", list("string", ["<|endoftext|>", ...byteTexts.slice(1)])], ["token_type", list("i32", [3, ...byteTexts.slice(1).map(() => 1)])]), `${start}it has no token for the byte 0`)
  assert.is(with_(["token_type", list("i32", [1])]), `${start}its vocabulary is damaged`)
  assert.is(with_(["tokens", list("string", ["a", "a"])], ["token_type", null]), `${start}a token stands in it twice`)
})

test("a damaged vocabulary is refused, or is one", () => {
  const pairs = pairsOf(made["bpe"] ?? expectGood(byteTokenizer(), "test"))
  const arrays = ["tokens", "token_type", "merges"] as const
  fc.assert(fc.property(fc.constantFrom(...arrays), fc.nat(400), fc.constantFrom("", "Ġ", "a b", "x", 7, -1, 0.5, "漢"), fc.boolean(), (name, at, value, cut) => {
    const old = pairs.get(`tokenizer.ggml.${name}`)
    if (old?.type !== "array") throw new Error(name)
    const values = cut ? old.values.slice(0, at) : old.values.map((item, i) => (i === at % old.values.length ? value : item))
    const read = tokenizerOfGguf(new Map(pairs).set(`tokenizer.ggml.${name}`, list(old.of, values)))
    if (read.ok) read.value.encode("the whale 12")
    else assert.match(told(read), /^SLM3132 /)
  }), { numRuns: 200 })
})

test("a tokenizer.json is not changed by what writes it", () => {
  for (const tokenizer of Object.values(made)) assert.is(expectGood(loadTokenizer(tokenizer.json()), "test").json(), tokenizer.json())
})

test.run()
