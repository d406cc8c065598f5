import type * as ast from "./ast.ts"
import type { Source, Span } from "./diagnostic.ts"
import type { Doc } from "./doc.ts"
import { cat, choice, group, hardline, indent, join, line, render } from "./doc.ts"
import { assignment, fieldEntries, inOrder, letEntries, printAfterWord, printExpression, printOperand } from "./print-exprs.ts"
import { braced, bracketed, commentAfter, commentsBefore, lines, printEntries } from "./print-lists.ts"
import type { Entry, Printer } from "./print-lists.ts"
import { printReturns, printType } from "./print-types.ts"
import { escape } from "./strings.ts"

const width = 110

/**
 * The canonical text of a module that was parsed from `source` without errors: two spaces of indentation, lines up to
 * 110 columns where that is possible, every comment kept, at most one empty line between entries. Formatting the result
 * again changes nothing, and its tree is that of the source but for spans.
 */
export function format(module: ast.Module, source: Source): string {
  const p: Printer = { text: source.text, comments: module.comments, next: 0, flat: false }
  const entries = module.items.map((item): Entry => entryOf(p, item, () => printItem(p, item)))
  const printed = printEntries(p, entries, source.text.length + 1)
  const [first] = printed
  const doc = module.doc === null ? [] : module.doc.split("\n").map((text) => (text === "" ? "//!" : `//! ${text}`))
  const body = printed.length === 0 ? "" : render(lines(printed), width)
  const head = doc.join("\n")
  const text = head === "" || body === "" ? head + body : `${head}${first?.blank === true ? "\n\n" : "\n"}${body}`
  return text === "" ? "" : `${text}\n`
}

/** With the place where its documentation starts, so that empty lines above that are kept. */
function entryOf(p: Printer, node: { readonly span: Span; readonly doc?: string | null }, doc: () => Doc): Entry {
  const text = node.doc ?? null
  const start = text === null ? node.span.start : docStart(p, node.span.start)
  const above = text === null ? [] : text.split("\n").flatMap((t) => [t === "" ? "///" : `/// ${t}`, hardline])
  return { span: node.span, start, doc: () => cat(...above, doc()) }
}

function docStart(p: Printer, offset: number): number {
  let start = offset
  for (;;) {
    const before = /(?:^|\n)[ \t]*(\/\/\/(?!\/)[^\n]*)\s*$/.exec(p.text.slice(0, start).slice(-4000))
    const comment = before?.[1]
    if (before === null || comment === undefined) return start
    start = p.text.lastIndexOf(comment, start - 1)
    if (start < 0) return offset
  }
}

function printItem(p: Printer, item: ast.Item): Doc {
  switch (item.kind) {
    case "use": return printUse(p, item)
    case "param": return assignment(p, `param ${item.name.name}${item.type === null ? "" : `: ${render(printType(item.type), Number.POSITIVE_INFINITY)}`} =`, item.value)
    case "bind": return assignment(p, `${item.form === "artifact" ? "" : `${item.form} `}${item.name.name} =`, item.value)
    case "fn": return printFn(p, item)
    case "definition": return cat(item.form, " ", item.name.name, parameters(p, item.params), " ", braced(p, item.members.map((m) => entryOf(p, m, () => printMember(p, m))), item.span.end, true))
    case "optimizer": return printOptimizer(p, item)
    case "curriculum": return printCurriculum(p, item)
    case "format": return printFormat(p, item)
    case "encoding": return printEncoding(p, item)
    case "expect": return printExpect(p, item)
    case "export": return cat("export ", printOperand(p, item.subject), " ", braced(p, fieldEntries(p, item.fields), item.span.end))
    case "carried": return cat("module ", item.isPath ? `"${escape(item.module)}"` : item.module, " ", printExpression(p, item.text))
    case "lock": return cat("lock ", printExpression(p, item.text))
    case "example": {
      const entries = inOrder([...letEntries(p, item.lets), ...item.expects.map((e): Entry => ({ span: e.span, doc: () => printExpect(p, e) }))])
      return cat("example ", item.name.name, " ", braced(p, entries, item.span.end, true))
    }
  }
}

function printExpect(p: Printer, e: ast.Expect): Doc {
  return cat("expect ", indent(printAfterWord(p, e.condition)))
}

function printUse(p: Printer, item: ast.Use): Doc {
  const from = item.isPath ? `"${escape(item.module)}"` : item.module
  const hash = item.sha256 === null ? "" : ` sha256:${item.sha256}`
  const names = item.names.map((n): Entry => {
    const end = (n.as ?? n.name).span.end
    return { span: { ...n.name.span, end }, doc: () => n.name.name + (n.as === null ? "" : ` as ${n.as.name}`) }
  })
  if (names.length === 0) return cat("use ", from, hash, " {}")
  const printed = printEntries(p, names, item.span.end)
  const body = printed.map(({ doc }, i) => cat(doc, i < names.length - 1 ? "," : ""))
  return cat("use ", from, hash, " ", group(cat("{", indent(line, join(line, body)), line, "}"), printed.length > names.length))
}

function printFn(p: Printer, item: ast.Fn): Doc {
  const head = cat(item.primitive ? "primitive fn " : "fn ", item.name.name, parameters(p, item.params), printReturns(item.returns))
  if (item.body === null) return head
  if (item.body.kind === "block") return cat(head, " ", printExpression(p, item.body))
  return cat(head, assignment(p, " =", item.body))
}

