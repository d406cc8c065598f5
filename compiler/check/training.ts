/** Stages that run models, evaluated over tensors of unknown batch: so a wrong shape in a loss is found before anything runs. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { matches, pathsOf, reportUnmatched } from "./address.ts"
import { count } from "./calls.ts"
import { kindOf } from "./describe.ts"
import { artifactRole } from "./forward.ts"
import { instantiate, joinPath, weightsOf } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { moved } from "./machine.ts"
import { dim, error, int, record, tensor, unknown } from "./make.ts"
import { fieldOf } from "./members.ts"
import { binary } from "./operators.ts"
import { firstStates, transformed, update } from "./optimizer.ts"
import type { Poly } from "./poly.ts"
import { add, constant, symbol } from "./poly.ts"
import { primitives } from "./primitives/table.ts"
import { lossOf } from "./loss-of.ts"
import { nested } from "./row-fields.ts"
import { derived, weightsReached } from "./reach.ts"
import { listed } from "./suggest.ts"
import { isTrained } from "./training-weights.ts"
import { checkNothingUndone } from "./undone.ts"
import { checkBest, metricsOf } from "./validation.ts"
import type { AddressValue, ArtifactType, ArtifactValue, CallSite, InstanceValue, OptimizerValue, SpecValue, TensorValue, Value, WeightInfo } from "./value.ts"

type Args = ReadonlyMap<string, Value>

/** A model that a stage runs or trains, under its role. */
export interface Subject { readonly name: string; readonly spec: SpecValue; readonly instance: InstanceValue }
export interface Roles {
  readonly subjects: readonly Subject[]
  /** `parts: { proj: Linear(96, 192) }`, trained and dropped. */
  readonly parts: readonly Subject[]
}

/** An instance of a specification, or of the specification of weights. null: a mistake was reported. */
export function subjectOf(value: Value, role: string, at: Span, m: Machine): Subject | null {
  const spec = value.kind === "spec" ? value : value.kind === "artifact" && value.type.is === "weights" ? value.type.spec : null
  if (spec === null) {
    if (value.kind !== "error" && value.kind !== "unknown") m.report(diagnostic("SLM2110", at, `a role is a model or weights, not ${kindOf(value, m)}`))
    return null
  }
  const instance = instantiate(spec, role, at, m)
  return instance.kind === "error" ? null : { name: role, spec, instance }
}

export function rolesOf(args: Args, site: CallSite, m: Machine): Roles | null {
  const model = args.get("model")
  const roles = args.get("roles")
  const parts = args.get("parts")
  const subjects = model !== undefined && model.kind !== "none" ? [subjectOf(model, "model", site.args.get("model") ?? site.span, m)]
    : roles?.kind === "record" ? [...roles.fields].map(([name, value]) => subjectOf(value, name, value.origin ?? site.span, m)) : []
  const extra = parts?.kind === "record" ? [...parts.fields].map(([name, value]) => subjectOf(value, `parts.${name}`, value.origin ?? site.span, m)) : []
  const all = [...subjects, ...extra]
  return all.some((s) => s === null) ? null : { subjects: subjects.filter((s) => s !== null), parts: extra.filter((s) => s !== null) }
}

// ---- the batch

type Tokens = Extract<ArtifactType, { is: "tokens" }>

/** The `row` of spec 5.5 with a batch of unknown size. */
export function abstractRow(tokens: Tokens, at: Span, m: Machine): Value {
  const batch = dim(symbol("axis B of a batch", "B", { rigid: true }), at)
  const length: Poly = tokens.length?.kind === "int" ? tokens.length.poly : symbol("axis T of a batch", "T", { rigid: true })
  const row = [batch, dim(add(length, constant(1)), tokens.length?.origin ?? at)]
  const vocab = m.unknownInt(tokens.tokenizer.stage, "size", at)
  const fields = new Map<string, Value>([
    ["tokens", tensor("i32", row, null, at, dim(vocab.poly, vocab.origin))], ["segments", tensor("i32", row, null, at)], ["positions", tensor("i32", row, null, at)],
    ["counts", tensor("bool", row, null, at)], ["row", tensor("i32", [batch], null, at)],
  ])
  if (tokens.labels !== null) fields.set("label", tensor("i32", [batch], null, at))
  for (const [name, value] of nested([...tokens.fields].map(([path, f]) => [path, tensor(f.dtype, [batch, ...f.shape], null, at, f.vocab)]))) fields.set(name, value)
  return record(fields, at)
}

