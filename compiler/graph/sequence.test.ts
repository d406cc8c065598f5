import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import { prepare, runPrepared } from "./interpret.ts"
import type { Node, Op, Program } from "./node.ts"
import { size } from "./node.ts"
import * as g from "./ops.ts"
import { fillNormal } from "./random.ts"
import type { Continuation } from "./sequence.ts"
import { continueSequence, isMixing } from "./sequence.ts"
import { relocated, sequenceRules } from "./sequence-rules.ts"
import { shapeRules } from "./shapes.ts"
import type { Value } from "./value.ts"
import { value } from "./value.ts"
import { reachable } from "./walk.ts"

const B = 2
const V = 11
const D = 8

interface Inputs { readonly tokens: Node; readonly positions: Node; readonly segments: Node }

/** A forward program over `T` positions: tokens, positions and segments in, logits out. */
function forward(T: number, body: (b: Builder, inputs: Inputs) => Node): Program {
  const b = createBuilder()
  const sequence = (name: string): Node => b.input(name, "batch", "i32", [B, T])
  const logits = body(b, { tokens: sequence("tokens"), positions: sequence("positions"), segments: sequence("segments") })
  const inputs = reachable([logits]).filter((node) => node.op === "input")
  return { name: "forward", inputs, outputs: [{ name: "logits", node: logits }] }
}

const weight = (b: Builder, name: string, ...shape: number[]): Node => b.input(name, "state", "f32", shape)

/** Llama's block: grouped-query attention with rotary positions, then a gated MLP. */
function llama(window: number | null): (b: Builder, inputs: Inputs) => Node {
  return (b, { tokens, positions, segments }) => {
    const T = tokens.shape[1] ?? 1
    const heads = (x: Node, h: number): Node => g.permute(b, g.reshape(b, x, [B, T, h, 4]), [0, 2, 1, 3])
    let x = g.gather(b, weight(b, "embed", V, D), tokens)
    for (const layer of [0, 1]) {
      const w = (name: string, ...shape: number[]): Node => weight(b, `${layer}.${name}`, ...shape)
      const n = g.rmsNorm(b, x, w("norm", D), 1e-5)
      const q = g.rope(b, heads(g.matmul(b, n, w("q", D, 8)), 2), positions, 100)
      const k = g.rope(b, heads(g.matmul(b, n, w("k", D, 4)), 1), positions, 100)
      const v = heads(g.matmul(b, n, w("v", D, 4)), 1)
      const a = g.attend(b, q, k, v, { causal: true, window, segments: [segments, segments] })
      x = g.add(b, x, g.matmul(b, g.reshape(b, g.permute(b, a, [0, 2, 1, 3]), [B, T, 8]), w("o", 8, D)))
      x = g.add(b, x, g.matmul(b, g.mul(b, g.silu(b, g.matmul(b, x, w("gate", D, 12))), g.matmul(b, x, w("up", D, 12))), w("down", 12, D)))
    }
    return g.matmul(b, x, weight(b, "embed", V, D), true)
  }
}

/** GPT: learned positions, layer norm, biases, gelu; a mask computed from a constant along the sequence. */
function gpt(b: Builder, { tokens, positions }: Inputs): Node {
  const T = tokens.shape[1] ?? 1
  const table = weight(b, "places", 16, D)
  let x = g.add(b, g.gather(b, weight(b, "embed", V, D), tokens), g.gather(b, table, positions))
  x = g.layerNorm(b, x, weight(b, "scale", D), weight(b, "bias", D), 1e-5)
  const heads = (name: string): Node => g.permute(b, g.reshape(b, g.matmul(b, x, weight(b, name, D, D)), [B, T, 2, 4]), [0, 2, 1, 3])
  const a = g.attend(b, heads("q"), heads("k"), heads("v"), { causal: true })
  x = g.add(b, x, g.reshape(b, g.permute(b, a, [0, 2, 1, 3]), [B, T, D]))
  const ones = g.add(b, g.fill(b, 1, [B, T, D]), g.reshape(b, g.fill(b, 0.5, [1, T, 1]), [T, 1]))
  const kept = g.where(b, g.lt(b, g.fill(b, 0, [B, T, D]), x), x, g.mul(b, x, ones))
  return g.softmax(b, g.matmul(b, g.gelu(b, kept), weight(b, "head", D, V)))
}

function randomState(program: Program): Map<string, Value> {
  const state = new Map<string, Value>()
  for (const { args } of program.inputs.filter((input) => input.args.role === "state")) {
    const data = new Float32Array(size(args.shape))
    fillNormal({ seed: 1, stream: size(args.shape) + args.name.length, step: 0, row: args.name.charCodeAt(0) }, data)
    state.set(args.name, value(data.map((x) => 0.4 * x), args.shape))
  }
  return state
}

