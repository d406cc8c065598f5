import fc from "fast-check"

/** Names, contextual words among them: they must survive wherever a name may stand. */
const names = ["a", "b2", "x_y", "Big", "steps", "at", "map", "model", "in", "for", "when", "into", "via", "stage", "h", "state", "format"] as const
const fieldNames = [...names, "if", "with", "repeat", "none", "train", "or"] as const

function name(): fc.Arbitrary<string> {
  return fc.constantFrom(...names)
}

function fieldName(): fc.Arbitrary<string> {
  return fc.constantFrom(...fieldNames)
}

function comment(): fc.Arbitrary<string> {
  return fc.nat(999).map((n) => `// c${n}`)
}

/** What may stand on the lines before an entry. */
function lead(): fc.Arbitrary<string> {
  return fc.oneof({ weight: 5, arbitrary: fc.constant("") }, { weight: 1, arbitrary: fc.constant("\n\n\n") }, { weight: 2, arbitrary: comment().map((c) => `  ${c}\n`) }, { weight: 1, arbitrary: comment().map((c) => `\n${c}\n\n`) })
}

function trail(): fc.Arbitrary<string> {
  return fc.oneof({ weight: 4, arbitrary: fc.constant("") }, { weight: 1, arbitrary: comment().map((c) => ` ${c}`) })
}

const number: fc.Arbitrary<string> = fc.oneof(fc.nat(5000).map(String), fc.constantFrom("4k", "1.5M", "3e-3", "1_000", "0.5", "5%", "200 steps", "1 step", "2 MB", "10ms", "7 h"))

const text: fc.Arbitrary<string> = fc.oneof(fc.constantFrom("", "plain", "{{", "}}", "\\n", "\\u{e9}", "//", '\\"', "é", "a b"), fc.constantFrom("'", "#", "$"))

function string(depth: number): fc.Arbitrary<string> {
  const hole = depth > 0 ? expr(depth - 1, false).map((e) => `{ ${e} }`) : fc.constant("{a}")
  const quoted = fc.array(fc.oneof({ weight: 3, arbitrary: text }, { weight: 1, arbitrary: hole }), { maxLength: 3 }).map((parts) => `"${parts.join("")}"`)
  return quoted.filter((s) => s.length < 200)
}

const raw: fc.Arbitrary<string> = fc.array(fc.constantFrom("a", "  b {x}", "", " ", '"q"', "\\n"), { minLength: 1, maxLength: 4 }).map((lines) => `"""\n${lines.map((l) => `    ${l}`).join("\n")}\n    """`)

function atom(depth: number, lines: boolean): fc.Arbitrary<string> {
  const simple: fc.Arbitrary<string>[] = [name(), name(), number, fc.constantFrom("true", "false", "none"), string(depth)]
  return fc.oneof(...simple, ...(lines ? [raw] : []))
}

const cache = new Map<string, fc.Arbitrary<string>>()

function memo(key: string, make: () => fc.Arbitrary<string>): fc.Arbitrary<string> {
  const known = cache.get(key)
  if (known !== undefined) return known
  const made = make()
  cache.set(key, made)
  return made
}

