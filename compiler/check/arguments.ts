/** Binding the arguments of a call to parameters: by position, by name, by default; each coerced to its declared type. */
import type { Expr, Ident, Parameter } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { remember } from "./again.ts"
import type { Site } from "./calls.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { error, none, record } from "./make.ts"
import { inner } from "./scopes.ts"
import { didYouMean, listed } from "./suggest.ts"
import { coerce, evaluateAs } from "./types.ts"
import type { Dim, Scope, Value } from "./value.ts"

/** An argument as it arrives: an expression with its scope, or a value. */
export interface Given {
  readonly name: Ident | null
  readonly expr: Expr | null
  readonly scope: Scope
  readonly value: Value | null
  readonly span: Span
}

export interface Bound {
  /** Every parameter, in order. */
  readonly args: ReadonlyMap<string, Value>
  /** Where those that were given stand. */
  readonly spans: ReadonlyMap<string, Span>
  readonly axes: Map<string, Dim>
}

export interface Signature {
  readonly params: readonly Parameter[]
  /** `` `Linear` `` */
  readonly what: string
  /** Where defaults and types are evaluated. */
  readonly scope: Scope
  readonly given: readonly Given[]
  readonly site: Site
}

/** null: a mistake was reported and nothing can be called. Arguments that are wrong by themselves are ErrorValues. */
export function bindArguments(signature: Signature, m: Machine): Bound | null {
  const assigned = assign(signature, m)
  const args = new Map<string, Value>()
  const spans = new Map<string, Span>()
  const axes = new Map<string, Dim>()
  const missing: string[] = []
  for (const p of signature.params) {
    const name = p.name.name
    const scope = inner(signature.scope, args)
    const given = assigned.named.get(name)
    if (p.rest) {
      args.set(name, record(new Map(assigned.rest.map((g) => [g.name?.name ?? "", coerceGiven(g, p, scope, axes, signature, m)]))))
    } else if (given !== undefined) {
      spans.set(name, given.expr?.span ?? given.span)
      args.set(name, coerceGiven(given, p, scope, axes, signature, m))
    } else if (p.default !== null) {
      const value = evaluateAs(p.default, p.type, scope, m)
      args.set(name, coerce(value, p.type, { name, what: `the default of \`${name}\``, at: p.default.span, scope, axes }, m))
    } else if (p.type?.kind === "optional") {
      args.set(name, none)
    } else {
      missing.push(name)
      args.set(name, error)
    }
  }
  if (!assigned.good) return null
  if (missing.length === 0) return { args, spans, axes }
  m.report(diagnostic("SLM2015", signature.site.callee, `${signature.what} needs ${listed(missing)}`, {
    notes: [needed(signature.params, m)],
  }))
  return null
}

function coerceGiven(given: Given, p: Parameter, scope: Scope, axes: Map<string, Dim>, signature: Signature, m: Machine): Value {
  const value = given.value ?? (given.expr === null ? error : evaluateAs(given.expr, p.type, given.scope, m))
  const name = p.rest ? given.name?.name ?? p.name.name : p.name.name
  const at = given.expr?.span ?? given.span
  const coerced = coerce(value, p.type, { name, what: `\`${name}\` of ${signature.what}`, at, scope, axes }, m)
  if (given.expr !== null && given.value === null) remember(coerced, given.expr, given.scope, m)
  return coerced
}

function assign(signature: Signature, m: Machine): { readonly named: Map<string, Given>; readonly rest: readonly Given[]; readonly good: boolean } {
  const plain = signature.params.filter((p) => !p.rest)
  const restParam = signature.params.find((p) => p.rest)
  const named = new Map<string, Given>()
  const rest: Given[] = []
  let position = 0
  let good = true
  const mistake = (code: string, g: Given, message: string, help?: string): void => {
    m.report(diagnostic(code, g.name?.span ?? g.span, message, help === undefined ? {} : { help }))
    if (g.expr !== null && g.expr.kind !== "name") evaluate(g.expr, g.scope, m)
    good = false
  }
  for (const g of signature.given) {
    if (g.name === null) {
      const p = plain[position++]
      if (p !== undefined) named.set(p.name.name, g)
      else if (position === plain.length + 1) mistake("SLM2016", g, `${signature.what} takes ${plain.length === 0 ? "no arguments" : `at most ${plain.length} argument${plain.length === 1 ? "" : "s"}`}`)
      continue
    }
    const { name } = g.name
    if (named.has(name) || rest.some((r) => r.name?.name === name)) mistake("SLM2017", g, `\`${name}\` is given twice`)
    else if (plain.some((p) => p.name.name === name)) named.set(name, g)
    else if (restParam !== undefined) rest.push(g)
    else mistake("SLM2014", g, `${signature.what} has no parameter \`${name}\``, didYouMean(name, plain.map((p) => p.name.name)) ?? (plain.length > 0 ? `it has ${listed(plain.map((p) => p.name.name))}` : undefined))
  }
  return { named, rest, good }
}

/** What a call takes; of long lists what it cannot do without. */
function needed(params: readonly Parameter[], m: Machine): string {
  const all = signatureText(params, m)
  const least = params.filter((p) => p.default === null && p.type?.kind !== "optional" && !p.rest)
  return all.length <= 160 || least.length === params.length ? `it takes ${all}` : `it takes at least ${signatureText(least, m)}`
}

export function signatureText(params: readonly Parameter[], m: Machine): string {
  const text = params.map((p) => m.session.sources.get(p.span.source)?.text.slice(p.span.start, p.span.end) ?? p.name.name)
  return `(${text.join(", ")})`
}
