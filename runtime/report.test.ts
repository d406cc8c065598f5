import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { inFolder, writeTiny } from "./cli/process.fixture.ts"
import { createReference } from "./devices/reference.ts"
import { readRecipe } from "./recipe.ts"
import { openRecord } from "./record.ts"
import { chart, ticks } from "./report-chart.ts"
import { reportPage } from "./report.ts"
import { runInFolder } from "./run-folder.ts"
import type { Event, StageRef } from "./stages/events.ts"

const teacher: StageRef = { key: "t", name: "teacher", kind: "train" }
const talk: StageRef = { key: "g", name: "talk", kind: "generate" }
const sample = (stage: StageRef, at: number | null, text: string): Event => ({ event: "sample", stage, at, prompt: "<Smith>", text })
const progress = (step: number): Event => ({ event: "progress", stage: teacher, step, total: 3, loss: 4 - step, valid: step === 3 ? 2 : null, gradNorm: 1, lr: 1, tokensPerSecond: 1, secondsLeft: 1 })

test("ticks are round numbers inside of the range", () => {
  assert.equal(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10])
  assert.equal(ticks(0.13, 4.26, 6).map((t) => Number(t.toFixed(9))), [1, 2, 3, 4])
  assert.equal(ticks(3, 3, 4), [3])
})

test("a chart draws each series with its legend, leaves out what is no number, and nothing where nothing is", () => {
  const svg = chart([{ name: "a & b", group: 0, dashed: false, points: [[1, 3], [2, NaN], [3, 1]] }, { name: "valid", group: 0, dashed: true, points: [[3, 2]] }], { x: "step", y: "loss" })
  assert.is(svg.match(/<polyline/g)?.length, 2)
  assert.is(svg.match(/stroke-dasharray/g)?.length, 2)
  assert.not.match(svg, "NaN")
  assert.match(svg, "a &#38; b")
  assert.is(chart([], { x: "step", y: "loss" }), "")
  assert.match(chart([{ name: "flat", group: 0, dashed: false, points: [[1, 2], [2, 2]] }], { x: "step", y: "loss" }), /<polyline points="\d/)
})

test("the same prompt stands side by side, a row for each model; text of a model is text", () => {
  const events: Event[] = [sample(teacher, 0, "at the start"), sample(teacher, 1, "at the end"), sample(talk, null, "<script>alert(1)</script>"), progress(1), progress(3)]
  const page = reportPage({ recipe: "npc", events, models: [], writers: new Map([["g", "pocket"]]) })
  assert.match(page, /<h3>&#60;Smith&#62;<\/h3>[^]*<th>0%<\/th><th>100%<\/th><th>generated<\/th>[^]*<b>teacher<\/b>[^]*at the start[^]*at the end[^]*<b>pocket<\/b>/)
  assert.not.match(page, "<script>")
  assert.match(page, "teacher, validation")
})

test("sets of a validation have curves of their own, metrics a picture", () => {
  const events: Event[] = [1, 2].map((step) => ({ ...progress(3), step, losses: { prose: 2, poems: 3 }, metrics: { "poems.right": 0.25 } }) as Event)
  const page = reportPage({ recipe: "npc", events, models: [], writers: new Map() })
  assert.match(page, /<h2>Loss<\/h2>[^]*teacher, training[^]*teacher, validation[^]*teacher, prose[^]*teacher, poems[^]*<h2>Metrics<\/h2>[^]*teacher, poems\.right/)
})

test("the table of models has sizes, and metrics of what was measured", () =>
  inFolder(async (folder) => {
    writeTiny(folder)
    const recipe = readRecipe(join(folder, "tiny.slm"))
    if ("code" in recipe) throw new Error(recipe.message)
    const ran = await runInFolder(recipe, { params: new Map(), device: createReference() })
    if ("code" in ran) throw new Error(ran.message)
    assert.is(ran.status, "done", ran.diagnostics.map((d) => d.message).join("\n"))
    const page = readFileSync(join(ran.out, "report.html"), "utf8")
    const row = (name: string): readonly string[] => [...(new RegExp(`<tr><td><b>${name}</b>.*?</tr>`).exec(page)?.[0] ?? "").matchAll(/<td[^>]*>(?:<[^>]*>)?([^<]*)/g)].map((m) => m[1] ?? "")
    assert.equal(row("small").slice(0, 4), ["small", "train", "1368", "5.47 kB"])
    assert.equal(row("small").slice(4).map((n) => Number(n) > 0), [true, true, true]) // perplexity, bits per byte, accuracy
    assert.equal(row("pocket"), ["pocket", "quantize", "1368", "2.02 kB", "", "", ""])
    assert.match(page, /measured on <code>tokens\.valid<\/code>/)
  }))

test("a result that is used again keeps its curves and samples in the folder's record", () => {
  const folder = mkdtempSync(join(tmpdir(), "slm-record-"))
  try {
    const about = { recipe: "npc", models: [], writers: new Map() }
    const write = (events: readonly Event[]): string => {
      const record = openRecord(folder)
      if ("code" in record) throw new Error(record.message)
      for (const event of events) record.emit(event)
      assert.equal(record.close(about, { status: "done" }), [])
      return readFileSync(join(folder, "events.jsonl"), "utf8")
    }
    write([progress(1), progress(3), sample(teacher, 1, "at the end"), sample(talk, null, "said again anyway")])
    const cached: Event = { event: "stage-cached", stage: teacher, index: 0, count: 1, facts: {} }
    for (let again = 0; again < 2; again++) {
      const lines = write([cached]).trim().split("\n").map((line) => JSON.parse(line) as { event: string; earlier?: boolean })
      assert.equal(lines.map(({ event, earlier }) => [event, earlier ?? false]), [["stage-cached", false], ["progress", true], ["progress", true], ["sample", true]])
      assert.match(readFileSync(join(folder, "report.html"), "utf8"), /<polyline[^]*at the end/)
    }
    const other = write([{ ...cached, stage: { ...teacher, key: "changed" } }])
    assert.is(other.trim().split("\n").length, 1)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test.run()
