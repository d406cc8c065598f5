/** How kernels map to a GPU: one dispatch after the other, workgroups, shared memory, and an arena in parts that bindings can cover. */
import type { Update } from "../kernel/fuse.ts"
import { chunkOf, colIndex, pointIndex } from "../kernel/domain.ts"
import { createExprBuilder } from "../kernel/expr.ts"
import { plus, times, variable } from "../kernel/index.ts"
import type { AttendGradKernel, AttendKernel, AxisKernel, Buffer, ContractKernel, Kernel, LoopKernel, RowsKernel, ScatterKernel, SiblingsKernel } from "../kernel/ir.ts"
import { bytesOfNumbers } from "../graph/stored.ts"
import { planArena } from "../kernel/memory.ts"
import type { Ordered } from "../kernel/order.ts"
import { putRows } from "../kernel/put.ts"
import type { Recomputed } from "../kernel/recompute.ts"
import { replaceLoads } from "../kernel/replace.ts"
import { trafficOf } from "../kernel/traffic.ts"
import { flattened } from "./flatten.ts"
import { within } from "./within.ts"
import type { AttendPart, AttendPlan, ContractPlan, GpuTarget, LinesPlan, VectorPlan } from "./gpu-plans.ts"
import { isPoints, isTileEpilogue, planAttend, planContract, planLines, sharedByAttend } from "./gpu-plans.ts"

/** One dispatch. */
export type GpuStep = { readonly note: string; readonly workgroups: number } & (
  | { readonly is: "points"; readonly kernel: RowsKernel }
  | { readonly is: "lines"; readonly kernel: RowsKernel; readonly plan: LinesPlan }
  /** `out` holds `split` partial sums where the plan splits k. */
  | { readonly is: "contract"; readonly kernel: ContractKernel; readonly plan: ContractPlan }
  /** Workgroups of the first member, then those of the next. */
  | { readonly is: "siblings"; readonly kernel: SiblingsKernel; readonly plans: readonly VectorPlan[] }
  | { readonly is: "attend"; readonly kernel: AttendKernel; readonly plan: AttendPlan }
  /** Largest score, 1 / sum and mean slope of each query go to `stats`, and the gradient by the queries is made. */
  | { readonly is: "attend_queries"; readonly kernel: AttendGradKernel; readonly plan: AttendPlan; readonly stats: Buffer }
  | { readonly is: "attend_keys"; readonly kernel: AttendGradKernel; readonly plan: AttendPlan; readonly stats: Buffer }
  | { readonly is: "attend_bias"; readonly kernel: AttendGradKernel; readonly stats: Buffer }
  | { readonly is: "zeros"; readonly buffer: Buffer }
  | { readonly is: "scatter"; readonly kernel: ScatterKernel }
  | { readonly is: "axis"; readonly kernel: AxisKernel; readonly lanes: number }
)

export type GpuWork = GpuStep | { readonly is: "loop"; readonly trips: number; readonly note: string; readonly body: readonly GpuWork[] }

/** Where a buffer lies: a part of the arena, and words of four bytes from its start. */
export interface Place { readonly part: number; readonly offset: number }

export interface GpuProgram {
  readonly name: string
  readonly target: GpuTarget
  readonly work: readonly GpuWork[]
  readonly buffers: readonly Buffer[]
  readonly places: ReadonlyMap<Buffer, Place>
  /** Bytes of each part of the arena. */
  readonly parts: readonly number[]
  /** Kernels that run a second time, to save memory. */
  readonly again: number
  readonly inputs: Ordered["inputs"]
  readonly outputs: Ordered["outputs"]
}

/** A limit of the target that a program does not keep. */
export interface Refused { readonly refused: { readonly limit: string; readonly what: string; readonly needs: number; readonly has: number } }

export function isRefused(x: GpuProgram | Refused): x is Refused {
  return "refused" in x
}

interface Maker {
  readonly target: GpuTarget
  readonly buffers: Buffer[]
  place(buffer: Buffer): Buffer
  refuse(limit: string, what: string, needs: number, has: number): void
}

/** Numbers of every type take four bytes, but for those in narrower storage; all begin with a word. */
export const gpuBytes = ({ size, stored }: Buffer): number => (stored === null ? 4 * size : 4 * Math.ceil(bytesOfNumbers(size, "f32", stored) / 4))
/** Threads of a workgroup where nothing asks for another number. */
export const pointThreads = 256

