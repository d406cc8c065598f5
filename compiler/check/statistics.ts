/** Statistics over data as values: `seen.blocks[i].mlp.up.second`; and how they are gathered. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import { matches, parsePath, pathsOf, reportUnmatched } from "./address.ts"
import { kindOf, showShape } from "./describe.ts"
import { artifactRole } from "./forward.ts"
import { joinPath, weightsOf } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { moved } from "./machine.ts"
import { list, none, record, tensor } from "./make.ts"
import { binary } from "./operators.ts"
import { symbolsOf } from "./poly.ts"
import { primitives } from "./primitives/table.ts"
import { defaultLoss } from "./training.ts"
import type { Subject } from "./training.ts"
import { lossOf } from "./loss-of.ts"
import { addressesIn } from "./training-weights.ts"
import type { ArtifactValue, CallSite, Dim, InstanceValue, LossValue, RecordValue, TensorValue, Value, WeightInfo } from "./value.ts"

// ---- as values

/** Everything that was gathered, as records and lists of the shape of the model. */
export function statisticsTree(artifact: ArtifactValue, m: Machine): RecordValue {
  const root: Branch = new Map()
  if (artifact.type.is !== "statistics") throw new Error(`check: ${artifact.stage.name} has no statistics`)
  for (const [path, shape] of artifact.type.tensors) {
    let at = root
    const segments = parsePath(path).map((s) => ("index" in s ? s.index : s.name))
    for (const segment of segments.slice(0, -1)) {
      const next = at.get(segment)
      const branch: Branch = next instanceof Map ? next : new Map()
      at.set(segment, branch)
      at = branch
    }
    at.set(segments.at(-1) ?? "", statistic(artifact, path, shape, m))
  }
  return record(fieldsOf(root))
}

type Branch = Map<string | number, Branch | TensorValue>

function fieldsOf(branch: Branch): ReadonlyMap<string, Value> {
  return new Map([...branch].map(([name, below]) => [String(name), below instanceof Map ? valueOf(below) : below]))
}

function valueOf(branch: Branch): Value {
  const indices = [...branch.keys()].filter((key) => typeof key === "number")
  if (indices.length === 0) return record(fieldsOf(branch))
  return list(Array.from({ length: Math.max(...indices) + 1 }, (_, i) => {
    const below = branch.get(i)
    return below === undefined ? none : below instanceof Map ? valueOf(below) : below
  }))
}

function statistic(artifact: ArtifactValue, path: string, shape: readonly Dim[], m: Machine): TensorValue {
  const info: WeightInfo = { path, shape, dtype: "f32", init: { kind: "init", how: "zeros", a: 0, origin: null }, span: artifact.stage.span }
  return tensor("f32", shape, m.lowering === null ? null : m.lowering.weight(artifactRole(artifact), info), artifact.origin)
}

/** What was gathered for a weight, or for the part that it belongs to: a record of tensors, or none. */
export function seenBy(artifact: ArtifactValue, weight: string, m: Machine): Value {
  if (artifact.type.is !== "statistics") return none
  const fields = new Map<string, Value>()
  for (const [path, shape] of artifact.type.tensors) {
    const [of, name] = cut(path)
    if (of === weight || of === cut(weight)[0]) fields.set(name, statistic(artifact, path, shape, m))
  }
  return fields.size === 0 ? none : record(fields)
}

/** A path without its last name, and that name. */
function cut(path: string): readonly [string, string] {
  const at = path.lastIndexOf(".")
  return [path.slice(0, Math.max(0, at)), path.slice(at + 1)]
}

// ---- gathering

type Args = ReadonlyMap<string, Value>

/** What `gradients` sees: the loss as it is lowered, or null where only shapes are asked for. */
export type GradientsOf = (loss: LossValue | TensorValue, weights: readonly WeightInfo[]) => readonly TensorValue[]

