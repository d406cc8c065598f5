/** encode, pack and difficulties. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { chat } from "./chat.ts"
import { byDifficulty, lengths, rarity } from "./difficulty.ts"
import { documents } from "./documents.ts"
import { documentCount, encode, takeDocuments, type TokenSet } from "./encode.ts"
import { pack, rowArrays, takePacked, targetBytes, type PackedRows } from "./pack.ts"
import { expectGood } from "./result.ts"
import { takeRows, type Column, type Rows } from "./rows.ts"
import { novel, rowsOf, textsOf, told } from "./testing.ts"
import { bpeTokenizer, byteTokenizer, charTokenizer } from "./tokenizers.ts"

const bytes = expectGood(byteTokenizer(), "test")

/** A token set whose tokens are all different, so that a place can be recognised: 100, 101, … */
function numbered(documentLengths: readonly number[], counts: Uint8Array | null = null, labels: Int32Array | null = null): TokenSet {
  const offsets = [0]
  for (const n of documentLengths) offsets.push((offsets.at(-1) ?? 0) + n)
  const tokens = Int32Array.from({ length: offsets.at(-1) ?? 0 }, (_, i) => 100 + i)
  return { tokens, offsets: Uint32Array.from(offsets), counts, labels, classes: labels === null ? null : ["a", "b"], endOfText: 7, chat: null, stats: { documents: documentLengths.length, tokens: 0, bytes: 0, unknown: 0, empty: 0, missingSpecial: [] } }
}

function show(packed: PackedRows): string {
  return Array.from({ length: packed.rows }, (_, r) => {
    const row = packed.get(r)
    return Array.from(row.tokens, (t, i) => `${t}${row.counts[i] === 1 ? "" : "*"}/${row.segments[i]}.${row.positions[i]}`).join(" ")
  }).join("\n")
}

test("encode: documents, ends, unknown tokens, empty rows", () => {
  const rows = rowsOf(["ab", "", "caé"])
  const set = expectGood(encode(rows, expectGood(charTokenizer(rowsOf(["abc"])), "test").tokenizer), "test")
  assert.equal([...set.tokens], [2, 3, 0, 4, 2, 1, 0])
  assert.equal([...set.offsets], [0, 3, 7])
  assert.is(set.counts, null)
  assert.equal(set.stats, { documents: 2, tokens: 5, bytes: 6, unknown: 1, empty: 1, missingSpecial: [] })
  assert.is(told(encode(rowsOf(["", ""]), bytes)), "SLM3133 the 2 rows have no text to encode")
})

test("encode: labels follow their documents", () => {
  const label: Column = { is: "class", classes: ["x", "y"], values: Int32Array.of(1, 0, 1) }
  const set = expectGood(encode(rowsOf(["a", "", "b"], { label }), bytes), "test")
  assert.equal(set.labels, Int32Array.of(1, 1))
  assert.equal(set.classes, ["x", "y"])
  assert.is(expectGood(encode(rowsOf(["a", "b", "c"], { label }), bytes, { label: null }), "test").labels, null)
  assert.is(told(encode(rowsOf(["a"]), bytes, { label: "mood" })), "SLM3123 there is no column of classes `mood`")
})

const talk: Rows = {
  ...rowsOf([""]),
  columns: new Map<string, Column>([["m", { is: "chat", values: [[
    { role: "system", content: "say <|im_end|>" }, { role: "user", content: "hi" }, { role: "assistant", content: "yo" }, { role: "user", content: "so" }, { role: "assistant", content: "" },
  ]] }]]),
}

test("encode: of a conversation exactly the answers and their ends count", () => {
  const rendered = expectGood(chat(talk), "test").value
  for (const tokenizer of [expectGood(bpeTokenizer(rendered, { size: 300 }), "test").tokenizer, expectGood(byteTokenizer({ special: ["<|im_start|>", "<|im_end|>"] }), "test")]) {
    const set = expectGood(encode(rendered, tokenizer), "test")
    const counted = [...set.tokens].filter((_, i) => set.counts?.[i] === 1)
    assert.is(tokenizer.decode(counted), "yo<|im_end|><|im_end|>")
    assert.is(tokenizer.decode(set.tokens), `${textsOf(rendered)[0]}<|endoftext|>`)
    assert.equal(set.chat, { template: "chatml", system: null })
    const endOfTurn = tokenizer.special.find((t) => t.text === "<|im_end|>")?.id
    assert.is([...set.tokens].filter((id) => id === endOfTurn).length, 5, "what the system message quotes is plain text")
  }
  assert.equal(expectGood(encode(rendered, bytes), "test").stats.missingSpecial, ["<|im_start|>", "<|im_end|>"])
  assert.is(told(encode(talk, bytes)), "SLM3124 conversations have no text yet")
})

