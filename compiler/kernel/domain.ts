/** How a value lies in a kernel's domain of rows and columns. */
import type { Node, NodeOf } from "../graph/node.ts"
import { size } from "../graph/node.ts"
import type { Index } from "./index.ts"
import { coordinatesOf, plus, times, variable, zero } from "./index.ts"
import { inputAt } from "./primitives.ts"

export interface Domain { readonly rows: number; readonly cols: number }

export const rowIndex = (d: Domain): Index => variable("r", d.rows)
export const colIndex = (d: Domain): Index => variable("j", d.cols)
/** The row-major place of a point. */
export const pointIndex = (d: Domain): Index => plus(times(rowIndex(d), d.cols), colIndex(d))

/** The last axis that is longer than 1 becomes the columns. */
export function naturalDomain(shape: readonly number[]): Domain {
  const cols = [...shape].reverse().find((n) => n !== 1) ?? 1
  return { rows: size(shape) / cols, cols }
}

/** `full`: one value at each point, `row`: one for each row. */
export type Extent = "full" | "row"

/** How a tensor of this shape would lie in the domain; null if it does not. */
export function extentIn(shape: readonly number[], domain: Domain): Extent | null {
  const n = size(shape)
  if (n === domain.rows * domain.cols && endsWith(shape, domain.cols)) return "full"
  return n === domain.rows ? "row" : null
}

/** Whether some last axes have `cols` elements together. */
function endsWith(shape: readonly number[], cols: number): boolean {
  let n = 1
  for (let i = shape.length - 1; i >= 0 && n < cols; i--) n *= shape[i] ?? 1
  return n === cols
}

export function coordinatesIn(shape: readonly number[], domain: Domain, extent: Extent): Index[] {
  return coordinatesOf(extent === "full" ? pointIndex(domain) : rowIndex(domain), shape)
}

/**
 * A reduction as the kernel sees it: `along` rows (one result per row), `over` rows (one per column), or over everything
 * (`all`: along rows, then over them). `coordinates` are those of its input in the domain.
 */
export interface Reduction {
  readonly kind: "along" | "over" | "all"
  readonly domain: Domain
  readonly coordinates: readonly Index[]
}

export function reductionOf(node: NodeOf<"sum"> | NodeOf<"max_of">): Reduction {
  const { shape } = inputAt(node as Node, 0)
  const long = (axis: number): boolean => shape[axis] !== 1
  const reduced = node.args.axes.filter(long)
  const kept = shape.map((_, i) => i).filter((i) => long(i) && !reduced.includes(i))
  const extent = (axes: readonly number[]): number => size(axes.map((axis) => shape[axis] ?? 1))
  const plain = (kind: Reduction["kind"], domain: Domain): Reduction => ({ kind, domain, coordinates: coordinatesIn(shape, domain, "full") })
  if (kept.length === 0) {
    const domain = naturalDomain(shape)
    return plain(domain.rows === 1 ? "along" : "all", domain)
  }
  if (Math.max(...kept) < Math.min(...reduced)) return plain("along", { rows: extent(kept), cols: extent(reduced) })
  if (Math.max(...reduced) < Math.min(...kept)) return plain("over", { rows: extent(reduced), cols: extent(kept) })
  const domain = { rows: extent(kept), cols: extent(reduced) }
  const [outer, inner] = [coordinatesOf(rowIndex(domain), kept.map((i) => shape[i] ?? 1)), coordinatesOf(colIndex(domain), reduced.map((i) => shape[i] ?? 1))]
  const coordinates = shape.map((_, i) => outer[kept.indexOf(i)] ?? inner[reduced.indexOf(i)] ?? zero)
  return { kind: "along", domain, coordinates }
}

/** How finely sums over rows are divided: chunks of at least so many rows, and at most so many chunks. */
export interface Grain { readonly rows: number; readonly chunks: number }
export const coarse: Grain = { rows: 24, chunks: 32 }
/** For targets with many more threads than a processor has. */
export const fine: Grain = { rows: 8, chunks: 64 }

/** Rows that are combined before anything else: fixed by the number of rows and the target's grain alone. */
export function chunkOf(rows: number, grain = coarse): number {
  let chunk = grain.rows
  while (chunk * grain.chunks < rows) chunk *= 2
  return Math.min(rows, chunk)
}

/** So few rows of a product that nothing is gained by laying out its factors anew. */
export const isFew = (rows: number): boolean => rows <= 8
