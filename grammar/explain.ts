import type { IRecognitionException, IToken, TokenType } from "chevrotain"
import { diagnostic } from "./diagnostic.ts"
import type { Diagnostic, DiagnosticParts, Source, Span } from "./diagnostic.ts"
import { closesGroup, isWord, opensGroup, placeOf } from "./place.ts"
import { nearest } from "./nearest.ts"
import * as t from "./tokens.ts"

/** A place where the parser could not go on, with what stands around it. */
interface Place {
  readonly source: Source
  /** Name of the token type that was expected, or a description such as `an expression`. */
  readonly expected: string
  readonly rule: string
  readonly stack: readonly string[]
  readonly found: IToken
  readonly before: IToken | undefined
  readonly next: IToken | undefined
  readonly span: Span
}

/** Says what is wrong where Chevrotain could not go on. The first explanation that fits is taken. */
export function explain(source: Source, tokens: readonly IToken[], error: IRecognitionException): Diagnostic {
  const place = placeOfError(source, tokens, error)
  for (const explanation of explanations) {
    const found = explanation(place)
    if (found !== null) return found
  }
  return unexpected(place)
}

function placeOfError(source: Source, tokens: readonly IToken[], error: IRecognitionException): Place {
  const index = tokens.indexOf(error.token)
  const at = index < 0 ? tokens.length : index
  const end = source.text.trimEnd().length
  const span = index < 0 ? { source: source.id, start: end, end } : spanOf(source, error.token)
  const before = tokens[at - 1]?.tokenType === t.Newline && error.token.tokenType !== t.Newline ? tokens[at - 2] : tokens[at - 1]
  return { source, expected: error.message, rule: error.context.ruleStack.at(-1) ?? "", stack: error.context.ruleStack, found: error.token, before, next: tokens[at + 1], span }
}

function spanOf(source: Source, token: IToken): Span {
  if (token.tokenType === t.Newline) return { source: source.id, start: token.startOffset, end: token.startOffset }
  return { source: source.id, start: token.startOffset, end: token.startOffset + token.image.length }
}

function endOf(token: IToken | undefined): number {
  return token === undefined ? 0 : token.startOffset + token.image.length
}

/** An empty span behind the token before. */
function gap(p: Place): Span {
  return { source: p.source.id, start: endOf(p.before), end: endOf(p.before) }
}

function make(p: Place, code: string, message: string, parts: DiagnosticParts = {}): Diagnostic {
  return diagnostic(code, p.span, message, parts)
}

function isEnd(token: IToken): boolean {
  return token.tokenType.name === "EOF" || token.tokenType === t.Newline
}

function firstOfLine(token: IToken): boolean {
  return token.tokenType.name !== "EOF" && placeOf(token).first
}

function adjacent(p: Place): boolean {
  return p.before !== undefined && endOf(p.before) === p.found.startOffset
}

function endsValue(token: IToken | undefined): boolean {
  if (token === undefined) return false
  const type = token.tokenType
  return closesGroup(token) || type === t.NumberLiteral || type === t.Share || type === t.Unit || type === t.StringEnd || type === t.RawString || (isWord(token) && !isOperatorWord(type))
}

function isOperatorWord(type: TokenType): boolean {
  return type === t.And || type === t.Or || type === t.Not || type === t.If || type === t.Then || type === t.Else || type === t.With || type === t.Let || type === t.Repeat
}

function beginsValue(token: IToken): boolean {
  const type = token.tokenType
  return type === t.NumberLiteral || type === t.Share || type === t.StringStart || type === t.RawString || type === t.StageVerb || type === t.LParen || type === t.LambdaOpen ||
    type === t.LSquare || type === t.RecordOpen || type === t.BlockOpen || (isWord(token) && !isOperatorWord(type))
}

/** Rules whose entries are separated. */
const separated: ReadonlySet<string> = new Set(["record", "fields", "changes", "use", "selection", "recordType", "arguments", "list", "parameters", "namedType", "functionType", "lambda", "format", "curriculum", "encoding"])

type Explanation = (p: Place) => Diagnostic | null

