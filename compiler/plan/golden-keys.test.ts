/**
 * Golden keys: one recipe that has every kind of stage, with a library of its own as it was when this was written. What may change them is the
 * normal form, the revision of a stage, or the parameters of a primitive; each makes stored results worthless, and must be meant.
 */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../check/check.ts"
import { library } from "../check/check-text.fixture.ts"
import { recipeKey } from "./recipe-key.ts"
import type { StageKind } from "./stage.ts"

/** Stands for the library: what a model, a method and an optimiser of the library look like to a key. */
const golden = `
/// A matrix and an offset.
layer Dense(inputs: int, outputs: int, bias: bool = true, std: float = inputs ^ -0.5) {
  param weight: float[outputs, inputs] = normal(std: std)
  param offset: float[outputs] = zeros()
  forward(x: float[.., inputs]) -> float[.., outputs] {
    let y = matmul(x, transpose(weight))
    if bias then y + offset else y
  }
}
layer Table(vocab: int, dim: int) {
  param weight: float[vocab, dim] = normal(std: 0.02)
  forward(ids: ids(vocab)[B, T]) -> float[B, T, dim] { gather(weight, ids) }
}
model Words(vocab: int, dim: int, depth: int = 1, context: int = 64) {
  require depth >= 1, "a model has at least one layer, not {depth}"
  part embed = Table(vocab, dim)
  part blocks = repeat depth { Dense(dim, dim) }
  part head = Dense(dim, vocab)
  forward(tokens: ids(vocab)[B, T], at: Sequence[B, T]) {
    let x = fold(blocks, embed(tokens), (x, block) => x + tanh(block(x)))
    { logits: head(x) }
  }
}
fn hard(logits: tensor, labels: tensor) -> Loss = average(token_loss(logits, labels), labels >= 0)
fn soft(teacher: tensor, student: tensor, temperature: float = 2.0) -> Loss {
  let p = softmax(teacher / temperature)
  average(sum(p * (log(p + 1e-9) - log_softmax(student / temperature)), axis: -1) * temperature ^ 2)
}
/// A train like \`std.distill\`.
fn teach(teacher: Weights, student: Model, data: TrainingData, optim: Optimizer, steps: int, share: float = 0.5) -> Weights = train(
  student, data: data, objective: next_token, optim: optim, steps: steps,
  loss: (out, batch) => share * hard(out.logits, batch.labels) + (1 - share) * soft(teacher(batch).logits, out.logits)
)
optimizer momentum(lr: schedule, beta: float = 0.9) {
  state m = zeros_like(p)
  update(p, g, step) {
    let m1 = lerp(m, g, 1 - beta)
    { m: m1, p: p - lr(step) * m1 }
  }
}
fn warming(peak: float, warmup: float = 0.1) -> schedule = (step, total) => peak * min(1.0, step / (warmup * total))
fn clipped(optim: Optimizer, most: float) -> Optimizer = transform_gradients(optim, gradients => map(gradients, g => max(min(g, most), -most)))
fn squares(x: tensor) -> record = { second: sum(x * x, axis: 0) }
fn halved(model: Weights, seen: Statistics) -> Weights = rewrite(model, by: (w, known) => 0.5 * w, statistics: seen)
encoding coarse(most: int = 7) {
  encode(w: float[N, K]) {
    let scale = maximum(abs(w), keep: true, axis: -1) / most
    { codes: round(w / where(scale > 0, scale, 1.0)), scales: rearrange(scale, "n 1 -> n") }
  }
  decode(c) { c.codes * rearrange(c.scales, "n -> n 1") }
}
format plain for Words {
  config {
    architectures: ["Words"]
    vocab_size: vocab
    hidden_size: dim
  }
  map embed.weight => "embed.weight"
  map blocks[i].weight => "layers.{i}.weight"
  map blocks[i].offset => "layers.{i}.bias"
  map head.weight => "head.weight"
  map head.offset => "head.bias"
}
`

