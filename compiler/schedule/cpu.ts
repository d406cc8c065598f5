/** How kernels map to a CPU: vectors, tiles, waves of kernels that run side by side, shares of threads, and one arena. */
import type { Update } from "../kernel/fuse.ts"
import type { Buffer, ContractKernel, Kernel, LoopKernel, RowsKernel, SiblingsKernel } from "../kernel/ir.ts"
import { bytesOf } from "../kernel/ir.ts"
import type { Ordered } from "../kernel/order.ts"
import { planArena } from "../kernel/memory.ts"
import type { Span } from "../kernel/memory.ts"
import type { Recomputed } from "../kernel/recompute.ts"
import { trafficOf } from "../kernel/traffic.ts"
import { isFew } from "../kernel/domain.ts"
import { followsColumns, followsHeads } from "./chains.ts"
import { flattened } from "./flatten.ts"
import { within } from "./within.ts"
import type { Packing, PackKernel, Tiled, TilePlan, TileUnit } from "./tiles.ts"
import { attendLayout, attendsInTiles, gradientLayout, isTiled, layoutFloats, packShare, padded, tiled } from "./tiles.ts"
import type { PanelKernel } from "./panels.ts"
import { fitsPanels, paneled, panelShares } from "./panels.ts"

/** Floats per vector and vector registers of an instruction family. */
export interface CpuTarget {
  readonly family: "avx512" | "avx2" | "neon" | "portable"
  readonly lanes: number
  readonly registers: number
  /** What multiplies rounded factors tile by tile, where the processor has it. */
  readonly tiles: TileUnit | null
}

export const cpuTargets: { readonly [F in CpuTarget["family"]]: CpuTarget } = {
  avx512: { family: "avx512", lanes: 16, registers: 32, tiles: null },
  avx2: { family: "avx2", lanes: 8, registers: 16, tiles: null },
  neon: { family: "neon", lanes: 4, registers: 32, tiles: null },
  portable: { family: "portable", lanes: 4, registers: 16, tiles: null },
}

/** The same processor with its tiles of 16 rows of 64 bytes. */
export const withTiles = (target: CpuTarget): CpuTarget => ({ ...target, tiles: { rows: 16, cols: 16, depth: 32, format: "bf16" } })

/** Rows and vectors of the accumulators of a product's innermost loop. */
export interface Tile { readonly rows: number; readonly vectors: number }

/**
 * `stream`: a is read as it lies, b is packed whole; `outer`: both are packed by slices of k, sums rest in memory between slices;
 * `vector`: few rows, nothing is packed; the tile's rows are those of b that are taken at once.
 */
export interface ContractPlan {
  readonly way: "stream" | "outer" | "vector"
  readonly tile: Tile
  /** Slices of k: fixed by the shape, as they fix the order of the sum. */
  readonly slice: number
  /** Rows and columns of one share of work. */
  readonly rows: number
  readonly cols: number
  /** Floats of scratch that one thread needs, if it takes all shares. */
  readonly scratch: number
  /** b: packed by a step before, read as it lies, or packed by each share. */
  readonly right: "panels" | "lines" | "share"
}

/** What a thread can do a share of. */
export type Work = Exclude<Kernel, LoopKernel> | PackKernel | PanelKernel

export interface Step {
  readonly kernel: Work
  /** Equal shares that threads divide among themselves. */
  readonly shares: number
  readonly contract: ContractPlan | null
  readonly tiles: TilePlan | null
  /** Work on the same shares, or on the columns that they are, that follows each block of them at once. */
  readonly then?: readonly Step[]
}
/**
 * Steps that need not wait for one another, then small ones that the thread which finishes last does alone, in order; or a loop over waves.
 */
export type Wave = { readonly is: "steps"; readonly steps: readonly Step[]; readonly tail: readonly Step[] } | { readonly is: "loop"; readonly trips: number; readonly note: string; readonly waves: readonly Wave[] }

