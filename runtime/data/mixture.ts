/**
 * Which row of which source is sample n: a pure function of n, so that a run may be interrupted, resumed, or cut into
 * other micro-batches and still sees the same rows.
 */
import { permutationOf } from "../../compiler/graph/random.ts"
import { byDifficulty } from "./difficulty.ts"
import type { PackedRows } from "./pack.ts"
import { bad, failure, good, type Failure, type Result } from "./result.ts"

/** A number, or a function of (step, total) with step = 1, 2, …, total inside the stage. */
export type Share = number | ((step: number, total: number) => number)

export interface MixItem {
  /** Index into the sources. */
  readonly source: number
  /** Relative to the other items of the stage. */
  readonly share: Share
  /** Only the easiest share of the rows, by one difficulty per row. */
  readonly easiest?: { readonly difficulty: Float64Array; readonly share: Share } | null
}

export interface MixStage {
  /** The last step of the stage; null: to the end. */
  readonly until: number | null
  readonly items: readonly MixItem[]
}

export interface MixturePlan {
  readonly sources: readonly PackedRows[]
  readonly stages: readonly MixStage[]
  /** Steps of the run. */
  readonly steps: number
  /** Samples one step sees: batch * accumulate. */
  readonly samplesPerStep: number
  readonly seed: number
}

export interface Pick {
  readonly source: number
  readonly row: number
  /** The window that begins at this place of the stream, instead of a row. */
  readonly place?: number
}

/** A mixture ready to be drawn from. */
export interface Mixture {
  readonly sources: readonly PackedRows[]
  pick(sample: number): Pick
  /** How many samples each source gives in the steps before `step` (from 1). */
  drawnBefore(step: number): readonly number[]
}

/**
 * One stream of samples: a source, whole or by a difficulty. It goes on where it was when a stage changes. A stage that
 * draws twice on the same has two tracks, told apart by `occurrence`.
 */
interface Track {
  readonly source: number
  readonly occurrence: number
  readonly ranked: Int32Array | null // rows from easy to hard
  readonly difficulty: Float64Array | null
}

/** Of all steps and parts of one mixture. */
const mostShares = 50_000_000

/** Shares are rounded to this, so that sums over many steps are exact. */
const grain = 2 ** -20

/** Checks a mixture over all its steps and prepares it. */
export function planMixture(plan: MixturePlan): Result<Mixture> {
  const mistakes = checkPlan(plan)
  if (mistakes.length > 0) return { ok: false, failures: mistakes }
  const tracks: Track[] = []
  const trackOf = (item: MixItem, earlier: readonly MixItem[]): number => {
    const difficulty = item.easiest?.difficulty ?? null
    const occurrence = earlier.filter((other) => other.source === item.source && (other.easiest?.difficulty ?? null) === difficulty).length
    const known = tracks.findIndex((t) => t.source === item.source && t.difficulty === difficulty && t.occurrence === occurrence)
    if (known >= 0) return known
    tracks.push({ source: item.source, occurrence, difficulty, ranked: difficulty === null ? null : byDifficulty(difficulty) })
    return tracks.length - 1
  }
  const stageTracks = plan.stages.map((stage) => stage.items.map((item, i) => trackOf(item, stage.items.slice(0, i))))
  const table = emptyTable(tracks.length, plan.steps)
  for (let step = 1; step <= plan.steps; step++) {
    const failed = fillStep(plan, stageTracks, tracks, table, step)
    if (failed !== null) return bad(failed)
  }
  return good({
    sources: plan.sources,
    pick: picker(plan, tracks, table),
    drawnBefore: (step) => drawnBefore(plan, tracks, table, step),
  })
}

