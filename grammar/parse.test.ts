import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Definition, Expr, Item, Module } from "./ast.ts"
import type { Diagnostic } from "./diagnostic.ts"
import { lexerProblems } from "./lexer.ts"
import { parse } from "./parse.ts"
import { SlmParser } from "./parser.ts"
import { outline, shapeOf, shapeOfType } from "./shape.ts"

function read(text: string): { module: Module; diagnostics: readonly Diagnostic[] } {
  return parse({ id: "test.slm", text })
}

function valid(text: string): Module {
  const { module, diagnostics } = read(text)
  assert.equal(diagnostics.map((d) => `${d.code} ${d.message}`), [], text)
  return module
}

function valueOf(text: string): Expr {
  const [item] = valid(`let x = ${text}`).items
  if (item?.kind !== "bind") throw new Error("test: no binding")
  return item.value
}

function shapes(cases: Readonly<Record<string, string>>): void {
  for (const [text, shape] of Object.entries(cases)) assert.is(shapeOf(valueOf(text)), shape, text)
}

function only<K extends Item["kind"]>(text: string, kind: K): Extract<Item, { kind: K }> {
  const found = valid(text).items.find((item): item is Extract<Item, { kind: K }> => item.kind === kind)
  if (found === undefined) throw new Error(`test: no ${kind}`)
  return found
}

function codes(text: string): readonly string[] {
  return read(text).diagnostics.map((d) => d.code)
}

test("Chevrotain finds nothing wrong with the grammar", () => {
  assert.equal(lexerProblems(), [])
  assert.not.throws(() => new SlmParser({ validate: true }))
})

test("operators bind as the table says", () => {
  shapes({
    "a |> b |> c(1)": "(|> (|> a b) (call c 1))",
    "a |> b with { c: 1 }": "(|> a (with b {c:1}))",
    "a with { b: 1 } with { c: 2 }": "(with (with a {b:1}) {c:2})",
    "a or b and not c == d": "(or a (and b (not (== c d))))",
    "a & b == c": "(== (& a b) c)",
    "a..b + 1": "(.. a (+ b 1))",
    "a - b - c": "(- (- a b) c)",
    "a - b * c @ d / e % f": "(- a (% (/ (@ (* b c) d) e) f))",
    "-a ^ b ^ c": "(- (^ a (^ b c)))",
    "-a * b": "(* (- a) b)",
    "a ^ -b * c": "(* (^ a (- b)) c)",
    "- - a": "(- (- a))",
    "-f(x).y[0]": "(- ([] (. (call f x) y) 0))",
    "(a + b) * c": "(* (+ a b) c)",
    "if a then b else if c then d else e + 1": "(if a b (if c d (+ e 1)))",
    "x => y => x + y": "(=> [x] (=> [y] (+ x y)))",
    "() => (a, b) => a": "(=> [] (=> [a b] a))",
    "80% a.b(1) + 20% c": "(+ (* 80.:% (call (. a b) 1)) (* 20.:% c))",
    "80% a + 20% (b + c).d": "(+ (* 80.:% a) (* 20.:% (. (+ b c) d)))",
  })
})

test("numbers have values, units and exactness", () => {
  shapes({
    "12": "12", "1_000": "1000", "4k": "4000", "1.5k": "1500", "1.1k": "1100", "0.0001k": "0.1.", "2M": "2000000", "1G": "1000000000",
    "3e-3": "0.003.", "1e3": "1000.", "2.0": "2.", "5%": "5.:%", "200 steps": "200:steps", "1 step": "1:steps", "1M tokens": "1000000:tokens", "10ms": "10:ms",
  })
})

test("a unit stands on the line of its number and is no field", () => {
  assert.is(shapeOf(valueOf("{ a: 600\n tokens: 3 }")), "{a:600 tokens:3}")
  assert.equal(codes("let x = f(600 tokens: 3)"), ["SLM1012"])
  assert.equal(outline(valid("let x = 600\nsteps = 3")), ["bind x", "bind steps"])
})

