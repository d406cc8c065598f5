/** Trainings that are stopped in the middle: what they yield in the end are the bits of one that was not. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { RunOptions } from "./run-state.ts"
import type { Event } from "./stages/events.ts"
import type { Files } from "./store/entry.ts"
import { openStore } from "./store/store.ts"
import type { Store } from "./store/store.ts"
import type { Ran, Workplace } from "./stages/testing.ts"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./stages/testing.ts"

const book = sentences(20)
const training = (more = "", batch = 4): string => recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny {
  data: tokens.train, objective: next_token, valid: tokens.valid, batch: ${batch} sequences, steps: 9
  optim: adamw(lr: cosine(peak: 3e-2, warmup: 2)) |> clip_norm(1.0), samples: ["the "] ${more}
}
`)

/** Runs until the training has done `step` steps. */
async function stopAt(step: number, place: Workplace, recipe: string, options: Partial<RunOptions> = {}): Promise<Ran> {
  const controller = new AbortController()
  return place.run(recipe, { signal: controller.signal, ...options, emit: (e) => { if (e.event === "progress" && e.step === step) controller.abort() } })
}

/** All files of the training's result. */
function resultOf(folder: string): Readonly<Record<string, string>> {
  const artifact = path.join(folder, "artifacts", "result")
  return Object.fromEntries(fs.readdirSync(artifact).sort().map((name) => [name, fs.readFileSync(path.join(artifact, name)).toString("hex")]))
}

/** What is said of a training, without what is measured with a clock. */
function saidBy(ran: Ran): readonly Event[] {
  return ran.events.filter((e) => ["progress", "sample", "trace", "warning"].includes(e.event)).map((e) => (e.event === "progress" ? { ...e, tokensPerSecond: 0, secondsLeft: 0 } : e))
}

const resumedAt = (ran: Ran): readonly number[] => ran.events.flatMap((e) => (e.event === "resumed" ? [e.step] : []))
const partials = (place: Workplace): readonly string[] => fs.readdirSync(path.join(place.folder, ".slm", "store")).filter((name) => name.endsWith(".partial")).map((name) => path.join(place.folder, ".slm", "store", name))

async function undisturbed(recipe: string, use: (whole: Ran) => Promise<void>): Promise<void> {
  await withFolder(async (place) => {
    place.write("book.txt", book)
    const whole = await place.run(recipe)
    assert.equal(problemsOf(whole), [])
    assert.equal(partials(place), [])
    await use(whole)
  })
}

test("a training that is interrupted at any step yields the bits, the numbers and the curve of one that is not", () => undisturbed(training(), async (whole) => {
  for (const step of [1, 4, 8]) {
    await withFolder(async (place) => {
      place.write("book.txt", book)
      assert.is((await stopAt(step, place, training())).status, "interrupted")
      const ran = await place.run(training())
      assert.is(ran.status, "done")
      assert.equal(resumedAt(ran), [step])
      assert.equal(resultOf(ran.out), resultOf(whole.out))
      assert.equal(factsOf(ran, "result"), factsOf(whole, "result"))
      assert.equal(saidBy(ran), saidBy(whole))
      assert.equal(partials(place), [])
    })
  }
}))

test("a training over micro-batches may be interrupted again and again", () => {
  const recipe = training(", accumulate: 2", 2)
  return undisturbed(recipe, (whole) => withFolder(async (place) => {
    place.write("book.txt", book)
    for (const step of [1, 2, 5, 6]) await stopAt(step, place, recipe)
    const ran = await place.run(recipe)
    assert.equal(resumedAt(ran), [6])
    assert.equal(resultOf(ran.out), resultOf(whole.out))
    assert.equal(saidBy(ran), saidBy(whole))
  }))
})

test("a damaged checkpoint is named, and the one before is used", () => undisturbed(training(), (whole) => withFolder(async (place) => {
  place.write("book.txt", book)
  await stopAt(6, place, training(), { checkpointSeconds: 0 })
  const [folder = ""] = partials(place)
  assert.equal(fs.readdirSync(folder), ["000000000005", "000000000006"])
  const file = path.join(folder, "000000000006", "states.safetensors")
  const bytes = fs.readFileSync(file)
  bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1
  fs.writeFileSync(file, bytes)
  const ran = await place.run(training())
  assert.equal(resumedAt(ran), [5])
  assert.ok(ran.events.some((e) => e.event === "warning" && e.message === `the checkpoint ${path.join(folder, "000000000006")} is damaged; the one before is used`))
  assert.equal(resultOf(ran.out), resultOf(whole.out))
})))

