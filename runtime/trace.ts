/** What a training recorded of itself, step by step, and where two records of it part. */
/** A `trace` event without its stage. */
export interface Moment {
  readonly step: number
  /** Eight digits for each step since the moment before. */
  readonly steps: string
  /** A hash of each weight and state after this step. */
  readonly states: Readonly<Record<string, string>>
}

export interface Divergence {
  /** The first step whose loss or gradient norm differs; null: no step does, and states still do. */
  readonly step: number | null
  /** The weights and states that differ where they were first compared afterwards, in the order of the program, and the step after which that was. */
  readonly states: readonly string[]
  readonly seenAt: number | null
  /** The last step after which all of them were equal. */
  readonly equalAt: number
}

/** The file beside the result of a training that holds its moments. It is no part of the result. */
export const traceFile = "trace.json"

const digits = 8

/** The first difference of two records of one training, as far as both of them went; null: there is none. */
export function divergence(old: readonly Moment[], now: readonly Moment[]): Divergence | null {
  const [a, b] = [stepsOf(old), stepsOf(now)]
  const common = Math.min(a.length, b.length)
  let step: number | null = null
  for (let i = 0; i < common && step === null; i++) if (a[i] !== b[i]) step = i + 1
  const before = new Map(old.map((moment) => [moment.step, moment.states]))
  const compared = now.flatMap((moment) => {
    const states = before.get(moment.step)
    return states === undefined ? [] : [{ step: moment.step, states: changed(states, moment.states) }]
  })
  const seen = compared.find(({ states }) => states.length > 0)
  if (step === null && seen === undefined) return null
  const equal = compared.filter((moment) => seen === undefined || moment.step < seen.step)
  return { step, states: seen?.states ?? [], seenAt: seen?.step ?? null, equalAt: equal.at(-1)?.step ?? 0 }
}

/** How many steps both records tell of. */
export function commonSteps(old: readonly Moment[], now: readonly Moment[]): number {
  return Math.min(stepsOf(old).length, stepsOf(now).length)
}

function stepsOf(moments: readonly Moment[]): readonly string[] {
  const all = moments.map(({ steps }) => steps).join("")
  return Array.from({ length: Math.floor(all.length / digits) }, (_, i) => all.slice(i * digits, (i + 1) * digits))
}

function changed(old: Moment["states"], now: Moment["states"]): readonly string[] {
  return Object.keys(now).filter((name) => old[name] !== now[name])
}

// ---------------------------------------------------------------- as a file

export function writeTrace(moments: readonly Moment[]): Uint8Array {
  return new TextEncoder().encode(`[\n${moments.map(({ step, steps, states }) => JSON.stringify({ step, steps, states })).join(",\n")}\n]\n`)
}

/** null: the file is not there, or not one of these. */
export function readTrace(bytes: Uint8Array | undefined): readonly Moment[] | null {
  if (bytes === undefined) return null
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return Array.isArray(value) && value.every(isMoment) ? value : null
  } catch {
    return null
  }
}

function isMoment(x: unknown): x is Moment {
  return typeof x === "object" && x !== null && "step" in x && typeof x.step === "number" && "steps" in x && typeof x.steps === "string" && "states" in x && typeof x.states === "object" && x.states !== null
}