test("encode: pieces of a conversation are cut where the whole text would be", () => {
  const rendered = expectGood(chat({ ...talk, columns: new Map<string, Column>([["m", { is: "chat", values: [[{ role: "user", content: "what's  up\n\nthere? 42" }, { role: "assistant", content: "'s not  much, 1 thing" }]] }]]) }), "test").value
  const { tokenizer } = expectGood(bpeTokenizer(rendered, { size: 290 }), "test")
  const set = expectGood(encode(rendered, tokenizer), "test")
  assert.equal([...set.tokens.subarray(0, -1)], [...tokenizer.encode(textsOf(rendered)[0] ?? "")])
})

test("pack apart: documents keep to themselves, rows overlap by one", () => {
  const packed = expectGood(pack(numbered([3, 2, 4]), { length: 3 }), "test")
  assert.is(show(packed), [
    "100*/0.0 101/0.1 102/0.2 103*/1.0",
    "103*/0.0 104/0.1 105*/1.0 106/1.1",
    "106*/0.0 107/0.1 108/0.2 7*/-1.0",
  ].join("\n"))
  assert.equal(packed.stats, { rows: 3, targets: 6, padding: 1, withoutTargets: 0, cutDocuments: 1, truncatedDocuments: 0, truncatedTokens: 0 })
})

test("pack joined: one stream", () => {
  const packed = expectGood(pack(numbered([3, 2, 4]), { length: 4, documents: "joined" }), "test")
  assert.is(show(packed), "100*/0.0 101/0.1 102/0.2 103/0.3 104/0.4\n104*/0.0 105/0.1 106/0.2 107/0.3 108/0.4")
})

test("pack with labels: one document per row, shortened ones still end", () => {
  const packed = expectGood(pack(numbered([2, 6, 4], null, Int32Array.of(1, 0, 1)), { length: 3 }), "test")
  assert.is(show(packed), [
    "100*/0.0 101/0.1 7*/-1.0 7*/-1.0",
    "102*/0.0 103/0.1 104/0.2 107/0.3",
    "108*/0.0 109/0.1 110/0.2 111/0.3",
  ].join("\n"))
  assert.equal([0, 1, 2, 3].map((r) => packed.label(r)), [1, 0, 1, -1])
  assert.equal(packed.stats, { rows: 3, targets: 7, padding: 2, withoutTargets: 0, cutDocuments: 0, truncatedDocuments: 1, truncatedTokens: 2 })
  assert.is(told(pack(numbered([2, 2], null, Int32Array.of(0, 1)), { length: 3, documents: "joined" })), "SLM3141 documents with a class cannot be joined")
})

test("pack: what cannot be packed", () => {
  for (const length of [0, -1, 1.5, NaN]) assert.is(told(pack(numbered([3]), { length })), `SLM3141 a row of ${length} predictions cannot be packed`)
  assert.is(told(pack(numbered([1]), { length: 4 })), "SLM3141 the data has no token to predict")
})

const shapes = fc.record({ documents: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }), length: fc.integer({ min: 1, max: 7 }), mask: fc.infiniteStream(fc.boolean()) })

