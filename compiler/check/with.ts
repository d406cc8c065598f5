import type { Expr, WithExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { addressOf, boundNames } from "./address.ts"
import { kindOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { error } from "./make.ts"
import { initialWeights } from "./initial.ts"
import { asSpec } from "./replace.ts"
import { inner } from "./scopes.ts"
import { didYouMean, listed } from "./suggest.ts"
import { coerce, evaluateAs } from "./types.ts"
import type { AddressValue, Replacement, Scope, SpecValue, Value } from "./value.ts"

/**
 * `spec with { dim: 96, at blocks[*].attn.q: base => LoRA(base, rank: 8) }`: other arguments, other parts. Of weights it makes weights: those
 * of the changed model, which go on from them.
 */
export function evaluateWith(expr: WithExpr, scope: Scope, m: Machine): Value {
  const value = evaluate(expr.base, scope, m)
  const base = asSpec(value, m)
  if (base === null) {
    for (const f of expr.fields) evaluate(f.value, scope, m)
    if (value.kind === "error" || value.kind === "unknown") return value
    return m.report(diagnostic("SLM2110", expr.base.span, `\`with\` changes a specification, a part or weights, not ${kindOf(value, m)}`, value.kind === "template" ? { help: `\`${value.code.name.name}\` must be called first` } : {}))
  }
  const args = new Map(base.args)
  let good = true
  for (const field of expr.fields) {
    const given = argument(base, field.name.name, field, scope, m)
    good &&= given.kind !== "error"
    args.set(field.name.name, given)
  }
  const ats: Replacement[] = []
  for (const at of expr.ats) {
    const found = replacements(at, scope, m)
    good &&= found !== null
    ats.push(...(found ?? []))
  }
  if (!good) return error
  const changed: SpecValue = { ...base, args, ats: [...base.ats, ...ats], origin: expr.span }
  return value.kind === "artifact" ? initialWeights(changed, { from: value }, expr.span, m) : changed
}

/** One for each address; null: a mistake was reported. */
function replacements(at: WithExpr["ats"][number], scope: Scope, m: Machine): readonly Replacement[] | null {
  const found = addressOf(at.address, scope, m)
  const addresses = (found.kind === "list" ? found.items : [found]).filter((a): a is AddressValue => a.kind === "address")
  if (addresses.length === 0) return null
  const replaced = addresses.map((address): Replacement => ({ address, replace: replacementOf(address, at.value, scope, m) }))
  return replaced.some((r) => r.replace.kind === "error") ? null : replaced
}

/** What stands behind `at`; a function of the indices that its address leaves open. */
function replacementOf(address: AddressValue, expr: Expr, scope: Scope, m: Machine): Value {
  const names = boundNames(address)
  const value = names.length === 0 ? evaluate(expr, scope, m) : null
  if (value !== null && value.kind !== "tensor") return value
  // A tensor is evaluated again where there are numbers: a function that does not look at what it is given.
  const params = (names.length === 0 ? ["_"] : names).map((name) => ({ name, span: expr.span }))
  return { kind: "closure", name: null, code: { kind: "lambda", span: expr.span, params, body: expr }, scope, origin: expr.span }
}

function argument(base: SpecValue, name: string, field: WithExpr["fields"][number], scope: Scope, m: Machine): Value {
  const { code, scope: home } = base.template
  const param = code.params.find((p) => p.name.name === name)
  if (param === undefined) {
    const names = code.params.map((p) => p.name.name)
    evaluate(field.value, scope, m)
    return m.report(diagnostic("SLM2014", field.name.span, `\`${code.name.name}\` has no parameter \`${name}\``, { help: didYouMean(name, names) ?? `it has ${listed(names)}` }))
  }
  const value = evaluateAs(field.value, param.type, scope, m)
  return coerce(value, param.type, { name, what: `\`${name}\` of \`${code.name.name}\``, at: field.value.span, scope: inner(home, base.args), axes: new Map() }, m)
}
