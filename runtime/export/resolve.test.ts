import { readFileSync, readdirSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { exportCodes } from "./codes.ts"
import { placed, problem } from "./problem.ts"
import { plainOf } from "./foreign.ts"
import { llama, resolveText } from "./testing.ts"

const sizes = { ...llama, depth: 2 }

function maps(text: string): unknown {
  const resolved = resolveText(text, { ...sizes })
  return resolved.ok ? resolved.format.maps.map(({ ours, theirs, steps }) => [ours.join(" "), theirs, ...steps]) : resolved.diagnostics.map(({ code, message }) => `${code} ${message}`)
}

test("an index runs over the blocks, alternatives stay in order", () => {
  assert.equal(maps("map blocks[i].attn.{v, q}.weight => \"l{i}.vq\" via concat(axis: 0) |> transpose"), [
    ["blocks[0].attn.v.weight blocks[0].attn.q.weight", "l0.vq", { step: "concat", axis: 0 }, { step: "transpose" }],
    ["blocks[1].attn.v.weight blocks[1].attn.q.weight", "l1.vq", { step: "concat", axis: 0 }, { step: "transpose" }],
  ])
})

test("names, steps and conditions are ordinary expressions over the model's parameters", () => {
  assert.equal(maps("map blocks[i].attn.k.weight => \"{2 * i + depth}.{dim}\" via rotary_pairs(kv_heads) when i > 0"), [["blocks[1].attn.k.weight", "4.64", { step: "rotary_pairs", heads: 2 }]])
  assert.equal(maps("map blocks[1].attn_norm.scale => \"one\""), [["blocks[1].attn_norm.scale", "one"]])
})

test("weights that are absent may be zeros there", () => {
  assert.equal(maps("map blocks[i].attn.q.offset => \"b{i}\" via or_zeros(dim)"), [["", "b0", { step: "or_zeros", shape: [64] }], ["", "b1", { step: "or_zeros", shape: [64] }]])
  assert.equal(maps("map blocks[i].attn.q.offset => \"b{i}\" when qkv_bias"), [])
  assert.equal(maps("map blocks[i].attn.q.offset => \"b{i}\""), ["SLM3205 the model has no weight `blocks[0].attn.q.offset`", "SLM3205 the model has no weight `blocks[1].attn.q.offset`"])
  assert.equal(maps("map layers[i].weight => \"b{i}\""), ["SLM3205 no weight of the model has an address like this"])
})

test("what a format cannot use is said at its place", () => {
  assert.equal(maps("map blocks[i].attn.q.weight => \"q\""), ["SLM3220 the index `i` is missing from the name there"])
  assert.equal(maps("map blocks[*].attn.q.weight => \"q\""), ["SLM3220 this does not belong in an address of weights"])
  assert.equal(maps("map embed.weight => \"e\" via flip"), ["SLM3217 this is not a step of a format"])
  assert.equal(maps("map embed.weight => \"e\" via concat(dim, 2)"), ["SLM3217 this is not a step of a format"])
  assert.equal(maps("map embed.weight => \"e\" via concat(axis: 0.5)"), ["SLM3217 this is not a whole number that is known"])
  assert.equal(maps("map embed.weight => \"e\" via rotary_pairs(nothing)"), ["SLM2001 nothing here is called `nothing`"])
  assert.equal(maps("map embed.weight => \"e\" when 5"), ["SLM3218 this condition is not known"])
  assert.equal(maps("config { a: x => x }"), ["SLM3218 a file cannot hold this value, or it is not known yet"])
  assert.equal(maps("unsupported { dim: dim > 10 }"), ["SLM3221 format f has no place for a Llama with `dim`"])
})

test("blocks of metadata become plain values", () => {
  const resolved = resolveText("config { whole: dim, half: 0.5, name: \"x\", yes: true, nothing: none, many: [1, 2], inner: { a: 1 } }", { ...sizes })
  if (!resolved.ok) throw new Error("unresolved")
  assert.equal([...resolved.format.blocks.get("config")!].map(([name, value]) => [name, plainOf(value)]), [["whole", 64], ["half", 0.5], ["name", "x"], ["yes", true], ["nothing", null], ["many", [1, 2]], ["inner", { a: 1 }]])
})

test("a problem becomes a diagnostic where the recipe led to it", () => {
  const span = { source: "r.slm", start: 3, end: 5 }
  const found = placed(problem("SLM3208", "m", { notes: ["n"], help: "h" }), span)
  assert.equal([found.code, found.span, found.message, found.notes, found.help, found.severity], ["SLM3208", span, "m", ["n"], "h", "error"])
})

test("every code of the catalogue is raised in a test beside its source", () => {
  const folder = new URL(".", import.meta.url)
  const tests = readdirSync(folder).filter((name) => name.endsWith(".test.ts")).map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n")
  assert.equal(Object.keys(exportCodes).filter((code) => !new RegExp(`"${code} |"${code}"`).test(tests)), [])
})

test.run()
