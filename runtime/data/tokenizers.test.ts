import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as native from "tokenizers"
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { learnBpe } from "./bpe-train.ts"
import { mergeWord, pairKey, type BpeModel } from "./bpe.ts"
import { byteCharacters, byteOrder, cutBy, fromCharacters, fromRustPattern, gpt2Words, toCharacters } from "./bytelevel.ts"
import { chat } from "./chat.ts"
import { documents } from "./documents.ts"
import { expectGood } from "./result.ts"
import { takeRows, type Column, type Rows } from "./rows.ts"
import { novel, rowsOf, textsOf, told } from "./testing.ts"
import { loadTokenizer } from "./tokenizer-json.ts"
import { streamDecoder, type Tokenizer } from "./tokenizer.ts"
import { bpeTokenizer, byteTokenizer, charTokenizer } from "./tokenizers.ts"

const book = novel()
const chapters = takeRows(expectGood(documents(book), "test").value, 600)
const words = expectGood(bpeTokenizer(chapters, { size: 700, special: ["<|npc|>"] }), "test").tokenizer
const bytes = expectGood(byteTokenizer(), "test")
const letters = expectGood(charTokenizer(chapters), "test").tokenizer

/** Texts with what makes tokenizers differ: blanks of every kind, contractions, digits, marks, emoji, control tokens. */
const anyText = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 30 }),
  fc.array(fc.constantFrom(..."the whale's we'll I'm  \n\n\t 12,345 é e\u0301 鯨 🐋 🏳️‍🌈 \u00a0 \u0085 \ufeff \u3000 <|endoftext|> <|npc|> <|unknown|> <| aaaaaaaaaa ----- \r\n ſ".split(/(?<= )/)), { maxLength: 12 }).map((x) => x.join("")),
)

async function theirIds(tokenizer: native.Tokenizer, text: string): Promise<number[]> {
  return (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds()
}

for (const [name, ours] of [["bpe", words], ["byte", bytes], ["char", letters]] as const) {
  test(`${name}: the library opens tokenizer.json and encodes and decodes as we do`, async () => {
    const theirs = native.Tokenizer.fromString(ours.json())
    assert.is(theirs.getVocabSize(), ours.size)
    for (const token of ours.special) assert.is(theirs.tokenToId(token.text), token.id)
    await fc.assert(fc.asyncProperty(anyText, async (text) => {
      const ids = [...ours.encode(text)]
      assert.equal(ids, await theirIds(theirs, text), JSON.stringify(text))
      assert.is(ours.decode(ids), await theirs.decode(ids, false))
    }), { numRuns: 300 })
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(ours.size - 1), { maxLength: 20 }), async (ids) => {
      assert.is(ours.decode(ids), await theirs.decode(ids, false), "also where the bytes are no text")
      assert.is(ours.decode(ids, { special: false }), await theirs.decode(ids, true), "without control tokens")
    }), { numRuns: 300 })
    const chapter = (textsOf(book)[0] ?? "").slice(400_000, 440_000)
    assert.equal([...ours.encode(chapter)], await theirIds(theirs, chapter))
  })

  test(`${name}: loading what was saved gives the same tokenizer`, () => {
    const again = expectGood(loadTokenizer(ours.json()), "test")
    assert.is(again.kind, ours.kind)
    assert.is(again.json(), ours.json())
    assert.is(again.endOfText, ours.special.find((t) => t.text === "<|endoftext|>")?.id)
    assert.equal(again.encode("Call me <|endoftext|> Ishmael"), ours.encode("Call me <|endoftext|> Ishmael"))
  })
}

for (const [name, ours] of [["bpe", words], ["byte", bytes]] as const) {
  test(`${name}: decode(encode(x)) is x for every text`, () => {
    fc.assert(fc.property(fc.oneof(anyText, fc.string({ unit: "binary" })), (text) => {
      assert.is(ours.decode(ours.encode(text)), text)
      assert.is(ours.decode(ours.encode(text, { special: false })), text)
    }), { numRuns: 500 })
  })
}

test("byte: one token per byte", () => {
  assert.is(bytes.size, 257)
  assert.is(bytes.encode("aé🐋").length, 7)
  assert.equal(bytes.tokenBytes(bytes.encode("a")[0] ?? 0), Uint8Array.of(97))
})

test("char: one token per character, unknown ones counted as such", () => {
  assert.is(letters.decode(letters.encode("Call me\nIshmael.")), "Call me\nIshmael.")
  assert.is(letters.encode("whale").length, 5)
  assert.equal([...letters.encode("鯨")], [letters.unknown ?? -1])
  assert.is(letters.unknown, 1)
  const shakespeare = expectGood(charTokenizer(rowsOf(["b", "a\n", "🐋a"])), "test").tokenizer
  assert.equal([...shakespeare.encode("\nab🐋")], [2, 3, 4, 5], "in code point order")
})

