/** Composite ops against formulas written with plain loops. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import { createCaseInputs } from "./case-inputs.ts"
import { decompose, isComposite, ropeFrequencies } from "./composite.ts"
import { evaluate } from "./interpret.ts"
import type { Node, Op } from "./node.ts"
import { opCases } from "./op-cases.ts"
import * as g from "./ops.ts"
import type { Value } from "./value.ts"
import { value } from "./value.ts"
import { reachable } from "./walk.ts"

function close(actual: Value | undefined, expected: readonly number[], tolerance = 1e-12): void {
  const got = [...(actual?.data ?? [])]
  assert.is(got.length, expected.length)
  got.forEach((x, i) => assert.ok(Math.abs(x - (expected[i] ?? NaN)) <= tolerance * Math.max(1, Math.abs(expected[i] ?? 0)), `element ${i}: ${x} instead of ${expected[i]}`))
}

function literal(b: Builder, shape: readonly number[], f: (i: number) => number): { node: Node; data: number[] } {
  const data = Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => f(i))
  return { node: g.literal(b, data, shape), data }
}

const run = (node: Node): Value | undefined => evaluate([node], {}, "f64")[0]

function softmaxOf(row: readonly number[]): number[] {
  const total = row.reduce((sum, x) => sum + Math.exp(x), 0)
  return row.map((x) => Math.exp(x) / total)
}

test("softmax and log_softmax", () => {
  const b = createBuilder()
  const x = literal(b, [2, 4], (i) => Math.sin(3 * i) * 3)
  const rows = [x.data.slice(0, 4), x.data.slice(4)].map(softmaxOf)
  close(run(g.softmax(b, x.node)), rows.flat())
  close(run(g.logSoftmax(b, x.node)), rows.flat().map(Math.log))
})

test("softmax of huge and of equal logits is finite", () => {
  const b = createBuilder()
  const x = g.literal(b, [3e38, 0, -3e38, 7, 7, 7], [2, 3])
  assert.equal([...(evaluate([g.softmax(b, x)])[0]?.data ?? [])], [1, 0, 0, ...Array<number>(3).fill(Math.fround(1 / 3))])
})

test("cross_entropy counts labelled rows only, and so does its gradient", () => {
  const b = createBuilder()
  const x = literal(b, [3, 4], (i) => Math.cos(i * 2))
  const labels = g.literal(b, [2, -1, 0], [3], "i32")
  const p = [0, 4, 8].map((at) => softmaxOf(x.data.slice(at, at + 4)))
  close(run(g.crossEntropy(b, x.node, labels)), [-Math.log(p[0]?.[2] ?? 0), 0, -Math.log(p[2]?.[0] ?? 0)])
  const upstream = g.literal(b, [2, 5, -1])
  const grad = p.map((row, i) => row.map((v, j) => (i === 1 ? 0 : (v - (j === [2, -1, 0][i] ? 1 : 0)) * ([2, 5, -1][i] ?? 0))))
  close(run(b.make("cross_entropy_grad", {}, [x.node, labels, upstream])), grad.flat())
})

test("rms_norm and layer_norm", () => {
  const b = createBuilder()
  const [x, s, t] = [literal(b, [2, 3], (i) => i * i - 4), literal(b, [3], (i) => i + 0.5), literal(b, [3], (i) => -i)]
  const rms: number[] = []
  const layer: number[] = []
  for (const row of [x.data.slice(0, 3), x.data.slice(3)]) {
    const mean = row.reduce((sum, v) => sum + v, 0) / 3
    const power = row.reduce((sum, v) => sum + v * v, 0) / 3
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 3
    row.forEach((v, i) => rms.push((v / Math.sqrt(power + 0.01)) * (i + 0.5)))
    row.forEach((v, i) => layer.push(((v - mean) / Math.sqrt(variance + 0.01)) * (i + 0.5) - i))
  }
  close(run(g.rmsNorm(b, x.node, s.node, 0.01)), rms)
  close(run(g.layerNorm(b, x.node, s.node, t.node, 0.01)), layer)
})

test("rope turns the pairs (i, i + d/2) by position * base^(-2i/d), and back", () => {
  const b = createBuilder()
  const x = literal(b, [1, 2, 2, 4], (i) => i + 1)
  const positions = [3, 11]
  const turned = g.rope(b, x.node, g.literal(b, positions, [1, 2], "i32"), 100)
  const expected = x.data.map((v, at) => {
    const [i, t] = [at % 4, Math.floor(at / 4) % 2]
    const angle = (positions[t] ?? 0) * 100 ** (-(i % 2) / 2)
    const partner = x.data[i < 2 ? at + 2 : at - 2] ?? 0
    return i < 2 ? v * Math.cos(angle) - partner * Math.sin(angle) : v * Math.cos(angle) + partner * Math.sin(angle)
  })
  close(run(turned), expected, 1e-11)
  close(run(b.make("rope", { base: 100, inverse: true }, [turned, g.literal(b, positions, [1, 2], "i32")])), x.data, 1e-11)
})

test("rope frequencies are the powers of the base", () => {
  ropeFrequencies(64, 10000).forEach((x, i) => assert.ok(Math.abs(x / 10000 ** ((-2 * i) / 64) - 1) < 1e-14))
})

interface Attention {
  readonly b: number; readonly h: number; readonly g: number; readonly t: number; readonly s: number; readonly d: number; readonly e: number
  readonly causal: boolean; readonly window: number | null
  readonly segments: readonly [readonly number[], readonly number[]] | null
  readonly offset: readonly number[] | null
  readonly biased: boolean
}

const wave = (seed: number) => (i: number): number => Math.sin(i * 12.9898 + seed) * 1.7

/** Scaled dot-product attention with every rule as an if. */
function naive(n: Attention): number[] {
  const [q, k, v, bias] = [wave(1), wave(2), wave(3), wave(4)]
  const out: number[] = []
  for (let b = 0; b < n.b; b++) for (let h = 0; h < n.h; h++) for (let i = 0; i < n.t; i++) {
    const group = Math.floor(h / (n.h / n.g))
    const place = i + (n.offset?.[b] ?? (n.causal ? n.s - n.t : 0))
    const weights: number[] = []
    for (let j = 0; j < n.s; j++) {
      const far = place - j
      const [qs, ks] = [n.segments?.[0][b * n.t + i] ?? 0, n.segments?.[1][b * n.s + j] ?? 0]
      const allowed = !(n.causal && far < 0) && !(n.window !== null && (far >= n.window || (!n.causal && -far >= n.window))) && qs === ks && ks >= 0
      let score = n.biased ? bias(((b * n.h + h) * n.t + i) * n.s + j) : 0
      for (let c = 0; c < n.d; c++) score += 0.3 * q(((b * n.h + h) * n.t + i) * n.d + c) * k(((b * n.g + group) * n.s + j) * n.d + c)
      weights.push(allowed ? Math.exp(score) : 0)
    }
    const total = weights.reduce((x, y) => x + y, 0)
    for (let c = 0; c < n.e; c++) {
      out.push(total === 0 ? 0 : weights.reduce((sum, w, j) => sum + (w / total) * v(((b * n.g + group) * n.s + j) * n.e + c), 0))
    }
  }
  return out
}

