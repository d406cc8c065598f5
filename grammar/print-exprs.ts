import type * as ast from "./ast.ts"
import type { Doc } from "./doc.ts"
import { cat, group, hardline, indent, join, line, render, softline, verbatim } from "./doc.ts"
import { binding, bindingOf } from "./precedence.ts"
import { braced, bracketed, commentAfter, commentsBefore, hasComments, startsLine } from "./print-lists.ts"
import type { Entry, Printer } from "./print-lists.ts"
import { escape } from "./strings.ts"
import { contextualNames, reservedNames, verbNames } from "./tokens.ts"

/** How tightly the printed form of an expression binds. */
function tightness(e: ast.Expr): number {
  switch (e.kind) {
    case "lambda": case "if": return 0
    case "pipe": return binding.pipe
    case "with": return binding.with
    case "range": return binding.range
    case "binary": return bindingOf(e.op)
    case "unary": return e.op === "not" ? binding.not : binding.minus
    case "repeat": case "stage": return binding.power + 0.5
    case "call": case "field": case "index": case "select": return binding.postfix
    default: return binding.atom
  }
}

/** `e` where only what binds at least as tightly as `least` may stand without parentheses. */
export function printExpression(p: Printer, e: ast.Expr, least = 0): Doc {
  return tightness(e) < least ? parenthesised(p, e) : bare(p, e)
}

function parenthesised(p: Printer, e: ast.Expr): Doc {
  return group(cat("(", indent(softline, bare(p, e)), softline, ")"))
}

function bare(p: Printer, e: ast.Expr): Doc {
  switch (e.kind) {
    case "number": return numeral(e)
    case "string": return printString(p, e)
    case "bool": return e.value ? "true" : "false"
    case "none": return "none"
    case "name": return e.name
    case "wildcard": return "*"
    case "missing": return ""
    case "list": return printList(p, e)
    case "record": return braced(p, fieldEntries(p, e.fields), e.span.end)
    case "block": return printBlock(p, e)
    // `5% (x)` is a share of x.
    case "call": return cat(e.callee.kind === "number" && e.callee.unit === "%" ? parenthesised(p, e.callee) : printExpression(p, e.callee, binding.postfix), printArguments(p, e))
    case "field": return cat(printExpression(p, e.object, binding.postfix), ".", e.name.name)
    case "index": return cat(printExpression(p, e.object, binding.postfix), "[", printExpression(p, e.index), "]")
    case "select": return cat(printExpression(p, e.object, binding.postfix), ".{", join(", ", e.names.map((n) => n.name)), "}")
    case "unary": return cat(e.op === "not" ? "not " : "-", printExpression(p, e.operand, e.op === "not" ? binding.not : binding.minus))
    case "binary": return printBinary(p, e)
    case "range": return cat(printExpression(p, e.from, binding.range + 1), "..", printExpression(p, e.to, binding.range + 1))
    case "pipe": return printPipe(p, e)
    case "with": return cat(printExpression(p, e.base, binding.with), " with ", printChanges(p, e))
    case "if": return printIf(p, e)
    case "lambda": return printLambda(p, e)
    case "comprehension": return printComprehension(p, e)
    case "repeat": return printRepeat(p, e)
    case "stage": return printStage(p, e)
  }
}

// ---------------------------------------------------------------- literals

const plurals: ReadonlySet<string> = new Set(["steps", "tokens", "sequences", "epochs", "documents", "bytes"])

function numeral(e: ast.NumberLit): string {
  if (e.unit === null) return e.text
  if (e.unit === "%") return `${e.text}%`
  return `${e.text} ${e.text === "1" && plurals.has(e.unit) ? e.unit.slice(0, -1) : e.unit}`
}

/** The longest hole that is printed anew; the lexer reads holes up to a limit, and spaces make them grow. */
const longHole = 240