export interface CpuProgram {
  readonly name: string
  readonly target: CpuTarget
  readonly waves: readonly Wave[]
  readonly buffers: readonly Buffer[]
  /** Bytes from the start of the arena. */
  readonly offsets: ReadonlyMap<Buffer, number>
  readonly arena: number
  /** Bytes of scratch of each thread. */
  readonly scratch: number
  /** How many kernels run a second time, to save memory. */
  readonly again: number
  /** States that are copied at the end, where they could not be replaced in place. */
  readonly copies: readonly Update[]
  readonly inputs: Ordered["inputs"]
  readonly outputs: Ordered["outputs"]
}

/** `panels`: factors of f32 products are packed whole where they fit; this takes memory and changes no bit. */
export function scheduleCpu(program: Ordered & Partial<Pick<Recomputed, "again">>, target: CpuTarget, panels = true): CpuProgram {
  const place = (buffer: Buffer): Buffer => program.inPlace.get(buffer) ?? buffer
  const lives = new Map<Buffer, { first: number; last: number }>()
  /** Of values that are made again later: buffers are empty in between. */
  const before = new Map<Buffer, Span[]>()
  const copies = program.updates.filter(({ value }) => !program.inPlace.has(value))
  const packing: Packing = { buffers: [], known: new Map(), versions: new Map(), firstId: program.buffers.length, panels }
  const { waves, count } = wavesOf(program.kernels, target, packing, place, program.again ?? new Map(), (buffer, wave, anew) => {
    const life = lives.get(buffer)
    if (life !== undefined && anew) before.set(buffer, [...before.get(buffer) ?? [], life])
    if (life === undefined || anew) lives.set(buffer, { first: wave, last: wave })
    else life.last = Math.max(life.last, wave)
  })
  const end = count + 1
  for (const { value, state } of copies) for (const buffer of [value, place(state)]) { const life = lives.get(buffer); if (life !== undefined) life.last = end }
  for (const { buffer } of program.outputs) lives.set(buffer, { first: lives.get(buffer)?.first ?? 0, last: end })
  for (const { buffer } of program.inputs) lives.set(buffer, { first: 0, last: buffer.role === "state" ? end : lives.get(buffer)?.last ?? 0 })
  const buffers = [...program.buffers, ...packing.buffers]
  const kept = buffers.filter((buffer) => place(buffer) === buffer && (lives.has(buffer) || buffer.role !== "temp"))
  for (const buffer of kept) if (buffer.role === "constant") lives.set(buffer, { first: 0, last: end })
  const { offsets, bytes } = planArena(kept.map((buffer) => ({ buffer, bytes: bytesOf(buffer), spans: [...before.get(buffer) ?? [], lives.get(buffer) ?? { first: 0, last: end }] })))
  for (const [value, state] of program.inPlace) offsets.set(value, offsets.get(state) ?? 0)
  return {
    name: program.name, target, waves, buffers, offsets, arena: bytes, scratch: scratchOf(waves, target), again: program.again?.size ?? 0, copies,
    inputs: program.inputs, outputs: program.outputs,
  }
}

/**
 * A program that computes values again where it would otherwise take more than `most` bytes: as few of them as it takes, as far as that goes. Where that does
 * not suffice factors are not packed whole either.
 */
export function scheduleWithin(program: Ordered, target: CpuTarget, most: number): CpuProgram {
  const found = (panels: boolean): CpuProgram => within(program, most, (tried) => scheduleCpu(tried, target, panels), ({ arena }) => arena)
  const whole = found(true)
  const lean = whole.arena <= most ? whole : found(false)
  return lean.arena < whole.arena ? lean : whole
}

/** What a program allocates besides its arena when it runs on so many threads: scratch, and what they agree by. */
export function threadBytes({ scratch, waves }: CpuProgram, threads: number): number {
  const { sites, meetings } = agreementsOf(waves)
  return scratch * threads + Math.max(1, sites) * threads * queueBytes + Math.max(1, meetings) * meetingBytes
}

/** Each kernel is claimed in as many blocks for each thread, so that threads that are late leave little to wait for. */
export const mostBlocks = 4

