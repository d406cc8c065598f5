/** Stages on the GPU: what stays there, what comes back, and what is left when the device goes away. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Device } from "../device.ts"
import { createReference } from "../devices/reference.ts"
import { softwareGpu } from "../devices/webgpu-testing.ts"
import type { WebgpuDevice } from "../devices/webgpu.ts"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"

const device = await softwareGpu()

const model = "model Tiny = Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16)"
const training = (more: string): string => recipeOf(`${bookTokens(8)}
${model}
result = train Tiny { data: tokens.train, objective: next_token, optim: adamw(lr: 1e-2), ${more} }`)

const weightsIn = (folder: string): string => fs.readFileSync(path.join(folder, "artifacts", "result", "weights.safetensors"), "hex")

/** The device, and how many bytes its programs take. */
function counting(on: WebgpuDevice): { readonly device: Device; readonly arenas: number[]; readonly states: Set<string> } {
  const arenas: number[] = []
  const states = new Set<string>()
  return {
    arenas, states,
    device: {
      ...on,
      async load(program, most) {
        const runner = await on.load(program, most)
        arenas.push(runner.memory?.arena ?? 0)
        return { ...runner, write: async (name, value) => { states.add(`${program.name}: ${name} ${value.stored ?? value.dtype}`); await runner.write(name, value) } }
      },
    },
  }
}

