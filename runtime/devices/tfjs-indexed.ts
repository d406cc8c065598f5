/** Indexed access in kernels: ids outside the range read zeros and write nothing, so they are moved inside and masked. */
import type { NodeOf, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Tensor } from "./tfjs-backend.ts"
import type { Emitted, Loading, Operand } from "./tfjs-rule.ts"
import { chain, isWhole, onHost, operand, tensor } from "./tfjs-rule.ts"

interface Inside {
  /** The id, or the nearest one that exists. */
  readonly ids: Tensor
  /** 1 where the id existed, else 0 (f32). */
  readonly valid: Tensor
}

/** Splits ids into such that exist in [0, n) and a mask. */
function insideOf(k: Loading, n: number): (ids: Tensor, keep: (x: Tensor) => Tensor) => Inside {
  const [minimum, maximum, equal, cast] = [k.kernel("Minimum"), k.kernel("Maximum"), k.kernel("Equal"), k.kernel("Cast")]
  const first = k.constant(Int32Array.of(0), [], "i32")
  const last = k.constant(Int32Array.of(n - 1), [], "i32")
  return (ids, keep) => {
    const moved = keep(minimum({ a: keep(maximum({ a: ids, b: first })), b: last }))
    return { ids: moved, valid: keep(cast({ x: keep(equal({ a: ids, b: moved })) }, { dtype: "float32" })) }
  }
}

export function gather(k: Loading, node: NodeOf<"gather">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  if (node.dtype !== "f32") return onHost(k, node, inputs)
  const [table, ids] = [operand(inputs, 0), operand(inputs, 1)]
  const [rows = 1, ...rest] = table.shape
  const inside = insideOf(k, rows)
  const [kernel, multiply] = [k.kernel("GatherV2"), k.kernel("Multiply")]
  const maskShape = [...ids.shape, ...rest.map(() => 1)]
  return {
    shape: node.shape,
    run: (xs) => chain(k, (keep) => {
      const { ids: moved, valid } = inside(tensor(xs, 1), keep)
      const read = keep(kernel({ x: tensor(xs, 0), indices: moved }, { axis: 0, batchDims: 0 }))
      return multiply({ a: read, b: keep(k.view(valid, maskShape)) })
    }),
  }
}

export function take(k: Loading, node: NodeOf<"take">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  if (node.dtype !== "f32") return onHost(k, node, inputs)
  const x = operand(inputs, 0)
  const n = x.shape.at(-1) ?? 1
  const inside = insideOf(k, n)
  const [kernel, multiply, add] = [k.kernel("GatherV2"), k.kernel("Multiply"), k.kernel("Add")]
  const starts = rowStarts(k, node.shape, n)
  return {
    shape: node.shape,
    run: (xs) => chain(k, (keep) => {
      const { ids, valid } = inside(tensor(xs, 1), keep)
      const flat = keep(k.view(tensor(xs, 0), [size(x.shape)]))
      const read = keep(kernel({ x: flat, indices: keep(add({ a: ids, b: starts })) }, { axis: 0, batchDims: 0 }))
      return multiply({ a: read, b: valid })
    }),
  }
}

/** Where each row of n elements begins, for ids of that shape: i32 [.., 1]. */
function rowStarts(k: Loading, shape: Shape, n: number): Tensor {
  const lead = shape.slice(0, -1)
  return k.constant(Int32Array.from({ length: size(lead) }, (_, i) => i * n), [...lead, 1], "i32")
}

/** Updates [count, width] added at rows of a table that has one row more, for ids that do not exist. */
function scatterRows(k: Loading, rows: number, count: number, width: number): (place: Tensor, updates: Tensor, keep: (x: Tensor) => Tensor) => Tensor {
  const [scatter, slice] = [k.kernel("ScatterNd"), k.kernel("Slice")]
  return (place, updates, keep) => {
    const [indices, values] = [keep(k.view(place, [count, 1])), keep(k.view(updates, [count, width]))]
    const table = keep(scatter({ indices, updates: values }, { shape: [rows + 1, width] }))
    return keep(slice({ x: table }, { begin: [0, 0], size: [rows, width] }))
  }
}

/** place = valid ? place : outside, in i32 arithmetic: place + (1 - valid) * (outside - place). */
function redirect(k: Loading, outside: number): (place: Tensor, valid: Tensor, keep: (x: Tensor) => Tensor) => Tensor {
  const [cast, sub, mul, add] = [k.kernel("Cast"), k.kernel("Sub"), k.kernel("Multiply"), k.kernel("Add")]
  const [one, end] = [k.constant(Int32Array.of(1), [], "i32"), k.constant(Int32Array.of(outside), [], "i32")]
  return (place, valid, keep) => {
    const missing = keep(sub({ a: one, b: keep(cast({ x: valid }, { dtype: "int32" })) }))
    return keep(add({ a: place, b: keep(mul({ a: missing, b: keep(sub({ a: end, b: place })) })) }))
  }
}

export function scatterAdd(k: Loading, node: NodeOf<"scatter_add">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  if (node.dtype !== "f32") return onHost(k, node, inputs)
  const { rows } = node.args
  const count = size(operand(inputs, 0).shape)
  const [inside, outside] = [insideOf(k, rows), redirect(k, rows)]
  const scatter = scatterRows(k, rows, count, size(node.shape) / rows)
  return {
    shape: node.shape,
    run: (xs) => chain(k, (keep) => {
      const { ids, valid } = inside(tensor(xs, 0), keep)
      return k.view(scatter(outside(ids, valid, keep), tensor(xs, 1), keep), node.shape)
    }),
  }
}

export function putAdd(k: Loading, node: NodeOf<"put_add">, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  if (node.dtype !== "f32") return onHost(k, node, inputs)
  const { n } = node.args
  const shape = operand(inputs, 0).shape
  const total = size(node.shape)
  const [inside, outside, add] = [insideOf(k, n), redirect(k, total), k.kernel("Add")]
  const starts = rowStarts(k, shape, n)
  const scatter = scatterRows(k, total, size(shape), 1)
  return {
    shape: node.shape,
    run: (xs) => chain(k, (keep) => {
      const { ids, valid } = inside(tensor(xs, 0), keep)
      const place = keep(add({ a: ids, b: starts }))
      return k.view(scatter(outside(place, valid, keep), tensor(xs, 1), keep), node.shape)
    }),
  }
}
