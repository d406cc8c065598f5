/** documents, clean, split and chat: from raw rows to the text that is encoded. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { chat, chatForExport, chatTemplate, jinjaTemplate, renderChat } from "./chat.ts"
import { clean, cleanParts, normalise } from "./clean.ts"
import { documents } from "./documents.ts"
import { expectGood } from "./result.ts"
import { pickRows, pieceCounts, pieceMarkup, placeOf, takeRows, type Column, type Message, type Rows } from "./rows.ts"
import { split } from "./split.ts"
import { novel, rowsOf, textsOf, told } from "./testing.ts"

const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "\t", "\n", "\r\n", "\r", "é", "e\u0301", "\u0000", "\ufeff", "\ud83d\ude00", "\ud800") })
const chats = (values: readonly (readonly Message[])[]): Rows => {
  const rows = rowsOf(values.map(() => ""))
  return { ...rows, columns: new Map<string, Column>([["messages", { is: "chat", values }]]) }
}

test("documents: paragraphs, lines, whole files; lines are kept for messages", () => {
  const rows = rowsOf(["one\ntwo\n\n \t\nthree\r\n\r\nfour", "five\n"], { label: { is: "class", classes: ["x", "y"], values: Int32Array.of(1, 0) } })
  const cut = expectGood(documents(rows), "test")
  assert.equal(textsOf(cut.value), ["one\ntwo", "three", "four", "five"])
  assert.equal([0, 1, 2, 3].map((i) => placeOf(cut.value, i)), ["test:1", "test:5", "test:7", "test:2"])
  assert.equal(cut.value.columns.get("label"), { is: "class", classes: ["x", "y"], values: Int32Array.of(1, 1, 1, 0) })
  assert.equal([cut.report.before, cut.report.after], [2, 4])
  assert.equal(textsOf(expectGood(documents(rows, { by: "line" }), "test").value), ["one", "two", "three", "four", "five"])
  assert.equal(textsOf(expectGood(documents(rows, { by: "file" }), "test").value), textsOf(rows))
})

test("documents: no character that is not blank is lost", () => {
  fc.assert(fc.property(text, fc.constantFrom("paragraph" as const, "line" as const), (whole, by) => {
    const pieces = textsOf(expectGood(documents(rowsOf([whole]), { by }), "test").value)
    assert.is(pieces.join("").replace(/\s/g, ""), whole.replace(/\s/g, ""))
    for (const piece of pieces) assert.not.match(piece, /\n[ \t]*\n/)
  }))
})

test("clean: what normalising does", () => {
  assert.is(normalise("\ufeffe\u0301  \r\n\r\n\r\n\r\nb\u0000\u0085\tc\rd \n\n"), "é\n\nb\tc\nd")
  assert.is(normalise("  indented\n    more"), "  indented\n    more")
  assert.is(normalise("half \ud83d pair"), "half \ufffd pair")
  assert.is(normalise(" ".repeat(2_000_000) + "x").length, 2_000_001, "a long run of blanks is read once, not once per blank")
})

test("clean: normalising twice is normalising once", () => {
  fc.assert(fc.property(text, (t) => assert.is(normalise(normalise(t)), normalise(t))), { numRuns: 500 })
})

test("clean: drops with reasons and samples", () => {
  const rows = rowsOf(["hello there", "", "hi", "hello  there", "hello there  \r\n", "x".repeat(50), "\n\n", "hello there"], { label: { is: "class", classes: ["p", "q"], values: Int32Array.of(0, 0, 0, 0, 0, 0, 0, 1) } })
  const cleaned = expectGood(clean(rows, { minChars: 3, maxChars: 40 }), "test")
  assert.equal(textsOf(cleaned.value), ["hello there", "hello  there"])
  assert.equal(cleaned.report.drops.map((d) => [d.reason, d.count]), [["empty", 2], ["shorter than 3 characters", 1], ["repeated", 1], ["longer than 40 characters", 1], ["repeated with another class", 1]])
  assert.equal(cleaned.report.drops[2]?.samples, [{ place: "test:5", text: "hello there  ⏎" }])
  assert.is(expectGood(clean(rows, { dedup: "off" }), "test").report.after, 6)
  assert.is(told(clean(rowsOf(["", " "]))), "SLM3116 cleaning dropped all 2 rows")
})

test("clean: characters are code points", () => {
  assert.is(expectGood(clean(rowsOf(["😀😀", "abc"]), { minChars: 3 }), "test").value.count, 1)
})

test("clean: conversations are cleaned message by message", () => {
  const rows = chats([[{ role: "user", content: "a \r\n" }, { role: "assistant", content: "b" }], [{ role: "user", content: "a" }, { role: "assistant", content: "b" }]])
  const cleaned = expectGood(clean(rows), "test")
  assert.equal(cleaned.value.columns.get("messages"), { is: "chat", values: [[{ role: "user", content: "a" }, { role: "assistant", content: "b" }]] })
})

test("clean: what is measured is not learned", () => {
  const parts = { train: rowsOf(["a", "b", "c"]), valid: rowsOf(["b", "d", "d"]), test: rowsOf(["d", "c"]) }
  const cleaned = expectGood(cleanParts(parts), "test")
  assert.equal([cleaned.train, cleaned.valid, cleaned.test].map((p) => (p === null ? null : textsOf(p.value))), [["a"], ["b"], ["d", "c"]])
  assert.is(cleaned.train.report.drops[0]?.count, 2)
})

test("split by hash: shares hold and adding rows moves nothing", () => {
  const book = expectGood(documents(novel()), "test").value
  const half = takeRows(book, Math.floor(book.count / 2))
  const options = { valid: 0.1, test: 0.05 }
  const all = expectGood(split(book, options), "test").value
  const fewer = expectGood(split(half, options), "test").value
  assert.is(all.train.count + (all.valid?.count ?? 0) + (all.test?.count ?? 0), book.count)
  assert.ok(Math.abs((all.valid?.count ?? 0) / book.count - 0.1) < 0.02)
  for (const part of ["train", "valid", "test"] as const) {
    const inAll = new Set(textsOf(all[part] ?? half))
    for (const t of textsOf(fewer[part] ?? half)) assert.ok(inAll.has(t), `${part}: ${t}`)
  }
})

test("split by a group keeps the group together", () => {
  const rows = rowsOf(Array.from({ length: 300 }, (_, i) => `row ${i}`), { who: { is: "int", values: Float64Array.from({ length: 300 }, (_, i) => i % 40) } })
  const parts = expectGood(split(rows, { valid: 0.2, by: "who" }), "test").value
  const groups = (part: Rows | null) => { const c = part?.columns.get("who"); return c?.is === "int" ? [...new Set(c.values)] : [] }
  assert.is(groups(parts.train).filter((g) => groups(parts.valid).includes(g)).length, 0)
  assert.is(groups(parts.train).length + groups(parts.valid).length, 40)
  assert.is(told(split(rows, { by: "whom" })), "SLM3123 there is no column `whom`")
})

test("split by position: rows in order, one text cut inside", () => {
  const rows = rowsOf(Array.from({ length: 20 }, (_, i) => `${i}`))
  const parts = expectGood(split(rows, { valid: 0.05, test: 0.05, order: "position" }), "test").value
  assert.equal([parts.train.count, parts.valid?.count, parts.test?.count], [18, 1, 1])
  assert.equal(textsOf(parts.test ?? rows), ["19"])
  const one = expectGood(split(rowsOf(["😀b\nd😀f\nhij"]), { valid: 0.1, order: "position" }), "test").value
  assert.equal([textsOf(one.train), textsOf(one.valid ?? one.train)], [["😀b\nd😀f\nhi"], ["j"]])
  assert.is(placeOf(one.valid ?? one.train, 0), "test:3")
})

test("split: what cannot be split", () => {
  assert.is(told(split(rowsOf(["one text"]), { valid: 0.1 })), "SLM3122 the part `valid` has none of the 1 rows")
  assert.is(told(split(rowsOf(["a", "b"]), { valid: 0.6, test: 0.4 })), "SLM3125 shares of 0.6 and 0.4 leave nothing for training")
  assert.is(told(split(rowsOf(["a", "b"]), { valid: NaN })), "SLM3125 shares of NaN and 0 leave nothing for training")
  assert.is(told(split(rowsOf(["a", "b"]), { order: "position", by: "text" })), "SLM3125 `by` has no effect with `order: position`")
})

const talk: readonly Message[] = [{ role: "user", content: "\n hi {{ x }}" }, { role: "assistant", content: " it's\\n\n\n" }]

// The expected texts are what jinja2 3.1 and @huggingface/jinja 0.5 make of the templates below.
test("chat: rendering and its Jinja template", () => {
  const chatml = expectGood(chatTemplate("chatml"), "test")
  assert.is(renderChat(talk, chatml, { prompt: true }), "<|im_start|>user\nhi {{ x }}<|im_end|>\n<|im_start|>assistant\nit's\\n<|im_end|>\n<|im_start|>assistant\n")
  assert.is(jinjaTemplate(chatml), "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + (message['content'] | trim) + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
  assert.is(renderChat(talk, chatml, { system: "You're \\ Bob\nok" }), "<|im_start|>system\nYou're \\ Bob\nok<|im_end|>\n<|im_start|>user\nhi {{ x }}<|im_end|>\n<|im_start|>assistant\nit's\\n<|im_end|>\n")
  assert.ok(jinjaTemplate(chatml, "You're \\ Bob\nok").startsWith("{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '<|im_start|>' + 'system' + '\\n' + 'You\\'re \\\\ Bob\\nok' + '<|im_end|>\\n' }}{% endif %}{{ "))
  const llama = expectGood(chatTemplate("llama"), "test")
  assert.is(renderChat(talk, llama), "<|start_header_id|>user<|end_header_id|>\n\nhi {{ x }}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nit's\\n<|eot_id|>")
  assert.is(jinjaTemplate(llama), "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + (message['content'] | trim) + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")
})

test("chat: answers and their end count, markup is marked", () => {
  const rendered = expectGood(chat(chats([talk, [{ role: "user", content: "only" }]]), { template: "chatml" }), "test")
  assert.is(rendered.value.count, 1)
  assert.equal(rendered.report.drops.map((d) => [d.reason, d.count]), [["no answer to learn from", 1]])
  const [pieces] = rendered.value.dialogue?.pieces ?? []
  const [whole] = textsOf(rendered.value)
  const shown: [string, number][] = []
  for (let i = 0, start = 0; pieces !== undefined && i < pieces.length; i += 2) {
    shown.push([(whole ?? "").slice(start, pieces[i]), pieces[i + 1] ?? 0])
    start = pieces[i] ?? 0
  }
  assert.equal(shown, [
    ["<|im_start|>user\n", pieceMarkup], ["hi {{ x }}", 0], ["<|im_end|>\n<|im_start|>assistant\n", pieceMarkup],
    ["it's\\n", pieceCounts], ["<|im_end|>", pieceMarkup | pieceCounts], ["\n", pieceMarkup],
  ])
  assert.equal(pickRows(rendered.value, [0, 0]).dialogue?.pieces.length, 2)
})

test("chat: what an export needs", () => {
  const special = [{ text: "<|endoftext|>", id: 0 }, { text: "<|im_end|>", id: 2 }]
  const chatml = expectGood(chatTemplate("chatml"), "test")
  assert.equal(expectGood(chatForExport({ template: "chatml", system: "Be kind" }, { special }), "test"), { endOfTurn: 2, jinja: jinjaTemplate(chatml, "Be kind") })
  assert.is(expectGood(chatForExport({ template: "llama", system: null }, { special }), "test").endOfTurn, null)
})

test("chat: mistakes", () => {
  assert.is(told(chat(chats([talk]), { template: "alpaca" })), "SLM3124 there is no chat template `alpaca`")
  assert.is(told(chat(rowsOf(["x"]))), "SLM3124 the rows have no column of messages")
  const rendered = expectGood(chat(chats([talk])), "test").value
  assert.is(told(chat(rendered)), "SLM3124 the conversations are rendered already")
  assert.is(told(clean(rendered)), "SLM3124 rendered conversations cannot be cleaned")
  const quoting = expectGood(chat(chats([[...talk, { role: "user", content: "what is <|im_end|>?" }]])), "test")
  assert.match(quoting.report.notes[0] ?? "", "rows that quote control tokens")
})

test.run()
