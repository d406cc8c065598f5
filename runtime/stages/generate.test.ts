/** Generation with caches against the whole forward pass, through recipes. */
import { createHash } from "node:crypto"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { instantiate } from "../../compiler/check/instance.ts"
import { createMachine } from "../../compiler/check/machine.ts"
import type { Checked } from "../../compiler/check/check.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
import type { Program } from "../../compiler/graph/node.ts"
import { initialValues } from "../../compiler/graph/lower/initial.ts"
import { lowerForward, lowerGeneration, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { Device, HostTensor, Runner } from "../device.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { createReference } from "../devices/reference.ts"
import { decode } from "./decode.ts"
import { roundedIn } from "./rounded.ts"
import { ids, taken, writeStates } from "./feeds.ts"
import { nextToken } from "./sample.ts"
import { checkedWith, recipeOf, specNamed } from "./testing.ts"
import { f32 } from "./weights-io.ts"

const vocab = 257
const device = createReference()

interface Model { readonly checked: Checked; readonly spec: SpecValue; readonly weights: Map<string, HostTensor> }
const models = new Map<string, Model>()

/** A model of a recipe with weights large enough that attention matters. */
function modelOf(text: string): Model {
  const known = models.get(text)
  if (known !== undefined) return known
  const checked = checkedWith(recipeOf(`words = byte()\n${text}`))
  const spec = specNamed(checked, "M")
  const weights = weightsOfSpec(checked.session, spec).map((w): [string, HostTensor] => {
    const values = initialValues(w.info.init.how === "normal" ? { ...w.info.init, a: 0.3 } : w.info.init, w.shape, w.path, 5)
    return [w.name, f32(w.shape, values)]
  })
  const model = { checked, spec, weights: new Map(weights) }
  models.set(text, model)
  return model
}

const hash = (data: ArrayBufferView): string => createHash("sha256").update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).digest("hex")
const span = { source: "recipe.slm", start: 0, end: 0 }
const llama = 'model M = Llama(vocab: words.size, dim: 16, depth: 2, heads: 4, kv_heads: 2, context: 32)'
const window = 'model M = Llama(vocab: words.size, dim: 16, depth: 2, heads: 2, context: 32, window: 4)'
const gpt = 'model M = GPT(vocab: words.size, dim: 16, depth: 2, heads: 2, context: 32, dropout: 0.2)'

/** Greedy continuation that runs the whole forward pass for every token. */
async function slowly(text: string, prompt: readonly number[], n: number): Promise<number[]> {
  const { checked, spec, weights } = modelOf(text)
  const tokens = [...prompt]
  for (let i = 0; i < n; i++) {
    const program = lowerForward(checked.session, spec, { rows: 1, length: tokens.length, vocab }, span)
    if ("code" in program) throw new Error(program.message)
    const runner = await device.load(program)
    await writeStates(runner, program, weights)
    const places = tokens.map((_, j) => j)
    const out = await runner.step(taken(program, { tokens: ids([1, tokens.length], tokens), positions: ids([1, tokens.length], places), segments: ids([1, tokens.length], tokens.map(() => 0)) }))
    const logits = (out["logits"]?.data as Float32Array).slice(-vocab)
    tokens.push(nextToken(logits, { temperature: 0, topK: null, topP: null, seed: 0 }, 0, tokens.length))
  }
  return tokens.slice(prompt.length)
}

async function quickly(text: string, prompts: readonly (readonly number[])[], n: number, temperature = 0, more: Partial<Parameters<typeof decode>[3]> = {}, on: Device = device) {
  const { checked, spec, weights } = modelOf(text)
  const program = lowerGeneration(checked.session, spec, vocab, span)
  if (typeof program !== "function") throw new Error(program.message)
  return decode(on, { program: (rows, block, capacity) => program(rows, block, capacity, block === 1), fill: (runner, own) => writeStates(runner, own, weights), context: 32 }, prompts, {
    temperature, topK: null, topP: null, seed: 1, tokens: n, stopIds: new Set(), stopsAt: () => false, signal: null, ...more,
  })
}

