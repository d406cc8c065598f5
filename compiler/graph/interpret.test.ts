/** Every op against small values worked out by hand, in f32 and in f64. Composites are tested in composite.test.ts. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import type { Primitive } from "./composite.ts"
import { evaluate } from "./interpret.ts"
import type { Node } from "./node.ts"
import * as g from "./ops.ts"
import { uniform } from "./random.ts"
import type { Precision, Value } from "./value.ts"
import { value } from "./value.ts"

/** A graph of constants, and the values of its outputs row by row. */
type Check = readonly [graph: (b: Builder) => Node, values: readonly number[], shape?: readonly number[]]

const int = (b: Builder, values: readonly number[], shape?: readonly number[]): Node => g.literal(b, values, shape, "i32")
const bool = (b: Builder, values: readonly number[], shape?: readonly number[]): Node => g.literal(b, values, shape, "bool")
const grid = (b: Builder): Node => g.literal(b, [1, 2, 3, 4, 5, 6], [2, 3])
const inf = Infinity

const checks: { readonly [O in Primitive]: readonly Check[] } = {
  input: [[(b) => b.input("given", "batch", "f32", [2]), [10, 20]]],
  fill: [[(b) => g.fill(b, 2.5, [2, 2]), [2.5, 2.5, 2.5, 2.5], [2, 2]], [(b) => g.fill(b, 1, [], "bool"), [1], []]],
  literal: [[(b) => g.literal(b, [1, -2], [1, 2]), [1, -2], [1, 2]]],
  iota: [[(b) => g.iota(b, [2, 3], 1), [0, 1, 2, 0, 1, 2], [2, 3]], [(b) => g.iota(b, [2, 3], 0), [0, 0, 0, 1, 1, 1]]],
  random: [[
    (b) => b.make("random", { shape: [2, 3], stream: 77 }, [int(b, [5], []), int(b, [9], []), int(b, [4, 1000], [2])]),
    [4, 1000].flatMap((row) => [0, 1, 2].map((i) => uniform({ seed: 5, stream: 77, step: 9, row }, i))),
  ]],
  neg: [[(b) => g.neg(b, g.literal(b, [1, -2.5])), [-1, 2.5]], [(b) => g.neg(b, int(b, [3, -(2 ** 31)])), [-3, -(2 ** 31)]]],
  abs: [[(b) => g.abs(b, g.literal(b, [1, -2.5])), [1, 2.5]]],
  sign: [[(b) => g.sign(b, g.literal(b, [3, 0, -2.5])), [1, 0, -1]]],
  exp: [[(b) => g.exp(b, g.literal(b, [0, 1, -1])), [1, 2.718281828459045, 0.36787944117144233]]],
  log: [[(b) => g.log(b, g.literal(b, [1, 10, 0])), [0, 2.302585092994046, -inf]]],
  sqrt: [[(b) => g.sqrt(b, g.literal(b, [4, 2])), [2, 1.4142135623730951]]],
  rsqrt: [[(b) => g.rsqrt(b, g.literal(b, [4, 16])), [0.5, 0.25]]],
  sin: [[(b) => g.sin(b, g.literal(b, [0, Math.PI / 6])), [0, 0.5]]],
  cos: [[(b) => g.cos(b, g.literal(b, [0, Math.PI / 3])), [1, 0.5]]],
  tanh: [[(b) => g.tanh(b, g.literal(b, [0, 1])), [0, 0.7615941559557649]]],
  // Abramowitz, Stegun, table 7.1.
  erf: [[(b) => g.erf(b, g.literal(b, [0, 0.5, 1, -2, 3, 9])), [0, 0.5204998778, 0.8427007929, -0.995322265, 0.9999779095, 1]]],
  sigmoid: [[(b) => g.sigmoid(b, g.literal(b, [0, 1, -1000])), [0.5, 0.7310585786300049, 0]]],
  floor: [[(b) => g.floor(b, g.literal(b, [1.5, -1.5, 2])), [1, -2, 2]]],
  round: [[(b) => g.round(b, g.literal(b, [0.5, 1.5, 2.5, -1.5, 1.4])), [0, 2, 2, -2, 1]]],
  not: [[(b) => g.not(b, bool(b, [0, 1])), [1, 0]]],
  cast: [
    [(b) => g.cast(b, g.literal(b, [1.9, -1.9, 3e9, -3e9, NaN]), "i32"), [1, -1, 2 ** 31 - 1, -(2 ** 31), 0]],
    [(b) => g.cast(b, g.literal(b, [0.2, 0, -3]), "bool"), [1, 0, 1]],
    [(b) => g.cast(b, bool(b, [1, 0]), "f32"), [1, 0]],
  ],
  narrow: [
    [(b) => b.make("narrow", { format: "f16" }, [g.literal(b, [1 / 3, 65519, 65520, 2 ** -24, 2 ** -25, 1 + 2 ** -11, 1 + 3 * 2 ** -11])]), [0.333251953125, 65504, inf, 2 ** -24, 0, 1, 1 + 2 ** -9]],
    [(b) => b.make("narrow", { format: "bf16" }, [g.literal(b, [1 / 3, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -3.4e38])]), [0.333984375, 1, 1.015625, -inf]],
  ],
  stop_gradient: [[(b) => g.stopGradient(b, int(b, [3])), [3]]],
  add: [[(b) => g.add(b, int(b, [2 ** 31 - 1, 1]), int(b, [1, 1])), [-(2 ** 31), 2]], [(b) => g.add(b, g.literal(b, [0.5]), 1), [1.5]]],
  sub: [[(b) => g.sub(b, 1, g.literal(b, [0.25])), [0.75]]],
  mul: [[(b) => g.mul(b, int(b, [65536, -7]), int(b, [65536, 3])), [0, -21]], [(b) => g.mul(b, g.literal(b, [1.5]), 2), [3]]],
  div: [[(b) => g.div(b, int(b, [7, -7, 7, -7, 5]), int(b, [2, 2, -2, -2, 0])), [3, -4, -4, 3, 0]], [(b) => g.div(b, g.literal(b, [1, 1]), g.literal(b, [4, 0])), [0.25, inf]]],
  pow: [[(b) => g.pow(b, g.literal(b, [2, 9, 5, 2]), g.literal(b, [3, 0.5, 0, -1])), [8, 3, 1, 0.5]]],
  mod: [[(b) => g.mod(b, int(b, [7, -7, 7, -7, 6, 5]), int(b, [3, 3, -3, -3, -3, 0])), [1, 2, -2, -1, 0, 0]], [(b) => g.mod(b, g.literal(b, [5.5, -5.5]), 2), [1.5, 0.5]]],
  max: [[(b) => g.max(b, g.literal(b, [1, 5]), g.literal(b, [3, 2])), [3, 5]]],
  min: [[(b) => g.min(b, g.literal(b, [1, 5]), g.literal(b, [3, 2])), [1, 2]]],
  lt: [[(b) => g.lt(b, g.literal(b, [1, 2, 3]), 2), [1, 0, 0]]],
  le: [[(b) => g.le(b, int(b, [1, 2, 3]), 2), [1, 1, 0]]],
  eq: [[(b) => g.eq(b, g.literal(b, [1, 2, 3]), 2), [0, 1, 0]], [(b) => g.eq(b, bool(b, [1, 0]), bool(b, [0, 0])), [0, 1]]],
  and: [[(b) => g.and(b, bool(b, [0, 0, 1, 1]), bool(b, [0, 1, 0, 1])), [0, 0, 0, 1]]],
  or: [[(b) => g.or(b, bool(b, [0, 0, 1, 1]), bool(b, [0, 1, 0, 1])), [0, 1, 1, 1]]],
  select: [[(b) => g.where(b, bool(b, [1, 0, 1]), g.literal(b, [1, 2, 3]), g.literal(b, [4, NaN, 6])), [1, NaN, 3]]],
  reshape: [[(b) => g.reshape(b, grid(b), [3, 2]), [1, 2, 3, 4, 5, 6], [3, 2]]],
  permute: [
    [(b) => g.permute(b, grid(b), [1, 0]), [1, 4, 2, 5, 3, 6], [3, 2]],
    // Output axis i is input axis axes[i]: a cyclic order tells it from its inverse.
    [(b) => g.permute(b, g.literal(b, [1, 2, 3, 4, 5, 6], [1, 2, 3]), [1, 2, 0]), [1, 2, 3, 4, 5, 6], [2, 3, 1]],
    [(b) => g.permute(b, g.literal(b, [1, 2, 3, 4, 5, 6], [1, 2, 3]), [2, 0, 1]), [1, 4, 2, 5, 3, 6], [3, 1, 2]],
  ],
  broadcast: [[(b) => g.broadcastTo(b, g.literal(b, [1, 2]), [3, 2]), [1, 2, 1, 2, 1, 2]], [(b) => g.broadcastTo(b, g.literal(b, [1, 2], [2, 1]), [2, 3]), [1, 1, 1, 2, 2, 2]]],
  slice: [[(b) => g.slice(b, grid(b), [0, 0], [2, 3], [1, 2]), [1, 3, 4, 6], [2, 2]], [(b) => g.sliceAxis(b, grid(b), 1, 1, 3), [2, 3, 5, 6]]],
  pad: [[(b) => g.pad(b, g.literal(b, [1, 2], [1, 2]), [1, 0], [0, 1], 9), [9, 9, 9, 1, 2, 9], [2, 3]]],
  concat: [[(b) => g.concat(b, [grid(b), g.literal(b, [7, 8], [2, 1])], 1), [1, 2, 3, 7, 4, 5, 6, 8], [2, 4]]],
  reverse: [[(b) => b.make("reverse", { axes: [1] }, [grid(b)]), [3, 2, 1, 6, 5, 4]], [(b) => b.make("reverse", { axes: [0, 1] }, [grid(b)]), [6, 5, 4, 3, 2, 1]]],
  window: [
    [(b) => b.make("window", { axis: 0, size: 2, stride: 1, dilation: 1 }, [g.literal(b, [1, 2, 3])]), [1, 2, 2, 3], [2, 2]],
    [(b) => b.make("window", { axis: 0, size: 2, stride: 2, dilation: 2 }, [g.literal(b, [1, 2, 3, 4, 5, 6])]), [1, 3, 3, 5], [2, 2]],
    [(b) => b.make("window", { axis: 1, size: 2, stride: 1, dilation: 1 }, [grid(b)]), [1, 2, 2, 3, 4, 5, 5, 6], [2, 2, 2]],
  ],
  unwindow: [
    [(b) => b.make("unwindow", { axis: 0, length: 3, stride: 1, dilation: 1 }, [g.literal(b, [1, 2, 3, 4], [2, 2])]), [1, 5, 4], [3]],
    [(b) => b.make("unwindow", { axis: 0, length: 6, stride: 2, dilation: 2 }, [g.literal(b, [1, 2, 3, 4], [2, 2])]), [1, 0, 5, 0, 4, 0], [6]],
  ],
  sum: [[(b) => g.sum(b, grid(b), [1], true), [6, 15], [2, 1]], [(b) => g.sum(b, grid(b), [0]), [5, 7, 9], [3]], [(b) => g.sum(b, grid(b)), [21], []]],
  max_of: [[(b) => g.maxOf(b, g.neg(b, grid(b)), [1]), [-1, -4]]],
  argmax: [[(b) => g.argmax(b, g.literal(b, [1, 3, 3, 2, 2, 2], [2, 3])), [1, 0], [2]], [(b) => g.argmax(b, grid(b), 0, true), [1, 1, 1], [1, 3]]],
  cumsum: [[(b) => g.cumsum(b, grid(b)), [1, 3, 6, 4, 9, 15]], [(b) => g.cumsum(b, grid(b), 0), [1, 2, 3, 5, 7, 9]], [(b) => g.cumsum(b, grid(b), 1, true), [6, 5, 3, 15, 11, 6]]],
  dot: [
    [(b) => g.dot(b, grid(b), g.literal(b, [1, 0, 0, 1, 1, 1], [3, 2])), [4, 5, 10, 11], [2, 2]],
    [(b) => g.dot(b, grid(b), grid(b), false, true), [14, 32, 32, 77], [2, 2]],
    [(b) => g.dot(b, grid(b), grid(b), true, false), [17, 22, 27, 22, 29, 36, 27, 36, 45], [3, 3]],
    [(b) => g.dot(b, grid(b), g.literal(b, [1, 2], [1, 2]), true, true), [9, 12, 15], [3, 1]],
    [(b) => g.dot(b, g.literal(b, [1, 2, 3, 4], [2, 1, 2]), g.literal(b, [1, 1, 2, 2], [2, 2, 1])), [3, 14], [2, 1, 1]],
  ],
  gather: [[(b) => g.gather(b, grid(b), int(b, [1, 0, 2, -1])), [4, 5, 6, 1, 2, 3, 0, 0, 0, 0, 0, 0], [4, 3]], [(b) => g.gather(b, g.literal(b, [5, 6]), int(b, [1, 1, 0, 1], [2, 2])), [6, 6, 5, 6], [2, 2]]],
  scatter_add: [[(b) => b.make("scatter_add", { rows: 2 }, [int(b, [1, 1, 5]), g.literal(b, [1, 2, 3, 4, 5, 6], [3, 2])]), [0, 0, 4, 6], [2, 2]]],
  take: [[(b) => b.make("take", {}, [grid(b), int(b, [2, 0, 3, 1], [2, 2])]), [3, 1, 0, 5], [2, 2]]],
  put_add: [[(b) => b.make("put_add", { n: 3 }, [int(b, [0, 0, 3, 1], [2, 2]), g.literal(b, [1, 2, 3, 4], [2, 2])]), [3, 0, 0, 0, 4, 0], [2, 3]]],
  top_k: [[(b) => b.make("top_k", { k: 2 }, [g.literal(b, [1, 3, 3, 9, 8, 9], [2, 3])]), [1, 2, 0, 2], [2, 2]]],
  scan: [
    [(b) => loop(b).carries[0] ?? grid(b), [15, 48], [2]],
    [(b) => loop(b).results[0] ?? grid(b), [2, 3, 4, 6, 8, 14], [3, 2]],
  ],
}