/** `lines`: whether it may hold line breaks and comments; it may not inside a string. */
function expr(depth: number, lines: boolean): fc.Arbitrary<string> {
  if (depth <= 0) return atom(0, lines)
  return memo(`expr ${depth} ${String(lines)}`, () => {
    const inner = expr(depth - 1, lines)
    const operand = operandOf(depth, lines)
    const op = fc.constantFrom("+", "-", "*", "/", " % ", "^", "@", " and ", " or ", "&", " |> ")
    const gap = lines ? fc.oneof({ weight: 6, arbitrary: fc.constant(" ") }, { weight: 1, arbitrary: fc.constant("\n  ") }, { weight: 1, arbitrary: comment().map((c) => ` ${c}\n  `) }) : fc.constant(" ")
    const chain = fc.tuple(operand, fc.array(fc.tuple(gap, op, operand), { maxLength: 3 })).map(([first, rest]) => first + rest.map(([g, o, right]) => `${g}${o}${right}`).join(""))
    const comparison = fc.tuple(operand, fc.constantFrom("==", "!=", "<", ">=", ".."), operand).map(([a, o, b]) => `${a} ${o} ${b}`)
    const prefixed = fc.tuple(fc.constantFrom("-", "not ", "- -"), operand).map(([p, e]) => p + e)
    const conditional = fc.tuple(inner, gap, inner, gap, inner).map(([c, g, a, h, b]) => `if ${c}${g}then ${a}${h}else ${b}`)
    const lambda = fc.tuple(fc.constantFrom("x", "(x)", "(x, y)", "()"), gap, inner).map(([p, g, e]) => `${p} =>${g}${e}`)
    return fc.oneof({ weight: 3, arbitrary: operand }, { weight: 3, arbitrary: chain }, comparison, prefixed, conditional, lambda, changes(operand, depth, lines))
  })
}

function operandOf(depth: number, lines: boolean): fc.Arbitrary<string> {
  return memo(`operand ${depth} ${String(lines)}`, () => {
    const inner = expr(depth - 1, lines)
    const parenthesised = inner.map((e) => `(${e})`)
    const list = entries(inner, lines, ",").map((e) => `[${e}]`)
    const comprehension = fc.tuple(inner, inner, fc.option(inner)).map(([e, over, c]) => `[${e} for x in (${over})${c === null ? "" : ` if ${c}`}]`)
    const base = fc.oneof({ weight: 6, arbitrary: atom(depth, lines) }, { weight: 2, arbitrary: parenthesised }, list, comprehension, record(depth, lines), block(depth, lines), repeat(depth, lines), stage(depth, lines))
    const argument = fc.tuple(fc.option(fieldName()), inner).map(([n, e]) => (n === null ? e : `${n}: ${e}`))
    const call = entries(argument, lines, ",").map((e) => `(${e})`)
    const postfix = fc.oneof(fieldName().map((n) => `.${n}`), inner.map((e) => `[${e}]`), fc.constantFrom("[*]", ".{q, if}"), call)
    return fc.tuple(base, fc.array(postfix, { maxLength: 2 })).map(([b, rest]) => (/[A-Za-z0-9_%]$/.test(b) && /^\d/.test(b) && rest.length > 0 ? `(${b})` : b) + rest.join(""))
  })
}

/** Entries in brackets; without `lines` on one line. `separator` is `,` or empty, where a line break does. */
function entries(entry: fc.Arbitrary<string>, lines: boolean, separator: "," | ""): fc.Arbitrary<string> {
  const flat = fc.array(entry, { maxLength: 3 }).map((list) => list.join(", "))
  if (!lines) return flat
  const broken = fc.array(fc.tuple(lead(), entry, trail()), { minLength: 1, maxLength: 3 }).map((list) => `\n${list.map(([l, e, c], i) => `${l}  ${e}${i < list.length - 1 ? separator : ""}${c}\n`).join("")}`)
  return fc.oneof({ weight: 2, arbitrary: flat }, { weight: 1, arbitrary: broken })
}

function field(depth: number, lines: boolean): fc.Arbitrary<string> {
  return fc.tuple(fieldName(), expr(depth - 1, lines)).map(([n, e]) => `${n}: ${e}`)
}

function record(depth: number, lines: boolean): fc.Arbitrary<string> {
  return entries(field(depth, lines), lines, "").map((e) => (e === "" ? "{}" : `{ ${e} }`))
}

