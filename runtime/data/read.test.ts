import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { parseFields, withClasses, type FieldType } from "./fields.ts"
import { scanJson } from "./json.ts"
import { readCsv, readJsonl, readText } from "./read.ts"
import { expectGood, failuresOf, placedFailure } from "./result.ts"
import { inputs, told, textsOf } from "./testing.ts"

const fields = (types: Readonly<Record<string, FieldType>>) => ({ fields: new Map(Object.entries(types)) })

test("text: each file is a document; a byte order mark is dropped", () => {
  const rows = expectGood(readText(inputs({ "a.txt": "\ufeffone\r\ntwo", "b.txt": "three\n" })), "test")
  assert.equal(textsOf(rows), ["one\r\ntwo", "three\n"])
})

test("text: encodings", () => {
  const chinese = Uint8Array.of(0xc4, 0xe3, 0xba, 0xc3, 0x0a, 0x81, 0x30, 0x81, 0x30) // "你好" and a four-byte character
  assert.equal(textsOf(expectGood(readText(inputs({ a: chinese }), { encoding: "gb18030" }), "test")), ["你好\n\u0080"])
  const western = Uint8Array.of(0x63, 0x61, 0x66, 0xe9, 0x20, 0x80, 0x93, 0x81)
  assert.equal(textsOf(expectGood(readText(inputs({ a: western }), { encoding: "latin1" }), "test")), ["café €“\u0081"])
})

test("text: the first bad byte is named by offset, line and column", () => {
  const bad = Buffer.concat([Buffer.from("fine\nsm\u00f6r"), Uint8Array.of(0xe2, 0x82, 0x28), Buffer.from("\nrest")])
  assert.is(told(readText(inputs({ "a.txt": bad }))), "SLM3111 a.txt:2:5 a.txt is not UTF-8: byte 0xE2 at offset 10")
  const cut = Buffer.concat([Buffer.from("ab\n"), Uint8Array.of(0xf0, 0x9f, 0x98)])
  assert.is(told(readText(inputs({ "a.txt": cut }))), "SLM3111 a.txt:2:1 a.txt is not UTF-8: byte 0xF0 at offset 3")
  const gb = Uint8Array.of(0x41, 0xc4, 0xe3, 0x0a, 0xc4, 0xe3, 0xff, 0x41)
  assert.is(told(readText(inputs({ "a.txt": gb }), { encoding: "gb18030" })), "SLM3111 a.txt:2:2 a.txt is not GB18030: byte 0xFF at offset 6")
  const far = Buffer.concat([Buffer.from("x".repeat(99) + "\n", "utf8"), ...Array.from({ length: 30 }, () => Buffer.from(("y".repeat(99_999)) + "\n")), Uint8Array.of(0xff)])
  assert.is(told(readText(inputs({ "a.txt": far }))), "SLM3111 a.txt:32:1 a.txt is not UTF-8: byte 0xFF at offset 3000100", "across pieces of the file")
})

test("text: nothing in it is a mistake", () => {
  assert.is(told(readText(inputs({ "a.txt": "" }))), "SLM3116 a.txt has no rows")
})

test("text: any bytes give rows or a place in the file", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), fc.constantFrom("utf8" as const, "gb18030" as const, "latin1" as const), (bytes, encoding) => {
    const [file] = inputs({ a: bytes })
    if (file === undefined) return
    const result = readText([file], { encoding })
    if (result.ok && encoding === "utf8") assert.equal(Buffer.from((bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? "\ufeff" : "") + textsOf(result.value)[0]), Buffer.from(bytes))
    if (!result.ok && bytes.length > 0 && !Buffer.from(bytes).equals(Uint8Array.of(0xef, 0xbb, 0xbf))) {
      const offset = Number(/offset (\d+)/.exec(result.failures[0]?.message ?? "")?.[1])
      assert.ok(offset >= 0 && offset < bytes.length)
      assert.ok(offset === 0 || readText(inputs({ a: bytes.slice(0, offset) }), { encoding }).ok || bytes.slice(0, offset).every((b) => [0xef, 0xbb, 0xbf].includes(b)), "what is before the place is fine")
    }
  }), { numRuns: 300 })
})

