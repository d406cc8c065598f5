/** Private inputs: nothing shows what they hold, and all that was made from them can be deleted. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../compiler/check/check.ts"
import { isOf } from "./bundle.ts"
import { moduleReader } from "./library.ts"
import { matchesPath } from "./data/glob.ts"
import { createReference } from "./devices/reference.ts"
import { derivedFrom, forgetDerived } from "./forget.ts"
import { readRecipe } from "./recipe.ts"
import { runInFolder, type RecordedRun } from "./run-folder.ts"
import type { Event } from "./stages/events.ts"
import { recipeOf, sentences, withFolder, type Workplace } from "./stages/testing.ts"

/** Two inputs, one of them private; a model of each. */
const recipe = (secret = "cases/*.txt", hidden = ", private: true"): string => recipeOf(`
book = text("book.txt") |> documents(by: paragraph)
cases = text("${secret}"${hidden}) |> documents(by: paragraph) |> split(valid: 20%, unused: allow)
words = byte()
prose = book |> encode(words) |> pack(length: 8)
tokens = cases |> encode(words) |> pack(length: 8)
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
plain = train Tiny { data: prose, objective: next_token, batch: 2 sequences, steps: 2, optim: sgd(lr: 0.1), samples: ["the "] }
secret = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 2, optim: sgd(lr: 0.1), samples: ["Zanzibar "] }
talk = generate secret { prompts: ["Zanzibar"], tokens: 4 }
open = generate plain { prompts: ["the"], tokens: 4 }
export secret { safetensors: "shared" }
export plain { safetensors: "plain" }
`)

async function runs(place: Workplace, text: string, name = "small"): Promise<{ readonly ran: RecordedRun; readonly events: readonly Event[] }> {
  place.write(`${name}.slm`, text)
  const [file, events] = [readRecipe(path.join(place.folder, `${name}.slm`)), [] as Event[]]
  if ("message" in file) throw new Error(file.message)
  const ran = await runInFolder(file, { params: new Map(), device: createReference(), emit: (event) => events.push(event) })
  if ("message" in ran) throw new Error(`${ran.code} ${ran.message}`)
  return { ran, events }
}

function prepare(place: Workplace): void {
  place.write("book.txt", sentences(12))
  fs.mkdirSync(path.join(place.folder, "cases"))
  for (const name of ["smith", "jones"]) place.write(path.join("cases", `${name}.txt`), sentences(12).replaceAll("whale", "Zanzibar"))
}

test("what a private input holds, and what was learned from it, is nowhere in logs, reports and samples", () => withFolder(async (place) => {
  prepare(place)
  const { ran, events } = await runs(place, recipe())
  assert.is(ran.status, "done", ran.diagnostics.map(({ message }) => message).join())
  for (const name of ["events.jsonl", "run.yaml", "report.html"]) {
    const text = fs.readFileSync(path.join(ran.out, name), "utf8")
    assert.not.match(text, /Zanzibar|smith|jones/, name)
  }
  assert.equal(new Set(events.flatMap((e) => (e.event === "sample" ? [e.stage.name] : []))), new Set(["plain", "open"]))
  assert.ok(events.some((e) => e.event === "warning" && e.message === "`secret` learns from private data: its `samples` are not written into the log"))
  // The result of `generate` is asked for, and kept like a weight.
  assert.match(fs.readFileSync(path.join(ran.out, "artifacts", "talk", "samples.json"), "utf8"), "Zanzibar")
  // Also where it comes from the store.
  assert.equal((await runs(place, recipe())).events.filter((e) => e.event === "sample" && e.stage.name === "talk"), [])
  // Marking an input changes no meaning: nothing runs again but exports.
  const open = await runs(place, recipe("cases/*.txt", ""))
  assert.equal(open.events.flatMap((e) => (e.event === "stage-finished" ? [e.stage.kind] : [])), ["export", "export"])
}))

