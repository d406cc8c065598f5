/**
 * The evaluator: what an expression means, in one place for three uses (spec 5.1). A definition is checked by evaluating
 * it with symbols for its parameters, a recipe by evaluating it with stage results as named unknowns, a stage is lowered
 * by evaluating its functions with graph nodes behind the tensors (`createMachine(session, lowering)`).
 *
 * Concerns: names `scopes.ts`, calls `calls.ts`, operators `operators.ts`, members `members.ts`, types `types.ts`,
 * templates and instances `instance.ts`, addresses `address.ts`, words for people `describe.ts`. The meaning of
 * `primitive fn`s is registered in `primitives/table.ts`, whose comment says what a primitive may rely on.
 *
 * Mistakes are reported to the machine and yield an ErrorValue, which everything computed from it absorbs in silence:
 * one mistake is reported once, and independent ones in one run.
 */
import type { Comprehension, Expr, IfExpr, NumberLit, RangeExpr, RecordExpr, RepeatExpr, StringLit } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { present, remember } from "./again.ts"
import { applyPipe, applyStage, evaluateCall } from "./calls.ts"
import { display, kindOf } from "./describe.ts"
import { tooDeep } from "./depth.ts"
import { join } from "./join.ts"
import type { Machine } from "./machine.ts"
import { bool, error, float, int, list, none, record, string, unknown } from "./make.ts"
import { evaluateField, evaluateIndex } from "./members.ts"
import { evaluateBinary, evaluateUnary } from "./operators.ts"
import { constant, sub } from "./poly.ts"
import { inner, lookup, reportUnknownName } from "./scopes.ts"
import { derived } from "./reach.ts"
import type { Session } from "./session.ts"
import { limits } from "./session.ts"
import type { Scope, Value } from "./value.ts"
import { selectTensor } from "./primitives/number.ts"
import { evaluateWith } from "./with.ts"

export function evaluate(expr: Expr, scope: Scope, m: Machine): Value {
  const session = m.session
  if (--session.stepsLeft < 0) return exhausted(expr, m)
  if (session.depth >= limits.depth) return tooDeep(expr.span, m)
  session.depth++
  const value = evaluateKind(expr, scope, m)
  session.depth--
  return (value.kind === "list" || value.kind === "record") && treeSize(value, session) > limits.treeSize ? tooLarge(expr, m) : value
}

/** Values in values, counted as often as they are reached: what functions that walk over a value have to do. */
function treeSize(value: Value, session: Session): number {
  if (value.kind !== "list" && value.kind !== "record") return 1
  const known = session.sizes.get(value)
  if (known !== undefined) return known
  let size = 1
  for (const item of value.kind === "list" ? value.items : value.fields.values()) size += treeSize(item, session)
  session.sizes.set(value, size)
  return size
}

function tooLarge(expr: Expr, m: Machine): Value {
  return m.report(diagnostic("SLM2400", expr.span, "this value is too large", { notes: [`lists and records have at most ${limits.treeSize.toLocaleString("en")} values, those inside of each other included`] }))
}

function exhausted(expr: Expr, m: Machine): Value {
  if (m.session.outOfBounds.has(exhausted)) return error
  m.session.outOfBounds.add(exhausted)
  return m.report(diagnostic("SLM2400", expr.span, "this recipe takes too long to evaluate", { notes: [`at most ${limits.steps.toLocaleString("en")} expressions are evaluated`] }))
}

function evaluateKind(expr: Expr, scope: Scope, m: Machine): Value {
  switch (expr.kind) {
    case "number": return numberValue(expr)
    case "string": return stringValue(expr, scope, m)
    case "bool": return bool(expr.value, expr.span)
    case "none": return none
    case "name": {
      const value = lookup(expr.name, scope, m)
      return value === null ? reportUnknownName(expr.name, expr.span, scope, m) : present(value, m)
    }
    case "list": return list(expr.items.map((item) => evaluate(item, scope, m)), expr.span)
    case "record": return recordValue(expr, scope, m)
    case "block": {
      let at = scope
      for (const l of expr.lets) {
        const value = evaluate(l.value, at, m)
        remember(value, l.value, at, m)
        at = inner(at, [[l.name.name, value]])
      }
      return evaluate(expr.result, at, m)
    }
    case "call": return evaluateCall(expr, scope, m)
    case "field": return evaluateField(expr, scope, m)
    case "index": return evaluateIndex(expr, scope, m)
    case "unary": return evaluateUnary(expr, scope, m)
    case "binary": return evaluateBinary(expr, scope, m)
    case "if": return evaluateIf(expr, scope, m)
    case "lambda": return { kind: "closure", name: null, code: expr, scope, origin: expr.span }
    case "pipe": return applyPipe(expr, scope, m)
    case "with": return evaluateWith(expr, scope, m)
    case "comprehension": return evaluateComprehension(expr, scope, m)
    case "repeat": return evaluateRepeat(expr, scope, m)
    case "stage": return applyStage(expr, scope, m)
    case "range": return evaluateRange(expr, scope, m)
    case "select": case "wildcard":
      return m.report(diagnostic("SLM2206", expr.span, "an address has no value of its own", { help: "addresses stand in `freeze`, `keep`, `with { at … }` and the maps of a format" }))
    case "missing": return error
  }
}

export function numberValue(expr: NumberLit): Value {
  if (expr.unit === "%") return float(expr.value / 100, expr.span)
  if (expr.unit !== null) return { kind: "quantity", value: expr.value, unit: expr.unit, origin: expr.span }
  return expr.integer && Number.isSafeInteger(expr.value) ? int(expr.value, expr.span) : float(expr.value, expr.span)
}

