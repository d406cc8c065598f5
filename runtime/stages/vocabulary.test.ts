import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { renderDiagnostics } from "../../grammar/render.ts"
import { loadTokenizer } from "../data/tokenizer-json.ts"
import { factsOf, recipeOf, sentences, withFolder } from "./testing.ts"

test("a model without the tokens that its data never uses: smaller, no worse on that data, and exported with its own tokenizer", () => withFolder(async (place) => {
  place.write("book.txt", sentences(30))
  place.write("other.txt", "Quick zebras jumped over vexing boxes, and quick zebras vexed the jumping boxes again.\n\n".repeat(20))
  for (const tie of [false, true]) {
    const ran = await place.run(`use std.pruning { trim_vocabulary }
${recipeOf(`
book = text("book.txt") |> documents(by: paragraph) |> split(valid: 20%)
other = text("other.txt")
both = text("*.txt")
words = bpe(both, size: 330)
read = book |> encode(words)
tokens = read |> pack(length: 8)
kept = trim(words, read)
model Small = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8, tie: ${tie}, std: 0.3)
small = train Small { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 2, optim: sgd(lr: 0.1) }
cut = trim_vocabulary(small, words, kept)
fresh = book |> encode(kept) |> pack(length: 8)
healed = train cut { data: fresh.train, objective: next_token, batch: 2 sequences, steps: 1, optim: sgd(lr: 0.1) }
asked = perplexity(cut, other |> encode(kept) |> pack(length: 8))
expect perplexity(cut, fresh.valid) <= perplexity(small, tokens.valid)
expect perplexity(healed, fresh.valid) > 0
export cut { safetensors: "hf" }
`.replace(/^asked.*$/m, "expect perplexity(cut, other |> encode(kept) |> pack(length: 8)) > 0"))}`)
    assert.is(renderDiagnostics(ran.diagnostics, ran.sources, { color: false }), "")
    const [words, kept] = [factsOf(ran, "words")["size"] ?? 0, factsOf(ran, "kept")["size"] ?? 0]
    assert.ok(kept < words && kept > 257, `${kept} of ${words}`)
    assert.is((factsOf(ran, "evaluate small")["parameters"] ?? 0) - (factsOf(ran, "evaluate cut")["parameters"] ?? 0), (tie ? 1 : 2) * 8 * (words - kept))
    const written = loadTokenizer(fs.readFileSync(path.join(ran.out, "hf", "tokenizer.json"), "utf8"))
    const config = JSON.parse(fs.readFileSync(path.join(ran.out, "hf", "config.json"), "utf8")) as { vocab_size: number }
    assert.is(written.ok ? written.value.size : 0, kept)
    assert.is(config.vocab_size, kept)
  }
}))

const teacher = `
book = text("book.txt") |> documents(by: paragraph)
words = bpe(book, size: 300)
model Small = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8, std: 0.3)
small = train Small { data: book |> encode(words) |> pack(length: 8), objective: next_token, batch: 2 sequences, steps: 2, optim: sgd(lr: 0.1) }
`

test("the tokenizer of a folder encodes the data of its model, is trimmed, and aligns it as a teacher", () => withFolder(async (place) => {
  place.write("book.txt", sentences(12))
  const made = await place.run(recipeOf(`${teacher}
expect perplexity(small, book |> encode(words) |> pack(length: 8)) > 0
export small { safetensors: "hf", gguf: "small.gguf" }`))
  assert.is(renderDiagnostics(made.diagnostics, made.sources, { color: false }), "")
  const lines = (more: string): string => `use std.distill { aligned }
use std.formats { hf_llama }
use std.pruning { trim_vocabulary }
${recipeOf(`
book = text("book.txt") |> documents(by: paragraph)
words = load_tokenizer("out/hf/tokenizer.json")
tokens = book |> encode(words)
rows = tokens |> pack(length: 8)
small = load("out/hf", as: Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8, std: 0.3), format: hf_llama)
tuned = train small { data: rows, objective: next_token, batch: 2 sequences, steps: 1, optim: sgd(lr: 0.1) }
kept = trim(words, tokens |> take(2))
cut = trim_vocabulary(small, words, kept)
fresh = book |> encode(kept) |> pack(length: 8)
let told = aligned(small, kept, words)
let unlike = model => evaluate(model, data: fresh, objective: next_token, loss: (out, batch) => 0.0 * average(out.logits) + kl(told(batch).logits, out.logits, labels: batch.labels)).loss
expect perplexity(small, rows) > 0
expect kept.size < words.size
expect perplexity(tuned, rows) > 0
${more}`)}`
  const ran = await place.run(lines("expect abs(unlike(cut)) < 1e-6\nexpect unlike(initial(Llama(vocab: kept.size, dim: 8, depth: 1, heads: 2, context: 8, std: 0.3))) > 0.01"))
  assert.is(renderDiagnostics(ran.diagnostics, ran.sources, { color: false }), "")
  assert.is(ran.expects.find(({ text }) => text.startsWith("perplexity(small"))?.left, made.expects[0]?.left, "the same model on the same tokens")

  const refused = await place.run(lines("expect evaluate(cut, data: fresh, objective: next_token, loss: (out, batch) => 0.0 * average(out.logits) + kl(small(batch).logits, out.logits)).loss > 0\nexpect unlike(cut) < 1").replace("kept = trim(words, tokens |> take(2))", "kept = bpe(book |> take(2), size: 280)"))
  assert.equal([...new Set(refused.diagnostics.map(({ code }) => code))].filter((code) => code !== "SLM2104" && code !== "SLM2103"), [], refused.diagnostics.map(({ code, message }) => `${code} ${message}`).join("\n"))
  assert.ok(refused.diagnostics.length > 0)

  const both = await place.run(`book = text("book.txt")
first = load_tokenizer("out/hf/tokenizer.json")
second = load_tokenizer("out/small.gguf")
one = book |> encode(first)
two = book |> encode(second)
expect second.size == first.size
expect one.tokens == two.tokens`)
  assert.equal(both.expects.map(({ holds }) => holds), [true, true], "the tokenizer in a GGUF file is that of the folder")
  for (const [name, content, message] of [["spiece.model", "\n\u0005", "`spiece.model` is not read: SentencePiece's models are not supported"], ["cut.gguf", "GGUF\u0003", "this is not a GGUF file: it ends in the middle of its header"]] as const) {
    place.write(name, content)
    const refusal = await place.run(`words = load_tokenizer("${name}")\nexpect words.size > 0`)
    assert.equal(refusal.diagnostics.map((d) => d.message), [message])
  }

  place.write("broken.json", "{ \"model\": 3 }")
  const broken = await place.run(`words = load_tokenizer("broken.json")\nexpect words.size > 0`)
  assert.equal(broken.diagnostics.map(({ code }) => code), ["SLM3132"])
}))

test.run()
