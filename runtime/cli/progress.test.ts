import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Event, StageRef } from "../stages/events.ts"
import { showRun } from "./progress.ts"
import type { Terminal } from "./terminal.ts"

const stage: StageRef = { key: "k", name: "teacher", kind: "train" }
const start: Event = { event: "run-started", recipe: "a.slm", device: "a device", numericsClass: "", stages: [stage, { key: "w", name: "words", kind: "bpe" }] }

/** What a run shows: finished lines, and the live line after each event. */
function shown(events: readonly Event[], { live = false, width = 80 } = {}): { readonly lines: readonly string[]; readonly statuses: readonly string[] } {
  const [lines, statuses]: [string[], string[]] = [[], []]
  const terminal: Terminal = { color: false, live, width, line: (text = "") => void lines.push(text), raw: () => {}, write: () => {}, error: () => {}, status: (text) => void statuses.push(text), style: (_, text) => text }
  const emit = showRun(terminal)
  for (const event of events) emit(event)
  return { lines, statuses }
}

function progress(step: number, tokensPerSecond: number, valid: number | null = null): Event {
  return { event: "progress", stage, step, total: 100, loss: 2, valid, gradNorm: 1, lr: 1e-3, tokensPerSecond, secondsLeft: 60 }
}

test("the rate is tokens over time of the last reports, not that of one step", () => {
  // 10 steps at 1000 tokens/s and 10 at 4000: 20 steps' tokens in 12.5 steps' time.
  const { lines } = shown([start, progress(10, 1000), progress(20, 4000, 1.5)])
  assert.match(lines[1] ?? "", "step 10/100  loss 2.000  1000 tokens/s  1 min 0 s left")
  assert.match(lines[2] ?? "", "step 20/100  loss 2.000  valid 1.500  1600 tokens/s")
})

test("a pipe gets one line for each tenth, a terminal a live line", () => {
  const events = [start, { event: "stage-started", stage, index: 6, count: 10 } as const, ...Array.from({ length: 100 }, (_, i) => progress(i + 1, 1000))]
  const piped = shown(events)
  assert.equal(piped.lines.slice(1).map((line) => /step (\d+)/.exec(line)?.[1]), ["1", "10", "20", "30", "40", "50", "60", "70", "80", "90", "100"])
  const live = shown(events, { live: true })
  assert.is(live.lines.length, 1)
  assert.is(live.statuses.length, 101)
  assert.match(live.statuses[1] ?? "", "[7/10] teacher  step 1/100")
})

test("parts stand behind their whole; what is too long for the terminal goes below", () => {
  const facts = { rows: 54, "train.rows": 51, tokens: 3538, "train.tokens": 3343, "valid.rows": 3, "valid.tokens": 195, bytes: 2048 }
  const event: Event = { event: "stage-finished", stage: { key: "w", name: "words", kind: "bpe" }, seconds: 0.011, facts }
  const text = "rows 54 (train 51, valid 3), tokens 3538 (train 3343, valid 195), bytes 2.05 kB"
  assert.equal(shown([start, event]).lines.slice(1), [`✓ words    bpe     11 ms  ${text}`])
  assert.equal(shown([start, event], { live: true, width: 60 }).lines.slice(1), ["✓ words    bpe     11 ms", "    rows 54 (train 51, valid 3), tokens 3538 (train 3343,", "    valid 195), bytes 2.05 kB"])
})

test("sets and metrics of a validation stand behind its loss", () => {
  const event: Event = { event: "progress", stage, step: 10, total: 100, loss: 2, valid: 2.5, losses: { prose: 2, poems: 3 }, metrics: { "poems.right": 0.25 }, gradNorm: 1, lr: 1, tokensPerSecond: 1000, secondsLeft: 60 }
  assert.match(shown([start, event]).lines[1] ?? "", "loss 2.000  valid 2.500 (prose 2.000, poems 3.000, poems.right 0.250)  1000 tokens/s")
  const facts = { steps: 12, valid: 2.5, "valid.prose": 2, "valid.poems": 3, "valid.poems.right": 0.25, best_step: 12, last_valid: 2.5 }
  assert.is(shown([{ event: "stage-cached", stage, index: 0, count: 1, facts }]).lines[0], "= teacher  train  done before  steps 12, valid 2.500 (prose 2, poems 3, poems.right 0.2500)")
})

test("which step was the best is told where it is not the last", () => {
  const told = (best: number): string | undefined => shown([{ event: "stage-cached", stage, index: 0, count: 1, facts: { steps: 12, valid: 2.5, best_step: best, last_valid: 3 } }]).lines[0]
  assert.is(told(8), "= teacher  train  done before  steps 12, valid 2.500, best step 8, last valid 3")
  assert.is(told(12), "= teacher  train  done before  steps 12, valid 2.500")
})

test("a result of another build is told as such", () => {
  assert.is(shown([{ event: "stage-cached", stage, index: 0, count: 1, facts: { steps: 12 }, build: "another" }]).lines[0], "= teacher  train  done before, by another build  steps 12")
})

test("samples of a training are cut at the width, those that were asked for are whole", () => {
  const long = "x ".repeat(60).trim()
  const sample = (at: number | null): Event => ({ event: "sample", stage, at, prompt: "The", text: long })
  const training = shown([sample(0.25)], { live: true, width: 40 }).lines
  assert.equal([training.length, training[0]?.length, training[0]?.at(-1)], [1, 39, "…"])
  assert.ok(shown([sample(null)], { live: true, width: 40 }).lines.length > 3)
  assert.equal(shown([sample(0.25)], { width: 40 }).lines, [`  teacher at 25%  The${long}`])
})

test("an expectation shows both sides", () => {
  const { lines } = shown([{ event: "expect", text: "perplexity(a, t) < 2", holds: false, left: 2.34567, right: 2, operator: "<" }])
  assert.equal(lines, ["✗ expect perplexity(a, t) < 2  (2.346 < 2)"])
})

test.run()
