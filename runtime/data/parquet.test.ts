import * as fs from "node:fs"
import { gzipSync } from "node:zlib"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { parquetWriteBuffer, type ColumnSource } from "hyparquet-writer"
import type { Fields } from "./fields.ts"
import { readParquet } from "./parquet.ts"
import { readJsonl } from "./read.ts"
import { expectGood } from "./result.ts"
import { snappyDecoded } from "./snappy.ts"
import { inputs, told } from "./testing.ts"

const fields: Fields = new Map([["text", "string"], ["stars", "int"], ["score", "float"], ["kind", "class"]])
const texts = ["Call me Ishmael.", "ſome years ago —", "never mind how long", "鲸鱼", ""]
const columns: ColumnSource[] = [
  { name: "text", data: texts, type: "STRING" },
  { name: "stars", data: [1n, 5n, 3n, -2n, 4n], type: "INT64" },
  { name: "other", data: [1, 2, 3, 4, 5], type: "INT32" },
  { name: "score", data: [0.5, 1, -2.25, 1e9, 0], type: "DOUBLE" },
  { name: "kind", data: ["b", "a", "b", "c", "a"], type: "STRING" },
]
const free = { fields, demand: () => {} }
const bytesOf = (data: ArrayBuffer): Uint8Array => new Uint8Array(data)

test("typed rows, the same as of JSON lines, compressed or not, in one row group or several", async () => {
  const lines = texts.map((text, i) => JSON.stringify({ text, stars: [1, 5, 3, -2, 4][i], score: [0.5, 1, -2.25, 1e9, 0][i], kind: ["b", "a", "b", "c", "a"][i] })).join("\n")
  const wanted = expectGood(readJsonl(inputs({ "a.jsonl": lines }), { fields }), "test")
  for (const codec of ["UNCOMPRESSED", "SNAPPY", "GZIP"] as const) for (const rowGroupSize of [2, 100]) {
    const file = bytesOf(parquetWriteBuffer({ columnData: columns, codec, rowGroupSize, compressors: { GZIP: (input) => new Uint8Array(gzipSync(input)) } }))
    const rows = expectGood(await readParquet(inputs({ "a.parquet": file }), free), `${codec} ${rowGroupSize}`)
    assert.equal([...rows.columns], [...wanted.columns], `${codec} ${rowGroupSize}`)
    assert.equal([...rows.places.line], [1, 2, 3, 4, 5])
  }
})

test("messages, and several files", async () => {
  const messages = [[{ role: "user", content: "Who?" }, { role: "assistant", content: "Ishmael." }], [{ role: "user", content: "Where?" }]]
  const file = bytesOf(parquetWriteBuffer({ columnData: [{ name: "messages", data: messages.map((m) => JSON.stringify(m)), type: "STRING" }] }))
  const rows = await readParquet(inputs({ "a.parquet": file, "b.parquet": file }), { fields: new Map([["messages", "string"]]), demand: () => {} })
  assert.is(expectGood(rows, "test").count, 4)
  const json = bytesOf(parquetWriteBuffer({ columnData: [{ name: "messages", data: messages, type: "JSON" }] }))
  const talks = expectGood(await readParquet(inputs({ "c.parquet": json }), { fields: new Map([["messages", "chat"]]), demand: () => {} }), "test")
  const column = talks.columns.get("messages")
  assert.equal(column?.is === "chat" ? column.values : null, messages)
})