const explanations: readonly Explanation[] = [
  foreignForm, reservedName, unit, percentage, decimal, stageWithoutBlock, bracketOnNextLine, needsParentheses, ifWithoutElse, wrongSign, blockEnd, missingComma,
  unknownItem, unknownMember, sideBySide, missingSign, header, typeExpected, valueExpected,
]

// ---------------------------------------------------------------- words and numbers

function foreignForm(p: Place): Diagnostic | null {
  if (p.found.tokenType === t.Question && endsValue(p.before)) return make(p, "SLM1029", "`? :` is written `if … then … else …`", { help: "write `if condition then value else other`" })
  if (p.found.tokenType === t.Comma && p.rule === "primary" && p.expected === "RParen") {
    return make(p, "SLM1010", "parentheses hold one value", { label: "a second would follow", help: "a list is `[a, b]`, a record `{ a: 1, b: 2 }`, a function `(a, b) => …`" })
  }
  return null
}

function reservedName(p: Place): Diagnostic | null {
  const atItem = (p.rule === "module" || p.rule === "item" || p.rule === "members") && t.contextualNames.has(p.found.image)
  const word = atItem ? p.next : p.found
  if (word === undefined || !t.reserved.includes(word.tokenType) || word.tokenType === t.Let || (atItem && firstOfLine(word))) return null
  const inList = (p.rule === "parameters" || p.rule === "use") && closers.has(p.expected)
  if (!atItem && !inList && p.expected !== "Name" && p.next?.tokenType !== t.Equals) return null
  return diagnostic("SLM1016", spanOf(p.source, word), `\`${word.image}\` is a word of the language and cannot be a name`, {
    label: "reserved",
    help: `choose another name, such as \`${word.image}_\`; fields and arguments may have it (\`${word.image}: …\`)`,
  })
}

function unit(p: Place): Diagnostic | null {
  if (p.before?.tokenType !== t.NumberLiteral || !isWord(p.found) || isOperatorWord(p.found.tokenType) || firstOfLine(p.found)) return null
  const word = p.found.image
  if (p.next?.tokenType === t.Colon && !adjacent(p)) return null
  if (p.before.image.endsWith("%")) return null
  const close = nearest(word, Object.keys(t.unitNames))
  return make(p, "SLM1005", `\`${word}\` is not a unit`, {
    label: "unknown unit",
    notes: ["units are steps, tokens, sequences, epochs, documents, bytes, KB, MB, GB, ms, s, min, h; `4k`, `2M` and `1G` are numbers"],
    help: close === null ? `put an operator between: \`${p.before.image} * ${word}\`` : `did you mean \`${close}\`?`,
    ...(close === null ? {} : { fix: { span: p.span, text: close } }),
  })
}

function percentage(p: Place): Diagnostic | null {
  const left = p.before?.image ?? ""
  if (p.before?.tokenType !== t.NumberLiteral || !left.endsWith("%") || !beginsValue(p.found) || firstOfLine(p.found) || p.next?.tokenType === t.Colon) return null
  const number = left.slice(0, -1)
  return make(p, "SLM1028", `\`${left}\` is a percentage`, {
    label: "this cannot follow it",
    help: `the remainder of a division is written with spaces: \`${number} % ${p.found.image}\``,
    fix: { span: { ...p.span, start: p.before.startOffset }, text: `${number} % ${p.found.image}` },
  })
}

function decimal(p: Place): Diagnostic | null {
  const dot = p.found
  const digits = p.next
  if (dot.tokenType !== t.Dot || endsValue(p.before) || digits?.tokenType !== t.NumberLiteral || endOf(dot) !== digits.startOffset) return null
  const span = { source: p.source.id, start: dot.startOffset, end: endOf(digits) }
  return diagnostic("SLM1004", span, "a number starts with a digit", { help: `write \`0.${digits.image}\``, fix: { span, text: `0.${digits.image}` } })
}

// ---------------------------------------------------------------- whole forms

