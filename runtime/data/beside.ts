/** What stands beside packed rows: tensors that were noted for each row, or the rows of other data. */
import { fromHalf, halves } from "../../compiler/graph/half.ts"
import type { Beside, Numbers, PackedRows, RowTensor } from "./pack.ts"
import { rowArrays } from "./pack.ts"
import { bad, failure, good, type Result } from "./result.ts"

/** How noted numbers are kept: floating point as it is or rounded to 16 bits, whole numbers in 16 bits where all of them fit. */
export type NoteStorage = "f32" | "f16" | "i32" | "u16" | "u8"

/** Tensors [rows, ..] of all rows. */
export interface NotedTensor {
  readonly dtype: RowTensor["dtype"]
  readonly shape: readonly number[]
  readonly stored: NoteStorage
  readonly data: Numbers | Uint16Array
}

export const noteBytes: { readonly [S in NoteStorage]: number } = { f32: 4, f16: 2, i32: 4, u16: 2, u8: 1 }

/** The tensor as it is kept: `half` rounds floating point, whole numbers lose nothing. */
export function narrowed(dtype: RowTensor["dtype"], shape: readonly number[], data: Numbers, half: boolean): NotedTensor {
  if (dtype === "bool") return { dtype, shape, stored: "u8", data }
  if (dtype === "f32") return half ? { dtype, shape, stored: "f16", data: halves(data as Float32Array) } : { dtype, shape, stored: "f32", data }
  return data.every((x) => x >= 0 && x < 65536) ? { dtype, shape, stored: "u16", data: Uint16Array.from(data) } : { dtype, shape, stored: "i32", data }
}

export function notedRow({ dtype, shape, stored, data }: NotedTensor): RowTensor {
  const [rows = 0, ...rest] = shape
  const width = rest.reduce((n, d) => n * d, 1)
  const fill: RowTensor["fill"] = (row, into, at) => {
    if (row < 0 || row >= rows) into.fill(0, at, at + width)
    else if (stored === "f16") for (let i = 0; i < width; i++) into[at + i] = fromHalf(data[row * width + i] ?? 0)
    else into.set(data.subarray(row * width, (row + 1) * width), at)
  }
  return { dtype, shape: rest, ids: false, fill }
}

/** The fields of other rows, as `row` has them. Each tensor fills whole rows, so the last one is kept for its neighbours. */
export function otherRows(packed: PackedRows): Beside {
  const width = packed.length + 1
  const arrays = rowArrays(width)
  let filled: number | null = null
  const own = (name: keyof typeof arrays, dtype: RowTensor["dtype"]): [string, RowTensor] => [name, {
    dtype, shape: [width], ids: name === "tokens",
    fill(row, into, at) {
      if (filled !== row) packed.fill(row, arrays, 0)
      filled = row
      into.set(arrays[name], at)
    },
  }]
  const label: [string, RowTensor][] = packed.set.labels === null ? [] : [["label", { dtype: "i32", shape: [], ids: false, fill: (row, into, at) => { into[at] = packed.label(row) } }]]
  return new Map([own("tokens", "i32"), own("segments", "i32"), own("positions", "i32"), own("counts", "bool"), ...label, ...packed.beside])
}

/** The same rows with more beside them; all must be as many. */
export function withBeside(packed: PackedRows, others: readonly { readonly name: string; readonly rows: number; readonly beside: Beside }[]): Result<PackedRows> {
  const beside = new Map(packed.beside)
  for (const { name, rows, beside: found } of others) {
    if (rows !== packed.rows) {
      return bad(failure("SLM3145", `\`${name}\` has ${rows} rows, and ${packed.rows} stand beside it`, "both must come from the same rows in the same order: `split(by: …)` on a field that they share, and no `clean` that drops rows of one alone"))
    }
    for (const [path, tensor] of found) beside.set(`${name}.${path}`, tensor)
  }
  return good({ ...packed, beside })
}
