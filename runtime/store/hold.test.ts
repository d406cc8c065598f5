/** Two runs at once: who works on a stage, who waits, and what a killed holder leaves. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { bookTokens, recipeOf, sentences, withFolder } from "../stages/testing.ts"
import { openCheckpoints } from "./checkpoints.ts"
import { isHeld, takeHold } from "./hold.ts"

async function withFile(body: (file: string) => Promise<void>): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slm-hold-"))
  try {
    await body(path.join(folder, "stage.lock"))
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

const nobody = (): void => { throw new Error("there is nobody to wait for") }

test("a second one waits until the first has released", () => withFile(async (file) => {
  const first = await takeHold(file, null, nobody)
  const waited: string[] = []
  let released = false
  const second = takeHold(file, null, (holder) => {
    waited.push(holder)
    setTimeout(() => { released = true; first?.release() }, 10)
  })
  const hold = await second
  assert.ok(released)
  assert.equal(waited, [`process ${process.pid}`])
  assert.ok(isHeld(file))
  hold?.release()
  assert.equal(fs.readdirSync(path.dirname(file)), [])
}))

test("who waits may be interrupted", () => withFile(async (file) => {
  await takeHold(file, null, nobody)
  const controller = new AbortController()
  assert.is(await takeHold(file, controller.signal, () => controller.abort()), null)
}))

test("the hold of a dead process is taken over, also where its number lives on in another", () => withFile(async (file) => {
  const { pid } = spawnSync(process.execPath, ["-e", ""])
  for (const dead of [{ pid, born: null }, { pid: process.pid, born: "1" }]) {
    fs.writeFileSync(file, JSON.stringify({ token: "dead", host: os.hostname(), ...dead }))
    assert.not.ok(isHeld(file))
    const hold = await takeHold(file, null, nobody)
    assert.ok(isHeld(file))
    hold?.release()
  }
}))

test("a holder on another machine lives as long as it touches its file; one that says nothing, a moment", () => withFile(async (file) => {
  const minute = 60_000
  for (const [content, age, lives] of [['{"token":"t","pid":1,"host":"elsewhere","born":null}', minute, true], ['{"token":"t","pid":1,"host":"elsewhere","born":null}', 10 * minute, false], ["{", 0, true], ["{", minute, false]] as const) {
    fs.writeFileSync(file, content)
    const then = new Date(Date.now() - age)
    fs.utimesSync(file, then, then)
    assert.is(isHeld(file), lives)
  }
}))

test("of many that want a dead one's place, one at a time has it", () => withFile(async (file) => {
  fs.writeFileSync(file, JSON.stringify({ token: "dead", host: os.hostname(), pid: process.pid, born: "1" }))
  let inside = 0
  await Promise.all(Array.from({ length: 8 }, async () => {
    const hold = await takeHold(file, null, () => {})
    assert.is(++inside, 1)
    await new Promise((resolve) => setTimeout(resolve, 2))
    inside--
    hold?.release()
  }))
}))

test("two runs of one recipe at once train once, and both have the result", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const recipe = recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 4, optim: sgd(lr: 0.1) }
`)
  const runs = await Promise.all(["a", "b"].map((name) => place.run(recipe, { out: path.join(place.folder, name) })))
  assert.equal(runs.map(({ status }) => status), ["done", "done"])
  const trained = runs.map((ran) => ran.events.some((e) => e.event === "stage-finished" && e.stage.kind === "train"))
  assert.equal(trained.sort(), [false, true])
  const [a, b] = ["a", "b"].map((name) => fs.readFileSync(path.join(place.folder, name, "artifacts", "result", "weights.safetensors")))
  assert.equal(a, b)
}))

test("the last two checkpoints are kept, and what was left half-written goes", () => withFile(async (file) => {
  const folder = path.join(path.dirname(file), "stage.partial")
  const warnings: string[] = []
  const checkpoints = openCheckpoints(folder, "key", (message) => warnings.push(message))
  assert.is(checkpoints.latest(), null)
  fs.mkdirSync(path.join(folder, ".000000000001.0123456789ab.tmp"), { recursive: true })
  for (const step of [1, 2, 30]) checkpoints.save({ step, files: new Map([["a", Uint8Array.of(step)]]) })
  assert.equal(fs.readdirSync(folder), ["000000000002", "000000000030"])
  assert.is(checkpoints.latest()?.step, 30)
  assert.equal(openCheckpoints(folder, "other key", () => {}).latest(), null)
  assert.equal(warnings, [])
  checkpoints.clear()
  assert.not.ok(fs.existsSync(folder))
}))

test.run()