function block(depth: number, lines: boolean): fc.Arbitrary<string> {
  const statement = fc.tuple(name(), expr(depth - 1, lines)).map(([n, e]) => `let ${n} = ${e}`)
  const result = expr(depth - 1, lines).map((e) => `(${e})`)
  if (!lines) return fc.tuple(fc.array(statement, { maxLength: 2 }), result).map(([lets, e]) => `{ ${[...lets, e].join(", ")} }`)
  return fc.tuple(fc.array(fc.tuple(lead(), statement, trail()), { maxLength: 2 }), lead(), result).map(([lets, l, e]) => `{ ${lets.map(([b, s, c]) => `\n${b}${s}${c}`).join("")}\n${l}${e} }`)
}

function changes(operand: fc.Arbitrary<string>, depth: number, lines: boolean): fc.Arbitrary<string> {
  const at = fc.tuple(fc.constantFrom("blocks[*].attn.q", "a", "x[0].{k, v}"), expr(depth - 1, lines)).map(([a, e]) => `at ${a}: ${e}`)
  return fc.tuple(operand, entries(fc.oneof(field(depth, lines), at), lines, "")).map(([b, e]) => `${b} with { ${e} }`)
}

function repeat(depth: number, lines: boolean): fc.Arbitrary<string> {
  return fc.tuple(expr(depth - 1, lines), fc.option(name()), expr(depth - 1, lines)).map(([n, v, e]) => `repeat (${n})${v === null ? "" : ` as ${v}`} { (${e}) }`)
}

const subjects = ["Big", "a.b", '"x"', "f(1)[0]", "merge", "(load {})"] as const

function stage(depth: number, lines: boolean): fc.Arbitrary<string> {
  const verb = fc.constantFrom("train", "distill", "quantize", "evaluate", "generate", "load", "prune", "merge", "search")
  const subject = fc.option(fc.constantFrom(...subjects))
  return fc.tuple(verb, subject, subject, entries(field(depth, lines), lines, "")).map(([v, s, i, e]) => `${v}${s === null ? "" : ` ${s}`}${s === null || i === null ? "" : ` into ${i}`} { ${e} }`)
}

// ---------------------------------------------------------------- types and items

const type: fc.Arbitrary<string> = fc.letrec<{ type: string }>((tie) => ({
  type: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom("int", "float[B, T, 2 * dim]", "ids(vocab)[B, T]", "ids(v)", "float[.., d]", "Sequence[B]", "paragraph | line", "schedule", "{}"),
    tie("type").map((t) => `[${t}]`),
    tie("type").map((t) => `(${t})?`),
    fc.tuple(fc.array(tie("type"), { maxLength: 2 }), tie("type")).map(([p, r]) => `((${p.join(", ")}) -> ${r})`),
    fc.tuple(tie("type"), tie("type")).map(([a, b]) => `{ a: ${a}, if: ${b} }`),
  ),
})).type

function parameters(): fc.Arbitrary<string> {
  const parameter = fc.tuple(name(), fc.option(type), fc.option(expr(1, true))).map(([n, t, d]) => `${n}${t === null ? "" : `: ${t}`}${d === null ? "" : ` = ${d}`}`)
  return entries(parameter, true, ",").map((p) => `(${p})`)
}

function body(): fc.Arbitrary<string> {
  return fc.tuple(parameters(), fc.option(type), fc.oneof(block(2, true), record(2, true))).map(([p, r, b]) => `${p}${r === null ? "" : ` -> ${r}`} ${b}`)
}

function members(member: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.array(fc.tuple(lead(), member, trail()), { maxLength: 4 }).map((list) => `{\n${list.map(([l, m, c]) => `${l}  ${m}${c}\n`).join("")}}`)
}

function documented(entry: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(fc.constantFrom("", "", "/// words\n", "/// two\n///\n/// lines\n"), entry).map(([d, e]) => d + e)
}

