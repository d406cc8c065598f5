/** The loader and mixtures: pure functions of the sample number. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import type { HostTensor } from "../device.ts"
import { permutationOf } from "../../compiler/graph/random.ts"
import { createLoader, type Loader } from "./batches.ts"
import { encode } from "./encode.ts"
import { planMixture, type MixStage, type Mixture, type MixturePlan } from "./mixture.ts"
import { pack, type PackedRows } from "./pack.ts"
import { expectGood } from "./result.ts"
import { rowsOf, told } from "./testing.ts"
import { byteTokenizer } from "./tokenizers.ts"

const bytes = expectGood(byteTokenizer(), "test")

function data(text: string, length = 4): PackedRows {
  return expectGood(pack(expectGood(encode(rowsOf([text]), bytes), "test"), { length }), "test")
}
const prose = data("the whale swam and the sea was wide and nobody said a word about it at all".repeat(3))
const poems = data("o captain my captain our fearful trip is done")

/** The samples of a loader, one string each. */
function samples(loader: Loader, batch: number, from: number, to: number): string[] {
  const out: string[] = []
  for (let n = from; n < to; n += batch) {
    const tensors = Object.entries(loader.batch(n)) as [string, HostTensor][]
    for (let i = 0; i < batch && n + i < to; i++) {
      out.push(tensors.map(([name, t]) => `${name}:${t.data.slice((i * t.data.length) / batch, ((i + 1) * t.data.length) / batch).join(",")}`).join(" "))
    }
  }
  return out
}

function mixture(stages: readonly MixStage[], more: Partial<MixturePlan> = {}): Mixture {
  return expectGood(planMixture({ sources: [prose, poems], stages, steps: 100, samplesPerStep: 4, seed: 1, ...more }), "test")
}
const grow = (step: number, total: number): number => 0.2 + (0.8 * (step - 1)) / Math.max(1, total - 1)
const difficulty = Float64Array.from({ length: prose.rows }, (_, i) => (i * 37) % prose.rows)
const staged: readonly MixStage[] = [
  { until: 20, items: [{ source: 0, share: 1, easiest: { difficulty, share: 0.3 } }] },
  { until: 60, items: [{ source: 0, share: 0.7, easiest: { difficulty, share: grow } }, { source: 1, share: (step, total) => (0.3 * step) / total }] },
  { until: null, items: [{ source: 0, share: 0.8 }, { source: 1, share: 0.2 }] },
]

test("the shapes and types of a batch", () => {
  const batch = createLoader({ source: prose, seed: 0, batch: 3 }).batch(0)
  assert.equal(Object.entries(batch).map(([name, t]) => [name, t.dtype, t.shape]), [
    ["tokens", "i32", [3, 5]], ["segments", "i32", [3, 5]], ["positions", "i32", [3, 5]], ["counts", "bool", [3, 5]], ["row", "i32", [3]],
  ])
  assert.equal([...batch.row.data], [0, 1, 2])
})

test("sample n is row permutation(seed, epoch)[n mod rows]", () => {
  const loader = createLoader({ source: prose, seed: 5, batch: 1 })
  assert.is(loader.epoch, prose.rows)
  for (const epoch of [0, 1, 2]) {
    const order = permutationOf(prose.rows, 5, "order", epoch)
    assert.equal(Array.from(order, (_, i) => loader.pick(epoch * prose.rows + i).row), [...order])
  }
  assert.not.equal(createLoader({ source: prose, seed: 6, batch: 1 }).batch(0).tokens.data, loader.batch(0).tokens.data)
})

test("samples do not depend on the batch size, the place where a run begins, or what was asked before", () => {
  for (const source of [prose, mixture(staged)]) {
    const whole = samples(createLoader({ source, seed: 3, batch: 1 }), 1, 0, 400)
    fc.assert(fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(350), (batch, from) => {
      assert.equal(samples(createLoader({ source, seed: 3, batch }), batch, from, from + 40), whole.slice(from, from + 40))
    }), { numRuns: 40 })
  }
})

