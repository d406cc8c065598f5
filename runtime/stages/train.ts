/** `train`: lowers the stage, runs the loop, reports, and keeps the weights. */
import { constant } from "../../compiler/check/poly.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
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
import { chatFrameOf } from "./chat-frame.ts"
import { ids, scalar, taken, writeStates } from "./feeds.ts"
import { packedInput } from "./data.ts"
import type { Executor, Outcome, StageEnv } from "./environment.ts"
import { artifactArg, done, failed, fromResult, given, numberArg, refOf, required, textsArg, wordArg } from "./environment.ts"
import type { Batch, States } from "./stepper.ts"
import { combine, createStepper } from "./stepper.ts"
import { runTraining } from "./training.ts"
import type { LoopResult, Progress } from "./training.ts"
import { startStates, weightsOfRole } from "./weights-io.ts"
import { createWriter } from "./writer.ts"

interface Plan {
  readonly source: PackedRows | Mixture
  readonly first: PackedRows
  readonly shape: TrainShape
  readonly seed: number
  readonly tokenizer: Tokenizer
}

export const trainStage: Executor = async (stage, env) => {
  const planned = await plan(stage, env)
  if ("is" in planned) return planned
  if (!planned.ok) return fromResult(planned, stage, () => failed())
  const found = planned.value
  const lowered = lowerTraining(env.session, stage, found.shape)
  const sample = sampler(stage, lowered, found, env)
  if (sample !== null && "code" in sample) return failed(sample)
  const states = await startStates(lowered.weights, found.seed, env)
  for (const [name, value] of await interpretStates(lowered, states)) states.set(name, value)
  const stepper = await createStepper(env.device, lowered, found.seed, states)
  const validator = await createValidator(stage, lowered, states, found, env)
  const reporter = createReporter(stage, found, env)
  try {
    const loader = createLoader({ source: found.source, batch: found.shape.rows, seed: found.seed })
    const result = await runTraining({ step: 0, states, best: null }, {
      lowered, stepper, total: found.shape.total, batches: (step) => batchesOf(loader, found.shape, step), validate: validator?.validate ?? null,
      keepBest: wordArg(stage, "keep") === "best", sample, report: reporter.report, signal: env.signal, clock: env.clock,
      warn: (message, help) => env.emit({ event: "warning", stage: refOf(stage), message, help }),
    })
    return finish(stage, lowered, found, result, reporter.last())
  } finally {
    stepper.dispose()
    validator?.dispose()
  }
}

// ---------------------------------------------------------------- what there is to do

