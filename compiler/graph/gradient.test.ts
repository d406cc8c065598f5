import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "./builder.ts"
import { createCaseInputs, weightedLoss } from "./case-inputs.ts"
import { decomposeNode, isComposite } from "./composite.ts"
import { gradients } from "./gradient.ts"
import { gradientRules } from "./gradients.ts"
import type { Prepared } from "./interpret.ts"
import { evaluate, prepare, runPrepared } from "./interpret.ts"
import type { Node, NodeOf, Op } from "./node.ts"
import type { CaseGraph } from "./op-cases.ts"
import { opCases } from "./op-cases.ts"
import * as g from "./ops.ts"
import { fillUniform } from "./random.ts"
import { rewriteInto } from "./rewrite.ts"
import type { Value } from "./value.ts"
import { value } from "./value.ts"
import { reachable } from "./walk.ts"

/** By definition not the derivative of the value. */
const notDerivatives: readonly Op[] = ["stop_gradient", "narrow"]

type Feeds = Map<string, Value>

function run(prepared: Prepared, feeds: Feeds): Value[] {
  return runPrepared(prepared, feeds, "f64")
}

function scalar(values: readonly Value[]): number {
  return values[0]?.data[0] ?? NaN
}

/** The feeds with one input moved by `step` along `direction`. */
function moved(feeds: Feeds, name: string, direction: Float64Array, step: number): Feeds {
  const old = feeds.get(name)
  if (old === undefined) throw new Error(name)
  return new Map(feeds).set(name, { ...old, data: Float64Array.from(old.data, (x, i) => x + step * (direction[i] ?? 0)) })
}

/** A dense direction, and single elements, up to eight of them spread over the tensor. */
function directions(n: number): Float64Array[] {
  const dense = new Float64Array(n)
  fillUniform({ seed: 3, stream: n, step: 0, row: 0 }, dense)
  const stride = Math.ceil(n / 8)
  const single = Array.from({ length: Math.ceil(n / stride) }, (_, i) => {
    const direction = new Float64Array(n)
    direction[Math.min(n - 1, i * stride + (i % stride))] = 1
    return direction
  })
  return [dense.map((x) => x - 0.4), ...single]
}

function checkAgainstDifferences(name: string, graph: CaseGraph): number {
  const { inputs, feeds: given, nodes } = createCaseInputs(name)
  const loss = weightedLoss(inputs, graph(inputs))
  const wrt = nodes.filter((node) => node.dtype === "f32")
  if (loss === null || wrt.length === 0) return 0
  const feeds: Feeds = new Map(Object.entries(given))
  const slopes = run(prepare(gradients(inputs.b, loss, wrt)), feeds)
  const prepared = prepare([loss])
  const h = 1e-5
  wrt.forEach((node, k) => {
    const slope = slopes[k]?.data ?? new Float64Array()
    for (const direction of directions(slope.length)) {
      const up = scalar(run(prepared, moved(feeds, node.args.name, direction, h)))
      const down = scalar(run(prepared, moved(feeds, node.args.name, direction, -h)))
      const expected = (up - down) / (2 * h)
      const actual = direction.reduce((sum, x, i) => sum + x * (slope[i] ?? 0), 0)
      assert.ok(Math.abs(actual - expected) <= 2e-7 * Math.max(1, Math.abs(expected)), `${name}, ${node.args.name}: ${actual} instead of ${expected}`)
    }
  })
  return wrt.length
}

for (const op of Object.keys(opCases) as Op[]) {
  if (notDerivatives.includes(op)) continue
  test(`the gradient of ${op} agrees with finite differences`, () => {
    let checked = 0
    opCases[op].smooth.forEach((graph, i) => (checked += checkAgainstDifferences(`${op} ${i}`, graph)))
    const differentiable = gradientRules[op] !== "none"
    if (differentiable) assert.ok(checked > 0, "no case has an f32 input")
  })
}

