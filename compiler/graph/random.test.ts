import { test } from "uvu"
import * as assert from "uvu/assert"
import { expOf, expsOf, logOf, normalQuantile } from "./arithmetic.ts"
import type { RandomKey, Words } from "./random.ts"
import { bits, fillNormal, fillUniform, hash32, normal, permutationOf, threefry, uniform } from "./random.ts"

const key: RandomKey = { seed: 7, stream: hash32("dropout blocks[0].mlp"), step: 3, row: 11 }

// From the authors' Random123 library, file kat_vectors: threefry2x32 20.
const published: readonly (readonly [Words, Words, Words])[] = [
  [[0, 0], [0, 0], [0x6b200159, 0x99ba4efe]],
  [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], [0x1cb996fc, 0xbb002be7]],
  [[0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3], [0xc4923a9c, 0x483df7a0]],
]

test("threefry agrees with the published vectors", () => {
  for (const [k, counter, expected] of published) {
    assert.equal(threefry(k, counter).map((x) => x >>> 0), [...expected])
  }
})

test("bulk filling agrees with single numbers, from any start and for odd lengths", () => {
  const out = new Float32Array(9).fill(-1)
  fillUniform(key, out, 1, 8)
  assert.is(out[0], -1)
  assert.is(out[8], -1)
  for (let i = 0; i < 7; i++) assert.is(out[i + 1], uniform(key, i))
  const numbers = new Float64Array(5)
  fillNormal(key, numbers)
  for (let i = 0; i < 5; i++) assert.is(numbers[i], normal(key, i))
})

test("every part of the key matters", () => {
  const base = bits(key, 0)
  for (const other of [{ ...key, seed: 8 }, { ...key, stream: 1 }, { ...key, step: 4 }, { ...key, row: 12 }]) assert.is.not(bits(other, 0), base)
  assert.is.not(bits(key, 1), base)
  assert.is.not(bits(key, 2), base)
})

test("uniform numbers have mean 1/2, variance 1/12 and stay in [0, 1)", () => {
  const x = new Float32Array(40001)
  fillUniform(key, x)
  const mean = x.reduce((sum, v) => sum + v, 0) / x.length
  const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length
  assert.ok(Math.abs(mean - 0.5) < 0.006 && Math.abs(variance - 1 / 12) < 0.002, `${mean} ${variance}`)
  assert.ok(x.every((v) => v >= 0 && v < 1))
})

test("normal numbers have the moments of the normal distribution", () => {
  const x = new Float64Array(40001)
  fillNormal(key, x)
  const moment = (k: number): number => x.reduce((sum, v) => sum + v ** k, 0) / x.length
  assert.ok(Math.abs(moment(1)) < 0.02 && Math.abs(moment(2) - 1) < 0.03, `${moment(1)} ${moment(2)}`)
  assert.ok(Math.abs(moment(3)) < 0.1 && Math.abs(moment(4) - 3) < 0.2, `${moment(3)} ${moment(4)}`)
})

test("many exponentials are those of single numbers, bit for bit, however many there are", () => {
  for (const n of [0, 1, 3, 4, 5, 13]) {
    const xs = Float64Array.from({ length: n }, (_, i) => (i === 2 ? NaN : -0.37 * i * i - i / 3))
    const single = xs.map(expOf)
    expsOf(xs)
    assert.equal([...xs].map(String), [...single].map(String))
  }
})

test("the quantile agrees with tables and is symmetric", () => {
  const table = [[0.5, 0], [0.975, 1.959963984540054], [0.841344746068543, 1], [0.9986501019683699, 3], [1e-10, -6.361340902404056], [1e-15, -7.941345326170998]]
  for (const [p = 0, x = 0] of table) assert.ok(Math.abs(normalQuantile(p) - x) < 1e-11 * Math.max(1, Math.abs(x)), `${p}: ${normalQuantile(p)}`)
  for (const p of [0.01, 0.2, 0.4]) assert.ok(Math.abs(normalQuantile(p) + normalQuantile(1 - p)) < 1e-14)
})

test("log and exp agree with Math within a few units in the last place", () => {
  for (const x of [1e-300, 1e-17, 0.1, 0.70710678, 1, 1.5, 2, Math.E, 1e5, 1e300]) {
    assert.ok(Math.abs(logOf(x) - Math.log(x)) <= 1e-15 * Math.max(1, Math.abs(Math.log(x))), `log ${x}`)
  }
  for (const x of [-600, -20.5, -1, -1e-9, 0, 0.3, 1, 10, 600]) assert.ok(Math.abs(expOf(x) / Math.exp(x) - 1) < 4e-15 * Math.max(1, Math.abs(x) / 10), `exp ${x}`)
})

test("the first numbers are pinned: they are part of the language", () => {
  assert.equal(["", "a", "\u00e4"].map(hash32), [2872998923, 444641715, 519959299])
  assert.equal([0, 1, 2].map((i) => bits(key, i)), [3090803055, 3721032579, 968836508])
  assert.equal([0, 1].map((i) => normal(key, i)), [-0.9549997900285971, -0.9352080572865854])
})

test("a permutation holds every index once and depends on its key", () => {
  for (const n of [0, 1, 2, 7, 1000]) assert.equal([...permutationOf(n, 1, "shuffle", 0)].sort((a, b) => a - b), Array.from({ length: n }, (_, i) => i))
  assert.equal(permutationOf(50, 1, "shuffle", 0), permutationOf(50, 1, "shuffle", 0))
  for (const other of [permutationOf(50, 2, "shuffle", 0), permutationOf(50, 1, "split", 0), permutationOf(50, 1, "shuffle", 1)]) {
    assert.not.equal(other, permutationOf(50, 1, "shuffle", 0))
  }
})

test("rows added at the end keep the order of the others", () => {
  assert.equal([...permutationOf(60, 5, "shuffle", 2)].filter((i) => i < 40), [...permutationOf(40, 5, "shuffle", 2)])
})

test.run()