/** c' = c x, result c + x. */
function loop(b: Builder): g.ScanStep {
  return g.scan(b, 3, [g.fill(b, 1, [2])], [g.reshape(b, grid(b), [3, 2])], (inner, [c], [x]) => {
    if (!c || !x) throw new Error()
    return { carries: [g.mul(inner, c, x)], results: [g.add(inner, c, x)] }
  })
}

function agree(actual: Value | undefined, expected: readonly number[], tolerance: number): void {
  const got = [...(actual?.data ?? [])]
  const close = got.length === expected.length && got.every((x, i) => {
    const y = expected[i] ?? NaN
    return x === y || (Number.isNaN(x) && Number.isNaN(y)) || Math.abs(x - y) <= tolerance * Math.max(1, Math.abs(y))
  })
  assert.ok(close, `[${got.join(", ")}] instead of [${expected.join(", ")}]`)
}

for (const [op, list] of Object.entries(checks)) {
  test(`${op} by hand`, () => {
    for (const precision of ["f32", "f64"] as const satisfies readonly Precision[]) {
      for (const [graph, expected, shape] of list) {
        const node = graph(createBuilder())
        const [result] = evaluate([node], { given: value([10, 20], [2]) }, precision)
        // The table of erf has ten digits.
        agree(result, expected, precision === "f32" ? 2e-7 : op === "erf" ? 1e-10 : 1e-15)
        if (shape) assert.equal(result?.shape, shape)
      }
    }
  })
}