test("sequential order covers each row once and ends in padding", () => {
  const loader = createLoader({ source: poems, seed: 0, batch: 4, order: "sequential" })
  const batches = Math.ceil(poems.rows / 4)
  let targets = 0
  for (let b = 0; b < batches; b++) for (const n of loader.batch(4 * b).counts.data) targets += n
  assert.is(targets, poems.stats.targets)
  assert.is(loader.pick(poems.rows).row, -1)
})

test("classes travel with their rows", () => {
  const rows = rowsOf(["aa", "bb", "cc"], { label: { is: "class", classes: ["x", "y", "z"], values: Int32Array.of(2, 0, 1) } })
  const source = expectGood(pack(expectGood(encode(rows, bytes), "test"), { length: 4 }), "test")
  const batch = createLoader({ source, seed: 0, batch: 3 }).batch(0)
  const letter = (i: number) => bytes.decode([batch.tokens.data[i * 5] ?? 0])
  assert.equal(new Set([0, 1, 2].map((i) => `${letter(i)}${batch.label?.data[i]}`)), new Set(["a2", "b0", "c1"]))
})

test("a mixture keeps its shares in every prefix", () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 }), (weights) => {
    const sources = weights.map(() => poems)
    const total = weights.reduce((a, b) => a + b, 0)
    const mixed = expectGood(planMixture({ sources, stages: [{ until: null, items: weights.map((share, source) => ({ source, share })) }], steps: 50, samplesPerStep: 7, seed: 0 }), "test")
    const drawn = weights.map(() => 0)
    for (let n = 0; n < 350; n++) {
      const { source } = mixed.pick(n)
      drawn[source] = (drawn[source] ?? 0) + 1
      for (const [i, w] of weights.entries()) assert.ok(Math.abs((drawn[i] ?? 0) - ((n + 1) * w) / total) < weights.length, "never off by more than a sample per part")
    }
    assert.equal(mixed.drawnBefore(51), drawn)
  }), { numRuns: 60 })
})

test("a part of a mixture gives every row once per epoch", () => {
  const mixed = mixture([{ until: null, items: [{ source: 0, share: 0.6 }, { source: 1, share: 0.4 }] }], { steps: 500 })
  const rows: number[] = []
  for (let n = 0; n < 2000; n++) {
    const pick = mixed.pick(n)
    if (pick.source === 1) rows.push(pick.row)
  }
  for (let epoch = 0; (epoch + 1) * poems.rows <= rows.length; epoch++) assert.is(new Set(rows.slice(epoch * poems.rows, (epoch + 1) * poems.rows)).size, poems.rows)
})

test("a curriculum: stages, easiest rows, shares that change", () => {
  const mixed = mixture(staged)
  const at = (step: number) => [0, 1, 2, 3].map((i) => mixed.pick((step - 1) * 4 + i))
  const rank = (row: number) => (difficulty[row] ?? 0) / prose.rows
  for (let step = 1; step <= 20; step++) for (const pick of at(step)) assert.ok(pick.source === 0 && rank(pick.row) < 0.31)
  let poemsDrawn = 0
  for (let step = 21; step <= 60; step++) {
    for (const pick of at(step)) {
      if (pick.source === 1) poemsDrawn++
      else assert.ok(rank(pick.row) < grow(step - 20, 40) + 0.02, `step ${step}`)
    }
  }
  let expected = 0
  for (let step = 1; step <= 40; step++) expected += (4 * ((0.3 * step) / 40)) / (0.7 + (0.3 * step) / 40)
  assert.ok(Math.abs(poemsDrawn - expected) <= 2, `${poemsDrawn} of ${expected}`)
  const last = Array.from({ length: 40 }, (_, i) => at(61 + i)).flat()
  assert.is(last.filter((p) => p.source === 1).length, 32)
  assert.ok(last.some((p) => p.source === 0 && rank(p.row) > 0.9), "all rows are in play at the end")
  assert.equal([1, 21, 61, 101].map((step) => mixed.drawnBefore(step).reduce((a, b) => a + b, 0)), [0, 80, 240, 400])
})

