/** `observe`, `rewrite` and the methods of `quantize`, on the reference device: what is gathered, and that methods do what they are for. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Ran } from "./testing.ts"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"
import { readWeights } from "../weights.ts"

function tensors(ran: Ran, name: string) {
  const read = readWeights(fs.readFileSync(path.join(ran.out, "artifacts", name.replace(/[^A-Za-z0-9._-]+/g, "-"), "weights.safetensors")))
  if (!read.ok) throw new Error(`no tensors of ${name}`)
  return (at: string): { readonly shape: readonly number[]; readonly values: Float32Array; readonly encoding: string } => {
    const tensor = read.value.tensors.get(at)
    if (tensor === undefined) throw new Error(`${name} has no ${at} among ${[...read.value.tensors.keys()].join(", ")}`)
    return { shape: tensor.shape, values: tensor.decoded(), encoding: tensor.encoding }
  }
}

const base = `${bookTokens(8)}
model Small = Llama(vocab: words.size, dim: 8, depth: 2, heads: 4, kv_heads: 2, context: 16)
small = train Small { data: tokens.train, objective: next_token, batch: 4 sequences, steps: 6, optim: adamw(lr: 1e-2), seed: 5 }
`

/** trace(E H E^T): what replacing w by q changes in the results of a part, squared and summed over the data. */
function damage(w: Float32Array, q: Float32Array, h: Float32Array): number {
  const k = Math.sqrt(h.length)
  let sum = 0
  for (let r = 0; r < w.length; r += k) for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) sum += (w[r + i]! - q[r + i]!) * h[i * k + j]! * (w[r + j]! - q[r + j]!)
  return sum
}

test("statistics add up over batches, whatever their size, and leave padding out", () => withFolder(async (place) => {
  place.write("book.txt", sentences(7))
  const ran = await place.run(recipeOf(`${base}
two = observe(small, data: tokens.valid, inputs: second_moment, batch: 2 sequences)
nine = observe(small, data: tokens.valid, inputs: second_moment, batch: 9 sequences)
peaks = observe(small, data: tokens.valid, at: [blocks[1].mlp.down, blocks[*].attn], outputs: y => { peak: maximum(abs(y)) }, combine: max)
fisher = observe(small, data: tokens.valid, gradients: g => { square: g * g }, batch: 1 sequences)
steps = rewrite(small, by: (w, seen) => if seen == none then w else w - 0.1 * seen.square, statistics: fisher)
expect perplexity(steps, tokens.valid) > 0
`))
  assert.equal(problemsOf(ran), [])
  const [two, nine] = [tensors(ran, "two"), tensors(ran, "nine")]
  const [a, b] = [two("blocks[1].attn.k.second"), nine("blocks[1].attn.k.second")]
  assert.equal(a.shape, [8, 8])
  a.values.forEach((x, i) => assert.ok(Math.abs(x - b.values[i]!) < 1e-3 * (1 + Math.abs(x)), `${x} ${b.values[i]}`))
  assert.is(tensors(ran, "peaks")("blocks[1].mlp.down.peak").values.length, 1)
  const [w, f, s] = [tensors(ran, "small")("blocks[0].mlp.up.weight").values, tensors(ran, "fisher")("blocks[0].mlp.up.weight.square").values, tensors(ran, "steps")("blocks[0].mlp.up.weight").values]
  assert.ok(f.every((x) => x >= 0) && f.some((x) => x > 0))
  w.forEach((x, i) => assert.ok(Math.abs(s[i]! - (x - 0.1 * f[i]!)) < 1e-7))
}))

test("GPTQ changes what a part yields less than rounding does, on the same grid; k-means is closer than both to the numbers themselves", () => withFolder(async (place) => {
  place.write("book.txt", sentences(30))
  const ran = await place.run(recipeOf(`${base}
seen = observe(small, data: tokens.train, inputs: second_moment)
rounded = quantize small { format: int3(group: 8) }
chosen = quantize small { format: int3(group: 8), method: gptq, calibrate: tokens.train }
table = dequantize(quantize small { format: kmeans(bits: 3) })
tuned = quantize small { format: kmeans(bits: 3), method: squeezellm, calibrate: tokens.valid |> take(4) }
expect perplexity(rounded, tokens.valid) + perplexity(chosen, tokens.valid) + perplexity(tuned, tokens.valid) > 0
`))
  assert.equal(problemsOf(ran), [])
  const all = ["small", "rounded", "chosen", "table", "seen"].map((name) => tensors(ran, name))
  const [small, rounded, chosen, table, seen] = all as [typeof all[0], typeof all[0], typeof all[0], typeof all[0], typeof all[0]]
  let [byRounding, byGptq, square, byTable] = [0, 0, 0, 0]
  for (const part of ["attn.q", "attn.k", "attn.v", "attn.out", "mlp.gate", "mlp.up", "mlp.down"]) {
    const at = `blocks[0].${part}`
    const [w, h] = [small(`${at}.weight`).values, seen(`${at}.second`).values]
    byRounding += damage(w, rounded(`${at}.weight`).values, h)
    byGptq += damage(w, chosen(`${at}.weight`).values, h)
    w.forEach((x, i) => {
      square += (x - rounded(`${at}.weight`).values[i]!) ** 2
      byTable += (x - table(`${at}.weight`).values[i]!) ** 2
    })
    assert.is(chosen(`${at}.weight`).encoding, "int3(group=8)")
  }
  assert.ok(byGptq < 0.8 * byRounding, `${byGptq} against ${byRounding}`)
  assert.ok(byTable < square, `${byTable} against ${square}`)
  assert.is(factsOf(ran, "chosen")["bytes"], factsOf(ran, "rounded")["bytes"])
}))

