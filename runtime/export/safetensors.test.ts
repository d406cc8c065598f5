import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { parseHeader, parseSafetensors, writeSafetensors } from "./safetensors.ts"
import type { FileTensor } from "./safetensors.ts"
import { expectFine } from "./testing.ts"

const some: readonly FileTensor[] = [
  { name: "bytes", dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 255) },
  { name: "a.weight", dtype: "F32", shape: [2, 2], data: Float32Array.of(1, -0, 3.5, 1e-42) },
  { name: "h", dtype: "F16", shape: [1, 3], data: Uint16Array.of(0x3c00, 0xbc00, 0x7bff) },
  { name: "q", dtype: "I8", shape: [2], data: Int8Array.of(-128, 127) },
  { name: "empty", dtype: "F32", shape: [0, 4], data: new Float32Array(0) },
  { name: "i", dtype: "I32", shape: [], data: Int32Array.of(-7) },
]

/** The format as its specification describes it, read without our reader. */
function independent(bytes: Uint8Array): { readonly start: number; readonly entries: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[]; readonly bytes: Buffer }> } {
  const file = Buffer.from(bytes)
  const length = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString("utf8", 8, 8 + length)) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, { dtype, shape, data_offsets: [from, to] }]) =>
    [name, { dtype, shape, bytes: file.subarray(8 + length + from, 8 + length + to) }] as const)
  return { start: 8 + length, entries: new Map(entries) }
}

test("an independent reader finds every number where the header says", () => {
  const { start, entries } = independent(writeSafetensors(some, new Map([["format", "pt"]])))
  assert.is(start % 8, 0)
  assert.is(entries.size, some.length)
  assert.is(entries.get("a.weight")!.bytes.readFloatLE(8), 3.5)
  assert.is(entries.get("h")!.bytes.readUInt16LE(4), 0x7bff)
  assert.is(entries.get("i")!.bytes.readInt32LE(0), -7)
  assert.equal(entries.get("i")!.shape, [])
  assert.equal([...entries.get("q")!.bytes], [128, 127])
})

test("what is written is read back bit for bit", () => {
  const file = expectFine(parseSafetensors(writeSafetensors(some, new Map([["k", "value \"quoted\""]]))))
  assert.is(file.metadata.get("k"), "value \"quoted\"")
  for (const tensor of some) {
    const read = file.tensors.find(({ name }) => name === tensor.name)
    assert.equal(read, tensor)
  }
  assert.ok(Object.is(file.tensors.find(({ name }) => name === "a.weight")!.data[1], -0))
})

test("a Buffer in the middle of a pool is read like any bytes", () => {
  const file = Buffer.from(Buffer.concat([Buffer.alloc(3), writeSafetensors(some)])).subarray(3)
  const read = expectFine(parseSafetensors(file)).tensors.find(({ name }) => name === "a.weight")
  assert.equal(read, some[1])
})

test("the same tensors make the same bytes in any order", () => {
  assert.equal(writeSafetensors([...some].reverse()), writeSafetensors(some))
})

test("a name that JSON treats specially is an ordinary name", () => {
  const odd: FileTensor = { name: "__proto__", dtype: "F32", shape: [1], data: Float32Array.of(2) }
  assert.equal(expectFine(parseSafetensors(writeSafetensors([odd]))).tensors, [odd])
})

test("lying headers are refused with what is wrong", () => {
  const says = (header: unknown, data = 8): string => {
    const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header))
    const bytes = new Uint8Array(8 + text.length + data)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
    bytes.set(text, 8)
    const result = parseSafetensors(bytes)
    return result.ok ? "fine" : `${result.problems[0]!.code} ${result.problems[0]!.message.replace("this is not a safetensors file: ", "")}`
  }
  const f32 = (shape: unknown, from: unknown, to: unknown) => ({ dtype: "F32", shape, data_offsets: [from, to] })
  assert.is(says({ a: f32([2], 0, 8) }), "fine")
  assert.is(says({ a: f32([2], 0, 12) }, 12), "SLM3208 `a` takes 12 bytes where F32 [2] takes 8")
  assert.is(says({ a: f32([1], 0, 4), b: f32([2], 0, 8) }), "SLM3208 `b` overlaps another tensor")
  assert.is(says({ a: f32([1], 4, 8) }), "SLM3208 there is a gap before `a`")
  assert.is(says({ a: f32([1], 0, 4) }), "SLM3208 there are 4 bytes after its last tensor")
  assert.is(says({ a: f32([3], 0, 12) }), "SLM3208 its tensors take 75 bytes and the file has 71")
  assert.is(says({ a: f32([-1], 0, 8) }), "SLM3208 `a` has the shape [-1]")
  assert.is(says({ a: f32([2 ** 40, 2 ** 40], 0, 8) }), "SLM3208 `a` has the shape [1099511627776,1099511627776]")
  assert.is(says({ a: f32("x", 0, 8) }), "SLM3208 `a` has the shape \"x\"")
  assert.is(says({ a: f32([2], 0, 8.5) }), "SLM3208 `a` has no place")
  assert.is(says({ a: { dtype: "F33", shape: [2], data_offsets: [0, 8] } }), "SLM3208 `a` has the unknown type \"F33\"")
  assert.is(says({ a: { dtype: "F64", shape: [1], data_offsets: [0, 8] } }), "SLM3208 `a` has type F64, which slm does not read")
  assert.is(says({ a: 1 }), "SLM3208 `a` has no type, shape or place")
  assert.is(says({ __metadata__: { k: 1 } }), "SLM3208 metadata `k` is not a text")
  assert.is(says("[]"), "SLM3208 the header is not an object")
  assert.is(says("{"), "SLM3208 the header is not JSON")
  assert.is(says("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}"), "SLM3208 there is a gap before `a`")
})

test("a header longer than its file is not allocated", () => {
  const bytes = new Uint8Array(16)
  new DataView(bytes.buffer).setBigUint64(0, 2n ** 63n, true)
  const result = parseHeader(bytes, 16)
  assert.is(result.ok ? "" : result.problems[0]!.message, "this is not a safetensors file: it announces a header of 9223372036854775808 bytes")
})

test("cut or changed files never throw", () => {
  const whole = writeSafetensors(some)
  fc.assert(fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, value, cut) => {
    const bytes = cut ? whole.slice(0, at) : whole.slice()
    if (!cut) bytes[at] = value
    const result = parseSafetensors(bytes)
    if (cut) assert.not(result.ok)
  }), { numRuns: 3000 })
})

test.run()