function checkPlan(plan: MixturePlan): readonly Failure[] {
  const wrong = (message: string, help: string | null = null): Failure => failure("SLM3142", message, help)
  const found: Failure[] = []
  const [first] = plan.sources
  for (const source of plan.sources) {
    if (source.length !== first?.length) found.push(wrong(`rows of ${source.length} and of ${first?.length ?? 0} predictions cannot be mixed`, "pack all parts of a mixture with one `length`"))
    if ((source.set.labels === null) !== (first?.set.labels === null)) found.push(wrong("data with and without classes cannot be mixed"))
    if (source.windows !== null) found.push(wrong("`windows: random` has no effect in a mixture, which deals whole rows", "leave it out of `pack`"))
    if (source.rows === 0) found.push(wrong("a part of the mixture has no rows"))
  }
  if (plan.steps * Math.max(1, plan.stages.reduce((sum, { items }) => sum + items.length, 0)) > mostShares) found.push(wrong(`a mixture over ${plan.steps} steps is too long to be laid out`, `at most ${mostShares.toLocaleString("en")} shares, one for each step and part, are`))
  if (plan.stages.length === 0) found.push(wrong("the mixture has no stage"))
  let before = 0
  for (const [i, stage] of plan.stages.entries()) {
    const last = i === plan.stages.length - 1
    const until = stage.until ?? plan.steps
    if (stage.until === null && !last) found.push(wrong("a stage without an end is followed by another, which is never reached", "give it `until: … steps`"))
    else if (until <= before) found.push(wrong(`a stage that ends at step ${until} begins after step ${before}`, "stages end in increasing order"))
    else if (before >= plan.steps) found.push(wrong(`a stage begins after step ${before}, but the run has ${plan.steps} steps`, "a stage that is never reached has no effect"))
    if (last && until < plan.steps) found.push(wrong(`the last stage ends at step ${until} of ${plan.steps}`, "leave `until` out of the last stage"))
    before = until
  }
  for (const item of plan.stages.flatMap((stage) => stage.items)) {
    const source = plan.sources[item.source]
    if (source === undefined) throw new Error(`planMixture: source ${item.source} of ${plan.sources.length}`)
    const difficulty = item.easiest?.difficulty
    if (difficulty === undefined || (difficulty.length === source.rows && !difficulty.some(Number.isNaN))) continue
    found.push(wrong(`${difficulty.length} difficulties for ${source.rows} rows`, "a difficulty is a number for each row of the data it ranks"))
  }
  return found
}

/**
 * The samples are dealt out track by track: of those that reach track t, a share is taken by it and the rest go on to
 * t + 1. What a track has taken after x arrivals is the rounded integral of its share, so that every prefix of the run
 * is mixed as evenly as whole numbers allow.
 */
interface Table {
  readonly tracks: number
  /** Per step and track: arrivals before the step, the integral of the share before it, the share in it, the rows in play. */
  readonly arrived: Float64Array
  readonly integral: Float64Array
  readonly share: Float64Array
  readonly rows: Float64Array
}

function emptyTable(tracks: number, steps: number): Table {
  const n = tracks * (steps + 1)
  return { tracks, arrived: new Float64Array(n), integral: new Float64Array(n), share: new Float64Array(n), rows: new Float64Array(n) }
}

function fillStep(plan: MixturePlan, stageTracks: readonly (readonly number[])[], tracks: readonly Track[], table: Table, step: number): Failure | null {
  const index = plan.stages.findIndex((stage) => step <= (stage.until ?? plan.steps))
  const stage = plan.stages[index]
  if (stage === undefined) throw new Error(`planMixture: no stage for step ${step}`)
  const first = index === 0 ? 0 : (plan.stages[index - 1]?.until ?? 0)
  const total = Math.min(stage.until ?? plan.steps, plan.steps) - first
  const value = (share: Share): number => (typeof share === "number" ? share : share(step - first, total))
  const shares = new Float64Array(table.tracks)
  const at = (step - 1) * table.tracks
  for (const [i, item] of stage.items.entries()) {
    const track = stageTracks[index]?.[i] ?? 0
    const share = value(item.share)
    const easiest = item.easiest === undefined || item.easiest === null ? 1 : value(item.easiest.share)
    if (!(share >= 0) || share === Infinity) return failure("SLM3142", `a share of the mixture is ${share} at step ${step}`)
    if (!(easiest > 0 && easiest <= 1)) return failure("SLM3142", `the easiest ${100 * easiest}% of the rows are asked for at step ${step}`, "the share lies above 0% and at most at 100%")
    const rows = plan.sources[tracks[track]?.source ?? 0]?.rows ?? 0
    table.rows[at + track] = Math.max(1, Math.ceil(easiest * rows - 1e-9))
    shares[track] = share
  }
  if (!shares.some((share) => share > 0)) return failure("SLM3142", `no part of the mixture has a share at step ${step}`)
  dealStep(table, shares, at, plan.samplesPerStep)
  return null
}

