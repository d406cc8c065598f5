/** Whole recipes on the reference device: what is learned, kept, reused and refused. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Ran } from "./stages/testing.ts"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./stages/testing.ts"
import { openStore } from "./store/store.ts"
import { readWeights } from "./weights.ts"

const tiny = "Llama(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 32)"
const common = "objective: next_token, batch: 8 sequences, optim: adamw(lr: 1e-2) |> clip_norm(1.0)"
const trained = (steps: number, more = ""): string => `${bookTokens()}
model Tiny = ${tiny}
result = train Tiny { data: tokens.train, ${common}, steps: ${steps} ${more} }
`

function weightBytes(ran: Ran, name: string): Uint8Array {
  return fs.readFileSync(path.join(ran.out, "artifacts", name, "weights.safetensors"))
}

function tensor(ran: Ran, name: string, weight: string): readonly number[] {
  const weights = readWeights(weightBytes(ran, name))
  if (!weights.ok) throw new Error("no weights")
  return [...(weights.value.tensors.get(weight)?.decoded() ?? [])]
}

const kindsOf = (ran: Ran, event: "stage-cached" | "stage-finished"): string[] => ran.events.flatMap((e) => (e.event === event ? [e.stage.kind] : []))

test("the loss falls on a small text, and what is written gets nearer to it", () => withFolder(async (place) => {
  place.write("book.txt", sentences(60))
  const ran = await place.run(recipeOf(trained(30, ', valid: tokens.valid, samples: ["the "]')))
  assert.equal(problemsOf(ran), [])
  assert.is(ran.status, "done")
  const losses = ran.events.flatMap((e) => (e.event === "progress" ? [e.loss] : []))
  assert.ok((losses[0] ?? 0) > 5.3, `${losses[0]}`)
  assert.ok((losses.at(-1) ?? 9) < 2.6, `${losses.at(-1)}`)
  const valid = ran.events.flatMap((e) => (e.event === "progress" && e.valid !== null ? [e.valid] : []))
  assert.is(valid.length, 15)
  assert.ok((valid.at(-1) ?? 9) < 2.8)
  assert.equal(ran.events.flatMap((e) => (e.event === "sample" ? [e.at] : [])), [0, 0.25, 0.5, 1])
  assert.is(factsOf(ran, "result")["steps"], 30)
}))

test("two runs of the same text give the same bits", () => withFolder(async (place) => {
  place.write("book.txt", sentences(30))
  const recipe = recipeOf(trained(4))
  const a = await place.run(recipe, { out: path.join(place.folder, "a"), fresh: true })
  const b = await place.run(recipe, { out: path.join(place.folder, "b"), fresh: true })
  const c = await place.run(recipe.replace("steps: 4", "steps: 4, seed: 1"), { out: path.join(place.folder, "c"), fresh: true })
  assert.equal(weightBytes(a, "result"), weightBytes(b, "result"))
  assert.not.equal(weightBytes(a, "result"), weightBytes(c, "result"))
  assert.equal(kindsOf(b, "stage-cached"), [])
}))

test("a second run takes everything from the store; a change runs what depends on it", () => withFolder(async (place) => {
  place.write("book.txt", sentences(30))
  const recipe = (steps: number): string => recipeOf(`${trained(steps)}voices = generate result { prompts: ["the"], tokens: 4 }`)
  const first = await place.run(recipe(2))
  assert.equal(problemsOf(first), [])
  assert.equal(kindsOf(first, "stage-cached"), [])
  const second = await place.run(recipe(2))
  assert.equal(kindsOf(second, "stage-finished"), [])
  assert.equal(second.facts, first.facts)
  assert.equal(second.events.flatMap((e) => (e.event === "sample" ? [e.text] : [])), first.events.flatMap((e) => (e.event === "sample" ? [e.text] : [])))
  const third = await place.run(recipe(3))
  assert.equal(kindsOf(third, "stage-finished"), ["train", "generate"])
  place.write("book.txt", sentences(31))
  const fourth = await place.run(recipe(2))
  assert.ok(kindsOf(fourth, "stage-finished").includes("train"))
  assert.ok(kindsOf(fourth, "stage-cached").includes("byte"))
}))

test("a result that another build made is used, and said to be", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const recipe = recipeOf(trained(1))
  const first = await place.run(recipe)
  const key = first.stages.find(({ stage }) => stage.name === "result")?.artifactKey ?? ""
  const store = openStore(path.join(place.folder, ".slm", "store"), assert.unreachable)
  const entry = store.get(key)
  if (entry === null) throw new Error("the result is not kept")
  store.put(key, { ...entry.about, compiler: "0".repeat(64) }, entry.files)
  const second = await place.run(recipe)
  const builds = second.events.flatMap((e) => (e.event === "stage-cached" ? [[e.stage.name, e.build] as const] : []))
  assert.equal(new Map(builds).get("result"), "another")
  assert.equal(builds.filter(([, build]) => build !== undefined).map(([name]) => name), ["result"])
}))

test("a damaged result is made again", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const first = await place.run(recipeOf(trained(1)))
  const key = first.stages.find(({ stage }) => stage.kind === "train")?.artifactKey ?? ""
  fs.appendFileSync(path.join(place.folder, ".slm", "store", key.slice(0, 16), "weights.safetensors"), "x")
  const second = await place.run(recipeOf(trained(1)))
  assert.equal(kindsOf(second, "stage-finished"), ["train"])
  assert.ok(second.events.some((e) => e.event === "warning" && e.message.includes("is damaged")))
  assert.equal(weightBytes(second, "result"), weightBytes(first, "result"))
}))

test("a student learns from a teacher that stays as it is", () => withFolder(async (place) => {
  place.write("book.txt", sentences(40))
  const ran = await place.run(recipeOf(`${trained(6)}
model Small = Tiny with { dim: 8 }
student = distill result into Small { data: tokens.train, ${common}, steps: 6, hidden: 0.1 }
`))
  assert.equal(problemsOf(ran), [])
  const alone = await place.run(recipeOf(trained(6)), { out: path.join(place.folder, "alone") })
  assert.equal(weightBytes(ran, "result"), weightBytes(alone, "result"))
  assert.is(tensor(ran, "student", "embed.weight").length, 257 * 8)
  const weights = readWeights(weightBytes(ran, "student"))
  assert.ok(weights.ok && ![...weights.value.tensors.keys()].some((name) => name.includes("map")))
}))

test("two models with one objective are trained together", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const ran = await place.run(recipeOf(`${bookTokens()}
model Tiny = ${tiny}
pair = train {
  roles: { large: Tiny, small: Tiny with { dim: 8 } }, data: tokens.train, ${common}, steps: 4, samples: ["the"]
  loss: (roles, batch) => cross_entropy(roles.large(batch).logits, batch.labels) + 0.5 * cross_entropy(roles.small(batch).logits, batch.labels)
}
voices = generate pair.small { prompts: ["the"], tokens: 2 }
`))
  assert.equal(problemsOf(ran), [])
  assert.equal(fs.readdirSync(path.join(ran.out, "artifacts", "pair")).sort(), ["trace.json", "weights.large.safetensors", "weights.small.safetensors"])
  const samples = ran.events.flatMap((e) => (e.event === "sample" && e.at !== null ? [`${e.stage.name} ${e.at}`] : []))
  assert.equal(samples, [0, 0.25, 0.5, 1].flatMap((at) => [`pair.large ${at}`, `pair.small ${at}`]))
}))

test("two micro-batches of four are a batch of eight", () => withFolder(async (place) => {
  place.write("book.txt", sentences(30))
  const whole = await place.run(recipeOf(trained(5)), { out: path.join(place.folder, "whole") })
  const parts = await place.run(recipeOf(trained(5, ", accumulate: 2").replace("batch: 8", "batch: 4")), { out: path.join(place.folder, "parts") })
  assert.equal(problemsOf(parts), [])
  assert.ok(Math.abs((factsOf(whole, "result")["loss"] ?? 0) - (factsOf(parts, "result")["loss"] ?? 9)) < 1e-4)
  const [a, b] = [tensor(whole, "result", "embed.weight"), tensor(parts, "result", "embed.weight")]
  assert.ok(a.every((x, i) => Math.abs(x - (b[i] ?? NaN)) < 1e-3))
}))

test("training goes on from weights, and leaves alone what is frozen", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const ran = await place.run(recipeOf(`${trained(2)}
more = train result { data: tokens.train, ${common}, steps: 2, freeze: [embed] }
`))
  assert.equal(problemsOf(ran), [])
  assert.equal(tensor(ran, "more", "embed.weight"), tensor(ran, "result", "embed.weight"))
  assert.not.equal(tensor(ran, "more", "head.weight"), tensor(ran, "result", "head.weight"))
}))

test("quantised weights are smaller, and are evaluated as they are stored", () => withFolder(async (place) => {
  place.write("book.txt", sentences(40))
  const ran = await place.run(recipeOf(`${trained(8).replace("dim: 16", "dim: 32")}
pocket = quantize result { format: int8, keep: [head] }
expect perplexity(pocket, tokens.valid) < 1.05 * perplexity(result, tokens.valid)
expect bits_per_byte(pocket, tokens.valid) < 8
`))
  assert.equal(problemsOf(ran), [])
  assert.equal(ran.expects.map(({ holds }) => holds), [true, true])
  const [before, after] = [factsOf(ran, "evaluate result"), factsOf(ran, "evaluate pocket")]
  assert.ok((after["bytes"] ?? 0) < 0.6 * (before["bytes"] ?? 0))
  assert.is(after["parameters"], before["parameters"])
  assert.is.not(after["loss"], before["loss"])
  assert.is(factsOf(ran, "pocket")["kept"], 4) // three norms and the head
}))

test("an encoding of the recipe's own is encoded, stored and decoded by its own text", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const recipe = recipeOf(`${trained(2)}
/// One scale per row, sixteen steps.
encoding coarse() {
  store: "coarse"
  encode(w: float[N, K]) {
    let scale = maximum(abs(w), axis: -1, keep: true) / 8 + 1e-9
    { steps: round(w / scale), unit: scale }
  }
  decode(c) { c.steps * c.unit }
}
pocket = quantize result { format: coarse }
expect perplexity(pocket, tokens.valid) > 0
`)
  const first = await place.run(recipe)
  assert.equal(problemsOf(first), [])
  const second = await place.run(recipe.replace("> 0", "> 1"))
  assert.equal(problemsOf(second), [])
  assert.ok(kindsOf(second, "stage-cached").includes("quantize"))
}))

test("an encoding that borrows a known store has to mean what the store means", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const encoding = (codes: string, decode: string): string => `${recipeOf(trained(1))}
encoding plus() {
  store: "int8"
  encode(w: float[N, K]) { ${codes} }
  decode(c) { ${decode} }
}
pocket = quantize result { format: plus, keep: [head] }
expect perplexity(pocket, tokens.valid) > 0
`
  const other = await place.run(encoding("{ codes: round(w), scales: mean(abs(w), axis: -1) }", "c.codes + 1"))
  assert.equal(problemsOf(other), ["SLM3212 `decode` of plus does not yield what the store int8 stands for"])
  const nothing = await place.run(encoding("{ values: w }", "c.values"))
  assert.equal(problemsOf(nothing), ["SLM3212 the encoding stores `int8` and its `encode` yields no `codes` and `scales`"])
}))

test("an encoding that a weight does not fit says which weight", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const ran = await place.run(recipeOf(`${trained(1)}
encoding blocks() {
  store: "blocks"
  encode(w: float[N, K]) { { codes: rearrange(w, "n (b g) -> n b g", g: 32) } }
  decode(c) { rearrange(c.codes, "n b g -> n (b g)") }
}
pocket = quantize result { format: blocks, keep: [head] }
expect perplexity(pocket, tokens.valid) > 0
`))
  assert.is(ran.status, "failed")
  const found = ran.diagnostics.find((d) => d.severity === "error")
  assert.match(found?.notes.join("\n") ?? "", "this happened for `embed.weight`, a weight of shape [257, 16]")
}))

test("a curriculum decides what is seen", () => withFolder(async (place) => {
  place.write("book.txt", sentences(40))
  const ran = await place.run(recipeOf(`${bookTokens()}
model Tiny = ${tiny}
curriculum easy(data: Tokens) {
  difficulty: rarity(data)
  stage first { until: 2 steps, mix: easiest(data, 20%) }
  stage rest { mix: easiest(data, linear(20%, 100%)) }
}
result = train Tiny { data: easy(tokens.train), ${common}, steps: 5 }
`))
  assert.equal(problemsOf(ran), [])
  assert.equal(ran.stages.filter(({ stage }) => ["rarity", "curriculum"].includes(stage.kind)).length, 2)
}))

test("a trained model says which rows are hard", () => withFolder(async (place) => {
  place.write("book.txt", sentences(40))
  const ran = await place.run(recipeOf(`${trained(3)}
curriculum easy(data: Tokens) {
  difficulty: loss_of(result, data)
  stage all { mix: easiest(data, 50%) }
}
pupil = train Tiny { data: easy(tokens.train), ${common}, steps: 2 }
`))
  assert.equal(problemsOf(ran), [])
  const folder = ran.stages.find(({ stage }) => stage.kind === "loss_of")?.folder ?? ""
  const bytes = fs.readFileSync(path.join(ran.out, folder, "difficulty.f64"))
  const values = [...new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))]
  assert.is(values.length, factsOf(ran, "tokens")["train.rows"])
  assert.ok(values.every((x) => x > 2 && x < 7) && new Set(values).size > 10)
}))

test("a classifier is trained and measured by its accuracy", () => withFolder(async (place) => {
  const rows = Array.from({ length: 60 }, (_, i) => JSON.stringify(i % 2 === 0 ? { text: `aaaa ${i}`, mood: "calm" } : { text: `zzzz ${i}`, mood: "wild" }))
  place.write("rows.jsonl", rows.join("\n"))
  const ran = await place.run(recipeOf(`
rows = jsonl("rows.jsonl", fields: { text: "string", mood: "class" }) |> split(valid: 30%)
words = byte()
tokens = rows |> encode(words) |> pack(length: 8)
model Moods = Classifier(${tiny} with { tie: true }, 16, 2)
result = train Moods { data: tokens.train, objective: classify, batch: 8 sequences, steps: 12, optim: adamw(lr: 2e-2) }
expect accuracy(result, tokens.valid, objective: classify) > 0.9
`))
  assert.equal(problemsOf(ran), [])
  assert.is(ran.status, "done")
}))

test("a condition that does not hold fails the run and shows both sides", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const ran = await place.run(recipeOf(`${trained(1)}
expect perplexity(result, tokens.valid) < 2
expect 1 < 2
`))
  assert.is(ran.status, "failed")
  assert.match(problemsOf(ran).join(), "SLM3307 this does not hold: perplexity(result, tokens.valid) < 2")
  const failed = ran.expects.find(({ text }) => text !== "1 < 2")
  const held = ran.expects.find(({ text }) => text === "1 < 2")
  assert.ok((failed?.left ?? 0) > 2 && failed?.right === 2 && !failed.holds)
  assert.ok(held?.holds)
}))

test("an interrupted run says so, and the next one goes on from what is finished", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const controller = new AbortController()
  const ran = await place.run(recipeOf(trained(50)), { signal: controller.signal, emit: (e) => { if (e.event === "progress" && e.step === 2) controller.abort() } })
  assert.is(ran.status, "interrupted")
  assert.not.ok(ran.stages.some(({ stage }) => stage.kind === "train"))
  const next = await place.run(recipeOf(trained(50).replace("steps: 50", "steps: 1")))
  assert.is(next.status, "done")
  assert.equal(kindsOf(next, "stage-finished"), ["train"])
}))

test("a training that diverges stops at the step that did it, and says what to try", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const ran = await place.run(recipeOf(trained(20).replace("adamw(lr: 1e-2) |> clip_norm(1.0)", "sgd(lr: 1e30)")))
  assert.is(ran.status, "failed")
  assert.match(problemsOf(ran).join(), /SLM3301 .* of `result` is (NaN|Infinity) at step [23]/)
  const found = ran.diagnostics.find((d) => d.code === "SLM3301")
  assert.match(found?.help ?? "", "clip_norm")
  assert.match(found?.notes.join() ?? "", "the batch begins with sample")
}))

test("mistakes in data stop the run at their place in the recipe", () => withFolder(async (place) => {
  const ran = await place.run(recipeOf(trained(1)))
  assert.is(ran.status, "failed")
  assert.match(problemsOf(ran).join(), "SLM3101")
  assert.is(ran.diagnostics.find((d) => d.code === "SLM3101")?.span.source, "recipe.slm")
}))

test("exports are written below the run's folder and nowhere else", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const recipe = recipeOf(`${trained(1)}export result { gguf: "small/model.gguf", safetensors: "hf" }`)
  const ran = await place.run(recipe)
  assert.equal(problemsOf(ran), [])
  assert.ok(fs.existsSync(path.join(ran.out, "small", "model.gguf")))
  assert.ok(fs.existsSync(path.join(ran.out, "hf", "config.json")))
  const outside = await place.run(recipe.replace("small/model.gguf", "../model.gguf"))
  assert.match(problemsOf(outside).join(), "SLM2213")
  assert.not.ok(fs.existsSync(path.join(place.folder, "model.gguf")))
}))

test("weights are exported, loaded and go on as they were", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const first = await place.run(recipeOf(`${trained(2)}
export result { safetensors: "hf" }
expect perplexity(result, tokens.valid) > 0
`), { out: path.join(place.folder, "first") })
  assert.equal(problemsOf(first), [])
  const second = await place.run(`use std.formats { hf_llama }\n${recipeOf(`${bookTokens()}
model Tiny = ${tiny}
loaded = load "first/hf" { as: Tiny, format: hf_llama }
voices = generate loaded { prompts: ["the"], tokens: 3 }
expect perplexity(loaded, tokens.valid) > 0
`)}`, { out: path.join(place.folder, "second") })
  assert.equal(problemsOf(second), [])
  assert.is(factsOf(second, "evaluate loaded")["loss"], factsOf(first, "evaluate result")["loss"])
}))

test("a chat model is asked in its template and stops at the end of its turn", () => withFolder(async (place) => {
  const rows = Array.from({ length: 30 }, () => JSON.stringify({ messages: [{ role: "user", content: "hi" }, { role: "assistant", content: "yo" }] }))
  place.write("chats.jsonl", rows.join("\n"))
  const ran = await place.run(recipeOf(`
chats = jsonl("chats.jsonl", fields: { messages: "chat" }) |> chat()
words = char(chats)
tokens = chats |> encode(words) |> pack(length: 40)
model Tiny = ${tiny.replace("32)", "64)")}
result = train Tiny { data: tokens, ${common}, steps: 40 }
voices = generate result { prompts: ["hi"], tokens: 20, temperature: 0.0 }
`))
  assert.equal(problemsOf(ran), [])
  const sample = ran.events.find((e) => e.event === "sample")
  assert.is(sample?.event === "sample" ? sample.text : "", "yo")
}))

test.run()
