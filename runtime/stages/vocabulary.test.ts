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

test.run()
