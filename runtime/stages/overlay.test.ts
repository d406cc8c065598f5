import * as fs from "node:fs"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Ran, Workplace } from "./testing.ts"
import { problemsOf, recipeOf, withFolder } from "./testing.ts"

const start = `
rows = made(40, by: n => { text: "{n * 7 % 10}{n % 10}{n * 3 % 10}" })
letters = char(rows)
tokens = rows |> encode(letters) |> pack(length: 8)
model M = Llama(vocab: letters.size, dim: 32, depth: 1, heads: 2, context: 8)
let opt = adamw(lr: 1e-2)
base = train M { data: tokens, objective: next_token, batch: 4 sequences, steps: 3, optim: opt }
packed = quantize base { format: int8 }
let with_voice = rank => packed with { at blocks[*].attn.{q, v}: map => LoRA(map, rank: rank) }
wrapped = with_voice(2)
`
const voice = (name: string, seed: number): string => `
${name} = train wrapped { data: tokens, objective: next_token, batch: 4 sequences, steps: 3, seed: ${seed}, optim: opt, only: [blocks[*].attn.{q, v}.{up, down}] }
export ${name} { weights: "${name}.safetensors", only: [blocks[*].attn.{q, v}.{up, down}] }
expect perplexity(${name}, tokens) > 1`

async function ran(place: Workplace, recipe: string): Promise<Ran> {
  return place.run(recipeOf(recipe))
}
const codes = (result: Ran): readonly string[] => problemsOf(result).map((line) => line.slice(0, 7))

test("voices are kept apart from their base, in codes, and laid on it again", async () => {
  await withFolder(async (place) => {
    const made = await ran(place, start + voice("smith", 1) + voice("clerk", 2))
    assert.equal(problemsOf(made), [])
    const again = await ran(place, `${start}
smith = overlay(wrapped, "out/smith.safetensors")
clerk = overlay(wrapped, "out/clerk.safetensors")
expect perplexity(smith, tokens) > 1
expect perplexity(clerk, tokens) > 1
expect perplexity(wrapped, tokens) > 1`)
    assert.equal(problemsOf(again), [])
    const [smith, clerk] = made.expects.map((e) => e.left)
    assert.equal(again.expects.slice(0, 2).map((e) => e.left), [smith, clerk], "to the bit")
    assert.ok(smith !== clerk && again.expects[2]?.left !== smith)
    const bytes = fs.statSync(join(place.folder, "out/smith.safetensors")).size
    assert.ok(bytes < 4 * 2 * 2 * (32 + 32) + 1500, `${bytes} bytes: two maps of rank 2, and a header`)
  })
})

test("a file that does not fit is refused", async () => {
  await withFolder(async (place) => {
    assert.equal(problemsOf(await ran(place, start + voice("smith", 1))), [])
    const laid = (model: string): Promise<Ran> => ran(place, `${start}\nx = overlay(${model}, "out/smith.safetensors")\nexpect perplexity(x, tokens) > 1\nexpect perplexity(wrapped, tokens) > 1`)
    assert.equal(codes(await laid("base")), Array(4).fill("SLM3202"))
    assert.equal(codes(await laid("with_voice(3)")), Array(4).fill("SLM3204"))
    fs.writeFileSync(join(place.folder, "out/smith.safetensors"), "nothing")
    assert.equal(codes(await laid("wrapped")), ["SLM3208"])
    assert.equal(problemsOf(await ran(place, `${start}\nexport wrapped { weights: "all.safetensors" }\nexpect perplexity(wrapped, tokens) > 1`)), [])
    assert.equal(codes(await ran(place, `${start}\nx = overlay(packed, "out/all.safetensors")\nexpect perplexity(x, tokens) > 1\nexpect perplexity(wrapped, tokens) > 1`)).includes("SLM3211"), true)
  })
})

test("what `only` names is there, and is written alone", async () => {
  await withFolder(async (place) => {
    const wrong = (fields: string): Promise<Ran> => ran(place, `${start}\nexport wrapped { ${fields} }`)
    assert.equal(codes(await wrong(`weights: "a.safetensors", only: [blocks[*].attn.middle]`)), ["SLM2201"])
    assert.equal(codes(await wrong(`gguf: "a.gguf", only: [blocks[*].attn.q]`)), ["SLM2202"])
  })
})

test.run()
