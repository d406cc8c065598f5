/** Sums on the WebAssembly backend. */
import type { NodeOf, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { HostData, Heap, Tensor } from "./tfjs-backend.ts"
import type { Emitted, Loading, Operand } from "./tfjs-rule.ts"
import { onHost, operand, repeats, scaled, tensor, without } from "./tfjs-rule.ts"

/** [outer, count, inner] -> [outer, inner] */
interface Stage {
  readonly outer: number
  readonly count: number
  readonly inner: number
}

/** The sum over several axes as sums over runs of neighbouring axes, the last run first. */
function stagesOf(shape: Shape, axes: readonly number[]): Stage[] {
  const stages: Stage[] = []
  let inner = 1
  let end = shape.length
  while (end > 0) {
    const dropped = axes.includes(end - 1)
    let start = end
    while (start > 0 && (axes.includes(start - 1) === dropped || shape[start - 1] === 1)) start--
    const count = size(shape.slice(start, end))
    if (dropped && count > 1) stages.push({ outer: size(shape.slice(0, start)), count, inner })
    if (!dropped) inner *= count
    end = start
  }
  return stages
}

/** The kernel adds one after the other in f32, which loses too much over many elements. */
const longest = 512

export function sum(k: Loading, node: NodeOf<"sum">, inputs: readonly Operand[]): Emitted | null {
  const x = operand(inputs, 0)
  const factor = repeats(node, x.shape)
  if (x.dtype !== "f32") return onHost(k, node, inputs)
  const stages = stagesOf(x.shape, node.args.axes).map((stage) => stageRun(k, stage))
  const shape = without(x.shape, node.args.axes)
  const run = (xs: readonly Tensor[]): Tensor => {
    let current = k.view(tensor(xs, 0), x.shape)
    for (const stage of stages) {
      const next = stage(current)
      k.drop(current)
      current = next
    }
    return { dataId: current.dataId, shape: [...shape], dtype: current.dtype }
  }
  return scaled(k, { shape, run }, factor)
}

function stageRun(k: Loading, { outer, count, inner }: Stage): (x: Tensor) => Tensor {
  if (inner === 1) return rowSums(k, outer, count)
  if (outer <= 4) return columnSums(k, { outer, count, inner })
  const [transpose, sums] = [k.kernel("Transpose"), rowSums(k, outer * inner, count)]
  return (x) => {
    const turned = transpose({ x: { dataId: x.dataId, shape: [outer, count, inner], dtype: x.dtype } }, { perm: [0, 2, 1] })
    const result = sums(turned)
    k.drop(turned)
    return result
  }
}

function rowSums(k: Loading, rows: number, count: number): (x: Tensor) => Tensor {
  if (count > longest) return (x) => k.host([x], [rows], "f32", ([data], out) => sumRows(data, out, count))
  const kernel = k.kernel("Sum")
  return (x) => kernel({ x: { dataId: x.dataId, shape: [rows, count], dtype: x.dtype } }, { axis: [1], keepDims: false })
}

function sumRows(data: HostData | undefined, out: HostData, count: number): void {
  if (data === undefined) return
  for (let i = 0; i < out.length; i++) {
    let total = 0
    for (let j = i * count; j < (i + 1) * count; j++) total += data[j] ?? 0
    out[i] = total
  }
}

/**
 * Sums of columns, halving the rows: the lower half is added to the upper one until one row is left. This is fast, since
 * adding is, and rounding errors grow with the logarithm of the number of rows. A row that is over goes along.
 */
function columnSums(k: Loading, { outer, count, inner }: Stage): (x: Tensor) => Tensor {
  const { heap } = k
  if (heap === null) throw new Error("tfjs: sums of the WebAssembly backend on another one")
  const add = adder(k, heap)
  return (x) => {
    const half = (count + 1) >> 1
    const out = heap.make([outer, inner], "float32")
    const scratch = heap.make([half, inner], "float32")
    const at = heap.offsetOf(scratch)
    for (let i = 0; i < outer; i++) {
      let [rows, from] = [count, heap.offsetOf(x) + 4 * i * count * inner]
      while (rows > 1) {
        const pairs = rows >> 1
        const to = rows === 2 ? heap.offsetOf(out) + 4 * i * inner : at
        add(from, from + 4 * pairs * inner, to, pairs * inner)
        if (rows % 2 === 1) heap.module.HEAPU8.copyWithin(at + 4 * pairs * inner, from + 4 * (rows - 1) * inner, from + 4 * rows * inner)
        rows = pairs + (rows % 2)
        from = at
      }
    }
    k.drop(scratch)
    return out
  }
}

/** Adds n numbers at two addresses into a third, which may be the first. */
function adder(k: Loading, heap: Heap): (a: number, b: number, out: number, n: number) => void {
  const { module } = heap
  const { registerTensor, disposeData } = module.tfjs
  const [partA, partB, partOut] = [heap.newId(), heap.newId(), heap.newId()]
  const shape = module._malloc(4)
  k.atEnd(() => module._free(shape))
  return (a, b, out, n) => {
    new Int32Array(module.HEAPU8.buffer, shape, 1)[0] = n
    registerTensor(partA, n, a)
    registerTensor(partB, n, b)
    registerTensor(partOut, n, out)
    module._Add(partA, shape, 1, partB, shape, 1, 0, partOut)
    disposeData(partA)
    disposeData(partB)
    disposeData(partOut)
  }
}
