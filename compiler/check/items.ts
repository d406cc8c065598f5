/** What the names of a module mean. */
import { parse } from "../../grammar/parse.ts"
import type { Bind, Expr, Param } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { remember } from "./again.ts"
import { kindOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { createMachine, moved } from "./machine.ts"
import { string } from "./make.ts"
import { constant } from "./poly.ts"
import { moduleScope } from "./scopes.ts"
import type { Entry, LoadedModule } from "./session.ts"
import { nameStage } from "./stages.ts"
import { coerce, evaluateAs } from "./types.ts"
import type { Scope, Value } from "./value.ts"

export function evaluateItem(entry: Entry, module: LoadedModule, m: Machine): Value {
  const scope = moduleScope(module.id)
  const { item } = entry
  const at = createMachine(m.session)
  switch (item.kind) {
    case "param": return parameter(item, module, scope, at)
    case "bind": return binding(item, scope, at)
    case "fn": return item.primitive ? { kind: "primitive", name: item.name.name, code: item, origin: item.span } : { kind: "closure", name: item.name.name, code: item, scope, origin: item.span }
    case "definition": return { kind: "template", code: item, scope, origin: item.span }
    case "optimizer": case "curriculum": case "encoding": return { kind: "definition", code: item, scope, origin: item.span }
    case "format": return { kind: "format", code: item, scope, origin: item.span }
    case "use": case "expect": case "export": case "example": case "carried": case "lock": throw new Error(`check: ${item.kind} has no name`)
  }
}

// ---- param

function parameter(item: Param, module: LoadedModule, scope: Scope, m: Machine): Value {
  const want = { name: item.name.name, what: `\`${item.name.name}\``, at: item.value.span, scope, axes: new Map() }
  const written = coerce(evaluateAs(item.value, item.type, scope, m), item.type, want, m)
  const text = module.id === m.session.entry ? m.session.environment.params.get(item.name.name) : undefined
  if (text === undefined || written.kind === "error") return { ...written, origin: item.span }
  const set = setValue(text, written)
  const value = set === null ? null : coerce(set, item.type, want, moved(m, { silent: true }))
  if (value === null || value.kind === "error" || !sameSort(value, written)) {
    return m.report(diagnostic("SLM2302", item.span, `\`--set ${item.name.name}=${text}\` does not fit: it is ${kindOf(written, m)} here`, { help: `write a value like ${kindOf(written, m)}` }))
  }
  return { ...value, origin: item.span }
}

function sameSort(a: Value, b: Value): boolean {
  if (a.kind === b.kind) return a.kind !== "quantity" || b.kind !== "quantity" || a.unit === b.unit
  return (a.kind === "float" && b.kind === "int") === false && b.kind === "none" || (a.kind === "none") || (a.kind === "int" && b.kind === "float") || (a.kind === "symbol" && b.kind === "symbol")
}

/** The value of a text from the command line: a literal, or the text itself where a text is wanted. */
function setValue(text: string, like: Value): Value | null {
  if (like.kind === "string") return string(text, like.origin)
  const id = "--set"
  const { module, diagnostics } = parse({ id, text: `let value = ${text}` })
  const [item] = module.items
  if (diagnostics.length > 0 || item?.kind !== "bind" || module.items.length !== 1) return null
  const value = literal(item.value)
  if (value?.kind === "int" && like.kind === "float") return { kind: "float", value: Number(text.replaceAll("_", "")) || literalNumber(item.value), pending: [], origin: null }
  return value
}

function literalNumber(expr: Expr): number | null {
  return expr.kind === "number" ? expr.value : expr.kind === "unary" && expr.operand.kind === "number" ? -expr.operand.value : null
}

function literal(expr: Expr): Value | null {
  switch (expr.kind) {
    case "number": {
      if (expr.unit === "%") return { kind: "float", value: expr.value / 100, pending: [], origin: null }
      if (expr.unit !== null) return { kind: "quantity", value: expr.value, unit: expr.unit, origin: null }
      return numeral(expr.value, expr.integer)
    }
    case "unary": return expr.op === "-" && expr.operand.kind === "number" && expr.operand.unit === null ? numeral(-expr.operand.value, expr.operand.integer) : null
    case "bool": return { kind: "bool", value: expr.value, pending: [], origin: null }
    case "none": return { kind: "none", origin: null }
    case "name": return { kind: "symbol", name: expr.name, origin: null }
    case "string": return expr.parts.every((p) => typeof p === "string") ? string(expr.parts.join("")) : null
    default: return null
  }
}

function numeral(value: number, integer: boolean): Value {
  return integer && Number.isSafeInteger(value) ? { kind: "int", poly: constant(value), origin: null } : { kind: "float", value, pending: [], origin: null }
}

// ---- bindings

function binding(item: Bind, scope: Scope, m: Machine): Value {
  const name = item.name.name
  m.session.binding = name
  const value = evaluate(item.value, scope, m)
  switch (item.form) {
    case "artifact":
      if (value.kind === "artifact") {
        nameStage(value, name, item.name.span, m)
        return value
      }
      return acceptable(value) ? value : wrongForm(item, value, value.kind === "spec" ? "model" : "let", m)
    case "model":
      if (value.kind === "spec" && value.template.code.form === "model") return { ...value, name }
      if (value.kind === "spec") return m.report(diagnostic("SLM2012", item.value.span, `\`${value.template.code.name.name}\` is a layer, not a model`, { help: "define it as `model` to train it" }))
      return acceptable(value) ? value : wrongForm(item, value, value.kind === "artifact" ? "artifact" : "let", m)
    case "let":
      if (value.kind === "artifact") nameStage(value, name, item.name.span, m)
      if (value.kind === "artifact" || (value.kind === "spec" && value.template.code.form === "model")) return wrongForm(item, value, value.kind === "artifact" ? "artifact" : "model", m)
      remember(value, item.value, scope, m)
      return value
  }
}

function acceptable(value: Value): boolean {
  return value.kind === "error" || value.kind === "unknown"
}

const words = { artifact: "what a stage yields", let: "a value", model: "a specification" } as const

function wrongForm(item: Bind, value: Value, right: Bind["form"], m: Machine): Value {
  const name = item.name.name
  if (value.kind === "template") {
    const called = value.code.name.name
    return m.report(diagnostic("SLM2012", item.value.span, `\`${called}\` is a ${value.code.form} without its arguments`, { help: `write \`${called}(…)\`` }))
  }
  const written = right === "artifact" ? name : `${right} ${name}`
  m.report(diagnostic("SLM2012", item.name.span, `\`${name}\` is ${kindOf(value, m)}, not ${words[item.form]}`, {
    help: `write \`${written} = ...\``, fix: { span: { ...item.span, end: item.name.span.end }, text: written },
  }))
  return value
}
