/** What chapter 5 says about training and randomness (5.3, 5.6, 5.7), held on the reference device. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { constant } from "../compiler/check/poly.ts"
import { initialValues } from "../compiler/graph/lower/initial.ts"
import type { LoweredTraining } from "../compiler/graph/lower/programs.ts"
import { lowerTraining } from "../compiler/graph/lower/train.ts"
import type { HostTensor } from "../runtime/device.ts"
import { createReference } from "../runtime/devices/reference.ts"
import type { Batch, States, Stepper, StepMetrics } from "../runtime/stages/stepper.ts"
import { createStepper } from "../runtime/stages/stepper.ts"
import { bookTokens, checkedWith, recipeOf, stageNamed } from "../runtime/stages/testing.ts"
import { interpretStates } from "../runtime/stages/train.ts"
import { f32 } from "../runtime/stages/weights-io.ts"

const length = 6

interface Options { readonly model?: string; readonly optim?: string; readonly fields?: string; readonly more?: string; readonly rows?: number; readonly accumulate?: number }

/** `result` of a recipe that trains one small model, as programs. */
function lower({ model = "Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16)", optim = "sgd(lr: 1.0)", fields = "", more = "", rows = 2, accumulate = 1 }: Options): LoweredTraining {
  const checked = checkedWith(recipeOf(`${bookTokens(length)}
model Tiny = ${model}
${more}
result = train Tiny { data: tokens.train, objective: next_token, steps: 10, optim: ${optim}${fields} }
`))
  const vocab = { size: constant(257), origin: null }
  return lowerTraining(checked.session, stageNamed(checked, "result"), { rows, length, vocab, label: null, accumulate, total: 10 })
}

/** Weights as they start; `given` instead of them where it has some. */
async function statesOf(lowered: LoweredTraining, given: States = new Map()): Promise<States> {
  const states = new Map<string, HostTensor>(lowered.weights.map((slot) => [slot.name, given.get(slot.name) ?? f32(slot.shape, initialValues(slot.info.init, slot.shape, slot.path, 1))]))
  for (const [name, value] of await interpretStates(lowered, states)) states.set(name, value)
  return states
}

async function stepperOf(lowered: LoweredTraining, given?: States): Promise<Stepper> {
  return createStepper(createReference(), lowered, 0, await statesOf(lowered, given))
}

/** Samples `first` …; the later a sample, the fewer of its tokens count. */
function batch(first: number, rows: number): Batch {
  const width = length + 1
  const grid = (f: (row: number, i: number) => number): Int32Array => Int32Array.from({ length: rows * width }, (_, k) => f(first + Math.floor(k / width), k % width))
  const i32 = (data: Int32Array, shape = [rows, width]): HostTensor => ({ shape, dtype: "i32", data })
  return {
    tokens: i32(grid((row, i) => (row * 31 + i * 7) % 50)), segments: i32(grid(() => 0)), positions: i32(grid((_, i) => i)),
    counts: { shape: [rows, width], dtype: "bool", data: Uint8Array.from(grid((row, i) => (i > 0 && i <= 1 + (row * 5) % length ? 1 : 0))) },
    row: i32(Int32Array.from({ length: rows }, (_, i) => first + i), [rows]),
  }
}

/** The largest difference of the states that both have, which must be some. */
function difference(a: States, b: States): number {
  const common = [...a.keys()].filter((name) => b.has(name))
  assert.ok(common.length > 0)
  return Math.max(...common.map((name) => Math.max(...minus(a, b, name).map(Math.abs))))
}

function minus(a: States, b: States, name: string): number[] {
  const [x, y] = [a.get(name)?.data, b.get(name)?.data]
  if (x === undefined || y === undefined || x.length !== y.length) throw new Error(`no ${name}`)
  return Array.from(x, (value, i) => value - (y[i] ?? NaN))
}

async function stepped(lowered: LoweredTraining, batches: readonly Batch[], given?: States, step = 1): Promise<{ readonly states: States; readonly metrics: StepMetrics }> {
  const stepper = await stepperOf(lowered, given)
  const metrics = await stepper.step(batches, step)
  return { states: await stepper.read(), metrics }
}

// ---------------------------------------------------------------- 5.3 sharing

test("a shared part has one set of weights, and its gradients add", async () => {
  const tied = "Llama(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16, tie: true)"
  const [one, two] = [lower({ model: tied }), lower({})]
  const start = new Map(await statesOf(two))
  const embed = start.get("model.embed.weight") as HostTensor
  start.set("model.head.weight", embed)
  assert.not(one.weights.some(({ path }) => path === "head.weight"))
  const [shared, apart] = [await stepped(one, [batch(0, 2)], start), await stepped(two, [batch(0, 2)], start)]
  assert.ok(Math.abs(shared.metrics.loss - apart.metrics.loss) < 1e-6)
  const sum = minus(apart.states, start, "model.embed.weight").map((x, i) => x + (minus(apart.states, start, "model.head.weight")[i] ?? NaN))
  const [byLookup, byHead] = ["model.embed.weight", "model.head.weight"].map((name) => Math.max(...minus(apart.states, start, name).map(Math.abs)))
  assert.ok((byLookup ?? 0) > 1e-4 && (byHead ?? 0) > 1e-4, "both uses have a gradient")
  minus(shared.states, start, "model.embed.weight").forEach((x, i) => assert.ok(Math.abs(x - (sum[i] ?? NaN)) < 1e-6))
})

