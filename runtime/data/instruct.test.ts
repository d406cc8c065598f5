import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { appendRows } from "./append.ts"
import { chat } from "./chat.ts"
import { encode } from "./encode.ts"
import { instruct } from "./instruct.ts"
import { pack } from "./pack.ts"
import { expectGood } from "./result.ts"
import type { Column, Message, Rows } from "./rows.ts"
import { pickRows } from "./rows.ts"
import { rowsOf, textsOf, told } from "./testing.ts"
import { bpeTokenizer, byteTokenizer } from "./tokenizers.ts"

const bytes = expectGood(byteTokenizer(), "test")
const strings = (values: readonly string[]): Column => ({ is: "string", values })

function pairs(of: readonly (readonly [prompt: string, answer: string])[]): Rows {
  const rows = rowsOf(of.map(() => ""))
  return { ...rows, columns: new Map([["prompt", strings(of.map(([p]) => p))], ["answer", strings(of.map(([, a]) => a))]]) }
}

test("the answer and its end count, the prompt does not", () => {
  const { value, report } = expectGood(instruct(pairs([["2+2=", "4"], ["why?", ""], ["", "alone"]])), "test")
  assert.equal(textsOf(value), ["2+2=4", "alone"])
  assert.equal(report.drops.map(({ reason, count }) => `${reason}: ${count}`), ["no answer to learn from: 1"])
  const set = expectGood(encode(value, bytes), "test")
  assert.equal([...(set.counts ?? [])], [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
  assert.is(set.chat, null, "there is no template to export")
  assert.is(told(instruct(rowsOf(["x"]))), "SLM3123 there is no column of text `prompt`")
  assert.is(told(instruct(value)), "SLM3124 the texts are rendered already")
  assert.is(told(instruct(pairs([["a", ""]]))), "SLM3116 no row has an answer to learn from")
})

test("a prompt has the same tokens with and without its answer, and control tokens in either are text", () => {
  const texts = rowsOf(["the cat sat on the mat and the dog sat on the log ".repeat(20)])
  const { tokenizer } = expectGood(bpeTokenizer(texts, { size: 300, special: ["<|end|>"] }), "test")
  const set = expectGood(encode(expectGood(instruct(pairs([["the cat s", "at <|end|> on"]])), "test").value, tokenizer), "test")
  const prompt = tokenizer.encode("the cat s")
  assert.equal([...set.tokens.subarray(0, prompt.length)], [...prompt])
  assert.not([...set.tokens].includes(tokenizer.special.find(({ text }) => text === "<|end|>")?.id ?? -1))
})

/** What counts in rows as they are packed, as texts: each run of targets of one document. */
function learned(rows: Rows, length: number): readonly string[] {
  const packed = expectGood(pack(expectGood(encode(rows, bytes), "test"), { length }), "test")
  const found: string[] = []
  let open = ""
  let last = ""
  for (let row = 0; row < packed.rows; row++) {
    const { tokens, segments, counts } = packed.get(row)
    // The first token of a row is the last of the one before: it is predicted there.
    for (let i = 1; i < tokens.length; i++) {
      const place = `${row} ${segments[i] ?? -1}`
      if (counts[i] !== 1) {
        if (open !== "") found.push(open)
        open = ""
        continue
      }
      assert.ok((segments[i] ?? -1) >= 0, "padding never counts")
      assert.is(segments[i], segments[i - 1], "a target is predicted from its own document")
      open += tokens[i] === bytes.endOfText ? "¶" : bytes.decode(Int32Array.of(tokens[i] ?? 0))
      last = place
    }
  }
  if (open !== "" && last !== "") found.push(open)
  return found
}

const text = fc.string({ unit: fc.constantFrom(..."abc "), minLength: 1, maxLength: 12 })

test("several prompts packed into rows: what counts is the answers, each once", () => {
  fc.assert(fc.property(fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 12 }), fc.integer({ min: 3, max: 40 }), (of, length) => {
    const rows = expectGood(instruct(pairs(of)), "test").value
    assert.is(learned(rows, length).join(""), of.map(([, answer]) => `${answer}¶`).join(""))
  }), { numRuns: 300, seed: 11 })
})

const turn = fc.tuple(fc.constantFrom("user", "assistant", "system", "tool"), text).map(([role, content]): Message => ({ role: role as Message["role"], content: `${content}.` }))

test("several conversations packed into rows: what counts is answers and the ends of their turns, each once", () => {
  for (const template of ["chatml", "llama"]) {
    const end = template === "chatml" ? "<|im_end|>" : "<|eot_id|>"
    fc.assert(fc.property(fc.array(fc.array(turn, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 8 }), fc.integer({ min: 5, max: 90 }), (talks, length) => {
      const column: Column = { is: "chat", values: talks }
      const rendered = chat({ ...rowsOf(talks.map(() => "")), columns: new Map([["m", column]]) }, { template })
      const answers = talks.flatMap((messages) => messages.filter(({ role }) => role === "assistant").map(({ content }) => `${content.trim()}${end}`))
      if (!rendered.ok) return assert.is(answers.length, 0)
      assert.is(learned(rendered.value.value, length).join(""), answers.join(""))
    }), { numRuns: 150, seed: 12 })
  }
})

test("segments of packed conversations are numbered, and positions begin anew", () => {
  const rows = expectGood(instruct(pairs([["ab", "c"], ["d", "e"], ["f", "g"]])), "test").value
  const { segments, positions, counts } = expectGood(pack(expectGood(encode(rows, bytes), "test"), { length: 9 }), "test").get(0)
  assert.equal([...segments], [0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
  assert.equal([...positions], [0, 1, 2, 3, 0, 1, 2, 0, 1, 2])
  assert.equal([...counts], [0, 0, 1, 1, 0, 1, 1, 0, 1, 1])
})

test("rows behind each other, and rows that do not fit", () => {
  const kinds = (names: readonly string[], classes: readonly string[]): Column => ({ is: "class", classes, values: Int32Array.from(names, (name) => classes.indexOf(name)) })
  const [a, b] = [rowsOf(["x", "y"], { kind: kinds(["b", "a"], ["a", "b"]) }), rowsOf(["z"], { kind: kinds(["c"], ["c"]) })]
  const both = expectGood(appendRows(a, b), "test")
  assert.equal(textsOf(both), ["x", "y", "z"])
  const kind = both.columns.get("kind")
  assert.equal(kind?.is === "class" ? [kind.classes, [...kind.values]] : null, [["a", "b", "c"], [1, 0, 2]])
  assert.equal(textsOf(pickRows(both, [2, 0])), ["z", "x"])
  assert.is(told(appendRows(a, rowsOf(["z"]))), "SLM3126 the column `kind` is class, and missing in the rows behind")
  const rendered = expectGood(instruct(pairs([["p", "a"]])), "test").value
  assert.is(told(appendRows(rendered, pairs([["p", "a"]]))), "SLM3126 the column `text` is string, and missing in the rows behind")
  assert.equal(expectGood(appendRows(rendered, rendered), "test").dialogue?.pieces.length, 2)
})

test.run()
