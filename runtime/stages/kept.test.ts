/** Keys and values of earlier tokens in 16 bits: one meaning on all devices, however a text is cut into calls. */
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { lowerAnswers, lowerGeneration, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { Numbers } from "../../compiler/graph/lower/context.ts"
import { numbersFor } from "../../compiler/graph/lower/context.ts"
import { initialValues } from "../../compiler/graph/lower/initial.ts"
import { size } from "../../compiler/graph/node.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import { bytesOf } from "../../compiler/kernel/ir.ts"
import type { Device } from "../device.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { createReference } from "../devices/reference.ts"
import { openTfjs } from "../devices/tfjs.ts"
import { plan } from "../index.ts"
import { plain, stored } from "../weights.ts"
import type { Weights } from "../weights.ts"
import { decode } from "./decode.ts"
import { givenTo } from "./encoded.ts"
import { ids, taken, zeros } from "./feeds.ts"
import { nextToken } from "./sample.ts"
import { checkedWith, problemsOf, recipeOf, sentences, specNamed, withFolder } from "./testing.ts"

const span = { source: "recipe.slm", start: 0, end: 0 }
const f16: Numbers = { factors: "f32", kept: "f16" }
const vocab = 257
const prompt = [20, 84, 12, 99, 3]
const models = {
  "grouped heads": "Llama(vocab: words.size, dim: 32, depth: 2, heads: 4, kv_heads: 2, hidden: 64, context: 48)",
  "a window": "Llama(vocab: words.size, dim: 32, depth: 2, heads: 2, hidden: 64, context: 48, window: 6)",
  "learned places": "GPT(vocab: words.size, dim: 32, depth: 2, heads: 2, context: 48)",
} as const

/** Matrices in int4, large enough that the text depends on what was said; `scale` of the keys. */
function modelOf(text: string, scale = 1) {
  const checked = checkedWith(recipeOf(`words = byte()\nmodel M = ${text}`))
  const [session, spec] = [checked.session, specNamed(checked, "M")]
  const list = weightsOfSpec(session, spec)
  const weights: Weights = { tensors: new Map(list.map(({ path, shape, info }) => {
    if (shape.length < 2) return [path, plain(shape, initialValues(info.init, shape, path, 3))]
    const codes = Int8Array.from(initialValues({ ...info.init, how: "normal", a: 3 }, shape, path, 3), (x) => Math.max(-8, Math.min(7, Math.round(x))))
    return [path, stored(shape, "int4(group=32)", new Map<string, Int8Array | Float32Array>([["codes", codes], ["scales", new Float32Array(codes.length / 32).fill(0.1 * (path.includes("attn.k") ? scale : 1))]]))]
  })) }
  return { session, spec, list, weights }
}

async function written(on: Device, model: ReturnType<typeof modelOf>, prompts: readonly (readonly number[])[], numbers = f16, tokens = 20) {
  const programs = lowerGeneration(model.session, model.spec, vocab, span, numbers)
  if (typeof programs !== "function") throw new Error(programs.message)
  const given = givenTo(on, model.weights, model.list)
  const decoder = {
    program: (rows: number, block: number, capacity: number) => { const { program, caches } = programs(rows, block, capacity, block === 1); return { program: given.over(program), caches } },
    fill: given.fill, context: 48,
  }
  return (await decode(on, decoder, prompts, { temperature: 0, topK: null, topP: null, seed: 1, tokens, stopIds: new Set(), stopsAt: () => false, signal: null })).map((one) => one.ids)
}

test("encoded weights keep f16, factors of bf16 keep bf16, plain numbers keep what they have", () => {
  const encoding = [{}] as unknown as Parameters<typeof numbersFor>[0]
  assert.equal([numbersFor([], "f32").kept, numbersFor(encoding, "f32").kept, numbersFor(encoding, "bf16").kept, numbersFor([], "bf16").kept, numbersFor([], "f16").kept], [null, "f16", "bf16", "bf16", null])
})

for (const [name, text] of Object.entries(models)) {
  test(`an int4 model writes the same text on every device, alone and beside others, on any number of threads: ${name}`, async () => {
    const model = modelOf(text)
    const prompts = [prompt, [7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
    const expected = await written(createReference(), model, prompts)
    assert.ok(new Set(expected.flat()).size > 12)
    for (const [i, one] of prompts.entries()) assert.equal(await written(createReference(), model, [one]), [expected[i]])
    for (const on of [await openTfjs(), ...await Promise.all([1, 2, 3].map((threads) => openCpu({ threads })))]) {
      if (isUsable(on)) assert.equal(await written(on, model, prompts), expected, on.info.detail)
    }
  })
}

test("a text is the same whether its prompt comes in one piece or token by token: caches are read back", async () => {
  const model = modelOf(models["grouped heads"])
  const [expected = []] = await written(createReference(), model, [prompt])
  for (const on of [createReference(), await openCpu({ threads: 2 })]) {
    if (!isUsable(on)) continue
    const programs = lowerGeneration(model.session, model.spec, vocab, span, f16)
    if (typeof programs !== "function") throw new Error(programs.message)
    const { program: bare, caches } = programs(1, 1, 48)
    const given = givenTo(on, model.weights, model.list)
    const program = given.over(bare)
    const runner = await on.load(program)
    await given.fill(runner, program)
    for (const { args } of caches) await runner.write(args.name, zeros(args.dtype, args.shape, args.stored))
    const tokens = [...prompt]
    for (let at = 0; at < prompt.length + expected.length - 1; at++) {
      const out = await runner.step(taken(program, { tokens: ids([1, 1], [tokens[at] ?? 0]), positions: ids([1, 1], [at]), segments: ids([1, 1], [0]), offset: ids([1], [at]), last: ids([1], [0]) }))
      if (at >= prompt.length - 1) tokens.push(nextToken(out["logits"]?.data as Float32Array, { temperature: 0, topK: null, topP: null, seed: 1 }, 0, at + 1))
    }
    assert.equal(tokens.slice(prompt.length), expected, on.info.name)
    runner.dispose()
  }
})

test("keys beyond f16 give a text, the same on every device", async () => {
  const model = modelOf(models["learned places"], 3e6)
  const expected = await written(createReference(), model, [prompt])
  assert.not.equal(expected, await written(createReference(), model, [prompt], { factors: "f32", kept: null }))
  const cpu = await openCpu({ threads: 2 })
  if (isUsable(cpu)) assert.equal(await written(cpu, model, [prompt]), expected)
})

test("caches in 16 bits take half the bytes, of attention to another text, too, and no kernel passes over them", () => {
  const { session, spec } = modelOf(models["grouped heads"])
  const two = ([null, "f16", "bf16"] as const).map((kept) => {
    const programs = lowerGeneration(session, spec, vocab, span, { factors: kept === "bf16" ? kept : "f32", kept })
    if (typeof programs !== "function") throw new Error(programs.message)
    return orderKernels(fuse(programs(2, 1, 40).program))
  })
  const bytes = two.map(({ inputs }) => inputs.filter(({ name, buffer }) => name.startsWith("cache.") && buffer.dtype === "f32").reduce((sum, { buffer }) => sum + bytesOf(buffer), 0))
  assert.equal(bytes, [8 * 640 * 4, 4 * 640 * 4, 4 * 640 * 4])
  assert.equal(two.map(({ kernels }) => kernels.filter((kernel) => kernel.kind === "rows" && kernel.rows * kernel.cols >= 640).length), [0, 0, 0])
  const asked = checkedWith("use std.seq2seq { T5 }\nwords = byte()\nmodel M = T5(vocab: words.size, dim: 16, depth: 2, heads: 2)")
  const answers = lowerAnswers(asked.session, specNamed(asked, "M"), vocab, span, f16)
  if (typeof answers !== "function") throw new Error(answers.message)
  const { program } = answers(3, 32, 20).more(3, 1, 20)
  const halves = program.inputs.filter(({ args }) => args.stored === "f16").map(({ args, shape }) => [args.name.split(".")[0], size(shape)])
  assert.equal(halves.map(String).sort(), [...Array<string>(4).fill(`cache,${3 * 20 * 16}`), ...Array<string>(4).fill(`once,${3 * 32 * 16}`)])
  const read = orderKernels(fuse(program))
  assert.ok(read.kernels.every((kernel) => kernel.kind !== "attend" || kernel.k.buffer.stored === "f16"))
})

test("a plan says to the byte what generation takes, with caches in two bytes", () => withFolder(async (place) => {
  const cpu = await openCpu()
  if (!isUsable(cpu)) return console.log(`  skipped: ${cpu.reason}`)
  const said = '{ prompts: ["the whale", "a"], tokens: 64, temperature: 0'
  const recipe = recipeOf(`
book = text("book.txt") |> documents(by: paragraph)
words = bpe(book, size: 270)
model M = Llama(vocab: words.size, dim: 32, depth: 1, heads: 2, hidden: 64, context: 48)
there = train M { data: book |> encode(words) |> pack(length: 16), objective: next_token, batch: 4 sequences, steps: 1, optim: adamw(lr: 1e-2) }
pocket = quantize there { format: int4(group: 32) }
wide = generate there ${said} }
half = generate there ${said}, precision: bf16 }
small = generate pocket ${said} }`)
  place.write("book.txt", sentences(20))
  place.write("recipe.slm", recipe)
  const { plan: planned, diagnostics } = await plan(path.join(place.folder, "recipe.slm"), { device: "cpu" })
  assert.equal(diagnostics, [])
  const taken: number[] = []
  const watched: Device = { ...cpu, async load(program, most) {
    const runner = await cpu.load(program, most)
    if (program.name.endsWith("of 1 tokens")) taken.push((runner.memory?.arena ?? 0) + (runner.memory?.threads ?? 0))
    return runner
  } }
  assert.equal(problemsOf(await place.run(recipe, { device: watched })), [])
  assert.equal(taken, ["wide", "half", "small"].map((name) => planned?.stages.find((stage) => stage.name === name)?.memory))
}))

test.run()