/** What the objective makes of a row. */
export function batchOf(args: Args, site: CallSite, m: Machine): Value {
  const data = args.get("data")
  const objective = args.get("objective")
  if (data?.kind !== "artifact" || data.type.is !== "tokens" || objective === undefined) return error
  const at = site.args.get("objective") ?? site.span
  const batch = m.apply(objective, [abstractRow(data.type, site.args.get("data") ?? site.span, m)], at)
  if (batch.kind === "record" || batch.kind === "error" || batch.kind === "unknown") return batch
  return m.report(diagnostic("SLM2110", at, `an objective returns a record, not ${kindOf(batch, m)}`))
}

// ---- training

/** `unused: allow`: options without effect are meant. */
export function allowsUnused(args: Args): boolean {
  const unused = args.get("unused")
  return unused?.kind === "symbol" && unused.name === "allow"
}

export function checkTraining(args: Args, roles: Roles, site: CallSite, m: Machine): void {
  const trained = allowsUnused(args) || ["freeze", "only"].every((name) => addressedWeights(args.get(name), roles.subjects, site.span, m))
  const batch = batchOf(args, site, m)
  if (batch.kind !== "error" && batch.kind !== "unknown") checkLoss(args, roles, batch, site, m)
  const optim = args.get("optim")
  checkBest(args, site, m)
  if (optim?.kind === "optimizer") checkOptimizer(optim, roles, site.args.get("optim") ?? site.span, m)
  if (trained) checkSomethingTrains(args, roles, site, m)
  checkNothingUndone(args, roles, site, m)
}

function checkLoss(args: Args, roles: Roles, batch: Value, site: CallSite, m: Machine): void {
  const loss = args.get("loss")
  const at = site.args.get("loss") ?? site.callee
  const parts = roles.parts.length === 0 ? [] : [record(new Map(roles.parts.map((p) => [p.name.slice("parts.".length), p.instance])))]
  const [only] = roles.subjects
  const several = args.get("roles")?.kind === "record"
  const first = several ? record(new Map(roles.subjects.map((s) => [s.name, s.instance]))) : only === undefined ? error : m.apply(only.instance, [batch], site.args.get("model") ?? site.span)
  if (first.kind === "error" || first.kind === "unknown") return
  checkMetrics(args, { first, batch, parts, several }, site, m)
  if (loss === undefined || loss.kind === "none") {
    const value = defaultLoss(first, batch, site, m)
    if (parts.length === 0 || allowsUnused(args)) checkReached(value, args, roles, site.args.get("model") ?? at, m)
    else m.report(diagnostic("SLM2202", site.args.get("parts") ?? at, "`parts` have no effect without a `loss` that uses them"))
    return
  }
  const takesParts = !leavesParts(loss)
  if (parts.length > 0 && !takesParts && !allowsUnused(args)) {
    m.report(diagnostic("SLM2202", site.args.get("parts") ?? at, "`parts` have no effect: the loss does not take them", { help: "`loss: (out, batch, parts) => …`" }))
    return
  }
  if (!takesResults(loss, [several ? "roles" : "out", "batch", ...(takesParts && parts.length > 0 ? ["parts"] : [])], at, m)) return
  const value = lossOf(moved(m, { onDevice: true }).apply(loss, [first, batch, ...(takesParts ? parts : [])], at), at, m)
  checkReached(value, args, roles, at, m)
}

/** What a loss is called with: results (or roles), the batch, parts. */
interface Given { readonly first: Value; readonly batch: Value; readonly parts: readonly Value[]; readonly several: boolean }

/** What is measured where a training is validated: functions with the parameters of the loss, which yield means as it does. */
function checkMetrics(args: Args, { first, batch, parts, several }: Given, site: CallSite, m: Machine): void {
  for (const [name, metric] of metricsOf(args)) {
    const at = metric.origin ?? site.args.get("metrics") ?? site.span
    if (name === "loss") m.report(diagnostic("SLM2002", at, "`loss` is measured already", { help: "give the metric another name" }))
    const own = leavesParts(metric) ? [] : parts
    if (metric.kind !== "closure" && metric.kind !== "primitive") {
      if (metric.kind !== "error" && metric.kind !== "unknown") m.report(diagnostic("SLM2110", at, `a metric is a function with the parameters of a loss, not ${kindOf(metric, m)}`, { help: "`metrics: { accuracy: (out, batch) => average(argmax(out.logits) == batch.labels, batch.labels >= 0) }`" }))
    } else if (takesResults(metric, [several ? "roles" : "out", "batch", ...(own.length > 0 ? ["parts"] : [])], at, m)) lossOf(moved(m, { onDevice: true }).apply(metric, [first, batch, ...own], at), at, m)
  }
}