test("special tokens are tokens in markup and text elsewhere", () => {
  const [npc] = words.encode("<|npc|>")
  assert.is(npc, 1)
  assert.ok(words.encode("<|npc|>", { special: false }).length > 1)
  assert.is(words.decode(words.encode("<|npc|>", { special: false })), "<|npc|>")
})

test("bpe: learned merges are those of the library, on a whole novel", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slm-bpe-"))
  try {
    const text = (textsOf(book)[0] ?? "").slice(0, 300_000)
    fs.writeFileSync(path.join(folder, "text.txt"), text)
    // The library prints to standard output while it trains, so it does that in a process of its own.
    const script = `const T = require("tokenizers"); const t = new T.Tokenizer(T.BPE.empty()); t.setPreTokenizer(T.byteLevelPreTokenizer(false, true)); t.train(["text.txt"]); t.save("out.json")`
    const here = path.dirname(fileURLToPath(import.meta.url))
    execFileSync(process.execPath, ["-e", script.replace("tokenizers", path.join(here, "..", "..", "node_modules", "tokenizers"))], { cwd: folder, stdio: "ignore" })
    const theirs = JSON.parse(fs.readFileSync(path.join(folder, "out.json"), "utf8")) as { model: { merges: [string, string][] } }
    const counts = new Map<string, number>()
    const cut = cutBy(gpt2Words)
    for (const line of text.split(/(?<=\n)/)) for (const word of cut(line)) counts.set(word, (counts.get(word) ?? 0) + 1) // the library cuts files into lines
    const learned = learnBpe(counts, 30_000)
    const ours = learned.merges.map(([a, b]) => [toCharacters(learned.entries[a] ?? new Uint8Array()), toCharacters(learned.entries[b] ?? new Uint8Array())])
    assert.ok(ours.length > 5000)
    assert.equal(ours, theirs.model.merges.slice(0, ours.length))
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
})

/** The definition: count all pairs of all words, merge the best everywhere, again and again. */
function slowBpe(counts: ReadonlyMap<string, number>, size: number): string[] {
  const order = new Map(byteOrder.map((byte, id) => [byteCharacters[byte] ?? "", id]))
  let state = [...counts].map(([word, count]) => ({ symbols: Array.from(Buffer.from(word), (b) => byteCharacters[b] ?? ""), count }))
  const merges: string[] = []
  while (order.size < size) {
    const pairs = new Map<string, number>()
    for (const { symbols, count } of state) for (let i = 0; i + 1 < symbols.length; i++) pairs.set(`${symbols[i]} ${symbols[i + 1]}`, (pairs.get(`${symbols[i]} ${symbols[i + 1]}`) ?? 0) + count)
    const key = (pair: string) => pair.split(" ").map((s) => order.get(s) ?? 0)
    const [best] = [...pairs].sort(([p, m], [q, n]) => n - m || (key(p)[0] ?? 0) - (key(q)[0] ?? 0) || (key(p)[1] ?? 0) - (key(q)[1] ?? 0))
    if (best === undefined || best[1] < 2) break
    const [a, b] = best[0].split(" ")
    merges.push(best[0])
    if (!order.has(`${a}${b}`)) order.set(`${a}${b}`, order.size)
    state = state.map(({ symbols, count }) => {
      const out: string[] = []
      for (let i = 0; i < symbols.length; i++) {
        const found = symbols[i] === a && symbols[i + 1] === b
        out.push(found ? `${a}${b}` : (symbols[i] ?? ""))
        if (found) i++
      }
      return { symbols: out, count }
    })
  }
  return merges
}

test("bpe: learning agrees with its definition", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 8 })
  fc.assert(fc.property(fc.array(fc.tuple(word, fc.integer({ min: 1, max: 4 })), { maxLength: 8 }), (list) => {
    const counts = new Map(list)
    const learned = learnBpe(counts, 280)
    assert.equal(learned.merges.map(([a, b]) => `${toCharacters(learned.entries[a] ?? new Uint8Array())} ${toCharacters(learned.entries[b] ?? new Uint8Array())}`), slowBpe(counts, 280))
  }), { numRuns: 300 })
})

