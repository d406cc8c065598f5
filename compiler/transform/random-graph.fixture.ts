/** Random graphs for properties: any list of choices is a graph. */
import type { Builder } from "../graph/builder.ts"
import { createBuilder } from "../graph/builder.ts"
import type { Node, Program } from "../graph/node.ts"
import * as g from "../graph/ops.ts"
import type { Value } from "../graph/value.ts"
import { value } from "../graph/value.ts"

/** What to do next: which op, and which earlier nodes or parameters (taken modulo what there is). */
export type Choice = readonly [op: number, first: number, second: number, parameter: number]

interface Pool {
  readonly b: Builder
  readonly nodes: Node[]
}

type Step = (pool: Pool, x: Node, y: Node, parameter: number) => Node

const constants = [0, -0, 1, -1, 2, 0.5, 4, 3, -8, 0.1]
const pick = <T>(list: readonly T[], i: number): T => list[i % list.length] as T

/** y brought to the type of x, by constants where there is nothing better. */
function like(b: Builder, x: Node, y: Node): Node {
  if (y.dtype !== x.dtype) return like(b, x, g.cast(b, y, x.dtype))
  if (y.shape.join() === x.shape.join()) return y
  return g.broadcastTo(b, g.reshape(b, g.slice(b, y, y.shape.map(() => 0), y.shape.map(() => 1)), x.shape.map(() => 1)), x.shape)
}

const numeric = (b: Builder, x: Node): Node => (x.dtype === "bool" ? g.cast(b, x, "f32") : x)
const truth = (b: Builder, x: Node): Node => (x.dtype === "bool" ? x : g.cast(b, x, "bool"))

function rotated(x: Node, by: number): number[] {
  const axes = x.shape.map((_, i) => i)
  return by % 2 === 0 ? [...axes.slice(1), ...axes.slice(0, 1)] : axes.reverse()
}

const steps: readonly Step[] = [
  ...([g.add, g.sub, g.mul, g.div, g.max, g.min, g.mod] as const).map((op): Step => ({ b }, x, y) => {
    const p = numeric(b, x)
    return op(b, p, like(b, p, y))
  }),
  ...([g.add, g.sub, g.mul, g.div, g.pow] as const).map((op): Step => ({ b }, x, _, k) => op(b, g.cast(b, x, "f32"), pick(constants, k))),
  ...([g.add, g.sub, g.mul] as const).map((op): Step => ({ b }, x, _, k) => op(b, pick(constants, k), g.cast(b, x, "f32"))),
  ...([g.neg, g.abs] as const).map((op): Step => ({ b }, x) => op(b, numeric(b, x))),
  ({ b }, x) => g.neg(b, g.neg(b, numeric(b, x))),
  ({ b }, x) => g.not(b, truth(b, x)),
  ({ b }, x) => g.stopGradient(b, x),
  ({ b }, x, y, k) => pick([g.and, g.or], k)(b, truth(b, x), like(b, truth(b, x), truth(b, y))),
  ({ b }, x, y, k) => pick([g.lt, g.le, g.eq], k)(b, numeric(b, x), like(b, numeric(b, x), y)),
  ({ b }, x, _, k) => g.cast(b, x, pick(["f32", "i32", "bool"] as const, k)),
  ({ b }, x, y, k) => g.where(b, k % 3 === 0 ? g.fill(b, k % 2, x.shape, "bool") : like(b, g.fill(b, 0, x.shape, "bool"), y), x, like(b, x, y)),
  ({ b }, x, _, k) => b.make("narrow", { format: pick(["f16", "bf16"] as const, k) }, [g.cast(b, x, "f32")]),
  ({ b }, x, _, k) => g.permute(b, x, rotated(x, k)),
  ({ b }, x) => (x.shape.length >= 2 ? g.transpose(b, x) : x),
  ({ b }, x) => g.reshape(b, x, [...x.shape].reverse()),
  ({ b }, x, _, k) => g.expandDims(b, x, k % (x.shape.length + 1)),
  ({ b }, x) => g.squeeze(b, x, x.shape.map((n, i) => (n === 1 ? i : -1)).filter((i) => i >= 0)),
  ({ b }, x, _, k) => (x.shape.length < 4 ? g.broadcastTo(b, x, [1 + (k % 3), ...x.shape]) : x),
  ({ b }, x, _, k) => g.slice(b, x, x.shape.map((n) => k % n), x.shape.map((n) => n), x.shape.map(() => 1 + (k % 2))),
  ({ b }, x, _, k) => b.make("reverse", { axes: x.shape.map((_, i) => i).filter((i) => (k >> i) % 2 === 0) }, [x]),
  ({ b }, x, _, k) => (x.shape.length < 4 && x.shape.every((n) => n < 6) ? g.pad(b, x, x.shape.map(() => k % 2), x.shape.map(() => 0), 1) : x),
  ({ b }, x) => b.make("concat", { axis: 0 }, x.shape.length > 0 && (x.shape[0] ?? 9) < 5 ? [x, x] : [x.shape.length > 0 ? x : g.expandDims(b, x, 0)]),
  ({ b }, x, _, k) => (x.shape.length === 0 ? x : g.sum(b, numeric(b, x), [k % x.shape.length], k % 2 === 0)),
  ({ b }, x, _, k) => (x.shape.length === 0 ? x : g.maxOf(b, numeric(b, x), [k % x.shape.length], k % 2 === 0)),
  ({ b }, x, _, k) => (x.shape.length === 0 ? x : g.cumsum(b, numeric(b, x), k % x.shape.length, k % 3 === 0)),
  ({ b }, x, y, k) => {
    const p = matrix(b, x)
    const q = matrix(b, y)
    const [m = 1] = [Math.min(p.shape[1] ?? 1, q.shape[0] ?? 1)]
    const [r, s] = [g.sliceAxis(b, p, 1, 0, m), g.sliceAxis(b, q, 0, 0, m)]
    return g.dot(b, k % 2 === 0 ? r : g.transpose(b, r), (k >> 1) % 2 === 0 ? s : g.transpose(b, s), k % 2 === 1, (k >> 1) % 2 === 1)
  },
]

function matrix(b: Builder, x: Node): Node {
  const f = g.cast(b, x, "f32")
  return f.shape.length === 2 ? f : g.reshape(b, f, [f.shape[0] ?? 1, f.shape.reduce((n, d) => n * d, 1) / (f.shape[0] ?? 1)])
}

export interface RandomGraph {
  readonly program: Program
  readonly feeds: Readonly<Record<string, Value>>
}

export function randomGraph(choices: readonly Choice[]): RandomGraph {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [2, 3])
  const y = b.input("y", "batch", "i32", [3])
  const z = b.input("z", "batch", "bool", [3, 1, 2])
  const pool: Pool = { b, nodes: [x, y, z, g.literal(b, [1, -2, 0.5]), g.fill(b, 2, [2, 2]), g.iota(b, [4])] }
  for (const [op, first, second, parameter] of choices) {
    pool.nodes.push(pick(steps, op)(pool, pick(pool.nodes, pool.nodes.length + 997 - first), pick(pool.nodes, second), parameter))
  }
  const outputs = pool.nodes.slice(-4).map((node, i) => ({ name: `out${i}`, node }))
  return {
    program: { name: "random", inputs: [x, y, z], outputs },
    feeds: { x: value([0.3, -1.25, 7, 0, 1e-3, -0.5], [2, 3]), y: value([4, 0, -3], [3], "i32"), z: value([1, 0, 0, 1, 1, 0], [3, 1, 2], "bool") },
  }
}