/** A loss of two parameters does not take parts. */
export function leavesParts(loss: Value): boolean {
  return loss.kind === "closure" && loss.code.params.length === 2
}

/** Whether a loss can be called with what a training gives it; a function of tensors, such as `cross_entropy`, cannot. */
function takesResults(loss: Value, names: readonly string[], at: Span, m: Machine): boolean {
  if (loss.kind !== "closure") return true
  const { code } = loss
  const [first] = code.kind === "fn" ? code.params : []
  const ofTensors = first?.type?.kind === "tensor" || (first?.type?.kind === "named" && first.type.name === "tensor")
  const needed = code.kind === "fn" ? code.params.filter((p) => p.default === null).length : code.params.length
  if (!ofTensors && needed <= names.length && code.params.length >= names.length) return true
  const name = code.kind === "fn" ? code.name.name : null
  m.report(diagnostic("SLM2207", at, `a loss takes (${names.join(", ")})${ofTensors ? `, and \`${name ?? ""}\` takes tensors` : `, not ${count(code.params.length, "argument")}`}`, {
    help: ofTensors ? `\`loss: (${names.join(", ")}) => ${name ?? ""}(${names[0] === "roles" ? "roles.a(batch)" : "out"}.logits, batch.labels)\`` : `\`loss: (${names.join(", ")}) => …\``,
  }))
  return false
}

/** Weights that are trained and have no part in the loss: they would learn nothing, and no one would be told. */
function checkReached(loss: Value, args: Args, roles: Roles, at: Span, m: Machine): void {
  if ((loss.kind !== "loss" && loss.kind !== "tensor") || allowsUnused(args)) return
  const reached = weightsReached(loss)
  const several = roles.subjects.length > 1
  const idle = [...roles.subjects, ...roles.parts].flatMap((subject) => {
    const trained = trainedWeights(args, subject, roles).map((w) => w.path)
    const found = idlePaths(trained, (path) => reached.has(`${subject.name}.${path}`))
    return found.map((path) => (several || roles.parts.includes(subject) ? joinPath(subject.name, path) : path === "" ? subject.spec.name : path))
  })
  if (idle.length === 0) return
  if (reached.size === 0) {
    m.report(diagnostic("SLM2209", at, "no gradient flows from this loss: it depends on no weight that is trained", { notes: ["nothing flows through comparisons, `argmax`, `round`, `stop_gradient`, or trained weights that are called in the loss."] }))
    return
  }
  const [it, is] = idle.length === 1 ? ["it", "is"] : ["them", "are"]
  const own = idle.filter((path) => !path.startsWith("parts."))
  m.report(diagnostic("SLM2209", at, `${listed(idle.slice(0, 4))}${idle.length > 4 ? ` and ${idle.length - 4} more` : ""} ${is} trained, but the loss does not reach ${it}`, {
    notes: ["without a gradient a weight learns nothing; weight decay would still shrink it."],
    help: own.length === 0 ? `take ${it} out of \`parts\`, or use ${it} in the loss` : `\`freeze: [${own.slice(0, 4).join(", ")}]\` keeps ${it}; \`unused: allow\` says that this is meant`,
  }))
}

