import { test } from "uvu"
import * as assert from "uvu/assert"
import { candidates, nextToken, roomFor } from "./sample.ts"

const base = { temperature: 1, topK: null, topP: null, seed: 0 }

test("temperature 0 takes the most likely token, the smaller id on ties", () => {
  assert.is(nextToken(Float32Array.of(1, 3, 2, 3), { ...base, temperature: 0 }, 0, 0), 1)
  assert.is(nextToken(Float32Array.of(0, 0, 0), { ...base, temperature: 0 }, 5, 9), 0)
  assert.is(nextToken(Float32Array.of(-Infinity, -5), { ...base, temperature: 0 }, 5, 9), 1)
})

test("the choice is a function of seed, prompt and position", () => {
  const logits = Float32Array.from({ length: 50 }, (_, i) => Math.sin(i))
  const at = (seed: number, prompt: number, position: number): number => nextToken(logits, { ...base, seed }, prompt, position)
  assert.is(at(1, 2, 3), at(1, 2, 3))
  const many = (f: (i: number) => number): number => new Set(Array.from({ length: 40 }, (_, i) => f(i))).size
  assert.ok(many((i) => at(i, 0, 0)) > 10)
  assert.ok(many((i) => at(0, i, 0)) > 10)
  assert.ok(many((i) => at(0, 0, i)) > 10)
})

test("tokens come as often as their probability says", () => {
  const logits = Float32Array.of(Math.log(0.5), Math.log(0.3), Math.log(0.2))
  const counts = [0, 0, 0]
  const n = 20_000
  for (let i = 0; i < n; i++) { const id = nextToken(logits, base, 0, i); counts[id] = (counts[id] ?? 0) + 1 }
  ;[0.5, 0.3, 0.2].forEach((p, i) => assert.ok(Math.abs((counts[i] ?? 0) / n - p) < 4 * Math.sqrt((p * (1 - p)) / n)))
})

test("a low temperature sharpens, a high one flattens", () => {
  const share = (temperature: number): number => {
    const list = candidates(Float32Array.of(1, 0), { ...base, temperature })
    return (list.weights[0] ?? 0) / list.weights.reduce((sum, weight) => sum + weight, 0)
  }
  assert.ok(Math.abs(share(1) - 1 / (1 + Math.exp(-1))) < 1e-12)
  assert.ok(share(0.1) > 0.9999)
  assert.ok(share(100) < 0.51)
})

test("top-k keeps the k most likely, the smaller id on ties", () => {
  const ids = (topK: number): number[] => [...candidates(Float32Array.of(0, 2, 1, 2), { ...base, topK }).ids]
  assert.equal(ids(1), [1])
  assert.equal(ids(3), [1, 3, 2])
  assert.equal(ids(9), [1, 3, 2, 0])
})

test("top-p keeps the smallest set that reaches the share", () => {
  const logits = Float32Array.of(Math.log(0.2), Math.log(0.5), Math.log(0.3))
  const ids = (topP: number): number[] => [...candidates(logits, { ...base, topP }).ids]
  assert.equal(ids(0.4), [1])
  assert.equal(ids(0.6), [1, 2])
  assert.equal(ids(1), [1, 2, 0])
  assert.equal(ids(0), [1])
})

test("impossible tokens are never chosen", () => {
  const logits = Float32Array.of(-Infinity, 0, -Infinity, -2000)
  for (let i = 0; i < 200; i++) assert.is(nextToken(logits, base, 0, i), 1)
})

test("a large vocabulary is ranked as a sort by logit and id ranks it", () => {
  const logits = Float32Array.from({ length: 5000 }, (_, i) => Math.fround(Math.sin(i * 12.9898) * (i % 7 === 0 ? 0 : 10 ** (i % 5 - 2))))
  logits[17] = -Infinity
  logits[18] = -0
  const slow = Array.from(logits, (logit, id) => ({ id, logit })).sort((a, b) => b.logit - a.logit || a.id - b.id).map(({ id }) => id)
  assert.equal([...candidates(logits, base).ids], slow)
})

test("what is no number is never chosen, and the room that is given does not matter", () => {
  const logits = Float32Array.of(1, NaN, 0.5, -Infinity, 2, -1, 0.1)
  const room = roomFor(logits.length)
  const seen = new Set<number>()
  for (let i = 0; i < 300; i++) {
    const id = nextToken(logits, { ...base, temperature: 2 }, 0, i, room)
    assert.is(nextToken(logits, { ...base, temperature: 2 }, 0, i), id)
    seen.add(id)
  }
  assert.equal([...seen].sort(), [0, 2, 4, 5, 6])
})

test.run()