function printString(p: Printer, e: ast.StringLit): Doc {
  if (e.raw === true && !p.flat) return printRaw(e.parts.map((part) => (typeof part === "string" ? part : "")).join(""))
  const parts = e.parts.map((part) => {
    if (typeof part === "string") return escape(part)
    const text = printFlat(part)
    const shown = text.length > longHole && p.text !== "" ? p.text.slice(part.span.start, part.span.end) : text
    return shown.startsWith("{") ? `{ ${shown} }` : `{${shown}}`
  })
  return `"${parts.join("")}"`
}

function printRaw(value: string): Doc {
  if (!value.includes("\n")) return `"""${value}"""`
  const body = value.split("\n").map((text) => (text === "" ? "" : `  ${text}`))
  const last = body.pop() ?? ""
  return verbatim(['"""', ...body, last === "" ? '  """' : `${last}"""`])
}

/** An expression on one line, without comments: for holes in strings and for diagnostics. */
export function printFlat(e: ast.Expr): string {
  return render(printExpression({ text: "", comments: [], next: 0, flat: true }, e), Number.POSITIVE_INFINITY)
}

function printList(p: Printer, e: ast.ListExpr): Doc {
  return bracketed(p, "[", e.items.map((item) => ({ span: item.span, doc: () => printExpression(p, item) })), "]", e.span.end)
}

// ---------------------------------------------------------------- braces

export function fieldEntries(p: Printer, fields: readonly ast.FieldExpr[]): Entry[] {
  return fields.map((f) => ({ span: f.span, doc: () => assignment(p, `${f.name.name}:`, f.value) }))
}

/** `head value`: what opens with a bracket stays on the line of its head, other long values go to the next line. */
export function assignment(p: Printer, head: string, value: ast.Expr): Doc {
  const doc = printExpression(p, value)
  return staysOnLine(value) ? cat(head, " ", doc) : group(cat(head, indent(line, doc)))
}

function staysOnLine(e: ast.Expr): boolean {
  switch (e.kind) {
    case "binary": case "if": case "unary": case "range": return false
    case "with": case "pipe": return staysOnLine(e.kind === "with" ? e.base : leftOf(e))
    default: return true
  }
}

function leftOf(e: ast.PipeExpr): ast.Expr {
  let left: ast.Expr = e
  while (left.kind === "pipe") left = left.left
  return left
}

/** A body: lets, one to a line, and the result. Without lets it may stand on one line. */
function printBlock(p: Printer, e: ast.BlockExpr): Doc {
  const result: Entry = { span: e.result.span, doc: () => (misreadAtLineStart(e.result) && e.lets.length > 0 && !p.flat ? parenthesised(p, e.result) : printExpression(p, e.result)) }
  const entries = [...letEntries(p, e.lets), result]
  // a result that starts like a record would make a record of the block
  return braced(p, entries, e.span.end, e.lets.length > 0 && !p.flat)
}

export function letEntries(p: Printer, lets: readonly ast.LetMember[]): Entry[] {
  return lets.map((l) => ({ span: l.span, doc: () => assignment(p, `let ${l.name.name} =`, l.value) }))
}

/** Whether the parser would take a line that starts with `e` for the rest of the line before it. */
function misreadAtLineStart(e: ast.Expr): boolean {
  const first = leftmost(e)
  return first.kind === "unary" ? first.op === "-" : first.kind === "name" && (first.name === "into" || first.name === "via" || first.name === "when")
}

function leftmost(e: ast.Expr): ast.Expr {
  let at = e
  for (;;) {
    switch (at.kind) {
      case "binary": case "pipe": at = at.left; break
      case "with": at = at.base; break
      case "range": at = at.from; break
      case "call": at = at.callee; break
      case "field": case "index": case "select": at = at.object; break
      default: return at
    }
  }
}

