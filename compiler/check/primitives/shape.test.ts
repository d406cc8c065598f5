import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { dim, int, list, none, record, string, tensor } from "../make.ts"
import { symbol } from "../poly.ts"
import type { Value } from "../value.ts"
import { isMistake, parsePattern } from "./shape-pattern.ts"
import { callPrimitive, numbers, shapeOf, t, testContext, type TestContext } from "./tensor.fixture.ts"

const B = dim(symbol("B", "B", { rigid: true }))
const T = dim(symbol("T", "T", { rigid: true }))

function rearrange(x: Value, pattern: string, sizes: Readonly<Record<string, number>>, ctx: TestContext): Value {
  const span = { source: "r.slm", start: 100, end: 102 + pattern.length }
  const rest = record(Object.fromEntries(Object.entries(sizes).map(([k, n]) => [k, int(n)])))
  return callPrimitive("rearrange", { x, pattern: string(pattern), sizes: rest }, ctx, { pattern: span })
}

test("rearrange splits, merges, reorders, and makes axes of size one", () => {
  const ctx = testContext({ lower: true })
  const x = t([[1, 2, 3, 4], [5, 6, 7, 8]], ctx)
  assert.equal(numbers(rearrange(x, "a b -> b a", {}, ctx)), [1, 5, 2, 6, 3, 7, 4, 8])
  assert.is(shapeOf(rearrange(x, "t (h d) -> h t d", { h: 2 }, ctx), ctx), "f32[2, 2, 2]")
  assert.equal(numbers(rearrange(x, "t (h d) -> h t d", { h: 2 }, ctx)), [1, 2, 5, 6, 3, 4, 7, 8])
  assert.equal(numbers(rearrange(x, "t (h d) -> t (d h)", { d: 2 }, ctx)), [1, 3, 2, 4, 5, 7, 6, 8])
  assert.is(shapeOf(rearrange(x, "a b -> a 1 b ()", {}, ctx), ctx), "f32[2, 1, 4, 1]")
  assert.is(shapeOf(rearrange(x, "a b -> (a b)", {}, ctx), ctx), "f32[8]")
  assert.is(shapeOf(rearrange(t([[[7]]], ctx), "1 () a -> a", {}, ctx), ctx), "f32[1]")
  assert.is(shapeOf(rearrange(x, "... -> ... 1", {}, ctx), ctx), "f32[2, 4, 1]")
  assert.is(shapeOf(rearrange(x, "... b -> b ...", {}, ctx), ctx), "f32[4, 2]")
  assert.equal(ctx.reported, [])
})

test("rearrange keeps symbols and cancels them", () => {
  const ctx = testContext()
  const [heads, width] = [symbol("heads"), symbol("head_dim")]
  const x = tensor("f32", [B, T, dim(768)])
  const split = rearrange(x, "b t (h d) -> b h t d", { h: 12 }, ctx)
  assert.is(shapeOf(split, ctx), "f32[B, 12, T, 64]")
  const sizes = record({ h: int(heads), d: int(width) })
  const unknownSplit = callPrimitive("rearrange", { x: tensor("f32", [B, T, dim(symbol("dim"))]), pattern: string("b t (h d) -> b h t d"), sizes: record({ h: int(heads) }) }, ctx)
  const joined = rearrange(unknownSplit, "b h t d -> b t (h d)", {}, ctx)
  assert.is(shapeOf(joined, ctx), "f32[B, T, dim]")
  assert.is(shapeOf(callPrimitive("rearrange", { x, pattern: string("b t (h d) -> b h t d"), sizes }, ctx), ctx), "f32[B, heads, T, head_dim]")
})

test("rearrange undone is the identity", () => {
  const pieces = fc.shuffledSubarray(["a", "b", "c", "d"], { minLength: 4 })
  fc.assert(fc.property(pieces, fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })), fc.nat(3), (order, [a, b, c, d], cut) => {
    const ctx = testContext({ lower: true })
    const n = a * b * c * d
    const x = t(Array.from({ length: n }, (_, i) => i), ctx)
    const right = `(${order.slice(0, cut).join(" ")}) ${order.slice(cut).join(" ")}`
    const there = rearrange(x, `(a b c d) -> ${right}`, { a, b, c }, ctx)
    const back = rearrange(there, `${right} -> (a b c d)`, { a, b, c, d }, ctx)
    assert.equal(ctx.reported, [])
    assert.equal(numbers(back), Array.from({ length: n }, (_, i) => i))
  }), { numRuns: 100 })
})

