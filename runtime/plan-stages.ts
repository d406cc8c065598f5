/** What one stage would take: its programs are made and counted, nothing is run. */
import type { Checked } from "../compiler/check/check.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { validationSets } from "../compiler/check/validation.ts"
import { LoweringMistake, factorsOf } from "../compiler/graph/lower/context.ts"
import { lowerEvaluation } from "../compiler/graph/lower/evaluate.ts"
import { lowerNotes } from "../compiler/graph/lower/notes.ts"
import { lowerObservation } from "../compiler/graph/lower/observe.ts"
import { lowerTraining, type TrainShape } from "../compiler/graph/lower/train.ts"
import type { LoweredTraining } from "../compiler/graph/lower/programs.ts"
import { size, type Program } from "../compiler/graph/node.ts"
import { cost } from "../compiler/plan/cost.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Diagnostic } from "../grammar/diagnostic.ts"
import type { Count, Finished, Sizes } from "./plan-sizes.ts"
import type { Limits } from "./limits.ts"
import { OverLimit } from "./over-limit.ts"
import { fromFailure } from "./stages/environment.ts"
import { validationBatches } from "./stages/validation.ts"
import { memoryGoal } from "./stages/memory.ts"
import { unsuitedPrecision } from "./stages/precision.ts"
import { artifact, asStored, dataShape, memoryOf, nothingMeasured, number, rowShape, weightsOf, type Counting, type Measures } from "./plan-counting.ts"
import { measureContinuation, measureWriting, writingPrograms } from "./plan-writing.ts"

/** Counts a stage; or the mistake that its programs cannot be made with, or that they need more than `limits` allow. */
export function measureStage(stage: Stage, known: Checked, sizes: Sizes, device: Finished["device"] | null, limits: Limits): Measures | Diagnostic {
  try {
    return measured(stage, known, sizes, { device: device ?? null, limits })
  } catch (error) {
    if (error instanceof LoweringMistake) return error.diagnostic
    if (error instanceof OverLimit) return fromFailure(error.failure, stage)
    throw error
  }
}

function measured(stage: Stage, known: Checked, sizes: Sizes, device: Counting): Measures | Diagnostic {
  const unsuited = device.device === null ? null : unsuitedPrecision(stage, device.device.info)
  if (unsuited !== null) return unsuited
  switch (stage.kind) {
    case "train": return measureTraining(stage, known, sizes, device)
    case "evaluate": case "loss_of": return measureEvaluation(stage, known, sizes, device)
    case "observe": return measureObservation(stage, known, sizes)
    case "noted": return measureNotes(stage, known, sizes, device)
    case "continued": return measureContinuation(stage, known, sizes, device)
    case "generate": case "write": case "answered": return measureWriting(stage, known, sizes, device)
    case "load": case "overlay": case "initial": case "quantize": return { ...nothingMeasured, ...weightsOf(stage, known) }
    default: return nothingMeasured
  }
}

// ---------------------------------------------------------------- training

/** Steps that schedules are given where the data alone decides how many there are. */
const someSteps = 1000

function measureTraining(stage: Stage, known: Checked, sizes: Sizes, device: Counting): Measures | Diagnostic {
  const found = trainingShape(stage, known, sizes)
  if (found === null) return nothingMeasured
  const { shape, steps } = found
  const lowered = lowerTraining(known.session, stage, shape)
  const goal = device.device === null ? null : memoryGoal(stage, lowered, device.device, createMachine(known.session), device.limits.memory)
  if (goal !== null && "code" in goal) return goal
  const parts = partsOf(lowered, shape.accumulate)
  const validated = validationSets(stage.args).size === 0 ? [] : [{ program: lowered.measure }]
  const parameters = lowered.weights.filter((slot) => slot.kept).reduce((sum, slot) => sum + size(slot.shape), 0)
  const validation = validationCost(stage, lowered, shape, steps, sizes)
  return {
    parameters, disk: parameters * 4,
    ...memoryOf(stage, [...parts.map(({ program, graded }) => ({ program, most: graded ? goal?.most ?? Infinity : Infinity })), ...validated], device),
    tokens: steps === null ? null : { ...steps, value: steps.value * shape.rows * shape.accumulate * shape.length },
    flops: steps === null ? null : parts.reduce((sum, { program, times }) => sum + cost(program).flops * times, 0) * steps.value + validation,
  }
}

