/**
 * Recompute or keep: values that wait long for their next reader are dropped and computed again just before it, by the same kernel
 * from the same numbers, so that no bit changes. Chosen greedily by bytes freed at the fullest moment per time that it costs
 * (in the manner of Kirisame et al. 2021, "Dynamic tensor rematerialization", but before the run). It stands after fusion and
 * not in the graph's passes: only here are the bytes and the work of what is kept known, and every target gains.
 */
import type { Buffer, Kernel } from "./ir.ts"
import { bytesOf } from "./ir.ts"
import type { Ordered } from "./order.ts"
import { bytesMoved, trafficOf } from "./traffic.ts"

export interface Recomputed extends Ordered {
  /** Kernels that run a second time, and buffers that must have been written before: without them they would run too early. */
  readonly again: ReadonlyMap<Kernel, readonly Buffer[]>
}

interface Item {
  readonly kernel: Kernel
  readonly again: boolean
  readonly after: readonly Buffer[]
}

interface Access { readonly at: number; readonly writes: boolean; readonly again: boolean }
/** From the first access to the last one of a value: a buffer that is computed again has several. */
interface Span { readonly first: number; readonly last: number; readonly accesses: readonly Access[] }

/** Everything that follows from a sequence of kernels. */
interface Timeline {
  readonly items: readonly Item[]
  readonly spans: ReadonlyMap<Buffer, readonly Span[]>
  readonly peak: { readonly at: number; readonly bytes: number }
}

/** What would be dropped, and what must run again before `at`. */
interface Drop {
  readonly kernels: readonly Kernel[]
  readonly at: number
  readonly freed: number
  readonly seconds: number
  readonly key: string
}

/** Times of a machine like those of LOG.md; only their ratio matters. */
const flopsPerSecond = 200e9
const bytesPerSecond = 10e9

/**
 * The program with as many values computed again as it takes for all to fit into `goal` bytes, or as few bytes as it can reach while
 * what runs again takes at most `share` of the time of the whole.
 */
export function recompute(program: Ordered, goal: number, share: number): Recomputed {
  const base = new Set<Kernel>(program.kernels)
  let left = share * program.kernels.reduce((sum, kernel) => sum + secondsOf(kernel), 0)
  let now = timelineOf(program, program.kernels.map((kernel): Item => ({ kernel, again: false, after: [] })))
  const refused = new Set<string>()
  while (now.peak.bytes > goal) {
    const drop = bestDrop(program, now, base, left, refused)
    if (drop === null) break
    const next = timelineOf(program, applied(now, drop))
    if (next.peak.bytes > now.peak.bytes) refused.add(drop.key)
    else {
      now = next
      left -= drop.seconds
    }
  }
  const again = new Map(now.items.flatMap((item) => (item.again ? [[item.kernel, item.after] as const] : [])))
  return { ...program, kernels: now.items.map(({ kernel }) => kernel), again }
}

// ---------------------------------------------------------------- who lives when

function timelineOf(program: Ordered, items: readonly Item[]): Timeline {
  const place = (buffer: Buffer): Buffer => program.inPlace.get(buffer) ?? buffer
  const accesses = new Map<Buffer, Access[]>()
  items.forEach(({ kernel, again }, at) => {
    const { reads, writes } = trafficOf(kernel)
    const add = (buffer: Buffer, isWrite: boolean): void => {
      const list = accesses.get(place(buffer)) ?? []
      accesses.set(place(buffer), list)
      list.push({ at, writes: isWrite, again })
    }
    for (const buffer of reads) add(buffer, false)
    for (const buffer of writes) add(buffer, true)
  })
  const end = items.length
  const kept = new Set([...program.outputs.map(({ buffer }) => buffer), ...program.updates.flatMap(({ value }) => (program.inPlace.has(value) ? [] : [value]))].map(place))
  const spans = new Map<Buffer, readonly Span[]>()
  const change = new Float64Array(end + 2)
  for (const [buffer, list] of accesses) {
    const own = buffer.role === "temp" || buffer.role === "output" ? spansOf(list, kept.has(buffer) ? end : null) : buffer.role === "batch" ? [{ first: 0, last: list.at(-1)?.at ?? 0, accesses: list }] : [{ first: 0, last: end, accesses: list }]
    spans.set(buffer, own)
    for (const { first, last } of own) {
      change[first] = (change[first] ?? 0) + bytesOf(buffer)
      change[last + 1] = (change[last + 1] ?? 0) - bytesOf(buffer)
    }
  }
  let [bytes, peak] = [0, { at: 0, bytes: 0 }]
  for (let at = 0; at <= end; at++) {
    bytes += change[at] ?? 0
    if (bytes > peak.bytes) peak = { at, bytes }
  }
  return { items, spans, peak }
}