/** The loss with its composite ops spelled out, in the same builder over the same inputs. */
function spelledOut(b: ReturnType<typeof createBuilder>, loss: Node, inputs: readonly Node[]): Node {
  const known = new Map<Node, Node>(inputs.map((node) => [node, node]))
  return rewriteInto(b, [loss], decomposeNode, known).get(loss) ?? loss
}

for (const op of (Object.keys(opCases) as Op[]).filter(isComposite)) {
  test(`law: the rule of ${op} agrees with differentiating its decomposition`, () => {
    opCases[op].smooth.forEach((graph, i) => {
      const { inputs, feeds, nodes } = createCaseInputs(`law ${op} ${i}`)
      const loss = weightedLoss(inputs, graph(inputs))
      if (loss === null) throw new Error("a composite has f32 outputs")
      const wrt: Node[] = nodes.filter((node) => node.dtype === "f32")
      const plain = spelledOut(inputs.b, loss, nodes)
      assert.not(reachable([plain]).some((node) => isComposite(node.op)))
      const [ruled, spelled] = [gradients(inputs.b, loss, wrt), gradients(inputs.b, plain, wrt)]
      const [p, q] = [evaluate(ruled, feeds, "f64"), evaluate(spelled, feeds, "f64")]
      p.forEach((x, k) => x.data.forEach((v, j) => {
        const w = q[k]?.data[j] ?? NaN
        assert.ok(Math.abs(v - w) <= 1e-11 * Math.max(1, Math.abs(w)), `case ${i}, input ${k}, element ${j}: ${v} and ${w}`)
      }))
    })
  })
}

function inputsOf(...shapes: readonly (readonly number[])[]): { b: ReturnType<typeof createBuilder>; x: NodeOf<"input">[] } {
  const b = createBuilder()
  return { b, x: shapes.map((shape, i) => b.input(`x${i}`, "batch", "f32", shape)) }
}

function numbers(nodes: readonly Node[], feeds: Record<string, Value>): number[][] {
  return evaluate(nodes, feeds, "f64").map((v) => [...v.data])
}

test("kinks and ties: what the spec says", () => {
  const { b, x: [p] } = inputsOf([3])
  if (!p) throw new Error()
  const feeds = { x0: value([-1, 0, 2], [3]) }
  const by = (y: Node): number[] => numbers(gradients(b, g.sum(b, y), [p]), feeds)[0] ?? []
  assert.equal(by(g.relu(b, p)), [0, 0, 1])
  assert.equal(by(g.abs(b, p)).map((v) => v + 0), [-1, 0, 1])
  assert.equal(by(g.max(b, p, 0)), [0, 1, 1], "the first operand on ties")
  assert.equal(by(g.min(b, 0, p)), [1, 0, 0], "the first operand on ties")
  assert.equal(by(g.maxOf(b, g.concat(b, [p, p], 0))), [0, 0, 1], "ties share evenly")
  assert.equal(by(g.pow(b, p, 0)).map((v) => v + 0), [0, 0, 0])
})

test("narrow passes the gradient straight through, stop_gradient stops it", () => {
  const { b, x: [p] } = inputsOf([2])
  if (!p) throw new Error()
  const feeds = { x0: value([0.3, 7.7], [2]) }
  assert.equal(numbers(gradients(b, g.sum(b, b.make("narrow", { format: "bf16" }, [p])), [p]), feeds), [[1, 1]])
  assert.equal(numbers(gradients(b, g.sum(b, g.mul(b, p, g.stopGradient(b, p))), [p]), feeds)[0]?.map(Math.fround), [0.3, 7.7].map(Math.fround))
})

test("a parameter without a path from the loss gets zeros of its shape", () => {
  const { b, x: [p, q] } = inputsOf([2], [3, 2])
  if (!p || !q) throw new Error()
  const [, slope] = gradients(b, g.sum(b, p), [p, q])
  assert.equal(slope?.shape, [3, 2])
  assert.equal(slope && numbers([slope], {}), [[0, 0, 0, 0, 0, 0]])
})