async function plan(stage: Stage, env: StageEnv): Promise<Result<Plan> | Outcome> {
  const data = required(artifactArg(stage, "data"), stage, "data")
  const input = await env.input(data.stage)
  const first = input.is === "curriculum" ? input.first : await packedInput(stage, "data", env)
  const rows = required(numberArg(stage, "batch", env), stage, "batch")
  const accumulate = numberArg(stage, "accumulate", env) ?? 1
  const seed = numberArg(stage, "seed", env) ?? 0
  if (input.is === "curriculum" && given(stage, "epochs") !== null) {
    return failed(diagnostic("SLM3305", stage.span, "a mixture has no epochs", { help: "say how long to train in `steps` or `tokens`" }))
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
  return { rows, length: packed.length, vocab: { size: constant(tokenizer.size), origin: null }, label }
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

// ---------------------------------------------------------------- validation

/** Batches of one validation: few enough that all of them together take about a tenth of the training. */
function validationBatches(rows: number, batch: number, total: number): number {
  return Math.min(Math.ceil(rows / batch), Math.max(4, Math.ceil(total / 50)))
}

async function createValidator(stage: Stage, lowered: LoweredTraining, states: States, { shape, seed }: Plan, env: StageEnv) {
  if (given(stage, "valid") === null) return null
  const source = await packedInput(stage, "valid", env)
  const program = lowered.measure
  const runner = await env.device.load(program)
  await writeStates(runner, program, states)
  const count = validationBatches(source.rows, shape.rows, shape.total)
  const all = count * shape.rows >= source.rows
  const loader = createLoader({ source, batch: shape.rows, seed: 0, order: all ? "sequential" : "shuffled" })
  return {
    async validate(weights: States): Promise<number> {
      await writeStates(runner, program, weights)
      const [sums, counts] = [lowered.terms.map(() => 0), lowered.terms.map(() => 0)]
      for (let i = 0; i < count; i++) {
        const out = await runner.step(taken(program, { ...loader.batch(i * shape.rows), seed: ids([], [seed]), step: ids([], [0]) }))
        lowered.terms.forEach((_, t) => {
          sums[t] = (sums[t] ?? 0) + scalar(out, `sum.${t}`)
          counts[t] = (counts[t] ?? 0) + scalar(out, `count.${t}`)
        })
      }
      return combine(lowered.terms, sums, counts)
    },
    dispose: () => runner.dispose(),
  }
}

// ---------------------------------------------------------------- reports and samples

function createReporter(stage: Stage, { shape }: Plan, env: StageEnv) {
  const start = env.clock()
  const tokensPerStep = shape.rows * shape.accumulate * shape.length
  let [before, at] = [0, start]
  let last: Progress | null = null
  return {
    last: () => last,
    report(progress: Progress): void {
      const now = env.clock()
      const rate = (progress.step - before) / Math.max(now - at, 1e-6)
      ;[before, at, last] = [progress.step, now, progress]
      const { step, loss, valid, gradNorm, lr } = progress
      const secondsLeft = ((now - start) / step) * (shape.total - step)
      env.emit({ event: "progress", stage: refOf(stage), step, total: shape.total, loss, valid, gradNorm, lr, tokensPerSecond: rate * tokensPerStep, secondsLeft })
    },
  }
}

const sampleTokens = 48

/** Writes the prompts of `samples` with the weights of the moment, with every role that can; a diagnostic where none can. */
function sampler(stage: Stage, lowered: LoweredTraining, { seed, tokenizer }: Plan, env: StageEnv) {
  const prompts = textsArg(stage, "samples")
  if (prompts.length === 0) return null
  const models = writingModels(stage).map(({ role, spec, name }) => ({
    slots: lowered.weights.filter((slot) => slot.role === role), name, writer: createWriter(env.session, { spec, tokenizer, frame: chatFrameOf(stage) }, stage.span),
  }))
  const able = models.flatMap(({ writer, ...model }) => ("code" in writer ? [] : [{ ...model, writer }]))
  const [refused] = models.flatMap(({ writer }) => ("code" in writer ? [writer] : []))
  if (able.length === 0 && refused !== undefined) return refused
  return async (share: number, weights: States): Promise<void> => {
    for (const { slots, name, writer } of able) {
      const own = new Map(slots.flatMap((slot) => {
        const value = weights.get(slot.name)
        return value === undefined ? [] : [[`model.${slot.path}`, value] as const]
      }))
      // No signal: a sample that was cut off would be missing where the training goes on.
      const samples = await writer.write(env.device, own, prompts, { temperature: 0.8, topK: null, topP: null, seed, tokens: sampleTokens, stop: [], signal: null })
      for (const { prompt, text } of samples) env.emit({ event: "sample", stage: { ...refOf(stage), name }, at: share, prompt, text })
    }
  }
}

/** The models in training, under the names that people know: `pair.large` is a role of `pair`. */
function writingModels({ type, name }: Stage): readonly { readonly role: string; readonly spec: SpecValue; readonly name: string }[] {
  if (type.is === "weights") return [{ role: "model", spec: type.spec, name }]
  if (type.is !== "roles") return []
  return [...type.roles].flatMap(([role, { type: of }]) => (of.is === "weights" ? [{ role, spec: of.spec, name: `${name}.${role}` }] : []))
}

// ---------------------------------------------------------------- the end

function finish(stage: Stage, lowered: LoweredTraining, found: Plan, result: LoopResult, last: Progress | null): Outcome {
  if (result.is === "interrupted") return { is: "interrupted" }
  if (result.is === "diverged") return failed(diverged(stage, found, result))
  const best = wordArg(stage, "keep") === "best" ? result.state.best : null
  const states: States = best === null ? result.state.states : new Map([...result.state.states, ...best.weights])
  const roles = [...new Set(lowered.weights.filter((slot) => slot.kept).map((slot) => slot.role))]
  const members = new Map(roles.map((role) => [stage.type.is === "roles" ? role : "", weightsOfRole(lowered.weights, role, states)] as const))
  const valid = best?.valid ?? result.valid
  return done({ is: "weights", members, tokenizer: null }, {
    steps: found.shape.total, loss: last?.loss ?? result.loss,
    ...(valid === null ? {} : { valid }), ...(best === null ? {} : { best_step: best.step }),
  })
}

function diverged(stage: Stage, found: Plan, result: Extract<LoopResult, { is: "diverged" }>) {
  const { metrics, step, lastLoss, batches } = result
  const what = Number.isFinite(metrics.loss) ? "the gradient" : "the loss"
  const value = Number.isFinite(metrics.loss) ? metrics.gradNorm : metrics.loss
  const row = batches[0]?.["row"]?.data[0] ?? 0
  const tokens = batches[0]?.["tokens"]
  const text = tokens === undefined ? "" : excerpt(found.tokenizer.decode(tokens.data.slice(0, found.first.length + 1)), 80)
  return diagnostic("SLM3301", stage.span, `${what} of \`${stage.name}\` is ${value} at step ${step}`, {
    notes: [
      ...(lastLoss === null ? ["this was the first step."] : [`the loss of the step before was ${lastLoss.toFixed(4)}.`]),
      `the batch begins with sample ${row}: "${text}"`,
    ],
    help: "lower the learning rate, clip gradients with `|> clip_norm(1.0)`, or give the schedule a longer warm-up",
  })
}
