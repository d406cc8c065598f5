/** Models that read one text and write another, against the whole forward pass and through recipes. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { initialValues } from "../../compiler/graph/lower/initial.ts"
import { lowerAnswers, lowerForward, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import { reachable } from "../../compiler/graph/walk.ts"
import { byteTokenizer } from "../data/tokenizers.ts"
import type { Device, HostTensor } from "../device.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { createReference } from "../devices/reference.ts"
import { ids, taken, writeStates } from "./feeds.ts"
import { nextToken } from "./sample.ts"
import { checkedWith, problemsOf, specNamed, withFolder } from "./testing.ts"
import { f32 } from "./weights-io.ts"
import { createWriter } from "./writer.ts"

const device = createReference()
const span = { source: "recipe.slm", start: 0, end: 0 }
const made = byteTokenizer()
if (!made.ok) throw new Error("no tokenizer of bytes")
const words = made.value
// Few buckets and a short reach, so that places far from each other differ from near ones in a few tokens.
const checked = checkedWith("use std.seq2seq { T5 }\nwords = byte()\nmodel M = T5(vocab: words.size, dim: 16, depth: 2, heads: 2, hidden: 24, buckets: 8, furthest: 6, dropout: 0.2)")
const spec = specNamed(checked, "M")
const weights = new Map(weightsOfSpec(checked.session, spec).map((w): [string, HostTensor] => [w.name, f32(w.shape, initialValues(w.info.init.how === "normal" ? { ...w.info.init, a: 0.4 } : w.info.init, w.shape, w.path, 5))]))
const greedy = { temperature: 0, topK: null, topP: null, seed: 0 }

/** The likeliest answer, by the whole forward pass for every token. */
async function slowly(text: string, n: number): Promise<string> {
  const read = [...words.encode(text), words.endOfText]
  const answer = [words.endOfText]
  const grid = (values: readonly number[]): HostTensor => ids([1, values.length], values)
  while (answer.length <= n) {
    const program = lowerForward(checked.session, spec, { rows: 1, length: answer.length, vocab: words.size, read: read.length }, span)
    if ("code" in program) throw new Error(program.message)
    const runner = await device.load(program)
    await writeStates(runner, program, weights)
    const out = await runner.step(taken(program, {
      "tokens": grid(answer), "positions": grid(answer.map((_, i) => i)), "segments": grid(answer.map(() => 0)),
      "read.tokens": grid(read), "read.positions": grid(read.map((_, i) => i)), "read.segments": grid(read.map(() => 0)),
    }))
    const id = nextToken((out["logits"]?.data as Float32Array).slice(-words.size), greedy, 0, answer.length)
    if (id === words.endOfText) break
    answer.push(id)
  }
  return words.decode(answer.slice(1))
}

async function quickly(texts: readonly string[], n: number, on: Device = device): Promise<readonly string[]> {
  const writer = createWriter(checked.session, { spec, tokenizer: words, frame: null, numbers: { factors: "f32", kept: null } }, span)
  if ("code" in writer) throw new Error(writer.message)
  const given = { over: <P>(program: P): P => program, fill: (runner: Parameters<typeof writeStates>[0], program: Parameters<typeof writeStates>[1]) => writeStates(runner, program, weights) }
  return (await writer.write(on, given, texts, { ...greedy, tokens: n, stop: [], signal: null })).map(({ text }) => text)
}

const texts = ["the whale", "a ship that sails over the waves", "k"]

test("the same answer with caches as without, beside longer and shorter texts", async () => {
  const fast = await quickly(texts, 12)
  for (const [i, text] of texts.entries()) assert.is(fast[i], await slowly(text, 12), text)
  assert.is(new Set(fast).size, texts.length, "the answer depends on the text")
})

test("what is read is read once: no part of the encoder, nor the keys that it makes, is left in the program for a token", () => {
  const made = lowerAnswers(checked.session, spec, words.size, span)
  if (typeof made !== "function") throw new Error(made.message)
  const { once, more } = made(3, 32, 20)
  const { program, caches } = more(3, 1, 20)
  const notes = (roots: Parameters<typeof reachable>[0]): readonly string[] => [...new Set(reachable(roots).map(({ note }) => note))]
  assert.equal(notes(program.outputs.map(({ node }) => node)).filter((note) => /encoder|cross\.[kv]/.test(note)), [])
  assert.ok(notes(once.outputs.map(({ node }) => node)).some((note) => /cross\.k/.test(note)))
  const taken = program.inputs.filter(({ args }) => args.role === "state" && args.name.startsWith("once."))
  assert.equal(taken.map(({ args }) => args.name).sort(), once.outputs.map(({ name }) => name).sort())
  // Keys and values of two blocks, the segments of the text, and the table of places.
  assert.is(taken.length, 2 * 2 + 1 + 1)
  assert.is(caches.length, 2 * 2 + 1)
})

test("the generated program answers as the reference does", async () => {
  const cpu = await openCpu({ threads: 2 })
  if (!isUsable(cpu)) return console.log(`  skipped: ${cpu.reason}`)
  assert.equal(await quickly(texts, 12, cpu), await quickly(texts, 12))
})

test("pairs are learned, and what is answered is the same in any company; the encoder hears of the whole text", () => withFolder(async (place) => {
  const ran = await place.run(`use std.seq2seq { T5, pairs, rewriting }
use std.optim { adamw }
let word = n => ["red", "blue", "gold", "pink"][n % 4]
rows = made(16, by: n => { prompt: "{n * 3 % 16} {word(n)}", answer: "{word(n)} {n * 3 % 16}", question: "{n * 3 % 16} {word(n)}" })
letters = char(rows |> each_row(row => { text: row.prompt }))
model M = T5(vocab: letters.size, dim: 16, depth: 1, heads: 2, buckets: 16, furthest: 12)
m = train M { data: pairs(rows, letters, length: 10), objective: rewriting, batch: 16 sequences, steps: 80, optim: adamw(lr: 2e-2) }
expect answered(m, data: rows, tokens: 10).exact == 1
expect answered(m, data: rows |> take(3), tokens: 10).exact == 1
again = write(m, rows |> take(9), prompt: "question", answer: "said", temperature: 0, tokens: 10)
expect again.rows == 9
said = generate m { prompts: ["14 gold"], temperature: 0, tokens: 10 }
`)
  assert.equal(problemsOf(ran), [])
  assert.equal(ran.events.flatMap((e) => (e.event === "sample" && e.stage.name === "said" ? [e.text] : [])), ["gold 14"])
}))

test.run()
