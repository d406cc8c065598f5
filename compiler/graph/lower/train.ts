/** `train` as programs: objective, forward passes, loss, gradients, transforms and update in one graph (spec 5.6, spec 10). */
import { artifactRole } from "../../check/forward.ts"
import { weightsOf } from "../../check/instance.ts"
import { record } from "../../check/make.ts"
import type { Session } from "../../check/session.ts"
import { defaultLoss, leavesParts, rolesOf } from "../../check/training.ts"
import type { Roles } from "../../check/training.ts"
import { isTrained } from "../../check/training-weights.ts"
import { metricsOf } from "../../check/validation.ts"
import type { ArtifactValue, CallSite, OptimizerValue, Value, WeightInfo } from "../../check/value.ts"
import type { Stage } from "../../plan/stage.ts"
import { gradients } from "../gradient.ts"
import type { Builder } from "../builder.ts"
import type { Factors, Node, Output, Program, Shape } from "../node.ts"
import * as g from "../ops.ts"
import type { Lowering, RowShape, Term } from "./context.ts"
import { argOf, createLowering, factorsOf, lossOf, lowered, outputsWith, programOf, rowRecord, stateName, termsOf } from "./context.ts"
import { weightShape } from "./initial.ts"
import { firstStates, learningRate, transformed, updated } from "./optimizer.ts"
import type { Accumulation, LoweredTraining, Metric, OptimizerSlot, WeightSlot } from "./programs.ts"

export interface TrainShape extends RowShape {
  /** Micro-batches per step. */
  readonly accumulate: number
  /** Steps of the run, which schedules see. */
  readonly total: number
}

/** The programs of a `train` stage. All facts it needs must be known. */
export function lowerTraining(session: Session, stage: Stage, shape: TrainShape): LoweredTraining {
  const optimizer = stage.args.get("optim")
  if (optimizer?.kind !== "optimizer") throw new Error("lower: `train` without an optimiser")
  const forward = lowerLoss(session, stage, shape, true)
  const measured = lowerLoss(session, stage, shape, false)
  const weights = slotsOf(forward, measured, stage)
  const trained = weights.filter((slot) => slot.trained)
  if (trained.length === 0) throw new Error("lower: `train` without anything to train")
  const common = {
    measure: programOf(`${stage.name} measure`, outputsWith(measured.lowering.b, termOutputs([...measured.terms, ...measured.metrics.flatMap(({ terms }) => terms)]), factorsOf(stage.args)), shape.raw),
    metrics: placed(measured),
    start: startProgram(session, stage, optimizer, trained),
    weights,
    optimizer: optimizerSlots(optimizer, trained),
    terms: forward.terms.map((term) => term.weight),
  }
  if (shape.accumulate > 1) return { ...common, step: null, accumulation: accumulation(session, forward, stage, optimizer, trained, shape) }
  return { ...common, step: stepProgram(forward, stage, optimizer, trained, shape), accumulation: null }
}

// ---------------------------------------------------------------- the loss

interface LossGraph {
  readonly lowering: Lowering
  readonly roles: Roles
  readonly terms: readonly Term[]
  /** Of evaluation alone. */
  readonly metrics: readonly { readonly name: string; readonly terms: readonly Term[] }[]
}

/** Where the means of each metric stand behind those of the loss. */
function placed({ terms, metrics }: LossGraph): readonly Metric[] {
  let first = terms.length
  return metrics.map(({ name, terms: own }) => {
    const metric = { name, first, terms: own.map(({ weight }) => weight) }
    first += own.length
    return metric
  })
}

/** The loss over one batch, and the metrics, as sums and counts. */
function lowerLoss(session: Session, stage: Stage, shape: RowShape, training: boolean): LossGraph {
  const lowering = createLowering(session, { training, rows: shape.rows })
  const { machine, b } = lowering
  const site: CallSite = { span: stage.span, callee: stage.span, args: new Map() }
  const roles = lowered(rolesOf(stage.args, site, machine), machine)
  const batch = lowered(machine.apply(required(stage, "objective"), [rowRecord(b, shape)], stage.span), machine)
  const loss = argOf(stage.args, "loss")
  const parts = roles.parts.length === 0 ? [] : [record(new Map(roles.parts.map((part) => [part.name.slice("parts.".length), part.instance])))]
  const [only] = roles.subjects
  const several = argOf(stage.args, "roles") !== null
  const first = several || only === undefined
    ? record(new Map(roles.subjects.map((subject) => [subject.name, subject.instance])))
    : lowered(machine.apply(only.instance, [batch], stage.span), machine)
  // What takes no parts is given none, which `unused: allow` permits for a loss.
  const meansOf = (of: Value): readonly Term[] => termsOf(lowered(machine.apply(of, [first, batch, ...(leavesParts(of) ? [] : parts)], stage.span), machine), machine)
  const terms = loss === null ? termsOf(lowered(defaultLoss(first, batch, site, machine), machine), machine) : meansOf(loss)
  return { lowering, roles, terms, metrics: training ? [] : [...metricsOf(stage.args)].map(([name, metric]) => ({ name, terms: meansOf(metric) })) }
}

