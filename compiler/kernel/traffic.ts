/** What a kernel reads and writes. */
import { exprsIn } from "./expr.ts"
import type { Buffer, Kernel, RowsKernel } from "./ir.ts"
import { bytesOf } from "./ir.ts"

export interface Traffic {
  readonly reads: ReadonlySet<Buffer>
  readonly writes: ReadonlySet<Buffer>
}

const known = new WeakMap<Kernel, Traffic>()

export function trafficOf(kernel: Kernel): Traffic {
  const before = known.get(kernel)
  if (before !== undefined) return before
  const traffic = compute(kernel)
  known.set(kernel, traffic)
  return traffic
}

const present = (buffers: readonly (Buffer | null | undefined)[]): Set<Buffer> => new Set(buffers.filter((b): b is Buffer => b !== null && b !== undefined))

function rowsTraffic(kernel: RowsKernel): Traffic {
  const exprs = exprsIn([...kernel.stores, ...kernel.columns].map((x) => x.value))
  return {
    reads: present(exprs.map((x) => (x.is === "load" ? x.buffer : null))),
    writes: present([...kernel.stores, ...kernel.columns].map((x) => x.buffer)),
  }
}

function compute(kernel: Kernel): Traffic {
  switch (kernel.kind) {
    case "rows": return rowsTraffic(kernel)
    case "contract": {
      const after = kernel.epilogue === null ? null : rowsTraffic(kernel.epilogue)
      const before = kernel.prologue === null ? [kernel.b.buffer] : rowsTraffic(kernel.prologue).reads
      const reads = [kernel.a.buffer, ...before, ...(after?.reads ?? [])]
      return { reads: present(reads.filter((b) => b !== kernel.out)), writes: present([kernel.out, ...(after?.writes ?? [])]) }
    }
    case "siblings": return together(kernel.members)
    case "attend": case "attend_grad": {
      const common = [kernel.q.buffer, kernel.k.buffer, kernel.v.buffer, ...(kernel.segments ?? []), kernel.offset, kernel.bias?.buffer]
      return kernel.kind === "attend"
        ? { reads: present(common), writes: present([kernel.out.buffer]) }
        : { reads: present([...common, kernel.upstream.buffer]), writes: present([kernel.dq?.buffer, kernel.dk?.buffer, kernel.dv?.buffer, kernel.dbias?.buffer]) }
    }
    case "scatter": return { reads: present([kernel.ids, kernel.updates]), writes: present([kernel.out]) }
    case "put": return { reads: present([kernel.x, kernel.fresh.buffer, kernel.offset]), writes: present([kernel.out]) }
    case "axis": return { reads: present([kernel.x]), writes: present([kernel.out]) }
    case "loop": return together(kernel.body)
  }
}

function together(kernels: readonly Kernel[]): Traffic {
  const parts = kernels.map(trafficOf)
  return { reads: new Set(parts.flatMap((t) => [...t.reads])), writes: new Set(parts.flatMap((t) => [...t.writes])) }
}

/** Bytes that a kernel moves when each buffer is read and written once; what is put moves alone. */
export function bytesMoved(kernel: Kernel): number {
  if (kernel.kind === "loop") return kernel.trips * kernel.body.reduce((sum, inner) => sum + bytesMoved(inner), 0)
  if (kernel.kind === "put") return bytesOf(kernel.fresh.buffer) + bytesOf({ ...kernel.fresh.buffer, stored: kernel.out.stored })
  const { reads, writes } = trafficOf(kernel)
  const unkept = kernel.kind === "contract" && !kernel.keep ? bytesOf(kernel.out) : 0
  return [...reads, ...writes].reduce((sum, buffer) => sum + bytesOf(buffer), 0) - unkept
}
