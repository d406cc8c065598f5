/** Every mistake that only a run finds, as people see it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { renderDiagnostics } from "../../grammar/render.ts"
import { stageCodes } from "./codes.ts"
import { bookTokens, recipeOf, sentences, withFolder } from "./testing.ts"

const tiny = `${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 8)
`

/** A search over learning rates, of which the largest diverge. */
const searched = (rates: string): string => `use std.search { grid, search }
${tiny}let found = search {
  points: grid({ lr: [${rates}] })
  model: _p => Tiny
  trial: (p, model, steps) => train model { data: tokens.train, objective: next_token, batch: 2 sequences, steps: steps, optim: sgd(lr: p.lr) }
  valid: tokens.valid
  steps: 4
}
`
const train = (fields: string, data = "tokens.train"): string => `result = train Tiny { data: ${data}, objective: next_token, batch: 2 sequences, optim: sgd(lr: 0.1), ${fields} }
`
const mean = `${bookTokens(8)}
model Mean(vocab: int, dim: int) {
  part embed = Embedding(vocab, dim)
  part head = Linear(dim, vocab)
  forward(tokens: ids(vocab)[B, T]) { let x = embed(tokens) { logits: head(x + mean(x, axis: 1, keep: true)) } }
}
model Tiny = Mean(words.size, 4)
`
const voices = 'voices = generate result { prompts: ["the"], tokens: 2 }\n'

/** Recipe and the message it ends with. */
const cases: Readonly<Record<keyof typeof stageCodes, { readonly recipe: string; readonly shown: string }>> = {
  SLM3222: {
    recipe: `${tiny}${train("steps: 1")}wrapped = result with { at blocks[*].attn.q: q => LoRA(q, rank: 2) }
export wrapped { safetensors: "out" }
`,
    shown: "error[SLM3222]: `wrapped` has parts that `Llama` does not have with these arguments",
  },
  SLM3301: {
    recipe: `${tiny}${train("steps: 9").replace("sgd(lr: 0.1)", "sgd(lr: 1e30)")}`,
    shown: "error[SLM3301]: the loss of `result` is NaN at step 2",
  },
  SLM3302: {
    recipe: `${mean}${train("steps: 1")}${voices}`,
    shown: "error[SLM3302]: `Tiny` cannot write text token by token: `sum` in `model` sums over the positions",
  },
  SLM3303: {
    recipe: `${tiny}
model Pool(vocab: int, dim: int) {
  part embed = Embedding(vocab, dim)
  forward(tokens: ids(vocab)[B, T]) { { logits: mean(embed(tokens), axis: 1) } }
}
model Pooled = Pool(words.size, 4)
${train("steps: 1, loss: (out, batch) => average(out.logits)").replace("Tiny", "Pooled")}${voices}`.replace(/model Tiny.*\n/, ""),
    shown: "error[SLM3303]: `Pooled` does not yield `logits` for each position, so that it cannot write text",
  },
  SLM3304: {
    recipe: `use std.formats { hf_llama }
${tiny}${train("steps: 1")}loaded = load "hf" { as: Tiny, format: hf_llama }
${voices.replace("result", "loaded")}expect perplexity(result, tokens.valid) > 0
`,
    shown: "error[SLM3304]: there is no tokenizer for `loaded`",
  },
  SLM3307: {
    recipe: `${tiny}${train("steps: 1")}expect perplexity(result, tokens.valid) < 1\n`,
    shown: "error[SLM3307]: this does not hold: perplexity(result, tokens.valid) < 1",
  },
  SLM3308: {
    recipe: `${tiny}${train("steps: 1")}
fn renamed(row: record) -> record { let batch = next_token(row) { tokens: batch.tokens, targets: batch.labels, at: batch.at } }
measured = evaluate result { data: tokens.valid, objective: renamed, loss: (out, batch) => cross_entropy(out.logits, batch.targets) }
expect measured.accuracy > 0
`,
    shown: "error[SLM3308]: this cannot be decided: measured.accuracy > 0",
  },
  SLM3310: {
    recipe: `${tiny}${train("steps: 1")}large = bpe(book.train, size: 300)
places = entries(large, words)
wide = result with { vocab: large.size, at embed.weight: w => gather(w, to_int(places.ids)), at head.weight: w => gather(w, to_int(places.ids)) }
expect perplexity(result, tokens.valid) > 0
expect wide.dim == 8
`,
    shown: "is no entry of `words`",
  },
  SLM3311: {
    recipe: `${searched("0.1, 1e30")}said = generate(found.trials[1].weights, prompts: ["the"], tokens: 2)
expect perplexity(found.weights, tokens.valid) > 0
`,
    shown: "/train`, which diverged at step 2",
  },
  SLM3312: {
    recipe: `${searched("1e29, 1e30")}expect perplexity(found.weights, tokens.valid) > 0
`,
    shown: "each of 2 trials diverged: there is nothing to choose",
  },
  SLM3313: {
    recipe: `use std.seq2seq { T5 }
${tiny.replace(/model[^]*/, "")}model Both = T5(vocab: words.size, dim: 8, depth: 1, heads: 2)
expect perplexity(initial(Tiny), continued(initial(Both), tokens.train, after: 2)) > 0
${(/model[^]*/.exec(tiny) ?? [""])[0]}`,
    shown: "error[SLM3313]: `Both` writes an answer to a text, and does not go on with it",
  },
  SLM3309: {
    recipe: `${tiny}
fn renamed(row: record) -> record { let batch = next_token(row) { tokens: batch.tokens, targets: batch.labels, at: batch.at } }
fn measured(dim: int) -> Report = evaluate(
  initial(Tiny with { dim: dim }), data: tokens.valid, objective: renamed, loss: (out, batch) => cross_entropy(out.logits, batch.targets)
)
let order = ranking([measured(8), measured(16)], by: report => report.accuracy)
expect order[0] == 0
`,
    shown: "has no such number to choose by",
  },
}

for (const [code, { recipe, shown }] of Object.entries(cases)) {
  test(`${code}: ${stageCodes[code as keyof typeof stageCodes].title}`, () => withFolder(async (place) => {
    place.write("book.txt", sentences(12))
    if (code === "SLM3304") await folderWithoutTokenizer(place)
    const ran = await place.run(recipeOf(recipe))
    const text = renderDiagnostics(ran.diagnostics.filter((d) => d.severity === "error"), ran.sources, { color: false })
    assert.ok(text.includes(shown), text)
    assert.match(text, "recipe.slm:")
    assert.is(ran.status, "failed")
  }))
}

async function folderWithoutTokenizer(place: Parameters<Parameters<typeof withFolder>[0]>[0]): Promise<void> {
  const out = path.join(place.folder, "first")
  await place.run(recipeOf(`${tiny}${train("steps: 1")}export result { safetensors: "hf" }`), { out })
  fs.renameSync(path.join(out, "hf"), path.join(place.folder, "hf"))
  fs.rmSync(path.join(place.folder, "hf", "tokenizer.json"))
}

test.run()
