/** What a training is validated on: packed rows, or several sets of them by name; what is measured on each; and by what the best weights are chosen. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { sameRows } from "./curriculum.ts"
import { kindOf, within } from "./describe.ts"
import type { Machine } from "./machine.ts"
import { error, float, record } from "./make.ts"
import { isOnePart, isPacked } from "./primitives/data.ts"
import type { ArtifactValue, CallSite, FloatValue, Value } from "./value.ts"

type Args = ReadonlyMap<string, Value>

/** The name of the only set where `valid` is no record. */
export const onlySet = ""

/** The sets by name. */
export function validationSets(args: Args): ReadonlyMap<string, ArtifactValue> {
  const valid = args.get("valid")
  if (valid?.kind === "artifact") return new Map([[onlySet, valid]])
  return new Map(valid?.kind !== "record" ? [] : [...valid.fields].flatMap(([name, set]) => (set.kind === "artifact" ? [[name, set] as const] : [])))
}

/** What is measured on each set beside the loss: functions with the parameters of the loss. */
export function metricsOf(args: Args): ReadonlyMap<string, Value> {
  const metrics = args.get("metrics")
  return metrics?.kind === "record" ? metrics.fields : new Map()
}

/** The fact of a training that tells what was measured on a set: `valid`, `valid.prose`, `valid.accuracy`, `valid.prose.accuracy`. */
export function validFact(set: string, metric: string): string {
  return ["valid", set, metric].filter((part) => part !== "").join(".")
}

/** Every set has rows as those that are learned from. False: a mistake was reported. */
export function validationFits(args: Args, data: ArtifactValue, site: CallSite, m: Machine): boolean {
  const valid = args.get("valid")
  const at = site.args.get("valid") ?? site.span
  if (valid?.kind === "artifact") return isSet(valid, "`valid`", data, at, m)
  if (valid?.kind !== "record") return withoutValid(args, site, m)
  if (valid.fields.size === 0) {
    m.report(diagnostic("SLM2015", at, "`valid` names no data set", { help: "`valid: { prose: book.valid, poems: poems.valid }`, or leave it out" }))
    return false
  }
  for (const [name, set] of valid.fields) {
    if (set.kind === "error") return false
    const here = within(set, at)
    if (set.kind !== "artifact" || set.type.is !== "tokens") {
      m.report(diagnostic("SLM2110", here, `\`${name}\` of \`valid\` is rows of tokens, not ${kindOf(set, m)}`))
      return false
    }
    if (!isSet(set, `\`${name}\` of \`valid\``, data, here, m)) return false
  }
  return true
}

/** What only validations make use of. */
function withoutValid(args: Args, site: CallSite, m: Machine): boolean {
  const idle = ["metrics", "best"].find((name) => (args.get(name)?.kind ?? "none") !== "none")
  if (idle === undefined) return true
  m.report(diagnostic("SLM2202", site.args.get(idle) ?? site.span, `\`${idle}\` has no effect without \`valid\``, { help: "`valid: tokens.valid` is what it is measured on" }))
  return false
}

function isSet(set: ArtifactValue, what: string, data: ArtifactValue, at: Span, m: Machine): boolean {
  return isOnePart(set, what, at, m) && isPacked(set, at, m) && sameRows(data, set, { tokens: `${what} and \`data\` have tokens of two tokenizers`, rows: `${what} and \`data\` have rows`, at }, m)
}

// ---- what is measured

/** What was measured on all sets, as `best` and `validated` see it: `{ loss, accuracy }`, or such a record for each set. */
export function measured(args: Args, number: (set: string, metric: string) => FloatValue): Value {
  const of = (set: string): Value => record(new Map([["loss", number(set, "")], ...[...metricsOf(args).keys()].map((name) => [name, number(set, name)] as const)]))
  const sets = [...validationSets(args).keys()]
  return sets[0] === onlySet ? of(onlySet) : record(new Map(sets.map((set) => [set, of(set)] as const)))
}

/** `best` makes a number of what was measured. */
export function checkBest(args: Args, site: CallSite, m: Machine): void {
  const best = args.get("best")
  if (best === undefined || best.kind === "none") return
  const at = site.args.get("best") ?? site.span
  const keep = args.get("keep")
  if (keep?.kind === "symbol" && keep.name === "last") {
    m.report(diagnostic("SLM2202", at, "`best` has no effect with `keep: last`", { help: "leave one of the two out" }))
    return
  }
  const score = m.apply(best, [measured(args, () => float(null, at))], at)
  if (score.kind === "int" || score.kind === "float" || score.kind === "error" || score.kind === "unknown") return
  m.report(diagnostic("SLM2110", at, `which weights are best is decided by a number, not by ${kindOf(score, m)}`, { help: "`best: valid => valid.prose.loss`; the least is the best" }))
}

/** What the training that made `model` measured last on the weights that it kept. */
export function validatedOf(model: ArtifactValue, at: Span, m: Machine): Value {
  const { stage } = model
  if (stage.kind !== "train" || validationSets(stage.args).size === 0) {
    return m.report(diagnostic("SLM2110", at, `\`${stage.name}\` was not validated`, { notes: ["only what a training with `valid` yields was."], help: "`evaluate` measures any weights" }))
  }
  return stage.type.is === "weights" || stage.type.is === "roles" ? measured(stage.args, (set, metric) => m.metric(stage, validFact(set, metric), at)) : error
}
