import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { inOrder } from "../compiler/check/choice.ts"
import { known } from "../compiler/check/poly.ts"
import { checkText } from "../compiler/check/check-text.fixture.ts"
import type { Checked } from "../compiler/check/check.ts"
import { renderDiagnostics } from "../grammar/render.ts"
import type { Value } from "../compiler/check/value.ts"

/** A search over `space` whose trials are checked but never run. */
const recipe = (space: string, more = "", result = "best = found.weights\nexpect perplexity(best, tokens.valid) > 0"): string => `use std.models { Llama }
use std.optim { sgd }
use std.search { ${["bytes_of", "grid", "halving", "once", "random", "search"].filter((name) => new RegExp(`\\b${name}\\b`).test(space + more) || name === "search").join(", ")} }
book = text("book.txt") |> documents(by: line) |> split(valid: 10%)
words = char(book.train)
tokens = book |> encode(words) |> pack(length: 16)
let found = search {
  points: ${space}
  model: p => Llama(vocab: words.size, dim: p.dim, depth: 1, heads: 2)
  trial: (p, model, steps) => train model { data: tokens.train, objective: next_token, steps: steps, batch: 4 sequences, optim: sgd(lr: p.lr) }
  valid: tokens.valid
  steps: 8
  ${more}
}
${result}
`

const shown = (checked: Checked): string => renderDiagnostics(checked.diagnostics, checked.sources, { color: false })
const kinds = (checked: Checked, kind: string): readonly string[] => (checked.recipe?.stages ?? []).filter((stage) => stage.kind === kind).map(({ name }) => name)

function good(text: string, facts: ReadonlyMap<string, number> = new Map()): Checked {
  const checked = checkText(text, { facts })
  assert.is(shown(checked), "")
  return checked
}

function valueOf(lines: string, name: string): Value {
  const checked = good(lines)
  const value = checked.recipe?.bindings.get(name)
  if (value === undefined) throw new Error(`no ${name}`)
  return value
}

/** Losses of the trials that stand in a recipe now, in their order. */
function losses(checked: Checked, of: (i: number) => number): ReadonlyMap<string, number> {
  const reports = (checked.recipe?.stages ?? []).filter(({ kind, name }) => kind === "evaluate" && name.startsWith("found["))
  return new Map(reports.map(({ key }, i) => [`${key}.loss`, of(i)]))
}

test("halving lets the right number of trials go on, the best ones, and takes the best of the last round", () => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 7 }), fc.integer({ min: 2, max: 3 }), fc.integer({ min: 0, max: 1000 }), (count, rounds, salt) => {
    const dims = Array.from({ length: count }, (_, i) => 4 * (i + 1))
    const text = recipe(`grid({ dim: [${dims.join(", ")}], lr: [0.1] })`, `strategy: halving(rounds: ${rounds})`)
    const score = (i: number): number => ((i * 7919 + salt) % 101) + i / 1000
    let checked = good(text)
    let [facts, going] = [new Map<string, number>(), dims]
    for (let round = 0; round < rounds; round++) {
      const trained = (checked.recipe?.stages ?? []).filter(({ kind, name }) => kind === "train" && (name.includes(`steps: ${8 / 2 ** (rounds - 1 - round)}]`) || (round === rounds - 1 && !name.includes("steps"))))
      assert.is(trained.length, going.length, `round ${round} of ${rounds} with ${count}`)
      const all = losses(checked, score)
      const own = [...all].slice(-going.length)
      const order = inOrder(own.map(([, loss]) => loss))
      going = order.slice(0, Math.max(1, Math.ceil(going.length / 2))).map((i) => going[i] ?? 0)
      facts = new Map([...facts, ...own])
      checked = good(text, facts)
    }
    const best = checked.recipe?.bindings.get("best")
    if (best?.kind !== "artifact" || best.type.is !== "weights") throw new Error("undecided")
    const dim = best.type.spec.args.get("dim")
    assert.is(dim?.kind === "int" ? known(dim.poly, new Map()) : null, going[0])
    assert.match(kinds(checked, "train").join(), "best")
    assert.is(kinds(checked, "ranking").length, rounds)
  }), { numRuns: 6 })
})

test("an order is ascending, stable on ties, with what is no number last", () => {
  fc.assert(fc.property(fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(NaN), fc.constant(Infinity))), (scores) => {
    const order = inOrder(scores)
    assert.equal([...order].sort((a, b) => a - b), scores.map((_, i) => i))
    for (const [at, i] of order.entries()) {
      const next = order[at + 1]
      if (next === undefined) continue
      const [a, b] = [scores[i] ?? NaN, scores[next] ?? NaN]
      assert.ok(Number.isNaN(b) || a < b || (a === b && i < next), `${a} before ${b}`)
      if (Number.isNaN(a)) assert.ok(Number.isNaN(b) && i < next)
    }
  }))
})

test("of equal trials the first wins, and the choice makes no stage of its own", () => {
  const text = recipe("grid({ dim: [4, 8, 12], lr: [0.1] })")
  const before = good(text)
  assert.is(kinds(before, "train").length, 3)
  const after = good(text, losses(before, () => 1))
  const best = after.recipe?.bindings.get("best")
  assert.is(best?.kind === "artifact" ? best.stage.key : "", before.recipe?.stages.find(({ kind }) => kind === "train")?.key)
  assert.is(kinds(after, "train").length, 3)
})

test("a search with one point more adds its trial and changes no other", () => {
  const keys = (dims: string): readonly string[] => (good(recipe(`grid({ dim: [${dims}], lr: [0.1] })`)).recipe?.stages ?? []).filter(({ kind }) => kind === "train" || kind === "evaluate").map(({ key }) => key)
  const [few, many] = [keys("4, 8"), keys("4, 8, 12")]
  assert.is(few.length, 4)
  assert.is(many.length, 6)
  assert.ok(few.every((key) => many.includes(key)))
})

