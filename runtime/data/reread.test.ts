import { test } from "uvu"
import * as assert from "uvu/assert"
import { encode } from "./encode.ts"
import { pack, type PackedRows } from "./pack.ts"
import { reread, type Reread } from "./reread.ts"
import { expectGood } from "./result.ts"
import { rowsOf, told } from "./testing.ts"
import { byteTokenizer, bpeTokenizer, charTokenizer } from "./tokenizers.ts"
import type { Tokenizer } from "./tokenizer.ts"

const texts = ["The whale, the white whale! Über allen Gipfeln", "a", "the ship sails 123 over the waves — 鲸鱼 and the sea", "whales whaling whaled the while", "🐋🐋 sea"]
const byte = expectGood(byteTokenizer(), "test")
const bpe = (learned: readonly string[], size: number): Tokenizer => expectGood(bpeTokenizer(rowsOf([...learned]), { size }), "test").tokenizer
const [fine, coarse] = [bpe(["the sea the ship sails over"], 275), bpe([...texts, ...texts], 330)]
const packed = (tokenizer: Tokenizer, length: number, documents: "apart" | "joined" | "alone", rows = texts): PackedRows =>
  expectGood(pack(expectGood(encode(rowsOf([...rows]), tokenizer), "test"), { length, documents }), "test")

/** Bytes of a row up to and with column `to`, from the first column of the same document on. */
function read(tokenizer: Tokenizer, tokens: Int32Array, segments: Int32Array, from: number, to: number, joined: boolean): string {
  let begin = to
  while (begin > from && (joined ? tokens[begin - 1] !== tokenizer.endOfText : segments[begin - 1] === segments[to])) begin--
  return Buffer.from(tokenizer.decodeBytes(tokens.subarray(begin, to + 1))).toString("hex")
}

function check(own: Tokenizer, other: Tokenizer, length: number, wide: number, documents: "apart" | "joined" | "alone"): Reread {
  const rows = packed(own, length, documents)
  const found = expectGood(reread(rows, own, other, wide, 0), "test")
  for (let r = 0; r < rows.rows; r++) {
    const mine = rows.get(r)
    for (let i = 0; i < length; i++) {
      const j = found.match[r * length + i] ?? -1
      if (j < 0) continue
      const [here, there] = [read(own, mine.tokens, mine.segments, 0, i, documents === "joined"), read(other, found.tokens, found.segments, r * (wide + 1), r * (wide + 1) + j, documents === "joined")]
      // The beginning of a row may lie inside of a token of the other.
      assert.ok(here.endsWith(there), `${here} and ${there}`)
      assert.is(mine.segments[i], found.segments[r * (wide + 1) + j])
      if (documents === "alone") assert.is(here, there)
    }
  }
  return found
}

test("behind a place and its match lies the same text", () => {
  for (const [own, other] of [[fine, coarse], [coarse, fine], [byte, coarse], [coarse, byte], [fine, byte]] as const) {
    for (const documents of ["apart", "joined", "alone"] as const) assert.ok(check(own, other, 12, 60, documents).matched > 0)
  }
})

test("all places where both end a token are found", () => {
  const ends = (tokenizer: Tokenizer): ReadonlySet<number> => {
    let at = 0
    return new Set([...tokenizer.encode(texts[0] ?? "")].map((id) => (at += tokenizer.tokenBytes(id).length)))
  }
  const both = [...ends(fine)].filter((at) => ends(coarse).has(at))
  const found = expectGood(reread(packed(fine, 60, "alone", texts.slice(0, 1)), fine, coarse, 60, 0), "test")
  // The last token stands before the end of text, which is a place of its own.
  assert.is([...found.match].filter((j) => j >= 0).length, both.length + 1)
  assert.is(found.left, 0)
  // Every byte is a token of `byte`: each token of the other ends at one.
  const all = expectGood(reread(packed(coarse, 40, "alone", texts.slice(0, 1)), coarse, byte, 80, 1), "test")
  assert.is(all.matched, all.targets)
})

test("rows of the other tokenizer are as `pack` would lay them out", () => {
  const found = check(fine, coarse, 200, 200, "apart")
  const wanted = packed(coarse, 200, "apart").get(0)
  for (const name of ["tokens", "segments", "positions", "counts"] as const) assert.equal([...found[name].subarray(0, 201)].slice(0, 150), [...wanted[name]].slice(0, 150), name)
})

test("shortened documents end in both; what does not fit is counted", () => {
  const rows = packed(coarse, 6, "alone")
  assert.ok(expectGood(reread(rows, coarse, fine, 3, 0), "test").left > 0)
  const whole = expectGood(reread(rows, coarse, fine, 60, 0), "test")
  assert.is(whole.left, 0)
  assert.is([...whole.tokens].filter((id, i) => id === fine.endOfText && whole.segments[i] === 0).length, texts.length)
})

test("tokenizers that do not meet", () => {
  const letters = expectGood(charTokenizer(rowsOf(["xyz"])), "test").tokenizer
  assert.is(told(reread(packed(letters, 8, "alone", ["hello"]), letters, coarse, 8, 0)), "SLM3146 nowhere do tokens of both tokenizers end at the same byte")
  assert.match(told(reread(packed(fine, 40, "alone"), fine, byte, 8, 0.9)), /^SLM3146 only at \d+% of the targets do tokens of both tokenizers end at the same byte; \d+ tokens found no place in rows of 8$/)
})

test.run()