/** A program that computes values again where it would otherwise take more than `most` bytes. */
export function scheduleGpuWithin(program: Ordered, target: GpuTarget, most: number): GpuProgram | Refused {
  return within(program, most, (tried) => scheduleGpu(tried, target), arenaBytes)
}

export function arenaBytes(program: GpuProgram | Refused): number {
  return isRefused(program) ? Infinity : program.parts.reduce((sum, bytes) => sum + bytes, 0)
}

export function scheduleGpu(program: Ordered & Partial<Pick<Recomputed, "again">>, target: GpuTarget): GpuProgram | Refused {
  const refusals: Refused["refused"][] = []
  const m: Maker = {
    target, buffers: [...program.buffers],
    place: (buffer) => program.inPlace.get(buffer) ?? buffer,
    refuse: (limit, what, needs, has) => void refusals.push({ limit, what, needs, has }),
  }
  const copies = program.updates.filter(({ value }) => !program.inPlace.has(value))
  // Where a kernel runs again its results are new values in buffers that were empty meanwhile.
  const made: readonly Part[] = [...program.kernels.map((kernel): Part => ({ work: worksOf([kernel], m), again: program.again?.has(kernel) ?? false })), { work: copies.map((update) => copyStep(update, m)), again: false }]
  const work = made.flatMap((part) => part.work)
  const { places, parts } = placeAll(program, made, m)
  if (parts.length > target.bindings) refusals.push({ limit: "maxStorageBuffersPerShaderStage", what: `${program.name} takes ${parts.length} parts of memory`, needs: parts.length, has: target.bindings })
  const [first] = refusals
  return first !== undefined ? { refused: first } : { name: program.name, target, work, buffers: m.buffers, places, parts, again: program.again?.size ?? 0, inputs: program.inputs, outputs: program.outputs }
}

/** What one kernel became. */
interface Part { readonly work: readonly GpuWork[]; readonly again: boolean }

function worksOf(kernels: readonly Kernel[], m: Maker): readonly GpuWork[] {
  return kernels.flatMap((kernel): readonly GpuWork[] => (kernel.kind === "loop" ? [{ is: "loop", trips: kernel.trips, note: kernel.note, body: worksOf(kernel.body, m) }] : stepsOf(kernel, m)))
}

function stepsOf(kernel: Exclude<Kernel, LoopKernel>, m: Maker): readonly GpuStep[] {
  switch (kernel.kind) {
    case "rows": return [rowsStep(kernel, m)]
    case "contract": return contractSteps(kernel, m)
    case "siblings": return siblingSteps(kernel, m)
    case "attend": {
      const plan = attendPlan(kernel, m, "forward")
      const { batch, heads, queries } = kernel.sizes
      return [{ is: "attend", note: kernel.note, kernel, plan, workgroups: batch * heads * Math.ceil(queries / plan.rows) }]
    }
    case "attend_grad": return attendGradSteps(kernel, m)
    case "scatter": return [zerosStep(kernel.out), { is: "scatter", note: kernel.note, kernel, workgroups: kernel.lead * kernel.count }]
    case "put": return [rowsStep(putRows(kernel), m)]
    case "axis": return [{ is: "axis", note: kernel.note, kernel, lanes: Math.min(pointThreads, 2 ** Math.ceil(Math.log2(Math.max(1, kernel.n / 4)))), workgroups: kernel.outer * kernel.inner }]
  }
}

const zerosStep = (buffer: Buffer): GpuStep => ({ is: "zeros", note: buffer.name, buffer, workgroups: Math.ceil(buffer.size / pointThreads) })

function rowsStep(given: RowsKernel, m: Maker): GpuStep {
  const kernel = flattened(given)
  const { note } = kernel
  if (isPoints(kernel, m.place)) return { is: "points", note, kernel, workgroups: Math.ceil((kernel.rows * kernel.cols) / pointThreads) }
  const plan = planLines(kernel, m.target)
  return { is: "lines", note, kernel, plan, workgroups: plan.workgroups }
}