test("checkpoints are for the same training and no other", () => withFolder(async (place) => {
  place.write("book.txt", book)
  await stopAt(4, place, training())
  const other = await stopAt(2, place, training().replace("3e-2", "2e-2"))
  assert.equal(resumedAt(other), [])
  const fresh = await stopAt(3, place, training(), { fresh: true })
  assert.equal(resumedAt(fresh), [])
  assert.equal(resumedAt(await stopAt(5, place, training())), [3])
}))

test("a checkpoint of another build is gone on with, and said to be", () => withFolder(async (place) => {
  place.write("book.txt", book)
  const builds = (ran: Ran) => ran.events.flatMap((e) => (e.event === "resumed" ? [e.build] : []))
  await stopAt(4, place, training())
  assert.equal(builds(await stopAt(5, place, training())), [undefined])
  const store = openStore(path.join(place.folder, ".slm", "store"), assert.unreachable)
  const renamed = (files: Files): Files => new Map([...files, ["training.json", Buffer.from(Buffer.from(files.get("training.json") ?? []).toString().replace(/"compiler":"[0-9a-f]+"/, '"compiler":"0"'))]])
  const older: Store = { ...store, checkpoints(key, from) {
    const found = store.checkpoints(key, from)
    return { ...found, latest() { const last = found.latest(); return last === null ? null : { ...last, files: renamed(last.files) } } }
  } }
  assert.equal(builds(await place.run(training(), { store: older })), ["another"])
}))

test("a disk that takes no checkpoint does not stop the training", () => undisturbed(training(), (whole) => withFolder(async (place) => {
  place.write("book.txt", book)
  await stopAt(1, place, training())
  const [folder = ""] = partials(place)
  const [first = ""] = fs.readdirSync(folder)
  // What stands in the way of the next checkpoint is a file that is not empty, under its name.
  const ran = await place.run(training(), {
    checkpointSeconds: 0,
    emit: (e) => { if (e.event === "resumed") { fs.rmSync(folder, { recursive: true }); fs.writeFileSync(folder, first) } },
  })
  assert.is(ran.status, "done")
  const warnings = ran.events.flatMap((e) => (e.event === "warning" ? [e.message] : []))
  assert.is(warnings.length, 1)
  assert.match(warnings[0] ?? "", "the training goes on without a checkpoint")
  assert.equal(resultOf(ran.out), resultOf(whole.out))
})))

// ---------------------------------------------------------------- killed processes

/** Runs the folder's recipe in a process of its own, which is killed a little after it has said `lines` lines. */
function runUntilKilled(folder: string, lines: number, delay: number): Promise<{ readonly said: readonly string[]; readonly signal: string | null }> {
  const child = spawn(process.execPath, ["--import", "tsx", fileURLToPath(new URL("./resume.fixture.ts", import.meta.url)), folder], { stdio: ["ignore", "pipe", "inherit"] })
  const said: string[] = []
  createInterface({ input: child.stdout }).on("line", (line) => {
    said.push(line)
    if (said.length === lines) setTimeout(() => child.kill("SIGKILL"), delay)
  })
  return new Promise((resolve) => child.on("close", (_, signal) => resolve({ said, signal })))
}

test("a process that is killed at random moments leaves nothing that the next one stumbles over", () => undisturbed(training(), (whole) => withFolder(async (place) => {
  place.write("book.txt", book)
  place.write("recipe.slm", training())
  let before = 0
  for (let i = 0; i < 3; i++) {
    const { said, signal } = await runUntilKilled(place.folder, 2 + Math.floor(Math.random() * 3), Math.random() * 20)
    assert.is(signal, "SIGKILL", said.join("\n"))
    const resumed = Number(said.find((line) => line.startsWith("resumed"))?.split(" ")[1] ?? 0)
    assert.ok(resumed >= before, said.join("\n"))
    assert.not.ok(said.some((line) => line.startsWith("warning")), said.join("\n"))
    before = resumed
  }
  const { said } = await runUntilKilled(place.folder, Infinity, 0)
  assert.is(said.at(-1), "done")
  assert.equal(resultOf(path.join(place.folder, "out")), resultOf(whole.out))
  assert.equal(fs.readdirSync(path.join(place.folder, ".slm", "store")).filter((name) => !/^[0-9a-f]{16}$/.test(name) && !name.endsWith(".tmp")), [])
})))

test("two processes at once on one folder do the work once, and neither harms the other", () => undisturbed(training(), (whole) => withFolder(async (place) => {
  place.write("book.txt", book)
  place.write("recipe.slm", training())
  const both = await Promise.all([0, 1].map(() => runUntilKilled(place.folder, Infinity, 0)))
  assert.equal(both.map(({ said }) => said.at(-1)), ["done", "done"], both.map(({ said }) => said.join(", ")).join("; "))
  assert.equal(both.map(({ said }) => said.filter((line) => line.startsWith("progress")).length).sort(), [0, 9])
  assert.equal(resultOf(path.join(place.folder, "out")), resultOf(whole.out))
})))

test.run()
