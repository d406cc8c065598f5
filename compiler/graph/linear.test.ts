import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { cholesky, solve, sorted } from "./linear.ts"

const product = (a: ArrayLike<number>, b: ArrayLike<number>, n: number, k: number): number[] =>
  Array.from({ length: n * k }, (_, at) => {
    const [i, j] = [Math.floor(at / k), at % k]
    let sum = 0
    for (let c = 0; c < n; c++) sum += a[i * n + c]! * b[c * k + j]!
    return sum
  })

const transposed = (a: ArrayLike<number>, n: number): number[] => Array.from({ length: n * n }, (_, at) => a[(at % n) * n + Math.floor(at / n)]!)
const near = (a: ArrayLike<number>, b: ArrayLike<number>): void => {
  assert.is(a.length, b.length)
  for (let i = 0; i < a.length; i++) assert.ok(Math.abs(a[i]! - b[i]!) < 1e-8 * (1 + Math.abs(b[i]!)), `${i}: ${a[i]} ${b[i]}`)
}

const numbers = (n: number) => fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: n, maxLength: n })

test("the factor of X^T X + 1 gives it back", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 6 }).chain((n) => fc.tuple(fc.constant(n), numbers(n * n))), ([n, x]) => {
    const a = product(transposed(x, n), x, n, n).map((v, i) => v + (i % (n + 1) === 0 ? 1 : 0))
    const l = cholesky(a, n)
    assert.ok(l !== null)
    for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) assert.is(l[i * n + j], 0)
    near(product(l, transposed(l, n), n, n), a)
  }))
})

test("what is solved for gives the right side back, also where rows must be exchanged", () => {
  near(solve([0, 1, 1, 0], [3, 5], 2) ?? [], [5, 3])
  fc.assert(fc.property(fc.integer({ min: 1, max: 5 }).chain((n) => fc.tuple(fc.constant(n), numbers(n * n), numbers(n * 2))), ([n, x, b]) => {
    const a = product(transposed(x, n), x, n, n).map((v, i) => v + (i % (n + 1) === 0 ? 1 : 0))
    near(product(a, solve(a, b, n) ?? [], n, 2), b)
  }))
})

test("what has no factor or no inverse says so", () => {
  assert.is(cholesky([1, 2, 2, 1], 2), null)
  assert.is(solve([1, 2, 2, 4], [1, 1], 2), null)
})

test("each run is sorted by itself", () => {
  assert.equal([...sorted([3, -1, 2, 10, 9, -20], 3)], [-1, 2, 3, -20, 9, 10])
})

test.run()
