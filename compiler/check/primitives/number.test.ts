import { test } from "uvu"
import * as assert from "uvu/assert"
import { bool, dim, float, int, list, none, record, tensor } from "../make.ts"
import { symbol } from "../poly.ts"
import type { Dim, LossValue, Value } from "../value.ts"
import { collapse } from "./loss.ts"
import { binaryTensor, selectTensor, unaryTensor } from "./number.ts"
import { callPrimitive, nowhere, numbers, shapeOf, site, t, testContext } from "./tensor.fixture.ts"

const B: Dim = dim(symbol("B", "B", { rigid: true }))
const T: Dim = dim(symbol("T", "T", { rigid: true }))

function near(found: readonly number[], wanted: readonly number[], within = 1e-6): void {
  assert.is(found.length, wanted.length)
  for (const [i, x] of found.entries()) assert.ok(Math.abs(x - (wanted[i] ?? NaN)) <= within * (1 + Math.abs(wanted[i] ?? 0)), `${found} is not ${wanted}`)
}

test("operators compute elementwise, numbers on either side", () => {
  const ctx = testContext({ lower: true })
  const [x, y] = [t([1, 2, 3], ctx), t([4, 5, 8], ctx)]
  const wanted: Record<string, readonly number[]> = { "+": [5, 7, 11], "-": [-3, -3, -5], "*": [4, 10, 24], "/": [0.25, 0.4, 0.375], "^": [1, 32, 6561] }
  for (const [op, values] of Object.entries(wanted)) near(numbers(binaryTensor(op as "+", x, y, site, ctx)), values, 1e-5)
  near(numbers(binaryTensor("-", float(1), x, site, ctx)), [0, -1, -2])
  near(numbers(binaryTensor("%", t([5, -5], ctx, false), int(3), site, ctx)), [2, 1])
  assert.equal(numbers(binaryTensor("<", x, float(2), site, ctx)), [1, 0, 0])
  assert.equal(numbers(binaryTensor(">=", x, float(2), site, ctx)), [0, 1, 1])
  assert.equal(numbers(binaryTensor("!=", t([1, 2], ctx, false), int(2), site, ctx)), [1, 0])
  assert.equal(numbers(unaryTensor("not", t([true, false], ctx), site, ctx)), [0, 1])
  assert.equal(numbers(unaryTensor("-", t([1, -2], ctx, false), site, ctx)), [-1, 2])
  assert.equal(ctx.reported, [])
})

test("constant exponents keep negative bases and half powers exact", () => {
  const ctx = testContext({ lower: true })
  const x = t([-2, 3], ctx)
  near(numbers(binaryTensor("^", x, int(2), site, ctx)), [4, 9])
  near(numbers(binaryTensor("^", x, int(3), site, ctx)), [-8, 27])
  near(numbers(binaryTensor("^", x, int(-1), site, ctx)), [-0.5, 1 / 3])
  near(numbers(binaryTensor("^", x, int(0), site, ctx)), [1, 1])
  near(numbers(binaryTensor("^", t([4], ctx), float(0.5), site, ctx)), [2])
  near(numbers(binaryTensor("^", t([4], ctx), float(-0.5), site, ctx)), [0.5])
})

test("the wider kind of number wins", () => {
  const ctx = testContext({ lower: true })
  const kinds = (value: Value): string => shapeOf(value, ctx)
  assert.is(kinds(binaryTensor("+", t([1], ctx, false), int(1), site, ctx)), "i32[1]")
  assert.is(kinds(binaryTensor("+", t([1], ctx, false), float(1), site, ctx)), "f32[1]")
  assert.is(kinds(binaryTensor("*", t([true], ctx), t([2], ctx), site, ctx)), "f32[1]")
  assert.is(kinds(binaryTensor("+", t([true], ctx), t([true], ctx), site, ctx)), "i32[1]")
  assert.is(kinds(binaryTensor("/", t([6], ctx, false), int(4), site, ctx)), "f32[1]")
  near(numbers(binaryTensor("/", t([6], ctx, false), int(4), site, ctx)), [1.5])
})

