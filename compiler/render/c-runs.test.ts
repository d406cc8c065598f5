/** Stretches of memory in vectors, against every lane looked at by itself. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { constant, div, mod, plus, times, valueIndex, variable, type Guard, type Index } from "../kernel/index.ts"
import type { Expr } from "../kernel/ir.ts"
import { lanesThat, runsOf, runsTable, type Runs } from "./c-runs.ts"

const column = (cols: number): Index => variable("j", cols)
const row = variable("r", 100)

/** Where the table says that a lane lies, next to what does not depend on the column. */
function placesOf({ vectors }: Runs, lanes: number): readonly (number | null)[] {
  return vectors.flatMap((runs) => Array.from({ length: lanes }, (_, lane) => {
    const found = runs.filter((run) => (run.lanes >> lane) & 1)
    assert.ok(found.length <= 1, "a lane lies in one place")
    return found[0] === undefined ? null : found[0].at + lane
  }))
}

test("both halves of a head, shifted, of which each is there where the other is not", () => {
  const j = column(24)
  for (const lanes of [4, 8, 16]) {
    for (const [shift, low, high] of [[0, 0, 12], [-12, 0, 12], [12, 12, 24]] as const) {
      const guard: Guard = { index: plus(j, constant(shift)), low, high }
      const runs = runsOf(plus(plus(times(row, 24), j), constant(shift)), [guard], 24, lanes)
      assert.ok(runs)
      if (runs === null) continue
      assert.equal(runs.base, plus(times(row, 24), constant(shift)))
      const there = Array.from({ length: Math.ceil(24 / lanes) * lanes }, (_, c) => c < 24 && c + shift >= low && c + shift < high)
      assert.equal(placesOf(runs, lanes), there.map((is, c) => (is ? c : null)))
      assert.equal(lanesThat([guard], 24, lanes)?.slice(0, 24), there.slice(0, 24).map((is) => (is ? -1 : 0)))
    }
  }
})

test("heads within columns lie apart", () => {
  const j = column(96)
  const place = plus(times(div(j, 24), 768), mod(j, 24))
  const runs = runsOf(place, [{ index: mod(j, 24), low: 0, high: 12 }], 96, 16)
  assert.ok(runs)
  if (runs === null) return
  assert.equal(placesOf(runs, 16), Array.from({ length: 96 }, (_, c) => (c % 24 < 12 ? 768 * Math.floor(c / 24) + (c % 24) : null)))
  const { text, count } = runsTable("t", runs)
  assert.is(count, Math.max(...runs.vectors.map((vector) => vector.length)))
  assert.match(text, /^static const lane_run t\[6\]\[\d\] = \{\{\{0xfff, 0\}/)
})

test("what more than the column decides, is scattered or has many columns is left to lanes", () => {
  const j = column(64)
  const read: Expr = { is: "load", id: 7, dtype: "i32", level: 0, depends: new Set(["j"]), buffer: { id: 0, name: "x", role: "temp", dtype: "i32", count: 1, stored: null }, index: j, guards: [] } as unknown as Expr
  assert.is(runsOf(valueIndex(read), [], 64, 16), null)
  assert.is(runsOf(mod(plus(j, row), 24), [], 64, 16), null)
  assert.is(runsOf(j, [{ index: plus(j, row), low: 0, high: 9 }], 64, 16), null)
  assert.is(runsOf(times(j, 3), [], 64, 16), null)
  assert.is(runsOf(mod(column(4096), 24), [], 4096, 16), null)
  assert.is(lanesThat([{ index: plus(j, row), low: 0, high: 9 }], 64, 16), null)
})

test.run()
