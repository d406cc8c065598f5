import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import type { Poly } from "./poly.ts"
import { add, compare, constant, equals, keyOf, known, mul, onlySymbol, opaqueOf, quotient, show, sub, symbol } from "./poly.ts"

const heads = symbol("heads")
const dim = symbol("dim")
const B = symbol("B", "B", { rigid: true })
const T = symbol("T", "T", { rigid: true })
const size = symbol("abc.size", "words.size", { vocabulary: true })

test("an exact quotient times its divisor is the dividend", () => {
  const headDim = quotient(dim, heads)
  assert.is(compare(mul(heads, headDim), dim), "equal")
  assert.is(compare(mul(headDim, mul(constant(3), heads)), mul(constant(3), dim)), "equal")
  assert.ok(equals(mul(add(heads, constant(1)), quotient(dim, add(heads, constant(1)))), dim))
  assert.ok(equals(quotient(mul(dim, heads), heads), dim))
  assert.ok(equals(quotient(mul(constant(6), dim), mul(constant(4), heads)), quotient(mul(constant(3), dim), mul(constant(2), heads))))
})

test("rigid axes equal only themselves, others are decided later", () => {
  assert.is(compare(B, B), "equal")
  assert.is(compare(B, T), "different")
  assert.is(compare(T, sub(T, constant(1))), "different")
  assert.is(compare(T, constant(5)), "different")
  assert.is(compare(dim, constant(5)), "later")
  assert.is(compare(dim, T), "later")
  assert.is(compare(constant(4), constant(4)), "equal")
})

test("facts decide", () => {
  const facts = new Map([["abc.size", 512]])
  assert.is(known(size, facts), 512)
  assert.is(known(quotient(size, constant(4)), facts), 128)
  assert.is(known(quotient(size, constant(3)), facts), null)
  assert.is(known(opaqueOf("remainder", size, constant(100)), facts), 12)
  assert.is(compare(size, constant(512), facts), "equal")
  assert.is(compare(size, constant(500), facts), "different")
  assert.is(onlySymbol(size)?.vocabulary, true)
})

test("polynomials read as they were written", () => {
  assert.is(show(mul(heads, quotient(dim, heads))), "dim")
  assert.is(show(mul(heads, symbol("head_dim"))), "heads * head_dim")
  assert.is(show(add(mul(constant(4), dim), constant(1))), "4 * dim + 1")
  assert.is(show(sub(T, constant(1))), "T - 1")
  assert.is(show(quotient(dim, heads)), "dim / heads")
  assert.is(show(mul(constant(2), quotient(dim, heads))), "2 * (dim / heads)")
  assert.is(show(size), "words.size")
  assert.is(show(add(size, T), new Map([["abc.size", 7]])), "7 + T")
})

interface Sample { readonly poly: Poly; readonly value: number }
const facts = new Map([["a", 12], ["b", 3], ["c", -2]])
const sample: fc.Arbitrary<Sample> = fc.letrec<{ p: Sample }>((tie) => ({
  p: fc.oneof(
    { maxDepth: 5 },
    fc.integer({ min: -9, max: 9 }).map((n) => ({ poly: constant(n), value: n })),
    fc.constantFrom("a", "b", "c").map((name) => ({ poly: symbol(name), value: facts.get(name) as number })),
    fc.tuple(tie("p"), tie("p")).map(([x, y]) => ({ poly: add(x.poly, y.poly), value: x.value + y.value })),
    fc.tuple(tie("p"), tie("p")).map(([x, y]) => ({ poly: sub(x.poly, y.poly), value: x.value - y.value })),
    fc.tuple(tie("p"), tie("p")).map(([x, y]) => ({ poly: mul(x.poly, y.poly), value: x.value * y.value })),
    tie("p").map((x) => ({ poly: mul(symbol("b"), quotient(x.poly, symbol("b"))), value: x.value })),
  ),
})).p

test("arithmetic on polynomials is arithmetic on their values, and the normal form is unique", () => {
  fc.assert(fc.property(sample, ({ poly, value }) => { assert.is(known(poly, facts), value) }), { numRuns: 500 })
  fc.assert(fc.property(sample, sample, ({ poly: x }, { poly: y }) => {
    assert.is(keyOf(mul(x, y)), keyOf(mul(y, x)))
    assert.is(keyOf(sub(add(x, y), y)), keyOf(x))
  }), { numRuns: 300 })
})

test.run()
