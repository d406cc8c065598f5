/** Searches as they run: trials are stages like any other. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { reportPage } from "../report.ts"
import type { Ran } from "./testing.ts"
import { bookTokens, recipeOf, sentences, withFolder } from "./testing.ts"

const search = (dims: string, more = ""): string => `use std.search { grid, halving, search }
${recipeOf(`${bookTokens(8)}
let found = search {
  points: grid({ dim: [${dims}], lr: [0.03, 0.3] })
  model: p => Llama(vocab: words.size, dim: p.dim, depth: 1, heads: 2)
  trial: (p, model, steps) => train model { data: tokens.train, objective: next_token, steps: steps, batch: 2 sequences, optim: sgd(lr: p.lr) }
  valid: tokens.valid
  steps: 4
  strategy: halving(rounds: 2)
  ${more}
}
best = found.weights
expect perplexity(best, tokens.valid) < 300
expect length(found.trials) > 0
`)}`

const made = (ran: Ran, kind: string): readonly string[] => ran.events.flatMap((e) => (e.event === "stage-finished" && e.stage.kind === kind ? [e.stage.name] : []))

test("a search runs its trials and then what follows from them; a wider one runs new trials alone", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const first = await place.run(search("4, 8"))
  assert.is(first.status, "done", first.diagnostics.map((d) => d.message).join("\n"))
  assert.is(made(first, "train").length, 4 + 2)
  assert.equal(made(first, "train").slice(0, 2), ["found[dim: 4, lr: 0.03, steps: 2]/train", "found[dim: 4, lr: 0.3, steps: 2]/train"])
  assert.is(made(first, "ranking").length, 2)
  const [round, last] = first.stages.filter(({ stage }) => stage.kind === "ranking")
  const lossOf = (ran: Ran, name: string): number => ran.stages.find(({ stage }) => stage.name === name)?.facts["loss"] ?? NaN
  const losses = ["dim: 4, lr: 0.03", "dim: 4, lr: 0.3", "dim: 8, lr: 0.03", "dim: 8, lr: 0.3"].map((point) => lossOf(first, `found[${point}, steps: 2]/evaluate`))
  assert.equal([round?.facts["trials"], round?.facts["score"], round?.facts["best"]], [4, Math.min(...losses), losses.indexOf(Math.min(...losses))])
  assert.is(last?.facts["trials"], 2)

  const again = await place.run(search("4, 8"))
  assert.equal(again.events.filter((e) => e.event === "stage-finished" && e.stage.kind !== "export").length, 0)
  const wider = await place.run(search("4, 8, 12"))
  assert.equal(made(wider, "train").filter((name) => name.includes("steps: 2]")), ["found[dim: 12, lr: 0.03, steps: 2]/train", "found[dim: 12, lr: 0.3, steps: 2]/train"])
  const narrower = await place.run(search("4, 8, 12", "budget: 5k"))
  assert.is(narrower.status, "done")
  assert.equal(made(narrower, "train").filter((name) => name.includes("steps: 2]")), [])

  const saved = JSON.parse(fs.readFileSync(path.join(first.out, "recipe.json"), "utf8")) as { lock: { stages: readonly { kind: string; facts: Record<string, number> }[] } }
  assert.is(saved.lock.stages.filter(({ kind }) => kind === "ranking").length, 2)
}))

test("an interrupted search goes on and ends with the same choice and the same results", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const whole = await place.run(search("4, 8"))
  fs.rmSync(path.join(place.folder, ".slm"), { recursive: true })
  const stop = new AbortController()
  const cut = await place.run(search("4, 8"), { signal: stop.signal, emit: (event) => { if (event.event === "stage-finished" && event.stage.name.includes("lr: 0.3, steps: 2]/train")) stop.abort() } })
  assert.is(cut.status, "interrupted")
  const rest = await place.run(search("4, 8"))
  assert.is(rest.status, "done")
  assert.ok(made(rest, "train").length < 6 && made(rest, "train").length > 0)
  assert.equal(rest.lock, whole.lock)
}))

test("the report has a table for each round, the best first, and what the budget refused", () => {
  const page = reportPage({
    recipe: "r", events: [], models: [], writers: new Map(), searches: [{
      name: "found", fields: ["dim"], refused: ["{ dim: 64 }"],
      trials: [{ values: ["8"], score: 2.5, perplexity: 12.18, parameters: 1000 }, { values: ["4"], score: 3, perplexity: null, parameters: null }],
    }],
  })
  assert.match(page, /<h2>Search found<\/h2>[^]*<th class="n">dim<\/th>[^]*<td class="n">1<\/td><td class="n">8<\/td>[^]*12\.18[^]*2\.500[^]*<td class="n">2<\/td><td class="n">4<\/td>/)
  assert.match(page, /beyond its budget: <code>\{ dim: 64 \}<\/code>/)
})

test.run()