test("gradients by a value in the middle and by what it is made of", () => {
  const { b, x: [p] } = inputsOf([])
  if (!p) throw new Error()
  const middle = g.mul(b, p, 3)
  const loss = g.add(b, g.square(b, middle), p)
  assert.equal(numbers(gradients(b, loss, [middle, p, loss]), { x0: value([2], []) }), [[12], [37], [1]])
})

test("second derivatives of composites go through their decomposition", () => {
  const { b, x: [x, s] } = inputsOf([2, 3], [3])
  if (!x || !s) throw new Error()
  const feeds = { x0: value([1, 2, -1, 0.5, 0.2, 3], [2, 3]), x1: value([1, 2, 0.5], [3]) }
  const weights = g.literal(b, [1, -2, 3, 0.5, 1, 2], [2, 3])
  const second = (y: Node): number[] => {
    const [first] = gradients(b, g.sum(b, g.mul(b, y, weights)), [x])
    if (!first) throw new Error()
    return numbers(gradients(b, g.sum(b, g.square(b, first)), [x]), feeds)[0] ?? []
  }
  const plain = (y: Node): Node => spelledOut(b, y, [x, s])
  const ruled = second(g.rmsNorm(b, x, s, 1e-3))
  second(plain(g.rmsNorm(b, x, s, 1e-3))).forEach((v, i) => assert.ok(Math.abs(v - (ruled[i] ?? NaN)) < 1e-10))
})

test("property: gradients of micro-batches add up to that of the batch, however it is cut", () => {
  const [rows, width, classes] = [7, 4, 5]
  const x = Array.from({ length: rows * width }, (_, i) => Math.sin(i * 1.3))
  const labels = Array.from({ length: rows }, (_, i) => (i === 2 ? -1 : (i * 3) % classes))
  const slope = (from: number, to: number): number[] => {
    const b = createBuilder()
    const n = to - from
    const w = g.reshape(b, g.sin(b, g.cast(b, g.iota(b, [width * classes]), "f32")), [width, classes])
    const given = g.literal(b, x.slice(from * width, to * width), [n, width])
    const hidden = g.rmsNorm(b, given, g.fill(b, 1, [width]), 1e-5)
    const loss = g.sum(b, g.crossEntropy(b, g.matmul(b, hidden, w), g.literal(b, labels.slice(from, to), [n], "i32")))
    return numbers(gradients(b, loss, [w]), {})[0] ?? []
  }
  const whole = slope(0, rows)
  fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 1, max: rows - 1 })), (cuts) => {
    const ends = [...cuts.sort((p, q) => p - q), rows]
    const parts = ends.map((end, i) => slope(i === 0 ? 0 : ends[i - 1] ?? 0, end))
    return whole.every((v, i) => Math.abs(v - parts.reduce((sum, part) => sum + (part[i] ?? NaN), 0)) < 1e-12)
  }), { numRuns: 50, seed: 5 })
})

test("a deep graph does not exhaust the stack", () => {
  const { b, x: [x] } = inputsOf([])
  if (!x) throw new Error()
  let y: Node = x
  for (let i = 0; i < 20000; i++) y = g.add(b, g.mul(b, y, i % 2 === 0 ? 0.5 : 2), x)
  assert.ok(Number.isFinite(numbers(gradients(b, y, [x]), { x0: value([1], []) })[0]?.[0]))
})

test("a loss of several elements, or a gradient by integers, is a bug of the caller", () => {
  const { b, x: [x] } = inputsOf([2])
  if (!x) throw new Error()
  assert.throws(() => gradients(b, x, [x]), /loss is f32\[2\]/)
  assert.throws(() => gradients(b, g.sum(b, x), [g.cast(b, x, "i32")]), /only f32 has gradients/)
})

test.run()