/** A product, the sum of its parts where k is split, and what follows where a tile cannot take it along. */
function contractSteps(kernel: ContractKernel, m: Maker): readonly GpuStep[] {
  const plan = planContract(kernel)
  const { epilogue, note } = kernel
  const step = (changed: ContractKernel): GpuStep => ({ is: "contract", note, kernel: changed, plan, workgroups: plan.workgroups })
  if (plan.way === "tile" && plan.split > 1) return splitSteps(kernel, plan.split, step, m)
  if (epilogue === null || (plan.way === "tile" && isTileEpilogue(epilogue, kernel))) return [step(kernel)]
  return [step({ ...kernel, epilogue: null, keep: true }), rowsStep(epilogue, m)]
}

/** One dispatch for all members, or one for each where their rows are enough for tiles. */
function siblingSteps(kernel: SiblingsKernel, m: Maker): readonly GpuStep[] {
  const plans = kernel.members.map(planContract).filter((plan) => plan.way === "vector")
  if (plans.length < kernel.members.length) return kernel.members.flatMap((member) => contractSteps(member, m))
  return [{ is: "siblings", note: kernel.note, kernel, plans, workgroups: plans.reduce((sum, { workgroups }) => sum + workgroups, 0) }]
}

function splitSteps(kernel: ContractKernel, split: number, step: (kernel: ContractKernel) => GpuStep, m: Maker): readonly GpuStep[] {
  const { out, epilogue } = kernel
  const partial: Buffer = { ...out, id: m.buffers.length, name: `${out.name}, parts of the sum`, role: "temp", stored: null, size: split * out.size, shape: [split, ...out.shape] }
  m.buffers.push(partial)
  const e = createExprBuilder()
  const domain = { rows: kernel.batch * kernel.m, cols: kernel.n }
  const whole: RowsKernel = { kind: "rows", name: `${kernel.name} sum`, note: kernel.note, ...domain, chunk: chunkOf(domain.rows), columns: [], stores: [] }
  const first = step({ ...kernel, out: partial, epilogue: null, keep: true })
  const summed = (builder: typeof e, index: ReturnType<typeof pointIndex>) => builder.fold("sum", split, builder.load(partial, plus(times(variable("k", split), out.size), index), []))
  const inline = epilogue !== null && !kernel.keep && !readsInFold(epilogue, out)
  if (inline) return [first, rowsStep(replaceLoads(epilogue, (builder, load) => (load.buffer !== out ? null : builder.guarded(load.guards, summed(builder, load.index), builder.constant(0, load.dtype)))), m)]
  const sum = rowsStep({ ...whole, stores: [{ buffer: out, index: pointIndex(domain), value: summed(e, pointIndex(domain)) }] }, m)
  return epilogue === null ? [first, sum] : [first, sum, rowsStep(epilogue, m)]
}

/** A sum over the parts cannot stand inside of another fold, whose variable it would take. */
function readsInFold(kernel: RowsKernel, buffer: Buffer): boolean {
  let found = false
  replaceLoads(kernel, (_, load) => {
    found ||= load.buffer === buffer && load.depends.has("k")
    return null
  })
  return found
}

function attendPlan(kernel: AttendKernel | AttendGradKernel, m: Maker, part: AttendPart): AttendPlan {
  const plan = planAttend(kernel.sizes, m.target, part)
  const least: AttendPlan = { rows: 2, cols: 2, lanes: 2 }
  if (plan === null) m.refuse("maxComputeWorkgroupStorageSize", `attention over heads of ${kernel.sizes.depth} and ${kernel.sizes.values} numbers`, sharedByAttend(least, kernel.sizes, part), m.target.shared)
  return plan ?? least
}

function attendGradSteps(kernel: AttendGradKernel, m: Maker): readonly GpuStep[] {
  const { batch, heads, groups, queries, keys } = kernel.sizes
  const { note } = kernel
  const stats: Buffer = { id: m.buffers.length, name: `${kernel.name} statistics`, role: "temp", dtype: "f32", stored: null, size: batch * heads * queries * 3, shape: [batch, heads, queries, 3], values: null }
  m.buffers.push(stats)
  const rows = attendPlan(kernel, m, "queries")
  const cols = attendPlan(kernel, m, "keys")
  const steps: GpuStep[] = [{ is: "attend_queries", note, kernel, stats, plan: rows, workgroups: batch * heads * Math.ceil(queries / rows.rows) }]
  if (kernel.dk !== null || kernel.dv !== null) steps.push({ is: "attend_keys", note, kernel, stats, plan: cols, workgroups: batch * groups * Math.ceil(keys / cols.rows) })
  if (kernel.dbias !== null) {
    const own = kernel.dbias.strides[0] === 0 ? 1 : batch
    steps.push({ is: "attend_bias", note, kernel, stats, workgroups: Math.ceil((own * heads * queries * keys) / pointThreads) })
  }
  return steps
}

