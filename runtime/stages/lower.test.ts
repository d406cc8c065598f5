/** Lowering of `train`, run on the reference device. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { constant } from "../../compiler/check/poly.ts"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { TrainShape } from "../../compiler/graph/lower/train.ts"
import { lowerTraining } from "../../compiler/graph/lower/train.ts"
import { initialValues } from "../../compiler/graph/lower/initial.ts"
import type { Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { reachable } from "../../compiler/graph/walk.ts"
import type { HostTensor } from "../device.ts"
import { createReference } from "../devices/reference.ts"
import { f32 } from "./weights-io.ts"
import { interpretStates } from "./train.ts"
import type { Batch, Stepper } from "./stepper.ts"
import { createStepper } from "./stepper.ts"
import { bookTokens, checkedWith, recipeOf, stageNamed } from "./testing.ts"

const length = 6
const vocab = 257

const shape = (rows: number, accumulate: number): TrainShape => ({ rows, length, vocab: { size: constant(vocab), origin: null }, label: null, accumulate, total: 10 })

const recipe = (fields: string, model = "Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16)"): string => recipeOf(`${bookTokens(length)}
model Tiny = ${model}
result = train Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 10, optim: adamw(lr: 1e-2) |> clip_norm(1.0) ${fields} }
`)

function lower(fields: string, of: TrainShape, model?: string): LoweredTraining {
  const checked = checkedWith(recipe(fields, model))
  return lowerTraining(checked.session, stageNamed(checked, "result"), of)
}

test("`precision` rounds the factors of products in every program, and not those of the update", async () => {
  const one = lower(", precision: bf16", shape(2, 1))
  const products = (program: Program | null | undefined): readonly string[] => [...new Set(reachable(program?.outputs.map((output) => output.node) ?? []).flatMap((node) => (node.op === "dot" || node.op === "attend" || node.op === "attend_grad" ? [node.args.factors] : [])))]
  assert.equal([products(one.step), products(one.measure)], [["bf16"], ["bf16"]])
  assert.equal(products(lower("", shape(2, 1)).step), ["f32"])
  const several = lower(", precision: bf16", shape(1, 2)).accumulation
  assert.equal([products(several?.gradient), products(several?.apply)], [["bf16"], []])
  const [fine, rounded] = [await (await stepperOf(lower("", shape(2, 1)))).step([batch(0, 2)], 1), await (await stepperOf(one)).step([batch(0, 2)], 1)]
  assert.ok(fine.loss !== rounded.loss && Math.abs(fine.loss - rounded.loss) < 0.01 * fine.loss, `${fine.loss} and ${rounded.loss}`)
})

async function stepperOf(lowered: LoweredTraining): Promise<Stepper> {
  const states = new Map<string, HostTensor>(lowered.weights.map((slot) => [slot.name, f32(slot.shape, initialValues(slot.info.init, slot.shape, slot.path, 1))]))
  for (const [name, value] of await interpretStates(lowered, states)) states.set(name, value)
  return createStepper(createReference(), lowered, 0, states)
}

/** Samples `first` …; the later a sample, the fewer of its tokens count. */
function batch(first: number, rows: number): Batch {
  const width = length + 1
  const grid = (f: (row: number, i: number) => number): Int32Array => Int32Array.from({ length: rows * width }, (_, k) => f(first + Math.floor(k / width), k % width))
  const i32 = (data: Int32Array): HostTensor => ({ shape: [rows, width], dtype: "i32", data })
  return {
    tokens: i32(grid((row, i) => (row * 31 + i * 7) % 50)), segments: i32(grid(() => 0)), positions: i32(grid((_, i) => i)),
    counts: { shape: [rows, width], dtype: "bool", data: Uint8Array.from(grid((row, i) => (i > 0 && i <= 1 + (row * 5) % length ? 1 : 0))) },
    row: { shape: [rows], dtype: "i32", data: Int32Array.from({ length: rows }, (_, i) => first + i) },
  }
}

function difference(a: ReadonlyMap<string, HostTensor>, b: ReadonlyMap<string, HostTensor>): number {
  let worst = 0
  for (const [name, x] of a) {
    const y = b.get(name)
    if (y === undefined || y.data.length !== x.data.length) throw new Error(`no ${name}`)
    x.data.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - (y.data[i] ?? NaN))) })
  }
  return worst
}

