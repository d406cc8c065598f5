/** What choosing among models takes: their sizes, points of a space, and an order that is known once reports are. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import { lowerGeneration } from "../../graph/lower/forward.ts"
import { hash32, uniform } from "../../graph/random.ts"
import { cost } from "../../plan/cost.ts"
import { inOrder, nameOf, scoresOf, takenInOrder } from "../choice.ts"
import { display, kindOf } from "../describe.ts"
import { weightsOf } from "../instance.ts"
import type { Machine } from "../machine.ts"
import { place } from "../members.ts"
import { error, float, int, list, record, unknown } from "../make.ts"
import type { Poly } from "../poly.ts"
import { add, constant, mulAll } from "../poly.ts"
import { asSpec } from "../replace.ts"
import { limits } from "../session.ts"
import type { ArtifactValue, CallSite, Primitive, RecordValue, Value } from "../value.ts"
import { artifact, inRange } from "./data.ts"
import type { PrimitiveTable } from "./table.ts"

type Args = ReadonlyMap<string, Value>

const spanOf = (site: CallSite, name: string) => site.args.get(name) ?? site.span
const itemsOf = (args: Args, name: string): readonly Value[] => {
  const value = args.get(name)
  return value?.kind === "list" ? value.items : []
}

// ---- points

const combinations: Primitive = (args, site, m) => {
  const choices = args.get("choices")
  if (choices?.kind !== "record") return error
  let points: readonly (readonly (readonly [string, Value])[])[] = [[]]
  for (const [name, values] of choices.fields) {
    if (values.kind !== "list") return m.report(diagnostic("SLM2110", values.origin ?? spanOf(site, "choices"), `\`${name}\` lists the values to choose from, and this is ${kindOf(values, m)}`, { help: `a single one is a list, too: \`${name}: [${display(values, m) ?? "…"}]\`` }))
    if (values.items.length === 0) return m.report(diagnostic("SLM2303", values.origin ?? spanOf(site, "choices"), `\`${name}\` lists no value: there would be no point at all`))
    const count = points.length * values.items.length
    m.session.stepsLeft -= count
    if (count > limits.listLength) return m.report(diagnostic("SLM2400", spanOf(site, "choices"), "there are too many combinations", { notes: [`lists have at most ${limits.listLength.toLocaleString("en")} items`] }))
    points = points.flatMap((point) => values.items.map((value) => [...point, [name, value] as const]))
  }
  return list(points.map((point) => record(new Map(point), site.span)), site.span)
}

const randomNumber: Primitive = (args, site, m) => {
  const [seed, at] = ["seed", "place"].map((name) => { const value = args.get(name); return value?.kind === "int" ? m.known(value.poly) : null })
  if (seed === null || seed === undefined || at === null || at === undefined) return float(null, site.span)
  return float(uniform({ seed, stream: hash32("random_number"), step: 0, row: 0 }, at), site.span)
}

// ---- names

const called: Primitive = (args, site, m) => {
  const [point, make] = [args.get("point"), args.get("make")]
  if (point === undefined || make === undefined) return error
  const outer = m.session.called
  m.session.called = outer === null ? nameOf(point, m) : `${outer}, ${nameOf(point, m)}`
  const made = m.apply(make, [], spanOf(site, "make"))
  m.session.called = outer
  return made
}

// ---- sizes

const parametersOf: Primitive = (args, site, m) => {
  const spec = asSpec(args.get("model") ?? error, m)
  if (spec === null) return error
  const instance = m.instantiate(spec, "model", spanOf(site, "model"))
  if (instance.kind === "error") return error
  if (isOpen(instance)) return unknown("int", site.span)
  const sizes = weightsOf(instance).map(({ shape }): Poly => mulAll(shape.map((d) => d.size)))
  return int(sizes.reduce(add, constant(0)), site.span)
}

const flopsOf: Primitive = (args, site, m) => {
  const spec = asSpec(args.get("model") ?? error, m)
  const context = args.get("context")
  if (spec === null || context?.kind !== "int" || !inRange(args, "context", 1, Infinity, site, m)) return error
  const instance = m.instantiate(spec, "model", spanOf(site, "model"))
  if (instance.kind === "error") return error
  const vocab = m.known(m.unknownInt(artifact(args, "words").stage, "size", site.span).poly)
  const length = m.known(context.poly)
  if (vocab === null || length === null || isOpen(instance) || weightsOf(instance).some(({ shape }) => shape.some((d) => m.known(d.size) === null))) return unknown("int", site.span)
  const programs = lowerGeneration(m.session, spec, vocab, site.span)
  if ("code" in programs) return m.report(programs)
  return int(cost(programs(1, 1, length).program).flops, site.span)
}

/** Whether a choice that is not made yet decides on the parts or sizes of a model. */
function isOpen(value: Value): boolean {
  if (value.kind === "unknown") return true
  if (value.kind === "list") return value.items.some(isOpen)
  if (value.kind === "record") return [...value.fields.values()].some(isOpen)
  if (value.kind === "spec") return [...value.args.values()].some(isOpen)
  return value.kind === "instance" && [...value.spec.args.values(), ...value.members.values()].some(isOpen)
}