/** The programs of a step, how often each runs, and which has the gradients. */
function partsOf({ step, accumulation }: LoweredTraining, times: number): readonly { readonly program: Program; readonly times: number; readonly graded: boolean }[] {
  if (step !== null) return [{ program: step, times: 1, graded: true }]
  if (accumulation === null) return []
  const { count, gradient, apply } = accumulation
  return [{ program: count, times, graded: false }, { program: gradient, times, graded: true }, { program: apply, times: 1, graded: false }]
}

/** About 20 validations, each on at most a fiftieth as many batches as there are steps, of all sets together (spec 10). */
function validationCost(stage: Stage, { measure }: LoweredTraining, { rows, length, total }: TrainShape, steps: Count | null, sizes: Sizes): number {
  if (steps === null) return 0
  const sets = [...validationSets(stage.args).values()]
  const batches = sets.reduce((sum, set) => sum + validationBatches((sizes.packed(set.stage, set.member)?.value ?? Infinity) / length, rows, total, sets.length), 0)
  return cost(measure).flops * batches * Math.min(20, steps.value)
}

/** The shape of a training as far as the recipe tells it; `steps` is null where the number of steps depends on unknown data. */
export function trainingShape(stage: Stage, known: Checked, sizes: Sizes | null): { readonly shape: TrainShape; readonly steps: Count | null } | null {
  const data = artifact(stage, "data")
  const packed = dataShape(data, stage, known)
  const rows = number(stage, "batch", known)
  if (data === null || packed === null || rows === null) return null
  const accumulate = number(stage, "accumulate", known) ?? 1
  const perStep = rows * accumulate * packed.length
  const steps = stepsOf(stage, known, perStep, sizes?.packed(data.stage, data.member) ?? null)
  return { steps, shape: { ...rowShape(rows, packed), accumulate, total: steps?.value ?? someSteps } }
}

function stepsOf(stage: Stage, known: Checked, perStep: number, data: Count | null): Count | null {
  const steps = number(stage, "steps", known)
  if (steps !== null) return { value: steps, is: "exact" }
  const tokens = number(stage, "tokens", known)
  if (tokens !== null) return { value: Math.max(1, Math.ceil(tokens / perStep)), is: "exact" }
  const epochs = number(stage, "epochs", known)
  return epochs === null || data === null ? null : { value: Math.max(1, Math.ceil((epochs * data.value) / perStep)), is: data.is }
}

// ---------------------------------------------------------------- evaluation and generation

/** The program of an evaluation and the shape of its batches; null where something of it is not known. */
function evaluationOf(stage: Stage, known: Checked) {
  const [model, data] = [stage.args.get("model"), artifact(stage, "data")]
  const objective = stage.args.get("objective") ?? known.session.modules.get("std.objectives")?.entries.get("next_token")?.value
  const packed = dataShape(data, stage, known)
  if (model === undefined || objective === null || objective === undefined || data === null || packed === null) return null
  const rows = number(stage, "batch", known) ?? 16
  const loss = stage.args.get("loss")
  const request = { model, objective, loss: loss === undefined || loss.kind === "none" ? null : loss, span: stage.span, factors: factorsOf(stage.args), byRow: stage.kind === "loss_of" }
  return { lowered: lowerEvaluation(known.session, stage, request, rowShape(rows, packed)), data, tokensPerBatch: rows * packed.length }
}

