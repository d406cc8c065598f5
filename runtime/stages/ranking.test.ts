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

test("a trial that diverges loses, and its row says so; the others are chosen from", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const recipe = search("4, 8").replace("lr: [0.03, 0.3]", "lr: [0.3, 1e30]")
  const first = await place.run(recipe)
  assert.is(first.status, "done", first.diagnostics.map((d) => d.message).join("\n"))
  const lost = first.stages.filter(({ facts }) => facts["diverged"] !== undefined)
  // Two of four in the first round; two of two others go on.
  assert.equal(lost.map(({ stage }) => stage.name), ["4", "8"].flatMap((dim) => ["train", "evaluate"].map((kind) => `found[dim: ${dim}, lr: 1e+30, steps: 2]/${kind}`)))
  assert.ok(lost.every(({ facts }) => facts["diverged"] === 2), JSON.stringify(lost[0]?.facts))
  assert.equal(first.stages.filter(({ stage }) => stage.kind === "ranking").map(({ facts }) => facts["lost"]), [2, undefined])
  assert.ok(first.events.some((e) => e.event === "warning" && /at step 2: this trial loses/.test(e.message)))

  const again = await place.run(recipe)
  assert.is(again.status, "done")
  assert.equal(made(again, "train"), [], "a trial that diverged is not tried again")
  assert.equal(again.lock, first.lock)
  // The same training by hand is the same stage: its report has no number that could hold.
  const alone = await place.run(recipe.replace(/expect perplexity[^]*/, `lone = train Llama(vocab: words.size, dim: 4, depth: 1, heads: 2) { data: tokens.train, objective: next_token, steps: 2, batch: 2 sequences, optim: sgd(lr: 1e30) }
expect perplexity(lone, tokens.valid) > 0
expect perplexity(best, tokens.valid) > 0
`))
  assert.equal([alone.status, ...alone.diagnostics.map(({ code }) => code)], ["failed", "SLM3307"])
}))

test("the report has a table for each round, the best first, and what the budget refused", () => {
  const page = reportPage({
    recipe: "r", events: [], models: [], writers: new Map(), searches: [{
      name: "found", fields: ["dim"], refused: ["{ dim: 64 }"],
      trials: [{ values: ["8"], score: 2.5, perplexity: 12.18, parameters: 1000 }, { values: ["4"], score: NaN, perplexity: null, parameters: null, diverged: 7 }],
    }],
  })
  assert.match(page, /<h2>Search found<\/h2>[^]*<th class="n">dim<\/th>[^]*<td class="n">1<\/td><td class="n">8<\/td>[^]*12\.18[^]*2\.500[^]*<td class="n">2<\/td><td class="n">4<\/td>[^]*diverged at step 7/)
  assert.match(page, /beyond its budget: <code>\{ dim: 64 \}<\/code>/)
})

test.run()