test("one data set twice in a stage is two streams", () => {
  const mixed = mixture([{ until: null, items: [{ source: 0, share: 0.5, easiest: { difficulty, share: 0.1 } }, { source: 0, share: 0.5, easiest: { difficulty, share: 1 } }] }])
  const ranks = Array.from({ length: 200 }, (_, n) => (difficulty[mixed.pick(n).row] ?? 0) / prose.rows)
  const easy = ranks.filter((r) => r < 0.11).length
  assert.ok(easy >= 100 && easy <= 125, String(easy))
})

test("mistakes of a mixture", () => {
  const item = { source: 0, share: 1 }
  const why = (stages: readonly MixStage[], more: Partial<MixturePlan> = {}) => told(planMixture({ sources: [prose, poems], stages, steps: 100, samplesPerStep: 4, seed: 1, ...more })).replace("SLM3142 ", "")
  assert.is(why([{ until: null, items: [item] }, { until: null, items: [item] }]).split("\n")[0], "a stage without an end is followed by another, which is never reached")
  assert.is(why([{ until: 20, items: [item] }, { until: 20, items: [item] }]).split("\n")[0], "a stage that ends at step 20 begins after step 20")
  assert.is(why([{ until: 100, items: [item] }, { until: 120, items: [item] }]), "a stage begins after step 100, but the run has 100 steps")
  assert.is(why([{ until: 50, items: [item] }]), "the last stage ends at step 50 of 100")
  assert.is(why([]), "the mixture has no stage")
  assert.is(why([{ until: null, items: [{ source: 0, share: 0 }] }]), "no part of the mixture has a share at step 1")
  assert.is(why([{ until: null, items: [{ source: 0, share: (step) => 3 - step }] }]), "no part of the mixture has a share at step 3")
  assert.is(why([{ until: null, items: [{ source: 0, share: -1 }] }]), "a share of the mixture is -1 at step 1")
  assert.is(why([{ until: null, items: [{ ...item, easiest: { difficulty, share: 0 } }] }]), "the easiest 0% of the rows are asked for at step 1")
  assert.is(why([{ until: null, items: [{ ...item, easiest: { difficulty: Float64Array.of(1), share: 1 } }] }]), `1 difficulties for ${prose.rows} rows`)
  assert.is(why([{ until: null, items: [item] }], { sources: [prose, data("other text", 5)] }), "rows of 5 and of 4 predictions cannot be mixed")
})

test("random windows begin anywhere in the stream, and evaluation reads the rows all the same", () => {
  const text = "abcdefghijklmnopqrstuvwxyz"
  const options = { length: 4, documents: "joined" } as const
  const set = expectGood(encode(rowsOf([text]), bytes), "test")
  const [fixed, random] = [expectGood(pack(set, options), "test"), expectGood(pack(set, { ...options, windows: "random" }), "test")]
  const loader = createLoader({ source: random, seed: 3, batch: 1 })
  const starts = new Set<number>()
  for (let n = 0; n < 400; n++) {
    const { place } = loader.pick(n)
    starts.add(place ?? -1)
    const { tokens, counts, positions } = loader.batch(n)
    assert.equal([...tokens.data], [...set.tokens.slice(place, (place ?? 0) + 5)])
    assert.equal([...counts.data], [0, 1, 1, 1, 1])
    assert.equal([...positions.data], [0, 1, 2, 3, 4])
  }
  assert.equal([...starts].sort((a, b) => a - b), Array.from({ length: set.tokens.length - 4 }, (_, i) => i), "every place, and none beyond")
  const evaluated = (source: PackedRows) => samples(createLoader({ source, seed: 3, batch: 2, order: "sequential" }), 2, 0, source.rows)
  assert.equal(evaluated(random), evaluated(fixed))
  assert.is(told(planMixture({ sources: [random], stages: [{ until: null, items: [{ source: 0, share: 1 }] }], steps: 1, samplesPerStep: 1, seed: 0 })), "SLM3142 `windows: random` has no effect in a mixture, which deals whole rows")
})

test.run()