function measureEvaluation(stage: Stage, known: Checked, sizes: Sizes, device: Counting): Measures {
  const found = evaluationOf(stage, known)
  if (found === null) return nothingMeasured
  const { lowered, data, tokensPerBatch } = found
  const tokens = sizes.packed(data.stage, data.member)
  const once = cost(lowered.program)
  return {
    parameters: lowered.weights.reduce((sum, w) => sum + size(w.shape), 0), tokens, disk: null,
    ...memoryOf(stage, [{ program: asStored(lowered.program, lowered.weights, artifact(stage, "model"), known, device) }], device),
    flops: tokens === null ? null : once.flops * Math.ceil(tokens.value / tokensPerBatch),
  }
}

function measureObservation(stage: Stage, known: Checked, sizes: Sizes): Measures {
  const data = artifact(stage, "data")
  const packed = dataShape(data, stage, known)
  const rows = number(stage, "batch", known) ?? 16
  if (data === null || packed === null) return nothingMeasured
  const { program, weights } = lowerObservation(known.session, stage, rowShape(rows, packed))
  const tokens = sizes.packed(data.stage, data.member)
  const once = cost(program)
  return {
    ...nothingMeasured, parameters: weights.reduce((sum, w) => sum + size(w.shape), 0), tokens, memory: once.peakBytes,
    disk: program.outputs.reduce((sum, { node }) => sum + 4 * size(node.shape), 0),
    flops: tokens === null ? null : once.flops * Math.ceil(tokens.value / (rows * packed.length)),
  }
}

/** What is noted is kept: its bytes are those of the rows times those of a row; whole numbers may take half of that. */
function measureNotes(stage: Stage, known: Checked, sizes: Sizes, device: Counting): Measures {
  const data = artifact(stage, "data")
  const packed = dataShape(data, stage, known)
  const rows = number(stage, "batch", known) ?? 16
  if (data === null || packed === null) return nothingMeasured
  const numbers = stage.args.get("numbers")
  const half = numbers?.kind === "symbol" && numbers.name === "f16"
  const { program, weights } = lowerNotes(known.session, stage, rowShape(rows, packed))
  const tokens = sizes.packed(data.stage, data.member)
  const batches = tokens === null ? null : Math.ceil(tokens.value / (rows * packed.length))
  return {
    ...nothingMeasured, parameters: weights.reduce((sum, w) => sum + size(w.shape), 0), tokens, ...memoryOf(stage, [{ program }], device),
    disk: batches === null ? null : batches * program.outputs.reduce((sum, { node }) => sum + (node.dtype === "bool" ? 1 : node.dtype === "f32" && half ? 2 : 4) * size(node.shape), 0),
    flops: batches === null ? null : cost(program).flops * batches,
  }
}

/** The programs of a stage; `raw`: as a training's were lowered, before any pass. Stages that run no graph have none. */
export function programsOf(stage: Stage, known: Checked, raw: boolean): readonly Program[] {
  if (stage.kind === "evaluate" || stage.kind === "loss_of") return [evaluationOf(stage, known)?.lowered.program].filter((p) => p !== undefined)
  if (stage.kind === "observe") {
    const packed = dataShape(artifact(stage, "data"), stage, known)
    return packed === null ? [] : [lowerObservation(known.session, stage, rowShape(number(stage, "batch", known) ?? 16, packed)).program]
  }
  if (stage.kind === "noted") {
    const packed = dataShape(artifact(stage, "data"), stage, known)
    return packed === null ? [] : [lowerNotes(known.session, stage, rowShape(number(stage, "batch", known) ?? 16, packed)).program]
  }
  if (stage.kind === "generate" || stage.kind === "write" || stage.kind === "answered") return writingPrograms(stage, known)
  const found = stage.kind === "train" ? trainingShape(stage, known, null) : null
  if (found === null) return []
  const { step, accumulation, measure } = lowerTraining(known.session, stage, { ...found.shape, raw })
  return [step, accumulation?.count, accumulation?.gradient, accumulation?.apply, measure].filter((p): p is Program => p !== null && p !== undefined)
}
