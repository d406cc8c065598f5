import { test } from "uvu"
import * as assert from "uvu/assert"
import { byteTokenizer, bpeTokenizer, charTokenizer } from "../data/tokenizers.ts"
import { rowsOf } from "../data/testing.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { GgufValue } from "./gguf.ts"
import { expectFine, tinyTokenizer, told } from "./testing.ts"
import { byteTexts, bytesAsText, ggufVocabulary } from "./vocabulary.ts"
import type { ExportTokenizer } from "./vocabulary.ts"

function exported(tokenizer: Tokenizer): ExportTokenizer {
  return { json: tokenizer.json(), eos: tokenizer.endOfText, endOfTurn: null, pad: null, unk: tokenizer.unknown, chatTemplate: null }
}

function arrayOf(pairs: ReadonlyMap<string, GgufValue>, key: string): readonly (string | number | boolean)[] {
  const value = pairs.get(key)
  if (value?.type !== "array") throw new Error(key)
  return value.values
}

test("bytes are written in GPT-2's alphabet", () => {
  assert.is(bytesAsText(" é\n"), "ĠÃ©Ċ")
  assert.is(new Set(byteTexts).size, 256)
})

test("a byte-level BPE keeps its entries, its merges and its control tokens", () => {
  const made = bpeTokenizer(rowsOf(["the whale the whale the ship"]), { size: 265, special: ["<|npc|>"] })
  if (!made.ok) throw new Error(made.failures[0]!.message)
  const { tokenizer } = made.value
  const pairs = expectFine(ggufVocabulary(exported(tokenizer), tokenizer.size))
  const tokens = arrayOf(pairs, "tokenizer.ggml.tokens")
  assert.equal(tokens.slice(0, 2), ["<|endoftext|>", "<|npc|>"])
  assert.equal(arrayOf(pairs, "tokenizer.ggml.token_type").slice(0, 3), [3, 3, 1])
  const merges = arrayOf(pairs, "tokenizer.ggml.merges")
  assert.is(merges.length, tokenizer.size - 258)
  for (const merge of merges) assert.ok(tokens.includes(String(merge).replace(" ", "")))
  assert.equal(pairs.get("tokenizer.ggml.eos_token_id"), { type: "u32", value: 0 })
  assert.equal(pairs.get("tokenizer.ggml.add_bos_token"), { type: "bool", value: false })
})

test("bytes and characters become a BPE that llama.cpp can run", () => {
  const bytes = byteTokenizer()
  if (!bytes.ok) throw new Error("bytes")
  const ofBytes = expectFine(ggufVocabulary(exported(bytes.value), bytes.value.size))
  assert.equal(arrayOf(ofBytes, "tokenizer.ggml.merges"), [])
  const characters = charTokenizer(rowsOf(["aé漢"]))
  if (!characters.ok) throw new Error("characters")
  const ofCharacters = expectFine(ggufVocabulary(exported(characters.value.tokenizer), characters.value.tokenizer.size))
  assert.equal(arrayOf(ofCharacters, "tokenizer.ggml.tokens").slice(2), ["a", "Ã©", "æ¼¢"])
  assert.equal(arrayOf(ofCharacters, "tokenizer.ggml.merges"), ["Ã ©", "æ ¼", "æ¼ ¢"])
  assert.equal(ofCharacters.get("tokenizer.ggml.unknown_token_id"), { type: "u32", value: 1 })
})

test("rows without a token are padded with unused ones", () => {
  const words = tinyTokenizer("", 0, ["<|endoftext|>"])
  const pairs = expectFine(ggufVocabulary(words, 260))
  assert.equal(arrayOf(pairs, "tokenizer.ggml.tokens").slice(256), ["<|endoftext|>", "[PAD257]", "[PAD258]", "[PAD259]"])
  assert.equal(arrayOf(pairs, "tokenizer.ggml.token_type").slice(256), [3, 5, 5, 5])
})

test("what a chat needs is there when there is a chat", () => {
  const words = tinyTokenizer("", 0, ["<|endoftext|>", "<|im_end|>"])
  const pairs = expectFine(ggufVocabulary({ ...words, chatTemplate: "T", pad: 256 }, words.size))
  assert.equal([pairs.get("tokenizer.ggml.eot_token_id"), pairs.get("tokenizer.chat_template"), pairs.get("tokenizer.ggml.padding_token_id")], [{ type: "u32", value: 257 }, { type: "string", value: "T" }, { type: "u32", value: 256 }])
})

test("a tokenizer that llama.cpp would run differently is refused", () => {
  const words = tinyTokenizer("aa aa", 1, ["<|endoftext|>"])
  const says = (change: (json: Record<string, unknown> & { model: Record<string, unknown> }) => void): string => {
    const json = JSON.parse(words.json) as Record<string, unknown> & { model: Record<string, unknown> }
    change(json)
    const result = ggufVocabulary({ ...words, json: JSON.stringify(json) }, 300)
    return result.ok ? "fine" : told(result.problems)[0]!.replace("SLM3213 GGUF cannot say what this tokenizer does: ", "")
  }
  assert.is(says(() => {}), "fine")
  assert.is(says((json) => { json["normalizer"] = { type: "NFC" } }), "it normalises text before it splits it")
  assert.is(says((json) => { json["pre_tokenizer"] = { type: "Whitespace" } }), "it splits text differently from GPT-2")
  assert.is(says((json) => { json["pre_tokenizer"] = { type: "ByteLevel", add_prefix_space: true } }), "it splits text differently from GPT-2")
  assert.is(says((json) => { json["pre_tokenizer"] = { type: "ByteLevel", add_prefix_space: false, use_regex: false } }), "it merges without splitting text first, as GPT-2 does")
  assert.is(says((json) => { json.model["type"] = "Unigram" }), "it is of the kind \"Unigram\"")
  assert.is(says((json) => { json.model["byte_fallback"] = true }), "its model has `byte_fallback`")
  assert.is(says((json) => { json.model["merges"] = ["a"] }), "its merges are not pairs")
  assert.is(says((json) => { json["added_tokens"] = [{ id: "x" }] }), "its added tokens are damaged")
  const broken = ggufVocabulary({ ...words, json: "{" }, 300)
  assert.equal(broken.ok ? [] : told(broken.problems), ["SLM3213 GGUF cannot say what this tokenizer does: its tokenizer.json is not JSON"])
})

test.run()