function stageWithoutBlock(p: Place): Diagnostic | null {
  if (p.before === undefined || !t.verbNames.has(p.before.image) || firstOfLine(p.found) || !isWord(p.found)) return null
  if (p.rule !== "module" && p.rule !== "blockResult" && !separated.has(p.rule)) return null
  return diagnostic("SLM1023", { source: p.source.id, start: p.before.startOffset, end: endOf(p.before) }, `this \`${p.before.image}\` has no block of fields`, {
    label: "starts a stage",
    help: `write \`${p.before.image} ${p.found.image} { … }\`, with the \`{\` on the same line`,
  })
}

function bracketOnNextLine(p: Place): Diagnostic | null {
  const opens = p.found.tokenType === t.LParen || p.found.tokenType === t.LSquare || p.found.tokenType === t.LambdaOpen
  if (!opens || !firstOfLine(p.found) || !endsValue(p.before) || p.rule === "members") return null
  return make(p, "SLM1031", `this \`${p.found.image}\` starts a line of its own`, {
    label: "belongs to nothing",
    help: `to ${p.found.image === "(" ? "call" : "index"} what stands above, put the \`${p.found.image}\` on its line`,
  })
}

function needsParentheses(p: Place): Diagnostic | null {
  if (p.expected !== "an expression" || p.rule !== "primary") return null
  if (p.found.tokenType === t.If) {
    return make(p, "SLM1027", "an `if` inside an expression needs parentheses", { label: "starts here", help: `write \`${p.before?.image ?? ""} (if … then … else …)\`` })
  }
  if (p.found.tokenType === t.LambdaOpen) return make(p, "SLM1027", "a function inside an expression needs parentheses", { label: "starts here", help: "write `((a, b) => …)`" })
  return null
}

function ifWithoutElse(p: Place): Diagnostic | null {
  if (p.rule !== "conditional" || (p.expected !== "Then" && p.expected !== "Else")) return null
  const word = p.expected.toLowerCase()
  return diagnostic("SLM1025", isEnd(p.found) ? gap(p) : p.span, `this \`if\` has no \`${word}\``, { label: `\`${word}\` expected here`, help: "an `if` is a value: `if condition then value else other`" })
}

function wrongSign(p: Place): Diagnostic | null {
  const { found, before } = p
  if (found.tokenType === t.Equals && before !== undefined && isWord(before)) {
    if (p.rule === "arguments") return make(p, "SLM1017", "arguments are named with `:`", { help: `write \`${before.image}: …\``, fix: { span: p.span, text: ":" } })
    if (p.expected === "Colon") return make(p, "SLM1017", "fields are written with `:`", { help: `write \`${before.image}: …\``, fix: { span: p.span, text: ":" } })
    if (p.rule === "blockResult") {
      const start = { source: p.source.id, start: before.startOffset, end: before.startOffset }
      return make(p, "SLM1024", `\`${before.image} = …\` in a block needs \`let\``, { label: "the result of the block would end before this", help: `write \`let ${before.image} = …\`, or \`${before.image}: …\` for a record`, fix: { span: start, text: "let " } })
    }
  }
  if (found.tokenType === t.Equals && endsValue(before) && (p.expected === "EOF" || closers.has(p.expected))) return make(p, "SLM1017", "a value is compared with `==`", { help: "write `==`", fix: { span: p.span, text: "==" } })
  const binding = p.expected === "Equals" || p.expected === "`=` or parameters"
  if (found.tokenType === t.Colon && binding && p.rule !== "weight") return make(p, "SLM1017", "a name is bound with `=`", { help: "write `=`", fix: { span: p.span, text: "=" } })
  if (found.tokenType === t.Colon && p.expected === "EOF" && before !== undefined && isWord(before)) return make(p, "SLM1017", "a name is bound with `=`", { help: "write `=`; `name: value` stands inside of `{ … }` and `( … )`", fix: { span: p.span, text: "=" } })
  return null
}

function blockEnd(p: Place): Diagnostic | null {
  if (p.rule !== "blockResult" || p.expected !== "RCurly") return null
  if (firstOfLine(p.found)) {
    return make(p, "SLM1024", "a block ends with its result, but this line follows", { label: "after the result", help: "name the value of the line above with `let`, or remove it" })
  }
  return null
}

