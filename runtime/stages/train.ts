/** `train`: lowers the stage, runs the loop, reports, and keeps the weights. */
import { constant } from "../../compiler/check/poly.ts"
import { lowerTraining } from "../../compiler/graph/lower/train.ts"
import type { TrainShape } from "../../compiler/graph/lower/train.ts"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { createLoader } from "../data/batches.ts"
import type { Loader } from "../data/batches.ts"
import type { Mixture } from "../data/mixture.ts"
import type { PackedRows } from "../data/pack.ts"
import { excerpt, good } from "../data/result.ts"
import type { Result } from "../data/result.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { HostTensor } from "../device.ts"
import { createReference } from "../devices/reference.ts"
import { expectData } from "./artifact.ts"
import type { Unfinished } from "./checkpoint.ts"
import { createSaver, unfinished } from "./checkpoint.ts"
import { demandPrograms } from "../limits.ts"
import { heldBy, memoryGoal } from "./memory.ts"
import { writeStates } from "./feeds.ts"
import { packedInput } from "./data.ts"
import type { Executor, Outcome, StageEnv } from "./environment.ts"
import { artifactArg, done, failed, fromResult, given, machineFor, numberArg, refOf, required, wordArg } from "./environment.ts"
import type { Emit, Event } from "./events.ts"
import type { Weights } from "../weights.ts"
import type { Batch, States } from "./stepper.ts"
import { createStepper } from "./stepper.ts"
import { createSampler } from "./train-samples.ts"
import { runTraining, untrained } from "./training.ts"
import type { LoopOptions, LoopResult, Tally, TrainingState } from "./training.ts"
import { createValidator, validFacts } from "./validation.ts"
import type { Measured } from "./validation.ts"
import { compilerHash } from "../version.ts"
import { startStates, weightsOfRole } from "./weights-io.ts"

/** What a training reads, and how much of it at once. */
export interface TrainPlan {
  readonly source: PackedRows | Mixture
  readonly first: PackedRows
  readonly shape: TrainShape
  readonly seed: number
  readonly tokenizer: Tokenizer
}

export const trainStage: Executor = async (stage, env) => {
  const planned = await planTraining(stage, env)
  if ("is" in planned) return planned
  if (!planned.ok) return fromResult(planned, stage, () => failed())
  const found = planned.value
  const lowered = lowerTraining(env.session, stage, found.shape)
  const memory = memoryGoal(stage, lowered, env.device, machineFor(env), env.limits.memory)
  if ("code" in memory) return failed(memory)
  if (memory.warning !== null) env.emit({ event: "warning", stage: refOf(stage), ...memory.warning })
  demandPrograms(heldBy(stage, lowered, memory.most), `\`${stage.name}\``, env.device.info.name, env.limits)
  const before = unfinished(env.checkpoints, lowered)
  const said = [...(before?.events ?? [])]
  const say = (event: Event): void => {
    said.push(event)
    env.emit(event)
  }
  const sampler = createSampler(stage, lowered, found, env, say)
  if (sampler !== null && "code" in sampler) return failed(sampler)
  const from = await startOf(lowered, found.seed, before, env)
  const unread = drawnAndFrozen(lowered, from.states)
  const stepper = await createStepper(env.device, lowered, found.seed, from.states, memory.most)
  const validator = await createValidator(stage, lowered, from.states, stepper, found, env)
  if (before !== null) env.emit({ event: "resumed", stage: refOf(stage), step: from.step, total: found.shape.total, ...(before.compiler === compilerHash() ? {} : { build: "another" as const }) })
  for (const event of before?.events ?? []) env.emit(event)
  try {
    const loader = createLoader({ source: found.source, batch: found.shape.rows, seed: found.seed })
    const result = await runTraining(from, {
      lowered, stepper, total: found.shape.total, batches: (step) => batchesOf(loader, found.shape, step), validate: validator?.validate ?? null,
      keepBest: wordArg(stage, "keep") === "best", sample: sampler === null ? null : (share) => sampler(share, stepper), report: createReporter(stage, from.step, found, env, say), signal: env.signal, stopAfter: env.stopAfter, clock: env.clock,
      trace: (step, steps, states) => say({ event: "trace", stage: refOf(stage), step, steps, states }),
      warn: (message, help) => say({ event: "warning", stage: refOf(stage), message, help }),
      saver: createSaver(stage, lowered, env, () => said),
    })
    return await finish(stage, lowered, found, result, unread, memory.again, env)
  } finally {
    stepper.dispose()
    validator?.dispose()
  }
}

