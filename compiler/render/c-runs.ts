/** Vectors whose lanes lie in a few stretches of memory, as concatenation, padding and axes within columns make them: which lanes are where is known before anything runs. */
import type { Atom, Guard, Index, Term } from "../kernel/index.ts"

/** `lanes` (bits) lie at `at` plus the number of the lane. */
export interface Run { readonly lanes: number; readonly at: number }

export interface Runs {
  /** What does not depend on the column. */
  readonly base: Index
  /** For each vector of columns so many. */
  readonly vectors: readonly (readonly Run[])[]
}

/** More vectors than this are looked at lane by lane. */
const mostVectors = 64
/** More stretches in one vector cost more than they save. */
const mostRuns = 4

const reads = (index: Index): boolean => index.terms.some(({ atom }) => readsColumn(atom))
const readsColumn = (atom: Atom): boolean => (atom.is === "var" ? atom.name === "j" : atom.is === "value" ? atom.expr.depends.has("j") : reads(atom.of))
/** Whether the column alone decides it. */
const isOwn = (index: Index): boolean => index.terms.every(({ atom }) => (atom.is === "var" ? atom.name === "j" : atom.is !== "value" && isOwn(atom.of)))

function at({ base, terms }: Index, j: number): number {
  return terms.reduce((sum, { times, atom }) => sum + times * atomAt(atom, j), base)
}

function atomAt(atom: Atom, j: number): number {
  if (atom.is === "var") return j
  if (atom.is === "value") throw new Error("render: a number that is read is no function of the column")
  return atom.is === "div" ? Math.floor(at(atom.of, j) / atom.by) : at(atom.of, j) % atom.by
}

const holds = (guards: readonly Guard[], j: number): boolean => guards.every(({ index, low, high }) => at(index, j) >= low && at(index, j) < high)

/** Where the lanes of each vector lie; null where more than the column decides it, or too many stretches are in one. */
export function runsOf(index: Index, guards: readonly Guard[], cols: number, lanes: number): Runs | null {
  const own = (wanted: boolean) => ({ times: _, atom }: Term): boolean => readsColumn(atom) === wanted
  const column: Index = { base: 0, terms: index.terms.filter(own(true)) }
  const vectors = Math.ceil(cols / lanes)
  if (vectors > mostVectors || !isOwn(column) || guards.some((guard) => !isOwn(guard.index))) return null
  const found = Array.from({ length: vectors }, (_, vector) => runsIn(column, guards, vector * lanes, Math.min(lanes, cols - vector * lanes)))
  if (found.some((runs) => runs.length > mostRuns)) return null
  return { base: { base: index.base, terms: index.terms.filter(own(false)) }, vectors: found }
}

function runsIn(column: Index, guards: readonly Guard[], first: number, count: number): readonly Run[] {
  const runs = new Map<number, number>()
  for (let lane = 0; lane < count; lane++) {
    if (!holds(guards, first + lane)) continue
    const start = at(column, first + lane) - lane
    runs.set(start, (runs.get(start) ?? 0) | (1 << lane))
  }
  return [...runs].map(([start, set]) => ({ lanes: set, at: start }))
}

/** The table of runs as C: each vector has as many, of which some have no lanes. */
export function runsTable(name: string, { vectors }: Runs): { readonly text: string; readonly count: number } {
  const count = Math.max(1, ...vectors.map((runs) => runs.length))
  const rows = vectors.map((runs) => `{${Array.from({ length: count }, (_, i) => `{0x${(runs[i]?.lanes ?? 0).toString(16)}, ${runs[i]?.at ?? 0}}`).join(", ")}}`)
  return { text: `static const lane_run ${name}[${vectors.length}][${count}] = {${rows.join(", ")}};`, count }
}

/** Which lanes of all vectors meet the conditions, as -1 and 0; null where more than the column decides it. */
export function lanesThat(guards: readonly Guard[], cols: number, lanes: number): readonly number[] | null {
  const padded = Math.ceil(cols / lanes) * lanes
  if (padded > mostVectors * lanes || guards.some((guard) => !isOwn(guard.index))) return null
  return Array.from({ length: padded }, (_, j) => (holds(guards, j) ? -1 : 0))
}