const closers: ReadonlySet<string> = new Set(["RCurly", "RParen", "RSquare", "HoleClose"])

function missingComma(p: Place): Diagnostic | null {
  if (!separated.has(p.rule) || !closers.has(p.expected) || !endsValue(p.before) || p.before === undefined || !beginsValue(p.found)) return null
  const named = p.next?.tokenType === t.Colon
  const comma = p.rule === "record" || p.rule === "fields" || p.rule === "changes" ? "a comma or a line break" : "a comma"
  return make(p, "SLM1012", `${comma} is missing ${named ? "before this field" : "between these"}`, {
    label: named ? "a new field starts here" : "nothing joins this to what stands before",
    help: `write \`${p.before.image}, ${p.found.image}\``,
    fix: { span: gap(p), text: "," },
  })
}

// ---------------------------------------------------------------- items and members

/** How other languages say what has another form here. */
const habits: Readonly<Record<string, string>> = {
  import: "write `use std.models { Llama }`", from: "write `use std.models { Llama }`", include: 'write `use "./file.slm" { … }`',
  def: "write `fn name(x: int) -> int = …`", function: "write `fn name(x: int) -> int = …`", func: "write `fn name(x: int) -> int = …`",
  class: "write `layer Name(…) { … }` or `model Name(…) { … }`", const: "write `let name = …`", var: "write `let name = …`",
  for: "write `[f(x) for x in xs]` for a list, `repeat n { … }` for parts", while: "there are no open loops; write `repeat n { … }` or `[f(x) for x in xs]`",
  return: "the last line of a block is its result", assert: "write `expect condition`, or `require condition, \"message\"` in a definition",
  if: "an `if` is a value: `x = if condition then value else other`", print: "results are shown by `evaluate`, `generate` and `expect`",
}

/** What items look like. */
const forms: Readonly<Record<string, string>> = {
  use: "use std.models { Llama }", param: "param lr: float = 3e-3", let: "let name = value", model: "model Big = Llama(dim: 64)", layer: "layer Name(dim: int) { … }",
  primitive: "primitive fn name(x: int) -> int", fn: "fn name(x: int) -> int = …", optimizer: "optimizer name(lr: schedule) { … }", curriculum: "curriculum name(data: Tokens) { … }",
  format: "format name for Model { … }", encoding: "encoding name(group: int) { … }", example: "example name { … }",
}

function unknownItem(p: Place): Diagnostic | null {
  if (p.rule !== "module" && !(p.rule === "item" && p.expected === "an item")) return null
  if (p.before !== undefined && !firstOfLine(p.found)) return null
  if (p.found.tokenType === t.StageVerb) return make(p, "SLM1011", "a stage needs a name for what it yields", { label: "starts a stage", help: `write \`name = ${p.found.image} …\`` })
  const habit = habits[p.found.image]
  if (habit !== undefined && p.next !== undefined) return make(p, "SLM1029", `\`${p.found.image}\` means nothing here`, { label: "a word of another language", help: habit })
  if ((p.found.tokenType === t.Expect || p.found.tokenType === t.Export) && (p.next === undefined || isEnd(p.next))) {
    return diagnostic("SLM1010", { ...p.span, start: p.span.end }, `a value is missing after \`${p.found.image}\``, { label: "expected here", help: p.found.tokenType === t.Expect ? "write `expect perplexity(student, tokens.valid) < 20`" : 'write `export model { gguf: "model.gguf" }`' })
  }
  const form = forms[p.found.image]
  if (form !== undefined && p.next !== undefined) return make(p, "SLM1010", `\`${p.found.image}\` cannot go on with ${described(p.next)}`, { label: "starts an item", help: `write \`${form}\`` })
  const parts = { label: "not the start of an item", notes: [`items start with ${t.itemWords.join(", ")}, or with \`name =\``] }
  if (isWord(p.found) && p.next !== undefined) {
    if (p.next.tokenType === t.Colon) return make(p, "SLM1011", `the field \`${p.found.image}\` stands outside of a block`, { label: "no block is open here", help: `put it between the \`{\` and \`}\` of what it belongs to, or write \`${p.found.image} = …\`` })
    const close = isWord(p.next) || p.next.tokenType === t.StringStart ? nearest(p.found.image, t.itemWords) : null
    if (close !== null) return make(p, "SLM1011", `\`${p.found.image}\` starts no item`, { label: parts.label, help: `did you mean \`${close}\`?`, fix: { span: p.span, text: close } })
    if (p.next.tokenType === t.LParen || p.next.tokenType === t.Dot || p.next.tokenType === t.PipeRight) {
      return make(p, "SLM1011", "a value by itself does nothing here", { label: parts.label, help: `name it: \`x = ${p.found.image}${p.next.image}…\`` })
    }
  }
  return make(p, "SLM1011", `${described(p.found)} starts no item`, { ...parts, help: "begin with one of them" })
}

