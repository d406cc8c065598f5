/** Keys under rewriting: what means the same has the same keys, and what means something else changes the right ones and no others. */
import { readFileSync } from "node:fs"
import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { checkText } from "../check/check-text.fixture.ts"
import { lay, move, rename, reorder, type Random, type Rewrite } from "./rewrite.fixture.ts"
import type { Stage } from "./stage.ts"

function stagesOf(text: string, params: Readonly<Record<string, string>> = {}): readonly Stage[] {
  const { session, diagnostics } = checkText(text, { params })
  const wrong = diagnostics.filter((d) => d.severity === "error").map((d) => `${d.code} ${d.message}`)
  assert.equal(wrong, [], text)
  return [...session.stages.values()]
}

const keysOf = (text: string): readonly string[] => stagesOf(text).map(({ kind, key }) => `${kind} ${key}`).sort()

function randomOf(seed: number): Random {
  let x = seed >>> 0
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    return x / 2 ** 32
  }
}

const rewrites: Readonly<Record<string, Rewrite>> = { rename, reorder, lay, move }
const recipes = ["examples/01-quickstart.slm", "examples/02-new-parts.slm", "spec/tests/meaning/accept/own-optimizer-loss-layer.slm"]

test("rewritings that mean the same keep all keys", () => {
  for (const file of recipes) {
    const text = readFileSync(file, "utf8")
    const before = keysOf(text)
    assert.ok(before.length > 5, file)
    let changed = 0
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.shuffledSubarray(Object.keys(rewrites), { minLength: 2 }), (seed, names) => {
      const random = randomOf(seed)
      const written = names.reduce((done, name) => (rewrites[name] ?? lay)(done, random), text)
      if (written !== text) changed++
      assert.equal(keysOf(written), before, written)
    }), { numRuns: 8, seed: 41 })
    assert.ok(changed >= 6, `${file}: the rewritings hardly change anything`)
  }
})

// ---------------------------------------------------------------- what matters

const recipe = `use std.models { Llama }
use std.optim { adamw, cosine, clip_norm, sgd }
use std.losses { cross_entropy, kl }
param rate = 3e-3
param share: float = 0.5

fn mix(a: Loss, b: Loss) -> Loss = share * a + (1.0 - share) * b

book = text("book.txt") |> documents(by: paragraph) |> clean(dedup: exact, min_chars: 3) |> split(valid: 10%)
notes = jsonl("notes.jsonl", fields: { text: "string" })
words = bpe(book.train, size: 512, special: ["<a>"])
tokens = book |> encode(words) |> pack(length: 16, windows: fixed)
more = notes |> encode(words) |> pack(length: 16) |> take(100)
model Big = Llama(vocab: words.size, dim: 32, depth: 2, heads: 2)
model Small = Big with { depth: 1 }
curriculum easy(prose: Tokens, other: Tokens) {
  difficulty: rarity(prose)
  stage warm { until: 4 steps, mix: easiest(prose, 30%) }
  stage full { mix: 80% prose + 20% other }
}
teacher = train Big { data: easy(tokens.train, more), objective: next_token, batch: 8 sequences, steps: 10, optim: adamw(lr: cosine(peak: rate, warmup: 5%), beta1: 0.9) |> clip_norm(1.0) }
student = train Small {
  data: tokens.train, valid: tokens.valid, objective: next_token, batch: 4 sequences, steps: 12, seed: 1, optim: sgd(lr: 0.1)
  loss: (out, batch) => mix(cross_entropy(out.logits, batch.labels), kl(teacher(batch).logits, out.logits, temperature: 2))
}
pocket = quantize student { format: int8, keep: [embed] }
voices = generate pocket { prompts: ["a"], tokens: 8, temperature: 0.5 }
expect perplexity(pocket, tokens.valid) < 100
expect perplexity(teacher, tokens.valid) < 100
export pocket { safetensors: "pocket" }
`

