/** Tensor types: binding capital axes, comparing sizes, and saying where the two sides came from. */
import type { Expr, NamedType, TensorType, TypeExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import type { DType } from "../graph/node.ts"
import { kindOf, originLabels, showShape, showSize } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { error, int, tensor } from "./make.ts"
import type { Poly } from "./poly.ts"
import { add, constant, constantOf, mul, sub, symbol, symbolsOf, vocabulariesDiffer } from "./poly.ts"
import { inner } from "./scopes.ts"
import type { Want } from "./types.ts"
import { refuse } from "./types.ts"
import type { Dim, Scope, TensorValue, Value } from "./value.ts"
import { vocabularyMistake } from "./vocabularies.ts"

export const dtypes: Readonly<Record<TensorType["dtype"], DType>> = { float: "f32", int: "i32", bool: "bool", ids: "i32" }

/** Whether a name of a dimension is quantified per call (`B`) and not a compile-time integer (`dim`). */
export function isCapital(name: string): boolean {
  return /^[A-Z]/.test(name)
}

// ---- arguments against tensor types

export function coerceTensor(value: Value, type: TensorType, want: Want, m: Machine): Value {
  if (value.kind !== "tensor") return refuse(value, type, want, m)
  if (value.dtype !== dtypes[type.dtype]) return refuse(value, type, want, m)
  const leading = type.dims[0]?.kind === "wildcard"
  const dims = leading ? type.dims.slice(1) : type.dims
  if (leading ? value.shape.length < dims.length : value.shape.length !== dims.length) {
    return m.report(diagnostic("SLM2105", want.at, `${want.what} has ${axesCount(dims.length, leading)}, not ${value.shape.length}: ${wantedShape(type, want, m)} and ${showShape(value.shape, m)}`, {
      labels: originLabels(value.shape, m, want.at),
    }))
  }
  const shape = [...value.shape]
  const offset = shape.length - dims.length
  for (const [i, expr] of dims.entries()) {
    const found = shape[offset + i] as Dim
    const matched = matchDim(found, expr, want, m)
    if (matched === null) return error
    if (matched.mistake !== null) return sizeMistake(value, type, found, matched.mistake, want, m)
    shape[offset + i] = matched.dim
  }
  const vocab = type.of === null ? value.vocab : matchVocabulary(value, type.of, want, m)
  return vocab === "mistake" ? error : { ...value, shape, vocab }
}

function axesCount(n: number, more: boolean): string {
  return `${more ? "at least " : ""}${n === 0 ? "no axes" : n === 1 ? "one axis" : `${n} axes`}`
}

/** null: a mistake in the type itself, which has been reported. */
function matchDim(found: Dim, expr: Expr, want: Want, m: Machine): { readonly dim: Dim; readonly mistake: Dim | null } | null {
  if (expr.kind === "wildcard") return { dim: found, mistake: null }
  if (expr.kind === "name" && isCapital(expr.name) && !want.axes.has(expr.name)) {
    want.axes.set(expr.name, found)
    return { dim: found, mistake: null }
  }
  const wanted = sizeOf(expr, found, want.scope, want.axes, m)
  if (wanted === null) return null
  if (wanted === "unknown") return { dim: found, mistake: null }
  const order = vocabulariesDiffer(found.size, wanted.size) ? "different" : m.compare(found.size, wanted.size)
  if (order === "different") return { dim: found, mistake: wanted }
  return { dim: order === "later" && constantOf(wanted.size) !== null ? wanted : found, mistake: null }
}

/**
 * The size that an expression of a tensor type stands for. One capital that is not bound yet is solved for:
 * `[B, T + 1]` against 129 makes T 128.
 */
function sizeOf(expr: Expr, found: Dim | null, scope: Scope, axes: Map<string, Dim>, m: Machine): Dim | "unknown" | null {
  const free = capitalsIn(expr).filter((name) => !axes.has(name))
  const stand = new Map(free.map((name) => [name, symbol(`axis ${name}`, name)]))
  const names = new Map<string, Value>([...axes].map(([name, d]) => [name, int(d.size, d.origin)]))
  for (const [name, poly] of stand) names.set(name, int(poly))
  const value = evaluate(expr, inner(scope, names), m)
  if (value.kind === "error") return null
  if (value.kind === "unknown") return "unknown"
  if (value.kind !== "int") {
    m.report(diagnostic("SLM2110", expr.span, `the size of an axis is an integer, not ${kindOf(value, m)}`))
    return null
  }
  const [name] = free
  if (name === undefined) return { size: value.poly, origin: value.origin }
  const rest = sub(value.poly, stand.get(name) as Poly)
  if (free.length > 1 || found === null || symbolsOf(rest).some((s) => s.id.startsWith("axis "))) return "unknown"
  axes.set(name, { size: sub(found.size, rest), origin: found.origin })
  return found
}

export function capitalsIn(expr: Expr): readonly string[] {
  switch (expr.kind) {
    case "name": return isCapital(expr.name) ? [expr.name] : []
    case "binary": return [...new Set([...capitalsIn(expr.left), ...capitalsIn(expr.right)])]
    case "unary": return capitalsIn(expr.operand)
    default: return []
  }
}

/** All capital axes a type mentions. */
export function capitalsOf(type: TypeExpr | null): readonly string[] {
  if (type === null) return []
  switch (type.kind) {
    case "optional": case "list": return capitalsOf(type.of)
    case "record": return type.fields.flatMap((f) => capitalsOf(f.type))
    case "tensor": return [...type.dims, ...(type.of === null ? [] : [type.of])].flatMap(capitalsIn)
    case "named": return (type.dims ?? []).flatMap(capitalsIn)
    case "function": case "oneof": return []
  }
}

function wantedShape(type: TensorType, want: Want, m: Machine): string {
  const parts = type.dims.map((expr) => {
    if (expr.kind === "wildcard") return ".."
    const free = capitalsIn(expr).some((name) => !want.axes.has(name))
    const size = free ? null : sizeOf(expr, null, want.scope, want.axes, m)
    return size === null || size === "unknown" ? m.session.sources.get(expr.span.source)?.text.slice(expr.span.start, expr.span.end) ?? "?" : showSize(size.size, m)
  })
  return `[${parts.join(", ")}]`
}

function sizeMistake(value: TensorValue, type: TensorType, found: Dim, wanted: Dim, want: Want, m: Machine): Value {
  if (vocabulariesDiffer(found.size, wanted.size)) return vocabularyMistake(found, wanted, `${want.what} is of another vocabulary`, want.at, m)
  return m.report(diagnostic("SLM2102", want.at, `${want.what} is ${wantedShape(type, want, m)}, not ${showShape(value.shape, m)}`, {
    label: `${showSize(found.size, m)} instead of ${showSize(wanted.size, m)}`, labels: originLabels([found, wanted], m, want.at),
  }))
}

// ---- vocabularies

function matchVocabulary(value: TensorValue, of: Expr, want: Want, m: Machine): Dim | null | "mistake" {
  const wanted = sizeOf(of, value.vocab, want.scope, want.axes, m)
  if (wanted === null) return "mistake"
  if (wanted === "unknown" || value.vocab === null) return wanted === "unknown" ? value.vocab : wanted
  if (m.compare(value.vocab.size, wanted.size) !== "different" && !vocabulariesDiffer(value.vocab.size, wanted.size)) return value.vocab
  vocabularyMistake(value.vocab, wanted, `${want.what} has ids of another vocabulary`, want.at, m)
  return "mistake"
}

// ---- records of sequences, symbols

/** `Sequence[B, T]`: a record with `positions` and `segments`. */
export function sequenceRecord(value: Value, type: NamedType, want: Want, m: Machine): Value {
  if (value.kind !== "record") return refuse(value, type, want, m)
  const fields = new Map(value.fields)
  const ids: TensorType = { kind: "tensor", span: type.span, dtype: "int", of: null, dims: type.dims ?? [] }
  for (const name of ["positions", "segments"]) {
    const field = value.fields.get(name)
    if (field === undefined) return refuse(value, type, want, m, { notes: [`it has no field \`${name}\``] })
    if (type.dims === null || field.kind === "unknown") continue
    const fitted = coerceTensor(field, ids, { ...want, what: `field \`${name}\` of ${want.what}` }, m)
    if (fitted.kind === "error") return fitted
    fields.set(name, fitted)
  }
  return { ...value, fields }
}

/** A tensor of the declared type: capitals that are not bound become rigid symbols. */
export function symbolTensor(type: TensorType, at: Span, scope: Scope, axes: Map<string, Dim>, m: Machine): Value {
  const leading = type.dims[0]?.kind === "wildcard"
  for (const name of [...type.dims, ...(type.of === null ? [] : [type.of])].flatMap(capitalsIn)) {
    if (!axes.has(name)) axes.set(name, { size: symbol(`${at.source}:${scope.module}:${name}`, name, { rigid: true, origin: at }), origin: at })
  }
  const named = (leading ? type.dims.slice(1) : type.dims).map((expr) => sizeOf(expr, null, scope, axes, m))
  const shape = [...(leading ? anyAxes(at) : []), ...named]
  const vocab = type.of === null ? null : sizeOf(type.of, null, scope, axes, m)
  if (shape.some((d) => d === null) || (type.of !== null && vocab === null)) return error
  if (shape.some((d) => d === "unknown")) return { kind: "unknown", type: "tensor", origin: at }
  return tensor(dtypes[type.dtype], shape as Dim[], null, at, vocab === "unknown" ? null : vocab)
}

/** `..` under check: two axes that equal only themselves, the same for every `..`. */
function anyAxes(at: Span): readonly Dim[] {
  return [0, 1].map((i) => ({ size: symbol(`..${i}`, i === 0 ? ".." : "..'", { rigid: true, origin: at }), origin: at }))
}

/** Elements of a shape. */
export function elements(shape: readonly Dim[]): Poly {
  return shape.reduce((n, d) => mul(n, d.size), constant(1))
}

export function plus(d: Dim, n: number): Dim {
  return { size: add(d.size, constant(n)), origin: d.origin }
}
