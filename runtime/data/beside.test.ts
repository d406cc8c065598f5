import { test } from "uvu"
import * as assert from "uvu/assert"
import { createLoader } from "./batches.ts"
import { notedRow, otherRows, withBeside } from "./beside.ts"
import { encode } from "./encode.ts"
import { pack, takePacked, type PackedRows } from "./pack.ts"
import { expectGood } from "./result.ts"
import { rowsOf, told } from "./testing.ts"
import { byteTokenizer } from "./tokenizers.ts"

const bytes = expectGood(byteTokenizer(), "test")
const alone = (texts: readonly string[], length = 4): PackedRows => expectGood(pack(expectGood(encode(rowsOf([...texts]), bytes), "test"), { length, documents: "alone" }), "test")
const rows = alone(["ab", "cd", "ef"])
const noted = { name: "said", rows: 3, beside: new Map([["score", notedRow({ dtype: "f32", stored: "f32", shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) })]]) }

test("what stands beside a row goes where the row goes; padding has zeros", () => {
  const found = expectGood(withBeside(rows, [noted]), "test")
  const shuffled = createLoader({ source: found, seed: 3, batch: 3 }).batch(0)
  const first = Array.from({ length: 3 }, (_, i) => (shuffled["tokens"]?.data[i * 5] ?? 0))
  const at = first.map((id) => rows.get(0).tokens[0] === id ? 0 : rows.get(1).tokens[0] === id ? 1 : 2)
  assert.equal([...(shuffled["beside.said.score"]?.data ?? [])], at.flatMap((row) => [2 * row + 1, 2 * row + 2]))
  const sequential = createLoader({ source: takePacked(found, 2), seed: 0, batch: 4, order: "sequential" }).batch(0)
  assert.equal(sequential["beside.said.score"]?.shape, [4, 2])
  assert.equal([...(sequential["beside.said.score"]?.data ?? [])], [1, 2, 3, 4, 0, 0, 0, 0])
})

test("other rows stand beside rows with all that they have", () => {
  const other = alone(["x", "yyyy", "zz"])
  const found = expectGood(withBeside(rows, [{ name: "other", rows: other.rows, beside: otherRows(other) }]), "test")
  const batch = createLoader({ source: found, seed: 0, batch: 4, order: "sequential" }).batch(0)
  const plain = createLoader({ source: other, seed: 0, batch: 4, order: "sequential" }).batch(0)
  for (const name of ["tokens", "segments", "positions", "counts"] as const) assert.equal(batch[`beside.other.${name}`], plain[name])
})

test("rows that are not as many", () => {
  assert.is(told(withBeside(alone(["ab"]), [noted])), "SLM3145 `said` has 3 rows, and 1 stand beside it")
})

test("documents in rows of their own have no windows", () => {
  const set = expectGood(encode(rowsOf(["ab"]), bytes), "test")
  assert.is(told(pack(set, { length: 4, documents: "alone", windows: "random" })), "SLM3141 documents in rows of their own have no windows")
})

test.run()