function spansOf(accesses: readonly Access[], until: number | null): readonly Span[] {
  const parts: Access[][] = []
  for (const access of accesses) {
    const open = parts.at(-1)
    if (open === undefined || (access.again && access.writes)) parts.push([access])
    else open.push(access)
  }
  return parts.map((part, i): Span => ({ first: part[0]?.at ?? 0, last: i === parts.length - 1 && until !== null ? until : part.at(-1)?.at ?? 0, accesses: part }))
}

// ---------------------------------------------------------------- what to drop

function bestDrop(program: Ordered, timeline: Timeline, base: ReadonlySet<Kernel>, left: number, refused: ReadonlySet<string>): Drop | null {
  let best: Drop | null = null
  for (const kernel of base) {
    const drop = dropOf(program, timeline, kernel)
    if (drop === null || drop.seconds > left || refused.has(drop.key)) continue
    if (best === null || drop.freed / drop.seconds > best.freed / best.seconds) best = drop
  }
  return best
}

/** Dropping the results of a kernel that wait at the fullest moment; null where none does, or they cannot be had again. */
function dropOf(program: Ordered, timeline: Timeline, kernel: Kernel): Drop | null {
  const { at: moment } = timeline.peak
  const waiting = [...trafficOf(kernel).writes].flatMap((buffer) => {
    const next = nextRead(timeline, buffer, moment)
    return next === null || program.inPlace.has(buffer) ? [] : [{ buffer, next }]
  })
  if (waiting.length === 0) return null
  const at = Math.min(...waiting.map(({ next }) => next))
  const found = madeAgain(program, timeline, waiting.map(({ buffer }) => buffer), at)
  if (found === null) return null
  const extended = found.kept.reduce((sum, buffer) => sum + (isLiveAt(timeline, buffer, moment) ? 0 : bytesOf(buffer)), 0)
  const freed = waiting.reduce((sum, { buffer }) => sum + bytesOf(buffer), 0) - extended
  return freed <= 0 ? null : { ...found, at, freed, key: `${at} ${waiting.map(({ buffer }) => buffer.id).join()} ${timeline.items.length}` }
}

/** When a buffer that nobody uses at a moment, and that holds a value then, is next read. */
function nextRead(timeline: Timeline, buffer: Buffer, moment: number): number | null {
  if (buffer.role !== "temp") return null
  const span = timeline.spans.get(buffer)?.find(({ first, last }) => first < moment && moment < last)
  if (span === undefined || span.accesses.some(({ at }) => at === moment)) return null
  const next = span.accesses.find(({ at }) => at > moment)
  return next === undefined || next.writes ? null : next.at
}

function isLiveAt(timeline: Timeline, buffer: Buffer, at: number): boolean {
  return (timeline.spans.get(buffer) ?? []).some(({ first, last }) => first <= at && at <= last)
}

const deepest = 64

/** The kernels that make buffers again at a place, in order; inputs that are gone by then are made again, too, or kept until then. */
function madeAgain(program: Ordered, timeline: Timeline, wanted: readonly Buffer[], at: number): { readonly kernels: readonly Kernel[]; readonly kept: readonly Buffer[]; readonly seconds: number } | null {
  const makers = new Map<number, Set<Buffer>>()
  const kept = new Set<Buffer>()
  const bytes = wanted.reduce((sum, buffer) => sum + bytesOf(buffer), 0)
  const pending = [...wanted]
  const seen = new Set<Buffer>(pending)
  for (let buffer = pending.pop(); buffer !== undefined; buffer = pending.pop()) {
    const maker = makerOf(program, timeline, buffer, at)
    if (maker === null || makers.size > deepest) {
      if (wanted.includes(buffer)) return null
      kept.add(buffer)
      continue
    }
    makers.set(maker, (makers.get(maker) ?? new Set<Buffer>()).add(buffer))
    const item = timeline.items[maker]
    for (const input of item === undefined ? [] : inputsOf(item.kernel)) {
      if (seen.has(input) || input.role !== "temp" || isThere(timeline, input, at)) continue
      seen.add(input)
      // What is small beside what is freed waits rather than being made again.
      if (8 * bytesOf(input) <= bytes) kept.add(input)
      else pending.push(input)
    }
  }
  const kernels = [...makers].sort(([a], [b]) => a - b).flatMap(([maker, buffers]) => {
    const item = timeline.items[maker]
    return item === undefined ? [] : [restricted(item.kernel, buffers)]
  })
  return { kernels, kept: [...kept], seconds: kernels.reduce((sum, kernel) => sum + secondsOf(kernel), 1e-6) }
}