/** Runs a program; the outputs by name. States are taken from and written back to `state`. */
function run(program: Program, state: Map<string, Value>, batch: Readonly<Record<string, Value>>): Map<string, Value> {
  const results = runPrepared(prepare(program.outputs.map((output) => output.node)), new Map([...state, ...Object.entries(batch)]), "f32")
  const outputs = new Map<string, Value>()
  program.outputs.forEach(({ name }, i) => {
    const result = results[i]
    if (result === undefined) throw new Error(`no ${name}`)
    if (state.has(name)) state.set(name, result)
    else outputs.set(name, result)
  })
  return outputs
}

const tokenAt = (b: number, t: number): number => (3 * t * t + 5 * b + t) % V
const options = (T: number, n: number, capacity: number): Continuation => ({
  sequence: new Set(["tokens", "positions", "segments"]), length: T, tokens: n, capacity, lastOnly: new Set(),
})

function sequenceBatch(n: number, offset: readonly number[]): Record<string, Value> {
  const grid = (f: (b: number, t: number) => number): Value => value(offset.flatMap((o, b) => Array.from({ length: n }, (_, i) => f(b, o + i))), [B, n], "i32")
  return { tokens: grid(tokenAt), positions: grid((_, t) => t), segments: grid(() => 0), offset: value(offset, [B], "i32") }
}

function derived(body: (b: Builder, inputs: Inputs) => Node, n: number, capacity: number, T = 2): Program {
  const result = continueSequence(forward(T, body), options(T, n, capacity))
  if (isMixing(result)) throw new Error(`${result.op} ${result.reason}`)
  return result.program
}

/** The largest difference between the logits of the whole forward pass and those of `steps` (new tokens per call). */
function difference(body: (b: Builder, inputs: Inputs) => Node, steps: readonly number[]): number {
  const T = steps.reduce((n, m) => n + m, 0)
  const whole = forward(T, body)
  const weights = randomState(whole)
  const expected = run(whole, new Map(weights), sequenceBatch(T, [0, 0])).get("logits")
  const caches = new Map<string, Value>()
  let [at, worst] = [0, 0]
  for (const n of steps) {
    const program = derived(body, n, T + 3)
    for (const { args } of program.inputs) if (args.role === "state" && !weights.has(args.name) && !caches.has(args.name)) caches.set(args.name, value([], args.shape, args.dtype))
    const state = new Map([...weights, ...caches])
    const got = run(program, state, sequenceBatch(n, [at, at])).get("logits")
    for (const name of caches.keys()) caches.set(name, state.get(name) ?? value([], []))
    for (let b = 0; b < B; b++) for (let i = 0; i < n; i++) for (let v = 0; v < V; v++) {
      worst = Math.max(worst, Math.abs((got?.data[(b * n + i) * V + v] ?? NaN) - (expected?.data[(b * T + at + i) * V + v] ?? NaN)))
    }
    at += n
  }
  return worst
}

test("token by token equals the whole forward pass: grouped-query attention with rotary positions", () => {
  assert.ok(difference(llama(null), [1, 1, 1, 1, 1, 1, 1]) < 1e-5)
})

test("a prefill, then tokens, then several tokens at once", () => {
  assert.ok(difference(llama(null), [4, 1, 1, 3]) < 1e-5)
  assert.ok(difference(gpt, [3, 1, 2]) < 1e-5)
})

test("a sliding window looks back as far as in the forward pass, and no further", () => {
  assert.ok(difference(llama(3), [5, 1, 1, 1, 1]) < 1e-5)
  assert.ok(difference(llama(2), [1, 1, 1, 1, 1]) < 1e-5)
})

