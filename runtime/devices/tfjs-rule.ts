/** What a rule of an op is, and what rules share. */
import type { Primitive } from "../../compiler/graph/composite.ts"
import { interpretInto } from "../../compiler/graph/interpret.ts"
import type { DType, NodeOf, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { HostData, Kernels, Tensor } from "./tfjs-backend.ts"

/** What is left after lowering: loops are run by the plan, softmax is a kernel. */
export type LoweredOp = Exclude<Primitive, "input" | "scan"> | "softmax"

/**
 * An input as the kernel will see it. Broadcasting is lazy: along an axis where the node is wider than 1 the tensor may
 * still have 1 element. `fill` is the number that all elements are known to have; a `steady` operand is the same in many steps.
 */
export interface Operand {
  readonly shape: Shape
  readonly dtype: DType
  readonly fill: number | null
  readonly steady: boolean
}

/** `run` returns a tensor of its own; `shape` is its shape, with 1 where it is constant along an axis. */
export interface Emitted {
  readonly shape: Shape
  readonly run: (inputs: readonly Tensor[]) => Tensor
  readonly fill?: number
}

/** The backend while one program is loaded. */
export interface Loading extends Kernels {
  /** A tensor that lives as long as the program. */
  constant(data: HostData, shape: Shape, dtype: DType): Tensor
  /** Frees something else that lives as long as the program. */
  atEnd(release: () => void): void
}

/** Null: these operands have to be repeated to their full shape first. */
export type Rule<O extends LoweredOp> = (k: Loading, node: NodeOf<O>, inputs: readonly Operand[]) => Emitted | null
export type Rules = { readonly [O in LoweredOp]: Rule<O> }

export function operand(inputs: readonly Operand[], i: number): Operand {
  const x = inputs[i]
  if (x === undefined) throw new Error(`tfjs: operand ${i} is missing`)
  return x
}

export function tensor(inputs: readonly Tensor[], i: number): Tensor {
  const x = inputs[i]
  if (x === undefined) throw new Error(`tfjs: tensor ${i} is missing`)
  return x
}

export function sameShape(x: Shape, y: Shape): boolean {
  return x.length === y.length && x.every((n, i) => n === y[i])
}

export function isWhole(node: NodeOf<LoweredOp>, inputs: readonly Operand[]): boolean {
  return node.inputs.every((x, i) => sameShape(x.shape, operand(inputs, i).shape))
}

/** Computed by the reference interpreter in host memory: for ops that no kernel gets right. */
export function onHost(k: Loading, node: NodeOf<Exclude<LoweredOp, "softmax">>, inputs: readonly Operand[]): Emitted | null {
  if (!isWhole(node, inputs)) return null
  const types = node.inputs.map(({ shape, dtype }) => ({ shape, dtype }))
  return {
    shape: node.shape,
    run: (xs) => k.host(xs, node.shape, node.dtype, (data, out) => {
      interpretInto(out, node, types.map((type, i) => ({ ...type, data: dataAt(data, i) })))
    }),
  }
}

function dataAt(data: readonly HostData[], i: number): HostData {
  const x = data[i]
  if (x === undefined) throw new Error(`tfjs: host data ${i} is missing`)
  return x
}

/** The shape of two operands of equal rank together. */
export function commonShape(x: Shape, y: Shape): Shape {
  return x.map((n, i) => (n === 1 ? y[i] ?? 1 : n))
}

export function without(shape: Shape, axes: readonly number[]): Shape {
  return shape.map((n, i) => (axes.includes(i) ? 1 : n))
}

/** The shape that a tensor of shape `lazy`, which stands for `from`, has as `to`; null where repeated and other axes are mixed. */
export function lazyReshape(lazy: Shape, from: Shape, to: Shape): Shape | null {
  const result: number[] = []
  let [i, j] = [0, 0]
  while (i < from.length || j < to.length) {
    // The smallest groups of axes with the same number of elements on both sides.
    const [i0, j0] = [i, j]
    let [m, n] = [i < from.length ? from[i++] ?? 1 : 1, j < to.length ? to[j++] ?? 1 : 1]
    while (m !== n) {
      if (m < n) m *= from[i++] ?? 1
      else n *= to[j++] ?? 1
    }
    const full = from.slice(i0, i).every((d, axis) => d === lazy[i0 + axis])
    const single = lazy.slice(i0, i).every((d) => d === 1)
    if (!full && !single) return null
    result.push(...to.slice(j0, j).map((d) => (full ? d : 1)))
  }
  return result
}

/** A sum along an axis with one element for all is that element times their number. */
export function repeats(node: NodeOf<"sum">, lazy: Shape): number {
  return size(node.args.axes.map((axis) => (lazy[axis] === 1 ? node.inputs[0]?.shape[axis] ?? 1 : 1)))
}

export function scaled(k: Loading, emitted: Emitted, factor: number): Emitted {
  if (factor === 1) return emitted
  const kernel = k.kernel("Multiply")
  const ones = emitted.shape.map(() => 1)
  const by = k.constant(Float32Array.of(factor), ones, "f32")
  return {
    shape: emitted.shape,
    run(xs) {
      const x = emitted.run(xs)
      const y = kernel({ a: x, b: by })
      k.drop(x)
      return y
    },
  }
}


/** Runs kernels whose results are dropped at the end, but for the last. */
export function chain(k: Loading, body: (keep: (x: Tensor) => Tensor) => Tensor): Tensor {
  const made: Tensor[] = []
  const result = body((x) => {
    made.push(x)
    return x
  })
  for (const x of made) if (x !== result) k.drop(x)
  return result
}