function stringValue(expr: StringLit, scope: Scope, m: Machine): Value {
  let text: string | null = ""
  for (const part of expr.parts) {
    if (typeof part === "string") {
      if (text !== null) text += part
      continue
    }
    const value = evaluate(part, scope, m)
    if (value.kind === "error") return value
    const shown = display(value, m)
    text = text === null || shown === null ? null : text + shown
    if (text !== null && text.length > limits.textLength) return m.report(diagnostic("SLM2400", expr.span, "this text is too long", { notes: [`texts have at most ${limits.textLength.toLocaleString("en")} characters`] }))
  }
  return string(text, expr.span)
}

function recordValue(expr: RecordExpr, scope: Scope, m: Machine): Value {
  const fields = new Map<string, Value>()
  for (const f of expr.fields) {
    const value = evaluate(f.value, scope, m)
    if (fields.has(f.name.name)) m.report(diagnostic("SLM2017", f.name.span, `\`${f.name.name}\` is given twice`))
    else fields.set(f.name.name, value)
  }
  return record(fields, expr.span)
}

function evaluateIf(expr: IfExpr, scope: Scope, m: Machine): Value {
  const condition = evaluate(expr.condition, scope, m)
  if (condition.kind === "bool" && condition.value !== null) return evaluate(condition.value ? expr.then : expr.else, scope, m)
  if (condition.kind !== "bool" && condition.kind !== "tensor" && condition.kind !== "unknown" && condition.kind !== "error") {
    m.report(diagnostic("SLM2110", expr.condition.span, `a condition is true or false, not ${kindOf(condition, m)}`))
  }
  const then = evaluate(expr.then, scope, m)
  const otherwise = evaluate(expr.else, scope, m)
  if (condition.kind === "tensor") return derived(selectTensor(condition, then, otherwise, { span: expr.span, callee: expr.span, args: new Map() }, m), null, [then, otherwise], m)
  return condition.kind === "error" ? error : join(then, otherwise, expr.span, m)
}

// ---- repetition

/** The items to go over; a list of unknown length has one item that stands for all. */
function evaluateComprehension(expr: Comprehension, scope: Scope, m: Machine): Value {
  const over = evaluate(expr.over, scope, m)
  if (over.kind === "unknown") {
    evaluate(expr.result, inner(scope, [[expr.variable.name, unknown("any", expr.variable.span)]]), m)
    return unknown("list", expr.span)
  }
  if (over.kind !== "list") {
    return over.kind === "error" ? error : m.report(diagnostic("SLM2110", expr.over.span, `\`for\` goes over a list, not ${kindOf(over, m)}`))
  }
  const items: Value[] = []
  let uncertain = over.count !== undefined
  for (const item of over.items) {
    if (m.session.stepsLeft < 0) return exhausted(expr.result, m)
    const at = inner(scope, [[expr.variable.name, item]])
    const kept = expr.condition === null ? bool(true) : evaluate(expr.condition, at, m)
    if (kept.kind === "bool" && kept.value === false) continue
    if (kept.kind === "error") return error
    if (kept.kind !== "bool" && kept.kind !== "unknown") return m.report(diagnostic("SLM2110", expr.condition?.span ?? expr.span, `a condition is true or false, not ${kindOf(kept, m)}`))
    if (kept.kind !== "bool" || kept.value === null) {
      uncertain = true
      m.session.undecided = true
    }
    items.push(evaluate(expr.result, at, m))
  }
  if (!uncertain) return list(items, expr.span)
  return over.count === undefined || expr.condition !== null ? unknown("list", expr.span) : { ...list(items, expr.span), count: over.count }
}

function evaluateRepeat(expr: RepeatExpr, scope: Scope, m: Machine): Value {
  const count = evaluate(expr.count, scope, m)
  if (count.kind === "error") return error
  const indices = count.kind === "int" ? span(int(0), count, expr.count, m) : count.kind === "unknown" ? count
    : m.report(diagnostic("SLM2110", expr.count.span, `\`repeat\` takes an integer, not ${kindOf(count, m)}`))
  if (indices.kind !== "list") return indices.kind === "unknown" ? unknown("list", expr.span) : error
  const items = indices.items.map((i) => evaluate(expr.body, expr.variable === null ? scope : inner(scope, [[expr.variable.name, i]]), m))
  return indices.count === undefined ? list(items, expr.span) : { ...list(items, expr.span), count: indices.count }
}

function evaluateRange(expr: RangeExpr, scope: Scope, m: Machine): Value {
  const from = evaluate(expr.from, scope, m)
  const to = evaluate(expr.to, scope, m)
  if (from.kind === "error" || to.kind === "error") return error
  if (from.kind === "unknown" || to.kind === "unknown") return unknown("list", expr.span)
  return span(from, to, expr, m)
}

function span(from: Value, to: Value, expr: Expr, m: Machine): Value {
  if (from.kind !== "int" || to.kind !== "int") {
    const wrong = from.kind !== "int" ? from : to
    return m.report(diagnostic("SLM2110", expr.span, `a range goes from one integer to another, not ${kindOf(wrong, m)}`))
  }
  const [a, b] = [m.known(from.poly), m.known(to.poly)]
  if (a === null || b === null) {
    return { ...list([int(a ?? from.poly, expr.span)], expr.span), count: sub(to.poly, from.poly) }
  }
  if (b - a > limits.listLength) return m.report(diagnostic("SLM2400", expr.span, `a list of ${b - a} items is too long`, { notes: [`lists have at most ${limits.listLength.toLocaleString("en")} items`] }))
  if (b < a) return m.report(diagnostic("SLM2303", expr.span, `this range would have ${b - a} items`))
  m.session.stepsLeft -= b - a
  return list(Array.from({ length: b - a }, (_, i) => int(constant(a + i), expr.span)), expr.span)
}
