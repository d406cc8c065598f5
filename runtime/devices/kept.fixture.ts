/** Attention over keys and values that are kept in 16 bits: put there by the program, in two steps, or given; of few queries and of many, with shared heads, windows and odd sizes. */
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { KeptFormat, Node, NodeOf, Output } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { size } from "../../compiler/graph/node.ts"
import { packed } from "../../compiler/graph/stored.ts"
import type { HostTensor } from "../device.ts"
import type { ConformanceCase } from "./conformance.ts"

interface Sizes { readonly b: number; readonly h: number; readonly g: number; readonly t: number; readonly s: number; readonly d: number; readonly e: number; readonly window?: number }

const sizes: readonly Sizes[] = [
  { b: 1, h: 2, g: 2, t: 1, s: 40, d: 64, e: 64 }, { b: 2, h: 4, g: 2, t: 1, s: 23, d: 24, e: 24, window: 7 }, { b: 1, h: 3, g: 1, t: 3, s: 9, d: 5, e: 7 },
  { b: 2, h: 2, g: 1, t: 16, s: 35, d: 24, e: 40 }, { b: 1, h: 1, g: 1, t: 5, s: 70, d: 1, e: 1 },
]

/** Beyond the range of f16, just within it, between two of its numbers, and too small for it. */
const hard = [1e5, -7e4, 65519, 65520, 3e38, -3e38, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -24, 3 * 2 ** -26, 2 ** -26, -(2 ** -14) + 2 ** -26, 1e-30]

export function keptCase(format: KeptFormat): ConformanceCase {
  const b = createBuilder()
  const state: Record<string, HostTensor> = {}
  const batches: Record<string, HostTensor>[] = [{}, {}]
  const given = (name: string, shape: readonly number[], values: (i: number, step: number) => number): NodeOf<"input"> => {
    batches.forEach((batch, step) => { batch[name] = { shape, dtype: "f32", data: Float32Array.from({ length: size(shape) }, (_, i) => values(i, step)) } })
    return b.input(name, "batch", "f32", shape)
  }
  const kept = (name: string, shape: readonly number[]): NodeOf<"input"> => {
    state[name] = { shape, dtype: "f32", stored: format, data: packed(Array.from({ length: size(shape) }, (_, i) => ((i * 37) % 101 - 50) / 32), format) }
    return b.input(name, "state", "f32", shape, format)
  }
  const outputs: Output[] = []
  const returned = (name: string, node: Node): void => void outputs.push({ name, node })
  sizes.forEach(({ b: rows, h, g, t, s, d, e, window = null }, i) => {
    const wave = (name: string, ...shape: number[]): Node => given(`${name}${i}`, shape, (j, step) => Math.sin(1.7 * j + i + step))
    const offset = b.input(`offset${i}`, "batch", "i32", [rows])
    batches.forEach((batch, step) => { batch[`offset${i}`] = { shape: [rows], dtype: "i32", data: Int32Array.from({ length: rows }, (_, r) => (step === 0 ? r : s - t)) } })
    const put = (name: string, width: number): Node => {
      const updated = b.make("put", { axis: 2, format }, [kept(`${name}${i}`, [rows, g, s, width]), wave(`fresh ${name}`, rows, g, t, width), offset])
      returned(`${name}${i}`, updated)
      return updated
    }
    const args = { scale: 0.4, window, segmented: false, biased: false, factors: format === "bf16" ? format : "f32" } as const
    const query = wave("q", rows, h, t, d)
    returned(`attended${i}`, b.make("attend", { ...args, causal: true, offset: true }, [query, put("k", d), put("v", e), offset]))
    returned(`read${i}`, b.make("attend", { ...args, causal: false, offset: false }, [query, kept(`read k${i}`, [rows, g, s, d]), kept(`read v${i}`, [rows, g, s, e])]))
  })
  const at = b.input("at", "batch", "i32", [1])
  batches.forEach((batch, step) => { batch["at"] = { shape: [1], dtype: "i32", data: Int32Array.of(2 * step - 1) } })
  const before = kept("bounds", [1, 5, hard.length])
  const bounds = b.make("put", { axis: 1, format }, [before, given("hard", [1, 2, hard.length], (j, step) => (hard[(j + step) % hard.length] ?? 0) * (j < hard.length ? 1 : -1)), at])
  returned("bounds", bounds)
  returned("bounds, returned", bounds)
  // Reads the old ones beside the new, so that these cannot lie over them.
  returned("old and new", g.where(b, g.lt(b, before, 0), before, bounds))
  const inputs = b.nodes.filter((node): node is NodeOf<"input"> & (typeof b.nodes)[number] => node.op === "input")
  const tolerance = format === "bf16" ? { absolute: 2 ** -8, relative: 2 ** -7 } : { absolute: 4e-6, relative: 1e-5 }
  return { name: `kept in ${format}`, program: { name: `kept in ${format}`, inputs, outputs }, state, batches, tolerance }
}