/** Sets the step's shares and where the next step begins. */
function dealStep(table: Table, shares: Float64Array, at: number, samples: number): void {
  let rest = shares.reduce((a, b) => a + b, 0)
  let arrivals = samples
  for (let t = 0; t < table.tracks; t++) {
    const own = shares[t] ?? 0
    const later = shares.subarray(t + 1).some((share) => share > 0)
    const q = own <= 0 ? 0 : !later ? 1 : Math.min(1 - grain, Math.max(grain, Math.round(own / rest / grain) * grain))
    const before = table.integral[at + t] ?? 0
    const after = before + arrivals * q
    table.share[at + t] = q
    table.arrived[at + table.tracks + t] = (table.arrived[at + t] ?? 0) + arrivals
    table.integral[at + table.tracks + t] = after
    arrivals -= Math.floor(after + 0.5) - Math.floor(before + 0.5)
    rest -= own
  }
}

function picker(plan: MixturePlan, tracks: readonly Track[], table: Table): (sample: number) => Pick {
  const orders = tracks.map((_, t) => orderCache(plan.seed, t === 0 ? "order" : `order:${t}`))
  return (sample) => {
    const step = Math.min(Math.floor(sample / plan.samplesPerStep), plan.steps - 1)
    const at = step * table.tracks
    let arrival = sample
    for (let t = 0; t < table.tracks; t++) {
      const share = table.share[at + t] ?? 0
      const integral = (table.integral[at + t] ?? 0) + (arrival - (table.arrived[at + t] ?? 0)) * share
      const taken = Math.floor(integral + 0.5)
      if (Math.floor(integral + share + 0.5) > taken) {
        const rows = table.rows[at + t] ?? 1
        const rank = orders[t]?.(rows, taken) ?? 0
        return { source: tracks[t]?.source ?? 0, row: tracks[t]?.ranked?.[rank] ?? rank }
      }
      arrival -= taken
    }
    throw new Error(`mixture: no track takes sample ${sample}`)
  }
}

/** Draw number n from `rows` rows: every row once in each epoch. Keeps the orders of the last epochs. */
export function orderCache(seed: number, purpose: string): (rows: number, n: number) => number {
  const kept = new Map<string, Int32Array>()
  return (rows, n) => {
    const epoch = Math.floor(n / rows)
    const key = `${rows}:${epoch}`
    let order = kept.get(key)
    if (order === undefined) {
      order = permutationOf(rows, seed, purpose, epoch)
      const [oldest] = kept.keys()
      if (kept.size >= 4 && oldest !== undefined) kept.delete(oldest)
      kept.set(key, order)
    }
    return order[n - epoch * rows] ?? 0
  }
}

function drawnBefore(plan: MixturePlan, tracks: readonly Track[], table: Table, step: number): readonly number[] {
  const drawn = plan.sources.map(() => 0)
  const at = Math.min(Math.max(step - 1, 0), plan.steps) * table.tracks
  for (const [t, track] of tracks.entries()) drawn[track.source] = (drawn[track.source] ?? 0) + Math.floor((table.integral[at + t] ?? 0) + 0.5)
  return drawn
}
