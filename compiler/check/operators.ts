/** Operators by the kinds of their operands. Tensors, losses and masks are handed to `primitives/number.ts`. */
import type { BinaryExpr, BinaryOp, UnaryExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { evaluate } from "./evaluate.ts"
import { kindOf } from "./describe.ts"
import type { Machine } from "./machine.ts"
import { bool, error, float, int, list, unknown, word } from "./make.ts"
import { pendingOf, sameValue } from "./equal.ts"
import type { Poly } from "./poly.ts"
import { add, constant, constantOf, mul, mulAll, negate, opaqueOf, quotient, sub } from "./poly.ts"
import { binaryTensor, unaryTensor } from "./primitives/number.ts"
import { derived } from "./reach.ts"
import { limits } from "./session.ts"
import type { CallSite, IntValue, MixValue, Scope, Value } from "./value.ts"

type Arithmetic = "+" | "-" | "*" | "/" | "%" | "^"
type Order = "<" | "<=" | ">" | ">="

export function evaluateUnary(expr: UnaryExpr, scope: Scope, m: Machine): Value {
  const x = evaluate(expr.operand, scope, m)
  if (x.kind === "error" || x.kind === "unknown") return x
  if (x.kind === "tensor" || x.kind === "loss") return derived(unaryTensor(expr.op, x, callSite(expr.span), m), null, [x], m)
  if (expr.op === "not") {
    if (x.kind === "bool") return bool(x.value === null ? null : !x.value, expr.span, x.pending)
    return m.report(diagnostic("SLM2112", expr.span, `\`not\` turns true and false around, not ${kindOf(x, m)}`))
  }
  if (x.kind === "int") return int(negate(x.poly), expr.span)
  if (x.kind === "float") return float(x.value === null ? null : -x.value, expr.span, x.pending)
  return m.report(diagnostic("SLM2112", expr.span, `${kindOf(x, m)} cannot be negated`))
}

export function evaluateBinary(expr: BinaryExpr, scope: Scope, m: Machine): Value {
  const left = evaluate(expr.left, scope, m)
  if ((expr.op === "and" || expr.op === "or") && left.kind === "bool" && left.value === (expr.op === "or")) return left
  const right = isWordOf(left) && isEquality(expr.op) && expr.right.kind === "name" ? word(expr.right.name, expr.right.span) : evaluate(expr.right, scope, m)
  return binary(expr.op, left, right, expr, m)
}

function isWordOf(value: Value): boolean {
  return value.kind === "symbol" || (value.kind === "unknown" && value.type === "word")
}

function isEquality(op: BinaryOp): boolean {
  return op === "==" || op === "!="
}

/** Whether a tensor that is not known is compared with numbers: the result has its elements. */
function isElementwise(left: Value, right: Value): boolean {
  const numbers = ["int", "float", "bool", "tensor", "number"]
  const kinds = [left, right].map((v) => (v.kind === "unknown" ? v.type : v.kind))
  return left.kind !== "tensor" && right.kind !== "tensor" && kinds.includes("tensor") && kinds.every((k) => numbers.includes(k))
}

/** The places of an operator and its operands. */
export interface OperatorSite { readonly span: Span; readonly opSpan: Span; readonly left: { readonly span: Span }; readonly right: { readonly span: Span } }

export function binary(op: BinaryOp, left: Value, right: Value, site: OperatorSite, m: Machine): Value {
  if (left.kind === "error" || right.kind === "error") return error
  if (isEquality(op) && isElementwise(left, right)) return unknown("tensor", site.span)
  if (isEquality(op) && left.kind !== "tensor" && right.kind !== "tensor") return equality(op, left, right, site.span, m)
  if (left.kind === "unknown" || right.kind === "unknown") return unknownResult(op, left, right, site.span)
  if (isGraphic(left) || isGraphic(right)) return derived(binaryTensor(op, left, right, callSite(site.span), m), null, [left, right], m)
  if (op === "and" || op === "or") {
    if (left.kind !== "bool" || right.kind !== "bool") return mismatch(op, left, right, site, m)
    return right.value === (op === "or") ? right : left.value !== null ? right : bool(null, site.span, [...left.pending, ...right.pending])
  }
  if (op === "<" || op === "<=" || op === ">" || op === ">=") return order(op, left, right, site, m)
  if (op === "==" || op === "!=" || op === "@" || op === "&") return mismatch(op, left, right, site, m)
  return arithmeticOf(op, left, right, site, m)
}

function isGraphic(value: Value): boolean {
  return value.kind === "tensor" || value.kind === "loss" || value.kind === "mask"
}

function callSite(span: Span): CallSite {
  return { span, callee: span, args: new Map() }
}

/** Something not known meets something: the kind of the result, where that much is clear. */
function unknownResult(op: BinaryOp, left: Value, right: Value, at: Span): Value {
  const kinds = [left, right].map((v) => (v.kind === "unknown" ? v.type : v.kind))
  const tensor = kinds.some((k) => k === "tensor" || k === "any" || k === "number")
  if (["<", "<=", ">", ">=", "and", "or"].includes(op)) return tensor ? unknown("any", at) : bool(null, at)
  return unknown(tensor ? (kinds.includes("tensor") ? "tensor" : "any") : kinds.includes("Mix") || kinds.includes("Tokens") ? "Mix" : kinds.includes("Loss") ? "Loss" : "any", at)
}

function equality(op: BinaryOp, left: Value, right: Value, at: Span, m: Machine): Value {
  const same = sameValue(left, right, m)
  return bool(same === null ? null : same === (op === "=="), at, same === null ? [...pendingOf(left, m), ...pendingOf(right, m)] : [])
}

// ---- numbers

function order(op: Order, left: Value, right: Value, site: OperatorSite, m: Machine): Value {
  if (left.kind === "quantity" && right.kind === "quantity" && left.unit === right.unit) return bool(ordered(op, left.value, right.value), site.span)
  if (!isNumber(left) || !isNumber(right)) return mismatch(op, left, right, site, m)
  const [a, b] = left.kind === "int" && right.kind === "int" ? [m.known(sub(left.poly, right.poly)), 0] : [numberOf(left, m), numberOf(right, m)]
  const value = a === null || b === null ? null : ordered(op, a, b)
  return bool(value, site.span, value === null ? [...pendingOf(left, m), ...pendingOf(right, m)] : [])
}

function ordered(op: Order, a: number, b: number): boolean {
  switch (op) {
    case "<": return a < b
    case "<=": return a <= b
    case ">": return a > b
    case ">=": return a >= b
  }
}

function isNumber(value: Value): value is Extract<Value, { kind: "int" | "float" }> {
  return value.kind === "int" || value.kind === "float"
}

export function numberOf(value: Value, m: Machine): number | null {
  return value.kind === "int" ? m.known(value.poly) : value.kind === "float" ? value.value : null
}

function arithmeticOf(op: Arithmetic, left: Value, right: Value, site: OperatorSite, m: Machine): Value {
  if (isNumber(left) && isNumber(right)) return left.kind === "int" && right.kind === "int" ? integers(op, left, right, site, m) : arithmetic(op, left, right, site.span, m)
  if (left.kind === "quantity" || right.kind === "quantity") return quantities(op, left, right, site, m)
  if (isMixable(left) || isMixable(right)) return mixes(op, left, right, site, m)
  if (op === "+" && left.kind === "list" && right.kind === "list" && left.count === undefined && right.count === undefined) {
    const length = left.items.length + right.items.length
    m.session.stepsLeft -= length
    if (length > limits.listLength) return m.report(diagnostic("SLM2400", site.span, `a list of ${length} items is too long`, { notes: [`lists have at most ${limits.listLength.toLocaleString("en")} items`] }))
    return list([...left.items, ...right.items], site.span)
  }
  return mismatch(op, left, right, site, m)
}

/** Floats, or an int and a float. */
function arithmetic(op: Arithmetic, left: Value, right: Value, at: Span, m: Machine): Value {
  const [a, b] = [numberOf(left, m), numberOf(right, m)]
  if (a === null || b === null) return float(null, at, [...pendingOf(left, m), ...pendingOf(right, m)])
  return float(computed(op, a, b), at)
}

function computed(op: Arithmetic, a: number, b: number): number {
  switch (op) {
    case "+": return a + b
    case "-": return a - b
    case "*": return a * b
    case "/": return a / b
    case "%": return a - b * Math.floor(a / b)
    case "^": return a ** b
  }
}

function integers(op: Arithmetic, left: IntValue, right: IntValue, site: OperatorSite, m: Machine): Value {
  const [a, b] = [m.known(left.poly), m.known(right.poly)]
  if ((op === "/" || op === "%") && b === 0) return m.report(diagnostic("SLM2303", site.right.span, "division by zero"))
  if (op === "/" && a !== null && b !== null && a % b !== 0) {
    return m.report(diagnostic("SLM2113", site.span, `${a} / ${b} does not come out even`, {
      label: "a division of integers", help: `for a fraction write one of them with a point: \`${a}.0 / ${b}\``,
      labels: [left, right].flatMap((v, i) => (v.origin === null || (v.origin.source === site.span.source && v.origin.start >= site.span.start && v.origin.end <= site.span.end) ? [] : [{ span: v.origin, message: `${i === 0 ? a : b} comes from here` }])),
    }))
  }
  if (op === "^" && (b === null || b < 0)) return b === null ? int(opaqueOf("power", left.poly, right.poly), site.span) : arithmetic(op, left, right, site.span, m)
  const poly = integerResult(op, left.poly, right.poly, b)
  const value = constantOf(poly)
  if (value !== null && !Number.isSafeInteger(value)) return m.report(diagnostic("SLM2303", site.span, `the integer ${value} is too large`, { help: "write one of the numbers with a point" }))
  return int(poly, site.span)
}

function integerResult(op: Arithmetic, a: Poly, b: Poly, exponent: number | null): Poly {
  switch (op) {
    case "+": return add(a, b)
    case "-": return sub(a, b)
    case "*": return mul(a, b)
    case "/": return quotient(a, b)
    case "%": return opaqueOf("remainder", a, b)
    case "^": {
      const base = constantOf(a)
      if (base !== null && exponent !== null) return constant(base ** exponent)
      return exponent !== null && exponent <= 8 ? mulAll(Array<Poly>(exponent).fill(a)) : opaqueOf("power", a, b)
    }
  }
}

function quantities(op: Arithmetic, left: Value, right: Value, site: OperatorSite, m: Machine): Value {
  if (left.kind === "quantity" && right.kind === "quantity") {
    if (left.unit === right.unit && (op === "+" || op === "-")) return { ...left, value: computed(op, left.value, right.value), origin: site.span }
    if (left.unit === right.unit && op === "/") return float(left.value / right.value, site.span)
    if (left.unit !== right.unit) return m.report(diagnostic("SLM2300", site.span, `${left.unit} and ${right.unit} do not mix`))
  } else {
    const [q, x] = left.kind === "quantity" ? [left, numberOf(right, m)] : [right, numberOf(left, m)]
    if (q.kind === "quantity" && x !== null && (op === "*" || (op === "/" && left.kind === "quantity"))) return { ...q, value: computed(op, q.value, x), origin: site.span }
  }
  return mismatch(op, left, right, site, m)
}

// ---- mixtures

function isMixable(value: Value): boolean {
  return value.kind === "mix" || (value.kind === "artifact" && value.type.is === "tokens")
}

function asMix(value: Value): MixValue | null {
  if (value.kind === "mix") return value
  if (value.kind !== "artifact" || value.type.is !== "tokens") return null
  return { kind: "mix", items: [{ share: float(1), data: value, easiest: null }], origin: value.origin }
}

function mixes(op: Arithmetic, left: Value, right: Value, site: OperatorSite, m: Machine): Value {
  const [a, b] = [asMix(left), asMix(right)]
  if (op === "+" && a !== null && b !== null) return { kind: "mix", items: [...a.items, ...b.items], origin: site.span }
  const [mix, x] = a !== null ? [a, right] : [b, left]
  if (op === "*" && mix !== null && isNumber(x)) {
    return { kind: "mix", items: mix.items.map((i) => ({ ...i, share: arithmetic("*", i.share, x, site.span, m) })), origin: site.span }
  }
  return mismatch(op, left, right, site, m)
}

export function mismatch(op: BinaryOp, left: Value, right: Value, site: OperatorSite, m: Machine): Value {
  const help = op === "+" && left.kind === "string" ? "write `\"{a}{b}\"` to join texts" : (left.kind === "spec" || right.kind === "spec") ? "a specification has no value; make it a `part` and call that" : undefined
  return m.report(diagnostic("SLM2112", site.opSpan, `\`${op}\` does not take ${kindOf(left, m)} and ${kindOf(right, m)}`, {
    labels: [{ span: site.left.span, message: kindOf(left, m) }, { span: site.right.span, message: kindOf(right, m) }],
    ...(help === undefined ? {} : { help }),
  }))
}