test("random points are different ones of the grid, the same for the same seed, others for another", () => {
  const points = (count: number, seed: number): readonly string[] => {
    const value = valueOf(`use std.search { random }\nlet some = random({ a: [1, 2, 3, 4], b: [1, 2, 3, 4] }, count: ${count}, seed: ${seed})\nexpect length(some) == ${count}\n`, "some")
    return value.kind === "list" ? value.items.map((item) => JSON.stringify(item, (key, x: unknown) => (key === "origin" ? undefined : x instanceof Map ? [...x] : x))) : []
  }
  fc.assert(fc.property(fc.integer({ min: 1, max: 15 }), fc.integer({ min: 0, max: 500 }), (count, seed) => {
    const some = points(count, seed)
    assert.is(new Set(some).size, count)
    assert.equal(points(count, seed), some)
  }), { numRuns: 5 })
  assert.not.equal(points(8, 0), points(8, 1))
})

test("mistakes are found before anything runs", () => {
  const mistake = (space: string, more: string, wanted: RegExp, facts?: ReadonlyMap<string, number>): void => {
    const checked = checkText(recipe(space, more), facts === undefined ? {} : { facts })
    assert.match(shown(checked), wanted)
    assert.is(checked.recipe, null)
  }
  mistake("grid({ dim: [4], lr: [0.1] })", "", /SLM2200.*one point leaves nothing to search/)
  mistake("grid({ dim: [], lr: [0.1] })", "", /SLM2303.*`dim` lists no value/)
  mistake("grid({ dim: 8, lr: [0.1] })", "", /SLM2110.*`dim` lists the values to choose from/)
  mistake("grid({ dim: [4, 8], lr: [0.1], depth: [1, 2] })", "", /SLM2202.*the trials of `dim: 4, lr: 0.1, depth: 1` and `dim: 4, lr: 0.1, depth: 2` are the same work[^]*`depth` has no effect/)
  mistake("grid({ dim: [4, 4], lr: [0.1] })", "", /SLM2202.*two trials of `dim: 4, lr: 0.1`[^]*list each value once/)
  mistake("random({ dim: [4, 8], lr: [0.1] }, count: 2)", "", /SLM2200.*2 of 2 points cannot be drawn/)
  mistake("grid({ dim: [4, 8], lr: [0.1] })", "strategy: halving(rounds: 1)", /SLM2200.*one round leaves nothing out/)
  mistake("grid({ dim: [4, 8], lr: [0.1] })", "by: report => \"none\"", /SLM2110.*what is best is decided by a number/)
  // A model of the space that cannot be.
  mistake("grid({ dim: [4, 7], lr: [0.1] })", "", /7 \/ 2 does not come out even|SLM2113|SLM2200/)
})

test("a budget that no point meets is said with their sizes: a warning while the vocabulary is only taken, a mistake once it is known", () => {
  const text = recipe("grid({ dim: [4, 8], lr: [0.1] })", "budget: 100").replace("char(book.train)", "bpe(book.train, size: 300)")
  const before = checkText(text)
  assert.match(shown(before), /warning\[SLM2200\]: no point is within the budget of 100: \[\{ point: \{ dim: 4, lr: 0.1 \}, cost: \d+ \}, \{ point: \{ dim: 8/)
  assert.ok(before.recipe !== null)
  const words = before.recipe?.stages.find(({ kind }) => kind === "bpe")
  const after = checkText(text, { facts: new Map([[`${words?.key}.size`, 60]]) })
  assert.match(shown(after), /error\[SLM2200\]: no point is within the budget of 100/)
  assert.is(after.recipe, null)
})

test("a budget of parameters, bytes or arithmetic lets through what meets it", () => {
  const trained = (more: string): readonly string[] => {
    const text = recipe("grid({ dim: [4, 8], lr: [0.1] })", more)
    const words = checkText(text).recipe?.stages.find(({ kind }) => kind === "char")
    return kinds(checkText(text, { facts: new Map([[`${words?.key}.size`, 60]]) }), "train")
  }
  const small = 60 * 4 * 2 + 4 * 16 + 3 * 4 * 32 + 3 * 4 // embed and head, attention, mlp, norms
  assert.equal(trained(`budget: ${small}`), ["found[dim: 4, lr: 0.1]/train"])
  assert.equal(trained(`budget: ${small - 1}`).length, 0)
  assert.equal(trained(`budget: ${4 * small}, cost: m => bytes_of(m)`), ["found[dim: 4, lr: 0.1]/train"])
  assert.equal(trained("budget: 100M, cost: m => flops_of(m, words, context: 16)").length, 2)
})

test("what follows from the winner is checked before anything runs", () => {
  const checked = checkText(recipe("grid({ dim: [4, 8], lr: [0.1] })", "", "best = found.weights\nsmall = quantize best { format: q8_0, keep: [nowhere] }\nexpect perplexity(small, tokens.valid) > 0"))
  assert.match(shown(checked), /SLM2201.*nowhere/)
})

test("how large the winner is stays unknown until there is one", () => {
  const sized = (of: string): string => recipe("grid({ dim: [4, 8], lr: [0.1] })", "", `let numbers = parameters_of(Llama(vocab: words.size, dim: ${of}, depth: 1, heads: 2))\nexpect numbers > 0\nbest = found.weights\nexpect perplexity(best, tokens.valid) > 0`)
  const found = ["found.point.dim", "4"].map((of) => valueOf(sized(of), "numbers").kind)
  assert.equal(found, ["unknown", "int"])
})

test.run()
