/** Calls of instances and of trained weights: evaluating `forward`. */
import type { Definition, Forward } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import * as ops from "../graph/ops.ts"
import type { Given } from "./arguments.ts"
import { bindArguments } from "./arguments.ts"
import type { Site } from "./calls.ts"
import { current } from "./again.ts"
import { axisNames, checkResult, entered } from "./calls.ts"
import { evaluate } from "./evaluate.ts"
import { joinPath } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { moved } from "./machine.ts"
import { error } from "./make.ts"
import { symbol } from "./poly.ts"
import { forgotten } from "./reach.ts"
import { inner } from "./scopes.ts"
import { capitalsOf } from "./shapes.ts"
import { listed } from "./suggest.ts"
import { trainedInstance } from "./trained.ts"
import type { ArtifactValue, InstanceValue, RecordValue, Value } from "./value.ts"

export function forwardOf(code: Definition): Forward | null {
  return code.members.find((member): member is Forward => member.kind === "forward") ?? null
}

export function callInstance(callee: InstanceValue, given: readonly Given[], site: Site, m: Machine): Value {
  const instance = current(callee, m)
  const { code } = instance.spec.template
  const forward = forwardOf(code)
  if (forward === null) return m.report(diagnostic("SLM2115", site.callee, `\`${code.name.name}\` has no \`forward\``))
  const values = evaluated(given, m)
  const spread = spreadRecord(values, forward, code, m)
  if (spread === "mistake") return error
  const bound = bindArguments({ params: forward.params, what: `\`${code.name.name}\``, scope: instance.scope, given: spread ?? values, site }, m)
  if (bound === null) return error
  for (const p of forward.params) for (const name of capitalsOf(p.type)) {
    if (!bound.axes.has(name)) bound.axes.set(name, { size: symbol(`${site.span.source}:${site.span.start}:${name}`, name), origin: null })
  }
  const inside = entered(code.name.name, forward, bound, site, moved(m, { onDevice: true }), joinPath(instance.role, instance.path))
  if (inside === null || [...bound.args.values()].some((v) => v.kind === "error")) return error
  const scope = inner(inner(instance.scope, axisNames(bound.axes)), bound.args)
  const result = evaluate(forward.body, scope, inside)
  const at = forward.body.kind === "block" ? forward.body.result.span : forward.body.span
  const value = checkResult(result, forward.returns, `what \`${code.name.name}\` returns`, at, scope, bound.axes, inside)
  m.tap?.(instance, bound.args.get(forward.params[0]?.name.name ?? "") ?? error, value)
  return value
}

function evaluated(given: readonly Given[], m: Machine): readonly Given[] {
  return given.map((g) => (g.value !== null || g.expr === null ? g : { ...g, value: evaluate(g.expr, g.scope, m) }))
}

/** One record in place of the arguments: every parameter takes the field of its name. null: they are ordinary arguments. */
function spreadRecord(given: readonly Given[], forward: Forward, code: Definition, m: Machine): readonly Given[] | null | "mistake" {
  const [only] = given
  if (given.length !== 1 || only === undefined || only.name !== null || only.value?.kind !== "record") return null
  const fields = only.value.fields
  const needed = forward.params.filter((p) => p.default === null && p.type?.kind !== "optional").map((p) => p.name.name)
  const missing = needed.filter((name) => !fields.has(name))
  const first = forward.params[0]?.type
  if (missing.length > 0 && (first === null || first === undefined || first.kind === "record" || (first.kind === "named" && first.name !== "Layer"))) return null
  if (missing.length > 0) {
    m.report(diagnostic("SLM2015", only.span, `\`${code.name.name}\` needs ${listed(missing)}`, { notes: [`the record has ${listed([...fields.keys()])}`] }))
    return "mistake"
  }
  return forward.params.flatMap((p): Given[] => {
    const value = fields.get(p.name.name)
    return value === undefined ? [] : [{ ...only, name: { name: p.name.name, span: only.span }, value, expr: null }]
  })
}

/** The role under which the weights of an artifact take part in another stage's graph: frozen, in evaluation mode. */
export function artifactRole(artifact: ArtifactValue): string {
  return `frozen:${artifact.stage.key.slice(0, 16)}${artifact.member === null ? "" : `.${artifact.member}`}`
}

/** The same machine in evaluation mode. */
export function inEvaluation(m: Machine): Machine {
  return m.lowering === null ? m : moved(m, { lowering: { ...m.lowering, training: false } })
}

/** `teacher(batch)`: evaluation mode, without gradients. */
export function callFrozen(artifact: ArtifactValue, given: readonly Given[], site: Site, m: Machine): Value {
  if (artifact.type.is !== "weights") return error
  const inside = inEvaluation(m)
  const instance = trainedInstance(artifact, inside)
  if (instance.kind === "error") return error
  const value = callInstance(instance, given, site, inside)
  return m.lowering === null ? forgotten(value) : stopped(value, m)
}

function stopped(value: Value, m: Machine): Value {
  const b = m.lowering?.builder
  if (b === undefined) return value
  if (value.kind === "tensor" && value.node !== null && value.dtype === "f32") return { ...value, node: ops.stopGradient(b, value.node) }
  if (value.kind === "list") return { ...value, items: value.items.map((v) => stopped(v, m)) }
  if (value.kind !== "record") return value
  const result: RecordValue = { ...value, fields: new Map([...value.fields].map(([k, v]) => [k, stopped(v, m)])) }
  return result
}
