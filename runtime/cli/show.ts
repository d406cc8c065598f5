import type { Terminal } from "./terminal.ts"
import { columns, cut } from "./text.ts"

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

/** As wide as the terminal is; where there is none, nothing is cut or broken. */
export function widthOf(terminal: Terminal): number {
  return terminal.live ? terminal.width : Infinity
}

/**
 * The table in at most `width` columns of the terminal: the columns named in `spare` are left out one after the other until it fits, then `long` is cut.
 * The first row is the header. Returns what was left out, too.
 */
export function narrowTable(
  rows: readonly (readonly string[])[], right: readonly boolean[], width: number, { spare, long }: { readonly spare: readonly string[]; readonly long: string },
): { readonly lines: readonly string[]; readonly leftOut: readonly string[] } {
  const header = rows[0] ?? []
  for (let n = 0; ; n++) {
    const leftOut = spare.slice(0, n)
    const keep = <T>(cells: readonly T[]): T[] => cells.filter((_, i) => !leftOut.includes(header[i] ?? ""))
    const lines = table(rows.map(keep), keep(right))
    const over = Math.max(0, ...lines.map(columns)) - width
    if (over <= 0) return { lines, leftOut }
    if (n < spare.length) continue
    const at = header.indexOf(long)
    const widest = Math.max(0, ...rows.map((row) => columns(row[at] ?? "")))
    const shorter = rows.map((row) => row.map((cell, i) => (i === at ? cut(cell, Math.max(4, widest - over)) : cell)))
    return { lines: table(shorter.map(keep), keep(right)), leftOut }
  }
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