function unknownMember(p: Place): Diagnostic | null {
  const words = membersOf[p.rule]
  if (words === undefined || p.expected !== "RCurly") return null
  if (!isWord(p.found)) return null
  const close = nearest(p.found.image, words)
  const owner = p.rule === "members" ? "a layer or model" : `\`${p.rule}\``
  const named = p.next?.tokenType === t.Equals && p.rule === "members" ? `write \`let ${p.found.image} = …\` for a value, \`part ${p.found.image} = …\` for a part` : `inside ${owner} stand ${words.map((w) => `\`${w}\``).join(", ")}`
  return make(p, "SLM1011", `\`${p.found.image}\` means nothing inside ${owner}`, {
    label: "unknown here",
    help: close === null ? named : `did you mean \`${close}\`?`,
    ...(close === null ? {} : { fix: { span: p.span, text: close } }),
  })
}

const membersOf: Readonly<Record<string, readonly string[]>> = {
  members: t.memberWords,
  optimizer: ["require", "state", "update"],
  format: ["map"],
  encoding: ["require", "encode", "decode"],
  curriculum: ["stage"],
  example: ["let", "expect"],
}

function sideBySide(p: Place): Diagnostic | null {
  if ((p.rule !== "module" && !closers.has(p.expected)) || !endsValue(p.before) || !beginsValue(p.found) || p.before === undefined) return null
  if (p.found.tokenType === t.RecordOpen && isWord(p.before) && !firstOfLine(p.found)) {
    return make(p, "SLM1012", `arguments of \`${p.before.image}\` stand in parentheses`, { label: "braces are for the fields of a stage, for records and for `with`", help: `write \`${p.before.image}(name: value, …)\`` })
  }
  return make(p, "SLM1012", `\`${p.before.image}\` and \`${p.found.image}\` stand side by side`, {
    label: "nothing joins this to what stands before",
    help: "put an operator between them, or start a new line",
  })
}

// ---------------------------------------------------------------- what is missing

const signs: Readonly<Record<string, string>> = {
  Equals: "=", Colon: ":", LCurly: "{", RCurly: "}", LParen: "(", RParen: ")", LSquare: "[", RSquare: "]", FatArrow: "=>", Arrow: "->", Comma: ",", Fn: "fn", For: "for", In: "in", HoleClose: "}",
}

function missingSign(p: Place): Diagnostic | null {
  if (p.expected !== "Equals" && p.expected !== "Colon" && p.expected !== "FatArrow" && p.expected !== "`=` or parameters" && p.expected !== "`=` or a body") return null
  const sign = signs[p.expected] ?? "="
  const forms: Readonly<Record<string, string>> = {
    weight: "a weight is `param name: type = initial value`", part: "a part is `part name = Template(…)`", letStatement: "write `let name = value`", letBinding: "write `let name = value`",
    modelItem: "write `model Name = …`, or `model Name(parameters) { … }`", function: "write `fn name(parameters) = value`, or `{ … }` after the parameters", param: "write `param name = value`",
    field: "a field is `name: value`", formatMap: "write `map address => \"name\"`", lambda: "write `name => value`", typeField: "a field is `name: type`",
  }
  const at = isEnd(p.found) || firstOfLine(p.found) ? gap(p) : p.span
  return diagnostic("SLM1017", at, `\`${sign}\` is missing`, { label: `\`${sign}\` expected here`, help: forms[p.rule] ?? `write \`${sign}\`` })
}

