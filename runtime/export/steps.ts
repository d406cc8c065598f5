import type { Shape } from "../../compiler/graph/node.ts"
import { isPlain, plain, stored } from "../weights.ts"
import type { StoredTensor } from "../weights.ts"
import type { TensorData } from "./safetensors.ts"

/**
 * One invertible step from our layout of weights to a foreign one. Steps never touch the numbers: encoded weights keep their codes.
 * - `transpose`: [n, k] -> [k, n].
 * - `concat`: several weights, in the order of the address, one after the other along an axis.
 * - `rotary_pairs`: rows of query and key projections. Ours turn the pairs (i, i + d/2) of a head; theirs the neighbours (2i, 2i + 1).
 * - `or_zeros`: where we have no such weight, theirs are zeros of this shape.
 */
export type Step =
  | { readonly step: "transpose" }
  | { readonly step: "concat"; readonly axis: number }
  | { readonly step: "rotary_pairs"; readonly heads: number }
  | { readonly step: "or_zeros"; readonly shape: Shape }

/** Shapes before each step, and after the last; or why a step cannot be taken. */
export function stepShapes(steps: readonly Step[], ours: readonly Shape[]): readonly (readonly Shape[])[] | string {
  const stages: (readonly Shape[])[] = [ours]
  for (const step of steps) {
    const next = shapesAfter(step, stages.at(-1)!)
    if (typeof next === "string") return next
    stages.push(next)
  }
  const last = stages.at(-1)!
  return last.length === 1 ? stages : `${last.length} weights go into one tensor: say how with \`concat(axis: …)\``
}

function shapesAfter(step: Step, shapes: readonly Shape[]): readonly Shape[] | string {
  switch (step.step) {
    case "transpose": {
      const bad = shapes.find((shape) => shape.length !== 2)
      return bad === undefined ? shapes.map((shape) => [...shape].reverse()) : `transpose needs two axes, not [${bad.join(", ")}]`
    }
    case "concat": {
      const [first] = shapes
      if (first === undefined) return "concat needs at least one weight"
      const axis = step.axis
      if (axis < 0 || axis >= first.length) return `[${first.join(", ")}] has no axis ${axis}`
      const odd = shapes.find((shape) => shape.length !== first.length || shape.some((n, i) => i !== axis && n !== first[i]))
      if (odd !== undefined) return `[${odd.join(", ")}] does not join [${first.join(", ")}] along axis ${axis}`
      return [first.map((n, i) => (i === axis ? shapes.reduce((sum, shape) => sum + shape[axis]!, 0) : n))]
    }
    case "rotary_pairs": {
      const bad = shapes.find((shape) => (shape[0] ?? 1) % (2 * step.heads) !== 0)
      return bad === undefined ? shapes : `[${bad.join(", ")}] does not hold ${step.heads} heads of even size`
    }
    case "or_zeros":
      return shapes.length === 0 ? [step.shape] : shapes
  }
}

/** From ours to theirs. Shapes must have been checked by `stepShapes`. */
export function forward(steps: readonly Step[], ours: readonly StoredTensor[]): StoredTensor {
  let now = ours
  for (const step of steps) now = forwardStep(step, now)
  return now[0]!
}

function forwardStep(step: Step, tensors: readonly StoredTensor[]): readonly StoredTensor[] {
  switch (step.step) {
    case "transpose": return tensors.map(transpose)
    case "concat": return [concat(tensors, step.axis)]
    case "rotary_pairs": return tensors.map((tensor) => takeRows(tensor, neighbours(tensor.shape[0] ?? 1, step.heads)))
    case "or_zeros": return tensors.length === 0 ? [plain(step.shape, new Float32Array(step.shape.reduce((n, d) => n * d, 1)))] : tensors
  }
}

/** From theirs to ours: the steps undone from the last. `stages` is what `stepShapes` said of the weights expected. */
export function backward(steps: readonly Step[], stages: readonly (readonly Shape[])[], theirs: StoredTensor): readonly StoredTensor[] {
  let now: readonly StoredTensor[] = [theirs]
  for (let i = steps.length - 1; i >= 0; i--) now = backwardStep(steps[i]!, stages[i]!, now)
  return now
}

function backwardStep(step: Step, before: readonly Shape[], tensors: readonly StoredTensor[]): readonly StoredTensor[] {
  switch (step.step) {
    case "transpose": return tensors.map(transpose)
    case "concat": return split(tensors[0]!, before.map((shape) => shape[step.axis]!), step.axis)
    case "rotary_pairs": return tensors.map((tensor) => takeRows(tensor, inverse(neighbours(tensor.shape[0] ?? 1, step.heads))))
    case "or_zeros": return before.length === 0 ? [] : tensors
  }
}