function parameters(p: Printer, params: readonly ast.Parameter[]): Doc {
  const end = params.at(-1)?.span.end ?? 0
  return bracketed(p, "(", params.map((x) => ({ span: x.span, doc: () => parameter(p, x) })), ")", end)
}

function parameter(p: Printer, x: ast.Parameter): Doc {
  const type = x.type === null ? "" : cat(": ", printType(x.type))
  return cat(x.rest ? "..." : "", x.name.name, type, x.default === null ? "" : cat(" = ", printExpression(p, x.default)))
}

function printMember(p: Printer, m: ast.Member): Doc {
  switch (m.kind) {
    case "require": return printRequire(p, m)
    case "let": return assignment(p, `let ${m.name.name} =`, m.value)
    case "part": return cat(assignment(p, `part ${m.name.name} =`, m.value), when(p, m.when))
    case "weight": return cat(`param ${m.name.name}: `, printType(m.type), assignment(p, " =", m.init), when(p, m.when))
    case "forward": return cat("forward", procedure(p, m.params, m.returns, m.body))
  }
}

function when(p: Printer, condition: ast.Expr | null): Doc {
  return condition === null ? "" : group(indent(line, "when ", printAfterWord(p, condition)))
}

function printRequire(p: Printer, r: ast.Require): Doc {
  if (r.message === null) return cat("require ", indent(printAfterWord(p, r.condition)))
  const condition = printAfterWord(p, r.condition)
  return group(cat("require ", indent(condition, ",", line, ...commentsBefore(p, r.message.span.start).flatMap((c) => [c, hardline]), printExpression(p, r.message))))
}

function procedure(p: Printer, params: readonly ast.Parameter[], returns: ast.TypeExpr | null, body: ast.Expr): Doc {
  return cat(parameters(p, params), printReturns(returns), " ", printExpression(p, body))
}

function requireEntries(p: Printer, requires: readonly ast.Require[]): Entry[] {
  return requires.map((r) => ({ span: r.span, doc: () => printRequire(p, r) }))
}

function printOptimizer(p: Printer, item: ast.Optimizer): Doc {
  const update: Entry = { span: item.update.span, doc: () => cat("update", procedure(p, item.update.params, null, item.update.body)) }
  const entries = inOrder([...requireEntries(p, item.requires), ...stateEntries(p, item), update])
  return cat("optimizer ", item.name.name, parameters(p, item.params), " ", braced(p, entries, item.span.end, true))
}

/** States that stood on one line stay on one where they fit. */
function stateEntries(p: Printer, item: ast.Optimizer): Entry[] {
  const groups: ast.Optimizer["states"][number][][] = []
  for (const state of item.states) {
    const last = groups.at(-1)?.at(-1)
    const between = last === undefined ? "\n" : p.text.slice(last.init.span.end, state.name.span.start)
    if (last === undefined || /[\n\r]|state\s*$/.test(between)) groups.push([state])
    else groups.at(-1)?.push(state)
  }
  return groups.map((states) => {
    const start = states[0]?.name.span ?? item.span
    const one = (s: (typeof states)[number]): Doc => cat(`${s.name.name} = `, printExpression(p, s.init), commentAfter(p, s.init.span.end))
    const end = states.at(-1)?.init.span.end ?? start.end
    return { span: { ...start, end }, doc: () => group(cat("state ", ...states.flatMap((s, i) => (i === 0 ? [one(s)] : [choice("", ","), line, choice("state ", ""), one(s)])))) }
  })
}

function printCurriculum(p: Printer, item: ast.Curriculum): Doc {
  const stages = item.stages.map((s): Entry => ({ span: s.span, doc: () => cat(`stage ${s.name.name} `, braced(p, fieldEntries(p, s.fields), s.span.end)) }))
  return cat("curriculum ", item.name.name, parameters(p, item.params), " ", braced(p, inOrder([...fieldEntries(p, item.fields), ...stages]), item.span.end, true))
}

function printFormat(p: Printer, item: ast.Format): Doc {
  const blocks = item.blocks.map((b): Entry => ({ span: b.span, doc: () => cat(`${b.name.name} `, braced(p, fieldEntries(p, b.fields), b.span.end)) }))
  const maps = item.maps.map((m): Entry => ({ span: m.span, doc: () => printMap(p, m) }))
  return cat(`format ${item.name.name} for ${item.model.name} `, braced(p, inOrder([...blocks, ...maps]), item.span.end, true))
}

function printMap(p: Printer, m: ast.FormatMap): Doc {
  const via = m.via === null ? "" : cat(line, "via ", printAfterWord(p, m.via))
  const condition = m.when === null ? "" : cat(line, "when ", printAfterWord(p, m.when))
  return group(cat("map ", printOperand(p, m.ours), " => ", printExpression(p, m.theirs), indent(via, condition)))
}

function printEncoding(p: Printer, item: ast.Encoding): Doc {
  const half = (word: string, h: ast.Encoding["encode"]): Entry => ({ span: h.span, doc: () => cat(word, procedure(p, h.params, h.returns, h.body)) })
  const entries = inOrder([...fieldEntries(p, item.fields), ...requireEntries(p, item.requires), half("encode", item.encode), half("decode", item.decode)])
  return cat("encoding ", item.name.name, parameters(p, item.params), " ", braced(p, entries, item.span.end, true))
}
