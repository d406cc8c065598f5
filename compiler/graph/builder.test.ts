import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "./builder.ts"
import { evaluate } from "./interpret.ts"
import type { Node } from "./node.ts"
import * as g from "./ops.ts"
import { printProgram } from "./print.ts"
import { decompose } from "./composite.ts"
import { problems, verify } from "./verify.ts"
import { trainingLike } from "./verify.fixture.ts"

test("equal op, arguments and inputs give the same node", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [2])
  assert.is(g.add(b, x, 1), g.add(b, x, 1))
  assert.is.not(g.add(b, x, 1), g.add(b, x, 2))
  assert.is.not(g.fill(b, 0, [2]), g.fill(b, 0, [2], "i32"))
  assert.is.not(g.fill(b, 1, [2]), g.fill(b, 1, [1, 2]))
  assert.is(b.nodes.length, new Set(b.nodes).size)
})

test("zero and minus zero are two constants, and so are literals that differ in it", () => {
  const b = createBuilder()
  assert.is.not(g.fill(b, 0), g.fill(b, -0))
  assert.is.not(g.literal(b, [1, 0]), g.literal(b, [1, -0]))
  assert.is(g.literal(b, [1, -0]), g.literal(b, [1, -0]))
  assert.is(g.fill(b, NaN), g.fill(b, NaN))
})

test("loops of equal meaning are one loop", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [3, 2])
  const run = (extra: number): Node | undefined => g.scan(b, 3, [g.fill(b, 1, [2])], [x], (inner, [c], [row]) => {
    if (!c || !row) throw new Error()
    return { carries: [g.add(inner, g.mul(inner, c, extra), row)], results: [] }
  }).carries[0]
  assert.is(run(2), run(2))
  assert.is.not(run(2), run(3))
})

test("nodes are frozen", () => {
  const b = createBuilder()
  const node = g.reshape(b, b.input("x", "batch", "f32", [2, 3]), [6])
  for (const part of [node, node.args, node.inputs, node.shape]) assert.ok(Object.isFrozen(part))
  assert.ok(node.op === "reshape" && Object.isFrozen(node.args.shape))
})

test("notes come from the innermost scope, also after an error", () => {
  const b = createBuilder()
  assert.throws(() => b.at("bad", () => { throw new Error("x") }))
  const [outer, inner, none] = [b.at("a", () => [g.fill(b, 1), b.at("a.b", () => g.fill(b, 2))] as const), g.fill(b, 3)].flat()
  assert.equal([outer?.note, inner?.note, none?.note], ["a", "a.b", ""])
})

test("a graph that means nothing is a bug, named with op and place", () => {
  const b = createBuilder()
  const [x, y] = [b.input("x", "batch", "f32", [2, 3]), b.input("y", "batch", "i32", [2, 3])]
  const wrong: readonly (readonly [() => unknown, RegExp])[] = [
    [() => b.make("add", {}, [x, y], "loss"), /graph: add at loss: the second input is i32\[2, 3\] instead of f32\[2, 3\]/],
    [() => b.make("exp", {}, [y]), /graph: exp: the input is i32\[2, 3\], allowed: f32/],
    [() => b.make("dot", { ta: false, tb: false, factors: "f32" }, [x, x]), /inner sizes 3 and 2/],
    [() => b.make("reshape", { shape: [7] }, [x]), /does not fill \[7\]/],
    [() => b.make("permute", { axes: [0, 0] }, [x]), /an axis occurs twice/],
    [() => b.make("slice", { start: [0, 2], stop: [2, 2], step: [1, 1] }, [x]), /2:2:1 of an axis of size 3/],
    [() => b.make("sum", { axes: [2] }, [x]), /no axis 2/],
    [() => g.fill(b, 1, [0]), /an axis of size 0/],
    [() => b.make("literal", { values: [1], shape: [2], dtype: "f32" }, []), /1 values for \[2\]/],
    [() => b.input("x", "batch", "f32", [3]), /input x is declared twice/],
    [() => b.make("neg", {}, [createBuilder().input("z", "batch", "f32", [])]), /is of another graph/],
    [() => g.add(b, x, g.fill(b, 1, [2])), /do not broadcast/],
  ]
  for (const [make, message] of wrong) assert.throws(make, message)
})

test("the helpers broadcast as NumPy does and write it out", () => {
  const b = createBuilder()
  const y = g.add(b, g.literal(b, [1, 2], [2, 1]), g.literal(b, [10, 20, 30]))
  assert.equal([...(evaluate([y])[0]?.data ?? [])], [11, 21, 31, 12, 22, 32])
  assert.ok(y.inputs.every((x) => x.op === "broadcast" && x.shape.join() === "2,3"))
})