/** Whether a buffer holds its value when the kernel at this place begins. */
function isThere(timeline: Timeline, buffer: Buffer, at: number): boolean {
  return (timeline.spans.get(buffer) ?? []).some(({ first, last }) => first < at && at <= last)
}

/** The kernel that first made a buffer, if it can run again here: nothing that it reads was overwritten meanwhile. */
function makerOf(program: Ordered, timeline: Timeline, buffer: Buffer, at: number): number | null {
  if (buffer.role !== "temp" || program.inPlace.has(buffer)) return null
  const writers = (timeline.spans.get(buffer) ?? []).flatMap(({ accesses }) => accesses.filter((access) => access.writes && !access.again))
  const [only] = writers
  const item = only === undefined ? undefined : timeline.items[only.at]
  if (writers.length !== 1 || only === undefined || item === undefined || item.kernel.kind === "loop" || only.at >= at) return null
  const overwritten = inputsOf(item.kernel).some((input) => (timeline.spans.get(input) ?? []).some(({ accesses }) => accesses.some((access) => access.writes && !access.again && access.at >= only.at && access.at < at)))
  return overwritten ? null : only.at
}

function inputsOf(kernel: Kernel): readonly Buffer[] {
  return [...trafficOf(kernel).reads]
}

function secondsOf(kernel: Kernel): number {
  const moved = bytesMoved(kernel) / bytesPerSecond
  if (kernel.kind === "loop") return kernel.trips * kernel.body.reduce((sum, inner) => sum + secondsOf(inner), 0)
  switch (kernel.kind) {
    case "siblings": return moved + kernel.members.reduce((sum, { m, n, k }) => sum + 2 * m * n * k, 0) / flopsPerSecond
    case "contract": return moved + (2 * kernel.batch * kernel.m * kernel.n * kernel.k) / flopsPerSecond
    case "attend": case "attend_grad": {
      const { batch, heads, queries, keys, depth, values } = kernel.sizes
      return moved + (2 * batch * heads * queries * keys * (depth + values) * (kernel.kind === "attend" ? 1 : 3)) / flopsPerSecond
    }
    default: return moved
  }
}

/** The kernel with nothing but these results. */
function restricted(kernel: Kernel, wanted: ReadonlySet<Buffer>): Kernel {
  switch (kernel.kind) {
    case "rows": return { ...kernel, whole: kernel.whole ?? kernel, note: `again: ${kernel.note}`, stores: kernel.stores.filter(({ buffer }) => wanted.has(buffer)), columns: kernel.columns.filter(({ buffer }) => wanted.has(buffer)) }
    case "contract": {
      const rest = kernel.epilogue === null ? null : restricted(kernel.epilogue, wanted)
      const epilogue = rest?.kind === "rows" && rest.stores.length + rest.columns.length > 0 ? rest : null
      return { ...kernel, note: `again: ${kernel.note}`, epilogue, keep: wanted.has(kernel.out) || epilogue === null }
    }
    default: return { ...kernel, note: `again: ${kernel.note}` }
  }
}

function applied({ items }: Timeline, { kernels, at }: Drop): readonly Item[] {
  const reader = items[at]
  const made = new Set(kernels.flatMap((kernel) => [...trafficOf(kernel).writes]))
  const after = [...(reader === undefined ? [] : inputsOf(reader.kernel)), ...(reader?.after ?? [])].filter((buffer) => buffer.role === "temp" && !made.has(buffer))
  return [...items.slice(0, at), ...kernels.map((kernel): Item => ({ kernel, again: true, after })), ...items.slice(at)]
}