const recipe = `
use std.golden { Words, teach, momentum, warming, clipped, squares, halved, coarse, plain }
param rate = 3e-3

book = text("book.txt", encoding: latin1) |> documents(by: line) |> clean(min_chars: 3) |> split(valid: 10%)
talk = jsonl("talk.jsonl", fields: { messages: "chat" }) |> chat()
notes = csv("notes.csv", fields: { text: "string" }) |> take(100)
bytes = byte()
letters = char(book.train)
words = bpe(book.train, size: 300, special: ["<|a|>"])
tokens = book |> encode(words) |> pack(length: 16)
more = notes |> encode(words) |> pack(length: 16)
chats = talk |> encode(words) |> pack(length: 16)
spelled = notes |> encode(letters) |> pack(length: 16)
raw = notes |> encode(bytes) |> pack(length: 16)

model Big = Words(vocab: words.size, dim: 8, depth: 2)
let optim = momentum(lr: warming(peak: rate)) |> clipped(1.0)
curriculum easy(prose: Tokens, other: Tokens) {
  difficulty: rarity(prose)
  stage warm { until: 4 steps, mix: easiest(prose, 30%) }
  stage full { mix: 80% prose + 20% other }
}
curriculum short(prose: Tokens) {
  difficulty: lengths(prose)
  stage all { mix: easiest(prose, 50%) }
}
curriculum known(prose: Tokens, by: Weights) {
  difficulty: loss_of(by, prose)
  stage all { mix: easiest(prose, 50%) }
}
teacher = train Big { data: easy(tokens.train, more), valid: tokens.valid, objective: next_token, batch: 4 sequences, steps: 10, optim: optim }
model Small = Big with { depth: 1 }
student = teach(teacher, Small, data: tokens.train, optim: optim, steps: 12)
reader = train Big { data: short(chats), objective: next_token, optim: optim, steps: 5, freeze: [embed] }
again = train student { data: known(tokens.train, teacher), objective: next_token, optim: optim, steps: 5 }
speller = train Words(vocab: letters.size, dim: 8) { data: spelled, objective: next_token, optim: optim, steps: 5 }
spoken = train Words(vocab: bytes.size, dim: 8) { data: raw, objective: next_token, optim: optim, steps: 5 }
fresh = initial(Big, seed: 3)
loaded = load("weights", as: Words(vocab: bytes.size, dim: 8), format: plain)
seen = observe(student, data: tokens.valid, at: [blocks[*]], inputs: squares)
smaller = halved(student, seen)
pocket = store_as(smaller, format: coarse(), keep: [embed])
pairs = made(10, by: n => { text: "{n}", sum: "{n + 1}" }) |> encode(words) |> pack(length: 16, documents: alone)
own = continued(student, pairs, after: 2)
counted = made(10, by: n => { text: "{n}" })
places_of = counted |> encode(words) |> pack(length: 16)
respelt = respelled(counted, places_of, noted(places_of, by: row => { ids: argmax(teacher(next_token(row)).logits) }))
beyond = beside(pairs, { said: noted(pairs, by: row => { likely: argmax(teacher(next_token(row)).logits) }), own: own })
taught = train student { data: beyond, objective: row => { let b = next_token(row)
  { tokens: b.tokens, labels: b.labels, at: b.at, said: row.said } }, optim: optim, steps: 5 }
laid = overlay(taught, "some.safetensors")
expect answered(laid, data: made(2, by: n => { prompt: "{n}", answer: "{n + 1}" })).exact >= 0
voices = generate pocket { prompts: ["a"], tokens: 8, temperature: 0 }
let measured = [perplexity(pocket, tokens.valid), perplexity(reader, chats), perplexity(again, tokens.valid), perplexity(speller, spelled), perplexity(spoken, raw), perplexity(fresh, tokens.valid)]
expect measured[0] < 100
expect measured[1] + measured[2] + measured[3] + measured[4] + measured[5] < 1000
expect perplexity(loaded, raw) > 0
let order = ranking([evaluate(student, data: tokens.valid, objective: next_token), evaluate(teacher, data: tokens.valid, objective: next_token)], by: report => report.loss)
expect order[0] >= 0
asked = parquet("asked.parquet", fields: { text: "string" }) |> redact(kinds: [email]) |> in_language(keep: ["en"]) |> filter(drop: text => { short: text.words < 5 }) |> distinct(threshold: 70%) |> each_row(row => { prompt: "{row.text}?" })
told = write(student, asked, tokens: 8) |> append(write(teacher, asked, tokens: 8)) |> instruct() |> encode(words) |> pack(length: 16)
expect perplexity(student, told) > 0
fewer = trim(words, told)
places = entries(fewer, words)
expect places != none
heads = beginnings(words)
read = beside(spelled, { again: reread(spelled, words, length: 16) })
expect heads != none and read.rows > 0
foreign = load_tokenizer("tokenizer.json")
expect foreign.size > 0
expect respelt.rows > 0
export student { safetensors: "student" }
`

