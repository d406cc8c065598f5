/** Expressions as WGSL: one thread computes one point. */
import type { DType } from "../graph/node.ts"
import type { Guard, Index } from "../kernel/index.ts"
import type { BinaryOp, Buffer, Combine, Expr, UnaryOp } from "../kernel/ir.ts"
import { cFloat } from "./c-index.ts"

/** How a shader reads and writes buffers; names are given in the order of use, so that equal kernels have equal texts. */
export interface Memory {
  load(buffer: Buffer, place: string): string
  store(buffer: Buffer, place: string, value: string): string
}

export const wgslTypes = { f32: "f32", i32: "i32", bool: "bool" } as const satisfies { [D in DType]: string }

/** What one word of the arena holds, as a value of the type, and the other way round. */
export const fromWord = { f32: (w: string) => `bitcast<f32>(${w})`, i32: (w: string) => `bitcast<i32>(${w})`, bool: (w: string) => `(${w} != 0u)` } as const satisfies { [D in DType]: (word: string) => string }
export const toWord = { f32: (x: string) => `bitcast<u32>(${x})`, i32: (x: string) => `bitcast<u32>(${x})`, bool: (x: string) => `select(0u, 1u, ${x})` } as const satisfies { [D in DType]: (value: string) => string }

export function wgslFloat(x: number): string {
  const value = Math.fround(x)
  if (Number.isNaN(value)) return "nan()"
  if (!Number.isFinite(value)) return value > 0 ? "inf()" : "(-inf())"
  // Nine digits of the largest number are beyond it.
  const text = Math.abs(value) > 3.4e38 ? `${value}f` : cFloat(value)
  return text.startsWith("-") ? `(${text})` : text
}

export function constantText(value: number, dtype: DType): string {
  return dtype === "f32" ? wgslFloat(value) : dtype === "i32" ? `i32(${value | 0})` : value === 0 ? "false" : "true"
}

const call = (name: string) => (_: DType, a: string): string => `${name}(${a})`

const unary = {
  neg: (_, a) => `(-${a})`, not: (_, a) => `(!${a})`, abs: call("abs"), sign: (dtype, a) => (dtype === "i32" ? `sign(${a})` : `sign_f32(${a})`),
  exp: call("exp_f32"), log: call("log_f32"), sqrt: call("sqrt"), rsqrt: call("rsqrt_f32"), sin: call("sin_f32"), cos: call("cos_f32"), tanh: call("tanh_f32"), erf: call("erf_f32"),
  sigmoid: call("sigmoid_f32"), floor: call("floor"), round: call("round"), narrow_f16: call("narrow_f16"), narrow_bf16: call("narrow_bf16"),
} as const satisfies { [O in UnaryOp]: (dtype: DType, a: string) => string }

const infix = (operator: string) => (_: DType, a: string, b: string): string => `(${a} ${operator} ${b})`

const binary = {
  add: infix("+"), sub: infix("-"), mul: infix("*"), lt: infix("<"), le: infix("<="), eq: infix("=="), and: infix("&"), or: infix("|"),
  div: (dtype, a, b) => (dtype === "f32" ? `(${a} / ${b})` : `div_i32(${a}, ${b})`),
  pow: (dtype, a, b) => `pow_${dtype}(${a}, ${b})`, mod: (dtype, a, b) => `mod_${dtype}(${a}, ${b})`,
  max: (dtype, a, b) => (dtype === "f32" ? `max_f32(${a}, ${b})` : `max(${a}, ${b})`), min: (dtype, a, b) => (dtype === "f32" ? `min_f32(${a}, ${b})` : `min(${a}, ${b})`),
} as const satisfies { [O in BinaryOp]: (dtype: DType, a: string, b: string) => string }

function castText(from: DType, to: DType, a: string): string {
  if (to === "bool") return `(${a} != ${from === "f32" ? "0.0" : "0"})`
  if (from === "bool") return to === "i32" ? `select(0, 1, ${a})` : `select(0.0, 1.0, ${a})`
  return to === "f32" ? `f32(${a})` : `trunc_i32(${a})`
}

export function identityText(combine: Combine, dtype: DType): string {
  if (combine === "sum") return dtype === "f32" ? "0.0" : "0"
  return dtype === "f32" ? "(-inf())" : "i32(-2147483648)"
}

export function combinedText(combine: Combine, dtype: DType, a: string, b: string): string {
  return combine === "sum" ? `${a} + ${b}` : dtype === "f32" ? `max_f32(${a}, ${b})` : `max(${a}, ${b})`
}

/** Lines of one scope and what has been computed there. */
export interface Scope {
  readonly lines: string[]
  readonly names: Map<Expr, string>
  readonly indent: string
  readonly outer: Scope | null
  /** The variable that exists in this scope but not in the outer one. */
  readonly own: "r" | "j" | "k"
}

export interface Emitter {
  readonly memory: Memory
  /** How variables are written. */
  readonly variables: Readonly<Record<string, string>>
  next: number
}

export function innerScope(outer: Scope | null, own: Scope["own"], indent: string): Scope {
  return { lines: [], names: new Map(), indent, outer, own }
}

