import type { DType, Shape } from "./node.ts"
import { size } from "./node.ts"

/** `f64` computes f32 nodes in double precision: the measure for gradients and for other devices. */
export type Precision = "f32" | "f64"
/** f32 (Float64Array in precision f64), i32, bool. */
export type Data = Float32Array | Float64Array | Int32Array | Uint8Array

/** A tensor with its numbers, row-major. */
export interface Value {
  readonly shape: Shape
  readonly dtype: DType
  readonly data: Data
}

export function allocate(dtype: DType, n: number, precision: Precision): Data {
  if (dtype === "i32") return new Int32Array(n)
  if (dtype === "bool") return new Uint8Array(n)
  return precision === "f64" ? new Float64Array(n) : new Float32Array(n)
}

/** A value from plain numbers, for feeds. */
export function value(values: Iterable<number>, shape: Shape, dtype: DType = "f32", precision: Precision = "f32"): Value {
  const data = allocate(dtype, size(shape), precision)
  data.set([...values])
  return { shape, dtype, data }
}

/** Where the elements of a tensor lie in a buffer: element (i, j, …) at offset + i * strides[0] + j * strides[1] + … */
export interface View {
  readonly offset: number
  readonly shape: Shape
  readonly strides: readonly number[]
}

export function stridesOf(shape: Shape): number[] {
  const strides: number[] = Array<number>(shape.length).fill(1)
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] ?? 1) * (shape[i + 1] ?? 1)
  return strides
}

/** Calls `row(first, offset, n, stride)` for each row of the last axis: `first` counts elements, `offset` is the place in the buffer. */
function eachRow(view: View, row: (first: number, offset: number, n: number, stride: number) => void): void {
  const { shape, strides } = collapse(view)
  const last = shape.length - 1
  const [n = 1, stride = 1] = [shape[last], strides[last]]
  const index = Array<number>(shape.length).fill(0)
  const total = size(shape)
  let offset = view.offset
  for (let first = 0; first < total; first += n) {
    row(first, offset, n, stride)
    for (let axis = last - 1; axis >= 0; axis--) {
      const [i = 0, m = 1, s = 0] = [index[axis], shape[axis], strides[axis]]
      if (i + 1 < m) {
        index[axis] = i + 1
        offset += s
        break
      }
      index[axis] = 0
      offset -= i * s
    }
  }
}

/** Drops axes of size 1 and joins neighbours that lie evenly in memory, so that rows become long. */
function collapse(view: View): { readonly shape: number[]; readonly strides: number[] } {
  const shape: number[] = []
  const strides: number[] = []
  view.shape.forEach((n, axis) => {
    if (n === 1) return
    const stride = view.strides[axis] ?? 0
    const i = shape.length - 1
    if (i >= 0 && strides[i] === stride * n) {
      shape[i] = (shape[i] ?? 1) * n
      strides[i] = stride
    } else {
      shape.push(n)
      strides.push(stride)
    }
  })
  return shape.length === 0 ? { shape: [1], strides: [1] } : { shape, strides }
}

/** out[i] = source[view(i)]. */
export function readInto(out: Data, source: Data, view: View): void {
  eachRow(view, (first, offset, n, stride) => {
    for (let i = 0; i < n; i++) out[first + i] = source[offset + i * stride] ?? 0
  })
}

/** out[view(i)] = source[i]. */
export function writeInto(out: Data, source: Data, view: View): void {
  eachRow(view, (first, offset, n, stride) => {
    for (let i = 0; i < n; i++) out[offset + i * stride] = source[first + i] ?? 0
  })
}

/** out[view(i)] += source[i], in order of i. */
export function addInto(out: Data, source: Data, view: View): void {
  eachRow(view, (first, offset, n, stride) => {
    for (let i = 0; i < n; i++) out[offset + i * stride] = (out[offset + i * stride] ?? 0) + (source[first + i] ?? 0)
  })
}

/** The tensor with its axes in another order, as a view of its buffer. */
export function permuted(shape: Shape, axes: readonly number[]): View {
  const strides = stridesOf(shape)
  return { offset: 0, shape: axes.map((axis) => shape[axis] ?? 1), strides: axes.map((axis) => strides[axis] ?? 0) }
}