function rightmost(e: ast.Expr): ast.Expr {
  let at = e
  for (;;) {
    if (at.kind === "binary" || at.kind === "pipe") at = at.right
    else if (at.kind === "range") at = at.to
    else if (at.kind === "unary") at = at.operand
    else return at
  }
}

/** `e` behind a contextual word (`expect`, `via`, …): what could be read as one with the word gets parentheses. */
export function printAfterWord(p: Printer, e: ast.Expr): Doc {
  const first = leftmost(e)
  const braces = first.kind === "record" || first.kind === "block"
  const list = first.kind === "lambda" && first.params.length !== 1
  return first.kind === "stage" || braces || list ? parenthesised(p, e) : printExpression(p, e)
}

/** The operand of a stage, `export` or `at`, which `{` or `:` follows. */
export function printOperand(p: Printer, e: ast.Expr): Doc {
  const first = leftmost(e)
  const plain = first.kind === "name" || (first.kind === "string" && e === first)
  return plain ? printExpression(p, e, binding.postfix) : parenthesised(p, e)
}

function printChanges(p: Printer, e: ast.WithExpr): Doc {
  const ats = e.ats.map((a): Entry => ({
    span: a.span,
    doc: () => {
      const address = render(cat("at ", printOperand({ ...p, comments: [], flat: true }, a.address), ":"), Number.POSITIVE_INFINITY)
      return assignment(p, address, a.value)
    },
  }))
  return braced(p, inOrder([...fieldEntries(p, e.fields), ...ats]), e.span.end)
}

export function inOrder(entries: readonly Entry[]): Entry[] {
  return [...entries].sort((a, b) => a.span.start - b.span.start)
}

// ---------------------------------------------------------------- calls

function printArguments(p: Printer, e: ast.CallExpr): Doc {
  const [single] = e.args
  const entries = e.args.map((a): Entry => ({
    span: a.span,
    doc: () => (a.name === null ? printExpression(p, a.value) : assignment(p, `${a.name.name}:`, a.value)),
  }))
  if (e.args.length === 1 && single !== undefined && hugs(single.value) && !hasComments(p, e.callee.span.end, single.value.span.start) && !hasComments(p, single.value.span.end, e.span.end)) {
    return cat("(", entries[0]?.doc() ?? "", ")")
  }
  return bracketed(p, "(", entries, ")", e.span.end)
}

/** A sole argument that brings its own brackets needs no lines of its own. */
function hugs(e: ast.Expr): boolean {
  return e.kind === "record" || e.kind === "block" || e.kind === "list" || (e.kind === "string" && e.raw === true)
}

// ---------------------------------------------------------------- operators

/** Whether `80% prose` may be written without `*`. */
function isShare(e: ast.BinaryExpr): boolean {
  if (e.op !== "*" || e.left.kind !== "number" || e.left.unit !== "%" || tightness(e.right) < binding.postfix) return false
  const first = leftmost(e.right)
  return first.kind === "name" && !contextualNames.has(first.name) && !reservedNames.has(first.name)
}

function printBinary(p: Printer, e: ast.BinaryExpr): Doc {
  if (isShare(e)) return cat(printExpression(p, e.left), " ", printExpression(p, e.right))
  const power = bindingOf(e.op)
  if (power === binding.comparison || e.op === "^") {
    const right = e.op === "^" ? power : power + 1
    return chain(p, [{ operator: "", operand: e.left, least: power + 1 }, { operator: `${e.op} `, operand: e.right, least: right }])
  }
  const links: Link[] = []
  let at: ast.Expr = e
  for (; at.kind === "binary" && bindingOf(at.op) === power && (at === e || !isShare(at)); at = at.left) links.unshift({ operator: `${at.op} `, operand: at.right, least: power + 1 })
  links.unshift({ operator: "", operand: at, least: power })
  return chain(p, links)
}

interface Link {
  readonly operator: string
  readonly operand: ast.Expr
  readonly least: number
}

