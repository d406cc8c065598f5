import { columns } from "./text.ts"

/** Columns padded to a common width; numbers (by `right`) to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly boolean[] = []): string[] {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, columns(cell))))
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const gap = " ".repeat((widths[i] ?? 0) - columns(cell))
        return right[i] === true ? gap + cell : cell + gap
      })
      .join("  ")
      .trimEnd(),
  )
}

const ticks = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

/** A row of bars for a series, scaled between its smallest and largest value. */
export function sparkline(values: readonly number[], width = 40): string {
  const finite = values.filter(Number.isFinite)
  if (finite.length === 0) return ""
  const step = Math.max(1, finite.length / width)
  const picked = Array.from({ length: Math.min(width, finite.length) }, (_, i) => finite[Math.floor(i * step)] ?? 0)
  const low = Math.min(...picked)
  const high = Math.max(...picked)
  return picked.map((v) => ticks[high === low ? 0 : Math.round(((v - low) / (high - low)) * (ticks.length - 1))]).join("")
}
