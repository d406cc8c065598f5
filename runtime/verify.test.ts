/** Runs that are executed again: what agrees, and what is said where something does not. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Device } from "./device.ts"
import { createReference } from "./devices/reference.ts"
import { diff, expectsOf, type Side } from "./diff.ts"
import { drawTwo, readCurves } from "./curves.ts"
import { faulty } from "./faulty.fixture.ts"
import { openPastRun, type PastRun } from "./past-run.ts"
import { readRecipe } from "./recipe.ts"
import { runInFolder } from "./run-folder.ts"
import { bookTokens, recipeOf, sentences, withFolder, type Workplace } from "./stages/testing.ts"
import { shownPath } from "./system-error.ts"
import { verify, type Verified, type VerifyOptions } from "./verify.ts"

const recipe = recipeOf(`param rate: float = 0.1
${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 6, optim: sgd(lr: rate) }
more = train result { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 3, optim: sgd(lr: 0.1) }
pocket = quantize more { format: int8 }
expect perplexity(pocket, tokens.valid) > 1
export more { safetensors: "more" }
`)

async function runs(place: Workplace, text = recipe, out = "small"): Promise<string> {
  place.write("small.slm", text)
  const file = readRecipe(path.join(place.folder, "small.slm"))
  if ("message" in file) throw new Error(file.message)
  const ran = await runInFolder(file, { params: new Map(), device: createReference(), out: path.join(place.folder, "runs", out) })
  if ("message" in ran) throw new Error(`${ran.code} ${ran.message}`)
  assert.is(ran.status, "done", ran.diagnostics.map(({ message }) => message).join())
  return ran.out
}

function past(folder: string): PastRun {
  const found = openPastRun(folder)
  if ("message" in found) throw new Error(found.message)
  return found
}

function verified(folder: string, options: Partial<Omit<VerifyOptions, "stage">> & { readonly stage?: string } = {}): Promise<Verified> {
  const run = past(folder)
  const stage = run.checked.recipe?.stages.find(({ name }) => name === options.stage) ?? null
  return verify(run, { device: createReference(), steps: null, allowRead: [], signal: null, emit: () => {}, ...options, stage })
}

const wrong = ({ verdicts, diagnostics }: Verified): readonly string[] => [...verdicts.flatMap(({ message }) => message ?? []), ...diagnostics.filter(({ code }) => code !== "SLM3406").map(({ code, message }) => `${code} ${message}`)]

async function withRun(use: (folder: string, place: Workplace) => Promise<void>): Promise<void> {
  await withFolder(async (place) => {
    place.write("book.txt", sentences(12))
    await use(await runs(place), place)
  })
}

test("a run that is executed again yields the same bits, exports included, and nothing is changed by asking", () => withRun(async (folder, place) => {
  const before = fs.readdirSync(place.folder, { recursive: true }).sort()
  const whole = await verified(folder)
  assert.equal([whole.status, whole.exact, wrong(whole)], ["equal", true, []])
  assert.equal(whole.verdicts.flatMap(({ stage, steps }) => (steps === null ? [] : [[stage, steps]])), [["result", 6], ["more", 3]])
  assert.ok(whole.verdicts.some(({ stage }) => stage === path.join("more", "model.safetensors")))
  assert.equal(fs.readdirSync(place.folder, { recursive: true }).sort(), before)
  // What the recipe says by now does not matter: the run has its text.
  place.write("small.slm", "let nothing = 1")
  const some = await verified(folder, { steps: 2 })
  assert.equal(some.verdicts.map(({ stage, steps, equal }) => [stage, steps, equal]), [["result", 2, true], ["more", 2, true]])
  const one = await verified(folder, { stage: "pocket" })
  assert.equal(one.verdicts.map(({ stage, equal }) => [stage, equal]), [["pocket", true]])
}))

test("the first step and the first tensor that differ are named, from the stage on that is at fault", () => withRun(async (folder) => {
  const device = (): Device => faulty("result", 3, "model.head.weight", 1.5)
  const whole = await verified(folder, { device: device() })
  assert.is(whole.status, "different")
  assert.match(wrong(whole)[0] ?? "", /^`result`: step 4 is the first whose loss or gradient differs, after step 3 `model\.head\.weight` differs first; after step 2 all weights and states were equal$/)
  assert.equal(whole.verdicts.filter(({ equal, kind }) => !equal && kind !== "export").map(({ stage }) => stage), ["result", "more", "pocket", "evaluate pocket"])
  assert.match(whole.verdicts.find(({ stage }) => stage === "pocket")?.message ?? "", /^`pocket`: the tensor `.+` differs first, with \d+ others$/)
  // One stage alone begins from what the run has.
  assert.is((await verified(folder, { device: device(), stage: "more" })).status, "equal")
  assert.is((await verified(folder, { device: device(), steps: 2 })).status, "equal")
  assert.equal((await verified(folder, { device: device(), steps: 4 })).verdicts.map(({ equal }) => equal), [false, true])
}))

test("in another numerics class losses are compared within tolerance, and bits are not", () => withRun(async (folder) => {
  const near = await verified(folder, { device: faulty("result", 3, "model.head.weight", 1.0001, "elsewhere") })
  assert.equal([near.status, near.exact, wrong(near)], ["equal", false, []])
  const far = await verified(folder, { device: faulty("result", 3, "model.head.weight", 40, "elsewhere") })
  assert.is(far.status, "different")
  assert.match(wrong(far)[0] ?? "", /^`result`: `loss` was [\d.]+ and is [\d.]+$/)
}))

test("inputs that changed and copies that were damaged are refused before anything is executed", () => withRun(async (folder, place) => {
  const file = path.join(folder, "artifacts", "result", "weights.safetensors")
  const bytes = fs.readFileSync(file)
  bytes[bytes.length - 3] = (bytes.at(-3) ?? 0) ^ 4
  fs.writeFileSync(file, bytes)
  place.write("book.txt", sentences(13))
  const refused = await verified(folder)
  assert.is(refused.status, "refused")
  assert.equal(wrong(refused).map((text) => text.replace(/\d+/g, "N")), ["SLMN `book.txt` has N bytes and had N", `SLMN the files in ${shownPath(path.dirname(file)).replace(/\d+/g, "N")} are not those that the run made`])
}))

// ---------------------------------------------------------------- two runs beside each other

function sideOf(folder: string): Side {
  const run = past(folder)
  return { name: path.basename(folder), lock: run.snapshot.lock, expects: expectsOf(run.checked), curves: readCurves(folder) }
}

test("two runs are compared by what they mean, what came out and where their losses part", () => withRun(async (folder, place) => {
  const none = diff(sideOf(folder), sideOf(folder))
  assert.equal([none.same, none.stages, none.results, none.curves.map(({ parts }) => parts)], [true, [], [], [null, null]])
  const renamed = await runs(place, recipe.replaceAll("pocket", "small").replace("//", ""), "renamed")
  const same = diff(sideOf(folder), sideOf(renamed))
  assert.equal([same.same, same.stages.flatMap((stage) => (stage.is === "renamed" ? [`${stage.before} ${stage.name}`] : [stage.is]))], [true, ["pocket small", "evaluate pocket evaluate small"]])
  place.write("book.txt", sentences(14))
  const other = await runs(place, recipe.replace("rate: float = 0.1", "rate: float = 0.2").replaceAll("more", "further").replace("> 1\n", "> 1.5\n"), "other")
  const found = diff(sideOf(folder), sideOf(other))
  assert.is(found.same, false)
  assert.equal(found.around.map((text) => text.replace(/\d+ bytes and had \d+/, "N")), ["`book.txt` has N", "expect perplexity(pocket, tokens.valid) > 1: removed", "expect perplexity(pocket, tokens.valid) > 1.5: added"])
  const changed = found.stages.flatMap((stage) => (stage.is === "changed" ? [[stage.before, stage.name, stage.fields.map(({ field, was, is }) => `${field} ${was} -> ${is}`).join(), stage.follows.join()]] : [stage.is]))
  assert.equal(changed.slice(0, 3), [["result", "result", "optim.lr 0.1 -> 0.2", ""], ["more", "further", "", "result"], ["pocket", "pocket", "", "further"]])
  const [curve] = found.curves
  assert.equal([curve?.stage, curve?.parts], ["result", 1])
  const drawn = drawTwo(curve?.a ?? [], curve?.b ?? [], 30, 6)
  assert.is(drawn.length, 8)
  assert.match(drawn.join("\n"), /×[^]*•|•[^]*×/)
  assert.ok(found.results.some(({ stage, fact, was, is }) => stage === "result" && fact === "loss" && was !== null && is !== null && was !== is))
}))

test.run()
