/** `evaluate` and `loss_of`: sums and counts over all rows, each row once. */
import { factorsOf } from "../../compiler/graph/lower/context.ts"
import { lowerEvaluation } from "../../compiler/graph/lower/evaluate.ts"
import type { LoweredEvaluation } from "../../compiler/graph/lower/evaluate.ts"
import { libraryModule } from "../../compiler/check/modules.ts"
import { force } from "../../compiler/check/scopes.ts"
import type { Value } from "../../compiler/check/value.ts"
import { createLoader } from "../data/batches.ts"
import type { PackedRows } from "../data/pack.ts"
import { targetBytes } from "../data/pack.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { HostTensor } from "../device.ts"
import type { Weights } from "../weights.ts"
import { expectData } from "./artifact.ts"
import { givenTo } from "./encoded.ts"
import { ids, scalar, taken, writeStates } from "./feeds.ts"
import { packedInput } from "./data.ts"
import type { Executor, StageEnv } from "./environment.ts"
import { artifactArg, done, given, machineFor, numberArg, refOf, required } from "./environment.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { combine } from "./stepper.ts"
import { rowShapeOf } from "./train.ts"
import { countBytes, countParameters, startStates, weightsInput } from "./weights-io.ts"

interface Subject {
  readonly weights: Weights
  readonly packed: PackedRows
  readonly tokenizer: Tokenizer
}

async function subjectOf(stage: Stage, env: StageEnv): Promise<Subject> {
  const model = required(artifactArg(stage, "model"), stage, "model")
  const data = required(artifactArg(stage, "data"), stage, "data")
  const packed = await packedInput(stage, "data", env)
  const type = required(data.type.is === "tokens" ? data.type : null, stage, "data")
  const { tokenizer } = expectData(await env.input(type.tokenizer.stage), "tokenizer")
  return { weights: await weightsInput(model.stage, model.member, env), packed, tokenizer }
}

type Outputs = Readonly<Record<string, HostTensor>>

/** Runs the program over all rows in order; the last batch is filled with padding that counts nowhere. */
async function overRows(stage: Stage, lowered: LoweredEvaluation, { weights, packed }: Subject, batch: number, env: StageEnv, use: (outputs: Outputs, first: number) => void): Promise<boolean> {
  const given = givenTo(env.device, weights, lowered.weights)
  const program = given.over(lowered.program)
  const runner = await env.device.load(program)
  try {
    await writeStates(runner, program, given.states)
    await writeStates(runner, program, await startStates(lowered.called, 0, env))
    const loader = createLoader({ source: packed, batch, seed: 0, order: "sequential" })
    const total = Math.ceil(packed.rows / batch)
    for (let i = 0; i < total; i++) {
      if (env.signal?.aborted) return false
      use(await runner.step(taken(program, { ...loader.batch(i * batch), seed: ids([], [0]), step: ids([], [0]) })), i * batch)
      env.emit({ event: "work", stage: refOf(stage), done: i + 1, total, unit: "batches" })
    }
    return true
  } finally {
    runner.dispose()
  }
}

export const evaluateStage: Executor = async (stage, env) => {
  const subject = await subjectOf(stage, env)
  const batch = Math.min(numberArg(stage, "batch", env) ?? 16, subject.packed.rows)
  const request = { model: required(given(stage, "model"), stage, "model"), objective: required(given(stage, "objective"), stage, "objective"), loss: given(stage, "loss"), span: stage.span, factors: factorsOf(stage.args), byRow: false }
  const lowered = lowerEvaluation(env.session, stage, request, rowShapeOf(subject.packed, subject.tokenizer, batch))
  const [sums, counts] = [lowered.terms.map(() => 0), lowered.terms.map(() => 0)]
  let [correct, labelled] = [0, 0]
  const whole = await overRows(stage, lowered, subject, batch, env, (outputs) => {
    lowered.terms.forEach((_, t) => {
      sums[t] = (sums[t] ?? 0) + scalar(outputs, `sum.${t}`)
      counts[t] = (counts[t] ?? 0) + scalar(outputs, `count.${t}`)
    })
    if (lowered.accuracy) {
      correct += scalar(outputs, "correct")
      labelled += scalar(outputs, "labelled")
    }
  })
  if (!whole) return { is: "interrupted" }
  const loss = combine(lowered.terms, sums, counts)
  const values = new Map<string, number>([["loss", loss], ["perplexity", Math.exp(loss)], ["parameters", countParameters(subject.weights)], ["bytes", countBytes(subject.weights)]])
  if (lowered.accuracy && labelled > 0) values.set("accuracy", correct / labelled)
  // Bits per byte make sense where the loss is a mean over exactly the tokens that the text consists of.
  const bytes = counts[0] === subject.packed.stats.targets ? targetBytes(subject.packed, subject.tokenizer) : 0
  if (bytes > 0) values.set("bits_per_byte", (loss * (counts[0] ?? 0)) / Math.LN2 / bytes)
  return done({ is: "report", values }, Object.fromEntries(values))
}

/** The difficulty of each row: the mean loss of a trained model on it. */
export const lossOfStage: Executor = async (stage, env) => {
  const subject = await subjectOf(stage, env)
  const batch = Math.min(16, subject.packed.rows)
  const objective = nextToken(env)
  if (objective === null) throw new Error("stages: the library has no `next_token`")
  const request = { model: required(given(stage, "model"), stage, "model"), objective, loss: null, span: stage.span, factors: "f32" as const, byRow: true }
  const lowered = lowerEvaluation(env.session, stage, request, rowShapeOf(subject.packed, subject.tokenizer, batch))
  const values = new Float64Array(subject.packed.rows)
  const whole = await overRows(stage, lowered, subject, batch, env, (outputs, first) => {
    const [sums, counts] = [outputs["loss_by_row"], outputs["counts_by_row"]]
    for (let i = 0; i < batch && first + i < values.length; i++) values[first + i] = (sums?.data[i] ?? 0) / Math.max(1, counts?.data[i] ?? 0)
  })
  return whole ? done({ is: "difficulty", values }) : { is: "interrupted" }
}

/** `next_token` of the library, which is what makes a language model's loss; the recipe need not use it itself. */
function nextToken(env: StageEnv): Value | null {
  const machine = machineFor(env)
  const module = libraryModule("std.objectives", machine)
  const entry = module?.entries.get("next_token")
  return module === null || entry === undefined ? null : force(entry, module, machine)
}
