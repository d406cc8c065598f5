import { diagnostic } from "../../../grammar/diagnostic.ts"
import { current } from "../again.ts"
import { kindOf } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { error, list, record } from "../make.ts"
import { seenBy } from "../statistics.ts"
import { trainedInstance } from "../trained.ts"
import type { CallSite, InstanceValue, Primitive, TensorValue, Value } from "../value.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, argSpan } from "./tensor-values.ts"

/** each_weight(model, beside, step): what `step(w, { name: … })` yields for every weight, beside what others have at its path. */
const eachWeight: Primitive = (args, site, m) => {
  const [model, beside, step] = [arg(args, "model"), arg(args, "beside"), arg(args, "step")]
  const weights = tensorsOf(model, "model", site, m)
  if (weights === null || beside.kind !== "record") return error
  const others = [...beside.fields].map(([name, value]) => [name, lookupIn(value, site, m)] as const)
  if (others.some(([, find]) => find === null)) return error
  const results: Value[] = []
  for (const [path, w] of weights) {
    const found = others.map(([name, find]): [string, Value | null] => [name, find?.(path) ?? null])
    if (found.some(([, value]) => value === null)) continue
    const made = m.apply(step, [w, record(new Map(found.flatMap(([name, value]) => (value === null ? [] : [[name, value] as const]))))], argSpan(site, "step"))
    if (made.kind === "error") return error
    results.push(made)
  }
  if (results.length > 0) return list(results, site.span)
  return m.report(diagnostic("SLM2107", argSpan(site, "beside"), "these have no weight in common"))
}

/** The weights of an instance, or of trained weights, by path. null: it has none, which was reported. */
function tensorsOf(value: Value, name: string, site: CallSite, m: Machine): ReadonlyMap<string, TensorValue> | null {
  const instance = value.kind === "instance" ? current(value, m) : value.kind === "artifact" && value.type.is === "weights" ? trainedInstance(value, m) : null
  if (instance === null) m.report(diagnostic("SLM2110", argSpan(site, name), `\`${name}\` of \`each_weight\` has weights, ${kindOf(value, m)} has none`))
  if (instance === null || instance.kind === "error") return null
  const found = new Map<string, TensorValue>()
  const prefix = instance.path === "" ? 0 : instance.path.length + 1
  const visit = (member: Value): void => {
    if (member.kind === "list") member.items.forEach(visit)
    else if (member.kind === "record") [...member.fields.values()].forEach(visit)
    else if (member.kind === "instance") visitInstance(member)
  }
  const visitInstance = (of: InstanceValue): void => {
    for (const [member, value] of of.members) {
      const weight = of.weights.get(member)
      if (weight === undefined) visit(value)
      else if (value.kind === "tensor" && weight.dtype === "f32") found.set(weight.path.slice(prefix), value)
    }
  }
  visitInstance(instance)
  return found
}

/** What something has for a path: weights a tensor, statistics a record. */
function lookupIn(value: Value, site: CallSite, m: Machine): ((path: string) => Value | null) | null {
  if (value.kind === "artifact" && value.type.is === "statistics") {
    return (path) => {
      const seen = seenBy(value, path, m)
      return seen.kind === "none" ? null : seen
    }
  }
  const weights = tensorsOf(value, "beside", site, m)
  return weights === null ? null : (path) => weights.get(path) ?? null
}

export const eachWeightPrimitives: PrimitiveTable = { each_weight: eachWeight }
