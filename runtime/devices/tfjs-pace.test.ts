import { test } from "uvu"
import * as assert from "uvu/assert"
import { createPace, mainThreadTimes } from "./tfjs-pace.ts"

/** A machine whose clock and queue are set by hand; `log` lists the changes of the number of threads. */
function simulated(most: number, restarts: number, known = true) {
  const log: number[] = []
  let [now, running, queued, idle] = [0, 0, 0, most]
  const pace = createPace(
    { most, canRestart: () => restarts > 0, set: (count) => { log.push(count); if (count > 1) restarts-- } },
    { now: () => now, times: () => (known ? { running: running * 1e6, queued: queued * 1e6 } : null), idleCores: () => idle },
  )
  function pass(milliseconds: number, waiting: number): void {
    for (let i = 0; i < milliseconds; i += 100) {
      now += 100
      queued += 100 * waiting
      running += 100 * (1 - waiting)
      pace()
    }
  }
  return { log, pass, setIdle: (cores: number) => { idle = cores } }
}

test("on a quiet machine all threads stay", () => {
  const machine = simulated(2, 5)
  machine.pass(60_000, 0.02)
  assert.equal(machine.log, [])
})

test("when the main thread has to queue, one thread works alone", () => {
  const machine = simulated(2, 5)
  machine.pass(900, 0.5)
  assert.equal(machine.log, [], "not before a second has passed")
  machine.pass(5000, 0.5)
  assert.equal(machine.log, [1])
})

test("the others come back when cores are idle, as often as they can be started", () => {
  const machine = simulated(2, 1)
  machine.setIdle(1)
  machine.pass(2000, 0.5)
  machine.pass(30_000, 0)
  assert.equal(machine.log, [1], "other programs still run")
  machine.setIdle(2)
  machine.pass(2000, 0)
  assert.equal(machine.log, [1, 2])
  machine.pass(2000, 0.5)
  machine.pass(60_000, 0)
  assert.equal(machine.log, [1, 2, 1], "no more starts")
})

test("they do not come back at once", () => {
  const machine = simulated(4, 5)
  machine.pass(1000, 0.5)
  machine.pass(10_000, 0)
  assert.equal(machine.log, [1])
  machine.pass(10_000, 0)
  assert.equal(machine.log, [1, 4])
})

test("where the system tells nothing, nothing changes", () => {
  const machine = simulated(2, 5, false)
  machine.pass(10_000, 0.9)
  assert.equal(machine.log, [])
})

test("the times of this thread grow, where they are known", () => {
  const before = mainThreadTimes()
  if (before === null) return
  let x = 0
  for (let i = 0; i < 3e7; i++) x += Math.sqrt(i)
  const after = mainThreadTimes()
  assert.ok(x > 0 && after !== null && after.running > before.running)
})

test.run()