test("f32 rounds every step, f64 does not, narrow always does", () => {
  const b = createBuilder()
  const x = g.sub(b, g.add(b, g.fill(b, 1), 1e-9), 1)
  assert.is(evaluate([x], {}, "f32")[0]?.data[0], 0)
  assert.ok(Math.abs((evaluate([x], {}, "f64")[0]?.data[0] ?? 0) - 1e-9) < 1e-15)
  assert.is(evaluate([b.make("narrow", { format: "bf16" }, [g.fill(b, 1.001)])], {}, "f64")[0]?.data[0], 1)
})

test("rows are independent: a batch gives what its rows give alone", () => {
  const b = createBuilder()
  const row = createBuilder()
  const model = (to: Builder, x: Node): Node => g.softmax(to, g.matmul(to, g.gelu(to, g.rmsNorm(to, x, g.fill(to, 1.5, [3]), 1e-5)), g.literal(to, [1, 2, 3, -1, 0.5, 2, 0.1, 0.2, -3], [3, 3])))
  const numbers = [0.3, -1, 2, 5, 0.1, -0.7, 1, 1, 1, -2, 3, 0.5]
  const whole = evaluate([model(b, b.input("x", "batch", "f32", [4, 3]))], { x: value(numbers, [4, 3]) })[0]?.data ?? []
  const single = model(row, row.input("x", "batch", "f32", [1, 3]))
  const parts = [0, 1, 2, 3].flatMap((i) => [...(evaluate([single], { x: value(numbers.slice(i * 3, i * 3 + 3), [1, 3]) })[0]?.data ?? [])])
  assert.equal([...whole], parts)
})

