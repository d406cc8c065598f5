/** What a plan says of each stage after a run, and runs that are held to a plan. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Device } from "./device.ts"
import { createReference } from "./devices/reference.ts"
import { moduleReader } from "./library.ts"
import { lockOf } from "./lock-of-run.ts"
import { writePlan } from "./lock.ts"
import { planRecipe } from "./plan.ts"
import { readRecipe, type RecipeFile } from "./recipe.ts"
import { lastLock, runInFolder, storeOf, type RecordedRun, type RunFolderOptions } from "./run-folder.ts"
import { check } from "../compiler/check/check.ts"
import { createArtifactKeys } from "./stages/keys.ts"
import { bookTokens, recipeOf, sentences, withFolder, type Workplace } from "./stages/testing.ts"

const recipe = recipeOf(`param lr: float = 3e-3
${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 2, optim: adamw(lr: cosine(peak: lr)) }
other = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 1, seed: 1, optim: sgd(lr: 0.1) }
pocket = quantize result { format: int8 }
expect perplexity(pocket, tokens.valid) > 1
expect perplexity(other, tokens.valid) > 1
`)

function recipeIn(place: Workplace, text: string): RecipeFile {
  place.write("small.slm", text)
  const file = readRecipe(path.join(place.folder, "small.slm"))
  if ("message" in file) throw new Error(file.message)
  return file
}

const referenceInfo: Device["info"] = createReference().info

function planned(place: Workplace, text: string, { params = new Map<string, string>(), info = referenceInfo, numericsClass = referenceInfo.numericsClass } = {}) {
  const file = recipeIn(place, text)
  const environment = { modules: moduleReader(place.folder), params, facts: new Map<string, number>() }
  const where = { folder: place.folder, allowRead: [] }
  const finished = { store: storeOf(place.folder, () => {}), keys: createArtifactKeys(where, { numericsClass }), device: { info } }
  const lock = lastLock(file)
  const plan = planRecipe(file.source, environment, check(file.source, environment), finished, where, lock === null ? null : { lock, numericsClass })
  if (plan === null) throw new Error("the recipe is wrong")
  const text_ = writePlan(lockOf({ checked: plan.checked, params, numericsClass, keys: finished.keys, yields: new Map() }))
  return { problems: plan.problems.map(({ code, message }) => `${code} ${message}`), states: Object.fromEntries(plan.stages.map(({ stage, state, why }) => [stage.name, [state, ...why].join("; ")])), text: text_ }
}

async function runs(place: Workplace, text: string, options: Partial<RunFolderOptions> = {}): Promise<RecordedRun> {
  const ran = await runInFolder(recipeIn(place, text), { params: new Map(), device: createReference(), ...options })
  if ("message" in ran) throw new Error(`${ran.code} ${ran.message}`)
  return ran
}

test("a plan says what is done, what is new, and what changed and why", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  assert.equal([...new Set(Object.values(planned(place, recipe).states))], ["new"])
  assert.is((await runs(place, recipe)).status, "done")
  assert.equal([...new Set(Object.values(planned(place, recipe).states))], ["cached"])

  const set = planned(place, recipe, { params: new Map([["lr", "1e-3"]]) }).states
  assert.equal([set["result"], set["pocket"], set["other"], set["tokens"]], ["changed; optim.lr.peak 0.003 -> 0.001", "changed; follows from `result`", "cached", "cached"])
  const more = planned(place, recipe.replace("dim: 8,", "dim: 16,").replace("seed: 1,", "").replace("pocket = ", "small = ").replaceAll("(pocket", "(small")).states
  assert.is(more["result"], "changed; model.dim 8 -> 16; model.hidden 32 -> 64")
  assert.is(more["other"], "changed; model.dim 8 -> 16; model.hidden 32 -> 64; seed 1 -> 0")
  assert.is(more["small"], "new")
  assert.is(planned(place, recipe, { numericsClass: "elsewhere" }).states["result"], "changed; arithmetic reference/f32/1 -> elsewhere")

  fs.rmSync(path.join(place.folder, ".slm", "store"), { recursive: true })
  assert.is(planned(place, recipe).states["result"], "new; its result is not in the store any more")
  place.write("book.txt", sentences(12).replace("whale", "while"))
  const read = planned(place, recipe).states
  assert.match(read["book/text"] ?? "", /^changed; `book\.txt` has other content/)
  assert.is(read["result"], "changed; follows from `tokens`")
}))

test("a `precision` that the device does not have is refused in the plan of its stage alone", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const half = recipe.replace("steps: 1, seed: 1", "steps: 1, seed: 1, precision: f16")
  const { f16Class, ...without } = referenceInfo
  assert.is(typeof f16Class, "string")
  const why = (info: Device["info"]) => planned(place, half, { info }).problems
  assert.equal(why(referenceInfo), [])
  assert.equal(why({ ...without, name: "cpu" }), ["SLM3506 `other` has `precision: f16`, and the device cpu has no products of f16"])
  assert.equal(why({ ...without, name: "webgpu", detail: "SwiftShader, vulkan" }), ["SLM3506 `other` has `precision: f16`, and the device webgpu has no products of f16: its adapter does not offer `shader-f16` (SwiftShader, vulkan)"])
  assert.equal(planned(place, recipe, { info: without }).problems, [])
}))

test("a run is held to a saved plan: text, inputs, settings and device", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const plan = path.join(place.folder, "small.plan")
  fs.writeFileSync(plan, planned(place, recipe).text)
  const refused = async (text: string, options: Partial<RunFolderOptions> = {}): Promise<readonly string[]> => (await runs(place, text, { plan, ...options })).diagnostics.map(({ code, message }) => `${code} ${message}`)
  assert.equal(await refused(recipe.replace("steps: 2", "steps: 3")), ["SLM3405 `result`: `steps` was 2 and is 3"])
  assert.not.ok(fs.existsSync(path.join(place.folder, ".slm", "store")))
  assert.equal(await refused(recipe, { params: new Map([["lr", "1e-3"]]) }), ["SLM3403 `--set lr` was not given and is 1e-3", "SLM3405 `result`: `optim.lr.peak` was 0.003 and is 0.001"])
  const other: Device = { ...createReference(), info: { ...createReference().info, numericsClass: "elsewhere" } }
  assert.match((await refused(recipe, { device: other })).join(), /^SLM3403 the plan is for a device that computes as reference/)
  assert.is((await runs(place, recipe, { plan })).status, "done")
  place.write("book.txt", sentences(13))
  assert.match((await refused(recipe)).join(), /^SLM3404 `book\.txt` has \d+ bytes and had \d+$/)
  // What is refused leaves the record of the run before.
  assert.ok(fs.readFileSync(path.join(place.folder, "runs", "small", "recipe.json"), "utf8").includes('"folder": "artifacts/result"'))
  fs.writeFileSync(plan, "not: a plan")
  const message = await runs(place, recipe, { plan }).then(() => "it ran", (error: Error) => error.message)
  assert.match(message, /^SLM3402 .*small\.plan is not a plan/)
}))

test("a private input is one entry of the lock, without the names of its files", () => withFolder(async (place) => {
  fs.mkdirSync(path.join(place.folder, "cases"))
  for (const name of ["smith", "jones"]) place.write(path.join("cases", `${name}.txt`), sentences(8))
  const text = recipe.replace('text("book.txt")', 'text("cases/*.txt", private: true)').replace("split(", "clean(dedup: off) |> split(")
  const ran = await runs(place, text)
  assert.is(ran.status, "done", ran.diagnostics.map(({ message }) => message).join())
  assert.equal(Object.keys(ran.lock?.inputs ?? {}), ["cases/*.txt"])
  assert.is(ran.lock?.inputs["cases/*.txt"]?.files, 2)
  const written = [path.join(place.folder, "small.lock"), path.join(ran.out, "recipe.json")].map((file) => fs.readFileSync(file, "utf8")).join()
  assert.not.match(written, /smith|jones/)
  place.write(path.join("cases", "smith.txt"), sentences(9))
  assert.match((await runs(place, text, { locked: true })).diagnostics.map(({ message }) => message).join(), /^`cases\/\*\.txt` has \d+ bytes and had \d+$/)
}))

test.run()
