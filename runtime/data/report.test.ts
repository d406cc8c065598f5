import { test } from "uvu"
import * as assert from "uvu/assert"
import { chat } from "./chat.ts"
import { clean } from "./clean.ts"
import { encode } from "./encode.ts"
import { pack } from "./pack.ts"
import { exampleOf, renderReport, reportPacked, reportTokens } from "./report.ts"
import { expectGood } from "./result.ts"
import type { Column, Rows } from "./rows.ts"
import { rowsOf } from "./testing.ts"
import { byteTokenizer, charTokenizer } from "./tokenizers.ts"

const bytes = expectGood(byteTokenizer(), "test")

test("the report of a small data set, whole", () => {
  const rows = rowsOf(["The whale.", "", "The sea\u001b[31m is wide,\r\nand deep.", "The whale.", "Ah!"])
  const cleaned = expectGood(clean(rows, { minChars: 4 }), "test")
  const set = expectGood(encode(cleaned.value, bytes), "test")
  const packed = expectGood(pack(set, { length: 16 }), "test")
  const text = renderReport({ name: "tale", steps: [cleaned.report], parts: [reportPacked("train", packed, bytes)] }, { width: 60 })
  assert.is(text, `tale
  clean                             5 -> 2
    dropped 1: empty
      test:2  (empty)
    dropped 1: repeated
      test:4  The whale.
    dropped 1: shorter than 4 characters
      test:5  Ah!
    rows whose text was normalised: 1

train: 2 documents, 40 tokens, 1.00 bytes per token
  unknown tokens: none
  document length in tokens: 10 to 30, median 30
               8–15 ████████████████████████ 1
              16–31 ████████████████████████ 1
  3 rows of 16 predictions, 40 targets, 7 places of padding
  1 document continues in another row
  as the model sees it (in ‹ ›: read, but not learned):
    row 0, 15 targets
    │ ‹T›he whale.<|endoftext|>
    ┴
    │ ‹T›he se
    ┴
    row 1, 16 targets
    │ ‹e›a[31m is wide,⏎a
    ┴
    row 2, 9 targets
    │ ‹a›nd deep.<|endoftext|>
    ┴
      7 places of padding
`)
})

test("examples: masked tokens and document borders", () => {
  const messages: Column = { is: "chat", values: [[{ role: "user", content: "hi" }, { role: "assistant", content: "yo" }]] }
  const rows: Rows = { ...rowsOf([""]), columns: new Map([["m", messages]]) }
  const rendered = expectGood(chat(rows), "test").value
  const tokenizer = expectGood(byteTokenizer({ special: ["<|im_start|>", "<|im_end|>"] }), "test")
  const packed = expectGood(pack(expectGood(encode(rendered, tokenizer), "test"), { length: 40 }), "test")
  assert.equal(exampleOf(packed, 0, tokenizer), {
    row: 0, targets: 3, padding: 15, class: null,
    documents: [[{ text: "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", target: false }, { text: "yo<|im_end|>", target: true }, { text: "\n<|endoftext|>", target: false }]],
  })
  const colored = renderReport({ name: "c", steps: [], parts: [reportPacked("all", packed, tokenizer)] }, { color: true })
  assert.match(colored, "\u001b[2m<|im_start|>user⏎hi<|im_end|>⏎<|im_start|>assistant⏎\u001b[0myo<|im_end|>")
})

test("text from the data cannot steer the terminal", () => {
  const rows = rowsOf(["a\u001b[2Jb\u0007\u202ec\u2028d"])
  const packed = expectGood(pack(expectGood(encode(rows, bytes), "test"), { length: 64 }), "test")
  const text = renderReport({ name: "t", steps: [{ step: "x", before: 1, after: 1, drops: [{ reason: "r", count: 1, samples: [{ place: "p", text: "\u001b[2J" }] }], notes: ["\u0007"] }], parts: [reportPacked("all", packed, bytes)] })
  assert.not.match(text.replace(/\n/g, ""), /[\p{Cc}\p{Bidi_Control}\u2028]/u)
})

test("unknown tokens, classes and truncation are told", () => {
  const { tokenizer } = expectGood(charTokenizer(rowsOf(["abc"])), "test")
  const label: Column = { is: "class", classes: ["x", "y"], values: Int32Array.of(1, 0, 1) }
  const set = expectGood(encode(rowsOf(["abc", "axxa", "b"], { label }), tokenizer), "test")
  const text = renderReport({ name: "t", steps: [], parts: [reportPacked("all", expectGood(pack(set, { length: 3 }), "test"), tokenizer)] })
  assert.match(text, "unknown tokens: 2 (25%)")
  assert.match(text, "classes: x 1, y 2")
  assert.match(text, "1 document is longer than a row: 1 token lost")
  assert.match(text, "class y")
  assert.match(text, "2 places of padding")
})

test("a report is JSON", () => {
  const part = reportTokens("all", expectGood(encode(rowsOf(["ab", "abcde"]), bytes), "test"))
  assert.equal(JSON.parse(JSON.stringify(part)), part)
  assert.equal(part.lengths, { shortest: 2, median: 5, longest: 5, bins: [{ from: 2, to: 3, count: 1 }, { from: 4, to: 7, count: 1 }] })
})

test.run()