test("shapes broadcast from the right, symbols included", () => {
  const ctx = testContext()
  const x = tensor("f32", [B, T, dim(192)])
  assert.is(shapeOf(binaryTensor("+", x, tensor("f32", [dim(192)]), site, ctx), ctx), "f32[B, T, 192]")
  assert.is(shapeOf(binaryTensor("*", x, tensor("f32", [B, T, dim(1)]), site, ctx), ctx), "f32[B, T, 192]")
  assert.is(shapeOf(binaryTensor("*", tensor("f32", [T, dim(1)]), tensor("f32", [dim(1), B]), site, ctx), ctx), "f32[T, B]")
  assert.is(shapeOf(binaryTensor("+", float(2), x, site, ctx), ctx), "f32[B, T, 192]")
  const width = dim(symbol("width"))
  assert.is(shapeOf(binaryTensor("+", x, tensor("f32", [width]), site, ctx), ctx), "f32[B, T, 192]")
  assert.equal(ctx.reported, [])
})

test("shapes that do not go together are shown with where their sizes come from", () => {
  const ctx = testContext()
  const from = (start: number) => ({ source: "npc.slm", start, end: start + 3 })
  const result = binaryTensor("+", tensor("f32", [B, dim(192, from(10))]), tensor("f32", [dim(96, from(40))]), site, ctx)
  assert.is(result.kind, "error")
  const [d] = ctx.reported
  assert.is(d?.code, "SLM2101")
  assert.is(d?.message, "the sum of [B, 192] and [96]: 192 and 96 do not go together")
  assert.equal(d?.labels.map((l) => [l.span.start, l.message]), [[10, "192 comes from here"], [40, "96 comes from here"]])
})

test("two vocabularies do not meet, even before their sizes are known", () => {
  const ctx = testContext()
  const vocab = (name: string) => dim(symbol(`${name}-key.size`, `${name}.size`, { vocabulary: true, origin: { source: "npc.slm", start: name.length, end: 20 } }))
  binaryTensor("-", tensor("f32", [B, T, vocab("words")]), tensor("f32", [B, T, vocab("old_words")]), site, ctx)
  const [d] = ctx.reported
  assert.is(d?.code, "SLM2104")
  assert.equal(d?.labels.map((l) => l.message), ["vocab (from `words`, line 1)", "vocab (from `old_words`, line 1)"])
  assert.is(d?.help, "use one tokenizer for the data and all models")
})

