import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { openRecord, type RunRecord } from "./record.ts"
import type { Event } from "./stages/events.ts"

const stage = { name: "small", kind: "train", key: "k1" } as const
const progress: Event = { event: "progress", stage, step: 3, total: 3, loss: 2, valid: null, gradNorm: 1, lr: 0.1, tokensPerSecond: 1, secondsLeft: 0 }

function inFolder(body: (folder: string) => void): void {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slm-record-"))
  try {
    body(folder)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function record(folder: string, events: readonly Event[], status: string | null): void {
  const opened = openRecord(folder) as RunRecord
  for (const event of events) opened.emit(event)
  if (status !== null) assert.equal(opened.close({ recipe: "a", models: [], writers: new Map() }, { status }), [])
}

const lines = (...at: readonly string[]): readonly Record<string, unknown>[] =>
  fs.readFileSync(path.join(...at), "utf8").trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)

test("the records of earlier runs in a folder stay, however they ended", () => inFolder((folder) => {
  record(folder, [progress], "done")
  record(folder, [{ ...progress, step: 1 }], null) // killed: its summary was never written
  record(folder, [{ event: "stage-cached", stage, index: 0, count: 1, facts: {} }], "failed")
  assert.equal(fs.readdirSync(path.join(folder, "earlier")).sort(), ["1", "2"])
  assert.equal(lines(folder, "earlier", "1", "events.jsonl").map(({ step }) => step), [3])
  assert.equal(lines(folder, "earlier", "2", "events.jsonl").map(({ step }) => step), [1])
  assert.is(fs.readFileSync(path.join(folder, "earlier", "1", "run.yaml"), "utf8"), "status: done\n")
  assert.equal(fs.readdirSync(path.join(folder, "earlier", "2")), ["events.jsonl"])
  assert.is(fs.readFileSync(path.join(folder, "run.yaml"), "utf8"), "status: failed\n")
}))

test("what is used again brings its curve along", () => inFolder((folder) => {
  record(folder, [progress], "done")
  for (const n of [1, 2]) {
    record(folder, [{ event: "stage-cached", stage, index: 0, count: 1, facts: {} }], "done")
    assert.equal(lines(folder, "events.jsonl").map(({ event, step, earlier }) => [event, step, earlier]), [["stage-cached", undefined, undefined], ["progress", 3, true]], String(n))
  }
}))

test.run()