test("what does not fit is told with its row", async () => {
  const file = inputs({ "a.parquet": bytesOf(parquetWriteBuffer({ columnData: [{ name: "text", data: ["one", null, "three"], type: "STRING", nullable: true }] })) })
  assert.is(told(await readParquet(file, { fields: new Map([["text", "string"]]), demand: () => {} })), "SLM3115 a.parquet:2:- `text` should be a string, not null")
  assert.is(told(await readParquet(file, { fields: new Map([["body", "string"]]), demand: () => {} })), "SLM3114 `a.parquet` has no column `body`")
  const raw = inputs({ "b.parquet": bytesOf(parquetWriteBuffer({ columnData: [{ name: "text", data: [Uint8Array.of(0xff, 0xfe)], type: "BYTE_ARRAY" }] })) })
  assert.is(told(await readParquet(raw, { fields: new Map([["text", "string"]]), demand: () => {} })), "SLM3118 `b.parquet` cannot be read as Parquet: a column of text holds bytes that are not UTF-8")
  assert.match(told(await readParquet(inputs({ "c.parquet": "PAR1 nothing PAR1" }), free)), /^SLM3118 `c.parquet` cannot be read as Parquet: /)
  assert.match(told(await readParquet(inputs({ "d.parquet": "" }), free)), /^SLM3118/)
})

test("memory is asked for before it is taken", async () => {
  const asked: number[] = []
  const file = inputs({ "a.parquet": bytesOf(parquetWriteBuffer({ columnData: [{ name: "text", data: Array.from({ length: 20_000 }, () => "the same long text ".repeat(20)), type: "STRING" }], codec: "SNAPPY" })) })
  class TooMuch extends Error {}
  const demand = (bytes: number): void => {
    asked.push(bytes)
    if (bytes > 1000) throw new TooMuch()
  }
  try {
    await readParquet(file, { fields: new Map([["text", "string"]]), demand })
    assert.unreachable()
  } catch (error) {
    assert.instance(error, TooMuch)
  }
  assert.equal(asked.length, 1, "the first that is too much is the last")
})

test("damaged files are a diagnostic or read, in no time, and never an error of another kind", async () => {
  const whole = bytesOf(parquetWriteBuffer({ columnData: columns, codec: "SNAPPY", rowGroupSize: 3 }))
  const [input] = inputs({ "x.parquet": whole })
  if (input === undefined) throw new Error("no input")
  const started = process.cpuUsage().user
  let [failed, read] = [0, 0]
  let state = 12345
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const limit = (bytes: number): void => {
    if (!(bytes < 2 ** 28)) throw new Error("more than is allowed")
  }
  for (let run = 0; run < 1200; run++) {
    const bytes = whole.slice()
    for (let n = 1 + random(3); n > 0; n--) bytes[random(bytes.length)] = random(3) === 0 ? 0xff : random(256)
    fs.writeFileSync(input.path, bytes)
    const result = await readParquet([input], { fields, demand: limit })
    if (result.ok) read++
    else {
      failed++
      assert.ok(result.failures.every(({ code }) => ["SLM3118", "SLM3114", "SLM3115", "SLM3116"].includes(code)), told(result))
    }
  }
  for (let length = 0; length < whole.length; length += 7) {
    fs.writeFileSync(input.path, whole.subarray(0, length))
    assert.not(
      (await readParquet([{ ...input, bytes: length }], { fields, demand: limit })).ok, `${length} bytes of ${whole.length}`,
    )
  }
  assert.ok(failed > 300 && read > 100, `${failed} failed, ${read} read`)
  assert.ok((process.cpuUsage().user - started) / 1e6 < 60)
})

test("Snappy that leads back, reaches before its beginning or beyond its end", () => {
  assert.equal([...snappyDecoded(Uint8Array.of(8, 4, 97, 98, 9, 2), 8)].map((c) => String.fromCharCode(c)).join(""), "abababab")
  const bad = [[6], [6, 0], [6, 4, 97], [6, 4, 97, 98, 17, 3], [2, 4, 97, 98, 0, 97], [6, 0xfc, 0xfa, 0xff, 0xff, 0xff, 97], [4, 4, 97, 98, 9, 2], [3, 8, 97, 98, 99, 100]]
  for (const bytes of bad) assert.throws(() => snappyDecoded(Uint8Array.from(bytes), bytes[0] ?? 0), /the compressed data/, bytes.join())
})

test.run()