/** Everything that one batch adds, by path and field. null: a mistake was reported. */
export function gather(args: Args, subject: Subject, batch: Value, gradientsOf: GradientsOf, site: CallSite, m: Machine): ReadonlyMap<string, TensorValue> | null {
  const found = new Map<string, TensorValue>()
  let good = true
  const add = (path: string, what: string, value: Value, given: Value): void => {
    const made = m.apply(given, given.kind === "closure" && given.code.params.length === 2 ? [value, batch] : [value], site.args.get(what) ?? site.span)
    good = put(found, path, made, args, site.args.get(what) ?? site.span, m) && good
  }
  const seen = new Set<string>()
  const [inputs, outputs, gradients] = ["inputs", "outputs", "gradients"].map((name) => args.get(name)).map((f) => (f === undefined || f.kind === "none" ? null : f))
  const tap = (instance: InstanceValue, input: Value, output: Value): void => {
    if (instance.role !== subject.name || instance.trained !== undefined || !isChosen(args, instance, input)) return
    seen.add(instance.path)
    if (inputs) add(instance.path, "inputs", input, inputs)
    if (outputs) add(instance.path, "outputs", output, outputs)
  }
  const out = moved(m, gradients ? {} : { tap }).apply(subject.instance, [batch], site.args.get("model") ?? site.span)
  if (out.kind === "error") return null
  if (gradients) {
    const weights = weightsOf(subject.instance).filter((w) => w.dtype === "f32" && covered(args, w.path))
    const loss = args.get("loss")
    const value = loss === undefined || loss.kind === "none" ? defaultLoss(out, batch, site, m) : lossOf(m.apply(loss, [out, batch], site.span), site.span, m)
    if (value.kind !== "loss" && value.kind !== "tensor") return null
    for (const [i, g] of gradientsOf(value, weights).entries()) add(weights[i]?.path ?? "", "gradients", g, gradients)
    weights.forEach((w) => seen.add(w.path))
  }
  return good && reportUnseen(args, seen, subject, site, m) ? found : null
}

function covered(args: Args, path: string): boolean {
  const addresses = addressesIn(args, "at")
  return addresses.length === 0 || addresses.some((a) => matches(a, path, "below"))
}

/** Parts that an address names; else those with a matrix of their own that see numbers. */
function isChosen(args: Args, instance: InstanceValue, input: Value): boolean {
  const addresses = addressesIn(args, "at")
  if (addresses.length > 0) return addresses.some((a) => matches(a, instance.path, "whole"))
  return input.kind === "tensor" && input.dtype === "f32" && [...instance.weights.values()].some((w) => w.dtype === "f32" && w.shape.length >= 2)
}

function reportUnseen(args: Args, seen: ReadonlySet<string>, subject: Subject, site: CallSite, m: Machine): boolean {
  const missed = addressesIn(args, "at").filter((a) => ![...seen].some((path) => matches(a, path, "whole") || matches(a, path, "below")))
  for (const a of missed) reportUnmatched(a, pathsOf(subject.instance), `\`${subject.spec.name}\``, a.origin ?? site.span, m)
  if (seen.size === 0 && missed.length === 0) m.report(diagnostic("SLM2201", site.span, `no part of \`${subject.spec.name}\` has a matrix and sees numbers`, { help: "name parts: `at: [blocks[*].mlp]`" }))
  return missed.length === 0 && seen.size > 0
}

/** Adds the fields of a record to what was gathered at a path. */
function put(found: Map<string, TensorValue>, path: string, made: Value, args: Args, at: CallSite["span"], m: Machine): boolean {
  if (made.kind === "error") return false
  if (made.kind !== "record") {
    m.report(diagnostic("SLM2110", at, `what is gathered is a record of tensors, not ${kindOf(made, m)}`, { help: "`inputs: x => { largest: maximum(abs(x)) }`" }))
    return false
  }
  for (const [name, value] of made.fields) {
    if (value.kind === "error") return false
    if (value.kind !== "tensor" || value.shape.some((d) => symbolsOf(d.size).some((s) => s.rigid))) {
      const what = value.kind === "tensor" ? `\`${name}\` is ${showShape(value.shape, m)}: its shape depends on the batch, and batches are added up` : `\`${name}\` is ${kindOf(value, m)}, not a tensor`
      m.report(diagnostic("SLM2107", at, what, { help: "sum over the axes of the batch" }))
      return false
    }
    const before = found.get(joinPath(path, name))
    const next = before === undefined ? value : combined(before, value, args, at, m)
    if (next.kind !== "tensor") return false
    found.set(joinPath(path, name), next)
  }
  return true
}

/** Of a part that is called twice. */
function combined(a: TensorValue, b: TensorValue, args: Args, at: CallSite["span"], m: Machine): Value {
  const combine = args.get("combine")
  if (combine?.kind !== "symbol" || combine.name !== "max") return binary("+", a, b, { span: at, opSpan: at, left: { span: at }, right: { span: at } }, m)
  return primitives.get("max")?.(new Map<string, Value>([["a", a], ["b", b]]), { span: at, callee: at, args: new Map() }, m) ?? a
}
