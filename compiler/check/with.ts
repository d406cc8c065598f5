import type { WithExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { addressOf } from "./address.ts"
import { kindOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { error } from "./make.ts"
import { inner } from "./scopes.ts"
import { didYouMean, listed } from "./suggest.ts"
import { coerce, evaluateAs } from "./types.ts"
import type { Scope, SpecValue, Value } from "./value.ts"

/** `spec with { dim: 96, at blocks[*].attn.q: base => LoRA(base, rank: 8) }`: other arguments, other parts. */
export function evaluateWith(expr: WithExpr, scope: Scope, m: Machine): Value {
  const base = evaluate(expr.base, scope, m)
  if (base.kind !== "spec") {
    for (const f of expr.fields) evaluate(f.value, scope, m)
    if (base.kind === "error" || base.kind === "unknown") return base
    return m.report(diagnostic("SLM2110", expr.base.span, `\`with\` changes a specification, not ${kindOf(base, m)}`, base.kind === "template" ? { help: `\`${base.code.name.name}\` must be called first` } : {}))
  }
  const args = new Map(base.args)
  let good = true
  for (const field of expr.fields) {
    const value = argument(base, field.name.name, field, scope, m)
    good &&= value.kind !== "error"
    args.set(field.name.name, value)
  }
  const ats = expr.ats.flatMap((a) => {
    const address = addressOf(a.address, scope, m)
    const replace = evaluate(a.value, scope, m)
    if (address.kind === "address" && replace.kind !== "error") return [{ address, replace }]
    good = false
    return []
  })
  return good ? { ...base, args, ats: [...base.ats, ...ats], origin: expr.span } : error
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