// ---- choosing

const ranking: Primitive = (args, site, m) => {
  const items = itemsOf(args, "among")
  const by = args.get("by")
  if (by === undefined || args.get("among")?.kind !== "list") return unknown("list", site.span)
  if (items.length === 0) return m.report(diagnostic("SLM2303", spanOf(site, "among"), "there is nothing to choose from"))
  const reports = items.filter((item): item is ArtifactValue => item.kind === "artifact")
  const later = (): Value => {
    m.session.undecided = true
    return list(items.map(() => unknown(place, site.span)), site.span)
  }
  if (reports.length < items.length) return later()
  if (!areDifferent(reports, itemsOf(args, "points"), site, m)) return error
  const scores = scoresOf(reports, by, spanOf(site, "by"), m)
  if (scores === null) return error
  const { stage } = m.stage("ranking", args, { is: "report", fields: [] }, site.span)
  if (scores.every((score) => score !== null)) return list(inOrder(scores).map((i) => int(i, site.span)), site.span)
  if (m.session.environment.facts.has(takenInOrder(stage.key))) return list(items.map((_, i) => int(i, site.span)), site.span)
  m.session.rankings.add(stage.key)
  return later()
}

/** Trials that are the same work: whatever their points say, it has no effect. */
function areDifferent(reports: readonly ArtifactValue[], points: readonly Value[], site: CallSite, m: Machine): boolean {
  const first = new Map<string, number>()
  for (const [i, { stage }] of reports.entries()) {
    const other = first.get(stage.key)
    if (other === undefined) {
      first.set(stage.key, i)
      continue
    }
    const [a, b] = [points[other], points[i]]
    const named = a === undefined || b === undefined ? "two of these reports" : nameOf(a, m) === nameOf(b, m) ? `two trials of \`${nameOf(a, m)}\`` : `the trials of \`${nameOf(a, m)}\` and \`${nameOf(b, m)}\``
    const fields = a?.kind === "record" && b?.kind === "record" ? differing(a, b, m) : []
    m.report(diagnostic("SLM2202", spanOf(site, "among"), `${named} are the same work`, {
      help: fields.length === 0 ? "list each value once" : `${fields.map((name) => `\`${name}\``).join(" and ")} ${fields.length === 1 ? "has" : "have"} no effect: use ${fields.length === 1 ? "it" : "them"} in the trial, or leave ${fields.length === 1 ? "it" : "them"} out`,
    }))
    return false
  }
  return true
}

function differing(a: RecordValue, b: RecordValue, m: Machine): readonly string[] {
  return [...a.fields].filter(([name, value]) => display(value, m) !== display(b.fields.get(name) ?? error, m)).map(([name]) => name)
}

export const searchPrimitives: PrimitiveTable = { combinations, called, ranking, parameters_of: parametersOf, flops_of: flopsOf, random_number: randomNumber }