/** Operands on one line, or each on its own with its operator before it. */
function chain(p: Printer, links: readonly Link[]): Doc {
  const printed = links.map(({ operator, operand, least }, i) => {
    const lead = i === 0 ? [] : commentsBefore(p, operand.span.start)
    const nested = operand.kind === "binary" && tightness(operand) >= least
    const inner = printExpression(p, operand, least)
    const doc = cat(...lead.flatMap((c) => [c, hardline]), operator, nested ? indent(inner) : inner)
    return i === links.length - 1 ? doc : cat(doc, commentAfter(p, operand.span.end)) // behind the last: the entry's own
  })
  return group(join(line, printed))
}

function printPipe(p: Printer, e: ast.PipeExpr): Doc {
  const stages: ast.PipeExpr[] = []
  let first: ast.Expr = e
  for (; first.kind === "pipe"; first = first.left) stages.unshift(first)
  const head = cat(printExpression(p, first, binding.pipe), commentAfter(p, first.span.end))
  let broken = false
  const rest = stages.map((stage, i) => {
    const lead = commentsBefore(p, stage.right.span.start)
    broken ||= pipeStartsLine(p, stage)
    return cat(line, ...lead.flatMap((c) => [c, hardline]), "|> ", printExpression(p, stage.right, binding.pipe + 1), i === stages.length - 1 ? "" : commentAfter(p, stage.right.span.end))
  })
  return group(cat(head, indent(...rest)), broken)
}

function pipeStartsLine(p: Printer, stage: ast.PipeExpr): boolean {
  if (p.flat) return false
  const between = p.text.slice(stage.left.span.end, stage.right.span.start)
  const at = between.lastIndexOf("|>")
  return at >= 0 && startsLine(p, stage.left.span.end + at)
}

function printIf(p: Printer, e: ast.IfExpr): Doc {
  const clauses: Doc[] = []
  let at: ast.Expr = e
  for (let word = "if "; at.kind === "if"; at = at.else, word = "else if ") {
    clauses.push(group(cat(word, printExpression(p, at.condition), indent(line, "then ", printExpression(p, at.then)))))
  }
  clauses.push(cat("else ", printExpression(p, at)))
  return group(join(line, clauses))
}

function printLambda(p: Printer, e: ast.LambdaExpr): Doc {
  const [single] = e.params
  const head = e.params.length === 1 && single !== undefined ? single.name : `(${e.params.map((x) => x.name).join(", ")})`
  return assignment(p, `${head} =>`, e.body)
}

function printComprehension(p: Printer, e: ast.Comprehension): Doc {
  const result = printExpression(p, e.result)
  const parts = [result, cat("for ", e.variable.name, " in ", printAfterWord(p, e.over))]
  if (e.condition !== null) parts.push(cat("if ", printExpression(p, e.condition)))
  const body = join(line, parts)
  return group(cat("[", indent(cat("", body)), "]"))
}

function printRepeat(p: Printer, e: ast.RepeatExpr): Doc {
  const last = rightmost(e.count)
  const verb = last !== e.count && last.kind === "name" && verbNames.has(last.name)
  const count = verb || leftmost(e.count).kind === "stage" ? parenthesised(p, e.count) : printExpression(p, e.count, binding.pipe)
  const variable = e.variable === null ? "" : ` as ${e.variable.name}`
  const body = e.body.kind === "record" || e.body.kind === "block" ? bare(p, e.body) : braced(p, [{ span: e.body.span, doc: () => printExpression(p, e.body) }], e.span.end)
  return cat("repeat ", count, variable, " ", body)
}

function printStage(p: Printer, e: ast.StageExpr): Doc {
  const subject = e.subject === null ? "" : cat(" ", printOperand(p, e.subject))
  const into = e.into === null ? "" : cat(" into ", printOperand(p, e.into))
  return cat(e.verb, subject, into, " ", braced(p, fieldEntries(p, e.fields), e.span.end))
}
