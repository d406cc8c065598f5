/** Training, loading, quantising, evaluating, generating: each registers a stage, after it has been evaluated abstractly. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Span } from "../../../grammar/diagnostic.ts"
import { mixed, reachesAll } from "../curriculum.ts"
import type { Machine } from "../machine.ts"
import { error, unknown } from "../make.ts"
import { initialWeights, withFirstWeights } from "../initial.ts"
import { asSpec } from "../replace.ts"
import { lookup, moduleScope, prelude } from "../scopes.ts"
import { listed } from "../suggest.ts"
import { allowsUnused, checkEvaluation, checkTraining, rolesOf } from "../training.ts"
import type { Roles } from "../training.ts"
import { storedAs, trainedInstance } from "../trained.ts"
import { isTrained } from "../training-weights.ts"
import { validatedOf, validationFits } from "../validation.ts"
import type { ArtifactType, ArtifactValue, CallSite, EncodingValue, Primitive, RowType, SpecValue, Value } from "../value.ts"
import { artifact, inRange, isPacked, numberArg, onePart, tokensOf } from "./data.ts"
import type { PrimitiveTable } from "./table.ts"

type Args = ReadonlyMap<string, Value>

function given(args: Args, name: string): boolean {
  const value = args.get(name)
  return value !== undefined && value.kind !== "none"
}

function place(site: CallSite, name: string): Span {
  return site.args.get(name) ?? site.span
}

// ---- train

const train: Primitive = (args, site, m) => {
  const whole = trainingData(args, site, m)
  if (whole === null || !trainOptions(args, site, m)) return error
  const withData = fromFirstWeights(whole, site, m)
  const roles = rolesOf(withData, site, m)
  if (roles === null) return error
  const tokens = artifact(withData, "data")
  const until = ["steps", "tokens", "epochs"].find((name) => given(args, name)) ?? ""
  if (!reachesAll(tokens, stepsOf(withData, m), args.get("epochs"), place(site, until), m)) return error
  const result = resultType(withData, roles, tokensOf(tokens).tokenizer, m)
  const made = m.stage("train", withData, result.type, site.span)
  if (made.kind === "artifact") for (const [name, fill] of result.members) fill({ ...made, member: name })
  if (m.session.verified.has(made.stage.key)) return made
  m.session.verified.add(made.stage.key)
  checkTraining(withData, roles, site, m)
  return made
}

/** Roles that bring trained weights along start from a stage that has made them. */
function fromFirstWeights(args: Args, site: CallSite, m: Machine): Args {
  const made = (value: Value, name: string): Value => withFirstWeights(value, args.get("seed"), place(site, name), m)
  const all = (name: string): [string, Value][] => {
    const value = args.get(name)
    return value?.kind === "record" ? [[name, { ...value, fields: new Map([...value.fields].map(([role, v]) => [role, made(v, name)])) }]] : []
  }
  const model = args.get("model")
  return new Map([...args, ...(model === undefined ? [] : [["model", made(model, "model")] as const]), ...all("roles"), ...all("parts")])
}

/** A mixture becomes a stage; data must be one part, packed. */
function trainingData(args: Args, site: CallSite, m: Machine): Args | null {
  const data = args.get("data")
  if (!onePart(args, "data", site, m)) return null
  const tokens = data?.kind === "mix" ? mixed(data, place(site, "data"), m) : data
  if (tokens?.kind !== "artifact" || !isPacked(tokens, place(site, "data"), m) || !validationFits(args, tokens, site, m)) return null
  const whole = new Map([...args, ["data", tokens]])
  for (const name of ["metrics", "best"]) if (!given(args, name)) whole.delete(name) // what is not given is in no key
  return whole
}