test("bpe: learning does not depend on the order of the text or the process", () => {
  const here = path.dirname(fileURLToPath(import.meta.url))
  const script = `
    import { bpeTokenizer } from "./tokenizers.ts"
    import { novel } from "./testing.ts"
    import { documents } from "./documents.ts"
    import { pickRows } from "./rows.ts"
    const all = documents(novel()).value.value
    const rows = pickRows(all, Array.from({ length: 600 }, (_, i) => process.env.SLM_TEST_ORDER === "back" ? 599 - i : i))
    process.stdout.write(bpeTokenizer(rows, { size: 700, special: ["<|npc|>"] }).value.tokenizer.json())`
  for (const order of ["on", "back"]) {
    const json = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], { cwd: here, env: { ...process.env, SLM_TEST_ORDER: order }, encoding: "utf8" })
    assert.is(json, words.json(), order)
  }
})

test("bpe: the heap for long words merges as the scan of short ones", () => {
  const merges: [string, string][] = [["a", "b"], ["ab", "a"], ["b", "a"], ["aa", "b"], ["a", "a"], ["aba", "aba"]]
  const names = ["a", "b", ...new Set(merges.map(([a, b]) => a + b))]
  const id = (name: string) => names.indexOf(name)
  const model: BpeModel = { byteIds: new Int32Array(), whole: null, ranks: new Map(merges.map(([a, b], rank) => [pairKey(id(a), id(b)), rank])), merged: Int32Array.from(merges, ([a, b]) => id(a + b)) }
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom("a", "b"), minLength: 41, maxLength: 120 }), (text) => {
    let symbols = Array.from(text, id)
    for (;;) { // the definition
      const ranks = symbols.slice(1).map((b, i) => model.ranks.get(pairKey(symbols[i] ?? 0, b)) ?? Infinity)
      const best = Math.min(...ranks)
      if (best === Infinity) break
      const at = ranks.indexOf(best)
      symbols = [...symbols.slice(0, at), model.merged[best] ?? 0, ...symbols.slice(at + 2)]
    }
    assert.equal([...mergeWord(Int32Array.from(text, id), model)], symbols)
    const short = text.slice(0, 30)
    assert.equal([...mergeWord(Int32Array.from(short, id), model)].map((i) => names[i]).join(""), short)
  }), { numRuns: 300 })
  assert.is(words.decode(words.encode("x".repeat(300_000))).length, 300_000, "a text without blanks is no danger")
})

test("bpe: mistakes and limits", () => {
  assert.is(told(bpeTokenizer(chapters, { size: 100 })), "SLM3131 100 entries are too few: 256 bytes and 1 special tokens are always there")
  assert.is(told(bpeTokenizer(chapters, { size: 300, special: [""] })), "SLM3131 a special token is empty or blank")
  const few = expectGood(bpeTokenizer(rowsOf(["abab"]), { size: 1000 }), "test")
  assert.is(few.tokenizer.size, 258)
  assert.match(few.notes[0] ?? "", "258 entries, fewer than 1000")
  const sample = expectGood(bpeTokenizer(chapters, { size: 400, maxBytes: 20_000 }), "test")
  assert.match(sample.notes[0] ?? "", "of the documents")
  const frequent = [1, -1].map((order) => expectGood(bpeTokenizer(rowsOf([...textsOf(chapters)].sort(() => order)), { size: 400, maxWordBytes: 5000 }), "test"))
  assert.match(frequent[0]?.notes[0] ?? "", "most frequent of")
  assert.is(frequent[0]?.tokenizer.json(), frequent[1]?.tokenizer.json(), "whatever the order of the text")
  const noBlanks = expectGood(bpeTokenizer(rowsOf([textsOf(chapters).join("").replace(/[^a-z]/g, "")]), { size: 1500 }), "test").tokenizer
  assert.is(noBlanks.size, 1500, "a text that is one long word is learned from, merge by merge")
  assert.is(sample.tokenizer.json(), expectGood(bpeTokenizer(chapters, { size: 400, maxBytes: 20_000 }), "test").tokenizer.json())
})