test("micro-batches with unequal counts equal one large batch", async () => {
  const [whole, parts] = [lower("", shape(8, 1)), lower("", shape(2, 4))]
  assert.is(whole.accumulation, null)
  assert.is(parts.step, null)
  const [one, four] = [await stepperOf(whole), await stepperOf(parts)]
  for (let step = 1; step <= 3; step++) {
    const first = (step - 1) * 8
    const a = await one.step([batch(first, 8)], step)
    const b = await four.step([0, 2, 4, 6].map((i) => batch(first + i, 2)), step)
    assert.ok(Math.abs(a.loss - b.loss) < 1e-5, `${a.loss} ${b.loss}`)
    assert.ok(Math.abs(a.gradNorm - b.gradNorm) < 1e-5 * a.gradNorm)
    assert.is(a.lr, b.lr)
  }
  assert.ok(difference(await one.read(), await four.read()) < 1e-5)
})

test("losses of several terms keep their counts apart", async () => {
  const loss = ", loss: (out, batch) => 0.7 * average(token_loss(out.logits, batch.labels), batch.labels >= 0) + 0.3 * average(out.hidden[0] * out.hidden[0])"
  const [whole, parts] = [lower(loss, shape(4, 1)), lower(loss, shape(1, 4))]
  assert.equal(whole.terms, [0.7, 0.3])
  const [one, four] = [await stepperOf(whole), await stepperOf(parts)]
  const a = await one.step([batch(0, 4)], 1)
  const b = await four.step([0, 1, 2, 3].map((i) => batch(i, 1)), 1)
  assert.ok(Math.abs(a.loss - b.loss) < 1e-5)
  assert.ok(difference(await one.read(), await four.read()) < 1e-5)
})

test("counts that depend on weights are those of the weights before the step", async () => {
  const loss = ", loss: (out, batch) => average(token_loss(out.logits, batch.labels), batch.labels >= 0) + 0.1 * average(out.hidden[0] * out.hidden[0], out.hidden[0] > 0)"
  const [one, four] = [await stepperOf(lower(loss, shape(4, 1))), await stepperOf(lower(loss, shape(1, 4)))]
  for (let step = 1; step <= 3; step++) {
    const first = 4 * (step - 1)
    const a = await one.step([batch(first, 4)], step)
    const b = await four.step([0, 1, 2, 3].map((i) => batch(first + i, 1)), step)
    assert.ok(Math.abs(a.loss - b.loss) < 1e-5, `${a.loss} ${b.loss}`)
  }
  assert.ok(difference(await one.read(), await four.read()) < 1e-5)
})

test("what is frozen does not move and has no state of the optimiser", async () => {
  const lowered = lower(", freeze: [embed, blocks[*].attn.{q, k}]", shape(2, 1))
  const frozen = lowered.weights.filter((slot) => !slot.trained).map((slot) => slot.path)
  assert.equal(frozen, ["embed.weight", "blocks[0].attn.q.weight", "blocks[0].attn.k.weight"])
  assert.ok(lowered.optimizer.every((slot) => !frozen.some((path) => slot.weight.endsWith(path))))
  const stepper = await stepperOf(lowered)
  const before = await stepper.read()
  await stepper.step([batch(0, 2)], 1)
  const after = await stepper.read()
  for (const slot of lowered.weights) {
    const moved = difference(new Map([[slot.name, before.get(slot.name) as HostTensor]]), after) > 0
    assert.is(moved, slot.trained, slot.path)
  }
})

test("weights, optimiser states and the step are all there is: going on from them gives the same bits", async () => {
  for (const of of [shape(4, 1), shape(2, 2)]) {
    const lowered = lower("", of)
    const batches = (step: number): Batch[] => Array.from({ length: of.accumulate }, (_, k) => batch(4 * step + k * of.rows, of.rows))
    const whole = await stepperOf(lowered)
    for (let step = 1; step <= 4; step++) await whole.step(batches(step), step)
    const first = await stepperOf(lowered)
    for (let step = 1; step <= 2; step++) await first.step(batches(step), step)
    const second = await createStepper(createReference(), lowered, 0, await first.read())
    for (let step = 3; step <= 4; step++) await second.step(batches(step), step)
    assert.is(difference(await whole.read(), await second.read()), 0)
  }
})

