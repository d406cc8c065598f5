/**
 * The order of kernels: each as soon as all it needs is there, so that results are used while they are near. States are replaced in
 * place where no later kernel wants the old value, and products take the kernel that follows them along as an epilogue.
 */
import { rowIndex } from "./domain.ts"
import { exprsIn, exprsOfPass } from "./expr.ts"
import type { Fused, Update } from "./fuse.ts"
import type { Index } from "./index.ts"
import { plus, sameIndex, times } from "./index.ts"
import type { Buffer, ContractKernel, Kernel, RowsKernel } from "./ir.ts"
import { trafficOf } from "./traffic.ts"

export interface Ordered extends Fused {
  /** Buffers that are one with the state they replace. */
  readonly inPlace: ReadonlyMap<Buffer, Buffer>
}

/** For each kernel those it must follow. */
type Waits = readonly Set<number>[]

interface Access { readonly readers: number[]; readonly writers: number[] }

function accesses(kernels: readonly Kernel[]): ReadonlyMap<Buffer, Access> {
  const found = new Map<Buffer, Access>()
  const of = (buffer: Buffer): Access => {
    const access = found.get(buffer) ?? { readers: [], writers: [] }
    found.set(buffer, access)
    return access
  }
  kernels.forEach((kernel, i) => {
    const { reads, writes } = trafficOf(kernel)
    for (const buffer of reads) of(buffer).readers.push(i)
    for (const buffer of writes) of(buffer).writers.push(i)
  })
  return found
}

/** A buffer with one writer is read after it; one with several (a loop's carry) keeps the given order. */
function waitsOf(kernels: readonly Kernel[], by: ReadonlyMap<Buffer, Access>): Set<number>[] {
  const waits = kernels.map(() => new Set<number>())
  for (const { readers, writers } of by.values()) {
    const [only] = writers
    if (writers.length === 1 && only !== undefined) {
      for (const reader of readers) if (reader !== only) waits[reader]?.add(only)
    } else if (writers.length > 1) {
      for (const i of new Set([...readers, ...writers])) {
        for (const writer of writers) if (writer < i) waits[i]?.add(writer)
        if (writers.includes(i)) for (const reader of readers) if (reader < i) waits[i]?.add(reader)
      }
    }
  }
  return waits
}

function reaches(waits: Waits, from: number, to: number): boolean {
  const seen = new Set<number>([from])
  const pending = [from]
  for (let i = pending.pop(); i !== undefined; i = pending.pop()) {
    if (i === to) return true
    for (const next of waits[i] ?? []) if (!seen.has(next)) { seen.add(next); pending.push(next) }
  }
  return false
}

/** Whether a kernel may write its result over the old state: it reads each element before it writes it. */
function canOverwrite(kernel: Kernel, { state, value }: Update): boolean {
  if (kernel.kind === "put") return kernel.x === state ? kernel.fresh.buffer !== state : !trafficOf(kernel).reads.has(state)
  if (kernel.kind !== "rows") return !trafficOf(kernel).reads.has(state)
  const store = kernel.stores.find((candidate) => candidate.buffer === value)
  if (store === undefined) return false
  const roots = [...kernel.stores, ...kernel.columns].map((x) => x.value)
  const passes = [...roots, ...exprsIn(roots).flatMap((x) => (x.is === "reduced" ? [x.value] : []))]
  return passes.every((root) => exprsOfPass([root]).every((x) => {
    if (x.is !== "load" || x.buffer !== state) return true
    return root.level <= store.value.level && x.guards.length === 0 && sameIndex(x.index, store.index)
  }))
}

