/** Weights that go on from others: what is carried over, computed, drawn and kept as codes. On the reference device. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Ran } from "./testing.ts"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"
import { readWeights } from "../weights.ts"

function weights(ran: Ran, name: string) {
  const read = readWeights(fs.readFileSync(path.join(ran.out, "artifacts", name, "weights.safetensors")))
  if (!read.ok) throw new Error(`no weights of ${name}`)
  return (weight: string) => {
    const tensor = read.value.tensors.get(weight)
    if (tensor === undefined) throw new Error(`${name} has no ${weight} among ${[...read.value.tensors.keys()].join(", ")}`)
    return { encoding: tensor.encoding, shape: tensor.shape, values: tensor.decoded(), buffers: tensor.buffers }
  }
}

const base = `${bookTokens(8)}
model Small = Llama(vocab: words.size, dim: 8, depth: 2, heads: 2, context: 16)
small = train Small { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 2, optim: sgd(lr: 0.1), seed: 5 }
`

test("parts are replaced in trained weights: the rest is the same to the bit, and so is the loss", () => withFolder(async (place) => {
  place.write("book.txt", sentences(6))
  const ran = await place.run(recipeOf(`${base}
wrapped = small with { at blocks[*].attn.{q, v}: q => LoRA(q, rank: 2) }
tuned = train wrapped { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 1, optim: sgd(lr: 1.0), only: [blocks[*].attn.{q, v}.{up, down}] }
merged = merge tuned { parts: [blocks[*].attn.{q, v}] }
deep = deepen(small)
third = small with {
  depth: 3
  at blocks[i]: small.blocks[if i == 0 then 1 else 0]
  at norm.scale: w => w + small.norm.scale
}
expect perplexity(wrapped, tokens.valid) == perplexity(small, tokens.valid)
expect perplexity(deep, tokens.valid) == perplexity(small, tokens.valid)
expect abs(perplexity(merged, tokens.valid) - perplexity(tuned, tokens.valid)) < 1e-3
expect perplexity(third, tokens.valid) > 0
`))
  assert.equal(problemsOf(ran), [])
  assert.is(ran.status, "done")
  const [small, tuned, merged, third] = [weights(ran, "small"), weights(ran, "tuned"), weights(ran, "merged"), weights(ran, "third")]
  assert.equal(tuned("blocks[1].attn.q.inner.weight").values, small("blocks[1].attn.q.weight").values)
  assert.equal(tuned("embed.weight").values, small("embed.weight").values)
  assert.ok(tuned("blocks[1].attn.q.up.weight").values.some((x) => x !== 0), "what `only` names has learned")
  const [up, down] = [tuned("blocks[0].attn.v.up.weight").values, tuned("blocks[0].attn.v.down.weight").values]
  const [w, m] = [small("blocks[0].attn.v.weight").values, merged("blocks[0].attn.v.weight").values]
  for (const [i, j] of [[0, 0], [3, 5], [7, 7]] as const) {
    const change = 2 * (up[2 * i]! * down[j]! + up[2 * i + 1]! * down[8 + j]!)
    assert.ok(Math.abs(m[8 * i + j]! - (w[8 * i + j]! + change)) < 1e-6)
  }
  assert.equal(third("blocks[0].mlp.up.weight").values, small("blocks[1].mlp.up.weight").values)
  assert.equal(third("blocks[2].mlp.up.weight").values, small("blocks[0].mlp.up.weight").values)
  assert.equal([...third("norm.scale").values], [...small("norm.scale").values].map((x) => Math.fround(2 * x)))
}))

test("new parts are drawn with the seed of the training, and `initial` with its own", () => withFolder(async (place) => {
  place.write("book.txt", sentences(4))
  const ran = await place.run(recipeOf(`${base}
wrapped = small with { at blocks[0].attn.q: q => LoRA(q, rank: 2) }
model Fresh = Small with { at blocks[0].attn.q: q => LoRA(q, rank: 2) }
five = initial(Fresh, seed: 5)
six = initial(Fresh, seed: 6)
`))
  assert.equal(problemsOf(ran), [])
  const down = (name: string): Float32Array => weights(ran, name)("blocks[0].attn.q.down.weight").values
  assert.equal(down("wrapped"), down("five"))
  assert.not.equal(down("five"), down("six"))
}))

test("frozen weights keep their codes", () => withFolder(async (place) => {
  place.write("book.txt", sentences(4))
  const ran = await place.run(recipeOf(`${base}
packed = quantize small { format: int8, keep: [head] }
tuned = train (packed with { at blocks[*].attn.q: q => LoRA(q, rank: 2) }) { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 1, optim: sgd(lr: 1.0), freeze: [embed, norm, blocks[*].{attn_norm, mlp_norm, mlp}, blocks[*].attn.{k, v, out}, blocks[*].attn.q.inner] }
plain = merge(dequantize(tuned), [blocks[*].attn.q])
`))
  assert.equal(problemsOf(ran), [])
  const [packed, tuned, plain] = [weights(ran, "packed"), weights(ran, "tuned"), weights(ran, "plain")]
  assert.is(tuned("blocks[0].mlp.up.weight").encoding, "int8")
  assert.equal(tuned("blocks[0].attn.q.inner.weight").buffers, packed("blocks[0].attn.q.weight").buffers)
  assert.is(tuned("head.weight").encoding, "f32")
  assert.not.equal(tuned("head.weight").values, packed("head.weight").values, "what is not frozen is trained")
  assert.equal(plain("blocks[0].mlp.up.weight").values, packed("blocks[0].mlp.up.weight").values)
  assert.is(plain("blocks[0].attn.q.weight").encoding, "f32")
  assert.ok((factsOf(ran, "tuned")["steps"] ?? 0) === 1)
}))

test("what is frozen and not read by the loss keeps what was drawn for it", () => withFolder(async (place) => {
  place.write("book.txt", sentences(6))
  const ran = await place.run(recipeOf(`${base}
model Spare(inner: Model) {
  part body = inner
  part spare = Linear(8, 8)
  forward(tokens: int[B, T], at: Sequence[B, T]) {
    let out = body({ tokens: tokens, at: at })
    { logits: out.logits, hidden: out.hidden, other: spare(out.hidden[1]) }
  }
}
model Both = Spare(Small)
first = initial(Both, seed: 3)
both = train Both { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 1, optim: sgd(lr: 1.0), freeze: [spare], seed: 3 }
expect perplexity(both, tokens.valid) < 1000
`))
  assert.equal(problemsOf(ran), [])
  assert.equal(weights(ran, "both")("spare.weight").values, weights(ran, "first")("spare.weight").values)
  assert.not.equal(weights(ran, "both")("body.head.weight").values, weights(ran, "first")("body.head.weight").values)
}))

test.run()
