/** What stands beside packed rows: tensors that were noted for each row, or the rows of other data. */
import type { Beside, Numbers, PackedRows, RowTensor } from "./pack.ts"
import { rowArrays } from "./pack.ts"
import { bad, failure, good, type Result } from "./result.ts"

/** Tensors [rows, ..] of all rows. */
export interface NotedTensor {
  readonly dtype: RowTensor["dtype"]
  readonly shape: readonly number[]
  readonly data: Numbers
}

export function notedRow({ dtype, shape, data }: NotedTensor): RowTensor {
  const [rows = 0, ...rest] = shape
  const width = rest.reduce((n, d) => n * d, 1)
  const fill: RowTensor["fill"] = (row, into, at) => {
    if (row < 0 || row >= rows) into.fill(0, at, at + width)
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
