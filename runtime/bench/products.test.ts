import { test } from "uvu"
import * as assert from "uvu/assert"
import type { ProductRate } from "./products.ts"
import { sumsOf } from "./products.ts"

const rate = (kind: ProductRate["kind"], threads: number, work: number, own: number, peer: number | null): ProductRate => {
  const of = (median: number): ProductRate["own"] => ({ median, best: 2 * median, slow: median / 100 })
  return { name: "", kind, threads, work, own: of(own), peer: peer === null ? null : of(peer) }
}

test("products over all shapes are compared by their times, by kind and number of threads", () => {
  // By weight 12 and 3 s of ours, 4 and 6 s of the other side.
  const sums = sumsOf([rate("by weight", 1, 12, 1, 3), rate("by weight", 1, 30, 10, 5), rate("forward", 1, 10, 10, 1), rate("forward", 2, 10, 2, 4), rate("forward", 2, 10, 2, null)])
  assert.equal(sums.map(({ kind, threads, median, best }) => [kind, threads, median, best]), [["forward", 1, 10, 10], ["by weight", 1, 10 / 15, 10 / 15], ["all", 1, 20 / 16, 20 / 16], ["forward", 2, 0.5, 0.5], ["all", 2, 0.5, 0.5]])
  assert.equal(sums[1]?.slow, [0.055, 0.04])
})

test("without another library there is nothing to compare", () => {
  assert.equal(sumsOf([rate("forward", 1, 10, 10, null)]), [])
})

test.run()
