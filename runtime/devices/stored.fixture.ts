/** Programs over inputs in every narrower storage: read in order, out of order, one by one, at odd places, by products and by gathers. */
import type { Builder } from "../../compiler/graph/builder.ts"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { DType, Node, NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import type { StorageType } from "../../compiler/graph/stored.ts"
import { holds, packed } from "../../compiler/graph/stored.ts"
import type { ConformanceCase } from "./conformance.ts"

export const storageTypes: readonly StorageType[] = ["f16", "bf16", "i8", "u8", "i4", "u4"]

const limits: { readonly [S in StorageType]: readonly [low: number, high: number] } = { f16: [-1, 1], bf16: [-1, 1], i8: [-128, 127], u8: [0, 255], i4: [-8, 7], u4: [0, 15] }

const ranges: { readonly [S in StorageType]: (i: number) => number } = {
  f16: (i) => ((i * 37) % 201 - 100) / 64, bf16: (i) => ((i * 37) % 101 - 50) / 32, i8: (i) => (i * 37) % 256 - 128, u8: (i) => (i * 37) % 256, i4: (i) => (i * 7) % 16 - 8, u4: (i) => (i * 7) % 16,
}

type Feeds = Record<string, ConformanceCase["batches"][number][string]>
type Input = (name: string, shape: readonly number[]) => NodeOf<"input">

/** What the codes of formats stand for: their middle for nothing. */
const middles: { readonly [S in StorageType]: number } = { f16: 0, bf16: 0, i8: 0, u8: 128, i4: 0, u4: 8 }

/** Products with matrices that are decoded where they are read: few and many rows, groups that fill vectors and groups that do not, one scale for each row, a side that lies across. */
function products(b: Builder, plain: Input, input: Input, stored: StorageType): readonly Node[] {
  const shapes = [[1, 64, 37, 32], [3, 60, 19, 5], [8, 96, 16, 96], [1, 1, 5, 1], [40, 64, 53, 32], [9, 35, 1, 7], [8, 35, 1, 7], [2, 384, 20, 32], [3, 160, 9, 32], [1, 256, 7, 64], [1, 387, 19, 387], [2, 67, 11, 67]] as const
  return shapes.flatMap(([m, k, n, group], i) => {
    const matrix = decoded(b, plain, input, String(i), [n, k, group], middles[stored])
    const [x, across] = [plain(`x${i}`, [m, k]), plain(`across${i}`, [k, m])]
    return [g.dot(b, x, matrix, false, true), g.dot(b, g.permute(b, across, [1, 0]), matrix, false, true)]
  })
}

function decoded(b: Builder, plain: Input, input: Input, name: string, [n, k, group]: readonly [number, number, number], zero: number): Node {
  const codes = g.reshape(b, input(`codes${name}`, [n, k]), [n, k / group, group])
  const scales = g.reshape(b, plain(`scales${name}`, [n, k / group]), [n, k / group, 1])
  return g.reshape(b, g.mul(b, zero === 0 ? codes : g.sub(b, codes, zero), scales), [n, k])
}

/** Products of one row and of few with the first operand in common: codes of two kinds, and a matrix as it is. Storage makes no difference but for codes. */
function siblings(b: Builder, plain: Input, input: Input, stored: StorageType): readonly Node[] {
  if (stored === "bf16") return []
  const usual = middles[stored]
  return ([[1, 64, 37], [3, 32, 9]] as const).flatMap(([m, k, n]) => {
    const x = plain(`same${k}`, [m, k])
    const codes = (name: string, width: number, zero: number): Node => decoded(b, plain, input, ` of ${k}, ${name}`, [width, k, 32], zero)
    return [codes("first", n + 3, usual), codes("second", n, usual - 1), plain(`along${k}`, [2 * n, k])].map((w) => g.dot(b, x, w, false, true))
  })
}

/** Sums as large as they come: numbers just below a power of two, all of one sign, times the code of largest magnitude; and long ones, over numbers and codes that fall off. */
function extremes(b: Builder, feeds: Feeds, stored: StorageType): readonly Node[] {
  return ([[128, 32], [16519, 16519]] as const).flatMap(([k, group]) => limits[stored].map((code) => {
    const all = (name: string, shape: readonly number[], narrow: boolean, value: (i: number) => number): NodeOf<"input"> => {
      const values = Float32Array.from({ length: size(shape) }, (_, i) => value(i))
      feeds[`${name} of ${k}, ${code}`] = narrow ? { shape, dtype: "f32", stored, data: packed(values, stored) } : { shape, dtype: "f32", data: values }
      return b.input(`${name} of ${k}, ${code}`, "batch", "f32", shape, narrow ? stored : undefined)
    }
    const falling = (i: number, by: number): number => (k > 128 ? 1 - (i % by) / 8 : 1)
    const codes: Input = (name, shape) => all(name, shape, true, (i) => Math.trunc(code * falling(i, 7)))
    const scales: Input = (name, shape) => all(name, shape, false, () => 2 ** -10)
    const near = all("near", [2, k], false, (i) => (i < k ? 1 : -1) * (2 - 2 ** -23) * falling(i, 5))
    return g.dot(b, near, decoded(b, scales, codes, "", [9, k, group], middles[stored]), false, true)
  }))
}

export function storedCase(stored: StorageType): ConformanceCase {
  const b = createBuilder()
  const feeds: Feeds = {}
  const input = (name: string, shape: readonly number[], dtype: DType = "f32"): NodeOf<"input"> => {
    feeds[name] = { shape, dtype, stored, data: packed(Array.from({ length: size(shape) }, (_, i) => ranges[stored](i + name.length)), stored) }
    return b.input(name, "batch", dtype, shape, stored)
  }
  const plain = (name: string, shape: readonly number[]): NodeOf<"input"> => {
    feeds[name] = { shape, dtype: "f32", data: Float32Array.from({ length: size(shape) }, (_, i) => Math.sin(i + name.length)) }
    return b.input(name, "batch", "f32", shape)
  }
  const [x, long, odd] = [input("x", [5, 7]), input("long", [4, 96]), input("odd", [9, 33])]
  const ids = b.input("ids", "batch", "i32", [6])
  feeds["ids"] = { shape: [6], dtype: "i32", data: Int32Array.from([3, 0, 8, 8, 20, 1]) }
  const wide = (shape: readonly number[]) => (of: string): NodeOf<"input"> => plain(of, shape)
  const outputs = [
    g.mul(b, long, 0.37), g.add(b, x, 1), g.mul(b, g.permute(b, odd, [1, 0]), 0.5), g.sum(b, odd, [1]), g.sum(b, odd, [0]), g.gather(b, odd, ids), x,
    g.slice(b, odd, [1, 3], [9, 33], [1, 2]), g.add(b, g.reshape(b, g.slice(b, odd, [2, 5], [3, 6], [1, 1]), []), 1),
    g.dot(b, wide([3, 33])("few"), odd, false, true), g.dot(b, wide([21, 33])("many"), odd, false, true), g.dot(b, wide([21, 9])("rows"), odd), g.dot(b, odd, wide([9, 5])("right"), true, false),
    ...products(b, plain, input, stored), ...siblings(b, plain, input, stored), ...extremes(b, feeds, stored),
    ...(holds(stored, "i32") ? [g.add(b, input("whole", [3, 19], "i32"), 2)] : []),
  ]
  const program: Program = { name: `stored as ${stored}`, inputs: b.nodes.filter((node): node is NodeOf<"input"> & (typeof b.nodes)[number] => node.op === "input"), outputs: outputs.map((node, i) => ({ name: `out${i}`, node })) }
  return { name: program.name, program, state: {}, batches: [feeds], tolerance: { absolute: 4e-6, relative: 1e-5 } }
}