function trainOptions(args: Args, site: CallSite, m: Machine): boolean {
  const subjects = ["model", "roles"].filter((name) => given(args, name))
  if (subjects.length !== 1) {
    m.report(diagnostic("SLM2203", site.callee, subjects.length === 0 ? "there is nothing to train" : "either a model is trained or `roles`, not both", { help: "`train Big { … }`, or `train { roles: { gen: A, disc: B } … }`" }))
    return false
  }
  const ends = ["steps", "epochs", "tokens"].filter((name) => given(args, name))
  if (ends.length !== 1) {
    m.report(diagnostic("SLM2203", ends.length === 0 ? site.callee : place(site, ends[1] ?? ""), ends.length === 0 ? "nothing says how long to train" : `${listed(ends)} say how long to train`, {
      help: "give exactly one of `steps`, `epochs` and `tokens`",
    }))
    return false
  }
  const keep = args.get("keep")
  if (keep?.kind === "symbol" && keep.name === "best" && !given(args, "valid") && !allowsUnused(args)) {
    m.report(diagnostic("SLM2202", place(site, "keep"), "`keep: best` has no effect without `valid`", { help: "the best is what does best on `valid: tokens.valid`" }))
    return false
  }
  const recompute = args.get("recompute")
  const wish = recompute?.kind === "symbol" ? recompute.name : recompute?.kind ?? "auto"
  if (wish !== "auto" && given(args, "max_memory")) {
    m.report(diagnostic("SLM2202", place(site, "max_memory"), `\`max_memory\` has no effect with \`recompute: ${wish}\``, { help: "leave one of the two out: with `recompute: auto` as much is computed again as fits into `max_memory`" }))
    return false
  }
  if (given(args, "roles") && !given(args, "loss")) {
    m.report(diagnostic("SLM2015", site.callee, "training several roles needs a `loss` of (roles, batch)"))
    return false
  }
  return [["steps", 1], ["epochs", 0], ["tokens", 1], ["batch", 1], ["accumulate", 1], ["max_memory", 1]].every(([name, low]) => inRange(args, String(name), Number(low), Infinity, site, m))
}

/** How many steps a training takes (spec 10.3), as far as the recipe alone tells. */
function stepsOf(args: Args, m: Machine): number | null {
  const steps = numberArg(args, "steps", m)
  const packed = tokensOf(artifact(args, "data")).length
  const length = packed?.kind === "int" ? m.known(packed.poly) : null
  const [tokens, batch, accumulate] = [numberArg(args, "tokens", m), numberArg(args, "batch", m), numberArg(args, "accumulate", m)]
  return steps ?? (tokens === null || length === null || batch === null || accumulate === null ? null : Math.ceil(tokens / (batch * accumulate * length)))
}

/** The type of what is trained, and how to fill in the roles once there is a stage. */
function resultType(args: Args, roles: Roles, tokenizer: ArtifactValue, m: Machine): { readonly type: ArtifactType; readonly members: ReadonlyMap<string, (a: ArtifactValue) => void> } {
  const weights = (spec: SpecValue): ArtifactType => ({ is: "weights", spec, encodings: encodingsKept(args, m), tokenizer })
  const [only] = roles.subjects
  if (!given(args, "roles") && only !== undefined) return { type: weights(only.spec), members: new Map() }
  const filled = new Map<string, ArtifactValue>()
  const members = new Map(roles.subjects.map((s) => [s.name, (a: ArtifactValue): void => { filled.set(s.name, { ...a, type: weights(s.spec) }) }]))
  return { type: { is: "roles", roles: filled }, members }
}

/** Codes of weights that are not trained stay as they are. */
function encodingsKept(args: Args, m: Machine): readonly EncodingValue[] {
  const model = args.get("model")
  if (model?.kind !== "artifact" || model.type.is !== "weights" || model.type.encodings.length === 0) return []
  const instance = trainedInstance(model, m)
  const kept = instance.kind === "error" ? [] : m.weightsOf(instance).flatMap((w) => (isTrained(args, "model", w.path, false) ? [] : storedAs(model, w.path, w.shape.length, m) ?? []))
  return model.type.encodings.filter((e) => kept.includes(e))
}

// ---- other stages

const initial: Primitive = (args, site, m) => {
  const [model, seed] = [args.get("model"), args.get("seed")]
  if (model?.kind !== "spec") return model ?? error
  return initialWeights(model, seed === undefined ? {} : { seed }, site.span, m)
}

const dequantize: Primitive = (args, site, m) => {
  const model = artifact(args, "model")
  const spec = asSpec(model, m)
  if (model.type.is === "weights" && model.type.encodings.length === 0) return m.report(diagnostic("SLM2202", place(site, "model"), "these weights are plain numbers already: `dequantize` has no effect"))
  return spec === null ? error : initialWeights(spec, { from: model, plain: true }, site.span, m)
}

const load: Primitive = (args, site, m) => {
  const as = args.get("as")
  if (as?.kind !== "spec") return m.report(diagnostic("SLM2110", place(site, "as"), "`as` of `load` is a specification, not weights"))
  const format = args.get("format")
  if (format?.kind === "format" && !isFor(format.code.model.name, as)) {
    return m.report(diagnostic("SLM2110", place(site, "format"), `the format \`${format.code.name.name}\` is for \`${format.code.model.name}\`, not for \`${as.template.code.name.name}\``))
  }
  if (m.instantiate(as, "model", site.span).kind === "error") return error
  return m.stage("load", args, { is: "weights", spec: as, encodings: [], tokenizer: null }, site.span)
}

