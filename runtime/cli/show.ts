import { columns } from "./text.ts"

/** Numbers as people read them. */

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`
  if (n < 1e6) return `${short(n / 1e3)} kB`
  if (n < 1e9) return `${short(n / 1e6)} MB`
  return `${short(n / 1e9)} GB`
}

export function count(n: number): string {
  if (n < 10_000) return String(Math.round(n))
  if (n < 1e6) return `${short(n / 1e3)}k`
  if (n < 1e9) return `${short(n / 1e6)}M`
  if (n < 1e12) return `${short(n / 1e9)}G`
  return `${short(n / 1e12)}T`
}

/** Floating-point operations: `1.32 TFLOP`. */
export function flop(n: number): string {
  if (n < 1e9) return `${short(n / 1e6)} MFLOP`
  if (n < 1e12) return `${short(n / 1e9)} GFLOP`
  return `${short(n / 1e12)} TFLOP`
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?"
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}

/** Three significant digits. */
function short(n: number): string {
  if (n >= 100) return n.toFixed(0)
  if (n >= 10) return n.toFixed(1)
  return n.toFixed(2)
}

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