function header(p: Place): Diagnostic | null {
  const at = isEnd(p.found) ? gap(p) : p.span
  const found = described(p.found)
  if (p.rule === "use" && p.expected === "LCurly") return diagnostic("SLM1010", at, "this `use` names nothing", { label: "`{ … }` expected here", help: "list what you use: `use std.models { Llama }`" })
  if (p.expected === "a module") return diagnostic("SLM1010", at, `\`use\` needs a module, not ${found}`, { help: 'write `use std.models { … }` or `use "./file.slm" { … }`' })
  if (p.rule === "parameters" && p.expected === "LParen") return diagnostic("SLM1010", at, "the parameters are missing", { label: "`(` expected here", help: "write `()` where there are none" })
  if (p.rule === "changes" && p.expected === "LCurly") return diagnostic("SLM1010", at, `changes stand in braces, not in ${found}`, { label: "`{` expected here", help: "write `with { name: value }`" })
  if (p.expected === "LCurly" || (p.rule === "braces" && p.expected === "")) return diagnostic("SLM1010", at, `a block is expected, not ${found}`, { label: "`{` expected here", help: "put the `{` on the same line" })
  if (p.expected === "Name") return diagnostic("SLM1010", at, `a name is expected, not ${found}`, { label: "a name belongs here" })
  return null
}

function typeExpected(p: Place): Diagnostic | null {
  if (p.expected !== "a type") return null
  return diagnostic("SLM1021", isEnd(p.found) ? gap(p) : p.span, `a type is expected, not ${described(p.found)}`, { label: "a type belongs here", help: "types are written `int`, `float[B, T, dim]`, `[int]`, `int?`, `{ a: int }`, `(int) -> float`" })
}

function valueExpected(p: Place): Diagnostic | null {
  if (p.expected !== "an expression" && p.expected !== "an index") return null
  if (p.found.tokenType === t.RCurly && p.stack.at(-2) === "blockResult") return make(p, "SLM1024", "this block has no result", { label: "a value is expected before this", help: "end the block with the value it stands for" })
  const after = p.before === undefined || p.before.image === "" ? "" : ` after \`${p.before.image}\``
  if (isEnd(p.found) || closesGroup(p.found) || p.found.tokenType === t.Comma) {
    return diagnostic("SLM1010", gap(p), `a value is missing${after}`, { label: "expected here", ...(opener(p) ? { help: "write a value, or remove the brackets" } : {}) })
  }
  return make(p, "SLM1010", `a value is expected${after}, not ${described(p.found)}`, { label: "cannot start a value" })
}

function opener(p: Place): boolean {
  return p.before !== undefined && opensGroup(p.before) && closesGroup(p.found)
}

function unexpected(p: Place): Diagnostic {
  const at = isEnd(p.found) ? gap(p) : p.span
  const sign = signs[p.expected]
  const closing = sign === ")" || sign === "]" || sign === "}"
  if (closing) return diagnostic("SLM1010", at, `${described(p.found)} cannot follow here`, { label: `\`${sign}\` or the next entry expected` })
  const what = sign === undefined ? (p.expected.includes(" ") ? p.expected : "something else") : `\`${sign}\``
  return diagnostic("SLM1010", at, `${what} is expected, not ${described(p.found)}`, { label: "unexpected" })
}

/** A token in words. */
function described(token: IToken): string {
  const type = token.tokenType
  if (type.name === "EOF") return "the end of the text"
  if (type === t.Newline) return "the end of the line"
  if (type === t.StringStart || type === t.StringText || type === t.RawString) return "a string"
  if (type === t.StringEnd) return "the end of a string"
  if (token.image === "") return "the end of the group"
  if (type === t.NumberLiteral || type === t.Share) return `the number \`${token.image}\``
  return `\`${token.image}\``
}
