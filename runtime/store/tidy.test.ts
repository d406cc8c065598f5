import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { createReference } from "../devices/reference.ts"
import { keysOfRuns, listRuns } from "../past-runs.ts"
import { readRecipe } from "../recipe.ts"
import { runInFolder } from "../run-folder.ts"
import type { Workplace } from "../stages/testing.ts"
import { bookTokens, recipeOf, sentences, withFolder } from "../stages/testing.ts"
import { takeHold } from "./hold.ts"
import { openStore } from "./store.ts"
import { listStore, removeStored, untidy, unusedPrograms, type TidyOptions } from "./tidy.ts"

const recipe = (steps: number): string => recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: ${steps}, optim: sgd(lr: 0.1) }
`)

const tidyStore = (root: string, options: TidyOptions) => removeStored(untidy(root, options))

async function run(place: Workplace, steps: number, out: string): Promise<string> {
  place.write("small.slm", recipe(steps))
  const file = readRecipe(path.join(place.folder, "small.slm"))
  if ("message" in file) throw new Error(file.message)
  const ran = await runInFolder(file, { params: new Map(), device: createReference(), out: path.join(place.folder, "runs", out) })
  return "message" in ran ? ran.message : ran.status
}

test("what no run needs goes, and what one needs is found again", () => withFolder(async (place) => {
  const root = path.join(place.folder, ".slm", "store")
  place.write("book.txt", sentences(12))
  assert.equal(await Promise.all([run(place, 1, "one")]), ["done"])
  assert.is(await run(place, 2, "more/two"), "done")
  const runs = listRuns(place.folder)
  assert.equal(runs.map(({ folder, recipe: name, status }) => [path.basename(folder), name, status]), [["two", "small.slm", "done"], ["one", "small.slm", "done"]])
  assert.ok(runs.every(({ loss, bytes, seconds }) => loss !== null && loss > 1 && bytes > 1000 && seconds >= 0))
  const trainings = (): number => listStore(root).filter((stored) => stored.is === "entry" && stored.kind === "train").length
  assert.is(trainings(), 2)
  assert.equal(tidyStore(root, { wanted: keysOfRuns(place.folder), partials: false }), [])
  fs.rmSync(path.join(place.folder, "runs", "one"), { recursive: true })
  const removed = tidyStore(root, { wanted: keysOfRuns(place.folder), partials: false })
  assert.equal(removed.map((stored) => (stored.is === "entry" ? `${stored.kind} ${stored.name}` : stored.is)), ["train result"])
  assert.ok((removed[0]?.bytes ?? 0) > 1000)
  assert.is(trainings(), 1)
}))

test("rests of killed processes go; what is being written or worked on stays", () => withFolder(async (place) => {
  const root = path.join(place.folder, "store")
  const store = openStore(root, () => {})
  const [done, open, work] = ["a", "b", "c"].map((letter) => letter.repeat(64)) as [string, string, string]
  const files = new Map([["a", Uint8Array.of(1)]])
  store.put(done, { kind: "train", name: "done", facts: {} }, files)
  for (const key of [done, open, work]) store.checkpoints(key).save({ step: 1, files })
  const hold = await takeHold(`${store.folder(work)}.lock`, null, () => {})
  fs.writeFileSync(`${store.folder(open)}.lock`, JSON.stringify({ token: "t", host: "elsewhere", pid: 1, born: null }))
  fs.utimesSync(`${store.folder(open)}.lock`, 0, 0)
  for (const name of [".young.0123456789ab.tmp", ".old.0123456789ab.tmp"]) fs.mkdirSync(path.join(root, name))
  fs.utimesSync(path.join(root, ".old.0123456789ab.tmp"), 0, 0)
  fs.mkdirSync(path.join(root, "d".repeat(16)))
  const names = (removed: ReturnType<typeof tidyStore>): readonly string[] => removed.map(({ file }) => path.basename(file))
  const [a, b, c, d] = ["a", "b", "c", "d"].map((letter) => letter.repeat(16))
  assert.equal(names(tidyStore(root, { wanted: new Set([done]), partials: false })), [".old.0123456789ab.tmp", `${a}.partial`, `${b}.lock`, d])
  assert.equal(names(tidyStore(root, { wanted: new Set(), partials: true })), [a, `${b}.partial`])
  assert.equal(fs.readdirSync(root).sort(), [".young.0123456789ab.tmp", `${c}.lock`, `${c}.partial`])
  hold?.release()
}))

test("there may be no store and no runs", () => withFolder(async (place) => {
  assert.equal(listStore(path.join(place.folder, "store")), [])
  assert.equal(listRuns(place.folder), [])
  assert.is(keysOfRuns(place.folder).size, 0)
}))

test("compiled programs go a month after their last use, what killed compilations left after an hour", () => withFolder(async ({ folder }) => {
  await Promise.resolve()
  const now = Date.now()
  const days = (n: number): Date => new Date(now - n * 86_400_000)
  for (const [name, age] of [["old.so", 31], ["used.so", 29]] as const) {
    fs.writeFileSync(path.join(folder, name), "object")
    fs.utimesSync(path.join(folder, name), days(age), days(age))
  }
  for (const [name, age] of [["build-killed", 0.1], ["build-working", 0.01]] as const) {
    fs.mkdirSync(path.join(folder, name))
    fs.utimesSync(path.join(folder, name), days(age), days(age))
  }
  assert.equal(unusedPrograms(folder, now).map(({ is, file }) => [is, path.basename(file)]), [["rest", "build-killed"], ["program", "old.so"]])
  assert.equal(unusedPrograms(path.join(folder, "none")), [])
}))

test.run()