test("the cache of a sliding window is a ring of what it sees", () => {
  const T = 9
  const whole = forward(T, llama(3))
  const weights = randomState(whole)
  const expected = run(whole, new Map(weights), sequenceBatch(T, [0, 0])).get("logits")
  const ring = continueSequence(forward(2, llama(3)), { ...options(2, 1, T), ring: true })
  if (isMixing(ring)) throw new Error(ring.reason)
  assert.equal(ring.caches.map(({ args }) => `${args.name} [${args.shape.join(", ")}]`), ["cache.0.k [2, 1, 3, 4]", "cache.0.v [2, 1, 3, 4]", "cache.0.segments [2, 3]", "cache.1.k [2, 1, 3, 4]", "cache.1.v [2, 1, 3, 4]"])
  const state = new Map([...weights, ...ring.caches.map(({ args }) => [args.name, value([], args.shape, args.dtype)] as const)])
  for (let t = 0; t < T; t++) {
    const got = run(ring.program, state, sequenceBatch(1, [t, t])).get("logits")
    for (let b = 0; b < B; b++) for (let v = 0; v < V; v++) assert.ok(Math.abs((got?.data[b * V + v] ?? NaN) - (expected?.data[(b * T + t) * V + v] ?? NaN)) < 1e-5, `position ${t}`)
  }
  // Several tokens at once look at what a ring would have lost, and so does attention without a window.
  for (const [window, tokens] of [[3, 2], [null, 1], [T, 1]] as const) {
    const kept = continueSequence(forward(2, llama(window)), { ...options(2, tokens, T), ring: true })
    assert.ok(!isMixing(kept) && kept.caches.every(({ args }) => args.shape[args.dtype === "i32" ? 1 : 2] === T))
  }
})

test("learned positions, layer norm and constants along the sequence", () => {
  assert.ok(difference(gpt, [1, 1, 1, 1, 1]) < 1e-5)
})

test("rows of a batch may stand at different places", () => {
  const T = 6
  const whole = forward(T, llama(null))
  const weights = randomState(whole)
  const expected = run(whole, new Map(weights), sequenceBatch(T, [0, 0])).get("logits")
  const prefill = derived(llama(null), 4, 8)
  const state = new Map(weights)
  for (const { args } of prefill.inputs) if (args.role === "state" && !state.has(args.name)) state.set(args.name, value([], args.shape, args.dtype))
  run(prefill, state, sequenceBatch(4, [0, 0]))
  // Row 0 goes on after two tokens, over what the padded prefill wrote at places 2 and 3.
  const got = run(derived(llama(null), 1, 8), state, sequenceBatch(1, [2, 4])).get("logits")
  const offsets = [2, 4]
  for (let b = 0; b < B; b++) for (let v = 0; v < V; v++) {
    assert.ok(Math.abs((got?.data[b * V + v] ?? NaN) - (expected?.data[(b * T + (offsets[b] ?? 0)) * V + v] ?? NaN)) < 1e-5)
  }
})

test("only the last position of each row, where that is all that is wanted", () => {
  const program = forward(2, gpt)
  const all = continueSequence(program, options(2, 4, 6))
  const last = continueSequence(program, { ...options(2, 4, 6), lastOnly: new Set(["logits"]) })
  if (isMixing(all) || isMixing(last)) throw new Error("mixing")
  const state = (): Map<string, Value> => new Map([...randomState(program), ...all.caches.map(({ args }) => [args.name, value([], args.shape, args.dtype)] as const)])
  const expected = run(all.program, state(), sequenceBatch(4, [0, 0])).get("logits")
  const got = run(last.program, state(), { ...sequenceBatch(4, [0, 0]), last: value([1, 3], [B], "i32") }).get("logits")
  assert.equal(got?.shape, [B, V])
  assert.equal([...(got?.data ?? [])], [...(expected?.data.slice(V, 2 * V) ?? []), ...(expected?.data.slice(7 * V, 8 * V) ?? [])])
})

test("one cache for each tensor of keys, shared segments once", () => {
  const result = continueSequence(forward(2, llama(null)), options(2, 1, 5))
  if (isMixing(result)) throw new Error(result.reason)
  assert.equal(result.caches.map(({ args }) => `${args.name} ${args.dtype}[${args.shape.join(", ")}]`), [
    "cache.0.k f32[2, 1, 5, 4]", "cache.0.v f32[2, 1, 5, 4]", "cache.0.segments i32[2, 5]",
    "cache.1.k f32[2, 1, 5, 4]", "cache.1.v f32[2, 1, 5, 4]",
  ])
})

/** What the analysis says of an op on embedded tokens, [B, T, D]. */
function verdict(body: (b: Builder, x: Node, inputs: Inputs) => Node, T = 4): string {
  const result = continueSequence(
    forward(T, (b, inputs) => b.at("blocks[1].mix", () => body(b, g.gather(b, weight(b, "embed", V, D), inputs.tokens), inputs))),
    options(T, 1, 8),
  )
  return isMixing(result) ? `${result.op} at ${result.note}: ${result.reason}` : "along"
}