test("strings hold values, braces and escapes", () => {
  shapes({
    '"a{x}b{y + 1}"': '"a<x>b<(+ y 1)>"',
    '"{{x}}"': '"{x}"',
    '"{{{x}}}"': '"{<x>}"',
    '"\\u{e9}\\n\\\\"': '"é\n\\"',
    '"{f("q {y}")}"': '"<(call f "q <y>")>"',
    '"{ { a: 1 } }"': '"<{a:1}>"',
    '"//"': '"//"',
  })
})

test("texts lose their common indentation", () => {
  const text = (inside: string): string => shapeOf(valueOf(`"""${inside}"""`))
  assert.is(text("\n    a\n      b\n    "), '"a\n  b\n"')
  assert.is(text("\n    a\n  b"), '"  a\nb"')
  assert.is(text("\n  a\n\n  b\n  "), '"a\n\nb\n"')
  assert.is(text("one {x} \\n"), '"one {x} \\n"')
  assert.is(text(""), '""')
})

test("braces are records or blocks", () => {
  shapes({ "{}": "{}", "{ a: 1, if: 2 }": "{a:1 if:2}", "{ a }": "{a}", "{ let a = 1 let b = 2 a + b }": "{a=1; b=2; (+ a b)}", "{ let a = f\n (a) }": "{a=f; a}" })
})

test("lists may be made from others", () => {
  shapes({ "[f(i) for i in 0..n if i % 2 == 0]": "(for i (.. 0 n) (== (% i 2) 0) (call f i))", "[1, 2,]": "[1 2]", "[]": "[]" })
})

test("verbs begin stages only where a block of fields follows", () => {
  shapes({
    "train Big { a: 1 }": "(train Big {a:1})",
    "train { a: 1 }": "(train {a:1})",
    "distill a.b(1) into c { }": "(distill (call (. a b) 1) into c {})",
    'load "x" {}': '(load "x" {})',
    "quantize (prune a {}) {}": "(quantize (prune a {}) {})",
    "train merge {}": "(train merge {})",
    "book.train": "(. book train)",
    "generate(x)": "(call generate x)",
    "repeat merge { a }": "(repeat merge a)",
    "f(train: 1, merge)": "(call f train:1 merge)",
  })
  assert.equal(outline(valid("fn generate(x: int) -> int { x }\nexport merge { a: 1 }\nlet train = merge\nlet f = load")), ["fn generate", "export merge", "bind train", "bind f"])
})

test("addresses name weights", () => {
  shapes({
    "M with { at blocks[*].attn.{q, v}: base => f(base), dim: 2 }": "(with M {dim:2 at (.{} (. ([] blocks *) attn) q v):(=> [base] (call f base))})",
    "a[0..4]": "([] a (.. 0 4))",
  })
})

test("repetition counts", () => {
  shapes({ "repeat 2 * n as i { B(i) }": "(repeat (* 2 n) i (call B i))", "repeat n { { a: 1 } }": "(repeat n {a:1})" })
})

test("types", () => {
  const fn = (type: string): string => {
    const of = only(`fn f(x: ${type}) = x`, "fn").params[0]?.type
    if (of === null || of === undefined) throw new Error("test: no type")
    return shapeOfType(of)
  }
  assert.is(fn("int"), "int")
  assert.is(fn("float[.., 2 * dim]"), "(float [* (* 2 dim)])")
  assert.is(fn("ids(vocab)[B, T]"), "(ids of vocab [B T])")
  assert.is(fn("Sequence[B, T]?"), "(? Sequence[B T])")
  assert.is(fn("[[int]?]"), "(list (? (list int)))")
  assert.is(fn("(int, float) -> (int) -> float?"), "(-> [int float] (-> [int] (? float)))")
  assert.is(fn("((int) -> float)?"), "(? (-> [int] float))")
  assert.is(fn("{ a: int, b: paragraph | line }"), "{a:int b:(| paragraph line)}")
  assert.is(fn("paragraph | line | file"), "(| paragraph line file)")
})