/** A text of the recipe, another one, and the stages that say so themselves. */
const changes: readonly (readonly [from: string, to: string, stages: readonly string[]])[] = [
  ['"book.txt"', '"other.txt"', ["book/text"]], ["by: paragraph", "by: line", ["book/documents"]], ["min_chars: 3", "min_chars: 4", ["book/clean"]], ["dedup: exact", "dedup: off", ["book/clean"]],
  ["valid: 10%", "valid: 20%", ["book"]], ['"notes.jsonl"', '"notes2.jsonl"', ["notes"]], ['fields: { text: "string" }', 'fields: { text: "string", n: "int" }', ["notes"]], ["size: 512", "size: 300", ["words"]], ['special: ["<a>"]', 'special: ["<b>"]', ["words"]],
  ["windows: fixed", "windows: random", ["tokens"]], ["take(100)", "take(99)", ["more"]], ["dim: 32", "dim: 64", ["teacher", "student"]], ["depth: 1 }", "depth: 3 }", ["student"]],
  ["until: 4 steps", "until: 5 steps", ["teacher/curriculum"]], ["easiest(prose, 30%)", "easiest(prose, 40%)", ["teacher/curriculum"]], ["80% prose + 20% other", "70% prose + 30% other", ["teacher/curriculum"]],
  ["rate = 3e-3", "rate = 1e-3", ["teacher"]], ["warmup: 5%", "warmup: 6%", ["teacher"]], ["beta1: 0.9", "beta1: 0.8", ["teacher"]], ["clip_norm(1.0)", "clip_norm(2.0)", ["teacher"]], ["steps: 10", "steps: 11", ["teacher"]],
  ["batch: 4 sequences", "batch: 2 sequences", ["student"]], ["seed: 1", "seed: 2", ["student"]], ["sgd(lr: 0.1)", "sgd(lr: 0.2)", ["student"]], ["share: float = 0.5", "share: float = 0.25", ["student"]], ["(1.0 - share) * b", "(2.0 - share) * b", ["student"]],
  ["temperature: 2)", "temperature: 3)", ["student"]], ["format: int8", "format: q8_0", ["pocket"]], ["keep: [embed]", "keep: [head]", ["pocket"]], ['prompts: ["a"]', 'prompts: ["b"]', ["voices"]], ["tokens: 8", "tokens: 9", ["voices"]], ["temperature: 0.5", "temperature: 0", ["voices"]],
  ['safetensors: "pocket"', 'safetensors: "elsewhere"', ["export pocket"]],
]

/** The stages that say so and all that are made from them. */
function dependents(stages: readonly Stage[], named: ReadonlySet<string>): readonly string[] {
  const found = new Set<Stage>()
  for (let before = -1; found.size !== before;) {
    before = found.size
    for (const stage of stages) if (named.has(stage.name) || stage.inputs.some((input) => found.has(input))) found.add(stage)
  }
  return [...found].map(({ name }) => name).sort()
}

const original = stagesOf(recipe)
const known = new Set(original.map(({ key }) => key))
const changedIn = (text: string, params: Readonly<Record<string, string>> = {}): readonly string[] => stagesOf(text, params).filter(({ key }) => !known.has(key)).map(({ name }) => name).sort()

test("every value that matters changes the stages that say it and those made from them, and no others", () => {
  for (const [from, to, stages] of changes) {
    const text = recipe.replace(from, to)
    assert.is.not(text, recipe, from)
    const named = original.filter(({ name }) => stages.includes(name))
    assert.is(named.length, stages.length, `${from}: ${original.map(({ name }) => name).join(", ")}`)
    assert.equal(changedIn(text), dependents(original, new Set(stages)), `${from} -> ${to}`)
  }
})

test("several changes at once change what each of them does", () => {
  fc.assert(fc.property(fc.shuffledSubarray([...changes], { minLength: 2, maxLength: 6 }), (some) => {
    const text = some.reduce((done, [from, to]) => done.replace(from, to), recipe)
    assert.equal(changedIn(text), dependents(original, new Set(some.flatMap(([, , stages]) => stages))))
  }), { numRuns: 12, seed: 7 })
})

test("`--set` enters the keys as the same value in the text does", () => {
  assert.equal(changedIn(recipe, { rate: "1e-3" }), dependents(original, new Set(["teacher"])))
  const [set, written] = [stagesOf(recipe, { share: "0.25" }), stagesOf(recipe.replace("share: float = 0.5", "share: float = 0.25"))]
  assert.equal(set.map(({ key }) => key), written.map(({ key }) => key))
  assert.equal(changedIn(recipe, { rate: "0.003", share: "0.5" }), [])
})

// ---------------------------------------------------------------- golden keys

/** Nothing of the library is in it: these keys change with the normal form, with a revision, or with the parameters of a primitive. */
const bare = `
book = text("book.txt") |> documents() |> clean() |> split(valid: 10%)
words = bpe(book.train, size: 512)
tokens = book |> encode(words) |> pack(length: 16)
layer Table(vocab: int, dim: int) {
  param weight: float[vocab, dim] = normal(std: 0.02)
  forward(ids: ids(vocab)[B, T]) -> float[B, T, dim] = gather(weight, ids)
}
optimizer plain(lr: schedule) {
  update(p, g, step) { { p: p - lr(step) * g } }
}
`

test("golden keys: a change here makes every stored result worthless", () => {
  const { session } = checkText(`${bare}let n = words.size\nexpect n > 3\nlet unused_tokens = tokens.train\nlet other_tokens = tokens.valid\n`)
  assert.equal([...session.stages.values()].map(({ kind, key }) => `${kind} ${key.slice(0, 16)}`), [
    "text c21575b84a5331a9", "documents 73bbea6de844aad4", "clean 9100c9ed82bf6bad", "split 2ca193f3cb5808fd", "bpe f20ae95167cd0482", "encode b6ed74632ae81da6", "pack 31c7089780d54e31",
  ])
  const table = session.modules.get("test.slm")?.entries
  const value = (name: string): string => {
    const found = table?.get(name)?.value
    if (found === null || found === undefined) throw new Error(`no ${name}`)
    return session.keys.of(found).slice(0, 16)
  }
  assert.equal(["Table", "plain"].map(value), ["7ea680086b49c79e", "0c5a682fc078fe4b"])
})

test.run()
