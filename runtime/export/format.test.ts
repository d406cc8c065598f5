import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Shape } from "../../compiler/graph/node.ts"
import { plain } from "../weights.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { checkForeign, fromForeign, toForeign } from "./format.ts"
import type { TensorMap } from "./format.ts"
import { backward, forward, stepShapes } from "./steps.ts"
import type { Step } from "./steps.ts"
import { expectFine, gpt, gptShapes, libraryFormat, llama, llamaShapes, quantised, randomWeights, told } from "./testing.ts"
import type { Parameters } from "./testing.ts"

function counting(shape: Shape): StoredTensor {
  return plain(shape, Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => i))
}

function after(steps: readonly Step[], ...shapes: readonly Shape[]): readonly number[] {
  assert.type(stepShapes(steps, shapes), "object")
  return [...forward(steps, shapes.map(counting)).decoded()]
}

test("transpose turns rows into columns", () => {
  assert.equal(after([{ step: "transpose" }], [2, 3]), [0, 3, 1, 4, 2, 5])
})

test("concat joins along any axis", () => {
  assert.equal(after([{ step: "concat", axis: 0 }], [1, 2], [2, 2]), [0, 1, 0, 1, 2, 3])
  assert.equal(after([{ step: "concat", axis: 1 }], [2, 1], [2, 2]), [0, 0, 1, 1, 2, 3])
})

test("rotary pairs become neighbours within each head, of weights and of offsets", () => {
  assert.equal(after([{ step: "rotary_pairs", heads: 2 }], [8]), [0, 2, 1, 3, 4, 6, 5, 7])
  assert.equal(after([{ step: "rotary_pairs", heads: 1 }], [6, 1]), [0, 3, 1, 4, 2, 5])
  assert.equal(after([{ step: "rotary_pairs", heads: 1 }], [4, 2]), [0, 1, 4, 5, 2, 3, 6, 7])
})

test("every pipe of steps is undone by going back", () => {
  const rows = fc.integer({ min: 1, max: 3 }).map((n) => 4 * n)
  fc.assert(fc.property(fc.array(rows, { minLength: 1, maxLength: 3 }), fc.integer({ min: 1, max: 5 }), fc.boolean(), fc.boolean(), (sizes, width, turned, joinedLate) => {
    const shapes = sizes.map((n) => [n, width])
    const turn: Step[] = turned ? [{ step: "transpose" }] : []
    const join: Step = { step: "concat", axis: turned && !joinedLate ? 1 : 0 }
    const steps: Step[] = [{ step: "rotary_pairs", heads: 2 }, ...(joinedLate ? [join, ...turn] : [...turn, join])]
    const stages = stepShapes(steps, shapes)
    if (typeof stages === "string") throw new Error(stages)
    const ours = shapes.map(counting)
    const theirs = forward(steps, ours)
    assert.equal(theirs.shape, stages.at(-1)![0])
    assert.equal(backward(steps, stages, theirs).map((t) => [t.shape, t.decoded()]), ours.map((t) => [t.shape, t.decoded()]))
  }))
})

test("steps that do not fit say why", () => {
  assert.is(stepShapes([{ step: "transpose" }], [[3]]), "transpose needs two axes, not [3]")
  assert.is(stepShapes([{ step: "concat", axis: 0 }], [[2, 3], [2, 4]]), "[2, 4] does not join [2, 3] along axis 0")
  assert.is(stepShapes([{ step: "concat", axis: 2 }], [[2, 3], [2, 4]]), "[2, 3] has no axis 2")
  assert.is(stepShapes([{ step: "concat", axis: 0 }], []), "concat needs at least one weight")
  assert.is(stepShapes([{ step: "rotary_pairs", heads: 3 }], [[8, 2]]), "[8, 2] does not hold 3 heads of even size")
  assert.is(stepShapes([], [[1], [1]]), "2 weights go into one tensor: say how with `concat(axis: …)`")
})

// ---------------------------------------------------------------- the library's formats

const subjects: readonly (readonly [format: string, parameters: Parameters, shapes: ReadonlyMap<string, Shape>])[] = [
  ...[llama, { ...llama, tie: true, kv_heads: 4 }, { ...llama, qkv_bias: true }].flatMap((sizes) => ["hf_llama", "gguf_llama"].map((name) => [name, { ...sizes }, llamaShapes(sizes)] as const)),
  ...[gpt, { ...gpt, bias: false, hidden: 96 }].flatMap((sizes) => ["hf_gpt2", "gguf_gpt2"].map((name) => [name, { ...sizes }, gptShapes(sizes)] as const)),
]

test("every format of the library writes all weights and reads them back, floats and codes", () => {
  for (const [name, parameters, shapes] of subjects) {
    const floats = randomWeights(shapes, 5)
    for (const weights of [floats, quantised(floats, "q8_0")]) {
      const format = libraryFormat(name, parameters)
      const named = expectFine(toForeign(name, format.maps, weights))
      assert.equal(told(checkForeign(name, format.maps, shapes, named.map(({ name, tensor }) => ({ name, shape: tensor.shape })))), [])
      const theirs = new Map(named.map((entry) => [entry.name, entry.tensor]))
      const back = expectFine(fromForeign(name, format.maps, shapes, (name) => theirs.get(name) ?? null))
      assert.equal([...back.tensors.keys()], [...weights.tensors.keys()])
      for (const [path, tensor] of weights.tensors) assert.equal(back.tensors.get(path)!.decoded(), tensor.decoded(), `${name} ${path}`)
      const kept = named.filter(({ name }) => name.startsWith("blk.") && name.endsWith("_q.weight")).every(({ tensor }) => tensor.encoding === weights.tensors.get("blocks[0].attn.q.weight")!.encoding)
      assert.ok(kept, "codes are moved, not decoded")
    }
  }
})