test("operators refuse what has no number", () => {
  const ctx = testContext()
  const x = tensor("f32", [T])
  binaryTensor("+", x, list([]), site, ctx)
  binaryTensor("and", x, x, site, ctx)
  binaryTensor("@", x, float(2), site, ctx)
  unaryTensor("not", x, site, ctx)
  const mask = { kind: "mask", causal: true, window: null, segments: null, origin: null } as const
  binaryTensor("+", mask, mask, site, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2106", "SLM2106", "SLM2106", "SLM2106", "SLM2106"])
  assert.is(ctx.reported[0]?.message, "a tensor [T] and an empty list cannot be added")
  assert.match(ctx.reported[4]?.help ?? "", "causal(at) & same_segment(at)")
})

test("a condition that is a tensor chooses element by element, inside of records too", () => {
  const ctx = testContext({ lower: true })
  const yes = record({ p: t([1, 2], ctx), n: int(1) })
  const no = record({ p: float(9), n: int(0) })
  const chosen = selectTensor(t([true, false], ctx), yes, no, site, ctx)
  assert.is(chosen.kind, "record")
  if (chosen.kind !== "record") return
  assert.equal(numbers(chosen.fields.get("p") ?? none), [1, 9])
  assert.equal(numbers(chosen.fields.get("n") ?? none), [1, 0])
  const ids = { ...t([7, 8], ctx, false), vocab: dim(10) }
  const labels = selectTensor(t([false, true], ctx), ids, int(-1), site, ctx)
  assert.ok(labels.kind === "tensor" && labels.vocab === ids.vocab)
  selectTensor(t([1, 2], ctx), ids, ids, site, ctx)
  selectTensor(t([true], ctx), list([]), int(1), site, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2106", "SLM2106"])
})

// ---------------------------------------------------------------- losses

function averaged(values: readonly number[], counts: readonly boolean[] | null, ctx: ReturnType<typeof testContext>): LossValue {
  const made = callPrimitive("average", { values: t(values, ctx), counts: counts === null ? none : t(counts, ctx) }, ctx)
  if (made.kind !== "loss") throw new Error("no loss")
  return made
}

test("sums and multiples of losses keep sums and counts apart", () => {
  const ctx = testContext({ lower: true })
  const a = averaged([1, 2, 6], [true, false, true], ctx)
  const b = averaged([4, 8], null, ctx)
  const mixed = binaryTensor("+", binaryTensor("*", float(0.5), a, site, ctx), binaryTensor("/", b, int(4), site, ctx), site, ctx)
  assert.is(mixed.kind, "loss")
  if (mixed.kind !== "loss") return
  assert.equal(mixed.terms.map((x) => (x.weight.kind === "float" ? x.weight.value : null)), [0.5, 0.25])
  assert.equal(mixed.terms.flatMap((x) => [numbers(x.sum), numbers(x.count)]), [[7], [2], [12], [2]])
  near(numbers(collapse(mixed, ctx)), [0.5 * 3.5 + 0.25 * 6])
  near(numbers(collapse(binaryTensor("-", a, b, site, ctx) as LossValue, ctx)), [3.5 - 6])
})

test("a scalar tensor joins a loss as a mean of one, every other use takes the value", () => {
  const ctx = testContext({ lower: true })
  const a = averaged([1, 3], null, ctx)
  const penalty = binaryTensor("+", a, binaryTensor("*", float(0.1), callPrimitive("sum", { x: t([1, 2], ctx), axis: none, keep: bool(false) }, ctx), site, ctx), site, ctx)
  assert.is(penalty.kind === "loss" && penalty.terms.length, 2)
  near(numbers(collapse(penalty as LossValue, ctx)), [2.3])
  near(numbers(binaryTensor("*", a, a, site, ctx)), [4])
  near(numbers(callPrimitive("sqrt", { x: a }, ctx)), [Math.SQRT2])
  binaryTensor("+", a, t([1, 2], ctx), site, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2105"])
})

test("a mean over nothing is zero", () => {
  const ctx = testContext({ lower: true })
  assert.equal(numbers(collapse(averaged([1, 2], [false, false], ctx), ctx)), [0])
})

test("token_loss is the negative log probability of the label, 0 without one", () => {
  const ctx = testContext({ lower: true })
  const logits = t([[[0, Math.log(3)], [1, 1]]], ctx)
  near(numbers(callPrimitive("token_loss", { logits, labels: t([[1, -1]], ctx, false) }, ctx)), [-Math.log(0.75), 0])
  callPrimitive("token_loss", { logits, labels: t([1], ctx, false) }, ctx)
  callPrimitive("token_loss", { logits, labels: t([[1, 1]], ctx) }, ctx)
  callPrimitive("token_loss", { logits, labels: t([[1, 1, 1]], ctx, false) }, ctx)
  assert.equal(ctx.reported.map((d) => d.code), ["SLM2105", "SLM2106", "SLM2102"])
})

// ---------------------------------------------------------------- functions of numbers

test("functions of numbers and of tensors agree", () => {
  const ctx = testContext({ lower: true })
  for (const name of ["exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "erf", "sigmoid", "abs", "sign", "floor", "round"]) {
    for (const x of [0.3, 0.5, 1.7, 2.5, 3.5]) {
      const number = callPrimitive(name, { x: float(x) }, ctx)
      near(numbers(callPrimitive(name, { x: t([x], ctx) }, ctx)), [number.kind === "float" ? number.value ?? NaN : NaN], 2e-6)
    }
  }
})

test("numbers stay numbers, ints stay ints where that makes sense", () => {
  const ctx = testContext()
  const call = (name: string, args: Record<string, Value>): unknown => {
    const v = callPrimitive(name, args, ctx)
    return v.kind === "int" ? ["int", ctx.known(v.poly)] : v.kind === "float" ? ["float", v.value] : v.kind
  }
  assert.equal(call("max", { a: int(3), b: int(5) }), ["int", 5])
  assert.equal(call("min", { a: int(3), b: float(5.5) }), ["float", 3])
  assert.equal(call("abs", { x: int(-3) }), ["int", 3])
  assert.equal(call("to_int", { x: float(-2.7) }), ["int", -2])
  assert.equal(call("to_float", { x: int(2) }), ["float", 2])
  assert.equal(call("steps_in", { amount: float(0.05), total: int(200) }), ["float", 10])
  assert.equal(call("steps_in", { amount: { kind: "quantity", value: 30, unit: "steps", origin: null }, total: int(200) }), ["float", 30])
  assert.equal(call("where", { condition: bool(false), value: int(1), otherwise: int(2) }), ["int", 2])
  assert.equal(call("max", { a: int(symbol("heads")), b: int(1) }), ["int", null])
  assert.equal(call("exp", { x: float(null) }), ["float", null])
  assert.is(call("log", { x: float(-1) }), "error")
  assert.equal(ctx.reported.map((d) => [d.code, d.span]), [["SLM2107", nowhere]])
})

test.run()
