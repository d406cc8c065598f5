import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../graph/builder.ts"
import { evaluate } from "../graph/interpret.ts"
import { gradients } from "../graph/gradient.ts"
import * as g from "../graph/ops.ts"
import { value } from "../graph/value.ts"
import { withFactors } from "./factors.ts"

/** 1 + 2^-8 lies between two numbers of bf16 and goes to the even one, which is 1. */
const fine = 1 + 2 ** -8

test("every product gets the factors, those of loops and gradients too", () => {
  const b = createBuilder()
  const [x, y] = [b.input("x", "batch", "f32", [1, 1]), b.input("y", "batch", "f32", [1, 1])]
  const product = g.dot(b, x, y)
  const loop = g.scan(b, 2, [x, y], [], (inner, [c, w]) => (c === undefined || w === undefined ? { carries: [], results: [] } : { carries: [g.dot(inner, c, w), w], results: [] })).carries[0] ?? x
  const roots = [product, loop, ...gradients(b, g.sum(b, product), [x]), g.add(b, x, y)]
  const run = (nodes: typeof roots): number[] => evaluate(nodes, { x: value([fine], [1, 1]), y: value([3 * fine], [1, 1]) }).map((result) => result.data[0] ?? NaN)
  assert.equal(run([...withFactors(b, roots, "f32")]), run(roots))
  // 3 (1 + 2^-8) lies between 3 and 3 + 2^-6, nearer to 3.015625 of the two; the next product is rounded again.
  const up = 3 + 2 ** -6
  assert.equal(run([...withFactors(b, roots, "bf16")]), [up, Math.fround(up * up), up, Math.fround(4 * fine)])
})

test("attention rounds its weights as well", () => {
  const b = createBuilder()
  const [q, k, v] = ["q", "k", "v"].map((name) => b.input(name, "batch", "f32", [1, 1, name === "q" ? 1 : 3, 1]))
  if (q === undefined || k === undefined || v === undefined) return
  const feeds = { q: value([0], [1, 1, 1, 1]), k: value([1, 2, 3], [1, 1, 3, 1]), v: value([1, 1, 1], [1, 1, 3, 1]) }
  const [attended] = withFactors(b, [g.attend(b, q, k, v)], "bf16")
  // A third is 0.333984375 in bf16.
  assert.is(attended === undefined ? 0 : evaluate([attended], feeds)[0]?.data[0], Math.fround(3 * 0.333984375))
})

test.run()
