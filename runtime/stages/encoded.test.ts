/** Encoded weights as they are stored: the same bits as with what they stand for, where whole sequences are read. Devices against the reference: `runtime/devices/stored.test.ts`. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { SpecWeight } from "../../compiler/graph/lower/forward.ts"
import { lowerForward, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import { printFusion } from "../../compiler/kernel/print.ts"
import { cpuTargets } from "../../compiler/schedule/cpu.ts"
import type { Device } from "../device.ts"
import { compileCpu, openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { layoutOf } from "../export/layouts.ts"
import type { TensorData } from "../export/safetensors.ts"
import { plain, stored } from "../weights.ts"
import { givenTo, overLayouts } from "./encoded.ts"
import type { Ran } from "./testing.ts"
import { checkedWith, factsOf, problemsOf, recipeOf, sentences, specNamed, withFolder } from "./testing.ts"

/** Levels from a table of their own for each row, found by its code: neither a multiple of codes nor known to any file format. */
const levels = `
encoding levels() {
  store: "levels"
  encode(w: float[N, K]) {
    let top = maximum(abs(w), keep: true, axis: -1)
    let codes = round(w / top * 3) + 3
    { codes: codes, table: top * (to_float(range(7)) - 3) / 3 }
  }
  decode(c) { take_along(c.table, to_int(c.codes)) }
}
`

const recipe = `use std.encodings { int4, int8, q4_0 }
${recipeOf(`
book = text("book.txt") |> documents(by: paragraph) |> split(valid: 20%)
words = byte()
tokens = book |> encode(words) |> pack(length: 20)
model M = Llama(vocab: words.size, dim: 32, depth: 1, heads: 2, hidden: 96, context: 48)
result = train M { data: tokens.train, objective: next_token, batch: 4 sequences, steps: 3, optim: adamw(lr: 1e-2) }
a = quantize result { format: int8 }
b = quantize result { format: int4(group: 16) }
c = quantize result { format: q4_0 }
d = quantize result { format: levels }
expect perplexity(a, tokens.valid) + perplexity(b, tokens.valid) + perplexity(c, tokens.valid) + perplexity(d, tokens.valid) > 0
${["a", "b", "c", "d"].map((name) => `text_${name} = generate ${name} { prompts: ["the whale", "in", "a ship"], tokens: 20, temperature: 0 }`).join("\n")}
`).replace(/^use std.encodings.*$/m, "")}
${levels}`

/** Remembers the programs it loads. */
function watched(device: Device, programs: Program[]): Device {
  return { ...device, load: (program) => { programs.push(program); return device.load(program) } }
}

const losses = (ran: Ran): readonly number[] => ["a", "b", "c", "d"].map((name) => factsOf(ran, `evaluate ${name}`)["loss"] ?? NaN)
const texts = (ran: Ran): readonly unknown[] => ran.events.flatMap((event) => (event.event === "sample" ? [event.text] : []))

test("weights are computed from as they are stored, with the same bits for any number of threads", () => withFolder(async (place) => {
  place.write("book.txt", sentences(30))
  const first = await openCpu({ threads: 1 })
  if (!isUsable(first)) return console.log(`  skipped: ${first.reason}`)
  const { computesFromStorage: _, ...wide } = first
  const programs: Program[] = []
  const plain = await place.run(recipe, { device: { ...wide, info: { ...wide.info, numericsClass: "plain" } } })
  const stored = await place.run(recipe, { device: watched({ ...first, info: { ...first.info, numericsClass: "stored" } }, programs) })
  assert.equal([problemsOf(plain), problemsOf(stored)], [[], []])
  assert.equal(losses(stored), losses(plain))
  assert.equal(texts(stored), texts(plain))
  for (const threads of [2, 3]) {
    const device = await openCpu({ threads })
    if (!isUsable(device)) return
    const again = await place.run(recipe, { device: { ...device, info: { ...device.info, numericsClass: `stored ${threads}` } } })
    assert.equal(losses(again), losses(stored))
    assert.equal(texts(again), texts(stored))
  }
  // Every matrix of every model is in one of these storages, and none is written out in full.
  const evaluations = programs.filter((program) => program.inputs.some((node) => node.args.stored !== undefined))
  assert.equal([...new Set(evaluations.flatMap((program) => program.inputs.map((node) => node.args.stored ?? "none")))].sort(), ["f16", "i4", "i8", "none", "u4"])
  for (const program of evaluations) {
    const fused = orderKernels(fuse(program))
    assert.match(printFusion(program, fused), /made where it is read/)
    const written = new Set(fused.kernels.flatMap((kernel) => (kernel.kind === "rows" ? kernel.stores.map((store) => store.buffer) : [])))
    assert.equal([...written].filter((buffer) => buffer.size === 32 * 96 || buffer.size === 32 * 32).map((buffer) => buffer.name), [])
  }
}))

test("a plan knows by their layout how weights will lie in a program, to the byte", async () => {
  const checked = checkedWith(recipeOf("words = byte()\nmodel M = Llama(vocab: words.size, dim: 32, depth: 1, heads: 2, hidden: 96, context: 48)"))
  const spec = specNamed(checked, "M")
  const list = weightsOfSpec(checked.session, spec)
  const program = lowerForward(checked.session, spec, { rows: 2, length: 5, vocab: 257 }, { source: "recipe.slm", start: 0, end: 0 })
  if ("code" in program) throw new Error(program.message)
  for (const store of ["int8", "int4(group=16)", "int3(group=32)", "gguf.q4_0", "gguf.q8_0"]) {
    const layout = layoutOf(store)
    if (layout === null) throw new Error(store)
    const encodes = ({ shape }: SpecWeight): boolean => shape.length === 2 && shape[0] !== 257
    // Codes of 0 and 1 alone would fit into less than the layout admits.
    const tensors = new Map(list.map((weight) => {
      const n = size(weight.shape)
      const codes = layout.low < 0 ? new Int8Array(n) : new Uint8Array(n)
      return [weight.path, encodes(weight) ? stored(weight.shape, store, new Map<string, TensorData>([["codes", codes.fill(1)], ["scales", new Float32Array(layout.scales(weight.shape)).fill(0.5)]])) : plain(weight.shape, new Float32Array(n))] as const
    }))
    const actual = givenTo({ computesFromStorage: true } as Device, { tensors }, list).over(program)
    const planned = overLayouts(program, list, (weight) => (encodes(weight) ? layout : null))
    const inputs = ({ inputs: all }: Program): readonly string[] => all.map(({ args }) => `${args.name} [${args.shape.join(", ")}] ${args.stored ?? "f32"}`)
    assert.equal(inputs(planned), inputs(actual), store)
    assert.ok(inputs(planned).some((input) => /codes .* (i8|i4|u4)$/.test(input)))
    assert.is(compileCpu(planned, cpuTargets.avx2).arena, compileCpu(actual, cpuTargets.avx2).arena)
    assert.ok(compileCpu(planned, cpuTargets.avx2).arena < compileCpu(program, cpuTargets.avx2).arena)
  }
})

test.run()