const wrongPatterns: readonly (readonly [pattern: string, message: string, at: string])[] = [
  ["b t d", "the pattern has no `->`", "b t d"],
  ["b t -> t", "`b` is missing on the right", "b"],
  ["b t -> b t d", "`d` is missing on the left", "d"],
  ["b b -> b", "`b` occurs twice on one side", "b"],
  ["b (t -> b t", "this `(` is not closed", "("],
  ["b t) -> b t", "this `)` closes nothing", ")"],
  ["b ((t d)) -> b t d", "parentheses inside parentheses", "("],
  ["b 4 -> b 4", "a size cannot stand in the pattern", "4"],
  ["b (... d) -> b d", "`...` stands for whole axes and cannot be a factor", "..."],
  ["b, t -> t b", "`,` means nothing in a pattern", ","],
  ["b -> t -> b", "a second `->`", "->"],
]

test("mistakes point into the pattern", () => {
  for (const [pattern, message, at] of wrongPatterns) {
    const ctx = testContext()
    assert.is(rearrange(tensor("f32", [B, T]), pattern, {}, ctx).kind, "error")
    const d = ctx.reported[0]
    assert.is(d?.code, "SLM2109")
    assert.is(d?.message, message)
    assert.is(pattern.slice((d?.span.start ?? 0) - 101, (d?.span.end ?? 0) - 101), at)
  }
})

test("sizes that do not fit are named", () => {
  const messages = (pattern: string, sizes: Readonly<Record<string, number>>): readonly string[] => {
    const ctx = testContext()
    rearrange(tensor("f32", [B, T, dim(10)]), pattern, sizes, ctx)
    return ctx.reported.map((d) => `${d.code} ${d.message}`)
  }
  assert.equal(messages("b t (h d) -> b h t d", { h: 4 }), ["SLM2102 an axis of size 10 cannot be split into 4 equal parts"])
  assert.equal(messages("b t (h d) -> b h t d", {}), ["SLM2109 the axis of size 10 cannot be split into `h` and `d`"])
  assert.equal(messages("b t (h d) -> b h t d", { h: 2, d: 4 }), ["SLM2102 this axis of [B, T, 10] has size 10, not 8"])
  assert.equal(messages("b t d -> b t d", { x: 4 }), ["SLM2109 `x` is not an axis of the pattern"])
  assert.equal(messages("b t -> t b", {}), ["SLM2105 the pattern names 2 axes and the tensor has 3 axes, [B, T, 10]"])
})

test("patterns parse or are refused, whatever the text", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom("a", "b", " ", "(", ")", "1", "-", ">", ".", "...", "->", "é") }), (text) => {
    const parsed = parsePattern(text)
    if (isMistake(parsed)) assert.ok(parsed.start <= parsed.end && parsed.end <= text.length + 1)
  }), { numRuns: 500 })
})

test("slice takes places from either end", () => {
  const ctx = testContext({ lower: true })
  const x = t([[1, 2, 3, 4], [5, 6, 7, 8]], ctx)
  const slice = (from: number, to: number | null, axis: number): Value => callPrimitive("slice", { x, from: int(from), to: to === null ? none : int(to), axis: int(axis) }, ctx)
  assert.equal(numbers(slice(1, null, -1)), [2, 3, 4, 6, 7, 8])
  assert.equal(numbers(slice(0, -1, 1)), [1, 2, 3, 5, 6, 7])
  assert.equal(numbers(slice(-2, -1, 1)), [3, 7])
  assert.equal(numbers(slice(1, 2, 0)), [5, 6, 7, 8])
  slice(2, 2, 1)
  slice(0, 5, 1)
  slice(0, 1, 2)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2107", "SLM2107", "SLM2103"])
  const abstract = testContext()
  const row = tensor("i32", [B, dim(symbol("length"))])
  assert.is(shapeOf(callPrimitive("slice", { x: row, from: int(0), to: int(-1), axis: int(-1) }, abstract), abstract), "i32[B, length+]")
})

test("concat and transpose", () => {
  const ctx = testContext({ lower: true })
  const [x, y] = [t([[1], [2]], ctx), t([[3, 4], [5, 6]], ctx)]
  assert.equal(numbers(callPrimitive("concat", { xs: list([x, y]), axis: int(-1) }, ctx)), [1, 3, 4, 2, 5, 6])
  assert.equal(numbers(callPrimitive("transpose", { x: y }, ctx)), [3, 5, 4, 6])
  callPrimitive("concat", { xs: list([x, y]), axis: int(0) }, ctx)
  callPrimitive("transpose", { x: t([1], ctx) }, ctx)
  callPrimitive("concat", { xs: list([]), axis: int(0) }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2102", "SLM2105", "SLM2107"])
})

test.run()