const plain = { causal: false, window: null, segments: null, offset: null, biased: false }
const attentions: Readonly<Record<string, Attention>> = {
  "every key": { b: 2, h: 2, g: 2, t: 3, s: 5, d: 2, e: 3, ...plain },
  "groups of heads": { b: 1, h: 6, g: 2, t: 2, s: 2, d: 3, e: 1, ...plain },
  causal: { b: 1, h: 1, g: 1, t: 4, s: 4, d: 2, e: 2, ...plain, causal: true },
  "the last queries of a longer row": { b: 1, h: 2, g: 1, t: 2, s: 5, d: 2, e: 2, ...plain, causal: true },
  "queries before all keys": { b: 1, h: 1, g: 1, t: 5, s: 2, d: 2, e: 2, ...plain, causal: true },
  "a causal window": { b: 1, h: 1, g: 1, t: 6, s: 6, d: 2, e: 2, ...plain, causal: true, window: 2 },
  "a window to both sides": { b: 1, h: 1, g: 1, t: 6, s: 6, d: 2, e: 2, ...plain, window: 3 },
  segments: { b: 2, h: 2, g: 1, t: 4, s: 4, d: 2, e: 2, ...plain, causal: true, segments: [[0, 0, 1, 1, 0, 1, 1, -1], [0, 0, 1, 1, 0, 1, 1, -1]] },
  "an offset per row": { b: 2, h: 1, g: 1, t: 1, s: 6, d: 2, e: 2, ...plain, causal: true, offset: [1, 4] },
  "everything at once": { b: 2, h: 4, g: 2, t: 3, s: 5, d: 2, e: 3, causal: true, window: 3, segments: [[0, 0, 1, 2, 2, 2], [0, 0, 1, 1, 1, 2, 2, 2, -1, 2]], offset: [2, 0], biased: true },
}

