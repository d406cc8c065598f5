import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Builder } from "../graph/builder.ts"
import { createBuilder } from "../graph/builder.ts"
import type { Node, Program } from "../graph/node.ts"
import * as g from "../graph/ops.ts"
import { reachable } from "../graph/walk.ts"
import { cost } from "./cost.ts"

function program(body: (b: Builder) => Readonly<Record<string, Node>>): Program {
  const outputs = Object.entries(body(createBuilder())).map(([name, node]) => ({ name, node }))
  return { name: "p", outputs, inputs: reachable(outputs.map((o) => o.node)).filter((node) => node.op === "input") }
}

test("a product of matrices costs two operations per multiply-add", () => {
  const c = cost(program((b) => ({ y: g.dot(b, b.input("x", "batch", "f32", [3, 4]), b.input("w", "state", "f32", [4, 5])) })))
  assert.is(c.flops, 2 * 3 * 4 * 5)
  assert.is(c.bytes, 4 * (12 + 20 + 15))
  assert.is(c.stateElements, 20)
  assert.is(c.stateBytes, 80)
  assert.is(c.peakBytes, 4 * (12 + 20 + 15))
})

test("a transposed product counts its inner axis", () => {
  const c = cost(program((b) => ({ y: g.dot(b, b.input("x", "batch", "f32", [4, 3]), b.input("w", "state", "f32", [5, 4]), true, true) })))
  assert.is(c.flops, 2 * 3 * 4 * 5)
})

test("intermediate results are freed after their last use", () => {
  const chain = (n: number): Program => program((b) => {
    let x: Node = b.input("x", "batch", "f32", [100])
    for (let i = 0; i < n; i++) x = g.exp(b, x)
    return { x }
  })
  assert.is(cost(chain(2)).peakBytes, cost(chain(9)).peakBytes)
  assert.is(cost(chain(9)).peakBytes, 3 * 400)
})

test("a result that is used late stays", () => {
  const held = program((b) => {
    const first = g.exp(b, b.input("x", "batch", "f32", [100]))
    let x = first
    for (let i = 0; i < 5; i++) x = g.sin(b, x)
    return { y: g.add(b, x, first) }
  })
  assert.is(cost(held).peakBytes, 4 * 400)
})

test("views and constants take no memory of their own", () => {
  const c = cost(program((b) => ({ y: g.add(b, g.reshape(b, b.input("x", "batch", "f32", [10, 10]), [100]), 1) })))
  assert.is(c.peakBytes, 800)
  assert.is(c.flops, 100)
})

test("a table counts the rows that are read", () => {
  const c = cost(program((b) => ({ y: g.gather(b, b.input("table", "state", "f32", [1000, 4]), b.input("ids", "batch", "i32", [2])) })))
  assert.is(c.bytes, 4 * (8 + 8 + 2))
})

test("a loop counts its body once per trip", () => {
  const c = cost(program((b) => ({
    y: g.scan(b, 7, [b.input("c", "batch", "f32", [10])], [], (inner, [x]) => ({ carries: [g.exp(inner, x ?? g.fill(inner, 0, [10]))], results: [] })).carries[0] ?? g.fill(b, 0),
  })))
  assert.is(c.flops, 70)
})

test("attention counts scores and values over all pairs", () => {
  const c = cost(program((b) => {
    const x = (name: string, h: number): Node => b.input(name, "batch", "f32", [2, h, 5, 4])
    return { y: g.attend(b, x("q", 4), x("k", 2), x("v", 2), { causal: true }) }
  }))
  const pairs = 2 * 4 * 5 * 5
  assert.is(c.flops, pairs * (2 * 4 + 2 * 4 + 5))
})

test.run()
