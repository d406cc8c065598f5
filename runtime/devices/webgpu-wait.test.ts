import { test } from "uvu"
import * as assert from "uvu/assert"
import { napping } from "./webgpu-wait.ts"

/** As Dawn does: asks in every turn of Node's loop until it is told to stop. */
function asking(): () => number {
  let [turns, open] = [0, true]
  const turn = (): void => {
    turns++
    if (open) setImmediate(turn)
  }
  setImmediate(turn)
  return () => { open = false; return turns }
}

const after = async <T>(ms: number, value: T): Promise<T> => new Promise((done) => setTimeout(done, ms, value))

test("whoever waits is asked some hundred times, not as often as the processor can", async () => {
  const [wait, stop] = [napping(), asking()]
  // Others that begin and end meanwhile share the naps.
  const all = [wait(after(300, "last")), wait(after(100, "first")), wait(Promise.reject(new Error("lost")))]
  assert.equal((await Promise.allSettled(all)).map((each) => (each.status === "fulfilled" ? each.value : String(each.reason))), ["last", "first", "Error: lost"])
  const turns = stop()
  assert.ok(turns > 2 && turns < 1500, String(turns))
  // What comes at once is not slept through.
  const began = performance.now()
  for (let i = 0; i < 100; i++) await wait(new Promise((done) => setImmediate(done)))
  assert.ok(performance.now() - began < 1000)
})

test.run()