if (device !== null) {
  test("in a training only metrics and hashes come back: validation, samples and the best weights stay on the GPU", () => withFolder(async (place) => {
    place.write("book.txt", sentences(30))
    const recipe = training('valid: { book: tokens.valid, learned: tokens.train |> take(4) }, metrics: { again: (out, batch) => cross_entropy(out.logits, batch.labels) }, batch: 4 sequences, steps: 6, samples: ["the "]')
    const before = { ...device.counters }
    const reads: number[] = []
    const ran = await place.run(recipe, { device, emit: ({ event }) => { if (event === "progress" || event === "trace" || event === "sample") reads.push(device.counters.stateReads - before.stateReads) } })
    assert.equal(problemsOf(ran), [])
    assert.ok(ran.events.filter(({ event }) => event === "sample").length === 4 && ran.events.filter(({ event }) => event === "trace").length === 6)
    // The sample after the last step is the last that is heard before the result is read.
    assert.equal([...new Set(reads)], [0])
    assert.ok(device.counters.stateReads > before.stateReads)
    const bits = weightsIn(ran.out)
    const there = await place.run(recipe, { fresh: true })
    const [got, want] = [factsOf(ran, "result"), factsOf(there, "result")]
    for (const name of ["loss", "valid", "valid.book", "valid.learned.again"]) assert.ok(Math.abs((got[name] ?? NaN) - (want[name] ?? NaN)) < 1e-3, `${name} ${got[name]} instead of ${want[name]}`)
    // Equal bits a second time, and hashes of all weights and states that say so.
    const again = await place.run(recipe, { device, fresh: true, out: path.join(place.folder, "again") })
    assert.ok(weightsIn(again.out) === bits)
    const traces = (events: typeof ran.events): readonly unknown[] => events.flatMap((e) => (e.event === "trace" ? [[e.step, e.steps, e.states]] : []))
    assert.equal(traces(again.events), traces(ran.events))
    const hashes = ran.events.flatMap((e) => (e.event === "trace" ? Object.values(e.states) : []))
    assert.ok(hashes.every((hash) => /^[0-9a-f]{16}$/.test(hash)) && new Set(hashes).size > 0.9 * hashes.length)
  }))

  test("counts, losses and gradients of micro-batches are added up on the GPU: one read where a step is reported", () => withFolder(async (place) => {
    place.write("book.txt", sentences(30))
    const before = { ...device.counters }
    const reads: (readonly number[])[] = []
    const recipe = training("valid: tokens.valid, batch: 2 sequences, accumulate: 3, steps: 4")
    const parts = await place.run(recipe, { device, emit: ({ event }) => { if (event === "progress") reads.push([device.counters.stateReads - before.stateReads, device.counters.metricReads - before.metricReads]) } })
    assert.equal(problemsOf(parts), [])
    // Each of these steps is reported and validated: one read of its metrics, one of all batches of the validation.
    assert.equal(reads, [[0, 2], [0, 4], [0, 6], [0, 8]])
    // Validations of one large batch would see more rows.
    const there = await place.run(recipe, { fresh: true })
    const whole = await place.run(training("batch: 6 sequences, steps: 4"), { device })
    for (const [name, other] of [["loss", there], ["valid", there], ["loss", whole]] as const) {
      const [got, want] = [factsOf(parts, "result")[name] ?? NaN, factsOf(other, "result")[name] ?? NaN]
      assert.ok(Math.abs(got - want) < 1e-4 * want, `${name} ${got} instead of ${want}`)
    }
  }))

  test("a device that is lost in the middle of a training ends it, and the next run goes on from the last checkpoint to the same bits", () => withFolder(async (place) => {
    place.write("book.txt", sentences(30))
    const recipe = training("batch: 2 sequences, steps: 5")
    const whole = await place.run(recipe, { device, fresh: true })
    const bits = weightsIn(whole.out)
    fs.rmSync(path.join(place.folder, ".slm"), { recursive: true })
    const other = await softwareGpu()
    if (other === null) throw new Error("the device was there a moment ago")
    const stopped = await place.run(recipe, { device: other, checkpointSeconds: 0, emit: (e) => { if (e.event === "progress" && e.step === 4) other.gpu.destroy() } })
    assert.is(stopped.status, "failed")
    assert.match(problemsOf(stopped).join(), /^SLM3501 .* was lost: it was closed/)
    assert.match(stopped.diagnostics.map(({ help }) => help).join(), /goes on from the last checkpoint/)
    const ran = await place.run(recipe, { device })
    assert.is(ran.status, "done")
    assert.equal(ran.events.flatMap((e) => (e.event === "resumed" ? [e.step] : [])), [3])
    assert.ok(weightsIn(ran.out) === bits)
  }))

  test("with `max_memory` less is taken for the same weights", () => withFolder(async (place) => {
    place.write("book.txt", sentences(30))
    const steps = (more: string): string => training(`batch: 16 sequences, steps: 2${more}`).replace("depth: 1", "depth: 4")
    const [full, less] = [counting(device), counting(device)]
    const whole = await place.run(steps(""), { device: full.device })
    const bits = weightsIn(whole.out)
    const ran = await place.run(steps(`, max_memory: ${Math.floor(0.8 * Math.max(...full.arenas))} bytes`), { device: less.device, fresh: true })
    assert.equal(problemsOf(ran), [])
    assert.ok(Math.max(...less.arenas) <= 0.8 * Math.max(...full.arenas), `${less.arenas} beside ${full.arenas}`)
    assert.ok((factsOf(ran, "result")["recomputed"] ?? 0) > 0)
    assert.ok(weightsIn(ran.out) === bits)
  }))

  test("memory that is not there ends the stage with the limit's name", () => withFolder(async (place) => {
    place.write("book.txt", sentences(30))
    const small = await softwareGpu({ binding: 4096, bindings: 2 })
    const ran = await place.run(training("batch: 2 sequences, steps: 2"), { ...(small === null ? {} : { device: small }) })
    assert.is(ran.status, "failed")
    assert.match(problemsOf(ran).join(), /^SLM3501 .* needs \d+ and the adapter's max\w+ is \d+/)
    small?.close()
  }))

  test("texts come from packed weights, which no kernel writes out, and are those of the reference", () => withFolder(async (place) => {
    place.write("book.txt", sentences(30))
    const recipe = recipeOf(`${bookTokens(8)}
model Tiny = Llama(vocab: words.size, dim: 32, depth: 1, heads: 2, context: 32)
base = train Tiny { data: tokens.train, objective: next_token, optim: sgd(lr: 0.5), batch: 4 sequences, steps: 3 }
eight = quantize base { format: int8 }
four = quantize base { format: int4(group: 16) }
one = generate(eight, prompts: ["the whale"], tokens: 6, temperature: 0)
two = generate(four, prompts: ["the whale"], tokens: 6, temperature: 0)
three = generate(base, prompts: ["the whale"], tokens: 6, temperature: 0)
`)
    const { device: counted, arenas, states } = counting(device)
    const ran = await place.run(recipe, { device: counted })
    assert.equal(problemsOf(ran), [])
    const there = await place.run(recipe, { device: createReference(), out: path.join(place.folder, "reference") })
    const texts = (folder: string): readonly string[] => ["one", "two", "three"].map((name) => fs.readdirSync(path.join(folder, "artifacts", name)).filter((file) => file !== "entry.json").map((file) => fs.readFileSync(path.join(folder, "artifacts", name, file), "utf8")).join())
    assert.equal(texts(ran.out), texts(there.out))
    assert.ok([...states].some((name) => name.endsWith(" i8")) && [...states].some((name) => / [iu]4$/.test(name)), [...states].join())
    // A training, then a prefill and a step each.
    const [, eight = 0, , four = 0, , plain = 0] = arenas
    assert.is(arenas.length, 7)
    assert.ok(four < eight && eight < 0.6 * plain, arenas.join())
  }))
}

test("`precision: f16` is refused by a device that has no such products, in a plan and in a run, and carried out by one that has", () => withFolder(async (place) => {
  place.write("book.txt", sentences(30))
  const recipe = training("batch: 4 sequences, steps: 12, precision: f16")
  const lacking: Device = { ...createReference(), info: { name: "webgpu", detail: "SwiftShader, vulkan", numericsClass: "webgpu/none" } }
  const refused = await place.run(recipe, { device: lacking })
  assert.equal(problemsOf(refused), ["SLM3506 `result` has `precision: f16`, and the device webgpu has no products of f16: its adapter does not offer `shader-f16` (SwiftShader, vulkan)"])
  assert.match(refused.diagnostics[0]?.help ?? "", /write `precision: bf16`.*shader-f16/)
  const [f16, f32] = [await place.run(recipe), await place.run(recipe.replace(", precision: f16", ""))]
  const [a, b] = [factsOf(f16, "result")["loss"] ?? NaN, factsOf(f32, "result")["loss"] ?? NaN]
  // Gradients do not vanish in f16: the training goes as it does in f32.
  assert.ok(a !== b && Math.abs(a - b) < 0.01 * b, `${a} beside ${b}`)
}))

test.after(() => device?.close())
test.run()