/** Fewer where every block begins with packing. */
export function blocksEach({ contract }: Step): number {
  return contract?.right === "share" ? 2 : mostBlocks
}

/** A thread's count of its blocks of a kernel that were taken, and a wave's count of blocks that are done, on cache lines of their own. */
export const queueBytes = 64
export const meetingBytes = 128

/** Kernels that are claimed in blocks, and waves at whose end threads meet. */
export function agreementsOf(waves: readonly Wave[]): { readonly sites: number; readonly meetings: number } {
  let [sites, meetings] = [0, 0]
  for (const wave of waves) {
    const inner = wave.is === "loop" ? agreementsOf(wave.waves) : { sites: wave.steps.length, meetings: 1 }
    sites += inner.sites
    meetings += inner.meetings
  }
  return { sites, meetings }
}

function scratchOf(waves: readonly Wave[], target: CpuTarget): number {
  let most = 0
  for (const wave of waves) most = Math.max(most, wave.is === "loop" ? scratchOf(wave.waves, target) : Math.max(0, ...[...wave.steps, ...wave.tail].flatMap((step) => [step, ...step.then ?? []]).map((step) => 4 * scratchOfStep(step, target))))
  return Math.ceil(most / 64) * 64 + 4096
}

function scratchOfStep({ kernel, contract, tiles }: Step, target: CpuTarget): number {
  if (kernel.kind === "siblings") return Math.max(...membersOf(kernel, target).map((member) => scratchOfStep(member, target)))
  if (contract !== null) return contract.scratch
  if (tiles !== null) return tiles.scratch
  if (kernel.kind !== "attend" && kernel.kind !== "attend_grad") return 0
  if (!attendsInTiles(kernel, target.tiles)) return attendScratch(kernel.sizes, kernel.kind)
  return layoutFloats(kernel.kind === "attend" ? attendLayout(kernel.sizes) : gradientLayout(kernel.sizes).layout)
}

/** Queries that attention's gradient takes at once. */
export const queryBlock = 64

/** Floats for packed keys, values, queries and upstream, scores and their gradients. Widths are padded to 32. */
export function attendScratch(n: { readonly queries: number; readonly keys: number; readonly depth: number; readonly values: number }, kind: "attend" | "attend_grad"): number {
  const [keys, depth, values] = [padded(n.keys, 32), padded(n.depth, 32), padded(n.values, 32)]
  if (kind === "attend") return keys * (depth + values) + 8 * keys + 1024
  return keys * (3 * depth + 2 * values) + queryBlock * (2 * keys + depth + values) + 4096
}

/** `anew`: what it held before is not needed any more. */
type Live = (buffer: Buffer, wave: number, anew: boolean) => void

