/** Difficulties: a number for each packed row; a curriculum begins with the smallest. */
import { rowArrays, type PackedRows } from "./pack.ts"

/** Mean negative log frequency of the row's tokens, in nats; frequencies are those of the data itself. */
export function rarity(packed: PackedRows): Float64Array {
  const { tokens } = packed.set
  const frequency = new Map<number, number>()
  for (const id of tokens) frequency.set(id, (frequency.get(id) ?? 0) + 1)
  const rare = new Map([...frequency].map(([id, n]) => [id, -Math.log(n / tokens.length)]))
  const row = rowArrays(packed.length + 1)
  return Float64Array.from({ length: packed.rows }, (_, r) => {
    packed.fill(r, row, 0)
    let sum = 0
    let n = 0
    for (let i = 0; i <= packed.length; i++) {
      if ((row.segments[i] ?? -1) < 0) continue
      sum += rare.get(row.tokens[i] ?? 0) ?? 0
      n++
    }
    return n === 0 ? 0 : sum / n
  })
}

/** The number of tokens of each row that count. */
export function lengths(packed: PackedRows): Float64Array {
  return Float64Array.from(packed.targetsOf)
}

/** Rows from the easiest to the hardest; of equals the earlier row first. */
export function byDifficulty(difficulty: ArrayLike<number>): Int32Array {
  return Int32Array.from({ length: difficulty.length }, (_, i) => i).sort((a, b) => (difficulty[a] ?? 0) - (difficulty[b] ?? 0) || a - b)
}