test("a lock from before an input was private is not carried in a bundle", () => withFolder(async (place) => {
  prepare(place)
  const checkedIn = (text: string) => check({ id: "small.slm", text }, { modules: moduleReader(place.folder), params: new Map(), facts: new Map() })
  const bare = (hidden: string): string => recipeOf(`book = text("cases/*.txt"${hidden}) |> documents(by: paragraph)\nwords = char(book)\nexpect words.size > 3\n`)
  const before = (await runs(place, bare(""))).ran.lock
  const after = (await runs(place, bare(", private: true"))).ran.lock
  if (before === null || after === null) throw new Error("there is no lock")
  assert.equal([before, after].map((lock) => isOf(lock, checkedIn(bare("")))), [true, true])
  assert.equal([before, after].map((lock) => isOf(lock, checkedIn(bare(", private: true")))), [false, true])
}))

test("of equal readings one that is private makes both so", () => withFolder(async (place) => {
  prepare(place)
  const { events } = await runs(place, recipe("book.txt"))
  assert.equal(events.filter((e) => e.event === "sample"), [])
}))

test("a mistake in a private row is told by its place, without its text", () => withFolder(async (place) => {
  place.write("rows.csv", "text,age\nZanzibar,4\nZanzibar,Zanzibar\n")
  const text = (more: string): string => recipeOf(`rows = csv("rows.csv", fields: { text: "string", age: "int" }${more})\nwords = char(rows)\nexpect words.size > 3\n`)
  const said = async (more: string): Promise<string> => JSON.stringify((await runs(place, text(more))).ran.diagnostics)
  assert.match(await said(""), /Zanzibar/)
  const hidden = await said(", private: true")
  assert.not.match(hidden, /Zanzibar/)
  assert.match(hidden, /in rows\.csv, line 3, column 10; its text is private/)
}))

test("everything that was made from an input is deleted, named, and nothing else", () => withFolder(async (place) => {
  prepare(place)
  await runs(place, recipe())
  fs.writeFileSync(path.join(place.folder, "runs", "small", "mine.txt"), "a note of the user's")
  const store = path.join(place.folder, ".slm", "store")
  const derived = derivedFrom(place.folder, path.join(place.folder, "cases", "smith.txt"))
  const named = derived.stored.map((one) => (one.is === "entry" ? one.name : one.is)).sort()
  assert.equal(named, ["cases", "cases/documents", "cases/text", "secret", "talk", "tokens", "tokens/encode"])
  assert.equal([derived.runs.map(({ folder }) => path.basename(folder)), derived.locks.map((file) => path.basename(file)), derived.atWork], [["small"], ["small.lock"], []])
  for (const given of ["cases/*.txt", path.join(place.folder, "cases")]) assert.is(derivedFrom(place.folder, given).stored.length, 7, given)
  assert.equal(derivedFrom(place.folder, path.join(place.folder, "case")).stored, [])
  assert.equal(derivedFrom(place.folder, "cases/other.csv").known, ["book.txt", "cases/*.txt"])
  const before = fs.readdirSync(store).length
  forgetDerived(place.folder, derived)
  assert.is(fs.readdirSync(store).length, before - 7)
  assert.equal(fs.readdirSync(path.join(place.folder, "runs", "small")), ["mine.txt"])
  assert.ok(fs.existsSync(path.join(place.folder, "cases", "smith.txt")))
  assert.equal(derivedFrom(place.folder, "cases/*.txt").stored, [])
  // The other model is still there.
  const again = await runs(place, recipe())
  assert.equal(again.events.flatMap((e) => (e.event === "stage-cached" && e.stage.kind === "train" ? [e.stage.name] : [])), ["plain"])
}))

test("a pattern stands for paths whether or not they are there", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["/a/*.txt", "/a/b.txt", true], ["/a/*.txt", "/a/b/c.txt", false], ["/a/**/*.txt", "/a/b/c.txt", true], ["/a/**/*.txt", "/a/c.txt", true], ["/a/**", "/a/b/c", true], ["/a/**", "/a", false], ["/a/?.txt", "/a/bc.txt", false],
  ]
  for (const [pattern, file, expected] of cases) assert.is(matchesPath(pattern, file), expected, `${pattern} ${file}`)
})

test.run()
