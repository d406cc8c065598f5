import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Options } from "../check/check-text.fixture.ts"
import { checkText } from "../check/check-text.fixture.ts"

const recipe = `use std.models { Llama }
use std.optim { adamw, cosine, clip_norm }
use std.losses { cross_entropy, kl }

book = text("book.txt") |> clean(dedup: exact) |> split(valid: 10%)
words = bpe(book.train, size: 512)
tokens = book |> encode(words) |> pack(length: 16)
model Small = Llama(vocab: words.size, dim: 32, depth: 2, heads: 2)
let opt = adamw(lr: cosine(peak: 3e-3, warmup: 5%)) |> clip_norm(1.0)
teacher = train Small { data: tokens.train, objective: next_token, optim: opt, steps: 10 }
student = distill teacher into Small {
  data: tokens.train, objective: next_token, optim: opt, steps: 10
  loss: (out, batch) => {
    let hard = cross_entropy(out.logits, batch.labels)
    0.5 * hard + 0.5 * kl(teacher(batch).logits, out.logits, temperature: 2)
  }
}
expect perplexity(student, tokens.valid) < 100
`

/** The keys of the stages, in order. */
function keys(text: string, options: Options = {}): readonly string[] {
  const checked = checkText(text, options)
  assert.equal(checked.diagnostics.map((d) => d.message), [])
  return [...checked.session.stages.values()].map((s) => `${s.kind} ${s.key}`)
}
const original = keys(recipe)

function same(change: (text: string) => string, why: string): void {
  const changed = change(recipe)
  assert.is.not(changed, recipe, `${why}: nothing was changed`)
  assert.equal(keys(changed), original, why)
}

/** Only these stages, and what depends on them, get other keys. */
function different(change: (text: string) => string, kinds: readonly string[]): void {
  const changed = change(recipe)
  assert.is.not(changed, recipe)
  const now = keys(changed)
  assert.equal(now.filter((key) => !original.includes(key)).map((key) => key.split(" ")[0]), kinds)
}

test("names of bindings, comments, layout, order of fields and names of local variables are not meaning", () => {
  same((t) => t.replaceAll("book", "novel").replace('"novel.txt"', '"book.txt"'), "names of bindings")
  same((t) => t.replaceAll("Small", "Tiny"), "names of models")
  same((t) => `//! A recipe.\n${t.replaceAll(" |> ", "\n  |> ")}// the end\n`, "layout and comments")
  same((t) => t.replace("data: tokens.train, objective: next_token, optim: opt, steps: 10 }", "steps: 10, optim: opt, objective: next_token, data: tokens.train }"), "order of fields")
  same((t) => t.replace("(out, batch) =>", "(o, b) =>").replaceAll("out.logits", "o.logits").replaceAll("batch.labels", "b.labels").replace("teacher(batch)", "teacher(b)").replaceAll("hard", "plain"), "local names")
  same((t) => t.replace("vocab: words.size, dim: 32", "dim: 32, vocab: words.size"), "order of arguments")
  same((t) => t.replace("heads: 2)", "heads: 2, tie: false)"), "a default that is written out")
  same((t) => t.replace("clean(dedup: exact)", "clean()").replace("warmup: 5%", "warmup: 0.05"), "the same value, written otherwise")
  same((t) => t.replace("adamw(lr: cosine(peak: 3e-3, warmup: 5%)) |> clip_norm(1.0)", "clip_norm(adamw(lr: cosine(peak: 3e-3, warmup: 5%)), 1.0)"), "a pipe and a call")
  same((t) => t.replace("valid: 10%)", "valid: 10%, unused: allow)").replace("steps: 10 }", "steps: 10, unused: allow }"), "a permission")
  same((t) => `${t}\nlet extra = 3\nexpect extra == 3\n`, "what no stage depends on")
})

test("a change of meaning changes the stages that depend on it, and no others", () => {
  different((t) => t.replace("dedup: exact", "dedup: off"), ["clean", "split", "bpe", "encode", "pack", "train", "train", "evaluate"])
  different((t) => t.replace("length: 16", "length: 32"), ["pack", "train", "train", "evaluate"])
  different((t) => t.replace("dim: 32", "dim: 64"), ["train", "train", "evaluate"])
  different((t) => t.replace("temperature: 2", "temperature: 3"), ["train", "evaluate"])
  different((t) => t.replace("0.5 * hard", "0.4 * hard"), ["train", "evaluate"])
  different((t) => t.replace("peak: 3e-3", "peak: 4e-3"), ["train", "train", "evaluate"])
  different((t) => t.replace("clip_norm(1.0)", "clip_norm(2.0)"), ["train", "train", "evaluate"])
})

test("the definition of a function is meaning, its name and place are not", () => {
  const own = recipe.replace("steps: 10\n  loss", "steps: 10\n  loss").replace("cross_entropy(out.logits", "mine(out.logits") + "\nfn mine(logits: tensor, labels: tensor) -> Loss = 2.0 * cross_entropy(logits, labels)\n"
  const renamed = own.replaceAll("mine", "ours")
  const other = own.replace("2.0 *", "3.0 *")
  assert.equal(keys(renamed), keys(own))
  assert.is.not(keys(other).join(), keys(own).join())
})

test("facts do not change keys", () => {
  const size = original[3]?.split(" ")[1] ?? ""
  assert.equal(keys(recipe, { facts: new Map([[`${size}.size`, 300]]) }), original)
})

test("equal work is one stage", () => {
  const twice = keys('a = text("a.txt")\nb = text("a.txt", encoding: utf8)\nx = char(a)\ny = char(b)\nlet both = x.size + y.size\nexpect both > 0\n')
  assert.equal(twice.map((k) => k.split(" ")[0]), ["text", "char"])
})

test("golden keys: a change here makes every stored result worthless", () => {
  assert.equal(keys('a = text("a.txt")\nwords = char(a)\nlet n = words.size\nexpect n > 3\n'), [
    "text df589f2f7fedbbbb284856aa4de6114352988aeaf2d5f3568846e12d1e97ad23", "char 8428fcbc70c10cb273c5e75528601e82a1941c3a3ece4d478e0b5322bb0199ea",
  ])
})

test.run()
