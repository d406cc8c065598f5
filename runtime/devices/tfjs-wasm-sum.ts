/** Sums on the WebAssembly backend. */
import type { NodeOf, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { HostData, Tensor } from "./tfjs-backend.ts"
import type { Emitted, Loading, Operand } from "./tfjs-rule.ts"
import { onHost, operand, repeats, scaled, tensor, without } from "./tfjs-rule.ts"
import { products } from "./tfjs-wasm-matrix.ts"

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

function stageRun(k: Loading, stage: Stage): (x: Tensor) => Tensor {
  const { outer, count, inner } = stage
  if (inner > 1) return columnSums(k, stage)
  if (count > longest) return (x) => k.host([x], [outer], "f32", ([data], out) => sumRows(data, out, count))
  const kernel = k.kernel("Sum")
  return (x) => kernel({ x: { dataId: x.dataId, shape: [outer, count], dtype: x.dtype } }, { axis: [1], keepDims: false })
}

function sumRows(data: HostData | undefined, out: HostData, count: number): void {
  if (data === undefined) return
  for (let i = 0; i < out.length; i++) {
    let total = 0
    for (let j = i * count; j < (i + 1) * count; j++) total += data[j] ?? 0
    out[i] = total
  }
}

/** Sums of columns are a product with a row of ones; long ones in two products, so that rounding errors stay small. */
function columnSums(k: Loading, { outer, count, inner }: Stage): (x: Tensor) => Tensor {
  const { heap } = k
  if (heap === null) throw new Error("tfjs: sums of the WebAssembly backend on another one")
  const first = count > 32 ? divisorNearRoot(count) : count
  const rest = count / first
  const ones = k.constant(new Float32Array(Math.max(first, rest)).fill(1), [Math.max(first, rest)], "f32")
  const part = products(k, heap, { count: outer, m: 1, k: first, n: rest * inner, stepA: 0, stepB: count * inner, tb: false, steadyB: false })
  const total = rest === 1 ? null : products(k, heap, { count: outer, m: 1, k: rest, n: inner, stepA: 0, stepB: rest * inner, tb: false, steadyB: false })
  return (x) => {
    const parts = heap.make([outer, rest * inner], "float32")
    part(ones, x, parts)
    if (total === null) return parts
    const out = heap.make([outer, inner], "float32")
    total(ones, parts, out)
    k.drop(parts)
    return out
  }
}

/** The largest divisor of n that is at most its square root, turned over; 1 gives n itself. */
function divisorNearRoot(n: number): number {
  let d = Math.floor(Math.sqrt(n))
  while (n % d !== 0) d--
  return n / d
}