/** The first state of the training, or that of an earlier run which was stopped: what does not change is made again. */
async function startOf(lowered: LoweredTraining, seed: number, before: Unfinished | null, env: StageEnv): Promise<TrainingState> {
  const states = await startStates(lowered.weights, seed, env)
  if (before !== null) return { ...before.state, states: new Map([...states, ...before.state.states]) }
  for (const [name, value] of await interpretStates(lowered, states)) states.set(name, value)
  return untrained(states)
}

/** Frozen weights with first values of their own: those that the loss does not read either are in no program, and belong to the result all the same. */
function drawnAndFrozen({ weights }: LoweredTraining, states: States): States {
  const names = new Set(weights.filter(({ trained, source }) => !trained && source === null).map(({ name }) => name))
  return new Map([...states].filter(([name]) => names.has(name)))
}

// ---------------------------------------------------------------- what there is to do

export async function planTraining(stage: Stage, env: StageEnv): Promise<Result<TrainPlan> | Outcome> {
  const data = required(artifactArg(stage, "data"), stage, "data")
  const input = await env.input(data.stage)
  const first = input.is === "curriculum" ? input.first : await packedInput(stage, "data", env)
  const rows = required(numberArg(stage, "batch", env), stage, "batch")
  const accumulate = numberArg(stage, "accumulate", env) ?? 1
  const seed = numberArg(stage, "seed", env) ?? 0
  if (input.is === "curriculum" && given(stage, "epochs") !== null) {
    throw new Error(`train: ${stage.name} has epochs of a mixture`)
  }
  const total = stepsOf(stage, first, rows * accumulate, env)
  const source = input.is === "curriculum" ? input.plan(total, rows * accumulate, seed) : good(first)
  if (!source.ok) return source
  const type = data.type.is === "tokens" ? data.type : null
  const { tokenizer } = expectData(await env.input(required(type, stage, "data").tokenizer.stage), "tokenizer")
  return good({ source: source.value, first, seed, tokenizer, shape: { ...rowShapeOf(first, tokenizer, rows), accumulate, total } })
}

/** What graphs need to know of packed rows. */
export function rowShapeOf(packed: PackedRows, tokenizer: Tokenizer, rows: number): Omit<TrainShape, "accumulate" | "total"> {
  const { labels, classes } = packed.set
  const label = labels === null ? null : { classes: { size: constant(classes?.length ?? 1), origin: null } }
  const vocab = { size: constant(tokenizer.size), origin: null }
  const beside = new Map([...packed.beside].map(([path, { dtype, shape, ids: own }]) => [path, { dtype, shape, vocab: own ? vocab : null }] as const))
  return { rows, length: packed.length, vocab, label, beside }
}

function stepsOf(stage: Stage, first: PackedRows, samples: number, env: StageEnv): number {
  const steps = numberArg(stage, "steps", env)
  if (steps !== null) return steps
  const epochs = numberArg(stage, "epochs", env)
  if (epochs !== null) return Math.max(1, Math.ceil((epochs * first.rows) / samples))
  return Math.max(1, Math.ceil(required(numberArg(stage, "tokens", env), stage, "steps") / (samples * first.length)))
}

/** The micro-batches of a step: sample numbers go on from step to step. */
function batchesOf(loader: Loader, shape: TrainShape, step: number): readonly Batch[] {
  return Array.from({ length: shape.accumulate }, (_, k) => loader.batch(((step - 1) * shape.accumulate + k) * shape.rows))
}

/** First values of the optimiser's states: a small program that is run once, on the host. */
export async function interpretStates(lowered: LoweredTraining, weights: States): Promise<ReadonlyMap<string, HostTensor>> {
  if (lowered.start === null) return new Map()
  const runner = await createReference().load(lowered.start)
  await writeStates(runner, lowered.start, weights)
  const values = await runner.step({})
  runner.dispose()
  return new Map(Object.entries(values))
}

