import { readFileSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Item } from "../grammar/ast.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { rowPrimitives } from "../compiler/check/primitives/row-stages.ts"
import { dataPrimitives } from "../compiler/check/primitives/data.ts"
import { stagePrimitives } from "../compiler/check/primitives/stages.ts"
import { weightsOf } from "../compiler/check/instance.ts"
import { known } from "../compiler/check/poly.ts"
import { checkModule } from "../compiler/check/check.ts"
import { environment, examplesOf, load, moduleNames, recipe, runExample, source } from "./testing.ts"

/** Names of an item that must have an example: everything with a body that a recipe may use. Encodings and formats are tested by what they export. */
function exampled(item: Item): string | null {
  if (item.kind === "fn") return item.primitive ? null : item.name.name
  return item.kind === "definition" || item.kind === "optimizer" || item.kind === "curriculum" ? item.name.name : null
}

const loaded = new Map(moduleNames.map((name) => [name, load(name)]))

function moduleOf(name: string): ReturnType<typeof load> {
  const found = loaded.get(name)
  if (found === undefined) throw new Error(`no module ${name}`)
  return found
}

for (const name of moduleNames) {
  test(`std.${name}: every definition is documented and has an example`, () => {
    const { module } = moduleOf(name)
    const examples = new Set(examplesOf(module).map((e) => e.name.name))
    const names = module.module.items.map(exampled).filter((n): n is string => n !== null)
    assert.equal(names.filter((n) => !examples.has(n)), [])
    assert.equal([...examples].filter((n) => !names.includes(n)), [], "examples of what is not there")
    const documented = module.module.items.filter((item) => exampled(item) !== null && "doc" in item && (item.doc ?? "") === "")
    assert.equal(documented.map(exampled), [], "without a doc comment")
  })

  test(`std.${name}: its definitions are right for every use`, () => {
    const { diagnostics } = checkModule(source(name), environment)
    assert.equal(diagnostics.map((d) => `${d.code} ${d.message}`), [])
  })

  test(`std.${name}: its examples hold`, () => {
    const { module, session } = moduleOf(name)
    for (const example of examplesOf(module)) {
      const outcome = runExample(example, module, session)
      assert.is(outcome, outcome === "pending" && waits.has(example.name.name) ? "pending" : "true", `example ${example.name.name}`)
    }
  })
}

/** What only a run can decide: these examples are evaluated with named unknowns. */
const waits: ReadonlySet<string> = new Set(["perplexity", "bits_per_byte", "accuracy", "parameters", "bytes", "distill", "easy_first", "merge", "detach", "silent", "deepen", "widen", "quantize", "awq_scaled", "sparsify", "thin_neurons", "thin_heads", "thin_blocks", "thin_features", "ewc", "matrix", "importance", "outliers_kept", "tempered", "alpaca", "answers", "rationales", "written_by", "back_translated", "turned", "top_logits", "on_policy", "dpo", "awq", "widen_gpt", "trim_vocabulary", "pairs", "refilled", "paraphrased", "aligned", "follow_words"])

test("chapter 7 names every primitive and every definition", () => {
  const chapter = readFileSync(new URL("../spec/7-library.md", import.meta.url), "utf8")
  const named = new Set([...chapter.matchAll(/`([A-Za-z_0-9]+)(?:\(|`)/g)].map((m) => m[1]))
  const primitives = moduleOf("prelude").module.module.items.flatMap((item) => (item.kind === "fn" && item.primitive && numeric(item.name.name) ? [item.name.name] : []))
  const others = moduleNames.filter((n) => n !== "encodings" && n !== "formats").flatMap((n) => moduleOf(n).module.module.items.map(exampled).filter((x): x is string => x !== null))
  assert.equal([...primitives, ...others].filter((name) => !named.has(name)), [])
})

/** Primitives of data and stages are those of chapters 5 and 8. */
function numeric(name: string): boolean {
  return !(name in dataPrimitives) && !(name in rowPrimitives) && !(name in stagePrimitives)
}

// ---------------------------------------------------------------- models

function weights(model: string): ReadonlyMap<string, readonly (number | null)[]> {
  const { values, session } = recipe(`model M = ${model}`, "models")
  const spec = values.get("M")
  if (spec?.kind !== "spec") throw new Error("not a specification")
  const instance = createMachine(session).instantiate(spec, "model", { source: "test.slm", start: 0, end: 0 })
  if (instance.kind === "error") throw new Error("cannot be instantiated")
  return new Map(weightsOf(instance).map((w) => [w.path, w.shape.map((d) => known(d.size, new Map()))]))
}

function parameters(model: string): number {
  return [...weights(model).values()].reduce((n, shape) => n + shape.reduce<number>((a, b) => a * (b ?? NaN), 1), 0)
}

test("models have the published numbers of parameters", () => {
  assert.is(parameters("GPT(vocab: 50257, dim: 768, depth: 12, heads: 12, context: 1024)"), 124_439_808) // GPT-2 small
  assert.is(parameters("GPT(vocab: 65, dim: 128, depth: 4, heads: 4, context: 64, bias: false, exact: true)"), 804_096) // nanoGPT's CPU setting, 8192 of them places
  assert.is(parameters("Llama(vocab: 32000, dim: 2048, depth: 22, heads: 32, kv_heads: 4, hidden: 5632)"), 1_100_048_384) // TinyLlama 1.1B
  assert.is(parameters("Llama(vocab: 49152, dim: 576, depth: 30, heads: 9, kv_heads: 3, hidden: 1536, tie: true)"), 134_515_008) // SmolLM 135M
  assert.is(parameters("Llama(vocab: 151936, dim: 896, depth: 24, heads: 14, kv_heads: 2, hidden: 4864, tie: true, qkv_bias: true)"), 494_032_768) // Qwen2 0.5B
})

test("weights have the names that formats rely on", () => {
  assert.equal([...weights("Llama(vocab: 7, dim: 8, depth: 1, heads: 2, qkv_bias: true)").keys()], [
    "embed.weight", "blocks[0].attn_norm.scale", "blocks[0].attn.q.weight", "blocks[0].attn.q.offset", "blocks[0].attn.k.weight", "blocks[0].attn.k.offset",
    "blocks[0].attn.v.weight", "blocks[0].attn.v.offset", "blocks[0].attn.out.weight", "blocks[0].mlp_norm.scale", "blocks[0].mlp.gate.weight",
    "blocks[0].mlp.up.weight", "blocks[0].mlp.down.weight", "norm.scale", "head.weight",
  ])
  assert.not(weights("Llama(vocab: 7, dim: 8, depth: 1, heads: 2, tie: true)").has("head.weight"))
  assert.equal(weights("Llama(vocab: 7, dim: 8, depth: 1, heads: 2)").get("blocks[0].mlp.down.weight"), [8, 32])
  assert.equal([...weights("GPT(vocab: 7, dim: 8, depth: 1, heads: 2, context: 4)").keys()], [
    "embed.weight", "places.weight", "blocks[0].attn_norm.scale", "blocks[0].attn_norm.offset",
    ...["q", "k", "v", "out"].flatMap((part) => [`blocks[0].attn.${part}.weight`, `blocks[0].attn.${part}.offset`]),
    "blocks[0].mlp_norm.scale", "blocks[0].mlp_norm.offset", "blocks[0].mlp.up.weight", "blocks[0].mlp.up.offset", "blocks[0].mlp.down.weight",
    "blocks[0].mlp.down.offset", "norm.scale", "norm.offset",
  ])
})

test.run()