test("names of states: role and path, then the optimiser's state", () => {
  const lowered = lower("", shape(2, 1))
  assert.is(lowered.weights[0]?.name, "model.embed.weight")
  assert.equal(lowered.optimizer.slice(0, 2).map((slot) => slot.name), ["model.embed.weight#m", "model.embed.weight#v"])
  const inputs = new Set(lowered.step?.inputs.map(({ args }) => args.name))
  for (const slot of [...lowered.weights, ...lowered.optimizer]) assert.ok(inputs.has(slot.name), slot.name)
})

test("every program is stepped with what it declares and no more", () => {
  const lowered = lower("", shape(2, 1))
  const batches = lowered.step?.inputs.filter(({ args }) => args.role === "batch").map(({ args }) => args.name).sort()
  assert.equal(batches, ["counts", "positions", "segments", "step", "tokens"])
})

test("parts of a loss are trained and are no part of the result", () => {
  const lowered = lower(`, parts: { head: Linear(8, 4) }, loss: (out, batch, parts) => cross_entropy(out.logits, batch.labels) + average(parts.head(out.hidden[0]))`, shape(2, 1))
  const part = lowered.weights.filter((slot) => slot.role === "parts.head")
  assert.equal(part.map(({ path, trained, kept }) => [path, trained, kept]), [["weight", true, false], ["offset", true, false]])
})

test("dropout draws other numbers at each step, and none while measuring", async () => {
  const model = "GPT(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16, dropout: 0.5)"
  const lowered = lower(", seed: 3", shape(2, 1), model)
  assert.ok(lowered.step?.inputs.some(({ args }) => args.name === "row"))
  assert.not(lowered.measure.inputs.some(({ args }) => args.name === "row"))
  const stepper = await stepperOf(lowered)
  const frozenAt = await stepper.read()
  const losses: number[] = []
  for (const step of [1, 2, 1]) {
    await stepper.write(frozenAt)
    losses.push((await stepper.step([batch(0, 2)], step)).loss)
  }
  assert.is(losses[0], losses[2])
  assert.is.not(losses[0], losses[1])
})

test("`unused: allow`: a loss need not take the parts, and an address may match nothing", async () => {
  const lowered = lower(", unused: allow, parts: { map: Linear(4, 4) }, freeze: [nowhere], loss: (out, batch) => cross_entropy(out.logits, batch.labels)", shape(2, 1))
  const stepper = await stepperOf(lowered)
  const before = await stepper.read()
  await stepper.step([batch(0, 2)], 1)
  const after = await stepper.read()
  for (const name of ["model.head.weight", "model.embed.weight"]) assert.ok(difference(new Map([[name, before.get(name) as HostTensor]]), after) > 0, name)
})

test("initial values: how, scale and stream", () => {
  const init = (how: "zeros" | "ones" | "constant" | "normal" | "uniform" | "identity", a: number, path = "w", shape: readonly number[] = [40, 50]) => initialValues({ kind: "init", how, a, origin: null }, shape, path, 0)
  assert.ok(init("zeros", 0).every((x) => x === 0))
  assert.ok(init("ones", 0).every((x) => x === 1))
  assert.ok(init("constant", 0.25).every((x) => x === 0.25))
  assert.equal([...init("identity", 0, "w", [2, 3])], [1, 0, 0, 0, 1, 0])
  const normal = init("normal", 0.02)
  const deviation = Math.sqrt(normal.reduce((s, x) => s + x * x, 0) / size([40, 50]))
  assert.ok(Math.abs(deviation - 0.02) < 0.001)
  const uniform = init("uniform", 0.5)
  assert.ok(uniform.every((x) => x >= -0.5 && x < 0.5))
  assert.ok(Math.abs(uniform.reduce((s, x) => s + x, 0) / 2000) < 0.03)
  assert.equal([...init("normal", 1, "v")].slice(0, 3), [...init("normal", 1, "v")].slice(0, 3))
  assert.not.equal([...init("normal", 1, "v")].slice(0, 3), [...init("normal", 1, "w")].slice(0, 3))
})

test.run()
