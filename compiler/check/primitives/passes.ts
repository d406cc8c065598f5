/** `observe`, `rewrite` and `quantize`: passes over weights that depend on data, registered as stages. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import { matches } from "../address.ts"
import { addressedWeights, batchOf, subjectOf } from "../training.ts"
import type { Machine } from "../machine.ts"
import { dim, error, none, tensor } from "../make.ts"
import { kindOf } from "../describe.ts"
import { weightsOf } from "../instance.ts"
import { symbol } from "../poly.ts"
import { gather, seenBy } from "../statistics.ts"
import { storedAs } from "../trained.ts"
import { listed } from "../suggest.ts"
import { addressesIn } from "../training-weights.ts"
import type { ArtifactValue, CallSite, Dim, Primitive, Value } from "../value.ts"
import { artifact, inRange, isPacked, onePart } from "./data.ts"
import type { PrimitiveTable } from "./table.ts"

type Args = ReadonlyMap<string, Value>

const given = (args: Args, name: string): Value | null => {
  const value = args.get(name)
  return value === undefined || value.kind === "none" ? null : value
}
const place = (site: CallSite, name: string) => site.args.get(name) ?? site.span

const observe: Primitive = (args, site, m) => {
  if (!onePart(args, "data", site, m) || !isPacked(artifact(args, "data"), place(site, "data"), m) || !inRange(args, "batch", 1, Infinity, site, m)) return error
  const model = artifact(args, "model")
  if (model.type.is !== "weights") return error
  const asked = ["inputs", "outputs", "gradients"].filter((name) => given(args, name) !== null)
  if (asked.length !== 1) {
    return m.report(diagnostic("SLM2203", asked.length === 0 ? site.callee : place(site, asked[1] ?? ""), asked.length === 0 ? "nothing says what is gathered" : `${listed(asked)} are gathered one at a time`, { help: "give exactly one of `inputs`, `outputs` and `gradients`" }))
  }
  if (given(args, "loss") !== null && asked[0] !== "gradients") return m.report(diagnostic("SLM2202", place(site, "loss"), "`loss` has no effect without `gradients`"))
  const subject = subjectOf(model, "model", place(site, "model"), m)
  const batch = batchOf(args, site, m)
  if (subject === null || batch.kind === "error") return error
  const found = gather(args, subject, batch, (_, weights) => weights.map((w) => tensor("f32", w.shape, null, w.span)), site, m)
  if (found === null) return error
  const tensors = new Map([...found].map(([path, { shape }]): [string, readonly Dim[]] => [path, shape]))
  return m.stage("observe", args, { is: "statistics", spec: model.type.spec, tensors }, site.span)
}

/** A rule on matrices is tried on one of unknown size. */
function checkRule(args: Args, model: ArtifactValue, wanted: "tensor" | "record", site: CallSite, m: Machine): boolean {
  const by = given(args, "by")
  if (by === null) return true
  const statistics = given(args, "statistics")
  const subject = subjectOf(model, "model", site.span, m)
  const paths = subject === null ? [] : weightsOf(subject.instance).filter((w) => w.shape.length >= 2 && isChosen(args, w.path, w.shape.length)).map((w) => w.path)
  const seen = statistics?.kind !== "artifact" ? none : paths.map((path) => seenBy(statistics, path, m)).find((s) => s.kind !== "none") ?? none
  const shape = ["N", "K"].map((name) => dim(symbol(`rows ${name}`, name), site.span))
  const made = m.apply(by, [tensor("f32", shape, null, site.span), seen], place(site, "by"))
  if (made.kind === wanted || made.kind === "unknown") return true
  if (made.kind !== "error") m.report(diagnostic("SLM2110", place(site, "by"), `a rule of (w, seen) yields ${wanted === "tensor" ? "a tensor" : "a record of codes"}, not ${kindOf(made, m)}`))
  return false
}

const rewrite: Primitive = (args, site, m) => {
  const model = artifact(args, "model")
  const subject = subjectOf(model, "model", site.span, m)
  if (model.type.is !== "weights" || subject === null) return error
  if (!["at", "keep"].every((name) => addressedWeights(args.get(name), [subject], site.span, m))) return error
  const chosen = weightsOf(subject.instance).filter((w) => isChosen(args, w.path, w.shape.length))
  const coded = chosen.find((w) => storedAs(model, w.path, w.shape.length, m) !== null)
  if (coded !== undefined) return m.report(diagnostic("SLM2215", place(site, "model"), `\`${coded.path}\` is stored as codes, which cannot hold what is computed here`, { help: "`dequantize` the weights first" }))
  return checkRule(args, model, "tensor", site, m) ? m.stage("rewrite", args, model.type, site.span) : error
}

/** Matrices, unless `at` names others. */
export function isChosen(args: Args, path: string, rank: number): boolean {
  const [at, keep] = [addressesIn(args, "at"), addressesIn(args, "keep")]
  const chosen = at.length === 0 ? rank >= 2 : at.some((a) => matches(a, path, "below"))
  return chosen && !keep.some((a) => matches(a, path, "below"))
}

const quantize: Primitive = (args, site, m) => {
  const model = artifact(args, "model")
  const format = args.get("format")
  if (model.type.is !== "weights" || format?.kind !== "encoding") return error
  const [stored] = model.type.encodings
  if (stored !== undefined) return m.report(diagnostic("SLM2110", place(site, "model"), `these weights are stored as \`${stored.code.name.name}\` already`, { help: "quantise the weights they were made from" }))
  const subject = subjectOf(model, "model", site.span, m)
  if (subject === null || !addressedWeights(args.get("keep"), [subject], site.span, m) || !checkRule(args, model, "record", site, m)) return error
  return m.stage("quantize", args, { ...model.type, encodings: [format] }, site.span)
}

export const passPrimitives: PrimitiveTable = { observe, rewrite, store_as: quantize }
