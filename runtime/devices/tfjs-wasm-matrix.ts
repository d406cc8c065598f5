/** Matrix products and transposition on the WebAssembly backend, by the one fast product kernel: [m, k] x [k, n] of XNNPACK. */
import type { NodeOf, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Heap, Tensor } from "./tfjs-backend.ts"
import type { Emitted, Loading, Operand } from "./tfjs-rule.ts"
import { isWhole, operand, sameShape, tensor } from "./tfjs-rule.ts"

/** `count` products [m, k] x [k, n]; `step`: elements from one matrix to the next, 0 for the same one each time. */
export interface Products {
  readonly count: number
  readonly m: number
  readonly k: number
  readonly n: number
  readonly stepA: number
  readonly stepB: number
  /** B is stored [n, k]: the slow kernel. */
  readonly tb: boolean
  /** B is mostly the same tensor from call to call. */
  readonly steadyB: boolean
}

/**
 * A function that multiplies into `out`. The module knows tensors by number and address, so a part of a tensor is one
 * too. It keeps a packed copy of B under B's number, whatever shape B had: B goes by a number that no other product
 * uses, and that is forgotten after the call so that the copy is freed, or with the next B where it is steady.
 */
export function products(k: Loading, heap: Heap, p: Products): (a: Tensor, b: Tensor, out: Tensor) => void {
  const { module } = heap
  const { registerTensor, disposeData } = module.tfjs
  const [sizeA, sizeB, sizeOut] = [p.m * p.k, p.k * p.n, p.m * p.n]
  const [partA, partB, partOut] = [heap.newId(), heap.newId(), heap.newId()]
  const shapes = module._malloc(24)
  const [shapeA, shapeB] = [shapes, shapes + 12]
  new Int32Array(module.HEAPU8.buffer, shapes, 6).set([1, p.m, p.k, 1, ...(p.tb ? [p.n, p.k] : [p.k, p.n])])
  k.atEnd(() => module._free(shapes))
  const call = (a: number, b: number, out: number): void => module._BatchMatMul(a, shapeA, 3, b, shapeB, 3, 0, p.tb ? 1 : 0, out)
  if (p.count === 1 && p.steadyB) {
    let known = 0
    k.atEnd(() => { if (known !== 0) disposeData(partB) })
    return (a, b, out) => {
      if (heap.idOf(b) !== known) {
        if (known !== 0) disposeData(partB)
        known = heap.idOf(b)
        registerTensor(partB, sizeB, heap.offsetOf(b))
      }
      call(heap.idOf(a), partB, heap.idOf(out))
    }
  }
  return (a, b, out) => {
    const [atA, atB, atOut] = [heap.offsetOf(a), heap.offsetOf(b), heap.offsetOf(out)]
    for (let i = 0; i < p.count; i++) {
      registerTensor(partA, sizeA, atA + 4 * i * p.stepA)
      registerTensor(partB, sizeB, atB + 4 * i * p.stepB)
      registerTensor(partOut, sizeOut, atOut + 4 * i * sizeOut)
      call(partA, partB, partOut)
      disposeData(partA)
      disposeData(partB)
      disposeData(partOut)
    }
  }
}

export function dot(k: Loading, node: NodeOf<"dot">, inputs: readonly Operand[]): Emitted | null {
  const { heap } = k
  const [a, b] = [operand(inputs, 0), operand(inputs, 1)]
  const rank = node.shape.length
  const [m = 1, n = 1] = node.shape.slice(-2)
  const shared = size(b.shape.slice(0, -2)) === 1
  const matrixThere = sameShape(b.shape.slice(-2), node.inputs[1]?.shape.slice(-2) ?? [])
  const ready = isWhole(node, inputs) || (shared && matrixThere && sameShape(a.shape, node.inputs[0]?.shape ?? []))
  if (heap === null || node.args.ta || !ready) return null
  const inner = a.shape[rank - 1] ?? 1
  const lead = size(node.shape.slice(0, -2))
  const multiply = products(k, heap, shared
    ? { count: 1, m: lead * m, k: inner, n, stepA: 0, stepB: 0, tb: node.args.tb, steadyB: b.steady }
    : { count: lead, m, k: inner, n, stepA: m * inner, stepB: inner * n, tb: node.args.tb, steadyB: b.steady })
  return {
    shape: node.shape,
    run(xs) {
      const out = heap.make(node.shape, "float32")
      multiply(tensor(xs, 0), tensor(xs, 1), out)
      return out
    },
  }
}

/** Axes of size 1 dropped and axes joined that stay neighbours: the kernel is faster with fewer. */
function simplified(shape: Shape, axes: readonly number[]): { readonly shape: number[]; readonly axes: number[] } {
  const groups: number[][] = []
  for (const axis of axes.filter((i) => shape[i] !== 1)) {
    const group = groups.at(-1)
    const before = group?.at(-1)
    // Axes of size 1 between two others do not part them.
    const adjacent = before !== undefined && axis > before && shape.slice(before + 1, axis).every((n) => n === 1)
    if (group !== undefined && adjacent) group.push(axis)
    else groups.push([axis])
  }
  const order = groups.map((_, i) => i).sort((i, j) => (groups[i]?.[0] ?? 0) - (groups[j]?.[0] ?? 0))
  return {
    shape: order.map((i) => size((groups[i] ?? []).map((axis) => shape[axis] ?? 1))),
    axes: groups.map((_, i) => order.indexOf(i)),
  }
}

/**
 * A large matrix is transposed in two passes, strips of 16 rows first: the kernel walks over whole columns, which
 * misses the cache at each element.
 */
export function permute(k: Loading, node: NodeOf<"permute">, inputs: readonly Operand[]): Emitted {
  const x = operand(inputs, 0)
  const shape = node.args.axes.map((axis) => x.shape[axis] ?? 1)
  const { shape: from, axes } = simplified(x.shape, node.args.axes)
  if (axes.every((axis, i) => axis === i)) return { shape, run: (xs) => k.view(tensor(xs, 0), shape) }
  const kernel = k.kernel("Transpose")
  const call = (y: Tensor, as: readonly number[], perm: readonly number[]): Tensor => kernel({ x: { dataId: y.dataId, shape: as, dtype: y.dtype } }, { perm })
  const [rows = 1, columns = 1] = from.slice(-2)
  const batch = from.length === 3 ? from[0] ?? 1 : 1
  const swap = axes.join() === "1,0" || axes.join() === "0,2,1"
  const strip = [16, 32, 8].find((n) => rows % n === 0 && rows > n)
  if (!swap || strip === undefined || rows * columns < 1 << 13) return { shape, run: (xs) => named(call(tensor(xs, 0), from, axes), shape) }
  return {
    shape,
    run(xs) {
      const strips = call(tensor(xs, 0), [(batch * rows) / strip, strip, columns], [0, 2, 1])
      const result = call(strips, [batch, rows / strip, columns, strip], [0, 2, 1, 3])
      k.drop(strips)
      return named(result, shape)
    },
  }
}

function named(x: Tensor, shape: Shape): Tensor {
  return { dataId: x.dataId, shape: [...shape], dtype: x.dtype }
}
