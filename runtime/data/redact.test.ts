import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { PersonalKind } from "../../compiler/check/text-measures.ts"
import { personalKinds } from "../../compiler/check/text-measures.ts"
import { luhn, placeholders, redact, redactText } from "./redact.ts"
import { withoutRows } from "./report.ts"
import { expectGood } from "./result.ts"
import { rowsOf, textsOf } from "./testing.ts"

const shown = (text: string): string => redactText(text).text

test("what each kind looks like, and what only looks like it", () => {
  const found: Readonly<Record<PersonalKind, readonly string[]>> = {
    email: ["ada@example.org", "a.b+c_d%e@mail.example.co.uk", "jürgen@bücher.de"],
    phone: ["+49 30 123456", "+1 (415) 555-2671", "(415) 555-2671", "415-555-2671", "415.555.2671", "1-415-555-2671", "030 1234 5678", "0800/123456", "13812345678", "+8613812345678"],
    card: ["4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009", "6011000990139424"],
    iban: ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "NO93 8601 1117 947"],
    national_id: ["078-05-1120", "529.982.247-25", "12345678Z", "X1234567-L", "11010519491231002X"],
    ip: ["192.168.0.1", "8.8.8.8", "2001:db8::8a2e:370:7334", "fe80::1"],
  }
  for (const kind of personalKinds) for (const one of found[kind]) {
    assert.is(shown(one), placeholders[kind], one)
    assert.is(shown(`see ${one}, now.`), `see ${placeholders[kind]}, now.`, one)
    assert.is(shown(`号码 ${one}。`), `号码 ${placeholders[kind]}。`, one)
  }
  assert.is(shown("at 192.168.0.1:8080 and 10.0.0.1."), "at <|ip|>:8080 and <|ip|>.")
  const not = [
    "write to us @ noon", "a@b", "@name", "4111 1111 1111 1112", "4111111111111111111111", "DE89370400440532013001", "XX89370400440532013000", "000-12-3456", "900-12-3456", "123-00-4567", "529.982.247-26", "12345678A",
    "11010519491231002Y", "256.1.1.1", "1.2.3", "std::add", "12:30:45", "2024-11-26", "26.11.2024", "12,345,678", "3.14159265358979", "1234567890", "chapter 12", "ISBN 978-0-14-243724-7", "10-20-30",
  ]
  for (const text of not) assert.is(shown(text), text)
})

test("kinds that are not asked for stay, and everything is counted", () => {
  const text = "ada@example.org, 192.168.0.1 and bob@example.org"
  const { text: made, counts } = redactText(text, ["email"])
  assert.is(made, "<|email|>, 192.168.0.1 and <|email|>")
  assert.equal([counts.email, counts.ip], [2, 0])
  const rows = rowsOf(["none", text], { talk: { is: "chat", values: [[{ role: "user", content: "I am at 8.8.8.8" }], []] } })
  const { value, report } = expectGood(redact(rows, personalKinds), "test")
  assert.equal(textsOf(value), ["none", "<|email|>, <|ip|> and <|email|>"])
  const talk = value.columns.get("talk")
  assert.equal(talk?.is === "chat" ? talk.values[0] : null, [{ role: "user", content: "I am at <|ip|>" }])
  assert.equal(report.counts?.filter(({ count }) => count > 0), [{ what: "<|email|> put in", count: 2 }, { what: "<|ip|> put in", count: 2 }])
  const [step] = withoutRows({ name: "private", steps: [report], parts: [] }).steps
  assert.equal(step?.counts, report.counts, "counts are shown of private data as well")
})

test("numbers with a checksum that is right are found, with one that is wrong are not", () => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 6 }), fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 12, maxLength: 17 }), (first, rest) => {
    const body = [first, ...rest].join("")
    const valid = Array.from({ length: 10 }, (_, d) => `${body}${d}`).filter(luhn)
    assert.is(valid.length, 1)
    for (let d = 0; d < 10; d++) {
      const number = `${body}${d}`
      assert.is(redactText(number, ["card"]).text === placeholders.card, number === valid[0] && new Set(number).size > 1, number)
    }
  }), { numRuns: 200, seed: 5 })
})

test("redacting twice changes nothing more, and text around what is found stays", () => {
  const pieces = fc.constantFrom("ada@example.org", " ", "192.168.0.1", "-", "4111 1111 1111 1111", ".", "text", "+49 30 123456", "@", ":", "(", "0", "\n", "名")
  fc.assert(fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
    const once = shown(parts.join(""))
    assert.is(shown(once), once)
  }), { numRuns: 500, seed: 6 })
})

test("no text takes more than linear time", () => {
  const size = 50_000
  const hostile = ["a", "a@", "a.a@", "@", "1", "1 ", "1-", "1.", "+", "(1", "+1(", "::", "a:", "1:", "f:", "DE89 ", "DE89", "4111 ", "0 ", "a-", ".", "_", "%+", "X1", "12345678", "a@b.", "a@b-"]
  for (const unit of hostile) {
    const text = unit.repeat(Math.ceil(size / unit.length))
    const before = process.cpuUsage().user
    redactText(text)
    const ms = (process.cpuUsage().user - before) / 1000
    assert.ok(ms < 1500, `${JSON.stringify(unit)}: ${ms.toFixed(0)} ms for ${text.length} characters`)
  }
})

test.run()
