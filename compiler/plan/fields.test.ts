/** What people are told of a stage: short fields, the same for the same meaning, others where something changed. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { checkText } from "../check/check-text.fixture.ts"
import { fieldText, fieldsOf, sameField } from "./fields.ts"
import type { Fields } from "./fields.ts"

const recipe = `use std.models { Llama }
use std.optim { adamw, cosine, clip_norm }
use std.losses { cross_entropy }
let weight = 0.5
fn own(logits: tensor, labels: tensor) -> Loss = 2.0 * cross_entropy(logits, labels)
book = text("book.txt") |> split(valid: 10%, unused: allow)
words = bpe(book.train, size: 512)
tokens = book |> encode(words) |> pack(length: 16)
model Small = Llama(vocab: words.size, dim: 32, depth: 2, heads: 2)
result = train Small {
  data: tokens.train, objective: next_token, steps: 10, optim: adamw(lr: cosine(peak: 3e-3, warmup: 5%), beta1: 0.8) |> clip_norm(1.0)
  loss: (out, batch) => weight * own(out.logits, batch.labels), freeze: [embed]
}
other = train result { data: tokens.train, objective: next_token, steps: 2, optim: adamw(lr: 1e-3) }
`

function fields(text: string, name = "result"): Fields {
  const { session, diagnostics } = checkText(text)
  assert.equal(diagnostics.filter((d) => d.severity === "error").map((d) => d.message), [])
  const stage = [...session.stages.values()].find((s) => s.name === name)
  if (stage === undefined) throw new Error(`no stage ${name}`)
  return fieldsOf(stage, session)
}

function changed(text: string): readonly string[] {
  const [old, now] = [fields(recipe), fields(text)]
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].filter((name) => !sameField(old[name], now[name])).map((name) => `${name}: ${fieldText(old[name] ?? "")} -> ${fieldText(now[name] ?? "")}`)
}

test("arguments of specifications, optimisers, schedules and losses are fields of their own", () => {
  const all = fields(recipe)
  const some = Object.fromEntries(["model", "model.dim", "model.vocab", "optim", "optim.beta1", "optim.lr", "optim.lr.peak", "optim.transforms[0]", "freeze[0]", "loss.weight", "data"].map((name) => [name, all[name]]))
  assert.equal(some, {
    model: "Llama", "model.dim": "32", "model.vocab": "words.size", optim: "adamw", "optim.beta1": "0.8", "optim.lr": "cosine", "optim.lr.peak": "0.003", "optim.transforms[0]": "clip_norm",
    "freeze[0]": "embed", "loss.weight": "0.5", data: "tokens.train",
  })
  assert.match(all["loss"] ?? "", /^\(out, batch\) => weight \* own\(out\.logits, batch\.labels\) #[0-9a-f]{12}$/)
  assert.is(fields(recipe, "other")["optim.lr"], "0.001")
  assert.not.ok("unused" in fields(recipe, "book"))
})

test("a change shows in the field it is about, and in no other", () => {
  assert.equal(changed(recipe.replace("peak: 3e-3", "peak: 1e-3")), ["optim.lr.peak: 0.003 -> 0.001"])
  assert.equal(changed(recipe.replace("weight = 0.5", "weight = 0.25")), ["loss.weight: 0.5 -> 0.25"])
  assert.equal(changed(recipe.replace("2.0 * cross", "3.0 * cross")), ["loss.own: own -> own"])
  assert.equal(changed(recipe.replace("|> clip_norm(1.0)", "").replace(", clip_norm", "")), ["optim.transforms[0]: clip_norm -> ", "optim.transforms[0].limit: 1 -> "])
})

test("layout and names of local variables are no change", () => {
  assert.equal(changed(recipe.replace("(out, batch) => weight * own(out.logits, batch.labels)", "(o,   b) =>\n weight * own(o.logits, b.labels)")), [])
  assert.equal(changed(recipe.replace("fn own(logits", "/// Mine.\nfn own(logits")), [])
})

test("functions that use each other many times are told once", () => {
  const fns = Array.from({ length: 12 }, (_, i) => `fn f${i}(x: float) -> float = ${i === 0 ? "x" : Array.from({ length: i }, (_, k) => `f${k}(x)`).join(" + ")}`).join("\n")
  const all = fields(`${recipe.replace("weight * own", "f11(weight) * own")}${fns}\n`)
  assert.ok(Object.keys(all).length < 150, String(Object.keys(all).length))
})

test.run()
