/** Where two runs of one training part, from what their `trace` events recorded. */
import type { Event } from "./stages/events.ts"

export interface Divergence {
  /** The key of the stage. */
  readonly stage: string
  readonly name: string
  /** The first step whose loss or gradient norm differs; null: no step does, and states still do. */
  readonly step: number | null
  /** The weights and states that differ where they were first compared afterwards, and the step at which that was. */
  readonly states: readonly string[]
  readonly seenAt: number | null
}

type Trace = Extract<Event, { readonly event: "trace" }>

const digits = 8

/** The first difference of each training that both runs have; as far as both of them went. */
export function divergences(old: readonly Event[], now: readonly Event[]): readonly Divergence[] {
  const [before, after] = [tracesOf(old), tracesOf(now)]
  return [...after].flatMap(([stage, traces]) => {
    const others = before.get(stage)
    return others === undefined ? [] : divergence(stage, others, traces)
  })
}

function tracesOf(events: readonly Event[]): ReadonlyMap<string, readonly Trace[]> {
  const traces = new Map<string, Trace[]>()
  for (const event of events) if (event.event === "trace") traces.set(event.stage.key, [...(traces.get(event.stage.key) ?? []), event])
  return traces
}

function divergence(stage: string, old: readonly Trace[], now: readonly Trace[]): readonly Divergence[] {
  const [a, b] = [stepsOf(old), stepsOf(now)]
  const common = Math.min(a.length, b.length)
  let step: number | null = null
  for (let i = 0; i < common && step === null; i++) if (a[i] !== b[i]) step = i + 1
  const before = new Map(old.map((trace) => [trace.step, trace.states]))
  const seen = now.find((trace) => changed(before.get(trace.step) ?? null, trace.states).length > 0)
  if (step === null && seen === undefined) return []
  return [{ stage, name: now[0]?.stage.name ?? "", step, states: seen === undefined ? [] : changed(before.get(seen.step) ?? null, seen.states), seenAt: seen?.step ?? null }]
}

function stepsOf(traces: readonly Trace[]): readonly string[] {
  const all = traces.map(({ steps }) => steps).join("")
  return Array.from({ length: Math.floor(all.length / digits) }, (_, i) => all.slice(i * digits, (i + 1) * digits))
}

function changed(old: Trace["states"], now: Trace["states"]): readonly string[] {
  return old === null || now === null ? [] : Object.keys(now).filter((name) => old[name] !== now[name])
}