const prompt = [20, 84, 12, 99, 3]

for (const [name, text] of [["grouped-query attention with rotary positions", llama], ["a sliding window", window], ["learned positions", gpt]] as const) {
  test(`the same greedy text with caches as without: ${name}`, async () => {
    const [fast] = await quickly(text, [prompt], 7)
    const slow = await slowly(text, prompt, 7)
    assert.equal(fast?.ids, slow)
    assert.ok(new Set(slow).size > 1)
  })
}

test("prompts of unequal length are continued as if each stood alone", async () => {
  const prompts = [prompt, [7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
  const together = await quickly(llama, prompts, 6)
  for (const [i, one] of prompts.entries()) assert.equal(together[i]?.ids, (await quickly(llama, [one], 6))[0]?.ids)
})

test("a window's cache holds no more than the window, for prompts shorter and longer than it", async () => {
  const { checked, spec } = modelOf(window)
  const programs = lowerGeneration(checked.session, spec, vocab, span)
  if (typeof programs !== "function") throw new Error(programs.message)
  assert.equal([...new Set(programs(1, 1, 32, true).caches.map(({ args }) => args.shape[args.dtype === "i32" ? 1 : 2]))], [4])
  const prompts = [prompt, [7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
  const together = await quickly(window, prompts, 8)
  for (const [i, one] of prompts.entries()) assert.equal(together[i]?.ids, await slowly(window, one, 8), `prompt ${i}`)
})

test("on the cpu, too, a text does not depend on what is written beside it: not by a bit of its logits", async () => {
  const on = await openCpu({ threads: 2 })
  if (!isUsable(on)) return console.log(`  skipped: ${on.reason}`)
  const prompts = [prompt, [7], Array.from({ length: 19 }, (_, i) => 3 * i + 1)]
  const seen: string[] = []
  const watched: Device = {
    ...on,
    async load(program) {
      const runner = await on.load(program)
      return { ...runner, async step(batch) {
        const result = await runner.step(batch)
        const logits = result["logits"]
        if (logits !== undefined) seen.push(...Array.from({ length: logits.shape[0] ?? 1 }, (_, i) => hash(logits.data.subarray(i * vocab, (i + 1) * vocab))))
        return result
      } }
    },
  }
  const together = await quickly(llama, prompts, 6, 1, {}, watched)
  const all = seen.splice(0)
  for (const [i, one] of prompts.entries()) {
    const alone = await quickly(llama, [one], 6, 1, { firstPrompt: i }, watched)
    assert.equal(alone[0], together[i])
    assert.equal(seen.splice(0), all.filter((_, at) => at % prompts.length === i))
  }
})

test("weights and caches that are only rounded to bf16 lie in bf16, with the same bits of all logits", async () => {
  const on = await openCpu({ threads: 2 })
  if (!isUsable(on)) return console.log(`  skipped: ${on.reason}`)
  const { checked, spec, weights } = modelOf(llama)
  const programs = lowerGeneration(checked.session, spec, vocab, span, { factors: "bf16", kept: "bf16" })
  if (typeof programs !== "function") throw new Error(programs.message)
  const plainly = lowerGeneration(checked.session, spec, vocab, span, { factors: "bf16", kept: null })
  if (typeof plainly !== "function") throw new Error(plainly.message)
  const narrow = roundedIn(programs(2, 1, 32).program)
  const stored = narrow.inputs.flatMap(({ args }) => (args.stored === "bf16" && !args.name.startsWith("cache.") ? [args.name.replace(/blocks\[\d+\]/, "blocks")] : []))
  assert.equal([...new Set(stored)].sort(), ["attn.k", "attn.out", "attn.q", "attn.v", "mlp.down", "mlp.gate", "mlp.up"].map((name) => `model.blocks.${name}.weight`).concat(stored.includes("model.head.weight") ? ["model.head.weight"] : []).sort())
  const seen: string[][] = [[], [], []]
  for (const [i, [made, change]] of ([[plainly, (program) => program], [plainly, roundedIn], [programs, roundedIn]] satisfies [typeof programs, (program: Program) => Program][]).entries()) {
    const watched: Device = {
      ...on,
      async load(program) {
        const { continue: _, ...runner } = await on.load(program)
        return { ...runner, async step(batch) {
          const result = await runner.step(batch)
          if (result["logits"] !== undefined) seen[i]?.push(hash(result["logits"].data))
          return result
        } }
      },
    }
    const decoder = { program: (rows: number, tokens: number, capacity: number) => { const found = made(rows, tokens, capacity); return { ...found, program: change(found.program) } }, fill: (runner: Runner, own: Program) => writeStates(runner, own, weights), context: 32 }
    await decode(watched, decoder, [prompt, [7]], { temperature: 0, topK: null, topP: null, seed: 1, tokens: 6, stopIds: new Set(), stopsAt: () => false, signal: null })
  }
  assert.is(seen[0]?.length, 6)
  assert.equal(seen[1], seen[0])
  assert.equal(seen[2], seen[0])
})

test("more prompts than fit into one batch keep their numbers", async () => {
  const prompts = Array.from({ length: 10 }, (_, i) => [i, 2 * i + 1])
  const all = await quickly(llama, prompts, 3, 1)
  const ninth = await quickly(llama, [prompts[9] ?? []], 3, 1, { firstPrompt: 9 })
  assert.is(all.length, 10)
  assert.equal(all[9]?.ids, ninth[0]?.ids)
})

test("a text ends at a stop token, a stop text, its length or the context", async () => {
  const [free] = await quickly(llama, [prompt], 6)
  const third = free?.ids[2] ?? 0
  const cut = free?.ids.slice(0, free.ids.indexOf(third))
  const stopped = await quickly(llama, [prompt], 6, 0, { stopIds: new Set([third]) })
  assert.equal(stopped[0], { ids: cut, end: "stop" })
  assert.is(free?.end, "length")
  const [long] = await quickly(llama, [prompt], 100)
  assert.is(long?.end, "context")
  assert.is(long?.ids.length, 32 - prompt.length)
  const [two] = await quickly(llama, [prompt], 6, 0, { stopsAt: (made) => made.length === 2 })
  assert.equal(two, { ids: free?.ids.slice(0, 2) ?? [], end: "stop" })
})

test("sampling depends on seed, prompt and position alone", async () => {
  const [a] = await quickly(llama, [prompt], 8, 1)
  const [b] = await quickly(llama, [prompt], 8, 1)
  const [c] = await quickly(llama, [prompt], 8, 1, { seed: 2 })
  const [d] = await quickly(llama, [prompt], 3, 1)
  assert.equal(a, b)
  assert.not.equal(a?.ids, c?.ids)
  assert.equal(d?.ids, a?.ids.slice(0, 3))
})

/** What is said of a model whose block is `layer Mix`. */
function verdict(body: string, members = ""): string {
  const { checked, spec } = modelOf(`
layer Mix(dim: int) { ${members} forward(x: float[B, T, dim]) -> float[B, T, dim] { ${body} } }
model Mixer(vocab: int, dim: int) {
  part embed = Embedding(vocab, dim)
  part mix = Mix(dim)
  part head = Linear(dim, vocab)
  forward(tokens: ids(vocab)[B, T]) { { logits: head(mix(embed(tokens))) } }
}
model M = Mixer(words.size, 8)`)
  const result = lowerGeneration(checked.session, spec, vocab, span)
  return typeof result === "function" ? "" : `${result.code} ${result.message}`
}

test("an op that mixes positions is named with its layer", () => {
  assert.is(verdict("x + cumsum(x, axis: 1)"), "SLM3302 `M` cannot write text token by token: `cumsum` in `model.mix` adds up positions one after the other")
  assert.is(verdict("x + mean(x, axis: 1, keep: true)"), "SLM3302 `M` cannot write text token by token: `sum` in `model.mix` sums over the positions")
  assert.is(verdict("x + cumsum(x, axis: 2)"), "")
  assert.is(verdict("x * scale", "param scale: float[dim] = ones()"), "")
})

test("a model without logits for each position does not write", () => {
  const { checked, spec } = modelOf(`
model Pool(vocab: int, dim: int) {
  part embed = Embedding(vocab, dim)
  forward(tokens: ids(vocab)[B, T]) { { logits: mean(embed(tokens), axis: 1) } }
}
model M = Pool(words.size, 8)`)
  const result = lowerGeneration(checked.session, spec, vocab, span)
  assert.is(typeof result === "function" ? "" : result.code, "SLM3303")
  assert.is(instantiate(spec, "model", span, createMachine(checked.session)).kind, "instance")
})

test("a model that needs more than tokens and places does not write", () => {
  const { checked, spec } = modelOf(`
model Seeing(vocab: int, dim: int) {
  part embed = Embedding(vocab, dim)
  part head = Linear(dim, vocab)
  forward(tokens: ids(vocab)[B, T], image: float[B, dim]) { { logits: head(embed(tokens) + rearrange(image, "b d -> b 1 d")) } }
}
model M = Seeing(words.size, 8)`)
  const result = lowerGeneration(checked.session, spec, vocab, span)
  assert.match(typeof result === "function" ? "" : `${result.code} ${result.message}`, "SLM2015 `Seeing` needs `image`")
})

test("a device that chooses tokens itself writes the same texts, token by token, however they end", async () => {
  const cpu = await openCpu({ threads: 2 })
  if (!isUsable(cpu)) return console.log(`  skipped: ${cpu.reason}`)
  const calls = { step: 0, continue: 0 }
  const counted = (continues: boolean): Device => ({
    ...cpu,
    async load(program, most) {
      const { continue: goOn, ...runner } = await cpu.load(program, most)
      const step: Runner["step"] = (batch) => { calls.step++; return runner.step(batch) }
      return goOn === undefined || !continues ? { ...runner, step } : { ...runner, step, continue: (texts) => { calls.continue++; return goOn(texts) } }
    },
  })
  const prompts = [[5, 9, 200], [7], [100, 3, 3, 3, 3, 8, 250, 11, 4, 90, 17, 2, 1, 6, 33, 44, 55, 66, 77]]
  const ways: readonly (readonly [number, Partial<Parameters<typeof decode>[3]>])[] = [
    [0, {}], [0.8, {}], [0.8, { topK: 5 }], [1.3, { topP: 0.7 }], [2, { topK: 200, topP: 0.95 }], [0.01, {}], [5, { tokens: 7 }],
    [1, { stopIds: new Set([...Array(40).keys()]) }], [1, { stopsAt: (own) => own.length > 2 && (own.at(-1) ?? 0) % 5 === 0 }], [1, { seed: 77, firstPrompt: 5 }],
  ]
  for (const [number, [temperature, more]] of ways.entries()) {
    const [one, other] = await Promise.all([true, false].map(async (continues) => {
      const heard: (readonly [number, number])[] = []
      const texts = await quickly(llama, prompts, 20, temperature, { ...more, onToken: (prompt, id) => void heard.push([prompt, id]), onEnd: (prompt) => void heard.push([prompt, -1]) }, counted(continues))
      return { texts, heard }
    }))
    assert.equal(one, other, `way ${number}`)
  }
  assert.ok(calls.continue > 10 && calls.continue < calls.step, `${calls.continue} calls for several tokens beside ${calls.step} for one`)
})

test.run()