function item(): fc.Arbitrary<string> {
  const e = expr(3, true)
  const require = fc.tuple(e, fc.option(string(1))).map(([c, m]) => `require (${c})${m === null ? "" : `, ${m}`}`)
  const when = fc.option(e).map((c) => (c === null ? "" : ` when (${c})`))
  const member = fc.oneof(require, documented(fc.tuple(name(), type, e, when).map(([n, t, v, w]) => `param ${n}: ${t} = (${v})${w}`)), documented(fc.tuple(name(), e, when).map(([n, v, w]) => `part ${n} = (${v})${w}`)), fc.tuple(name(), e).map(([n, v]) => `let ${n} = ${v}`), documented(body().map((b) => `forward${b}`)))
  const fields = entries(field(2, true), true, "").map((f) => `{ ${f} }`)
  const state = fc.array(fc.tuple(name(), e), { minLength: 1, maxLength: 2 }).map((list) => `state ${list.map(([n, v]) => `${n} = ${v}`).join(", ")}`)
  const map = fc.tuple(fc.constantFrom("a", "blocks[i].w", "map.x"), string(1), fc.option(e), when).map(([a, s, v, w]) => `map ${a} => ${s}${v === null ? "" : ` via (${v})`}${w}`)
  return fc.oneof(
    documented(fc.tuple(fc.constantFrom("", "let ", "model "), name(), e).map(([form, n, v]) => `${form}${n} = ${v}`)),
    documented(fc.tuple(name(), fc.option(type), e).map(([n, t, v]) => `param ${n}${t === null ? "" : `: ${t}`} = ${v}`)),
    entries(fc.tuple(name(), fc.option(name())).map(([n, a]) => `${n}${a === null ? "" : ` as ${a}`}`), false, ",").map((n) => `use std.models { ${n} }`),
    documented(fc.tuple(name(), body()).map(([n, b]) => `fn ${n}${b}`)),
    documented(fc.tuple(name(), parameters(), e).map(([n, p, v]) => `fn ${n}${p} = ${v}`)),
    documented(fc.tuple(name(), type).map(([n, t]) => `primitive fn ${n}(x: ${t}, ...rest: int) -> ${t}`)),
    documented(fc.tuple(fc.constantFrom("layer", "model"), name(), parameters(), members(member)).map(([form, n, p, m]) => `${form} ${n}${p} ${m}`)),
    documented(fc.tuple(name(), parameters(), members(fc.oneof(require, state)), body()).map(([n, p, m, b]) => `optimizer ${n}${p} ${m.slice(0, -1)}update${b}\n}`)),
    documented(fc.tuple(name(), parameters(), members(fc.oneof(field(2, true), fc.tuple(name(), fields).map(([n, f]) => `stage ${n} ${f}`)))).map(([n, p, m]) => `curriculum ${n}${p} ${m}`)),
    documented(fc.tuple(name(), name(), members(fc.oneof(map, fields.map((f) => `config ${f}`)))).map(([n, m, b]) => `format ${n} for ${m} ${b}`)),
    documented(fc.tuple(name(), parameters(), members(fc.oneof(require, field(2, true))), body(), body()).map(([n, p, m, a, b]) => `encoding ${n}${p} ${m.slice(0, -1)}encode${a}\ndecode${b}\n}`)),
    e.map((v) => `expect (${v})`),
    fc.tuple(fc.constantFrom(...subjects), fields).map(([s, f]) => `export ${s} ${f}`),
    fc.tuple(name(), members(fc.oneof(fc.tuple(name(), e).map(([n, v]) => `let ${n} = ${v}`), e.map((v) => `expect (${v})`)))).map(([n, m]) => `example ${n} ${m}`),
  )
}

/**
 * Random valid programs as text, for tests of parser and formatter: every form of the language, with random line breaks,
 * separators and comments wherever they may stand. Comments are numbered `// c…`, so that a test can look for each.
 */
export const program: fc.Arbitrary<string> = fc
  .tuple(fc.boolean(), fc.array(fc.tuple(lead(), item(), trail()), { maxLength: 5 }))
  .map(([doc, items]) => (doc ? "//! made by chance\n" : "") + items.map(([before, text, after]) => `${before}${text}${after}\n`).join(""))