for (const [name, n] of Object.entries(attentions)) {
  test(`attend: ${name}`, () => {
    const b = createBuilder()
    const tensor = (seed: number, shape: readonly number[]): Node => literal(b, shape, wave(seed)).node
    const y = g.attend(b, tensor(1, [n.b, n.h, n.t, n.d]), tensor(2, [n.b, n.g, n.s, n.d]), tensor(3, [n.b, n.g, n.s, n.e]), {
      scale: 0.3, causal: n.causal, window: n.window,
      ...(n.segments ? { segments: [g.literal(b, n.segments[0], [n.b, n.t], "i32"), g.literal(b, n.segments[1], [n.b, n.s], "i32")] as const } : {}),
      ...(n.offset ? { offset: g.literal(b, n.offset, [n.b], "i32") } : {}),
      ...(n.biased ? { bias: tensor(4, [n.b, n.h, n.t, n.s]) } : {}),
    })
    close(run(y), naive(n))
  })
}

test("decompose leaves no composite, also inside loops", () => {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [3, 4])
  const { carries } = g.scan(b, 3, [g.fill(b, 0, [4])], [x], (inner, [c], [row]) => {
    if (!c || !row) throw new Error()
    return { carries: [g.softmax(inner, g.add(inner, c, row))], results: [] }
  })
  const program = { name: "p", inputs: [x], outputs: [{ name: "y", node: carries[0] ?? x }] }
  const spelled = decompose(program)
  const body = reachable(spelled.outputs.map((o) => o.node)).find((node) => node.op === "scan")
  assert.ok(body?.op === "scan" && !reachable(body.args.body.outputs).some((node) => isComposite(node.op)))
  const feeds = { x: value(Array.from({ length: 12 }, (_, i) => i / 3), [3, 4]) }
  assert.equal(evaluate(spelled.outputs.map((o) => o.node), feeds), evaluate(program.outputs.map((o) => o.node), feeds))
})

test("decompositions keep shape and dtype", () => {
  for (const op of (Object.keys(opCases) as Op[]).filter(isComposite)) {
    for (const graph of opCases[op].smooth) {
      const { inputs, nodes } = createCaseInputs(op)
      const outputs = graph(inputs).map((node, i) => ({ name: `y${i}`, node }))
      const spelled = decompose({ name: op, inputs: nodes, outputs })
      assert.equal(spelled.outputs.map(({ node }) => [node.dtype, ...node.shape]), outputs.map(({ node }) => [node.dtype, ...node.shape]), op)
    }
  }
})

test.run()
