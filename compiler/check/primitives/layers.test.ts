import { test } from "uvu"
import * as assert from "uvu/assert"
import { uniform, hash32 } from "../../graph/random.ts"
import { dim, float, int, none, record, string, tensor } from "../make.ts"
import { symbol } from "../poly.ts"
import type { Dim, MaskValue, Value } from "../value.ts"
import { binaryTensor } from "./number.ts"
import { callPrimitive, numbers, shapeOf, site, t, testContext, type TestContext } from "./tensor.fixture.ts"

const B: Dim = dim(symbol("B", "B", { rigid: true }))
const T: Dim = dim(symbol("T", "T", { rigid: true }))
const near = (found: readonly number[], wanted: readonly number[]): void => {
  assert.ok(found.length === wanted.length && found.every((x, i) => Math.abs(x - (wanted[i] ?? NaN)) < 1e-5), `${found} is not ${wanted}`)
}

test("norms", () => {
  const ctx = testContext({ lower: true })
  const x = t([[3, 4]], ctx)
  near(numbers(callPrimitive("rms_norm", { x, scale: t([1, 2], ctx), eps: float(0) }, ctx)), [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)])
  near(numbers(callPrimitive("layer_norm", { x, scale: t([1, 1], ctx), bias: none, eps: float(0) }, ctx)), [-1, 1])
  near(numbers(callPrimitive("layer_norm", { x, scale: t([2, 1], ctx), bias: t([5, 0], ctx), eps: float(0) }, ctx)), [3, 1])
  callPrimitive("rms_norm", { x, scale: t([1, 2, 3], ctx), eps: float(0) }, ctx)
  callPrimitive("rms_norm", { x, scale: x, eps: float(0) }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2102", "SLM2105"])
})

test("rope turns pairs by their position", () => {
  const ctx = testContext({ lower: true })
  const x = t([[[[1, 0], [1, 0]]]], ctx)
  near(numbers(callPrimitive("rope", { x, positions: t([[0, 2]], ctx, false), base: float(10000) }, ctx)), [1, 0, Math.cos(2), Math.sin(2)])
  const abstract = testContext()
  const q = tensor("f32", [B, dim(4), T, dim(16)])
  assert.is(shapeOf(callPrimitive("rope", { x: q, positions: tensor("i32", [B, T]), base: float(1e4) }, abstract), abstract), "f32[B, 4, T, 16]")
  callPrimitive("rope", { x: tensor("f32", [B, dim(4), T, dim(15)]), positions: tensor("i32", [B, T]), base: float(1e4) }, abstract)
  callPrimitive("rope", { x: q, positions: tensor("i32", [T, B]), base: float(1e4) }, abstract)
  callPrimitive("rope", { x: tensor("f32", [B, T, dim(16)]), positions: tensor("i32", [B, T]), base: float(1e4) }, abstract)
  assert.equal(abstract.reported.map((d) => d.code), ["SLM2107", "SLM2102", "SLM2105"])
})

function attended(mask: Value, ctx: TestContext): readonly number[] {
  const zero = t([[[[0], [0], [0]]]], ctx)
  const value = t([[[[1], [4], [10]]]], ctx)
  return numbers(callPrimitive("attend", { query: zero, key: zero, value, mask, scale: none, bias: none }, ctx))
}

