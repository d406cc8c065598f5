import { test } from "uvu"
import * as assert from "uvu/assert"
import { renderDiagnostics } from "../grammar/render.ts"
import { DeviceFailure, type Device } from "./device.ts"
import { createReference } from "./devices/reference.ts"
import { bookTokens, recipeOf, sentences, withFolder } from "./stages/testing.ts"
import { yielding } from "./yielding.ts"

const recipe = recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
small = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, optim: sgd(lr: 0.1), steps: 4 }
`)

/** A device that fails when a program is loaded. */
const failing: Device = { ...createReference(), load: () => Promise.reject(new DeviceFailure("cc could not compile the program: no space left", "make room")) }

test("a device that fails during a run is a mistake at the stage, not one of ours", () =>
  withFolder(async (place) => {
    place.write("book.txt", sentences(40))
    const ran = await place.run(recipe, { device: failing })
    assert.is(ran.status, "failed")
    const text = renderDiagnostics(ran.diagnostics, ran.sources, { color: false })
    assert.match(text, /^error\[SLM3501\]: cc could not compile the program: no space left\n {2}--> recipe\.slm:\d+:1\n[^]*help: make room/)
  }))

test("what a Ctrl-C stops in the device is an interruption", () =>
  withFolder(async (place) => {
    place.write("book.txt", sentences(40))
    const stop = new AbortController()
    const load: Device["load"] = async () => {
      stop.abort()
      throw new DeviceFailure("cc was stopped", "")
    }
    const ran = await place.run(recipe, { device: { ...failing, load }, signal: stop.signal })
    assert.equal([ran.status, ran.diagnostics.length], ["interrupted", 0])
  }))

test("a run hears of a signal while it computes", () =>
  withFolder(async (place) => {
    place.write("book.txt", sentences(40))
    const stop = new AbortController()
    // A timer fires only if the event loop turns, which promises alone do not let it do.
    setTimeout(() => stop.abort(), 100)
    const ran = await place.run(recipe.replace("steps: 4", "steps: 100000"), { signal: stop.signal })
    assert.is(ran.status, "interrupted")
  }))

test("giving way changes nothing of what a device yields", async () => {
  const order: string[] = []
  const device = yielding({
    info: createReference().info,
    load: async () => ({ write: async () => {}, read: async () => { throw new Error("unused") }, dispose: () => void order.push("disposed"), step: async () => { const end = performance.now() + 60; while (performance.now() < end); return {} } }),
  })
  const runner = await device.load({ name: "", inputs: [], outputs: [] })
  setImmediate(() => order.push("event loop"))
  assert.equal(await runner.step({}), {})
  runner.dispose()
  assert.equal(order, ["event loop", "disposed"])
})

test.run()
