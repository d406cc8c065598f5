/** Values against declared types: what is accepted, what is converted, and what a symbol of a type looks like. */
import type { Expr, NamedType, TypeExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { DiagnosticParts, Span } from "../../grammar/diagnostic.ts"
import { addressOf } from "./address.ts"
import { callDefinition, count } from "./calls.ts"
import { kindOf, showType, textOf, units, wantedBy } from "./describe.ts"
import { pendingOf } from "./equal.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { moved } from "./machine.ts"
import { bool, float, int, record, string, unknown, word } from "./make.ts"
import { symbol } from "./poly.ts"
import { inLibrary } from "./relocate.ts"
import { lookup, lookupLocal, moduleScope } from "./scopes.ts"
import { coerceTensor, sequenceRecord, symbolTensor } from "./shapes.ts"
import { didYouMean, listed } from "./suggest.ts"
import type { ArtifactType, ClosureValue, Dim, Scope, Value } from "./value.ts"

/** A value on its way into a declared place. */
export interface Want {
  /** The name of the parameter or field. */
  readonly name: string
  /** For messages: `` `heads` of Attention ``. */
  readonly what: string
  readonly at: Span
  /** Where the names in the type are looked up. */
  readonly scope: Scope
  /** Capital axes, as far as earlier arguments have bound them; filled in here. */
  readonly axes: Map<string, Dim>
}

export function coerce(value: Value, type: TypeExpr | null, want: Want, m: Machine): Value {
  if (type === null || value.kind === "error") return value
  if (value.kind === "unknown") return value
  switch (type.kind) {
    case "optional": return value.kind === "none" ? value : coerce(value, type.of, want, m)
    case "tensor": return coerceTensor(value, type, want, m)
    case "list": {
      if (value.kind !== "list") return refuse(value, type, want, m)
      const items = value.items.map((item) => coerce(item, type.of, { ...want, what: `an item of ${want.what}` }, m))
      return items.find((i) => i.kind === "error") ?? { ...value, items }
    }
    case "record": {
      if (value.kind !== "record") return refuse(value, type, want, m)
      const fields = new Map(value.fields)
      for (const f of type.fields) {
        const found = value.fields.get(f.name.name)
        if (found === undefined && f.type.kind !== "optional") return refuse(value, type, want, m, { notes: [`it has no field \`${f.name.name}\``] })
        if (found !== undefined) fields.set(f.name.name, coerce(found, f.type, { ...want, what: `field \`${f.name.name}\` of ${want.what}` }, m))
      }
      return { ...value, fields }
    }
    case "function": return isCallable(value) ? value : refuse(value, type, want, m)
    case "oneof": return coerceWord(value, type.names.map((n) => n.name), type, want, m)
    case "named": return coerceNamed(value, type, want, m)
  }
}

export function refuse(value: Value, type: TypeExpr, want: Want, m: Machine, parts: DiagnosticParts = {}): Value {
  const from = value.origin !== null && !inLibrary(value.origin, m.session) && (value.origin.source !== want.at.source || value.origin.end < want.at.start || value.origin.start > want.at.end)
    ? [{ span: value.origin, message: "it comes from here" }] : []
  const help = parts.help ?? helpFor(value, type, want, m)
  return m.report(diagnostic("SLM2110", want.at, `${want.what} is ${wantedBy(type, m.session)}, not ${kindOf(value, m)}`, { labels: from, ...parts, ...(help === undefined ? {} : { help }) }))
}

/** What is usually meant by a value of the wrong kind. */
function helpFor(value: Value, type: TypeExpr, want: Want, m: Machine): string | undefined {
  const written = textOf(want.at, m.session)
  if (value.kind === "string" && value.value !== null && /^[A-Za-z_]\w*$/.test(value.value)) {
    const named = isAddresses(type) || lookup(value.value, moduleScope(want.at.source), moved(m, { silent: true })) !== null
    if (named) return `write it without quotes: \`${value.value}\``
  }
  if (type.kind === "named" && type.name === "function" && /^\w+\(/.test(written)) return `give the function itself: \`${written.slice(0, written.indexOf("("))}\``
  if (type.kind === "list" && written !== "" && written.length <= 40) return `write \`[${written}]\``
  if (value.kind === "record" && (type.kind === "tensor" || (type.kind === "named" && (type.name === "tensor" || type.name === "number")))) {
    return value.fields.has(want.name) ? `take its field: \`.${want.name}\`` : value.fields.size > 0 ? `take one of its fields: ${listed([...value.fields.keys()], "or")}` : undefined
  }
  if (value.kind === "list" && type.kind === "named" && type.name === "tensor") return "take one of its items: `[0]`"
  if (value.kind === "quantity" && units.has(want.name)) return `write \`${value.unit}: ${value.value}\``
  return undefined
}

function isAddresses(type: TypeExpr): boolean {
  return type.kind === "list" || type.kind === "optional" ? isAddresses(type.of) : type.kind === "named" && type.name === "address"
}

function coerceWord(value: Value, words: readonly string[], type: TypeExpr, want: Want, m: Machine): Value {
  if (value.kind === "symbol" && words.includes(value.name)) return value
  if (value.kind === "string" && value.value !== null && words.includes(value.value)) {
    return refuse(value, type, want, m, { help: `write it without quotes: \`${value.value}\`` })
  }
  return refuse(value, type, want, m)
}

function isCallable(value: Value): boolean {
  return value.kind === "closure" || value.kind === "primitive" || value.kind === "instance" || value.kind === "template" || value.kind === "definition"
    || (value.kind === "artifact" && value.type.is === "weights")
}

/** Functions of (step, total); what a primitive or a layer takes is not looked at. */
function takesStepAndTotal(value: Value): boolean {
  if (value.kind !== "closure") return true
  const { code } = value
  return code.kind === "lambda" ? code.params.length === 2 : code.params.length >= 2 && code.params.slice(2).every((p) => p.default !== null)
}

// ---- named types

type Rule = (value: Value, want: Want, m: Machine) => Value | null

const artifacts: Readonly<Record<string, readonly ArtifactType["is"][]>> = {
  Rows: ["rows"], Tokenizer: ["tokenizer"], Tokens: ["tokens"], data: ["rows", "tokens"], Difficulty: ["difficulty"], Weights: ["weights"],
  Statistics: ["statistics"], Report: ["report"], Samples: ["samples"], Notes: ["notes"],
}

const kinds: Readonly<Record<string, readonly Value["kind"][]>> = {
  any: [], string: ["string"], bool: ["bool"], record: ["record"], list: ["list"], number: ["int", "float", "tensor", "bool", "loss"], tensor: ["tensor"], bool_number: ["bool", "tensor"],
  Loss: ["loss"], Mask: ["mask"], Init: ["init"], Optimizer: ["optimizer"], Format: ["format"], Encoding: ["encoding"], address: ["address"], Layer: ["spec", "instance"],
}

const rules: Readonly<Record<string, Rule>> = {
  any: (value) => value,
  int: (value, want) => (value.kind === "int" ? value : value.kind === "quantity" && value.unit === want.name && Number.isInteger(value.value) ? int(value.value, value.origin) : null),
  float: (value, want, m) => {
    if (value.kind === "float") return value
    if (value.kind === "int") return float(m.known(value.poly), value.origin, pendingOf(value, m))
    return value.kind === "quantity" && value.unit === want.name ? float(value.value, value.origin) : null
  },
  function: (value) => (isCallable(value) ? value : null),
  schedule: (value, want, m) => {
    if (isCallable(value)) return takesStepAndTotal(value) ? value : null
    const number = value.kind === "int" ? float(m.known(value.poly), value.origin, pendingOf(value, m)) : value
    return number.kind === "float" ? constantSchedule(number, want.scope.module) : null
  },
  Model: (value) => (value.kind === "spec" && value.template.code.form === "model") || (value.kind === "artifact" && value.type.is === "weights") ? value : null,
  Mix: (value) => (value.kind === "mix" ? value : value.kind === "artifact" && value.type.is === "tokens" ? { kind: "mix", items: [{ share: float(1), data: value, easiest: null }], origin: value.origin } : null),
  TrainingData: (value) => (value.kind === "mix" || value.kind === "curriculum" || (value.kind === "artifact" && value.type.is === "tokens") ? value : null),
  ValidationData: (value) => (value.kind === "record" || (value.kind === "artifact" && value.type.is === "tokens") ? value : null),
}

export const typeNames: ReadonlySet<string> = new Set([...Object.keys(rules), ...Object.keys(kinds), ...Object.keys(artifacts), ...units, "Sequence"])

function coerceNamed(value: Value, type: NamedType, want: Want, m: Machine): Value {
  if (type.name === "Sequence") return sequenceRecord(value, type, want, m)
  if (!typeNames.has(type.name)) return coerceWord(value, [type.name], type, want, m)
  if (units.has(type.name)) return coerceUnit(value, type, want, m)
  const is = artifacts[type.name]
  if (is !== undefined) return value.kind === "artifact" && is.includes(value.type.is) ? value : refuse(value, type, want, m, artifactHelp(value, type))
  const rule = rules[type.name]
  const accepted = rule !== undefined ? rule(value, want, m) : kinds[type.name]?.includes(value.kind) ? value : null
  if (accepted !== null) return accepted
  if (value.kind === "definition" && (type.name === "Optimizer" || type.name === "Encoding") && value.code.kind === type.name.toLowerCase()) return callDefinition(value, [], want.at, m)
  return refuse(value, type, want, m, namedHelp(value, type, want))
}

/** Sizes may be written in larger units. */
const byteUnits: Readonly<Record<string, number>> = { KB: 1e3, MB: 1e6, GB: 1e9 }

function coerceUnit(value: Value, type: NamedType, want: Want, m: Machine): Value {
  if (value.kind === "quantity" && type.name === "bytes" && byteUnits[value.unit] !== undefined) return int(Math.round(value.value * (byteUnits[value.unit] ?? 1)), value.origin)
  if (value.kind === "quantity" && value.unit === type.name) return Number.isInteger(value.value) ? int(value.value, value.origin) : float(value.value, value.origin)
  if ((value.kind === "int" || value.kind === "float") && (want.name === type.name || value.origin === null || value.origin.source !== want.at.source || value.origin.start !== want.at.start)) return value
  if (value.kind === "int" || value.kind === "float") {
    const text = m.session.sources.get(want.at.source)?.text.slice(want.at.start, want.at.end) ?? ""
    return m.report(diagnostic("SLM2300", want.at, `${want.what} needs a unit`, {
      help: `write \`${text} ${type.name}\``, fix: { span: { ...want.at, start: want.at.end }, text: ` ${type.name}` },
    }))
  }
  if (value.kind === "quantity") return m.report(diagnostic("SLM2300", want.at, `${want.what} is a number of ${type.name}, not of ${value.unit}`))
  return refuse(value, type, want, m)
}

function artifactHelp(value: Value, type: NamedType): DiagnosticParts {
  if (value.kind === "spec" && type.name === "Weights") return { help: `\`${value.name}\` has no weights yet: \`train\` or \`load\` gives it some` }
  if (value.kind === "spec" || value.kind !== "artifact") return {}
  const was = value.type.is
  if (type.name === "Tokens" && was === "rows") return { help: "turn text into tokens first: `|> encode(tokenizer)`" }
  return type.name === "Rows" && was === "tokens" ? { help: "this is done on rows of text, before `encode`" } : {}
}

function namedHelp(value: Value, type: NamedType, want: Want): DiagnosticParts {
  const call = value.kind === "template" || value.kind === "definition" ? `\`${value.code.name.name}\` must be called: \`${value.code.name.name}(...)\`` : null
  if (call !== null) return { help: call }
  if (type.name === "schedule" && value.kind === "closure") return { notes: [`this function takes ${count(value.code.params.length, "argument")}`] }
  if (type.name === "int" && value.kind === "float" && value.value !== null) return { help: `\`${want.name}\` counts something` }
  if (type.name === "Loss" && value.kind === "tensor") return { help: "`average(values)` makes a loss of a tensor" }
  if ((type.name === "TrainingData" || type.name === "ValidationData") && value.kind === "artifact" && value.type.is === "rows") return { help: "turn text into rows of tokens first: `|> encode(tokenizer) |> pack(length: 128)`" }
  if (type.name === "string" && value.kind === "symbol") return { help: `write "${value.name}"` }
  return {}
}

/** `lr: 3e-3` is the schedule that is always 3e-3. */
export function constantSchedule(value: Value, module: string): ClosureValue {
  const span = value.origin ?? { source: module, start: 0, end: 0 }
  const ident = (name: string) => ({ name, span })
  return {
    kind: "closure", name: null, origin: value.origin, scope: { names: new Map([["value", value]]), outer: null, module },
    code: { kind: "lambda", span, params: [ident("step"), ident("total")], body: { kind: "name", span, name: "value" } },
  }
}

// ---- expressions where the type decides how they are read

/** Evaluates an expression for a declared place: bare words and addresses are read as such where the type asks for them. */
export function evaluateAs(expr: Expr, type: TypeExpr | null, scope: Scope, m: Machine): Value {
  if (type === null) return evaluate(expr, scope, m)
  switch (type.kind) {
    case "optional": return expr.kind === "none" ? evaluate(expr, scope, m) : evaluateAs(expr, type.of, scope, m)
    case "oneof": return evaluateWord(expr, type.names.map((n) => n.name), scope, m)
    case "list": {
      if (expr.kind !== "list" || !readsSpecially(type.of)) return isAddresses(type) && isUnknownPath(expr, scope, m) ? listNeeded(expr, m) : evaluate(expr, scope, m)
      return { kind: "list", items: expr.items.map((item) => evaluateAs(item, type.of, scope, m)), origin: expr.span }
    }
    case "named":
      if (type.name === "address") return addressOf(expr, scope, m)
      return typeNames.has(type.name) ? evaluate(expr, scope, m) : evaluateWord(expr, [type.name], scope, m)
    default: return evaluate(expr, scope, m)
  }
}

/** An address without its brackets: `freeze: embed`. */
function isUnknownPath(expr: Expr, scope: Scope, m: Machine): boolean {
  if (expr.kind === "select" || (expr.kind === "index" && expr.index.kind === "wildcard")) return true
  if (expr.kind === "field" || expr.kind === "index") return isUnknownPath(expr.object, scope, m)
  return expr.kind === "name" && lookup(expr.name, scope, m) === null
}

function listNeeded(expr: Expr, m: Machine): Value {
  return m.report(diagnostic("SLM2110", expr.span, "addresses stand in a list", { help: `write \`[${textOf(expr.span, m.session)}]\`` }))
}

function readsSpecially(type: TypeExpr): boolean {
  if (type.kind === "optional" || type.kind === "list") return readsSpecially(type.of)
  return type.kind === "oneof" || (type.kind === "named" && (type.name === "address" || !typeNames.has(type.name)))
}

function evaluateWord(expr: Expr, words: readonly string[], scope: Scope, m: Machine): Value {
  if (expr.kind === "if") {
    const condition = evaluate(expr.condition, scope, m)
    if (condition.kind === "bool" && condition.value !== null) return evaluateWord(condition.value ? expr.then : expr.else, words, scope, m)
    const both = [evaluateWord(expr.then, words, scope, m), evaluateWord(expr.else, words, scope, m)]
    return both.find((v) => v.kind === "error") ?? unknown("word", expr.span)
  }
  if (expr.kind !== "name") return evaluate(expr, scope, m)
  if (words.includes(expr.name) && lookupLocal(expr.name, scope)?.kind !== "symbol") return word(expr.name, expr.span)
  const value = lookup(expr.name, scope, m)
  if (value !== null) return value
  const help = didYouMean(expr.name, words)
  return m.report(diagnostic("SLM2111", expr.span, `\`${expr.name}\` is ${words.length === 1 ? "not" : "not one of"} ${listed(words, "or")}`, help === undefined ? {} : { help }))
}

// ---- symbols

/** A value of a declared type of which nothing else is known: the parameter of a definition under check. */
export function symbolOf(type: TypeExpr | null, name: string, at: Span, scope: Scope, axes: Map<string, Dim>, m: Machine): Value {
  if (type === null) return unknown("any", at)
  switch (type.kind) {
    case "optional": return symbolOf(type.of, name, at, scope, axes, m)
    case "tensor": return symbolTensor(type, at, scope, axes, m)
    case "list": return { kind: "list", items: [symbolOf(type.of, name, at, scope, axes, m)], count: symbol(`length of ${name}`), origin: at }
    case "record": return record(new Map(type.fields.map((f) => [f.name.name, symbolOf(f.type, f.name.name, at, scope, axes, m)])), at)
    case "function": return unknown("function", at)
    case "oneof": return unknown("word", at)
    case "named": return symbolNamed(type, name, at, scope, axes, m)
  }
}

function symbolNamed(type: NamedType, name: string, at: Span, scope: Scope, axes: Map<string, Dim>, m: Machine): Value {
  switch (type.name) {
    case "int": return int(symbol(`${at.source}:${at.start}:${name}`, name, { origin: at }), at)
    case "float": return float(null, at)
    case "bool": return bool(null, at)
    case "string": return string(null, at)
    case "schedule": return constantSchedule(float(null, at), scope.module)
    case "Sequence": {
      const dims = type.dims ?? []
      const ids = symbolTensor({ kind: "tensor", span: type.span, dtype: "int", of: null, dims }, at, scope, axes, m)
      return record({ positions: ids, segments: ids }, at)
    }
    default: return units.has(type.name) ? int(symbol(`${at.source}:${at.start}:${name}`, name, { origin: at }), at) : unknown(typeNames.has(type.name) ? type.name : "word", at)
  }
}

/** Reports type names that do not exist. In `primitive fn`s an unknown name is a word. */
export function checkTypeNames(type: TypeExpr | null, m: Machine): void {
  if (type === null) return
  if (type.kind === "optional" || type.kind === "list") checkTypeNames(type.of, m)
  if (type.kind === "record") for (const f of type.fields) checkTypeNames(f.type, m)
  if (type.kind === "function") for (const t of [...type.params, type.returns]) checkTypeNames(t, m)
  if (type.kind === "named" && !typeNames.has(type.name)) {
    const help = didYouMean(type.name, typeNames)
    m.report(diagnostic("SLM2018", type.span, `there is no type \`${showType(type, m.session)}\``, help === undefined ? {} : { help }))
  }
}