test("bpe: control tokens of a chat template are entries, and what they are made of is not learned", () => {
  const messages: Column = { is: "chat", values: Array.from({ length: 30 }, (_, i) => [{ role: "user" as const, content: `question ${i}` }, { role: "assistant" as const, content: "answer" }]) }
  const rows: Rows = { ...rowsOf(Array.from({ length: 30 }, () => "")), columns: new Map([["m", messages]]) }
  const rendered = expectGood(chat(rows), "test").value
  const { tokenizer } = expectGood(bpeTokenizer(rendered, { size: 300 }), "test")
  assert.equal(tokenizer.special.map((t) => t.text), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
  for (let id = 3; id < tokenizer.size; id++) assert.not.match(tokenizer.decode([id]), "im_")
})

test("streaming keeps back half characters", () => {
  const text = "né 🐋 鯨"
  const decoder = streamDecoder(bytes)
  const pieces = Array.from(bytes.encode(text), (id) => decoder.push(id))
  assert.is(pieces.join("") + decoder.end(), text)
  assert.ok(pieces.every((piece) => !piece.includes("\ufffd")))
  const cut = streamDecoder(bytes)
  assert.is(cut.push(bytes.encode("é")[0] ?? 0) + cut.end(), "\ufffd")
})

test("byte characters are GPT-2's", () => {
  assert.is(toCharacters(Buffer.from(" \n!é")), "ĠĊ!Ã©")
  assert.equal(fromCharacters("ĠĊ!"), Uint8Array.of(32, 10, 33))
  assert.is(fromCharacters("鯨"), null)
  assert.equal([...native.byteLevelAlphabet()].sort(), [...byteCharacters].sort())
})

/** A tokenizer in the manner of another family, on our merges. */
function variant(change: (file: { [key: string]: unknown; model: { [key: string]: unknown } }) => void): string {
  const file = JSON.parse(words.json()) as { [key: string]: unknown; model: { [key: string]: unknown } }
  change(file)
  return JSON.stringify(file)
}

test("tokenizers of other families are read and agree with the library", async () => {
  const llama3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false }
  const families = [
    variant((f) => { f["pre_tokenizer"] = { type: "Sequence", pretokenizers: [{ type: "Split", pattern: { Regex: llama3 }, behavior: "Isolated", invert: false }, byteLevel] }; f.model["ignore_merges"] = true }),
    variant((f) => { f["normalizer"] = { type: "NFC" } }),
    variant((f) => { f["pre_tokenizer"] = { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, { ...byteLevel, use_regex: true }] } }),
    variant((f) => { f.model["merges"] = (f.model["merges"] as string[]).map((m) => m.split(" ")) }),
  ]
  for (const json of families) {
    const ours = expectGood(loadTokenizer(json), "test")
    const theirs = native.Tokenizer.fromString(json)
    await fc.assert(fc.asyncProperty(anyText, async (text) => {
      assert.equal([...ours.encode(text)], await theirIds(theirs, text), JSON.stringify(text))
    }), { numRuns: 150 })
    assert.is(ours.json(), json, "what was loaded is exported as it was")
  }
})

test("tokenizer.json: what is not supported is said", () => {
  const why = (json: string) => told(loadTokenizer(json)).replace("SLM3132 tokenizer.json is not supported: ", "")
  assert.is(why("{"), "SLM3132 tokenizer.json is not JSON")
  assert.is(why("[]"), "it has no `model`")
  assert.is(why(variant((f) => { f.model["type"] = "Unigram" })), "its model is Unigram")
  assert.is(why(variant((f) => { f.model["byte_fallback"] = true })), "its model falls back to bytes, as SentencePiece does")
  assert.is(why(variant((f) => { f["normalizer"] = { type: "Lowercase" } })), "its normalizer is not NFC")
  assert.is(why(variant((f) => { f["pre_tokenizer"] = { type: "Metaspace" } })), "its pre-tokenizer is not known")
  assert.is(why(variant((f) => { f.model["merges"] = ["q z", "nope"] })).slice(0, 7), "merge 1")
  assert.is(why(variant((f) => { f["added_tokens"] = [] })), "no control token ends a text")
  assert.is(expectGood(loadTokenizer(words.json(), { endOfText: "<|npc|>" }), "test").endOfText, 1)
  assert.is(fromRustPattern("a(?i:x)"), null)
  assert.is(fromRustPattern("\\p{L}++"), null)
})

test("tokenizer.json: mutations never throw", () => {
  const small = expectGood(bpeTokenizer(rowsOf(["abab abab"]), { size: 260 }), "test").tokenizer.json().replace(/\n\s*/g, "")
  const broken = fc.tuple(fc.nat(small.length - 1), fc.nat(30), fc.constantFrom("", "null", "{}", "[]", "0", "\"\"", "-1", "1e9", "true")).map(([at, n, put]) => small.slice(0, at) + put + small.slice(at + n))
  const file = JSON.parse(small) as object
  const typed = fc.constantFrom("added_tokens", "normalizer", "pre_tokenizer", "decoder", "model").chain((key) => fc.json().map((value) => JSON.stringify({ ...file, [key]: JSON.parse(value) as unknown })))
  fc.assert(fc.property(fc.oneof(broken, typed, fc.json()), (json) => {
    const loaded = loadTokenizer(json)
    if (loaded.ok) useAll(loaded.value)
  }), { numRuns: 1000 })
})

function useAll(tokenizer: Tokenizer): void {
  tokenizer.decode(tokenizer.encode("ab <|endoftext|> é"))
  assert.ok(tokenizer.endOfText >= 0 && tokenizer.endOfText < tokenizer.size)
}

test.run()