function copyStep({ state, value }: Update, m: Maker): GpuStep {
  const e = createExprBuilder()
  const domain = { rows: 1, cols: state.size }
  return rowsStep({ kind: "rows", name: `copy${state.id}`, note: `${state.name} takes its new value`, ...domain, chunk: 1, columns: [], stores: [{ buffer: m.place(state), index: colIndex(domain), value: e.load(value, colIndex(domain), []) }] }, m)
}

// ---------------------------------------------------------------- memory

/** Buffers that a dispatch reads or writes. */
export function buffersOf(step: GpuStep): ReadonlySet<Buffer> {
  if (step.is === "zeros") return new Set([step.buffer])
  const { reads, writes } = trafficOf(step.kernel)
  const own = "stats" in step ? [step.stats] : []
  return new Set([...reads, ...writes, ...own])
}

function writesOf(step: GpuStep): ReadonlySet<Buffer> {
  if (step.is === "zeros") return new Set([step.buffer])
  return new Set([...trafficOf(step.kernel).writes, ...("stats" in step ? [step.stats] : [])])
}

export function stepsIn(work: readonly GpuWork[]): readonly GpuStep[] {
  return work.flatMap((item) => (item.is === "loop" ? stepsIn(item.body) : [item]))
}

/** Dispatches of one call. */
export function countDispatches(work: readonly GpuWork[]): number {
  return work.reduce((sum, item) => sum + (item.is === "loop" ? item.trips * countDispatches(item.body) : 1), 0)
}

function placeAll(program: Ordered, made: readonly Part[], m: Maker): { readonly places: ReadonlyMap<Buffer, Place>; readonly parts: readonly number[] } {
  const lives = new Map<Buffer, { first: number; last: number }[]>()
  const end = made.reduce((sum, { work }) => sum + work.length, 0)
  const live = (buffer: Buffer, at: number, anew = false): void => {
    const spans = lives.get(m.place(buffer)) ?? []
    const life = spans.at(-1)
    lives.set(m.place(buffer), spans)
    if (life === undefined || anew) spans.push({ first: at, last: at })
    else { life.first = Math.min(life.first, at); life.last = Math.max(life.last, at) }
  }
  let at = 0
  for (const { work, again } of made) {
    const renewed = new Set<Buffer>()
    for (const item of work) {
      // What a loop touches lives through all of its turns.
      for (const step of item.is === "loop" ? stepsIn(item.body) : [item]) {
        const writes = again ? writesOf(step) : null
        for (const buffer of buffersOf(step)) {
          const anew = writes?.has(buffer) === true && !renewed.has(buffer)
          if (anew) renewed.add(buffer)
          live(buffer, at, anew)
        }
      }
      at++
    }
  }
  for (const { buffer } of program.outputs) live(buffer, end)
  for (const { buffer } of program.inputs) { live(buffer, 0); if (buffer.role === "state") live(buffer, end) }
  for (const buffer of m.buffers) if (buffer.role === "constant" && lives.has(buffer)) { live(buffer, 0); live(buffer, end) }
  const large = [...lives.keys()].find((buffer) => gpuBytes(buffer) > m.target.binding)
  if (large !== undefined) m.refuse("maxStorageBufferBindingSize", `${large.name}, [${large.shape.join(", ")}],`, gpuBytes(large), m.target.binding)
  const part = Math.floor(m.target.binding / 64) * 64
  const { offsets, bytes } = planArena([...lives].map(([buffer, life]) => ({ buffer, bytes: gpuBytes(buffer), spans: life })), large === undefined ? part : null)
  const places = new Map<Buffer, Place>()
  for (const [buffer, offset] of offsets) places.set(buffer, { part: Math.floor(offset / part), offset: (offset % part) / 4 })
  for (const [value, state] of program.inPlace) { const at = places.get(state); if (at !== undefined) places.set(value, at) }
  const count = Math.max(1, Math.ceil(bytes / part))
  return { places, parts: Array.from({ length: count }, (_, i) => Math.max(64, Math.min(part, bytes - i * part))) }
}
