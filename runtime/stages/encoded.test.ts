/** Encoded weights as they are stored: the same bits as with what they stand for. Devices against the reference: `runtime/devices/stored.test.ts`. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Program } from "../../compiler/graph/node.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { orderKernels } from "../../compiler/kernel/order.ts"
import { printFusion } from "../../compiler/kernel/print.ts"
import type { Device } from "../device.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import type { Ran } from "./testing.ts"
import { factsOf, problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"

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

test.run()