/** The weights for which `isReached` does not hold, by the shortest paths that stand for them and nothing else. */
function idlePaths(paths: readonly string[], isReached: (path: string) => boolean): readonly string[] {
  const found = new Set<string>()
  for (const path of paths) {
    if (isReached(path)) continue
    const starts = ["", ...[...path.matchAll(/[.[]/g)].map((cut) => path.slice(0, cut.index)), path]
    found.add(starts.find((start) => paths.every((other) => !isBelow(other, start) || !isReached(other))) ?? path)
  }
  return [...found]
}

function isBelow(path: string, start: string): boolean {
  return start === "" || path === start || (path.startsWith(start) && ".[".includes(path[start.length] ?? ""))
}

/** Cross entropy of `out.logits` against `batch.labels`. */
export function defaultLoss(out: Value, batch: Value, site: CallSite, m: Machine): Value {
  const missing = [[out, "logits", "the model's result"], [batch, "labels", "the objective's batch"]] as const
  for (const [value, name, what] of missing) {
    if (value.kind === "record" && !value.fields.has(name)) return m.report(diagnostic("SLM2207", site.callee, `the default loss needs \`${name}\`, which ${what} does not have`, { help: "give a `loss: (out, batch) => …` of your own" }))
  }
  const at = site.callee
  const [logits, labels] = [fieldOf(out, "logits", at, at, m), fieldOf(batch, "labels", at, at, m)]
  // Sizes that only the batch decides, as those of a mixture of experts, leave the logits unknown until the stage is lowered.
  if (logits.kind === "unknown" || labels.kind === "unknown") return unknown("Loss", at)
  if (logits.kind !== "tensor" || labels.kind !== "tensor") return error
  const inner: CallSite = { span: at, callee: at, args: new Map() }
  const losses = derived(primitives.get("token_loss")?.(new Map<string, Value>([["logits", logits], ["labels", labels]]), inner, m) ?? error, "token_loss", [logits], m)
  const counts = binary(">=", labels, int(0), { span: at, opSpan: at, left: { span: at }, right: { span: at } }, m)
  if (losses.kind !== "tensor" || counts.kind !== "tensor") return error
  return derived(primitives.get("average")?.(new Map<string, Value>([["values", losses], ["counts", counts]]), inner, m) ?? error, "average", [losses], m)
}

/** Evaluates the transforms on all gradients and the update on one weight of each rank. */
function checkOptimizer(optimizer: OptimizerValue, roles: Roles, at: Span, m: Machine): void {
  const weights = [...roles.subjects, ...roles.parts].flatMap((s) => weightsOf(s.instance)).map((w) => abstract(w, at))
  if (transformed(optimizer, weights, at, m) === null) return
  const step = tensor("i32", [], null, at)
  const total = tensor("i32", [], null, at)
  const seen = new Set<number>()
  for (const p of weights) {
    if (seen.has(p.shape.length)) continue
    seen.add(p.shape.length)
    const states = firstStates(optimizer, p, m)
    if (states === null || update(optimizer, p, p, step, total, states, m) === null) return
  }
}

function abstract(w: WeightInfo, at: Span): TensorValue {
  return tensor(w.dtype, w.shape, null, at)
}

// ---- addresses of weights

/** False: some address matches nothing, which has been reported. */
export function addressedWeights(addresses: Value | undefined, subjects: readonly Subject[], at: Span, m: Machine): boolean {
  if (addresses?.kind !== "list") return true
  let good = true
  for (const address of addresses.items) {
    if (address.kind !== "address") continue
    const hit = subjects.some((s) => weightsOf(s.instance).some((w) => covers(address, s, w.path, subjects)))
    if (hit) continue
    good = false
    const [only] = subjects
    reportUnmatched(address, subjects.flatMap((s) => pathsOf(s.instance)), only === undefined ? "the model" : `\`${only.spec.name}\``, at, m)
  }
  return good
}

/** Whether an address is about a weight; with several roles it may begin with the role. */
function covers(address: AddressValue, { name }: Subject, path: string, subjects: readonly Subject[]): boolean {
  return matches(address, path, "below") || (subjects.length > 1 && matches(address, `${name}.${path}`, "below"))
}

/** The weights of a role that `freeze` and `only` leave to the optimiser. */
function trainedWeights(args: Args, subject: Subject, roles: Roles): readonly WeightInfo[] {
  return weightsOf(subject.instance).filter((w) => w.dtype === "f32" && isTrained(args, subject.name, w.path, roles.subjects.length > 1))
}

function checkSomethingTrains(args: Args, roles: Roles, site: CallSite, m: Machine): void {
  const named = ["freeze", "only"].find((name) => args.get(name)?.kind === "list")
  if (named === undefined || roles.parts.length > 0) return
  if (roles.subjects.every((s) => trainedWeights(args, s, roles).length === 0)) m.report(diagnostic("SLM2202", site.args.get(named) ?? site.span, "everything is frozen: there is nothing left to train"))
}

// ---- evaluation

export function checkEvaluation(args: Args, site: CallSite, m: Machine): boolean {
  const model = args.get("model")
  if (model?.kind !== "artifact") return false
  const subject = subjectOf(model, artifactRole(model as ArtifactValue), site.args.get("model") ?? site.span, m)
  const batch = batchOf(args, site, m)
  if (subject === null || batch.kind === "error") return false
  if (batch.kind === "unknown") return true
  const out = m.apply(subject.instance, [batch], site.args.get("model") ?? site.span)
  if (out.kind === "error" || out.kind === "unknown") return out.kind === "unknown"
  const loss = args.get("loss")
  const at = site.args.get("loss") ?? site.callee
  const result = loss === undefined || loss.kind === "none" ? defaultLoss(out, batch, site, m) : lossOf(moved(m, { onDevice: true }).apply(loss, [out, batch], at), at, m)
  return result.kind !== "error"
}