test("helper functions against their formulas", () => {
  const b = createBuilder()
  const x = g.literal(b, [-1.5, 0, 0.5, 2])
  const numbers = (node: Node): number[] => [...(evaluate([node], {}, "f64")[0]?.data ?? [])]
  const near = (node: Node, expected: readonly number[]): void => numbers(node).forEach((v, i) => assert.ok(Math.abs(v - (expected[i] ?? NaN)) < 1e-7, `${v} ${expected[i]}`))
  near(g.silu(b, x), [-1.5, 0, 0.5, 2].map((v) => v / (1 + Math.exp(-v))))
  near(g.gelu(b, x), [-0.1002108, 0, 0.3457312, 1.9544997])
  near(g.geluTanh(b, x), [-0.10042842, 0, 0.34571401, 1.95459769])
  near(g.mean(b, x), [0.25])
  near(g.oneHot(b, g.literal(b, [1, 3, 0], [3], "i32"), 3), [0, 1, 0, 0, 0, 0, 1, 0, 0])
  near(g.stack(b, [x, x], 1), [-1.5, -1.5, 0, 0, 0.5, 0.5, 2, 2])
  assert.equal(g.stack(b, [x, x], 1).shape, [4, 2])
  const three = g.literal(b, Array.from({ length: 12 }, (_, i) => i), [2, 2, 3])
  near(g.matmul(b, three, g.literal(b, [1, 0, 2], [3, 1])), [4, 13, 22, 31])
  assert.equal(g.matmul(b, three, g.literal(b, [1, 0, 2], [1, 3]), true).shape, [2, 2, 1])
  near(g.matmul(b, g.literal(b, [1, 1], [1, 2]), three), [3, 5, 7, 15, 17, 19])
  assert.equal(g.transpose(b, three, 0, 2).shape, [3, 2, 2])
})

test("a listing numbers by order and shows notes, flags and loops", () => {
  const b = createBuilder()
  g.fill(b, 99)
  const x = b.input("x", "batch", "f32", [2, 3])
  const y = b.at("blocks[0].attn.q", () => g.dot(b, x, g.literal(b, [1, 2, 3], [1, 3]), false, true))
  const { results } = g.scan(b, 2, [g.fill(b, 0)], [g.squeeze(b, y, [1])], (inner, [c], [v]) => {
    if (!c || !v) throw new Error()
    return { carries: [g.add(inner, c, v)], results: [c] }
  })
  assert.is(printProgram({ name: "small", inputs: [x], outputs: [{ name: "y", node: results[0] ?? y }] }), [
    "program small",
    "  %0 = input {name: x, role: batch} : f32[2, 3]",
    "  %1 = literal {values: [1, 2, 3]} : f32[1, 3]  // blocks[0].attn.q",
    "  %2 = dot(%0, %1) {tb} : f32[2, 1]  // blocks[0].attn.q",
    "  %3 = fill {value: 0} : f32[]",
    "  %4 = reshape(%2) : f32[2]",
    "  %5 = scan(%3, %4) {body 0, trips: 2, carries: 1, output: 1} : f32[2]",
    "  y = %5",
    "body 0",
    "  %0 = input {name: carry0, role: batch} : f32[]",
    "  %1 = input {name: x0, role: batch} : f32[]",
    "  %2 = add(%0, %1) : f32[]",
    "  return %2, %0",
    "",
  ].join("\n"))
})

test("printing is stable under rebuilding", () => {
  const program = trainingLike()
  const once = decompose(program)
  assert.is(printProgram(decompose(once)), printProgram(once))
})

test("verify finds what no builder would make", () => {
  const program = trainingLike()
  assert.equal(problems(program), [])
  const [first, ...others] = program.outputs
  if (!first) throw new Error()
  const forged: Node = { ...first.node, shape: [99] }
  const bad = (outputs: typeof program.outputs, inputs = program.inputs): string => problems({ ...program, inputs, outputs }).join("\n")
  assert.match(bad([{ name: "forged", node: forged }]), /is f32\[99\] but should be f32\[\]/)
  assert.match(bad([first, first, ...others]), /two outputs are called loss/)
  assert.match(bad([{ name: "w", node: first.node }]), /state w is f32\[3, 2\] but becomes f32\[\]/)
  assert.match(bad([{ name: "x", node: first.node }]), /output x has the name of a batch input/)
  assert.match(bad(program.outputs, program.inputs.slice(1)), /is not declared/)
  assert.match(bad(program.outputs, [...program.inputs, ...program.inputs]), /two inputs are called/)
  assert.throws(() => verify({ ...program, outputs: [first, first] }, "simplify"), /^simplify: program step is not well formed/)
})

test.run()