function required(stage: Stage, name: string): Value {
  const value = argOf(stage.args, name)
  if (value === null) throw new Error(`lower: ${stage.kind} ${stage.name} without \`${name}\``)
  return value
}

// ---------------------------------------------------------------- weights

/** Every state of the loss: weights of roles in the order they are written, then those of frozen artifacts, then what only metrics call. */
function slotsOf({ lowering, roles }: LossGraph, measured: LossGraph, stage: Stage): readonly WeightSlot[] {
  const { machine } = lowering
  const facts = machine.session.environment.facts
  const own = [...roles.subjects, ...roles.parts].flatMap((subject) => weightsOf(subject.instance).map((info): WeightSlot => ({
    name: stateName(subject.name, info.path), role: subject.name, path: info.path, info, shape: weightShape(info, facts),
    source: trainedBefore(stage, subject.name),
    trained: info.dtype === "f32" && isTrained(stage.args, subject.name, info.path, roles.subjects.length > 1), kept: roles.subjects.includes(subject),
  })))
  const known = new Set(own.map((slot) => slot.name))
  const called = new Map([...lowering.states, ...measured.lowering.states].filter(([name]) => !known.has(name)))
  return [...own, ...calledWeights([...called], stage, machine.session)]
}

/** Weights of trained models that a stage's functions call, by the states that they asked for. */
export function calledWeights(states: readonly (readonly [string, { readonly role: string; readonly info: WeightInfo }])[], stage: Stage, session: Session): readonly WeightSlot[] {
  return states.map(([name, { role, info }]) => ({
    name, role, path: info.path, info, shape: weightShape(info, session.environment.facts), source: sourceOf(stage, role), trained: false, kept: false,
  }))
}

/** The weights that a role goes on from; null where it starts from a specification. */
function trainedBefore(stage: Stage, role: string): WeightSlot["source"] {
  const roles = argOf(stage.args, "roles")
  const parts = argOf(stage.args, "parts")
  const value = role.startsWith("parts.") && parts?.kind === "record" ? parts.fields.get(role.slice("parts.".length))
    : roles?.kind === "record" ? roles.fields.get(role)
    : argOf(stage.args, "model")
  return value?.kind === "artifact" ? { stage: value.stage, member: value.member } : null
}

/** The stage behind a role of the form `frozen:<key>`. */
function sourceOf(stage: Stage, role: string): { readonly stage: Stage; readonly member: string | null } {
  for (const input of stage.inputs) {
    const members = input.type.is === "roles" ? [null, ...input.type.roles.keys()] : [null]
    for (const member of members) {
      const artifact: ArtifactValue = { kind: "artifact", stage: input, member, type: input.type, origin: null }
      if (artifactRole(artifact) === role) return { stage: input, member }
    }
  }
  throw new Error(`lower: no input of ${stage.name} stands behind ${role}`)
}

function optimizerSlots(optimizer: OptimizerValue, trained: readonly WeightSlot[]): readonly OptimizerSlot[] {
  return trained.flatMap((slot) => optimizer.code.states.map((state): OptimizerSlot => ({
    name: `${slot.name}#${state.name.name}`, weight: slot.name, shape: slot.shape, dtype: "f32",
  })))
}

function startProgram(session: Session, stage: Stage, optimizer: OptimizerValue, trained: readonly WeightSlot[]): Program | null {
  const { b, machine } = createLowering(session, { training: true, rows: null })
  const outputs = trained.flatMap((slot): Output[] => {
    const p = b.input(slot.name, "state", "f32", slot.shape)
    return firstStates(optimizer, p, machine).map(([name, node]) => ({ name: `${slot.name}#${name}`, node }))
  })
  return outputs.length === 0 ? null : programOf(`${stage.name} start`, outputs)
}

// ---------------------------------------------------------------- one step

function termOutputs(terms: readonly Term[]): readonly Output[] {
  return terms.flatMap((term, i): Output[] => [{ name: `sum.${i}`, node: term.sum }, { name: `count.${i}`, node: term.count }])
}

function stepProgram({ lowering, terms }: LossGraph, stage: Stage, optimizer: OptimizerValue, trained: readonly WeightSlot[], shape: TrainShape): Program {
  const { b } = lowering
  const nodes = trained.map((slot) => b.input(slot.name, "state", "f32", slot.shape))
  const { outputs, found } = differentiated(b, termOutputs(terms), lossOf(b, terms), nodes, factorsOf(stage.args), shape)
  return programOf(`${stage.name} step`, [...outputs, ...updates(lowering, stage, optimizer, trained, found, shape.total)], shape.raw)
}

