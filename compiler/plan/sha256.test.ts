import { createHash } from "node:crypto"
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { sha256 } from "./sha256.ts"

test("known answers", () => {
  assert.is(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  assert.is(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
})

test("agrees with another implementation on any text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
    assert.is(sha256(text), createHash("sha256").update(text, "utf8").digest("hex"))
  }), { numRuns: 300 })
})

test.run()