/** Each kernel in the first wave after those it must follow. */
function wavesOf(kernels: readonly Kernel[], target: CpuTarget, packing: Packing, place: (buffer: Buffer) => Buffer, again: Recomputed["again"], live: Live): { readonly waves: readonly Wave[]; readonly count: number } {
  const written = new Map<Buffer, number>()
  const read = new Map<Buffer, number>()
  const waves: (Step[] | Wave)[] = []
  let floor = 0
  const after = (buffers: readonly Buffer[]): number => Math.max(floor, ...buffers.map((buffer) => (written.get(buffer) ?? -1) + 1))
  const enter = (wave: number, reads: readonly Buffer[], writes: readonly Buffer[], anew: boolean): void => {
    for (const buffer of reads) { read.set(buffer, Math.max(read.get(buffer) ?? 0, wave)); live(buffer, wave, false) }
    for (const buffer of writes) { written.set(buffer, Math.max(written.get(buffer) ?? 0, wave)); live(buffer, wave, anew) }
    while (waves.length <= wave) waves.push([])
  }
  for (const given of kernels) {
    const found = preparedFor(given, target, packing)
    const { kernel, packs } = found
    const traffic = trafficOf(kernel)
    // What rests in scratch for what follows is not in memory.
    const passed = found.tiled !== null && found.tiled.plan.passing && !found.tiled.kernel.keep ? found.tiled.kernel.out : null
    const whole = found.tiled?.plan.whole ?? null
    const [reads, writes] = [[...traffic.reads, ...(whole === null ? [] : [whole.buffer])].map(place), [...traffic.writes].filter((buffer) => buffer !== passed).map(place)]
    const earliest = (needed: readonly Buffer[]): number => Math.max(after(needed), after(writes), ...writes.map((buffer) => (read.get(buffer) ?? -1) + 1), ...packs.map((pack) => after([place(pack.from.buffer)]) + 1), ...(again.get(given) ?? []).map((buffer) => written.get(place(buffer)) ?? 0))
    let wave = earliest(reads)
    if (kernel.kind === "loop") wave = Math.max(wave, waves.length)
    for (const buffer of writes) packing.versions.set(buffer, (packing.versions.get(buffer) ?? 0) + 1)
    // A kernel that needs of those before it what the same thread made joins them.
    const own = kernel.kind === "loop" ? null : found.tiled === null ? stepOf(kernel, target, found.contract) : tiledStep(found.tiled)
    const before = waves[wave - 1]
    const joined = own === null || !Array.isArray(before) ? null : join(before, own)
    if (joined !== null && earliest(reads.filter((buffer) => !joined.made.some((made) => place(made) === buffer))) < wave) {
      enter(wave - 1, reads, writes, again.has(given))
      waves[wave - 1] = joined.steps
      continue
    }
    // As late as it may be, so that what was packed is still near.
    for (const pack of packs) {
      enter(wave - 1, [place(pack.from.buffer)], [pack.to], false)
      const steps = waves[wave - 1]
      if (!Array.isArray(steps)) throw new Error(`schedule: ${pack.note} has no wave`)
      steps.push({ kernel: pack, shares: pack.kind === "panels" ? panelShares(pack) : pack.batch * Math.ceil(pack.lines / packShare(pack.unit)), contract: null, tiles: null })
    }
    enter(wave, reads, writes, again.has(given))
    if (kernel.kind === "loop") {
      const inner = wavesOf(kernel.body, target, { ...packing, known: new Map() }, place, again, (buffer) => live(buffer, wave, false))
      waves[wave] = { is: "loop", trips: kernel.trips, note: kernel.note, waves: inner.waves }
      floor = wave + 1
    } else {
      const steps = waves[wave]
      if (Array.isArray(steps) && own !== null) steps.push(own)
    }
  }
  return { waves: withTails(waves), count: waves.length }
}

/** The steps of a wave with one that follows some of them share by share, and what these make for it; null: it follows none. */
function join(steps: readonly Step[], step: Step): { readonly steps: Step[]; readonly made: readonly Buffer[] } | null {
  const { kernel } = step
  if (kernel.kind === "rows" && isFlat(kernel)) {
    const host = steps.find((other) => other.contract !== null && other.kernel.kind === "contract" && trafficOf(kernel).reads.has(other.kernel.out))
    if (host?.kernel.kind !== "contract" || !followsColumns(host.kernel, kernel)) return null
    return { steps: steps.map((other) => (other === host ? { ...host, then: [...host.then ?? [], step] } : other)), made: [host.kernel.out] }
  }
  if (kernel.kind !== "attend") return null
  const reads = trafficOf(kernel).reads
  const puts = steps.flatMap((other) => (other.kernel.kind === "put" && other.then === undefined && reads.has(other.kernel.out) ? [{ step: other, put: other.kernel }] : []))
  const [first, ...rest] = puts.map((other) => ({ ...other.step, shares: step.shares }))
  if (first === undefined || !puts.every(({ put }) => followsHeads(put, kernel))) return null
  return { steps: [...steps.filter((other) => !puts.some((put) => put.step === other)), { ...first, then: [...rest, step] }], made: puts.map(({ put }) => put.out) }
}

/** Waves of small steps alone follow the wave before them as its tail: threads meet once for both. */
function withTails(waves: readonly (readonly Step[] | Wave)[]): readonly Wave[] {
  const made: Wave[] = []
  for (const wave of waves) {
    const before = made.at(-1)
    if ("is" in wave) made.push(wave)
    else if (wave.length === 0) continue
    else if (before?.is === "steps" && wave.every(isSmall)) made[made.length - 1] = { ...before, tail: [...before.tail, ...wave] }
    else made.push({ is: "steps", steps: wave, tail: [] })
  }
  return made
}