test("random rows do not depend on how many there are or where they stand", () => {
  const noise = (rows: readonly number[]): number[] => {
    const b = createBuilder()
    return [...(evaluate([b.make("random", { shape: [rows.length, 5], stream: 1 }, [int(b, [1], []), int(b, [2], []), int(b, rows)])])[0]?.data ?? [])]
  }
  assert.equal(noise([7, 8, 9]).slice(5, 10), noise([8]))
  assert.equal(noise([9, 8]).slice(5), noise([8]))
})

test("a missing or wrong feed is named", () => {
  const b = createBuilder()
  const x = b.input("tokens", "batch", "i32", [2])
  assert.throws(() => evaluate([x]), /input tokens is not given/)
  assert.throws(() => evaluate([x], { tokens: value([1, 2, 3], [3], "i32") }), /input tokens is i32\[3\] instead of i32\[2\]/)
})

test("large products agree with plain loops, whatever the storage", () => {
  const b = createBuilder()
  const [m, k, n] = [13, 37, 10]
  const x = Float64Array.from({ length: m * k }, (_, i) => Math.sin(i))
  const y = Float64Array.from({ length: k * n }, (_, i) => Math.cos(i * 0.7))
  const expected = Array.from({ length: m * n }, (_, at) => {
    let sum = 0
    for (let l = 0; l < k; l++) sum += (x[Math.floor(at / n) * k + l] ?? 0) * (y[l * n + (at % n)] ?? 0)
    return sum
  })
  const [p, q] = [b.input("x", "batch", "f32", [m, k]), b.input("y", "batch", "f32", [k, n])]
  const forms = [g.dot(b, p, q), g.dot(b, g.transpose(b, p), q, true), g.dot(b, p, g.transpose(b, q), false, true), g.dot(b, g.transpose(b, p), g.transpose(b, q), true, true)]
  for (const result of evaluate(forms, { x: { shape: [m, k], dtype: "f32", data: x }, y: { shape: [k, n], dtype: "f32", data: y } }, "f64")) agree(result, expected, 1e-13)
})

test.run()
