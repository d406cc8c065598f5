import { test } from "uvu"
import * as assert from "uvu/assert"
import { editDistance, nearest } from "./nearest.ts"

test("edits: insert, delete, replace, swap of neighbours", () => {
  assert.equal([["", "abc"], ["abc", ""], ["abc", "abd"], ["abc", "acb"], ["kitten", "sitting"]].map(([a = "", b = ""]) => editDistance(a, b)), [3, 3, 1, 1, 3])
})

test("a misspelling finds what was meant, in any case of letters, and the nearest of several", () => {
  assert.is(nearest("cosin", ["cosine", "constant"]), "cosine")
  assert.is(nearest("llama", ["Llama", "GPT"]), "Llama")
  assert.is(nearest("depht", ["dim", "depth", "heads"]), "depth")
})

test("what is too far off, and the word itself, are not suggested", () => {
  assert.is(nearest("warmup", ["decay", "peak"]), null)
  assert.is(nearest("lr", ["lr"]), null)
  assert.is(nearest("kl", ["no"]), null)
})

test("an abbreviation or extension finds the word, where only one is meant", () => {
  assert.is(nearest("len", ["data", "length", "documents"]), "length")
  assert.is(nearest("optimizer", ["optim", "objective"]), "optim")
  assert.is(nearest("cross", ["cross_entropy", "cross_entropies"]), null)
  assert.is(nearest("learning_rate", ["lr", "beta1", "weight_decay"]), "lr")
  assert.is(nearest("wd", ["lr", "weight_decay"]), "weight_decay")
  assert.is(nearest("kv", ["kv_heads", "heads"]), "kv_heads")
})

test.run()
