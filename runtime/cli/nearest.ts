/** The word most like `given`, where one is close enough to be what was meant. */
export function nearest(given: string, words: readonly string[]): string | null {
  let best: string | null = null
  let least = Math.max(1, Math.floor(given.length / 3)) + 1
  for (const word of words) {
    const d = distance(given.toLowerCase(), word.toLowerCase())
    if (d < least) [best, least] = [word, d]
  }
  return best
}

/** Edits (insert, delete, replace, swap of neighbours) from a to b. */
function distance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let d = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, (before[j - 2] ?? 0) + 1)
      row.push(d)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}
