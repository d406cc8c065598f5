import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { expectGood } from "../data/result.ts"
import { byteTokenizer } from "../data/tokenizers.ts"
import { firstStop, streamText } from "./stream.ts"

const bytes = expectGood(byteTokenizer(), "bytes")

function pieces(ids: readonly number[], stops: readonly string[] = []): readonly string[] {
  const told: string[] = []
  const stream = streamText(bytes, stops, (piece) => told.push(piece))
  for (const id of ids) stream.add(id)
  stream.end()
  return told
}

test("a character is told when it is whole, a stop text and its beginnings are not", () => {
  assert.equal(pieces([...bytes.encode("né🐳!")]), ["n", "é", "🐳", "!"])
  assert.equal(pieces([...bytes.encode("a\nB: no")], ["\nB:"]), ["a"])
  assert.equal(pieces([...bytes.encode("a\nBe")], ["\nB:"]), ["a", "\nBe"])
  assert.equal(pieces([...bytes.encode("a\nB")], ["\nB:"]), ["a", "\nB"])
})

test("joined pieces are the text before the first stop text, whatever the bytes", () => {
  const id = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...bytes.encode("ab"), ...bytes.encode("é🐳")))
  fc.assert(fc.property(fc.array(id, { maxLength: 40 }), fc.array(fc.constantFrom("ab", "a", "ba", "bb", "é"), { maxLength: 2 }), (ids, stops) => {
    const text = bytes.decode(ids)
    assert.is(pieces(ids, stops).join(""), text.slice(0, firstStop(text, stops) ?? text.length))
  }), { numRuns: 1000 })
})

test.run()
