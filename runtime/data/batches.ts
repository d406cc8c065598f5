import { bits, hash32 } from "../../compiler/graph/random.ts"
import { besideInput } from "../../compiler/graph/lower/context.ts"
import type { HostTensor } from "../device.ts"
import { orderCache, type Mixture, type Pick } from "./mixture.ts"
import { rowArrays, type PackedRows, type RowTensor } from "./pack.ts"

export interface LoaderOptions {
  readonly source: PackedRows | Mixture
  readonly batch: number
  readonly seed: number
  /** `sequential`: sample n is row n, and what lies beyond the last row is padding. Not for mixtures. */
  readonly order?: "shuffled" | "sequential"
}

/** What a batch holds: the record `row` of the spec (5.5). */
export type Batch = Readonly<Record<"tokens" | "segments" | "positions" | "counts" | "row", HostTensor>> & Readonly<Record<string, HostTensor>>

export interface Loader {
  /** Rows of one pass over the data; null for a mixture, which has no such number. */
  readonly epoch: number | null
  /** The samples from `firstSample` on: a pure function of the number. */
  batch(firstSample: number): Batch
  /** Where a sample comes from; row -1 is padding. */
  pick(sample: number): Pick
}

export function createLoader(options: LoaderOptions): Loader {
  const { source, batch } = options
  const mixed = "sources" in source
  const sources = mixed ? source.sources : [source]
  const [first] = sources
  if (first === undefined) throw new Error("createLoader: a mixture without sources")
  if (mixed && options.order === "sequential") throw new Error("createLoader: a mixture has no sequential order")
  const pick = mixed ? source.pick : pickFrom(source, options)
  const labelled = first.set.labels !== null
  const beside = [...first.beside]
  const width = first.length + 1
  return {
    epoch: mixed ? null : source.rows,
    pick,
    batch(firstSample) {
      const arrays = rowArrays(batch * width)
      const row = new Int32Array(batch)
      const label = new Int32Array(batch)
      for (let i = 0; i < batch; i++) {
        const from = pick(firstSample + i)
        const packed = sources[from.source]
        if (from.place === undefined) packed?.fill(from.row, arrays, i * width)
        else packed?.fillWindow(from.place, arrays, i * width)
        row[i] = firstSample + i
        label[i] = sources[from.source]?.label(from.row) ?? -1
      }
      const picked = beside.length === 0 ? [] : Array.from(row, pick)
      const others = beside.map(([path, tensor]): [string, HostTensor] => [besideInput(path), besideBatch(path, tensor, sources, picked)])
      const shape = [batch, width]
      const tensors = {
        tokens: { shape, dtype: "i32", data: arrays.tokens },
        segments: { shape, dtype: "i32", data: arrays.segments },
        positions: { shape, dtype: "i32", data: arrays.positions },
        counts: { shape, dtype: "bool", data: arrays.counts },
        row: { shape: [batch], dtype: "i32", data: row },
      } as const satisfies Batch
      return { ...tensors, ...(labelled ? { label: { shape: [batch], dtype: "i32", data: label } } : {}), ...Object.fromEntries(others) }
    },
  }
}

/** What stands beside the rows of a batch at one path. */
function besideBatch(path: string, { dtype, shape }: RowTensor, sources: readonly PackedRows[], picked: readonly Pick[]): HostTensor {
  const width = shape.reduce((n, d) => n * d, 1)
  const data = dtype === "f32" ? new Float32Array(picked.length * width) : dtype === "i32" ? new Int32Array(picked.length * width) : new Uint8Array(picked.length * width)
  picked.forEach(({ source, row }, i) => sources[source]?.beside.get(path)?.fill(row, data, i * width))
  return { shape: [picked.length, ...shape], dtype, data }
}

function pickFrom(source: PackedRows, options: LoaderOptions): (sample: number) => Pick {
  if (options.order === "sequential") return (sample) => ({ source: 0, row: sample < source.rows ? sample : -1 })
  if (source.windows !== null) return windowsOf(source.windows, options.seed)
  const order = orderCache(options.seed, "order")
  return (sample) => ({ source: 0, row: order(source.rows, sample) })
}

const windowStream = hash32("window")

/** Each sample begins at a place of its own: 52 random bits of the seed and the sample's number, scaled. */
function windowsOf(places: number, seed: number): (sample: number) => Pick {
  return (sample) => {
    const key = { seed, stream: windowStream, step: 0, row: sample }
    const share = (bits(key, 0) * 2 ** 20 + (bits(key, 1) >>> 12)) * 2 ** -52
    return { source: 0, row: 0, place: Math.floor(share * places) }
  }
}
