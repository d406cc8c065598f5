/** Validations by task: losses of several sets, metrics, and what decides which weights are best. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"
import type { Ran } from "./testing.ts"

/** A mixture whose second half turns against what was learned of the first. */
const training = (fields: string, more = ""): string => recipeOf(`${bookTokens(8)}
digits = made(40, by: n => { text: "{n % 7} {n % 3} {n % 5}" }) |> split(valid: 20%, unused: allow)
counts = digits |> encode(words) |> pack(length: 8)
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
teacher = train Tiny { data: counts.train, objective: next_token, batch: 4 sequences, steps: 2, optim: adamw(lr: 1e-2) }
curriculum turned(a: Tokens, b: Tokens) {
  stage first { until: 6 steps, mix: a }
  stage second { mix: b }
}
result = train Tiny {
  data: turned(tokens.train, counts.train), objective: next_token, batch: 4 sequences, steps: 12, optim: adamw(lr: 3e-2)
  ${fields}
}
${more}`)

const sets = "valid: { prose: tokens.valid, numbers: counts.valid }"
const metrics = "metrics: { right: (out, batch) => average(argmax(out.logits) == batch.labels, batch.labels >= 0), apart: (out, batch) => kl(teacher(batch).logits, out.logits, labels: batch.labels) }"

async function ranWith<T>(recipe: string, use: (ran: Ran) => T): Promise<T> {
  return withFolder(async (place) => {
    place.write("book.txt", sentences(20))
    const ran = await place.run(recipe)
    assert.equal(problemsOf(ran), [])
    return use(ran)
  })
}

const told = (ran: Ran) => ran.events.flatMap((e) => (e.event === "progress" && e.stage.name === "result" && e.valid !== null ? [e] : []))
const near = (a: number | undefined, b: number | undefined, what: string): void => assert.ok(Math.abs((a ?? NaN) - (b ?? NaN)) < 1e-5, `${what}: ${a} and ${b}`)

test("each set and each metric is measured at every validation; the mean of the losses decides", async () => {
  const measured = `
a = evaluate(result, data: tokens.valid, objective: next_token)
b = evaluate(result, data: counts.valid, objective: next_token)
expect validated(result).prose.loss + validated(result).numbers.loss < 100
expect validated(result).numbers.right >= 0 and validated(result).prose.apart > 0`
  await ranWith(training(`${sets}\n  ${metrics}`, measured), (ran) => {
    const steps = told(ran)
    assert.is(steps.length, 12)
    for (const e of steps) {
      assert.equal(Object.keys(e.losses ?? {}), ["prose", "numbers"])
      assert.equal(Object.keys(e.metrics ?? {}), ["prose.right", "prose.apart", "numbers.right", "numbers.apart"])
      near(e.valid ?? NaN, ((e.losses?.["prose"] ?? NaN) + (e.losses?.["numbers"] ?? NaN)) / 2, "the mean")
    }
    const facts = factsOf(ran, "result")
    const best = steps.reduce((low, e) => ((e.valid ?? NaN) < (low.valid ?? NaN) ? e : low))
    assert.is(facts["best_step"], best.step)
    near(facts["valid.prose"], factsOf(ran, "a")["loss"], "the kept weights on prose")
    near(facts["valid.numbers"], factsOf(ran, "b")["loss"], "the kept weights on numbers")
    near(facts["valid.numbers.right"], factsOf(ran, "b")["accuracy"], "a metric is what `evaluate` makes of it")
    assert.equal(ran.events.flatMap((e) => (e.event === "expect" ? [e.holds] : [])), [true, true])
  })
})

test("`best` decides which weights are kept", async () => {
  const of = (best: string): Promise<Readonly<Record<string, number>>> => ranWith(training(`${sets}, best: ${best}`), (ran) => factsOf(ran, "result"))
  const [prose, numbers] = [await of("valid => valid.prose.loss"), await of("valid => 0.001 * valid.prose.loss + valid.numbers.loss")]
  assert.ok((prose["best_step"] ?? NaN) < (numbers["best_step"] ?? NaN), `${prose["best_step"]} and ${numbers["best_step"]}`)
  assert.ok((prose["valid.prose"] ?? NaN) < (numbers["valid.prose"] ?? NaN) && (prose["valid.numbers"] ?? NaN) > (numbers["valid.numbers"] ?? NaN))
  near(prose["valid"], ((prose["valid.prose"] ?? NaN) + (prose["valid.numbers"] ?? NaN)) / 2, "`valid` stays the mean of the losses")
})

test("one set has no name: its metrics stand alone", async () => {
  const facts = await ranWith(training("valid: tokens.valid, best: valid => 0 - valid.right\n  metrics: { right: (out, batch) => average(argmax(out.logits) == batch.labels, batch.labels >= 0) }", "expect validated(result).right <= 1 and validated(result).loss > 0"), (ran) => factsOf(ran, "result"))
  assert.equal(Object.keys(facts).sort(), ["best_step", "last_valid", "loss", "steps", "valid", "valid.right"])
})

test("a training that was stopped goes on with the same numbers", () => withFolder(async (place) => {
  const recipe = training(`${sets}\n  ${metrics}`)
  place.write("book.txt", sentences(20))
  const controller = new AbortController()
  const stopped = await place.run(recipe, { signal: controller.signal, emit: (e) => { if (e.event === "progress" && e.stage.name === "result" && e.step === 7) controller.abort() } })
  assert.is(stopped.status, "interrupted")
  const ran = await place.run(recipe)
  assert.equal(ran.events.flatMap((e) => (e.event === "resumed" ? [e.step] : [])), [7])
  const whole = await place.run(recipe, { fresh: true })
  assert.equal(factsOf(ran, "result"), factsOf(whole, "result"))
  assert.equal(told(ran).map(({ step, valid, losses, metrics: found }) => ({ step, valid, losses, found })), told(whole).map(({ step, valid, losses, metrics: found }) => ({ step, valid, losses, found })))
}))

test.run()