test("packing covers every target exactly once and loses nothing", () => {
  fc.assert(fc.property(shapes, fc.constantFrom("apart" as const, "joined" as const), fc.boolean(), ({ documents: sizes, length, mask }, layout, masked) => {
    const plain = numbered(sizes)
    if (plain.tokens.length < 2) return
    const counts = masked ? Uint8Array.from(plain.tokens, () => (mask.next().value === true ? 1 : 0)) : null
    const set = { ...plain, counts }
    const packed = expectGood(pack(set, { length, documents: layout }), "test")
    const seen = new Map<number, number>()
    const present = new Set<number>()
    let padding = 0
    for (let r = 0; r < packed.rows; r++) {
      const row = packed.get(r)
      assert.is(row.tokens.length, length + 1)
      for (let i = 0; i <= length; i++) {
        const token = row.tokens[i] ?? 0
        if ((row.segments[i] ?? 0) < 0) { padding++; assert.equal([token, row.counts[i], row.positions[i]], [7, 0, 0]); continue }
        present.add(token)
        if (row.counts[i] === 1) seen.set(token, (seen.get(token) ?? 0) + 1)
        if (row.counts[i] === 1) assert.is(row.segments[i], row.segments[i - 1], "a target is predicted from its own document")
        if (i > 0 && row.segments[i] === row.segments[i - 1]) assert.is(row.positions[i], (row.positions[i - 1] ?? 0) + 1)
        else assert.is(row.positions[i], 0)
        assert.ok((row.positions[i] ?? 0) <= length, "positions stay below the context")
      }
    }
    const starts = new Set(layout === "joined" ? [0] : set.offsets.slice(0, -1))
    const expected = [...set.tokens].filter((_, i) => !starts.has(i) && (counts === null || counts[i] === 1))
    assert.equal([...seen].sort((a, b) => a[0] - b[0]), expected.map((t) => [t, 1]))
    assert.is(present.size, set.tokens.length)
    assert.is(packed.stats.targets, expected.length)
    assert.is(packed.stats.padding, padding)
    assert.is(packed.targetsOf.reduce((a, b) => a + b, 0), expected.length)
  }), { numRuns: 400 })
})

test("take: the first rows of the same packing, with the statistics of what is left", () => {
  fc.assert(fc.property(shapes, fc.nat(20), fc.constantFrom("apart" as const, "joined" as const, "labels" as const), ({ documents: sizes, length }, count, layout) => {
    const set = numbered(sizes, null, layout === "labels" ? Int32Array.from(sizes, (_, i) => i % 2) : null)
    if (set.tokens.length < 2) return
    const packed = expectGood(pack(set, { length, ...(layout === "labels" ? {} : { documents: layout }) }), "test")
    const taken = takePacked(packed, count)
    assert.is(taken.rows, Math.min(count, packed.rows))
    assert.is(show(taken), show(packed).split("\n").slice(0, taken.rows).join("\n"))
    assert.is(taken.stats.targets, taken.targetsOf.reduce((a, b) => a + b, 0))
  }), { numRuns: 200 })
  const first = takeDocuments(numbered([3, 2, 4]), 2)
  assert.equal([documentCount(first), [...first.tokens]], [2, [100, 101, 102, 103, 104]])
})

test("a row outside the data is padding", () => {
  const packed = expectGood(pack(numbered([3, 3]), { length: 2 }), "test")
  for (const row of [-1, packed.rows, 1000]) {
    const into = rowArrays(5)
    packed.fill(row, into, 1)
    assert.equal([...into.tokens], [0, 7, 7, 7, 0])
    assert.equal([...into.segments], [0, -1, -1, -1, 0])
  }
})

test("difficulties: rare words and long rows are hard", () => {
  const rows = rowsOf(["aaaa", "aaab", "zqxj"])
  const packed = expectGood(pack(expectGood(encode(rows, bytes), "test"), { length: 5 }), "test")
  const [easy, middle, hard] = rarity(packed)
  assert.ok((easy ?? 0) < (middle ?? 0) && (middle ?? 0) < (hard ?? 0))
  assert.ok(Math.abs((hard ?? 0) - (4 * Math.log(15) + Math.log(5)) / 5) < 1e-12)
  assert.equal([...lengths(packed)], [...packed.targetsOf])
  assert.equal([...byDifficulty([2, 1, 2, 0])], [3, 1, 0, 2])
})

test("a novel: every byte is accounted for", () => {
  const rows = takeRows(expectGood(documents(novel()), "test").value, 500)
  const { tokenizer } = expectGood(bpeTokenizer(rows, { size: 512 }), "test")
  const set = expectGood(encode(rows, tokenizer), "test")
  assert.is(set.stats.bytes, textsOf(rows).reduce((n, t) => n + Buffer.byteLength(t), 0))
  const joined = expectGood(pack(set, { length: 64, documents: "joined" }), "test")
  assert.is(targetBytes(joined, tokenizer), set.stats.bytes - tokenizer.tokenBytes(set.tokens[0] ?? 0).length)
  assert.is(joined.stats.targets, set.tokens.length - 1)
})

test.run()
