/** Rows through recipes: functions of the recipe, parts, what a model writes, and what is refused. */
import * as fs from "node:fs"
import * as path from "node:path"
import { parquetWriteBuffer } from "hyparquet-writer"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Rows } from "../data/rows.ts"
import { expectData, memberOf } from "./artifact.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import type { StageRef } from "./events.ts"
import type { Ran } from "./testing.ts"
import { problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"

const questions = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
const jsonl = questions.map((q, i) => JSON.stringify({ question: `say ${q}`, answer: q, rationale: `it is ${q}, so ${q}`, n: i, kind: i % 2 === 0 ? "even" : "odd" })).join("\n")
const fields = '{ question: "string", answer: "string", rationale: "string", n: "int", kind: "class" }'

/** A run knows its stages by their keys. */
const dataOf = async (ran: Ran, stage: StageRef) => await ran.result(stage as Stage)

async function rowsNamed(ran: Ran, name: string): Promise<Rows> {
  const found = ran.stages.find(({ stage }) => stage.name === name)
  const data = found === undefined ? null : await dataOf(ran, found.stage)
  if (data === null) throw new Error(`no rows ${name} among ${ran.stages.map(({ stage }) => stage.name).join(", ")}`)
  return memberOf(expectData(data, "rows").members, null)
}

function texts(rows: Rows, name: string): readonly string[] {
  const column = rows.columns.get(name)
  if (column?.is !== "string") throw new Error(`no text ${name}`)
  return column.values
}

test("fields made of fields, of any type", () => withFolder(async (place) => {
  place.write("q.jsonl", jsonl)
  const ran = await place.run(`
rows = jsonl("q.jsonl", fields: ${fields})
shaped = rows |> each_row(row => { text: "{row.n}: {row.question} ({row.kind})", half: row.n / 2.0, twice: 2 * row.n, answer: if row.n == 0 then "none" else row.answer })
words = char(shaped)
expect words.size > 3
`)
  assert.equal(problemsOf(ran), [])
  const made = await rowsNamed(ran, "shaped")
  assert.is(texts(made, "text")[2], "2: say three (even)")
  assert.is(texts(made, "answer")[0], "none")
  const numbers = ["half", "twice"].map((name) => made.columns.get(name))
  assert.equal(numbers.map((c) => (c?.is === "int" || c?.is === "float" ? [c.is, c.values[3]] : null)), [["float", 1.5], ["int", 6]])
}))

test("a filter sees both text and row, and reasons are counted in order", () => withFolder(async (place) => {
  place.write("q.jsonl", jsonl)
  const ran = await place.run(`
some = jsonl("q.jsonl", fields: ${fields}) |> each_row(row => { text: row.question }) |> filter(drop: (text, row) => { first_ones: row.n < 2, long_ones: text.characters > 8, odd_ones: row.kind == "odd" })
words = char(some)
expect words.size > 3
`)
  assert.equal(problemsOf(ran), [])
  assert.equal(texts(await rowsNamed(ran, "some"), "text"), ["say five"])
  const found = ran.stages.find(({ stage }) => stage.name === "some")
  const data = found === undefined ? null : await dataOf(ran, found.stage)
  assert.equal(data?.is === "rows" ? data.reports.get("")?.drops.map(({ reason, count }) => `${reason}: ${count}`) : null, ["first ones: 2", "long ones: 3", "odd ones: 2"])
}))

test("a mistake that a function makes of one row is told with its place, and of private rows without", () => withFolder(async (place) => {
  place.write("q.jsonl", jsonl)
  const recipe = (more: string): string => `
rows = jsonl("q.jsonl", fields: ${fields}${more}) |> each_row(row => { text: ensure(row.question, row.n != 3, "three is too much: {row.question}") })
words = char(rows)
expect words.size > 3
`
  const ran = await place.run(recipe(""))
  assert.is(ran.status, "failed")
  const found = ran.diagnostics.find(({ code }) => code === "SLM2200")
  assert.match(found?.notes.join() ?? "", "q.jsonl:4")
  const secret = await place.run(recipe(", private: true"))
  assert.is(secret.status, "failed")
  assert.not.match(JSON.stringify(secret.diagnostics), /q\.jsonl:4|say four|too much/)
}))

const tiny = "Llama(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 48)"

test("two tasks of one set of rows, trained as a mixture and measured one by one; a teacher's rows are kept and used", () => withFolder(async (place) => {
  place.write("q.jsonl", jsonl)
  const recipe = `use std.tasks { answers, rationales, written_by }
${recipeOf(`
rows = jsonl("q.jsonl", fields: ${fields})
words = byte()
short = rows |> answers |> encode(words) |> pack(length: 32)
long = rows |> rationales |> encode(words) |> pack(length: 32)
model Tiny = ${tiny}
teacher = train Tiny { data: 50% * short + 50% * long, objective: next_token, batch: 4 sequences, optim: adamw(lr: 2e-2), steps: 30 }
written = rows |> each_row(row => { prompt: "[answer] {row.question}\\n" }) |> take(4)
own = written_by(teacher, written, count: 2, tokens: 12, seed: 3)
both = own |> instruct |> encode(words) |> pack(length: 32)
student = train Tiny { data: both, objective: next_token, batch: 4 sequences, optim: adamw(lr: 1e-2), steps: 2 }
expect perplexity(teacher, short) < 60
expect perplexity(teacher, long) < 60
expect perplexity(student, both) > 1
`)}`
  const ran = await place.run(recipe)
  assert.equal(problemsOf(ran), [])
  const made = ran.stages.find(({ stage }) => stage.kind === "write")
  const data = made === undefined ? null : await dataOf(ran, made.stage)
  if (data?.is !== "rows") throw new Error("nothing was written")
  const rows = memberOf(data.members, null)
  assert.is(rows.count, 8)
  assert.equal(texts(rows, "prompt").slice(0, 3), ["[answer] say one\n", "[answer] say one\n", "[answer] say two\n"])
  assert.ok(new Set(texts(rows, "answer")).size > 1)
  const again = await place.run(recipe.replace("steps: 2 }", "steps: 3 }"), { out: path.join(place.folder, "b") })
  assert.equal(problemsOf(again), [])
  const cached = again.events.flatMap((e) => (e.event === "stage-cached" ? [e.stage.kind] : []))
  assert.ok(cached.includes("write") && cached.includes("train"), cached.join())
  const second = again.stages.find(({ stage }) => stage.kind === "write")
  const kept = second === undefined ? null : await dataOf(again, second.stage)
  assert.equal(kept?.is === "rows" ? texts(memberOf(kept.members, null), "answer") : null, texts(rows, "answer"))
}))

test("Parquet through a recipe, parts that stay apart, and rows that none may see", () => withFolder(async (place) => {
  const lines = sentences(80).split("\n\n")
  fs.writeFileSync(path.join(place.folder, "a.parquet"), new Uint8Array(parquetWriteBuffer({ columnData: [{ name: "text", data: [...lines, ...lines.slice(0, 9).map((line) => `${line} Write to ada@example.org.`)], type: "STRING" }], codec: "SNAPPY" })))
  const ran = await place.run(`
rows = parquet("a.parquet", fields: { text: "string" }) |> redact(kinds: [email]) |> split(valid: 20%) |> distinct(threshold: 60%, size: 2)
words = char(rows.train)
expect words.size > 3
expect rows.train.rows < 80
expect rows.valid.rows > 3
`)
  assert.equal(problemsOf(ran), [])
  const found = ran.stages.find(({ stage }) => stage.name === "rows")
  const data = found === undefined ? null : await dataOf(ran, found.stage)
  if (data?.is !== "rows") throw new Error("no rows")
  assert.ok((data.reports.get("train")?.drops[0]?.count ?? 0) > 0)
  assert.not.match([...data.members.values()].flatMap((rows) => texts(rows, "text")).join(), "ada@")
  const missing = await place.run('rows = parquet("b.parquet", fields: { text: "string" })\nwords = char(rows)\nexpect words.size > 3\n')
  assert.match(problemsOf(missing).join(), "SLM3101")
  const small = await place.run('rows = parquet("a.parquet", fields: { text: "string" })\nwords = char(rows)\nexpect words.size > 3\n', { limits: { memory: 1000, params: 1e9 } })
  assert.match(problemsOf(small).join(), "SLM3601")
}))

test("a curriculum whose rows are all equally difficult is refused", () => withFolder(async (place) => {
  place.write("book.txt", "abababab".repeat(100))
  const ran = await place.run(recipeOf(`
words = byte()
tokens = text("book.txt") |> encode(words) |> pack(length: 8, documents: joined) |> take(20)
curriculum easy(data: Tokens) {
  difficulty: lengths(data)
  stage warm { until: 2 steps, mix: easiest(data, 50%) }
  stage full { mix: data }
}
model Tiny = ${tiny}
m = train Tiny { data: easy(tokens), objective: next_token, optim: sgd(lr: 0.1), steps: 4 }
expect perplexity(m, tokens) > 0
`))
  assert.match(problemsOf(ran).join(), "SLM3142 all 20 rows are equally difficult")
}))

test.run()