test("items are told apart by what follows their first word", () => {
  const text = 'use std.a { b, c as d }\nuse "./x.slm" { e }\nuse = 1\nmodel M = A()\nmodel N() { }\nmodel = 2\nexpect a < 1\nexpect = 3\nexample a { expect b }\nparam lr = 1\nlet format = 1'
  assert.equal(outline(valid(text)), ["use std.a b c>d", "use ./x.slm e", "bind use", "bind M", "definition N", "bind model", "expect (< a 1)", "bind expect", "example a", "param lr", "bind format"])
})

test("members carry documentation and conditions", () => {
  const layer: Definition = only("/// One.\n/// Two.\nlayer L() {\n  /// A weight.\n  param w: float[2] = f() when a\n  part p = Q() when b\n}", "definition")
  assert.is(layer.doc, "One.\nTwo.")
  const [weight, part] = layer.members
  assert.is(weight?.kind === "weight" ? weight.doc : null, "A weight.")
  assert.is(part?.kind === "part" && part.when !== null ? shapeOf(part.when) : null, "b")
})

test("comments that document nothing are kept beside the tree", () => {
  const module = valid("//! Of the file.\n//!\n//! More.\n// one\nlet a = 1 // two\n")
  assert.is(module.doc, "Of the file.\n\nMore.")
  assert.equal(module.comments.map((c) => [c.text, c.ownLine]), [["// one", true], ["// two", false]])
})

test("spans cover what they name", () => {
  const text = "student = distill teacher into Small { a: (b + c) * d }"
  const value = only(text, "bind").value
  if (value.kind !== "stage" || value.subject === null || value.into === null) throw new Error("test: no stage")
  const [field] = value.fields
  const cut = (span: { start: number; end: number }): string => text.slice(span.start, span.end)
  assert.equal([value.verbSpan, value.subject.span, value.into.span, value.span].map(cut), ["distill", "teacher", "Small", "distill teacher into Small { a: (b + c) * d }"])
  const product = field?.value
  assert.equal(product?.kind === "binary" ? [product.span, product.opSpan, product.left.span].map(cut) : [], ["(b + c) * d", "*", "(b + c)"])
})

test("what stands around a mistake is in the tree", () => {
  const { module, diagnostics } = read("let a = 1 +\nlet b = f(1, ), 2)\nlayer L(dim: int) {\n  part = X()\n  part q = Y(dim\n  part r = Z()\n}\nlet c = { x: , y: 2 }\nlet d = 4")
  assert.equal(outline(module), ["bind a", "bind b", "definition L", "bind c", "bind d"])
  assert.ok(diagnostics.length >= 5)
  const layer = module.items[2]
  assert.equal(layer?.kind === "definition" ? layer.members.map((m) => (m.kind === "part" ? m.name.name : m.kind)) : [], ["q", "r"])
  const c = module.items[3]
  assert.is(c?.kind === "bind" ? shapeOf(c.value) : "", "{x:? y:2}")
})

test("a mistake is reported once, and those after it too", () => {
  assert.equal(codes("let a = [1 2]\nlet b = 5 stpes\nmodle C = D()\nlet e = if f then g\nlet h = \"i\nlet j = k("), ["SLM1012", "SLM1005", "SLM1011", "SLM1025", "SLM1002", "SLM1006"])
})

test("fixes mend what they belong to", () => {
  const texts = ["let a = .5", "let a = 10%3", "let a = 600 stpes", "modle A = B()", "let a = f(b = 1)", "let a = b && c", "let a = [1 2]", 'let a = "{}"', "let a = f(1", "let a = f(1))", 'let a = "b', "let a = 'b'", "let a = { b: 1 c: 2 }", "expect a = b", "/// x\nexpect a"]
  for (const text of texts) {
    let mended = text
    for (let i = 0; i < 3 && read(mended).diagnostics.length > 0; i++) {
      const fix = read(mended).diagnostics[0]?.fix
      if (fix === null || fix === undefined) throw new Error(`test: no fix for ${mended}`)
      mended = mended.slice(0, fix.span.start) + fix.text + mended.slice(fix.span.end)
    }
    assert.equal(codes(mended), [], `${text} became ${mended}`)
  }
})

test.run()