test("GPT-2's projection holds query, key and value side by side, inputs first", () => {
  const weights = randomWeights(gptShapes(gpt), 2)
  const format = libraryFormat("hf_gpt2", { ...gpt })
  const named = new Map(expectFine(toForeign("hf_gpt2", format.maps, weights)).map(({ name, tensor }) => [name, tensor]))
  const joined = named.get("transformer.h.1.attn.c_attn.weight")!
  assert.equal(joined.shape, [64, 192])
  const value = weights.tensors.get("blocks[1].attn.v.weight")!.decoded()
  for (const [input, output] of [[0, 0], [5, 63], [63, 1]] as const) assert.is(joined.decoded()[input * 192 + 128 + output], value[output * 64 + input])
  assert.not(named.has("lm_head.weight"))
})

test("Llama's query rows are interleaved for llama.cpp and not for Hugging Face", () => {
  const weights = randomWeights(llamaShapes(llama), 2)
  const find = (name: string, tensor: string): Float32Array => expectFine(toForeign(name, libraryFormat(name, { ...llama }).maps, weights)).find((entry) => entry.name === tensor)!.tensor.decoded()
  const ours = weights.tensors.get("blocks[0].attn.k.weight")!.decoded()
  assert.equal(find("hf_llama", "model.layers.0.self_attn.k_proj.weight"), ours)
  const theirs = find("gguf_llama", "blk.0.attn_k.weight") // heads of 16 rows of 64
  assert.equal(theirs.subarray(64, 128), ours.subarray(8 * 64, 9 * 64))
  assert.equal(theirs.subarray(17 * 64, 18 * 64), ours.subarray(24 * 64, 25 * 64))
})

// ---------------------------------------------------------------- mistakes

const line = (ours: readonly string[], theirs: string, steps: readonly Step[] = []): TensorMap => ({ ours, theirs, steps })
const two: Weights = { tensors: new Map([["a", counting([2, 2])], ["b", counting([2])]]) }

function exporting(...maps: readonly TensorMap[]): readonly string[] {
  const result = toForeign("f", maps, two)
  return result.ok ? [] : told(result.problems)
}

test("a weight without a line, and a line without a weight, are named", () => {
  assert.equal(exporting(line(["a"], "A")), ["SLM3201 format f has no place for the weight `b`"])
  assert.equal(exporting(line(["a"], "A"), line(["b"], "B"), line(["c"], "C")), ["SLM3205 format f needs `c` for `C`, and the model has no such weight"])
})

test("no name and no weight is written twice", () => {
  assert.equal(exporting(line(["a"], "A"), line(["b"], "A")), ["SLM3206 format f writes `A` twice"])
  assert.equal(exporting(line(["a"], "A"), line(["b"], "B"), line(["a"], "C")), ["SLM3206 format f maps the weight `a` twice"])
})

test("a step that cannot be taken names both sides", () => {
  assert.equal(exporting(line(["a"], "A"), line(["b"], "B", [{ step: "transpose" }])), ["SLM3207 format f cannot make `B` of `b`: transpose needs two axes, not [2]"])
})

function importing(maps: readonly TensorMap[], found: Readonly<Record<string, Shape>>, ignore: readonly string[] = []): readonly string[] {
  const expected = new Map([...two.tensors].map(([path, { shape }]) => [path, shape]))
  return told(checkForeign("f", maps, expected, Object.entries(found).map(([name, shape]) => ({ name, shape })), ignore))
}

test("reading compares every tensor before any is read", () => {
  const maps = [line(["a"], "A", [{ step: "transpose" }]), line(["b"], "B")]
  assert.equal(importing(maps, { A: [2, 2], B: [2] }), [])
  assert.equal(importing(maps, { A: [2, 2] }), ["SLM3203 the file has no tensor `B`, which holds `b`"])
  assert.equal(importing(maps, { A: [2, 3], B: [2] }), ["SLM3204 `A` is [2, 3] in the file, and `a` makes it [2, 2]"])
  assert.equal(importing(maps, { A: [2, 2], B: [2], "h.3.bias": [1] }), ["SLM3202 the model has no place for `h.3.bias` [1] of the file"])
  assert.equal(importing(maps, { A: [2, 2], B: [2], "h.3.bias": [1] }, ["h.*.bias"]), [])
  assert.equal(importing(maps, { A: [2, 2], B: [2], "h.3.x.bias": [1] }, ["h.*.bias"]), ["SLM3202 the model has no place for `h.3.x.bias` [1] of the file"])
})

test("zeros may be left out, other numbers may not", () => {
  const maps = [line(["a"], "A"), line(["b"], "B"), line([], "C", [{ step: "or_zeros", shape: [3] }])]
  const expected = new Map([...two.tensors].map(([path, { shape }]) => [path, shape]))
  const named = expectFine(toForeign("f", maps, two))
  assert.equal(named[2]!.tensor.decoded(), new Float32Array(3))
  const read = (third: StoredTensor) => fromForeign("f", maps, expected, (name) => (name === "C" ? third : two.tensors.get(name.toLowerCase())!))
  assert.ok(read(plain([3], new Float32Array(3))).ok)
  const refused = read(plain([3], Float32Array.of(0, 1, 0)))
  assert.equal(refused.ok ? [] : told(refused.problems), ["SLM3219 `C` of the file is not zero, and the model has no such weight"])
})

test.run()