test("masks say who sees whom", () => {
  const ctx = testContext({ lower: true })
  const causal = callPrimitive("causal", { at: none }, ctx)
  const segments = callPrimitive("same_segment", { at: record({ segments: t([[0, 1, 1]], ctx, false) }), keys: none }, ctx)
  const near2 = callPrimitive("within", { at: none, window: int(2) }, ctx)
  near(attended(none, ctx), [5, 5, 5])
  near(attended(causal, ctx), [1, 2.5, 5])
  near(attended(binaryTensor("&", causal, near2, site, ctx), ctx), [1, 2.5, 7])
  near(attended(segments, ctx), [1, 7, 7])
  const [at, keys] = [[[1, 0, -1]], [[0, 1, 1]]].map((ids) => record({ segments: t(ids, ctx, false) }))
  near(attended(callPrimitive("same_segment", { at: at ?? none, keys: keys ?? none }, ctx), ctx), [7, 1, 0])
  near(attended(binaryTensor("&", binaryTensor("&", causal, segments, site, ctx), callPrimitive("within", { at: none, window: none }, ctx), site, ctx), ctx), [1, 4, 7])
  const both = binaryTensor("&", near2, callPrimitive("within", { at: none, window: int(1) }, ctx), site, ctx) as MaskValue
  assert.is(both.window?.kind === "int" && ctx.known(both.window.poly), 1)
  callPrimitive("within", { at: none, window: int(0) }, ctx)
  callPrimitive("same_segment", { at: record({}), keys: none }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2107", "SLM2106"])
})

test("attention checks heads, batch and length", () => {
  const ctx = testContext()
  const q = tensor("f32", [B, dim(6), T, dim(16)])
  const attend = (key: readonly Dim[], value: readonly Dim[] = key): Value =>
    callPrimitive("attend", { query: q, key: tensor("f32", key), value: tensor("f32", value), mask: none, scale: none, bias: none }, ctx)
  assert.is(shapeOf(attend([B, dim(2), T, dim(16)], [B, dim(2), T, dim(5)]), ctx), "f32[B, 6, T, 5]")
  attend([B, dim(4), T, dim(16)])
  attend([B, dim(2), T, dim(8)])
  attend([T, dim(2), T, dim(16)])
  attend([B, dim(2), T, dim(16)], [B, dim(3), T, dim(16)])
  attend([B, T, dim(16)])
  assert.equal(ctx.reported.map((d) => `${d.code} ${d.message}`), [
    "SLM2107 6 heads cannot share 4 key/value heads",
    "SLM2102 `key` and `query` have heads of different size: 8 instead of 16",
    "SLM2102 `key` and `query` are of different batches: T instead of B",
    "SLM2102 `value` and `key` have a different number of heads: 3 instead of 2",
    "SLM2105 `key` has 3 axes, [B, T, 16], instead of four: [batch, heads, time, head_dim]",
  ])
})

test("a bias of attention fits its scores", () => {
  const ctx = testContext()
  const x = tensor("f32", [B, dim(2), T, dim(4)])
  const attend = (bias: readonly Dim[]): Value => callPrimitive("attend", { query: x, key: x, value: x, mask: none, scale: none, bias: tensor("f32", bias) }, ctx)
  for (const bias of [[T, T], [dim(2), dim(1), T], [B, dim(2), T, T]]) assert.is(attend(bias).kind, "tensor")
  attend([dim(3), T, T])
  attend([dim(1), B])
  attend([dim(1), B, dim(2), T, T])
  assert.equal(ctx.reported.map((d) => `${d.code} ${d.message}`), [
    "SLM2102 `bias` does not fit the scores, [batch, heads, time, keys]: 3 instead of 2",
    "SLM2102 `bias` does not fit the scores, [batch, heads, time, keys]: B instead of T",
    "SLM2105 `bias` has 5 axes, [1, B, 2, T, T], instead of at most four: [batch, heads, time, keys]",
  ])
})

test("dropout is the identity outside of training", () => {
  const ctx = testContext({ lower: true })
  const x = t([[1, 2]], ctx)
  assert.is(callPrimitive("dropout", { x, rate: float(0.5) }, ctx), x)
  const inTraining = testContext({ lower: true, training: true })
  const y = t([[1, 2]], inTraining)
  assert.is(callPrimitive("dropout", { x: y, rate: float(0) }, inTraining), y)
  callPrimitive("dropout", { x: y, rate: float(1) }, inTraining)
  assert.equal(inTraining.reported.map((d) => d.code), ["SLM2107"])
})

test("dropout draws by path, sample and step, and anew for each use of a path", () => {
  const ctx = testContext({ lower: true, training: true, rows: 2 })
  const x = t([[1, 1, 1, 1], [1, 1, 1, 1]], ctx)
  const first = callPrimitive("dropout", { x, rate: float(0.25) }, ctx)
  const second = callPrimitive("dropout", { x, rate: float(0.25) }, ctx)
  const wanted = (stream: string): readonly number[] => [7, 3].flatMap((row) => [0, 1, 2, 3].map((element) => (uniform({ seed: 5, stream: hash32(stream), step: 9, row }, element) >= 0.25 ? 4 / 3 : 0)))
  near(numbers(first, { seed: [5], step: [9], rows: [7, 3] }), wanted("dropout:model.block"))
  near(numbers(second, { seed: [5], step: [9], rows: [7, 3] }), wanted("dropout:model.block#1"))
})

test("random_like draws by purpose, path, sample and step, also outside of training", () => {
  const ctx = testContext({ lower: true, rows: 2 })
  const x = t([[1, 1, 1], [1, 1, 1]], ctx, false)
  const draw = (purpose: string): Value => callPrimitive("random_like", { x, purpose: string(purpose) }, ctx)
  const wanted = (stream: string, rows: readonly number[]): readonly number[] => rows.flatMap((row) => [0, 1, 2].map((element) => uniform({ seed: 5, stream: hash32(stream), step: 9, row }, element)))
  const [mask, again, other] = [draw("mask"), draw("mask"), draw("token")]
  near(numbers(mask, { seed: [5], step: [9], rows: [7, 3] }), wanted("random.mask:model.block", [7, 3]))
  near(numbers(mask, { seed: [5], step: [9], rows: [3, 8] }), wanted("random.mask:model.block", [3, 8]))
  near(numbers(again, { seed: [5], step: [9], rows: [7, 3] }), wanted("random.mask:model.block#1", [7, 3]))
  near(numbers(other, { seed: [5], step: [9], rows: [7, 3] }), wanted("random.token:model.block", [7, 3]))
})

test("init values", () => {
  const ctx = testContext()
  assert.equal(callPrimitive("normal", { std: float(0.02) }, ctx), { kind: "init", how: "normal", a: 0.02, origin: site.span })
  assert.equal(callPrimitive("full", { value: int(3) }, ctx), { kind: "init", how: "constant", a: 3, origin: site.span })
  assert.is(callPrimitive("uniform", { bound: float(null) }, ctx).kind, "unknown")
  callPrimitive("normal", { std: float(-1) }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2107"])
})

test.run()