// ---------------------------------------------------------------- on one tensor

/** Row t of the result is row `order[t]` of the weight: within each head, rows i and i + d/2 become neighbours. */
function neighbours(rows: number, heads: number): Int32Array {
  const head = rows / heads
  return Int32Array.from({ length: rows }, (_, t) => {
    const within = t % head
    return t - within + (within >> 1) + (within & 1 ? head / 2 : 0)
  })
}

function inverse(order: Int32Array): Int32Array {
  const back = new Int32Array(order.length)
  order.forEach((from, to) => { back[from] = to })
  return back
}

/** Entries of the leading axis in another order. Encodings share scales along the last axis only, so buffers move as they are. */
function takeRows(tensor: StoredTensor, order: Int32Array): StoredTensor {
  if (tensor.shape.length === 1 && !isPlain(tensor)) return takeRows(decodedPlain(tensor), order)
  return rebuilt(tensor, tensor.shape, (data) => {
    const run = data.length / order.length
    const out = empty(data, data.length)
    order.forEach((from, to) => out.set(data.subarray(from * run, (from + 1) * run), to * run))
    return out
  })
}

function transpose(tensor: StoredTensor): StoredTensor {
  if (!isPlain(tensor)) return transpose(decodedPlain(tensor))
  const [rows, columns] = [tensor.shape[0]!, tensor.shape[1]!]
  return rebuilt(tensor, [columns, rows], (data) => {
    const out = empty(data, data.length)
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c]!
    return out
  })
}

function concat(tensors: readonly StoredTensor[], axis: number): StoredTensor {
  const first = tensors[0]!
  const alike = tensors.every((tensor) => tensor.encoding === first.encoding)
  if (!alike || (axis > 0 && !isPlain(first))) {
    if (tensors.some((tensor) => tensor.encoding !== "f32")) return concat(tensors.map(decodedPlain), axis)
  }
  const shape = first.shape.map((n, i) => (i === axis ? tensors.reduce((sum, tensor) => sum + tensor.shape[axis]!, 0) : n))
  const outer = first.shape.slice(0, axis).reduce((n, d) => n * d, 1)
  return rebuilt(first, shape, (_, name) => {
    const parts = tensors.map((tensor) => tensor.buffers.get(name)!)
    const out = empty(parts[0]!, parts.reduce((n, part) => n + part.length, 0))
    let at = 0
    for (let o = 0; o < outer; o++) {
      for (const part of parts) {
        const run = part.length / outer
        out.set(part.subarray(o * run, (o + 1) * run), at)
        at += run
      }
    }
    return out
  })
}

function split(tensor: StoredTensor, sizes: readonly number[], axis: number): readonly StoredTensor[] {
  if (axis > 0 && !isPlain(tensor)) return split(decodedPlain(tensor), sizes, axis)
  const total = tensor.shape[axis]!
  const outer = tensor.shape.slice(0, axis).reduce((n, d) => n * d, 1)
  let from = 0
  return sizes.map((length) => {
    const start = from
    from += length
    return rebuilt(tensor, tensor.shape.map((n, i) => (i === axis ? length : n)), (data) => {
      const unit = data.length / outer / total
      const out = empty(data, outer * length * unit)
      for (let o = 0; o < outer; o++) out.set(data.subarray((o * total + start) * unit, (o * total + start + length) * unit), o * length * unit)
      return out
    })
  })
}

/** The values as f32: exact for every encoding, larger. */
export function decodedPlain(tensor: StoredTensor): StoredTensor {
  return tensor.encoding === "f32" ? tensor : plain(tensor.shape, tensor.decoded())
}

function rebuilt(tensor: StoredTensor, shape: Shape, change: (data: TensorData, name: string) => TensorData): StoredTensor {
  return stored(shape, tensor.encoding, new Map([...tensor.buffers].map(([name, data]) => [name, change(data, name)])))
}

function empty(like: TensorData, length: number): TensorData {
  if (like instanceof Float32Array) return new Float32Array(length)
  if (like instanceof Int8Array) return new Int8Array(length)
  if (like instanceof Uint8Array) return new Uint8Array(length)
  if (like instanceof Int32Array) return new Int32Array(length)
  return new Uint16Array(length)
}