/** What the loss yields and its gradients, over rounded factors where the stage says so; what follows (the update) is not part of it. */
function differentiated(b: Builder, outputs: readonly Output[], loss: Node, wrt: readonly Node[], factors: Factors, shape: TrainShape): { readonly outputs: readonly Output[]; readonly found: readonly Node[] } {
  const scale = lossScale(factors, shape)
  const all = outputsWith(b, [...outputs, ...gradients(b, scale === 1 ? loss : g.mul(b, loss, scale), wrt).map((node, i): Output => ({ name: `${i}`, node }))], factors)
  const found = all.slice(outputs.length).map(({ node }) => (scale === 1 ? node : g.mul(b, node, 1 / scale)))
  return { outputs: all.slice(0, outputs.length), found }
}

/**
 * The gradient of a mean over n positions is about 1/n at each of them, where f16 has few numbers or none. A power of two near n brings it to
 * about 1 before anything is rounded, and is divided out of the sums in f32, which is exact.
 */
function lossScale(factors: Factors, { rows, length, accumulate }: TrainShape): number {
  return factors === "f16" ? 2 ** Math.floor(Math.log2(rows * length * accumulate)) : 1
}

/** Transforms and updates: the next weights and states, the norm of the gradients and the learning rate. */
function updates({ b, machine }: Lowering, stage: Stage, optimizer: OptimizerValue, trained: readonly WeightSlot[], found: readonly Node[], total: number): readonly Output[] {
  const step = b.input("step", "batch", "i32", [])
  const squares = found.map((node) => g.sum(b, g.square(b, node)))
  const norm = g.sqrt(b, squares.reduce((x, y) => g.add(b, x, y)))
  const changed = b.at("gradients", () => transformed(optimizer, found, stage.span, machine))
  const outputs: Output[] = [{ name: "grad_norm", node: norm }]
  const lr = learningRate(optimizer, step, total, stage.span, machine)
  if (lr !== null) outputs.push({ name: "lr", node: lr })
  trained.forEach((slot, i) => b.at(slot.name, () => {
    const p = b.input(slot.name, "state", "f32", slot.shape)
    const states = optimizer.code.states.map(({ name }) => [name.name, b.input(`${slot.name}#${name.name}`, "state", "f32", slot.shape)] as const)
    const next = updated(optimizer, p, changed[i] ?? p, states, step, total, machine)
    outputs.push({ name: slot.name, node: next.p })
    for (const [name, node] of next.states) outputs.push({ name: `${slot.name}#${name}`, node })
  }))
  return outputs
}

// ---------------------------------------------------------------- several micro-batches

function accumulation(session: Session, forward: LossGraph, stage: Stage, optimizer: OptimizerValue, trained: readonly WeightSlot[], shape: TrainShape): Accumulation {
  const { lowering: { b }, terms } = forward
  const counts = terms.map((_, i) => `count of term ${i}`)
  const sums = [...trained.map((slot) => `sum of ${slot.name}`), ...terms.map((_, i) => `sum of term ${i}`)]
  const first = g.eq(b, b.input("first", "batch", "i32", []), 1)
  const added = (names: readonly string[], nodes: readonly Node[]): readonly Output[] => nodes.map((node, i): Output => {
    const name = names[i] ?? ""
    return { name, node: g.where(b, first, node, g.add(b, b.input(name, "state", "f32", node.shape), node)) }
  })
  const weights = trained.map((slot) => b.input(slot.name, "state", "f32", slot.shape))
  const counted = terms.map((term, i) => ({ ...term, count: b.input(counts[i] ?? "", "state", "f32", []) }))
  const { outputs, found } = differentiated(b, terms.map((term, i): Output => ({ name: `sum.${i}`, node: term.sum })), lossOf(b, counted), weights, factorsOf(stage.args), shape)
  const apply = createLowering(session, { training: true, rows: null })
  const given = (name: string, of: Shape): Node => apply.b.input(name, "state", "f32", of)
  const totals = terms.map((term, i): Term => ({ ...term, sum: given(`sum of term ${i}`, []), count: given(counts[i] ?? "", []) }))
  const gradient = trained.map((slot) => given(`sum of ${slot.name}`, slot.shape))
  return {
    count: programOf(`${stage.name} count`, added(counts, terms.map((term) => term.count)), shape.raw),
    gradient: programOf(`${stage.name} gradient`, added(sums, [...found, ...outputs.map(({ node }) => node)]), shape.raw),
    apply: programOf(`${stage.name} apply`, [...termOutputs(totals), ...updates(apply, stage, optimizer, trained, gradient, shape.total)], shape.raw),
    counts, sums,
  }
}