test("pruning: the share of zeros, less damage with the data, and smaller models that still fit together", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const ran = await place.run(recipeOf(`${base}
seen = observe(small, data: tokens.train, inputs: second_moment)
plain = sparsify(small, share: 50%, keep: [embed, head])
careful = sparsify(small, share: 50%, method: wanda, calibrate: tokens.train, keep: [embed, head])
mended = sparsify(small, share: 50%, method: sparsegpt, calibrate: tokens.train, keep: [embed, head])
fours = sparsify(small, method: two_of_four((w, _seen) => abs(w)), keep: [embed, head])
down = observe(small, data: tokens.train, at: [blocks[*].mlp.down], inputs: activity)
out = observe(small, data: tokens.train, at: [blocks[*].attn.out], inputs: activity)
same = thin_neurons(small, 32, down)
neurons = thin_neurons(small, 8, down)
heads = thin_heads(small, 1, out)
blocks = thin_blocks(small, [1])
read = observe(small, data: tokens.train, at: [blocks[*].attn.q, blocks[*].mlp.up], inputs: activity)
turned = thin_features(small, 8, read)
features = thin_features(small, 4, read)
healed = distill small into heads { data: tokens.train, objective: next_token, batch: 4 sequences, steps: 1, optim: sgd(lr: 0.01) }
expect abs(perplexity(same, tokens.valid) - perplexity(small, tokens.valid)) < 1e-3
expect abs(perplexity(turned, tokens.valid) - perplexity(small, tokens.valid)) < 1e-3
expect perplexity(features, tokens.valid) > 0
expect perplexity(neurons, tokens.valid) + perplexity(blocks, tokens.valid) + perplexity(healed, tokens.valid) > 0
`))
  assert.equal(problemsOf(ran), [])
  const [small, seen] = [tensors(ran, "small"), tensors(ran, "seen")]
  const at = "blocks[1].mlp.gate"
  const damages = ["plain", "careful", "mended"].map((name) => {
    const w = tensors(ran, name)(`${at}.weight`).values
    assert.is(w.filter((x) => x === 0).length, w.length / 2, name)
    return damage(small(`${at}.weight`).values, w, seen(`${at}.second`).values)
  })
  const [plain, careful, mended] = damages as [number, number, number]
  assert.ok(careful < plain && mended < careful, damages.join())
  const fours = tensors(ran, "fours")(`${at}.weight`).values
  for (let i = 0; i < fours.length; i += 4) assert.is(fours.slice(i, i + 4).filter((x) => x === 0).length, 2)
  assert.equal(tensors(ran, "neurons")("blocks[0].mlp.down.weight").shape, [8, 8])
  assert.equal(tensors(ran, "heads")("blocks[0].attn.q.weight").shape, [4, 8])
  assert.equal(tensors(ran, "heads")("blocks[0].attn.k.weight").shape, [2, 8])
  assert.equal(tensors(ran, "features")("blocks[0].attn.q.weight").shape, [8, 4])
  assert.equal(tensors(ran, "features")("head.weight").shape[1], 4)
  assert.equal(tensors(ran, "blocks")("blocks[0].attn.k.weight").values, small("blocks[1].attn.k.weight").values)
}))

test("a model with other parts than its arguments say is not written for other programs; one that was cut or merged is", () => withFolder(async (place) => {
  place.write("book.txt", sentences(6))
  const thin = (end: string): string => recipeOf(`${base}
down = observe(small, data: tokens.train, at: [blocks[*].mlp.down], inputs: activity)
out = observe(small, data: tokens.train, at: [blocks[*].attn.out], inputs: activity)
neurons = thin_neurons(small, 8, down)
heads = thin_heads(small, 1, out)
wrapped = small with { at blocks[*].attn.q: map => LoRA(map, rank: 1) }
merged = merge wrapped { parts: [blocks[*].attn.q] }
expect perplexity(neurons, tokens.valid) + perplexity(heads, tokens.valid) + perplexity(merged, tokens.valid) + perplexity(wrapped, tokens.valid) > 0
${end}`)
  for (const good of ["neurons", "merged"]) assert.equal(problemsOf(await place.run(thin(`export ${good} { safetensors: "x" }`))), [], good)
  for (const bad of ["heads", "wrapped"]) assert.equal(problemsOf(await place.run(thin(`export ${bad} { safetensors: "x" }`))).map((p) => p.slice(0, 7)), ["SLM3222"], bad)
}))

test.run()
