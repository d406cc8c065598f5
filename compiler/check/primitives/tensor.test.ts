import { test } from "uvu"
import * as assert from "uvu/assert"
import { bool, dim, float, int, list, none, record, string, tensor } from "../make.ts"
import { symbol } from "../poly.ts"
import type { Value } from "../value.ts"
import { binaryTensor } from "./number.ts"
import { callPrimitive, numbers, shapeOf, site, t, testContext, type Nested, type TestContext } from "./tensor.fixture.ts"

const B = dim(symbol("B", "B", { rigid: true }))

function reduce(name: string, x: Value, axis: number | null, keep: boolean, ctx: TestContext): Value {
  return callPrimitive(name, { x, axis: axis === null ? none : int(axis), keep: bool(keep) }, ctx)
}

test("reductions over an axis or everything", () => {
  const ctx = testContext({ lower: true })
  const x = t([[1, 2, 3], [4, 5, 9]], ctx)
  assert.equal(numbers(reduce("sum", x, null, false, ctx)), [24])
  assert.equal(numbers(reduce("sum", x, 0, false, ctx)), [5, 7, 12])
  assert.is(shapeOf(reduce("sum", x, -1, true, ctx), ctx), "f32[2, 1]")
  assert.is(shapeOf(reduce("maximum", x, null, true, ctx), ctx), "f32[1, 1]")
  assert.equal(numbers(reduce("maximum", x, 1, false, ctx)), [3, 9])
  assert.equal(numbers(reduce("sum", t([true, false, true], ctx), null, false, ctx)), [2])
  assert.equal(numbers(callPrimitive("argmax", { x, axis: int(-1) }, ctx)), [2, 2])
  assert.equal(numbers(callPrimitive("cumsum", { x, axis: int(-1) }, ctx)), [1, 3, 6, 4, 9, 18])
  assert.equal(numbers(callPrimitive("top_k", { x, k: int(2) }, ctx)), [2, 1, 2, 1])
  reduce("sum", x, 2, false, ctx)
  callPrimitive("top_k", { x, k: int(4) }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2103", "SLM2107"])
})

test("lists are summed, whatever they hold", () => {
  const ctx = testContext({ lower: true })
  const sum = (...items: readonly Value[]): Value => reduce("sum", list(items), null, false, ctx)
  assert.equal(numbers(sum(t([1, 2], ctx), float(1), t([3, 4], ctx))), [5, 7])
  const ints = sum(int(1), int(2))
  assert.is(ints.kind === "int" && ctx.known(ints.poly), 3)
  const floats = sum(int(1), float(0.5))
  assert.is(floats.kind === "float" && floats.value, 1.5)
  assert.is(sum().kind, "int")
})

test("tensors are made of nested lists, and of tensors", () => {
  const ctx = testContext({ lower: true })
  const make = (values: Nested, isFloat = true): Value => t(values, ctx, isFloat)
  assert.is(shapeOf(make([[1, 2], [3, 4]], false), ctx), "i32[2, 2]")
  assert.is(shapeOf(make([[true], [false]]), ctx), "bool[2, 1]")
  const stacked = callPrimitive("tensor", { values: list([make([1, 2]), make([3, 4])]) }, ctx)
  assert.equal([shapeOf(stacked, ctx), numbers(stacked)], ["f32[2, 2]", [1, 2, 3, 4]])
  assert.is(stacked.kind === "tensor" && stacked.node?.op, "literal")
  const mixed = callPrimitive("tensor", { values: list([int(1), float(0.5)]) }, ctx)
  assert.equal([shapeOf(mixed, ctx), numbers(mixed)], ["f32[2]", [1, 0.5]])
  callPrimitive("tensor", { values: list([list([int(1)]), list([int(1), int(2)])]) }, ctx)
  callPrimitive("tensor", { values: list([]) }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2108", "SLM2108"])
  assert.equal(numbers(callPrimitive("range", { count: int(3) }, ctx)), [0, 1, 2])
  assert.equal(numbers(callPrimitive("ones_like", { x: make([[5], [6]]) }, ctx)), [1, 1])
})

test("what is not known yet stays unknown, and is no mistake", () => {
  const ctx = testContext()
  const x = tensor("f32", [B, dim(3)])
  const hidden = { kind: "unknown", type: "any", origin: null } as const
  const kind = (name: string, args: Record<string, Value>): string => callPrimitive(name, args, ctx).kind
  assert.is(kind("sum", { x: hidden, axis: none, keep: bool(false) }), "unknown")
  assert.is(kind("sum", { x, axis: int(symbol("axis")), keep: bool(false) }), "unknown")
  assert.is(kind("sum", { x, axis: int(0), keep: bool(null) }), "unknown")
  assert.is(kind("cumsum", { x, axis: int(symbol("axis")) }), "unknown")
  assert.is(kind("tensor", { values: list([list([hidden])]) }), "unknown")
  assert.is(kind("tensor", { values: { ...list([int(1)]), count: symbol("n") } }), "unknown")
  assert.is(kind("concat", { xs: { ...list([x]), count: symbol("n") }, axis: int(0) }), "unknown")
  assert.is(kind("size", { x: hidden, axis: none }), "unknown")
  assert.is(kind("length", { x: hidden }), "unknown")
  assert.is(kind("rearrange", { x, pattern: string(null), sizes: record({}) }), "unknown")
  assert.is(kind("rearrange", { x, pattern: string("b (h d) -> b h d"), sizes: record({ h: hidden }) }), "unknown")
  assert.is(kind("instance", { of: hidden, weights: record({}) }), "unknown")
  assert.equal(ctx.reported, [])
})

test("sizes are polynomials", () => {
  const ctx = testContext()
  const x = tensor("f32", [B, dim(3)])
  const known = (v: Value): number | null | string => (v.kind === "int" ? ctx.known(v.poly) ?? [...v.poly.terms.keys()].join() : v.kind)
  assert.is(known(callPrimitive("size", { x, axis: int(-1) }, ctx)), 3)
  assert.is(known(callPrimitive("size", { x, axis: int(0) }, ctx)), "B")
  assert.is(known(callPrimitive("size", { x, axis: none }, ctx)), "B")
  assert.is(known(callPrimitive("rank", { x }, ctx)), 2)
  assert.is(known(callPrimitive("length", { x: list([x, x]) }, ctx)), 2)
  assert.is(known(callPrimitive("length", { x: { ...list([x]), count: symbol("depth") } }, ctx)), "depth")
})

test("products of matrices, with vectors, stacks, and a transposed right side", () => {
  const ctx = testContext({ lower: true })
  const [x, w] = [t([[1, 2], [3, 4]], ctx), t([[1, 0], [1, 1], [0, 2]], ctx)]
  const turned = callPrimitive("transpose", { x: w }, ctx)
  const product = callPrimitive("matmul", { a: x, b: turned }, ctx)
  assert.equal([shapeOf(product, ctx), numbers(product)], ["f32[2, 3]", [1, 3, 4, 3, 7, 8]])
  const dot = product.kind === "tensor" ? product.node : null
  assert.ok(dot?.op === "dot" && dot.args.tb, "the transposition is a flag")
  assert.equal(numbers(callPrimitive("matmul", { a: t([[[1, 2]], [[3, 4]]], ctx), b: turned }, ctx)), [1, 3, 4, 3, 7, 8])
  assert.equal(numbers(callPrimitive("matmul", { a: t([[[1, 2]], [[3, 4]]], ctx), b: t([[[1], [1]], [[2], [0]]], ctx) }, ctx)), [3, 6])
  const vector = callPrimitive("matmul", { a: t([1, 2], ctx), b: turned }, ctx)
  assert.equal([shapeOf(vector, ctx), numbers(vector)], ["f32[3]", [1, 3, 4]])
  assert.equal(numbers(callPrimitive("matmul", { a: w, b: t([10, 1], ctx) }, ctx)), [10, 11, 2])
  assert.is(binaryTensor("@", x, w, site, ctx).kind, "error")
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2102"])
  assert.match(ctx.reported[0]?.help ?? "", "transpose")
})

test("gather and take_along", () => {
  const ctx = testContext({ lower: true })
  const table = t([[1, 2], [3, 4], [5, 6]], ctx)
  const rows = callPrimitive("gather", { table, ids: t([[2, 0]], ctx, false) }, ctx)
  assert.equal([shapeOf(rows, ctx), numbers(rows)], ["f32[1, 2, 2]", [5, 6, 1, 2]])
  assert.equal(numbers(callPrimitive("take_along", { x: table, ids: t([[1], [0], [1]], ctx, false) }, ctx)), [2, 3, 6])
  callPrimitive("gather", { table, ids: t([1], ctx) }, ctx)
  callPrimitive("gather", { table, ids: { ...t([1], ctx, false), vocab: dim(4) } }, ctx)
  callPrimitive("take_along", { x: table, ids: t([1], ctx, false) }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2106", "SLM2102", "SLM2105"])
})

test("fold, fold_steps and map go over static lists", () => {
  const ctx = testContext({ apply: (_, args) => (args.length === 2 ? binaryTensor("+", args[0] ?? none, args[1] ?? none, site, low) : args[0] ?? none) })
  const low = testContext({ lower: true })
  const args = { over: list([t([1], low), t([2], low)]), start: t([10], low), step: none }
  assert.equal(numbers(callPrimitive("fold", args, ctx)), [13])
  const steps = callPrimitive("fold_steps", args, ctx)
  assert.equal(steps.kind === "list" && steps.items.map((v) => numbers(v)[0]), [11, 13])
  const over = callPrimitive("map", { over: { ...list([int(0)]), count: symbol("n") }, step: none }, ctx)
  assert.ok(over.kind === "list" && over.count !== undefined)
  assert.is(callPrimitive("fold", { ...args, over: list([]) }, ctx), args.start)
  callPrimitive("map", { over: int(3), step: none }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2106"])
})

test.run()
