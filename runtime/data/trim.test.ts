import * as native from "tokenizers"
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { documents } from "./documents.ts"
import { expectGood } from "./result.ts"
import { takeRows } from "./rows.ts"
import { novel, textsOf } from "./testing.ts"
import { loadTokenizer } from "./tokenizer-json.ts"
import { bpeTokenizer, charTokenizer } from "./tokenizers.ts"
import { trimTokenizer } from "./trim.ts"

const chapters = takeRows(expectGood(documents(novel()), "test").value, 400)
const words = expectGood(bpeTokenizer(chapters, { size: 700, special: ["<|npc|>"] }), "test").tokenizer
const letters = expectGood(charTokenizer(chapters), "test").tokenizer
const texts = textsOf(chapters).filter((text) => text.length > 40)

/** As Llama 3's: words that are entries are taken whole, and of some of them no merge says how. */
function wholeWords(): typeof words {
  const file = JSON.parse(words.json()) as { model: { ignore_merges: boolean; merges: unknown[] } }
  file.model.ignore_merges = true
  file.model.merges = file.model.merges.slice(0, -120)
  return expectGood(loadTokenizer(JSON.stringify(file)), "test")
}

for (const [name, whole] of [["bpe", words], ["bpe with whole words", wholeWords()], ["char", letters]] as const) {
  test(`${name}: what was seen encodes as before, entry by entry, here and in the library that opens the file; other text still has tokens`, async () => {
    await fc.assert(fc.asyncProperty(fc.uniqueArray(fc.nat(texts.length - 1), { minLength: 1, maxLength: 5 }), fc.string({ unit: "grapheme", maxLength: 20 }), async (chosen, other) => {
      const seen = chosen.map((i) => texts[i] ?? "")
      const { tokenizer, ids } = expectGood(trimTokenizer(whole, new Set(seen.flatMap((text) => [...whole.encode(text)]))), "test")
      assert.ok(tokenizer.size < whole.size && tokenizer.size === ids.length)
      const theirs = native.Tokenizer.fromString(tokenizer.json())
      assert.is(theirs.getVocabSize(), tokenizer.size)
      for (const text of seen) {
        const now = [...tokenizer.encode(text)]
        assert.equal(now.map((id) => ids[id]), [...whole.encode(text)])
        assert.equal((await theirs.encode(text, null, { addSpecialTokens: false })).getIds(), now)
      }
      for (const [id, before] of ids.entries()) assert.equal(tokenizer.tokenBytes(id), whole.tokenBytes(before))
      assert.equal(tokenizer.special.map(({ text, id }) => [text, ids[id]]), whole.special.map(({ text, id }) => [text, id]))
      if (name !== "char") assert.is(tokenizer.decode(tokenizer.encode(other)), other)
      assert.equal((await theirs.encode(other, null, { addSpecialTokens: false })).getIds(), [...tokenizer.encode(other)])
    }), { numRuns: 12 })
  })
}

test("a vocabulary of which all is used stays as it is", () => {
  const { tokenizer, ids } = expectGood(trimTokenizer(words, Array.from({ length: words.size }, (_, id) => id)), "test")
  assert.is(tokenizer.size, words.size)
  assert.equal([...ids], Array.from({ length: words.size }, (_, id) => id))
  assert.equal([...tokenizer.encode(texts[3] ?? "")], [...words.encode(texts[3] ?? "")])
})

test.run()