/** The name of the value, computed in the outermost scope where it can be. */
export function emit(m: Emitter, x: Expr, scope: Scope): string {
  for (let at: Scope | null = scope; at !== null; at = at.outer) {
    const known = at.names.get(x)
    if (known !== undefined) return known
  }
  let home = scope
  while (home.outer !== null && !x.depends.has(home.own)) home = home.outer
  switch (x.is) {
    case "constant": return constantText(x.value, x.dtype)
    case "load": return emitLoad(m, x, home)
    case "fold": return emitFold(m, x, home)
    case "reduced": throw new Error("render: a reduction is out of place")
    default: return bind(m, x, home, textOf(m, x, home))
  }
}

function bind(m: Emitter, x: Expr, scope: Scope, value: string): string {
  const name = `t${m.next++}`
  scope.lines.push(`${scope.indent}let ${name} = ${value};`)
  scope.names.set(x, name)
  return name
}

function textOf(m: Emitter, x: Exclude<Expr, { is: "constant" | "load" | "fold" | "reduced" }>, scope: Scope): string {
  const of = (part: Expr): string => emit(m, part, scope)
  switch (x.is) {
    case "index": return indexText(m, x.index, scope)
    case "unary": return unary[x.op](x.dtype, of(x.x))
    case "binary": return binary[x.op](x.x.dtype, of(x.x), of(x.y))
    case "select": return `select(${of(x.no)}, ${of(x.yes)}, ${of(x.condition)})`
    case "cast": return castText(x.x.dtype, x.dtype, of(x.x))
    case "guarded": return `select(${of(x.no)}, ${of(x.yes)}, ${guardText(m, x.guards, scope)})`
    case "random": return `random_f32(${of(x.seed)}, ${x.stream >>> 0}u, ${of(x.step)}, ${of(x.row)}, ${indexText(m, x.element, scope)})`
  }
}

function emitLoad(m: Emitter, x: Extract<Expr, { is: "load" }>, scope: Scope): string {
  const place = indexText(m, x.index, scope)
  const value = m.memory.load(x.buffer, place)
  if (x.guards.length === 0) return bind(m, x, scope, value)
  const condition = guardText(m, x.guards, scope)
  const name = `t${m.next++}`
  scope.lines.push(`${scope.indent}var ${name} = ${constantText(0, x.dtype)};`, `${scope.indent}if (${condition}) { ${name} = ${value}; }`)
  scope.names.set(x, name)
  return name
}

/** Trips that read before any of them adds, so that a thread waits for memory once in so many. */
const together = 8

function emitFold(m: Emitter, x: Extract<Expr, { is: "fold" }>, scope: Scope): string {
  const name = `t${m.next++}`
  const { indent } = scope
  const combined = (value: string): string => `${name} = ${combinedText(x.combine, x.dtype, name, value)};`
  scope.lines.push(`${indent}var ${name} = ${identityText(x.combine, x.dtype)};`)
  const whole = x.body.is === "load" && x.count >= together ? x.count - (x.count % together) : 0
  if (whole > 0) {
    const values = Array.from({ length: together }, (_, i) => `v${i}`)
    const inner = innerScope(scope, "k", `${indent}    `)
    const body = emit(m, x.body, inner)
    scope.lines.push(
      `${indent}for (var from_k = 0; from_k < ${whole}; from_k += ${together}) {`, ...values.map((value) => `${indent}  var ${value}: ${wgslTypes[x.dtype]};`),
      ...values.flatMap((value, i) => [`${indent}  {`, `${indent}    let k = from_k + ${i};`, ...inner.lines, `${indent}    ${value} = ${body};`, `${indent}  }`]),
      ...values.map((value) => `${indent}  ${combined(value)}`), `${indent}}`,
    )
  }
  if (whole < x.count) {
    const inner = innerScope(scope, "k", `${indent}  `)
    const body = emit(m, x.body, inner)
    scope.lines.push(`${indent}for (var k = ${whole}; k < ${x.count}; k++) {`, ...inner.lines, `${inner.indent}${combined(body)}`, `${indent}}`)
  }
  scope.names.set(x, name)
  return name
}

export function indexText(m: Emitter, index: Index, scope: Scope): string {
  const terms = index.terms.map(({ times, atom }) => {
    const inner = atom.is === "var" ? m.variables[atom.name] ?? atom.name
      : atom.is === "value" ? emit(m, atom.expr, scope)
      : `((${indexText(m, atom.of, scope)}) ${atom.is === "div" ? "/" : "%"} ${atom.by})`
    return times === 1 ? inner : `${times < 0 ? `(${times})` : times} * ${inner}`
  })
  if (index.base !== 0 || terms.length === 0) terms.push(index.base < 0 ? `(${index.base})` : String(index.base))
  return terms.join(" + ")
}

export function guardText(m: Emitter, guards: readonly Guard[], scope: Scope): string {
  if (guards.length === 0) return "true"
  return guards.map(({ index, low, high }) => {
    const place = indexText(m, index, scope)
    return high === low + 1 ? `(${place}) == ${low}` : `(${place}) >= ${low} && (${place}) < ${high}`
  }).join(" && ")
}
