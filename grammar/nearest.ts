/** The candidate that `word` is most likely a misspelling of, or else an abbreviation or extension of (`len`, `optimizer`, `learning_rate`); null where none is near. */
export function nearest(word: string, names: Iterable<string>): string | null {
  const candidates = [...names]
  const limit = word.length <= 3 ? 1 : word.length <= 7 ? 2 : 3
  let best: string | null = null
  let least = limit + 1
  for (const candidate of candidates) {
    if (candidate === word || Math.abs(candidate.length - word.length) > limit) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < least) {
      best = candidate
      least = distance
    }
  }
  return best ?? alike(word.toLowerCase(), candidates)
}

/** The only candidate that goes on where the word ends, or the other way around. */
function alike(word: string, candidates: readonly string[]): string | null {
  const begins = (a: string, b: string): boolean => b.length >= 3 && a.startsWith(b)
  const initials = (name: string): string => name.split("_").map((part) => part[0] ?? "").join("")
  const short = (a: string, b: string): boolean => a.length >= 2 && (a === initials(b) || b.startsWith(`${a}_`))
  const [only, ...more] = candidates.filter((c) => {
    const lower = c.toLowerCase()
    return lower !== word && (begins(word, lower) || begins(lower, word) || short(word, lower) || short(lower, word))
  })
  return more.length > 0 ? null : only ?? null
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  if (a.length > 64 || b.length > 64) return a === b ? 0 : Number.MAX_SAFE_INTEGER
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (before[j - 2] ?? 0) + 1)
      row.push(cost)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}