/** Work that takes less time than threads need to meet. */
function isSmall({ kernel, shares, then }: Step): boolean {
  return shares === 1 && then === undefined && (kernel.kind === "rows" ? kernel.rows * kernel.cols <= 4096 : kernel.kind === "put")
}

interface Ready { readonly kernel: Kernel; readonly packs: readonly (PackKernel | PanelKernel)[]; readonly tiled: Tiled | null; readonly contract: ContractPlan | null }

/** A kernel with its factors packed, and what packs them. */
function preparedFor(given: Kernel, target: CpuTarget, packing: Packing): Ready {
  if (given.kind !== "contract") return { kernel: given, packs: [], tiled: null, contract: null }
  if (isTiled(given, target.tiles)) {
    const found = tiled(given, target.tiles, packing)
    return { kernel: found.kernel, packs: found.packs, tiled: found, contract: null }
  }
  const contract = planContract(given, target, packing.panels)
  if (contract.right !== "panels") return { kernel: given, packs: [], tiled: null, contract }
  const found = paneled(given, contract.tile.vectors * target.lanes, packing)
  return { kernel: found.kernel, packs: found.panels, tiled: null, contract }
}

function tiledStep({ kernel, plan }: Tiled): Step {
  return { kernel, shares: kernel.batch * Math.ceil(kernel.m / plan.rows), contract: null, tiles: plan }
}

function stepOf(given: Exclude<Kernel, LoopKernel>, target: CpuTarget, plan: ContractPlan | null): Step {
  const kernel = given.kind === "rows" ? flattened(given) : given
  switch (kernel.kind) {
    case "rows": return { kernel, shares: rowShares(kernel), contract: null, tiles: null }
    case "contract": {
      const contract = plan ?? planContract(kernel, target)
      return { kernel, shares: kernel.batch * Math.ceil(kernel.m / contract.rows) * Math.ceil(kernel.n / contract.cols), contract, tiles: null }
    }
    case "siblings": return { kernel, shares: membersOf(kernel, target).reduce((sum, { shares }) => sum + shares, 0), contract: null, tiles: null }
    case "attend": return { kernel, shares: kernel.sizes.batch * kernel.sizes.heads, contract: null, tiles: null }
    case "attend_grad": return { kernel, shares: kernel.dbias !== null && kernel.dbias.strides[0] === 0 ? 1 : kernel.sizes.batch * kernel.sizes.groups, contract: null, tiles: null }
    case "scatter": return { kernel, shares: kernel.lead > 1 ? kernel.lead : Math.ceil(kernel.width / 64), contract: null, tiles: null }
    case "put": return { kernel, shares: kernel.batch * kernel.middle * kernel.count * kernel.inner < 8192 ? 1 : kernel.batch * kernel.middle, contract: null, tiles: null }
    case "axis": return { kernel, shares: kernel.outer, contract: null, tiles: null }
  }
}

/** The shares of siblings are those of the first member, then those of the next. */
export function membersOf({ members }: SiblingsKernel, target: CpuTarget): readonly Step[] {
  return members.map((member) => stepOf(member, target, null))
}

/** Whether a kernel is one long row that may be cut anywhere. */
export function isFlat(kernel: RowsKernel): boolean {
  return kernel.rows === 1 && kernel.columns.length === 0 && kernel.stores.every((store) => store.value.level === 0) && kernel.cols > 1
}

/** Columns of one share of a flat kernel. */
export const flatShare = 2048

function rowShares(kernel: RowsKernel): number {
  if (isFlat(kernel)) return Math.ceil(kernel.cols / flatShare)
  return kernel.rows * kernel.cols < 4096 ? 1 : Math.ceil(kernel.rows / rowShare(kernel))
}

