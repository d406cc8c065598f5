/** The lock of a run: what it holds, what it refuses, and what a run leaves behind however it ends. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Device } from "./device.ts"
import { createReference } from "./devices/reference.ts"
import type { LockCode } from "./lock-codes.ts"
import { lockCodes } from "./lock-codes.ts"
import type { Lock } from "./lock.ts"
import { compareLock, compareResults, readLock, writeLock } from "./lock.ts"
import { readRecipe } from "./recipe.ts"
import type { RecordedRun, RunFolderOptions } from "./run-folder.ts"
import { runInFolder } from "./run-folder.ts"
import type { Workplace } from "./stages/testing.ts"
import { bookTokens, recipeOf, sentences, withFolder } from "./stages/testing.ts"
import { catalogue } from "./codes.ts"
import { readYaml } from "./yaml.ts"

const recipe = recipeOf(`param lr: float = 0.1
${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 2, seed: 3, optim: sgd(lr: lr) }
expect perplexity(result, tokens.valid) > 1
`)

async function runs(place: Workplace, text: string, options: Partial<RunFolderOptions> = {}): Promise<RecordedRun> {
  place.write("small.slm", text)
  const file = readRecipe(path.join(place.folder, "small.slm"))
  if ("message" in file) throw new Error(file.message)
  const ran = await runInFolder(file, { params: new Map(), device: createReference(), ...options })
  if ("message" in ran) throw new Error(`${ran.code} ${ran.message}`)
  return ran
}

const refusal = async (ran: Promise<RecordedRun>): Promise<readonly string[]> => (await ran).diagnostics.map(({ code, message }) => `${code} ${message}`)
const lockText = (place: Workplace): string => fs.readFileSync(path.join(place.folder, "small.lock"), "utf8")
const runYaml = (place: Workplace): Readonly<Record<string, unknown>> => readYaml(fs.readFileSync(path.join(place.folder, "runs", "small", "run.yaml"), "utf8")) as Readonly<Record<string, unknown>>

async function locked(use: (place: Workplace, lock: Lock) => Promise<void>): Promise<void> {
  await withFolder(async (place) => {
    place.write("book.txt", sentences(12))
    assert.is((await runs(place, recipe)).status, "done")
    const lock = readLock(lockText(place))
    if (lock === null) throw new Error("the lock is not read back")
    await use(place, lock)
  })
}

test("a run that ends well writes down what it depended on, the same text each time", () => locked(async (place, lock) => {
  const text = lockText(place)
  assert.is(writeLock(lock), text)
  assert.is(lock.inputs["book.txt"]?.bytes, fs.statSync(path.join(place.folder, "book.txt")).size)
  const train = lock.stages.find(({ kind }) => kind === "train")
  assert.is(train?.with["seed"], "3")
  assert.match(train?.with["optim"] ?? "", "sgd")
  assert.is(train?.with["model.vocab"], "words.size")
  assert.match(train?.result ?? "", /^[0-9a-f]{64}$/)
  assert.is(train?.facts["steps"], 2)
  assert.match(lock.stages.find(({ kind }) => kind === "byte")?.result ?? "", /^[0-9a-f]{64}$/)
  await runs(place, recipe)
  assert.is(lockText(place), text)
  await runs(place, recipe, { fresh: true })
  assert.is(lockText(place), text)
}))

test("comments, layout and names may change; a locked run leaves the lock as it is", () => locked(async (place) => {
  const before = lockText(place)
  const renamed = `// as before\n${recipe.replaceAll("result", "model_one").replaceAll("steps: 2", "steps:   2")}`
  const ran = await runs(place, renamed, { locked: true })
  assert.equal(ran.diagnostics, [])
  assert.is(ran.status, "done")
  assert.is(lockText(place), before)
}))

test("a locked run refuses with what differs, and runs nothing", () => locked(async (place, lock) => {
  const [meaning = "", ...others] = await refusal(runs(place, recipe.replace("steps: 2", "steps: 4").replace("dim: 8", "dim: 16"), { locked: true }))
  assert.match(meaning, /^SLM3405 `result`: `model.dim` was 8 and is 16; `model.hidden` was 32 and is 64; `steps` was 2 and is 4$/)
  assert.equal(others, [])
  assert.equal(await refusal(runs(place, recipe, { locked: true, params: new Map([["lr", "0.2"]]) })).then((all) => all.map((d) => d.slice(0, 7))), ["SLM3403", "SLM3405"])
  const changed = sentences(12).replace("whale", "while")
  place.write("book.txt", changed)
  const [input = "", ...more] = await refusal(runs(place, recipe, { locked: true }))
  assert.match(input, /^SLM3404 `book.txt` has other content \(sha256 [0-9a-f]{12}…, was [0-9a-f]{12}…\)$/)
  assert.equal(more, [])
  const ran = await runs(place, recipe, { locked: true })
  assert.is(ran.status, "failed")
  assert.equal(ran.stages, [])
  assert.is(readLock(lockText(place))?.inputs["book.txt"]?.sha256, lock.inputs["book.txt"]?.sha256)
}))

test("what is refused before it begins leaves the folder of the run before as it was", () => locked(async (place) => {
  const root = path.join(place.folder, "runs", "small")
  const contents = (): readonly string[] => fs.readdirSync(root, { recursive: true, encoding: "utf8" }).sort().map((name) => {
    const stat = fs.statSync(path.join(root, name))
    return `${name} ${stat.mtimeMs} ${stat.isFile() ? fs.readFileSync(path.join(root, name), "latin1") : ""}`
  })
  const before = contents()
  const other = recipe.replace("steps: 2", "steps: 4")
  const refused = [await runs(place, other, { locked: true }), await runs(place, other, { limits: { memory: 1e9, params: 10 } })]
  assert.equal(refused.map(({ status, recorded, diagnostics }) => [status, recorded, diagnostics.map(({ code }) => code)]), [["failed", false, ["SLM3405"]], ["failed", false, ["SLM3602"]]])
  assert.equal(contents(), before)
  const elsewhere = await runs(place, other, { locked: true, out: path.join(place.folder, "new") })
  assert.equal([elsewhere.recorded, fs.existsSync(path.join(place.folder, "new"))], [false, false], "nor is one made")
}))

test("a locked run whose results differ fails; in another numerics class, beyond tolerance", () => locked(async (place, lock) => {
  const other = (name: string): Device => ({ ...createReference(), info: { ...createReference().info, numericsClass: name } })
  const file = path.join(place.folder, "small.lock")
  const withLoss = (factor: number): Lock => ({ ...lock, stages: lock.stages.map((stage) => (stage.kind === "train" ? { ...stage, result: "0".repeat(64), facts: { ...stage.facts, loss: (stage.facts["loss"] ?? 0) * factor } } : stage)) })
  fs.writeFileSync(file, writeLock(withLoss(1)))
  assert.equal(await refusal(runs(place, recipe, { locked: true })), ["SLM3406 `result`: its files differ from those of the lock"])
  fs.writeFileSync(file, writeLock(withLoss(1.01)))
  assert.match((await refusal(runs(place, recipe, { locked: true }))).join(), /^SLM3406 `result`: `loss` was [\d.]+ and is [\d.]+$/)
  assert.equal(await refusal(runs(place, recipe, { locked: true, device: other("elsewhere") })), [])
  fs.writeFileSync(file, writeLock(withLoss(1.05)))
  assert.match((await refusal(runs(place, recipe, { locked: true, device: other("elsewhere") }))).join(), /^SLM3406/)
}))

test("without a lock, or with a damaged one, a locked run does not start", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const message = async (): Promise<string> => runs(place, recipe, { locked: true }).then(() => "it ran", (error: Error) => error.message)
  assert.match(await message(), "SLM3401")
  for (const text of ["", "version: 2", "version: 1", "a: *b", "version: 2\nslm: 1\n", "[".repeat(50)]) {
    place.write("small.lock", text)
    assert.match(await message(), "SLM3402")
  }
}))

test("each difference is named once, where it begins", () => locked(async (_, lock) => {
  const difference = (change: Partial<Lock>): readonly string[] => compareLock(lock, { ...lock, ...change }).map(({ code, message }) => `${code} ${message}`)
  assert.equal(difference({}), [])
  assert.equal(difference({ slm: "9" }), [`SLM3403 slm was ${lock.slm} and is 9`])
  assert.equal(difference({ compiler: "0".repeat(64) }), [`SLM3403 this slm ${lock.slm} is another build of the compiler (000000000000…, was ${lock.compiler.slice(0, 12)}…)`])
  assert.equal(difference({ library: "" }), ["SLM3403 the text of the library's modules is another one"])
  assert.equal(difference({ set: { lr: "1" } }), ["SLM3403 `--set lr` was not given and is 1"])
  const input = { bytes: 3, sha256: "s", package: "p 1.0.0" }
  assert.equal(difference({ inputs: { ...lock.inputs, "npm:p/a": input } }), ["SLM3404 `npm:p/a` is new"])
  assert.equal(difference({ inputs: {} }), ["SLM3404 `book.txt` is not read any more"])
  const packaged = { ...lock, inputs: { a: input } }
  assert.equal(compareLock(packaged, { ...lock, inputs: { a: { ...input, package: "p 2.0.0" } } }).map((d) => d.message), ["`a` comes from p 2.0.0 and came from p 1.0.0"])
  assert.equal(difference({ stages: lock.stages.slice(1) }), [`SLM3405 the stage \`${lock.stages[0]?.name}\` (text) is gone`])
  assert.equal(difference({ stages: lock.stages.map((s) => ({ ...s, key: `other ${s.key}` })) }), [`SLM3405 \`${lock.stages[0]?.name}\` has another meaning`])
  assert.equal(compareResults(lock, lock), [])
}))

test("every code of a lock has its page", () => {
  for (const code of Object.keys(lockCodes) as LockCode[]) assert.is(catalogue[code]?.title, lockCodes[code].title)
})

// ---------------------------------------------------------------- how a run ends

test("however a run ends, its record says so", () => withFolder(async (place) => {
  const end = async (text: string, options: Partial<RunFolderOptions> = {}): Promise<readonly [string, unknown, boolean]> => {
    const { status } = await runs(place, text, options)
    return [status, runYaml(place)["status"], fs.existsSync(path.join(place.folder, "small.lock"))]
  }
  assert.equal(await end(recipe), ["failed", "failed", false]) // there is no book.txt
  place.write("book.txt", sentences(12))
  assert.equal(await end(recipe.replace("> 1", "< 1")), ["failed", "failed", false])
  const failed = runYaml(place)["expects"] as readonly { readonly holds: boolean }[]
  assert.equal(failed.map(({ holds }) => holds), [false])
  const stopped = new AbortController()
  assert.equal(await end(recipe.replace("steps: 2", "steps: 3"), { signal: stopped.signal, emit: (e) => { if (e.event === "progress") stopped.abort() } }), ["interrupted", "interrupted", false])
  assert.equal(await end(recipe), ["done", "done", true])
  const report = fs.readFileSync(path.join(place.folder, "runs", "small", "report.html"), "utf8")
  assert.match(report, "small")
}))

test("a store that cannot be written is a mistake with a place, not a crash", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  place.write(".slm", "in the way")
  const ran = await runs(place, recipe)
  assert.is(ran.status, "failed")
  assert.equal(ran.diagnostics.map(({ code }) => code), ["SLM3105"])
  assert.is(runYaml(place)["status"], "failed")
}))

test.run()
