import { narrowTo } from "./interpret-elementwise.ts"
import type { NodeOf, Shape } from "./node.ts"
import { size } from "./node.ts"
import type { Data, Value, View } from "./value.ts"
import { permuted, readInto, writeInto } from "./value.ts"

interface Rows {
  readonly data: Data
  readonly outer: number
  readonly inner: number
  /** Where the rows lie in the tensor. */
  readonly view: View
}

/** The tensor as `outer` rows of `inner` elements, the given axes innermost. */
function rowsOf(x: Value, axes: readonly number[]): Rows {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i))
  const inner = size(axes.map((axis) => x.shape[axis] ?? 1))
  const view = permuted(x.shape, [...kept, ...axes])
  const data = x.data.slice()
  readInto(data, x.data, view)
  return { data, outer: x.data.length / inner, inner, view }
}

/** Sums are accumulated in f64 and rounded once. */
export function sum(out: Data, x: Value, axes: readonly number[]): void {
  const { data, outer, inner } = rowsOf(x, axes)
  for (let i = 0; i < outer; i++) {
    let total = 0
    for (let j = i * inner; j < (i + 1) * inner; j++) total += data[j] ?? 0
    out[i] = total
  }
}

export function maxOf(out: Data, x: Value, axes: readonly number[]): void {
  const { data, outer, inner } = rowsOf(x, axes)
  for (let i = 0; i < outer; i++) {
    let largest = -Infinity
    for (let j = i * inner; j < (i + 1) * inner; j++) largest = Math.max(largest, data[j] ?? 0)
    out[i] = largest
  }
}

export function argmax(out: Data, x: Value, axis: number): void {
  const { data, outer, inner } = rowsOf(x, [axis])
  for (let i = 0; i < outer; i++) {
    let best = 0
    for (let j = 1; j < inner; j++) if ((data[i * inner + j] ?? 0) > (data[i * inner + best] ?? 0)) best = j
    out[i] = best
  }
}

/** Running sums are accumulated in f64 and each is rounded. */
export function cumsum(out: Data, x: Value, args: NodeOf<"cumsum">["args"]): void {
  const { data, outer, inner, view } = rowsOf(x, [args.axis])
  for (let i = 0; i < outer; i++) {
    let total = 0
    for (let j = 0; j < inner; j++) {
      const place = i * inner + (args.reverse ? inner - 1 - j : j)
      total += data[place] ?? 0
      data[place] = total
    }
  }
  writeInto(out, data, view)
}

export function topK(out: Data, x: Value, k: number): void {
  const n = x.shape.at(-1) ?? 1
  for (let row = 0; row < x.data.length / n; row++) {
    const at = (i: number): number => x.data[row * n + i] ?? 0
    const order = Array.from({ length: n }, (_, i) => i).sort((p, q) => at(q) - at(p) || p - q)
    for (let i = 0; i < k; i++) out[row * k + i] = order[i] ?? 0
  }
}

/** A matrix [m, k] of each batch entry as rows of k, whatever way it was stored. */
function rowsOfMatrix(x: Value, transposed: boolean): Data {
  if (!transposed) return x.data
  const rank = x.shape.length
  const axes: Shape = [...x.shape.slice(0, -2).map((_, i) => i), rank - 1, rank - 2]
  const data = x.data.slice()
  readInto(data, x.data, permuted(x.shape, axes))
  return data
}

/** Products are accumulated in f64 and rounded once; factors are rounded before, where they are to be. */
export function dot(out: Data, node: NodeOf<"dot">, a: Value, b: Value): void {
  const [m = 1, n = 1] = node.shape.slice(-2)
  const k = a.data.length / (size(node.shape) / n)
  const rounded = (x: Data): Data => (node.args.factors === "f32" ? x : x.map(narrowTo[node.args.factors]))
  const x = rounded(rowsOfMatrix(a, node.args.ta))
  const y = rounded(rowsOfMatrix(b, !node.args.tb))
  for (let batch = 0; batch < out.length / (m * n); batch++) {
    product(out, x, y, batch * m * n, batch * m * k, batch * n * k, m, n, k)
  }
}

/** out[i, j] = sum of x[i, l] * y[j, l], four by four where it fits: each number read is used four times. */
function product(out: Data, x: Data, y: Data, o: number, p: number, q: number, m: number, n: number, k: number): void {
  const [m4, n4] = [m - (m % 4), n - (n % 4)]
  for (let i = 0; i < m4; i += 4) for (let j = 0; j < n4; j += 4) tile(out, x, y, o + i * n + j, p + i * k, q + j * k, n, k)
  for (let i = 0; i < m; i++) {
    for (let j = i < m4 ? n4 : 0; j < n; j++) {
      let total = 0
      for (let l = 0; l < k; l++) total += (x[p + i * k + l] ?? 0) * (y[q + j * k + l] ?? 0)
      out[o + i * n + j] = total
    }
  }
}

function tile(out: Data, x: Data, y: Data, o: number, p: number, q: number, n: number, k: number): void {
  for (let i = 0; i < 4; i += 2) {
    for (let j = 0; j < 4; j += 2) {
      let [s00, s01, s10, s11] = [0, 0, 0, 0]
      const [p0, p1, q0, q1] = [p + i * k, p + (i + 1) * k, q + j * k, q + (j + 1) * k]
      for (let l = 0; l < k; l++) {
        // Taken apart from an array it would be an array each time: four times slower.
        const x0 = x[p0 + l]!
        const x1 = x[p1 + l]!
        const y0 = y[q0 + l]!
        const y1 = y[q1 + l]!
        s00 += x0 * y0
        s01 += x0 * y1
        s10 += x1 * y0
        s11 += x1 * y1
      }
      const at = o + i * n + j
      out[at] = s00
      out[at + 1] = s01
      out[at + n] = s10
      out[at + n + 1] = s11
    }
  }
}
