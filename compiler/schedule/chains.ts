/** Kernels that a thread can run on what it has just made, share by share, so that threads need not meet in between. */
import type { AttendKernel, ContractKernel, PutKernel, RowsKernel, Strided } from "../kernel/ir.ts"
import { exprsIn } from "../kernel/expr.ts"
import { sameIndex, variable } from "../kernel/index.ts"
import { isFew } from "../kernel/domain.ts"

/** Whether a kernel of one long row needs of a product of few rows, at each place, what the product has there. */
export function followsColumns(product: ContractKernel, kernel: RowsKernel): boolean {
  if (!isFew(product.m) || product.batch !== 1 || product.epilogue !== null || kernel.cols !== product.m * product.n) return false
  const here = variable("j", kernel.cols)
  return exprsIn(kernel.stores.map(({ value }) => value)).every((x) => x.is !== "load" || x.buffer !== product.out || (x.guards.length === 0 && sameIndex(x.index, here)))
}

/** Whether each head reads of a cache only the row into which its own keys or values were put. */
export function followsHeads(put: PutKernel, { sizes, q, k, v, bias }: AttendKernel): boolean {
  if (put.batch !== sizes.batch || put.middle !== sizes.heads || sizes.groups !== sizes.heads) return false
  if ([q.buffer, bias?.buffer].includes(put.out)) return false
  const row = put.places * put.inner
  const inRows = ({ base, strides: [batch, head, key, lane] }: Strided, width: number): boolean =>
    base === 0 && head === row && (sizes.batch === 1 || batch === put.middle * row) && key * (sizes.keys - 1) + lane * (width - 1) < row
  return (k.buffer !== put.out || inRows(k, sizes.depth)) && (v.buffer !== put.out || inRows(v, sizes.values))
}