test("jsonl: typed fields in compact columns", () => {
  const file = inputs({ "a.jsonl": '{"text":"a","label":"pos","n":3,"x":0.5}\n\n{"label":"neg","text":"b","n":-1,"x":2,"more":null}\r\n{"text":"c","label":"pos","n":0,"x":1e3}' })
  const rows = expectGood(readJsonl(file, fields({ text: "string", label: "class", n: "int", x: "float" })), "test")
  assert.is(rows.count, 3)
  assert.equal(rows.columns.get("label"), { is: "class", classes: ["neg", "pos"], values: Int32Array.of(1, 0, 1) })
  assert.equal(rows.columns.get("n"), { is: "int", values: Float64Array.of(3, -1, 0) })
  assert.equal([...rows.places.line], [1, 3, 4])
})

test("jsonl: classes that are numbers are ordered by value", () => {
  const rows = expectGood(readJsonl(inputs({ a: '{"l":10}\n{"l":9}\n{"l":"9"}' }), fields({ l: "class" })), "test")
  assert.equal(rows.columns.get("l"), { is: "class", classes: ["9", "10"], values: Int32Array.of(1, 0, 0) })
})

test("jsonl: conversations", () => {
  const rows = expectGood(readJsonl(inputs({ a: '{"m":[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}]}' }), fields({ m: "chat" })), "test")
  assert.equal(rows.columns.get("m"), { is: "chat", values: [[{ role: "user", content: "hi" }, { role: "assistant", content: "yo" }]] })
})

test("jsonl: mistakes name line, column and the row, several at once", () => {
  const lines = ['{"text": "fine"}', '{"text": "open', '{"text" 1}', '{"other": 1}', '[1]', '{"a": {"text": 1}, "text": 5}', '{"text": "x"} trailing']
  const result = readJsonl(inputs({ "r.jsonl": lines.join("\n") }), fields({ text: "string" }))
  assert.is(told(result), [
    "SLM3112 r.jsonl:2:10 the line is not JSON: a value is expected here",
    "SLM3112 r.jsonl:3:9 the line is not JSON: `:` is expected here",
    "SLM3114 r.jsonl:4:1 the row has no field `text`",
    "SLM3112 r.jsonl:5:1 a row is an object, not a list",
    "SLM3115 r.jsonl:6:28 `text` should be a string, not 5",
  ].join("\n"))
  assert.is(failuresOf(result)[0]?.place?.row, '{"text": "open')
})

test("a failure becomes a diagnostic at the recipe's place", () => {
  const [found] = failuresOf(readJsonl(inputs({ "r.jsonl": '{"text": 5}' }), fields({ text: "string" })))
  assert.ok(found !== undefined)
  const span = { source: "npc.slm", start: 3, end: 9 }
  const shown = placedFailure(found, span)
  assert.equal([shown.code, shown.severity, shown.message, shown.span, shown.notes, shown.help], ["SLM3115", "error", "`text` should be a string, not 5", span, ['r.jsonl:1:10: {"text": 5}'], null])
})

test("jsonl: mistakes in values", () => {
  const one = (row: string, type: FieldType) => told(readJsonl(inputs({ f: row }), fields({ v: type }))).replace(/^\S+ \S+ /, "")
  assert.is(one('{"v": 1.5}', "int"), "`v` should be a whole number, not 1.5")
  assert.is(one('{"v": "1"}', "float"), '`v` should be a number, not "1"')
  assert.is(one('{"v": null}', "class"), "`v` should be the name of a class, not null")
  assert.is(one('{"v": []}', "chat"), "`v` should be a list of messages, not an empty one")
  assert.is(one('{"v": [{"from":"human","value":"x"}]}', "chat"), "`v` should be messages with a role of system, user, assistant, tool, but message 1 has none")
  assert.is(one('{"v": [{"role":"user","content":["x"]}]}', "chat"), "`v` should be messages with text as content, but message 1 has a list")
  assert.is(one('{"__proto__": 1}', "int"), "the row has no field `v`")
})

test("the scanner of JSON agrees with JSON.parse on what is JSON", () => {
  const nearJson = fc.tuple(fc.json({ maxDepth: 4 }), fc.nat(), fc.string({ unit: fc.constantFrom(..."{}[]:,\"\\ue0-1.tn \n"), maxLength: 3 }), fc.boolean())
    .map(([json, at, noise, keep]) => keep ? json : json.slice(0, at % (json.length + 1)) + noise + json.slice((at % (json.length + 1)) + 1))
  fc.assert(fc.property(nearJson, (text) => {
    let valid = true
    try { JSON.parse(text) } catch { valid = false }
    const error = scanJson(text).error
    assert.is(error === null, valid, text)
    if (error !== null) assert.ok(error.at >= 0 && error.at <= text.length)
  }), { numRuns: 2000 })
  assert.is(scanJson("[".repeat(300_000)).error?.at, 300_000, "depth is no danger")
})