const validated: Primitive = (args, site, m) => validatedOf(artifact(args, "model"), place(site, "model"), m)

export function isFor(model: string, spec: SpecValue): boolean {
  return spec.template.code.name.name === model
}

const reportFields = ["loss", "perplexity", "bits_per_byte", "accuracy", "parameters", "bytes"] as const

/** `evaluate` with the objective `next_token`, row by row. */
const lossOfRows: Primitive = (args, site, m) => {
  if (!onePart(args, "data", site, m) || !isPacked(artifact(args, "data"), place(site, "data"), m)) return error
  const objective = lookup("next_token", moduleScope(prelude), m)
  const fits = objective === null || checkEvaluation(new Map([...args, ["objective", objective]]), site, m)
  return fits ? m.stage("loss_of", args, { is: "difficulty" }, site.span) : error
}

const evaluate: Primitive = (args, site, m) => {
  if (!onePart(args, "data", site, m) || !isPacked(artifact(args, "data"), place(site, "data"), m) || !inRange(args, "batch", 1, Infinity, site, m)) return error
  const made = m.stage("evaluate", args, { is: "report", fields: reportFields }, site.span)
  if (m.session.verified.has(made.stage.key)) return made
  m.session.verified.add(made.stage.key)
  return checkEvaluation(args, site, m) ? made : error
}

const generate: Primitive = (args, site, m) => {
  const model = artifact(args, "model")
  if (model.type.is !== "weights") return error
  const prompts = args.get("prompts")
  if (prompts?.kind === "list" && prompts.items.length === 0) return m.report(diagnostic("SLM2303", place(site, "prompts"), "there is no prompt to continue", { help: "`prompts: [\"\"]` begins with nothing" }))
  return samplingFits(args, site, m) ? m.stage("generate", args, { is: "samples" }, site.span) : error
}

function samplingFits(args: Args, site: CallSite, m: Machine): boolean {
  const ranges = [["tokens", 1, Infinity], ["temperature", 0, Infinity], ["top_k", 1, Infinity], ["top_p", 0, 1]] as const
  if (!ranges.every(([name, low, high]) => inRange(args, name, low, high, site, m))) return false
  const temperature = args.get("temperature")
  const unused = ["top_k", "top_p"].filter((name) => given(args, name))
  if (temperature?.kind === "float" && temperature.value === 0 && unused[0] !== undefined) {
    m.report(diagnostic("SLM2202", place(site, unused[0]), `\`${unused[0]}\` has no effect at temperature 0`, { notes: ["temperature 0 takes the most likely token each time"] }))
    return false
  }
  return true
}

const write: Primitive = (args, site, m) => {
  const [model, rows] = [artifact(args, "model"), artifact(args, "data").type]
  if (model.type.is !== "weights" || rows.is !== "rows" || !onePart(args, "data", site, m) || !samplingFits(args, site, m) || !inRange(args, "count", 1, 10_000, site, m)) return error
  const [prompt, answer] = [args.get("prompt"), args.get("answer")]
  if (prompt?.kind !== "string" || answer?.kind !== "string" || prompt.value === null || answer.value === null) return unknown("Rows", site.span)
  if (rows.fields.get(prompt.value) !== "string") return m.report(diagnostic("SLM2013", place(site, "prompt"), `the rows have no text field \`${prompt.value}\``, { help: `\`each_row\` makes fields; the rows have ${listed([...rows.fields.keys()])}` }))
  const temperature = args.get("temperature")
  const count = numberArg(args, "count", m)
  if (count !== null && count > 1 && temperature?.kind === "float" && temperature.value === 0) {
    return m.report(diagnostic("SLM2202", place(site, "count"), `${count} texts for each prompt would be the same at temperature 0`, { help: "raise the temperature, or leave `count` out" }))
  }
  return m.stage("write", args, { ...rows, fields: new Map<string, RowType>([...rows.fields, [answer.value, "string"]]) }, site.span)
}

// ---- optimisers

/** The transform is shown as the call that makes it: `clip_norm(1.0)`. */
const transformGradients: Primitive = (args, _site, m) => {
  const [optim, change] = [args.get("optim"), args.get("change")]
  if (optim?.kind !== "optimizer" || change === undefined) return unknown("Optimizer")
  const made = m.frames?.outer?.span
  return { ...optim, transforms: [...optim.transforms, made === undefined ? change : { ...change, origin: made }] }
}

export const stagePrimitives: PrimitiveTable = {
  train, load, initial, dequantize, validated, evaluate, loss_of: lossOfRows, generate, write, transform_gradients: transformGradients,
}
