import { excerpt } from "./result.ts"
import { placeOf, type Rows } from "./rows.ts"

/** What one step did to the rows, for `slm data`. */
export interface StepReport {
  readonly step: string
  readonly before: number
  readonly after: number
  readonly drops: readonly Drop[]
  /** What was changed, how often: shown even of private data. */
  readonly counts?: readonly { readonly what: string; readonly count: number }[]
  /** Whatever else a user should know: `normalised 12 rows`. */
  readonly notes: readonly string[]
}

export interface Drop {
  readonly reason: string
  readonly count: number
  readonly samples: readonly Sample[]
}

export interface Sample { readonly place: string; readonly text: string }

const samplesKept = 3

/** Counts dropped rows by reason and keeps the first few of each. */
export interface DropCounter {
  drop(reason: string, rows: Rows, row: number, text: string): void
  drops(): readonly Drop[]
}

export function dropCounter(): DropCounter {
  const found = new Map<string, { count: number; readonly samples: Sample[] }>()
  return {
    drop(reason, rows, row, text) {
      const entry = found.get(reason) ?? { count: 0, samples: [] }
      found.set(reason, entry)
      entry.count++
      if (entry.samples.length < samplesKept) entry.samples.push({ place: placeOf(rows, row), text: excerpt(text, 70) })
    },
    drops: () => [...found].map(([reason, entry]) => ({ reason, count: entry.count, samples: entry.samples })),
  }
}

export interface Stepped<T> { readonly value: T; readonly report: StepReport }