// ---------------------------------------------------------------- reports

function createReporter(stage: Stage, from: number, { shape }: TrainPlan, env: StageEnv, say: Emit): LoopOptions["report"] {
  const start = env.clock()
  const tokensPerStep = shape.rows * shape.accumulate * shape.length
  let [before, at] = [from, start]
  return ({ step, loss, valid, measured, gradNorm, lr }, fixed) => {
    const now = env.clock()
    const tokensPerSecond = ((step - before) / Math.max(now - at, 1e-6)) * tokensPerStep
    const secondsLeft = ((now - start) / (step - from)) * (shape.total - step)
    ;[before, at] = [step, now]
    const tell = fixed ? say : env.emit
    tell({ event: "progress", stage: refOf(stage), step, total: shape.total, loss, valid, ...toldOf(measured), gradNorm, lr, tokensPerSecond, secondsLeft })
  }
}

/** What is told of sets and metrics, where there are any. */
function toldOf(measured: Measured | null): Partial<Measured> {
  const has = (named: Measured["losses"] | undefined): boolean => named !== undefined && Object.keys(named).length > 0
  return { ...(measured !== null && has(measured.losses) ? { losses: measured.losses } : {}), ...(measured !== null && has(measured.metrics) ? { metrics: measured.metrics } : {}) }
}

// ---------------------------------------------------------------- the end

async function finish(stage: Stage, lowered: LoweredTraining, found: TrainPlan, result: LoopResult, unread: States, again: number, env: StageEnv): Promise<Outcome> {
  if (result.is === "interrupted") return { is: "interrupted" }
  if (result.is === "diverged") return { is: "failed", diagnostics: [diverged(stage, found, result, env)], diverged: result.step }
  const best = wordArg(stage, "keep") === "best" ? result.state.best : null
  const states: States = new Map([...unread, ...result.state.states, ...(best?.weights ?? [])])
  const roles = [...new Set(lowered.weights.filter((slot) => slot.kept).map((slot) => slot.role))]
  const members = new Map<string, Weights>()
  for (const role of roles) members.set(stage.type.is === "roles" ? role : "", await weightsOfRole(lowered.weights, role, states, env))
  return done({ is: "weights", members, tokenizer: null }, { steps: found.shape.total, loss: result.loss, ...validations(result.state.tally, best), ...(again === 0 ? {} : { recomputed: again }) })
}

/** `valid` is the loss of the weights that are kept, as is what was measured by set and by metric; where these are not the last, `last_valid` is the loss of the last. */
function validations({ valid: last, measured }: Tally, best: TrainingState["best"]): Readonly<Record<string, number>> {
  if (last === null) return {}
  return best === null ? { valid: last, ...validFacts(measured) } : { valid: best.valid, ...validFacts(best.measured), best_step: best.step, last_valid: last }
}

function diverged(stage: Stage, found: TrainPlan, result: Extract<LoopResult, { is: "diverged" }>, env: StageEnv) {
  const { metrics, step, lastLoss, batches } = result
  const what = Number.isFinite(metrics.loss) ? "the gradient" : "the loss"
  const value = Number.isFinite(metrics.loss) ? metrics.gradNorm : metrics.loss
  const row = batches[0]?.["row"]?.data[0] ?? 0
  const tokens = batches[0]?.["tokens"]
  const text = tokens === undefined ? "" : excerpt(found.tokenizer.decode(tokens.data.slice(0, found.first.length + 1)), 80)
  return diagnostic("SLM3301", stage.span, `${what} of \`${stage.name}\` is ${value} at step ${step}`, {
    notes: [
      ...(lastLoss === null ? ["this was the first step."] : [`the loss of the step before was ${lastLoss.toFixed(4)}.`]),
      `the batch begins with sample ${row}${env.private ? ", which is private" : `: "${text}"`}`,
    ],
    help: "lower the learning rate, clip gradients with `|> clip_norm(1.0)`, or give the schedule a longer warm-up",
  })
}