test("an instance that is given to a second part is that part, too", async () => {
  const lowered = lower({
    model: "Twice(words.size, 8)",
    more: `layer Stack(map: Layer) { part inner = map
  forward(x: tensor) { inner(x) } }
model Twice(vocab: int, dim: int) {
  part embed = Embedding(vocab, dim)
  part map = Linear(dim, dim)
  part stack = Stack(map)
  part head = Linear(dim, vocab)
  forward(tokens: ids(vocab)[B, T]) { { logits: head(stack(map(embed(tokens)))) } }
}`,
  })
  assert.equal(lowered.weights.map(({ path }) => path), ["embed.weight", "map.weight", "map.offset", "head.weight", "head.offset"])
})

// ---------------------------------------------------------------- 5.6 training

test("a trained model that is called in the loss has no gradient and no dropout, and does not move", async () => {
  const lowered = lower({
    more: `model Loose = GPT(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16, dropout: 0.5)
teacher = train Loose { data: tokens.train, objective: next_token, steps: 1, optim: sgd(lr: 0.1) }`,
    fields: ", loss: (out, batch) => average((out.logits - teacher(batch).logits) ^ 2)",
  })
  const frozen = lowered.weights.filter(({ role }) => role.startsWith("frozen:"))
  assert.ok(frozen.length > 0 && frozen.every(({ trained, kept, source }) => !trained && !kept && source?.stage.name === "teacher"))
  assert.not(lowered.step?.inputs.some(({ args }) => args.name === "row"), "nothing is random")
  const start = await statesOf(lowered)
  const [first, later] = [await stepped(lowered, [batch(0, 2)], start, 1), await stepped(lowered, [batch(0, 2)], start, 7)]
  assert.is(first.metrics.loss, later.metrics.loss)
  for (const { name } of frozen) assert.ok(minus(first.states, start, name).every((x) => x === 0), name)
  assert.ok(minus(first.states, start, "model.head.weight").some((x) => x !== 0))
})

test("transforms see the gradients of all trained weights, in the order in which these are written", async () => {
  const lowered = lower({
    more: "fn only(optim: Optimizer, place: int) -> Optimizer = transform_gradients(optim, grads => [if i == place then grads[i] else 0.0 * grads[i] for i in 0..length(grads)])",
    optim: "sgd(lr: 1.0) |> only(1)", fields: ", freeze: [embed]",
  })
  const trained = lowered.weights.filter((slot) => slot.trained).map(({ name }) => name)
  assert.equal(trained.slice(0, 2), ["model.blocks[0].attn_norm.scale", "model.blocks[0].attn.q.weight"])
  const start = await statesOf(lowered)
  const { states } = await stepped(lowered, [batch(0, 2)], start)
  assert.equal(trained.filter((name) => minus(states, start, name).some((x) => x !== 0)), ["model.blocks[0].attn.q.weight"])
})

test("`lr(step)` passes the run's total to a function of (step, total)", async () => {
  const lowered = lower({ optim: "sgd(lr: (step, total) => to_float(step) / to_float(total))" })
  const stepper = await stepperOf(lowered)
  const rates: (number | null)[] = []
  for (const step of [1, 5, 10]) rates.push((await stepper.step([batch(0, 2)], step)).lr)
  assert.equal(rates.map((x) => Math.round(1e6 * (x ?? NaN)) / 1e6), [0.1, 0.5, 1])
})

// ---------------------------------------------------------------- 5.7 randomness

const dropping = "GPT(vocab: words.size, dim: 8, depth: 1, heads: 2, context: 16, dropout: 0.3)"
const ownLayer = `model Noisy(vocab: int, dim: int) {
  part embed = Embedding(vocab, dim)
  param mix: float[dim, dim] = normal(0.5)
  part head = Linear(dim, vocab)
  forward(tokens: ids(vocab)[B, T]) { { logits: head(embed(tokens) @ dropout(mix, 0.3)) } }
}`

test("what is dropped depends on the sample, and not on how a step is cut into micro-batches", async () => {
  for (const options of [{ model: dropping }, { model: "Noisy(words.size, 8)", more: ownLayer }]) {
    const wholes = lower({ ...options, rows: 8 })
    const start = await statesOf(wholes)
    const whole = await stepped(wholes, [batch(0, 8)], start)
    for (const rows of [1, 2, 4]) {
      const lowered = lower({ ...options, rows, accumulate: 8 / rows })
      const cut = await stepped(lowered, Array.from({ length: 8 / rows }, (_, k) => batch(rows * k, rows)), start)
      assert.ok(Math.abs(whole.metrics.loss - cut.metrics.loss) < 1e-5, `${rows} rows: ${whole.metrics.loss} and ${cut.metrics.loss}`)
      assert.ok(difference(whole.states, cut.states) < 1e-5)
    }
    const other = await stepped(wholes, [batch(8, 8)], start)
    assert.ok(Math.abs(other.metrics.loss - whole.metrics.loss) > 1e-4, "another batch")
  }
})

test("each place of a model drops other elements, at each step and with each seed", async () => {
  const lowered = lower({ model: dropping })
  assert.is(new Set(randomStreams(lowered)).size, 3, "after the embedding, attention and the feed-forward part")
  const losses = new Set<number>()
  for (const seed of [0, 1]) for (const step of [1, 2]) {
    const stepper = await createStepper(createReference(), lowered, seed, await statesOf(lowered))
    losses.add((await stepper.step([batch(0, 2)], step)).loss)
  }
  assert.is(losses.size, 4)
})

function randomStreams(lowered: LoweredTraining): readonly number[] {
  const seen = new Set<object>()
  const open = (lowered.step?.outputs ?? []).map(({ node }) => node)
  const found: number[] = []
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (seen.has(node)) continue
    seen.add(node)
    if (node.op === "random") found.push(node.args.stream)
    open.push(...node.inputs)
  }
  return found
}

test.run()