function placeInPlace(fused: Fused, kernels: readonly Kernel[], by: ReadonlyMap<Buffer, Access>, waits: Set<number>[]): ReadonlyMap<Buffer, Buffer> {
  const inPlace = new Map<Buffer, Buffer>()
  const uses = new Map<Buffer, number>()
  for (const { value } of fused.updates) uses.set(value, (uses.get(value) ?? 0) + 1)
  for (const { buffer } of fused.outputs) uses.set(buffer, (uses.get(buffer) ?? 0) + 1)
  for (const update of fused.updates) {
    const [writer, more] = by.get(update.value)?.writers ?? []
    const kernel = writer === undefined ? undefined : kernels[writer]
    if (writer === undefined || kernel === undefined || more !== undefined || uses.get(update.value) !== 1) continue
    const others = (by.get(update.state)?.readers ?? []).filter((reader) => reader !== writer)
    if (!canOverwrite(kernel, update) || others.some((reader) => reaches(waits, reader, writer))) continue
    for (const reader of others) waits[writer]?.add(reader)
    inPlace.set(update.value, update.state)
  }
  return inPlace
}

/** Whether a place is one of the kernel's own row: its column, or one that is read from elsewhere (and guarded). */
function staysInRow(index: Index, kernel: RowsKernel): boolean {
  const within = plus(index, times(rowIndex(kernel), -kernel.cols))
  return within.terms.every(({ atom }) => atom.is === "value" || (atom.is === "var" && atom.name === "j")) && within.base >= 0 && within.base < kernel.cols
}

/** Whether the kernel can run on rows of a product as they are finished. */
function isEpilogue(kernel: RowsKernel, of: ContractKernel, inPlace: ReadonlyMap<Buffer, Buffer>): boolean {
  if (of.epilogue !== null || of.batch !== 1 || of.m < 48 || kernel.rows !== of.m || kernel.cols !== of.n) return false
  const loads = exprsIn([...kernel.stores, ...kernel.columns].map((x) => x.value)).filter((x) => x.is === "load")
  const own = loads.filter((x) => x.buffer === of.out)
  if (own.length === 0 || !own.every((x) => staysInRow(x.index, kernel))) return false
  const written = [...kernel.stores, ...kernel.columns].map((x) => inPlace.get(x.buffer) ?? x.buffer)
  const { reads } = trafficOf(of)
  return !written.some((buffer) => reads.has(buffer))
}

/** Kernels over rows first: they use what has just been made. Then in the order of the graph. */
function isBefore(kernels: readonly Kernel[], i: number, j: number): boolean {
  const [x, y] = [kernels[i]?.kind === "rows", kernels[j]?.kind === "rows"]
  return x === y ? i < j : x
}

export function orderKernels(fused: Fused): Ordered {
  const { kernels } = fused
  const by = accesses(kernels)
  const waits = waitsOf(kernels, by)
  const inPlace = placeInPlace(fused, kernels, by, waits)
  const done: (Kernel | null)[] = []
  const position = new Map<number, number>()
  const missing = waits.map((of) => of.size)
  const followers = kernels.map((): number[] => [])
  waits.forEach((of, i) => { for (const j of of) followers[j]?.push(i) })
  const ready = new Set(kernels.map((_, i) => i).filter((i) => missing[i] === 0))
  const emit = (i: number): void => {
    const kernel = kernels[i]
    if (kernel === undefined) return
    ready.delete(i)
    for (const j of followers[i] ?? []) {
      missing[j] = (missing[j] ?? 0) - 1
      if (missing[j] === 0) ready.add(j)
    }
    const after = Math.max(-1, ...[...(waits[i] ?? [])].map((j) => position.get(j) ?? -1))
    const host = done[after]
    if (kernel.kind === "rows" && host?.kind === "contract" && isEpilogue(kernel, host, inPlace)) {
      const keep = fused.outputs.some((o) => o.buffer === host.out) || fused.updates.some((u) => u.value === host.out) || (by.get(host.out)?.readers ?? []).some((reader) => reader !== i)
      done[after] = { ...host, epilogue: kernel, keep }
      position.set(i, after)
      return
    }
    position.set(i, done.length)
    done.push(kernel)
  }
  for (let left = kernels.length; left > 0; left--) {
    const [next, ...others] = ready
    if (next === undefined) throw new Error(`order: the kernels of ${fused.name} wait for one another`)
    emit(others.reduce((best, i) => (isBefore(kernels, i, best) ? i : best), next))
  }
  return { ...fused, kernels: done.filter((kernel) => kernel !== null), inPlace }
}