test("csv: quotes, separators, line ends and blank lines", () => {
  const file = inputs({ "a.csv": '\ufefftext, label ,n\r\n"a ""q"", b\nc",x,1\r\n\r\nd,y, 2 \n' })
  const rows = expectGood(readCsv(file, fields({ text: "string", label: "class", n: "int" })), "test")
  assert.equal(textsOf(rows), ['a "q", b\nc', "d"])
  assert.equal([...rows.places.line], [2, 5])
  assert.equal(rows.columns.get("n"), { is: "int", values: Float64Array.of(1, 2) })
  assert.equal(textsOf(expectGood(readCsv(inputs({ a: "text;l\na,b;c" }), { ...fields({ text: "string" }), separator: ";" }), "test")), ["a,b"])
})

test("csv: mistakes name line, column and the row", () => {
  const read = (text: string) => told(readCsv(inputs({ "a.csv": text }), fields({ text: "string", n: "int" })))
  assert.is(read("text,n\na,1\nb,x\n\"c\nc\",y\n"), "SLM3115 a.csv:3:3 `n` should be a whole number, not \"x\"\nSLM3115 a.csv:5:4 `n` should be a whole number, not \"y\"")
  assert.is(read("text,n\na,1,2\n"), "SLM3113 a.csv:2:1 the row has 3 fields, the header 2")
  assert.is(read("text,m\na,1\n"), "SLM3114 a.csv:1:1 the header has no column `n`")
  assert.is(read("text,n,n\na,1,2\n"), "SLM3113 a.csv:1:1 the header names `n` twice")
  assert.is(read('text,n\na,1\n"b\n'), "SLM3113 a.csv:3:1 a quote is opened and not closed before the end of the file")
  assert.is(read('text,n\n"a" b,1\n'), "SLM3113 a.csv:2:3 a closing quote is followed by more text")
  assert.is(read('text,n\na"b,1\n'), "SLM3113 a.csv:2:2 a quote stands inside a field that does not begin with one")
  assert.is(read("text,n\n"), "SLM3116 a.csv has no rows")
  assert.is(told(readCsv(inputs({ f: "text\na" }), { ...fields({ text: "string" }), separator: "\"" })), 'SLM3113 "\\"" cannot separate fields')
})

test("csv: what a careful writer writes is read back", () => {
  const cell = fc.string({ unit: fc.constantFrom("a", "\"", ",", "\n", "\r\n", " ", "é"), maxLength: 6 })
  fc.assert(fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 }), (table) => {
    const quote = (text: string) => `"${text.replaceAll("\"", "\"\"")}"`
    const text = ["a,text", ...table.map((row) => row.map(quote).join(","))].join("\r\n")
    const rows = expectGood(readCsv(inputs({ f: text }), fields({ text: "string" })), "test")
    assert.equal(textsOf(rows), table.map((row) => row[1]))
  }), { numRuns: 200 })
})

test("csv and jsonl: any text gives rows or failures with a place", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."text,n\n\r\"{}:[]1 \\"), maxLength: 60 }), (text) => {
    for (const result of [readCsv(inputs({ f: text }), fields({ text: "string" })), readJsonl(inputs({ f: text }), fields({ text: "string" }))]) {
      if (!result.ok) assert.ok(result.failures.every((f) => f.code === "SLM3116" || (f.place !== null && f.place.line >= 1)))
    }
  }), { numRuns: 500 })
})

test("types of fields are checked", () => {
  assert.is(told(parseFields(new Map([["a", "text"]]))), "SLM3117 `text` is not a type of a field")
  assert.is(told(parseFields(new Map())), "SLM3117 no field is read")
  assert.equal([...expectGood(parseFields(new Map([["a", "chat"]])), "test")], [["a", "chat"]])
})

test("classes of one data set are carried to another", () => {
  const rows = expectGood(readJsonl(inputs({ f: '{"l":"b"}\n{"l":"c"}' }), fields({ l: "class" })), "test")
  const same = expectGood(withClasses(rows, "l", ["a", "b", "c"]), "test")
  assert.equal(same.columns.get("l"), { is: "class", classes: ["a", "b", "c"], values: Int32Array.of(1, 2) })
  assert.is(told(withClasses(rows, "l", ["b"])), "SLM3134 class `c` of `l` is not among `b`")
})

test.run()