test("an op that mixes positions is named with its layer", () => {
  assert.is(verdict((b, x) => g.cumsum(b, x, 1)), "cumsum at blocks[1].mix: adds up positions one after the other")
  assert.is(verdict((b, x) => g.mean(b, x, [1], true)), "sum at blocks[1].mix: sums over the positions")
  assert.is(verdict((b, x) => g.maxOf(b, x, [1])), "max_of at blocks[1].mix: takes the largest over the positions")
  assert.is(verdict((b, x) => b.make("reverse", { axes: [1] }, [x])), "reverse at blocks[1].mix: turns the sequence round")
  assert.is(verdict((b, x) => g.pad(b, x, [0, 1, 0], [0, 0, 0])), "pad at blocks[1].mix: adds positions at the ends of the sequence")
  assert.is(verdict((b, x) => g.sliceAxis(b, x, 1, 1, 3)), "slice at blocks[1].mix: takes some of the positions")
  assert.is(verdict((b, x) => g.concat(b, [x, x], 1)), "concat at blocks[1].mix: puts positions behind each other")
  assert.is(verdict((b, x) => b.make("window", { axis: 1, size: 2, stride: 1, dilation: 1 }, [x])), "window at blocks[1].mix: looks at several neighbouring positions")
  assert.is(verdict((b, x) => g.dot(b, x, x, false, true)), "dot at blocks[1].mix: multiplies positions with positions; `attend` can do that step by step")
  assert.is(verdict((b, x) => g.softmax(b, g.transpose(b, x))), "softmax at blocks[1].mix: compares positions with each other")
  assert.match(verdict((b, x) => g.attend(b, g.expandDims(b, x, 1), g.expandDims(b, x, 1), g.expandDims(b, x, 1))), "attend at blocks[1].mix: lets a position see later ones")
})

test("an op along other axes does not mix", () => {
  assert.is(verdict((b, x) => g.cumsum(b, x, 2)), "along")
  assert.is(verdict((b, x) => g.mean(b, g.reshape(b, x, [B * 4, 2, 4]), [1])), "along")
  assert.is(verdict((b, x) => g.transpose(b, g.softmax(b, g.concat(b, [x, x], 2)), 0, 1)), "along")
  assert.is(verdict((b, x) => b.make("top_k", { k: 2 }, [g.sliceAxis(b, g.pad(b, x, [0, 0, 1], [0, 0, 0]), 2, 0, 5)])), "along")
  assert.is(verdict((b, x) => b.make("window", { axis: 2, size: 2, stride: 2, dilation: 1 }, [x])), "along")
  assert.is(verdict((b, x) => g.dot(b, g.reshape(b, x, [B, 4, 2, 4]), g.fill(b, 1, [B, 4, 4, 3]))), "along")
})

test("a constant that is the same at every position grows with the sequence", () => {
  const rows = (at: (t: number, d: number) => number) => Array.from({ length: B * 4 * D }, (_, i) => at(Math.floor(i / D) % 4, i % D))
  assert.is(verdict((b, x) => g.mul(b, x, g.literal(b, rows((_, d) => d), [B, 4, D], "f32"))), "along")
  assert.is(verdict((b, x) => g.mul(b, x, g.cast(b, b.make("iota", { shape: [B, 4, D], axis: 2 }, []), "f32"))), "along")
  assert.match(verdict((b, x) => g.mul(b, x, g.literal(b, rows((t) => t), [B, 4, D], "f32"))), "look it up by `at.positions`")
})

test("a table with one row per place does not grow with the sequence", () => {
  assert.match(verdict((b, x) => g.add(b, x, weight(b, "places", 4, D))), "add at blocks[1].mix: meets a tensor with one entry per position of a fixed length")
  assert.match(verdict((b, x) => g.mul(b, x, g.cast(b, g.iota(b, [4, D]), "f32"))), "look it up by `at.positions`")
})

test("the sequence is followed through reshapes by its step, not by its size", () => {
  assert.equal(relocated([2, 4, 8], { axis: 1, inner: 1 }, [8, 8], 4), { axis: 0, inner: 1 })
  assert.equal(relocated([8, 8], { axis: 0, inner: 1 }, [2, 4, 2, 4], 4), { axis: 1, inner: 1 })
  assert.equal(relocated([2, 4, 8], { axis: 1, inner: 1 }, [2, 32], 4), { axis: 1, inner: 8 })
  assert.equal(relocated([2, 32], { axis: 1, inner: 8 }, [2, 4, 4, 2], 4), { axis: 1, inner: 1 })
  assert.is(relocated([2, 4, 8], { axis: 1, inner: 1 }, [2, 2, 2, 8], 4), null)
})

test("every op has a rule", () => {
  assert.equal(Object.keys(sequenceRules).sort(), Object.keys(shapeRules).sort() as Op[])
})

test.run()