/** The first half of each key. */
const stages: readonly string[] = [
  "text 73a086178faed1f8 book/text", "documents 3206d416c12d0d3e book/documents", "clean 2f1582730356c9e4 book/clean", "split b7c97fbaefbdcc31 book",
  "jsonl 4de1f78228da0de8 talk/jsonl", "chat 55d1617064ccde7d talk", "csv 0b1cbc387a49ce9c notes/csv", "take c40a52c7c0ef148b notes",
  "byte 68c7f394eda15a98 bytes", "char 48cdfd602895df8c letters", "bpe 86d3b12afd444e91 words", "encode 109dc66d96404106 tokens/encode",
  "pack 44dfda04c7b17b9f tokens", "encode feb4134f6110a5bc more/encode", "pack 6eaa0e8a42dd05d5 more", "encode e69d11dce1cf88bb chats/encode",
  "pack 8d65605f10a830a6 chats", "encode b99303963de33256 spelled/encode", "pack 3affc9bd165b39f3 spelled", "encode 832d1aa0883ec223 raw/encode",
  "pack 0e5ff88c193a179a raw", "rarity 107c6572685eda95 teacher/rarity", "curriculum 30e4c24fc67a695c teacher/curriculum", "train e917bdc658d4e9f8 teacher",
  "train c4c52718acce9c00 student", "lengths 28727b40ebb625b3 reader/lengths", "curriculum f7739d78ee17c942 reader/curriculum", "train cf84d4bfbc17d21a reader",
  "loss_of 174d39d758a0ce7f again/loss_of", "curriculum 8886a2b4882feabd again/curriculum", "train 9861291f0717ee89 again", "train 211b7cd6b69019ad speller",
  "train 9977e4c8115b73ba spoken", "initial 14658ea0bcc0d6de fresh", "load 7c716f77238554fd loaded", "observe 18b98bb7c4966752 seen",
  "rewrite a65546dd27619a08 smaller", "quantize 15e87bbab6397f10 pocket", "made fd3936e1da681b9e pairs/made", "encode f9fb548c0767de59 pairs/encode",
  "pack c7b22fa4dd859a8a pairs", "continued 8352eef3ada67c57 own", "made 544e81d0bf3a3289 counted", "encode bdff53cf17eaab6c places_of/encode",
  "pack c70eb5927caef3a9 places_of", "noted 9d1e53c46e0b247c respelt/noted", "respelled f63193b6a8f8596b respelt", "noted 0731b415f6ed9d73 beyond/noted",
  "beside ee616032cbf5994a beyond", "train 9c697c06cf43b6ee taught", "overlay 87a638f3adf3d093 laid", "generate 459519018957dfc2 voices",
  "evaluate 4407a41743660c52 measured/evaluate", "evaluate bfa85f7633752a25 measured/evaluate", "evaluate bc48c7fe418a6ef5 measured/evaluate",
  "evaluate bca1e09c7e347a4d measured/evaluate", "evaluate c78c0c2fa1892ecd measured/evaluate", "evaluate 066875182f365fbd measured/evaluate",
  "evaluate 89a357d76de31c11 order/evaluate", "evaluate 5ed7961d73bf6be6 order/evaluate", "ranking 5fa515eee922f1ce order/ranking",
  "parquet cc6be4512f3f7bbf asked/parquet", "redact 754215f4dae9db61 asked/redact", "in_language 51c1964b6bc9656b asked/in_language",
  "filter bbc390490623554d asked/filter", "distinct d05ce34d21d31b0e asked/distinct", "each_row 85b06a151091b3bc asked", "write bb7cfd000f473b7e told/write",
  "write c7823e31603db70c told/write", "append 2a62890c84b38c2d told/append", "instruct d05de6131d74aafd told/instruct", "encode d3f433a1b07213f4 told/encode",
  "pack 7a79f3d9bacc9d80 told", "trim 2a149d03ff2e441d fewer", "entries 84d2b87f46f576a0 places", "beginnings 53f391b290375ae6 heads",
  "reread 8638b170356be392 read/reread", "beside 4b9f17d98c2eb3a8 read", "load_tokenizer 90cf839302dbc533 foreign",
  "made 8f3d9d9f72173489 made", "answered 91fee8e6d54e151a answered laid", "evaluate 8d979616340c1ed7 evaluate loaded",
  "evaluate 809143f45c6962e4 evaluate student", "export 49777ce57c6d9025 export student",
]
const whole = "09616292845d3f70"

/** All kinds there are: a new one has no golden key yet. */
const kinds: Readonly<Record<StageKind, true>> = {
  text: true, jsonl: true, csv: true, documents: true, clean: true, split: true, take: true, chat: true, byte: true, char: true, bpe: true, encode: true, pack: true, rarity: true, loss_of: true, lengths: true,
  curriculum: true, train: true, load: true, initial: true, rewrite: true, observe: true, quantize: true, evaluate: true, generate: true, ranking: true, expect: true, export: true,
  parquet: true, redact: true, in_language: true, filter: true, distinct: true, each_row: true, write: true, append: true, instruct: true, trim: true, load_tokenizer: true, entries: true, beginnings: true, reread: true,
  made: true, continued: true, noted: true, beside: true, respelled: true, answered: true, overlay: true,
}

test("golden keys of every kind of stage: a change here makes every stored result worthless", () => {
  const modules = (id: string) => (id === "std.golden" ? { id, text: golden } : id === "std.prelude" || id === "std.objectives" || id === "std.losses" || id === "std.metrics" ? library.get(id) ?? null : null)
  const { recipe: checked, session, diagnostics } = check({ id: "golden.slm", text: recipe }, { modules, params: new Map(), facts: new Map() })
  assert.equal(diagnostics.map(({ code, message }) => `${code} ${message}`), [])
  if (checked === null) throw new Error("not checked")
  const found = checked.stages.map(({ name, kind, key }) => `${kind} ${key.slice(0, 16)} ${name}`)
  assert.equal([...new Set(checked.stages.map(({ kind }) => kind))].sort(), Object.keys(kinds).filter((kind) => kind !== "expect").sort(), "every kind is there")
  if (process.env["SHOW"] === "1") console.log(found.map((line) => JSON.stringify(line)).join("\n"), recipeKey(checked, session.keys).slice(0, 16))
  assert.equal(found, stages)
  assert.is(recipeKey(checked, session.keys).slice(0, 16), whole)
})

test.run()
