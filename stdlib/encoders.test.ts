import { test } from "uvu"
import * as assert from "uvu/assert"
import { applied, dot, forward, furthest, linear, matrix, parameters, plus, softmax, type Matrix, type Ran } from "./architectures.fixture.ts"

test("encoders have the published numbers of parameters", () => {
  assert.is(parameters("BERT(vocab: 30522, dim: 768, depth: 6, heads: 12, context: 512)", "encoders"), 66_985_530) // DistilBERT with its head
  const types = 2 * 768
  assert.is(parameters("BERT(vocab: 30522, dim: 768, depth: 12, heads: 12, context: 512)", "encoders"), 109_514_298 - types) // BERT base with its head
  assert.is(parameters("ALBERT(vocab: 30000, dim: 768, depth: 12, heads: 12, context: 512)", "encoders"), 11_221_680 - 2 * 128) // ALBERT base with its head
})

const tokens = [3, 1, 4, 1, 5, 2]
const positions = [0, 1, 2, 3, 0, 1]
const segments = [0, 0, 0, 0, 1, 1]
const batch = { tokens: [tokens], at: { positions: [positions], segments: [segments] } }

/** Post-norm encoder in f64. Offsets are zero and scales one at the start. */
function encoder(w: Ran["weights"], heads: number, blocks: readonly string[]): Matrix {
  const seen = plus(tokens.map((t) => w("encoder.embed.weight")[t] ?? []), positions.map((p) => w("encoder.places.weight")[p] ?? []))
  const start = normed(seen)
  const wide = (w("encoder.embed.weight")[0]?.length ?? 0) !== (w(`${blocks[0]}.attn.q.weight`)[0]?.length ?? 0)
  return blocks.reduce((x, at) => {
    const h = normed(plus(x, linear(attended(x, w, at, heads), w(`${at}.attn.out.weight`))))
    return normed(plus(h, linear(linear(h, w(`${at}.up.weight`)).map((row) => row.map(gelu)), w(`${at}.down.weight`))))
  }, wide ? linear(start, w("encoder.widen.weight")) : start)
}

function attended(x: Matrix, w: Ran["weights"], at: string, heads: number): Matrix {
  const [q, k, v] = ["q", "k", "v"].map((part) => linear(x, w(`${at}.attn.${part}.weight`))) as [Matrix, Matrix, Matrix]
  const size = (x[0]?.length ?? 0) / heads
  const head = (m: Matrix, t: number, h: number) => (m[t] ?? []).slice(h * size, (h + 1) * size)
  return x.map((_, t) => Array.from({ length: heads }, (_, h) => {
    const seen = x.map((_, s) => s).filter((s) => segments[s] === segments[t])
    const weights = softmax(seen.map((s) => dot(head(q, t, h), head(k, s, h)) / Math.sqrt(size)))
    return Array.from({ length: size }, (_, d) => seen.reduce((n, s, i) => n + (weights[i] ?? NaN) * (head(v, s, h)[d] ?? NaN), 0))
  }).flat())
}

function normed(x: Matrix): Matrix {
  return x.map((row) => {
    const mean = row.reduce((a, b) => a + b, 0) / row.length
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length
    return row.map((v) => (v - mean) / Math.sqrt(variance + 1e-12))
  })
}

function gelu(x: number): number {
  let [term, sum] = [x / Math.SQRT2, x / Math.SQRT2]
  for (let n = 1; n < 60; n++) {
    term *= (-x * x) / 2 / n
    sum += term / (2 * n + 1)
  }
  return 0.5 * x * (1 + (2 / Math.sqrt(Math.PI)) * sum)
}

function headed(w: Ran["weights"], x: Matrix): Matrix {
  return linear(normed(linear(x, w("head.map.weight")).map((row) => row.map(gelu))), w("encoder.embed.weight"))
}

test("BERT is the paper's: two documents, post-norm, a tied head", () => {
  const found = forward("BERT(vocab: 7, dim: 16, depth: 2, heads: 4, context: 8, std: 0.3)", "encoders", batch)
  const last = encoder(found.weights, 4, ["encoder.blocks[0]", "encoder.blocks[1]"])
  assert.ok(furthest(found.get("hidden[1]"), last) < 1e-4)
  assert.ok(furthest(found.get("logits"), headed(found.weights, last)) < 1e-4)
})

test("ALBERT uses one block three times, and a small table", () => {
  const found = forward("ALBERT(vocab: 7, dim: 16, depth: 3, heads: 4, context: 8, embed_dim: 6, std: 0.3)", "encoders", batch)
  const last = encoder(found.weights, 4, ["encoder.blocks[0]", "encoder.blocks[0]", "encoder.blocks[0]"])
  assert.ok(furthest(found.get("logits"), headed(found.weights, last)) < 1e-4)
})

test("what attention compares is given out for each block", () => {
  const found = forward("BERT(vocab: 7, dim: 16, depth: 2, heads: 4, context: 8, std: 0.3)", "encoders", batch)
  const values = linear(matrix(found.get("hidden[0]").data, 16), found.weights("encoder.blocks[1].attn.v.weight"))
  assert.ok(furthest(found.get("attention[1].value"), values) < 1e-4)
})

// ---------------------------------------------------------------- masks

const length = 400
const long = (seed: number) => Array.from({ length: length + 1 }, (_, i) => 2 + ((i * 7 + seed) % 50))
const zeros = Array.from({ length: length + 1 }, () => 0)
const rowsOf = (seeds: readonly number[]) => ({ tokens: seeds.map(long), positions: seeds.map(() => zeros), segments: seeds.map(() => zeros) })

function masked(seeds: readonly number[], step: number, rows: readonly number[]) {
  const found = applied("masked_lm(vocab: 52)", "objectives", rowsOf(seeds), { step, rows })
  const read = (name: string): Matrix => matrix(found.get(name)?.data ?? [], length)
  return { tokens: read("tokens"), labels: read("labels") }
}

test("masked_lm hides 15%: of these 80% behind the mask, 10% behind another token", () => {
  const seeds = Array.from({ length: 20 }, (_, i) => i)
  const { tokens: seen, labels } = masked(seeds, 1, seeds)
  const chosen = labels.flatMap((row, r) => row.flatMap((label, i) => (label >= 0 ? [{ label, now: seen[r]?.[i] ?? NaN, was: long(seeds[r] ?? 0)[i] ?? NaN }] : [])))
  assert.ok(chosen.every(({ label, was }) => label === was))
  const share = (count: number, of: number) => count / of
  assert.ok(Math.abs(share(chosen.length, 20 * length) - 0.15) < 0.015, `${chosen.length}`)
  assert.ok(Math.abs(share(chosen.filter((c) => c.now === 1).length, chosen.length) - 0.8) < 0.04)
  assert.ok(Math.abs(share(chosen.filter((c) => c.now !== 1 && c.now !== c.was).length, chosen.length) - 0.1) < 0.03)
  assert.ok(chosen.every((c) => c.now >= 1 && c.now < 52))
  const kept = labels.every((row, r) => row.every((label, i) => label >= 0 || seen[r]?.[i] === long(seeds[r] ?? 0)[i]))
  assert.ok(kept)
})

test("masks belong to the sample and the step, not to the batch", () => {
  const together = masked([4, 5], 3, [17, 18])
  assert.equal(masked([5], 3, [18]).tokens[0], together.tokens[1])
  assert.not.equal(masked([5], 4, [18]).tokens[0], together.tokens[1])
  assert.not.equal(masked([5], 3, [19]).tokens[0], together.tokens[1])
})

test.run()