/** Rows of one share: a chunk where columns are reduced. */
export function rowShare(kernel: RowsKernel): number {
  return kernel.rows * kernel.cols < 4096 ? kernel.rows : kernel.columns.length > 0 ? kernel.chunk : 1
}

/** Rows of a left factor that are packed at once, slice by slice, so that they stay near; whole tiles of every height. */
export const leftRows = 192

/** The tile whose loads, products and padding cost least per number. */
function tileFor(m: number, n: number, target: CpuTarget): Tile {
  const shapes: readonly Tile[] = target.registers === 32 ? [{ rows: 8, vectors: 3 }, { rows: 6, vectors: 4 }, { rows: 12, vectors: 2 }, { rows: 24, vectors: 1 }] : [{ rows: 4, vectors: 3 }, { rows: 6, vectors: 2 }, { rows: 12, vectors: 1 }]
  const cost = ({ rows, vectors }: Tile): number => (padded(n, vectors * target.lanes) / n) * (padded(m, rows) / m) * Math.max(1, (rows + vectors) / (rows * vectors)) + (rows + vectors) / (rows * vectors) / 8
  return shapes.reduce((best, tile) => (cost(tile) < cost(best) ? tile : best))
}

/** Columns of a product with codes that are multiplied at once, in up to 128 bytes of codes; and floats that a row's numbers for them take at most as digits (`c-codes.ts`). */
const digitBlock = 128
const digitFloats = (3 * digitBlock + 2 * 3 * 64) / 4
/** Rows of such a product at most, in whole lines of a cache. */
export const mostUnits = 16

/** k in equal slices of at most `most`. */
function sliceOf(k: number, most: number): number {
  return Math.ceil(k / Math.ceil(k / most))
}

export function planContract(kernel: ContractKernel, target: CpuTarget, panels = true): ContractPlan {
  const { m, n, k } = kernel
  // Few rows are taken one by one: each has the same sums however many there are.
  if (isFew(m)) {
    const side = Math.min(8, target.lanes, 2 ** Math.floor(Math.log2(Math.max(1, target.registers / 2 / m))))
    return { way: "vector", tile: { rows: side, vectors: 1 }, slice: k, rows: m, cols: padded(Math.max(16, Math.min(256, Math.ceil(n / 16))), 16), scratch: mostUnits + m * Math.max(k, Math.ceil(k / digitBlock) * digitFloats), right: "lines" }
  }
  const tile = tileFor(m, n, target)
  const width = tile.vectors * target.lanes
  const chunk = kernel.epilogue !== null && kernel.epilogue.columns.length > 0 ? kernel.epilogue.chunk : 24
  const whole = panels && fitsPanels(kernel)
  if (kernel.a.colStride !== 1 && k > 1) {
    const slice = sliceOf(k, 256)
    const right = readsLines(kernel, width) ? "lines" : whole ? "panels" : "share"
    const scratch = right === "share" ? (padded(m, tile.rows) + tile.rows + padded(n, width)) * slice + (kernel.prologue === null ? 0 : width * k) : (leftRows + tile.rows) * slice
    return { way: "outer", tile, slice, rows: chunk, cols: n, right, scratch }
  }
  const rows = chunk * Math.max(1, Math.floor(96 / chunk))
  const scratch = whole ? 0 : (Math.min(padded(n, width), bandOf(k, width)) + (kernel.prologue === null ? 0 : width)) * k
  return { way: "stream", tile, slice: sliceOf(k, 384), rows, cols: n, right: whole ? "panels" : "share", scratch }
}

/**
 * Whether rows of b need no packing: they are whole vectors, and so far apart that a slice of them does not fall on the same few places of
 * a cache.
 */
function readsLines({ b, n, k, factors, prologue }: ContractKernel, width: number): boolean {
  return prologue === null && factors === "f32" && b.colStride === 1 && n % width === 0 && b.rowStride % 2048 !== 0 && k >= 64
}

/** Columns of b that are packed at once: about 2 million numbers. */
export function bandOf(k: number, width: number): number {
  return width * Math.max(1, Math.floor(2 ** 21 / (k * width)))
}

