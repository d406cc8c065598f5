import { test } from "uvu"
import * as assert from "uvu/assert"
import { weightsOf } from "../compiler/check/instance.ts"
import { list, record } from "../compiler/check/make.ts"
import { createLowering, tensorOf } from "../compiler/graph/lower/context.ts"
import { initialValues, weightShape } from "../compiler/graph/lower/initial.ts"
import { value as hostValue } from "../compiler/graph/value.ts"
import { recipe, run } from "./testing.ts"

/**
 * The models against forward passes written by hand, in f64, from the papers' formulas: two documents in one row, so that
 * segments, restarted positions and masks matter.
 */
type Vector = number[]
type Matrix = Vector[]
type Weights = (path: string) => Matrix

const tokens = [3, 1, 4, 1, 5, 2]
const positions = [0, 1, 2, 3, 0, 1]
const segments = [0, 0, 0, 0, 1, 1]

interface Ran { readonly logits: Matrix; readonly hidden: readonly Matrix[]; readonly weights: Weights }

/** Logits and hidden states of the library's text on the reference interpreter, and the weights they come from. */
function library(model: string): Ran {
  const { values, session } = recipe(`model M = ${model}`, "models")
  const spec = values.get("M")
  if (spec?.kind !== "spec") throw new Error("not a specification")
  const low = createLowering(session, { training: false, rows: null })
  const at = { source: "test.slm", start: 0, end: 0 }
  const instance = low.machine.instantiate(spec, "model", at)
  if (instance.kind === "error") throw new Error("cannot be instantiated")
  const ids = (values: readonly number[]) => tensorOf(low.b.make("literal", { values, shape: [1, values.length], dtype: "i32" }, []))
  const batch = record({ tokens: ids(tokens), at: record({ positions: ids(positions), segments: ids(segments) }) })
  const out = low.machine.apply(instance, [batch], at)
  const hidden = out.kind === "record" ? out.fields.get("hidden") : undefined
  const logits = out.kind === "record" ? out.fields.get("logits") : undefined
  if (hidden?.kind !== "list" || logits === undefined) throw new Error("no outputs")
  const nodes = list([logits, ...hidden.items]).items.map((v) => { if (v.kind !== "tensor" || v.node === null) throw new Error("no node"); return v.node })
  const [first, ...rest] = run(nodes, low, { step: hostValue([1], [], "i32") }).map((v) => matrix(v.data, v.shape.at(-1) ?? 1))
  const infos = new Map(weightsOf(instance).map((w) => [w.path, w]))
  const weights: Weights = (path) => {
    const info = infos.get(path)
    if (info === undefined) throw new Error(`no weight ${path}`)
    const shape = weightShape(info, new Map())
    return matrix(initialValues(info.init, shape, path, 0), shape.at(-1) ?? 1)
  }
  return { logits: first ?? [], hidden: rest, weights }
}

function matrix(data: ArrayLike<number>, width: number): Matrix {
  return Array.from({ length: data.length / width }, (_, i) => Array.from({ length: width }, (_, j) => data[i * width + j] ?? NaN))
}

const dot = (a: Vector, b: Vector): number => a.reduce((n, x, i) => n + x * (b[i] ?? NaN), 0)
const linear = (x: Matrix, weight: Matrix): Matrix => x.map((row) => weight.map((w) => dot(row, w)))
const plus = (a: Matrix, b: Matrix): Matrix => a.map((row, i) => row.map((x, j) => x + (b[i]?.[j] ?? NaN)))
const each = (a: Matrix, f: (x: number) => number): Matrix => a.map((row) => row.map(f))
const times = (a: Matrix, b: Matrix): Matrix => a.map((row, i) => row.map((x, j) => x * (b[i]?.[j] ?? NaN)))

function rmsNorm(x: Matrix, [scale]: Matrix): Matrix {
  return x.map((row) => row.map((v, i) => (v / Math.sqrt(dot(row, row) / row.length + 1e-5)) * (scale?.[i] ?? NaN)))
}

function layerNorm(x: Matrix, [scale]: Matrix): Matrix {
  return x.map((row) => {
    const mean = row.reduce((a, b) => a + b, 0) / row.length
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * (scale?.[i] ?? NaN))
  })
}

function rotate(head: Vector, position: number): Vector {
  const half = head.length / 2
  return head.map((x, i) => {
    const angle = position * 10000 ** ((-2 * (i % half)) / head.length)
    const other = i < half ? -(head[i + half] ?? NaN) : head[i - half] ?? NaN
    return x * Math.cos(angle) + other * Math.sin(angle)
  })
}

interface Sizes { readonly heads: number; readonly shared: number; readonly window: number; readonly rotary: boolean }

