import { test } from "uvu"
import * as assert from "uvu/assert"
import { applied, dot, forward, furthest, linear, matrix, parameters, plus, softmax, type Matrix, type Ran } from "./architectures.fixture.ts"

test("T5 small has the published number of parameters", () => {
  assert.is(parameters("T5(vocab: 32128, dim: 512, depth: 6, heads: 8, hidden: 2048)", "seq2seq"), 60_506_624)
})

const read = { tokens: [3, 1, 4, 1, 5, 2, 6], segments: [0, 0, 0, 0, 0, 1, 1] }
const written = { tokens: [0, 2, 6, 5], segments: [0, 0, 0, 1] }
const places = (n: number) => [Array.from({ length: n }, (_, i) => i)]
const batch = {
  tokens: [read.tokens], at: { positions: places(7), segments: [read.segments] },
  answer: [written.tokens], answer_at: { positions: places(4), segments: [written.segments] },
}

function normed(x: Matrix): Matrix {
  return x.map((row) => row.map((v) => v / Math.sqrt(dot(row, row) / row.length + 1e-6)))
}

/** The paper's buckets with 8 of them and distances to 6. */
function bucket(distance: number, decoder: boolean): number {
  const side = decoder ? 8 : 4
  const size = decoder ? Math.max(0, -distance) : Math.abs(distance)
  const exact = side / 2
  const found = size < exact ? size : Math.min(side - 1, exact + Math.floor((Math.log(size / exact) / Math.log(6 / exact)) * (side - exact)))
  return found + (!decoder && distance > 0 ? side : 0)
}

interface Looking { readonly at: string; readonly query: readonly number[]; readonly key: readonly number[]; readonly bias: Matrix | null; readonly causal: boolean }

function attended(x: Matrix, from: Matrix, w: Ran["weights"], { at, query, key, bias, causal }: Looking): Matrix {
  const heads = 2
  const [q, k, v] = [linear(x, w(`${at}.q.weight`)), linear(from, w(`${at}.k.weight`)), linear(from, w(`${at}.v.weight`))]
  const size = (q[0]?.length ?? 0) / heads
  const head = (m: Matrix, t: number, h: number) => (m[t] ?? []).slice(h * size, (h + 1) * size)
  const mixed = x.map((_, t) => Array.from({ length: heads }, (_, h) => {
    const seen = from.map((_, s) => s).filter((s) => key[s] === query[t] && (!causal || s <= t))
    const weights = softmax(seen.map((s) => dot(head(q, t, h), head(k, s, h)) + (bias?.[bucket(s - t, causal)]?.[h] ?? 0)))
    return Array.from({ length: size }, (_, d) => seen.reduce((n, s, i) => n + (weights[i] ?? NaN) * (head(v, s, h)[d] ?? NaN), 0))
  }).flat())
  return linear(mixed, w(`${at}.out.weight`))
}

function fed(x: Matrix, w: Ran["weights"], at: string): Matrix {
  return plus(x, linear(linear(normed(x), w(`${at}.mlp.up.weight`)).map((row) => row.map((v) => Math.max(0, v))), w(`${at}.mlp.down.weight`)))
}

test("T5 is the paper's: relative places, an encoder, a decoder that looks at it, one table", () => {
  const found = forward("T5(vocab: 7, dim: 12, depth: 2, heads: 2, hidden: 20, buckets: 8, furthest: 6)", "seq2seq", batch)
  const w = found.weights
  const embed = (ids: readonly number[]): Matrix => ids.map((t) => w("embed.weight")[t] ?? [])
  let x = embed(read.tokens)
  for (const at of ["encoder[0]", "encoder[1]"]) {
    const own = normed(x)
    x = fed(plus(x, attended(own, own, w, { at: `${at}.attn`, query: read.segments, key: read.segments, bias: w("encoder_bias.weight"), causal: false })), w, at)
  }
  const encoded = normed(x)
  let y = embed(written.tokens)
  for (const at of ["decoder[0]", "decoder[1]"]) {
    const own = normed(y)
    y = plus(y, attended(own, own, w, { at: `${at}.attn`, query: written.segments, key: written.segments, bias: w("decoder_bias.weight"), causal: true }))
    y = fed(plus(y, attended(normed(y), encoded, w, { at: `${at}.cross`, query: written.segments, key: read.segments, bias: null, causal: false })), w, at)
  }
  assert.ok(furthest(found.get("encoded"), encoded) < 1e-4)
  assert.ok(furthest(found.get("hidden[1]"), y) < 1e-4)
  assert.ok(furthest(found.get("logits"), linear(normed(y), w("embed.weight")).map((row) => row.map((v) => v / Math.sqrt(12)))) < 1e-4)
})

// ---------------------------------------------------------------- denoising

const length = 32
const text = Array.from({ length: length + 1 }, (_, i) => 10 + i)
const document = Array.from({ length: length + 1 }, (_, i) => (i < 19 ? 0 : i < 29 ? 1 : -1))

function denoised(step: number, rows: readonly number[]) {
  const of = <T>(row: readonly T[]) => rows.map(() => row)
  const found = applied("denoising(sentinels: 1, span: 3, every: 8)", "objectives", { tokens: of(text), positions: of(document.map((_, i) => i)), segments: of(document) }, { step, rows })
  const all = (name: string, width: number): Matrix => matrix(found.get(name)?.data ?? [], width)
  return { tokens: all("tokens", 24), segments: all("at.segments", 24), answer: all("answer", 16), labels: all("labels", 16), home: all("answer_at.segments", 16) }
}

test("what denoising leaves and what it asks for make up the text", () => {
  const rows = [0, 1, 2, 3, 4, 5]
  const { tokens, answer, labels, home, segments } = denoised(2, rows)
  for (const r of rows) {
    const [left, asked] = [tokens[r] ?? [], labels[r] ?? []]
    const rebuilt = left.flatMap((token, i) => {
      if (token >= 10) return [token]
      const at = 4 * (token - 1)
      assert.is(segments[r]?.[i], home[r]?.[at])
      const start = text[8 * (token - 1) + (i % 6)] ?? NaN
      assert.equal(asked.slice(at, at + 4), [token, start, start + 1, start + 2].map((label, k) => (document[start - 10 + Math.max(0, k - 1)] === home[r]?.[at] && (home[r]?.[at] ?? -1) >= 0 ? label : -1)))
      return [start, start + 1, start + 2]
    })
    assert.equal(rebuilt, text.slice(0, length))
    assert.equal(left.filter((token) => token < 10), [1, 2, 3, 4])
    const seen = answer[r] ?? []
    assert.is(seen[0], 0)
    for (let i = 1; i < 16; i++) if ((asked[i - 1] ?? -1) >= 0) assert.is(seen[i], home[r]?.[i] === home[r]?.[i - 1] ? asked[i - 1] : 0)
  }
})

test("spans belong to the sample and the step, and differ between them", () => {
  const both = denoised(2, [7, 8]).tokens
  assert.equal(denoised(2, [8]).tokens[0], both[1])
  assert.not.equal(denoised(3, [8]).tokens[0], both[1])
  assert.not.equal(both[0], both[1])
})

test.run()
