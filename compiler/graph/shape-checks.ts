import type { DType, Shape } from "./node.ts"

/** What is known of a tensor without its numbers. */
export interface Type {
  readonly shape: Shape
  readonly dtype: DType
}

// What shape rules are made of. Each throws on a graph that means nothing: a bug of the caller.

export const numeric: readonly DType[] = ["f32", "i32"]
export const any: readonly DType[] = ["f32", "i32", "bool"]

export function need(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i])
}

export function show(type: Type): string {
  return `${type.dtype}[${type.shape.join(", ")}]`
}

/** Every axis has at least one element: empty tensors are refused so that no device has to care. */
export function checkShape(shape: Shape): Shape {
  for (const n of shape) need(Number.isSafeInteger(n) && n >= 1, `an axis of size ${n}`)
  return shape
}

export function count(inputs: readonly Type[], n: number): void {
  need(inputs.length === n, `${inputs.length} inputs instead of ${n}`)
}

export function at(inputs: readonly Type[], i: number): Type {
  const type = inputs[i]
  need(type !== undefined, `input ${i} is missing`)
  return type
}

export function dim(shape: Shape, axis: number): number {
  const n = shape[axis]
  need(Number.isInteger(axis) && n !== undefined, `no axis ${axis} in [${shape.join(", ")}]`)
  return n
}

export function expectType(type: Type, dtype: DType, shape: Shape, what: string): void {
  need(type.dtype === dtype && sameShape(type.shape, shape), `${what} is ${show(type)} instead of ${dtype}[${shape.join(", ")}]`)
}

export function dtypeIn(type: Type, allowed: readonly DType[], what = "the input"): void {
  need(allowed.includes(type.dtype), `${what} is ${show(type)}, allowed: ${allowed.join(", ")}`)
}

export function unary(allowed: readonly DType[]): (args: {}, inputs: readonly Type[]) => Type {
  return (_, inputs) => {
    count(inputs, 1)
    const x = at(inputs, 0)
    dtypeIn(x, allowed)
    return { shape: x.shape, dtype: x.dtype }
  }
}

export function binary(allowed: readonly DType[], result: DType | null = null): (args: {}, inputs: readonly Type[]) => Type {
  return (_, inputs) => {
    count(inputs, 2)
    const x = at(inputs, 0)
    dtypeIn(x, allowed)
    expectType(at(inputs, 1), x.dtype, x.shape, "the second input")
    return { shape: x.shape, dtype: result ?? x.dtype }
  }
}

export function replaced(shape: Shape, axis: number, ...by: readonly number[]): Shape {
  return [...shape.slice(0, axis), ...by, ...shape.slice(axis + 1)]
}

export function checkAxes(shape: Shape, axes: readonly number[]): void {
  for (const axis of axes) dim(shape, axis)
  need(new Set(axes).size === axes.length, `an axis occurs twice in [${axes.join(", ")}]`)
}

export function reduced(x: Type, axes: readonly number[]): Shape {
  checkAxes(x.shape, axes)
  return x.shape.map((n, i) => (axes.includes(i) ? 1 : n))
}