function attention(x: Matrix, w: Weights, at: string, { heads, shared, window, rotary }: Sizes): Matrix {
  const [q, k, v] = ["q", "k", "v"].map((part) => linear(x, w(`${at}.${part}.weight`))) as [Matrix, Matrix, Matrix]
  const size = (q[0]?.length ?? 0) / heads
  const headOf = (m: Matrix, t: number, h: number): Vector => (m[t] ?? []).slice(h * size, (h + 1) * size)
  const turned = (m: Matrix, t: number, h: number): Vector => (rotary ? rotate(headOf(m, t, h), positions[t] ?? NaN) : headOf(m, t, h))
  const mixed = x.map((_, t) => Array.from({ length: heads }, (_, h) => {
    const group = Math.floor(h / (heads / shared))
    const seen = x.map((_, s) => s).filter((s) => s <= t && t - s < window && segments[s] === segments[t])
    const scores = seen.map((s) => Math.exp(dot(turned(q, t, h), turned(k, s, group)) / Math.sqrt(size)))
    const total = scores.reduce((a, b) => a + b, 0)
    return Array.from({ length: size }, (_, d) => seen.reduce((n, s, i) => n + ((scores[i] ?? NaN) / total) * (headOf(v, s, group)[d] ?? NaN), 0))
  }).flat())
  return linear(mixed, w(`${at}.out.weight`))
}

function near(found: Matrix, wanted: Matrix): void {
  const worst = Math.max(...found.flatMap((row, i) => row.map((x, j) => Math.abs(x - (wanted[i]?.[j] ?? NaN)))))
  assert.ok(found.length === wanted.length && worst < 1e-4, `off by ${worst}`)
}

function llama(w: Weights, depth: number, sizes: Sizes, tied: boolean): { logits: Matrix; hidden: Matrix[] } {
  let x = tokens.map((t) => w("embed.weight")[t] ?? [])
  const hidden = Array.from({ length: depth }, (_, i) => {
    const at = `blocks[${i}]`
    x = plus(x, attention(rmsNorm(x, w(`${at}.attn_norm.scale`)), w, `${at}.attn`, sizes))
    const h = rmsNorm(x, w(`${at}.mlp_norm.scale`))
    const gate = each(linear(h, w(`${at}.mlp.gate.weight`)), (v) => v / (1 + Math.exp(-v)))
    x = plus(x, linear(times(gate, linear(h, w(`${at}.mlp.up.weight`))), w(`${at}.mlp.down.weight`)))
    return x
  })
  const last = rmsNorm(x, w("norm.scale"))
  return { hidden: [...hidden.slice(0, -1), last], logits: linear(last, w(tied ? "embed.weight" : "head.weight")) }
}

test("Llama: grouped queries, rotary positions, two documents", () => {
  const found = library("Llama(vocab: 7, dim: 16, depth: 2, heads: 4, kv_heads: 2, hidden: 24, std: 0.4)")
  const wanted = llama(found.weights, 2, { heads: 4, shared: 2, window: Infinity, rotary: true }, false)
  near(found.logits, wanted.logits)
  found.hidden.forEach((h, i) => near(h, wanted.hidden[i] ?? []))
  assert.is(found.hidden.length, 2)
})

test("Llama: sliding window and a tied head", () => {
  const found = library("Llama(vocab: 7, dim: 16, depth: 1, heads: 2, hidden: 24, window: 2, tie: true, std: 0.4)")
  near(found.logits, llama(found.weights, 1, { heads: 2, shared: 2, window: 2, rotary: true }, true).logits)
})

/** Abramowitz and Stegun 7.1.26 is too coarse here: the series of the error function. */
function erf(x: number): number {
  let [term, sum] = [x, x]
  for (let n = 1; n < 60; n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

test("GPT: learned places, LayerNorm without offsets, exact gelu, a tied head", () => {
  const { logits, weights: w } = library("GPT(vocab: 7, dim: 16, depth: 2, heads: 4, context: 8, bias: false, exact: true, std: 0.4)")
  let x = tokens.map((t, i) => (w("embed.weight")[t] ?? []).map((v, j) => v + (w("places.weight")[positions[i] ?? 0]?.[j] ?? NaN)))
  for (const at of ["blocks[0]", "blocks[1]"]) {
    x = plus(x, attention(layerNorm(x, w(`${at}.attn_norm.scale`)), w, `${at}.attn`, { heads: 4, shared: 4, window: Infinity, rotary: false }))
    const h = linear(layerNorm(x, w(`${at}.mlp_norm.scale`)), w(`${at}.mlp.up.weight`))
    x = plus(x, linear(each(h, (v) => 0.5 * v * (1 + erf(v / Math.SQRT2))), w(`${at}.mlp.down.weight`)))
  }
  near(logits, linear(layerNorm(x, w("norm.scale")), w("embed.weight")))
})

test("weights start as GPT-2's: 0.02, and less by sqrt(2 depth) on the way back into the stream", () => {
  const deviation = (m: Matrix): number => Math.sqrt(m.flat().reduce((n, x) => n + x * x, 0) / m.flat().length)
  for (const model of ["Llama(vocab: 64, dim: 64, depth: 8, heads: 2)", "GPT(vocab: 64, dim: 64, depth: 8, heads: 2, context: 16)"]) {
    const { weights: w } = library(model)
    for (const path of ["embed", "blocks[3].attn.q", "blocks[3].mlp.up"]) assert.ok(Math.abs(deviation(w(`${path}.weight`)) / 0.02 - 1) < 0.05, path)
    for (const path of ["blocks[3].attn.out", "blocks[3].mlp.down"]) assert.ok(Math.abs(deviation(w(`${path}.weight`)) / 0.005 - 1) < 0.05, path)
  }
})

test.run()
