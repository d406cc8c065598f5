/** A training as a folder of C: its programs, the rows it reads in the order it reads them, and its first state. */
import { lowerTraining } from "../../compiler/graph/lower/train.ts"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { Program } from "../../compiler/graph/node.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { mainFile } from "../../compiler/render/native/program.ts"
import type { NativeProgram, Origin } from "../../compiler/render/native/program.ts"
import { renderTrainMain } from "../../compiler/render/native/train.ts"
import type { TrainedFile } from "../../compiler/render/native/train.ts"
import type { CpuTarget } from "../../compiler/schedule/cpu.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import { createLoader } from "../data/batches.ts"
import type { Loader } from "../data/batches.ts"
import { parseSafetensors, parseHeader, writeSafetensors } from "../export/safetensors.ts"
import type { FileTensor } from "../export/safetensors.ts"
import { toFiles } from "../stages/persist.ts"
import { fromFailure, given, wordArg } from "../stages/environment.ts"
import type { StageEnv } from "../stages/environment.ts"
import { interpretStates, planTraining } from "../stages/train.ts"
import type { TrainPlan } from "../stages/train.ts"
import { validationEvery } from "../stages/training.ts"
import { validationOf } from "../stages/validation.ts"
import { startStates, weightsOfRole } from "../stages/weights-io.ts"
import type { States } from "../stages/stepper.ts"
import type { Weights } from "../weights.ts"
import { bytesOf, fileTensor, nativeProgram } from "./folder.ts"
import type { Files } from "./folder.ts"

export interface NativeSources {
  readonly files: Files
  /** C files beside `main.c`, without their headers. */
  readonly programs: readonly NativeProgram[]
  readonly binary: string
  readonly extra: readonly string[]
  /** For the page that explains the folder. */
  readonly about: readonly string[]
}

export async function nativeTraining(stage: Stage, env: StageEnv, target: CpuTarget, origin: Origin): Promise<NativeSources | readonly Diagnostic[]> {
  if (given(stage, "best") !== null) return [diagnostic("SLM3502", stage.span, `\`${stage.name}\` chooses its weights by \`best\`, and the C that slm writes knows the loss alone`, { help: "leave `best` out, or write `keep: last`" })]
  const planned = await planTraining(stage, env)
  if ("is" in planned) return planned.is === "failed" ? planned.diagnostics : []
  if (!planned.ok) return planned.failures.map((failure) => fromFailure(failure, stage))
  const found = planned.value
  const lowered = lowerTraining(env.session, stage, found.shape)
  const sets = await validationOf(stage, found, env)
  const programs = programsOf(lowered, sets.length > 0).map(([name, program]) => ({ program, native: nativeProgram(name, program, target) }))
  const states = await startStates(lowered.weights, found.seed, env)
  for (const [name, value] of await interpretStates(lowered, states)) states.set(name, value)
  const { rows, accumulate, total } = found.shape
  const wanted = new Set(programs.flatMap(({ program }) => program.inputs.filter(({ args }) => args.role === "batch").map(({ args }) => args.name)))
  const loader = createLoader({ source: found.source, batch: 1, seed: found.seed })
  const results = await trainedFiles(stage, lowered, states, env)
  const files = new Map<string, Uint8Array>([
    ["start.safetensors", writeSafetensors([...[...states].map(([name, value]) => fileTensor(name, value)), ...results.flatMap(({ unchanged }) => unchanged)])],
    ["data.safetensors", rowsFile([{ loader, samples: total * accumulate * rows }], wanted)],
  ])
  if (sets.length > 0) files.set("valid.safetensors", rowsFile(sets.map((set) => ({ loader: set.loader, samples: set.batches * rows })), wanted))
  const natives = programs.map(({ native }) => native)
  files.set("main.c", bytesOf(mainFile(`The training \`${stage.name}\`.`, natives, origin, renderTrainMain({
    name: stage.name, rows, accumulate, total, seed: found.seed, terms: lowered.terms,
    handed: lowered.accumulation === null ? null : { trained: lowered.weights.filter((slot) => slot.trained).map((slot) => slot.name), counts: lowered.accumulation.counts, sums: lowered.accumulation.sums },
    valid: sets.length === 0 ? null : { sets, every: validationEvery(total) },
    keepBest: wordArg(stage, "keep") === "best", files: results,
  }))))
  return { files, programs: natives, binary: "train", extra: [], about: about(found, sets.length > 0, lowered.metrics.map(({ name }) => name)) }
}

function programsOf({ step, accumulation, measure }: LoweredTraining, validates: boolean): readonly (readonly [string, Program])[] {
  const parts: (readonly [string, Program])[] = step !== null ? [["step", step]]
    : accumulation !== null ? [["count", accumulation.count], ["gradient", accumulation.gradient], ["apply", accumulation.apply]] : []
  return validates ? [...parts, ["measure", measure]] : parts
}

/** Every row that the samples are made of once (a batch begins with it), and which of them each sample is. */
function rowsFile(sets: readonly { readonly loader: Loader; readonly samples: number }[], wanted: ReadonlySet<string>): Uint8Array {
  const order: number[] = []
  const rows: ReturnType<Loader["batch"]>[] = []
  for (const { loader, samples } of sets) {
    const places = new Map<string, number>()
    for (let n = 0; n < samples; n++) {
      const { source, row, place } = loader.pick(n)
      const key = `${source} ${row} ${place ?? ""}`
      const known = places.get(key) ?? rows.length
      if (known === rows.length) {
        places.set(key, known)
        rows.push(loader.batch(n))
      }
      order.push(known)
    }
  }
  // Numbers of samples are made by the program itself.
  const tensors = [...wanted].filter((name) => name !== "row").flatMap((name): FileTensor[] => {
    const [first] = rows.map((row) => row[name])
    if (first === undefined) return []
    const width = first.data.length / (first.shape[0] ?? 1)
    const Numbers = first.data instanceof Uint8Array ? Uint8Array : first.data instanceof Float32Array ? Float32Array : Int32Array
    const data = new Numbers(rows.length * width)
    rows.forEach((row, i) => data.set(row[name]?.data.subarray(0, width) ?? [], i * width))
    return [{ name, dtype: first.dtype === "bool" ? "U8" : first.dtype === "f32" ? "F32" : "I32", shape: [rows.length, ...first.shape.slice(1)], data }]
  })
  return writeSafetensors([...tensors, { name: "order", dtype: "I32", shape: [order.length], data: Int32Array.from(order) }])
}

/** The result of the stage as `slm run` keeps it: a header that is known before the training, then the data of states, or what no step changes. */
async function trainedFiles(stage: Stage, lowered: LoweredTraining, states: States, env: StageEnv): Promise<readonly (TrainedFile & { readonly unchanged: readonly FileTensor[] })[]> {
  const roles = [...new Set(lowered.weights.filter((slot) => slot.kept).map((slot) => slot.role))]
  const members = new Map<string, Weights>()
  for (const role of roles) members.set(stage.type.is === "roles" ? role : "", await weightsOfRole(lowered.weights, role, states, env))
  return [...toFiles({ is: "weights", members, tokenizer: null }) ?? []].map(([file, bytes], i) => {
    const [header, whole] = [parseHeader(bytes, bytes.length), parseSafetensors(bytes)]
    if (!header.ok || !whole.ok) throw new Error(`native: ${file} was not written as weights`)
    const tensors = [...header.value.tensors].sort((a, b) => a.start - b.start)
    const trained = new Map(lowered.weights.filter((slot) => slot.role === roles[i] && slot.trained).map((slot) => [`${slot.path}#values`, slot.name]))
    const unchanged = whole.value.tensors.filter(({ name }) => !trained.has(name)).map((tensor) => ({ ...tensor, name: `${file} ${tensor.name}` }))
    return { file, header: bytes.slice(0, tensors[0]?.start ?? bytes.length), states: tensors.map(({ name }) => trained.get(name) ?? `${file} ${name}`), unchanged }
  })
}

function about({ shape }: TrainPlan, validates: boolean, metrics: readonly string[]): readonly string[] {
  return [
    `\`./train\` runs ${shape.total} steps and prints the loss of each; then it writes \`weights.safetensors\`, byte by byte what \`slm run\` keeps on the cpu device of this instruction family (with vectors alone: this program uses no AMX).`,
    "`start.safetensors` holds the first weights and optimiser states, `data.safetensors` the rows, of which `order` names one for each sample" + (validates ? ", `valid.safetensors` those of the validations." : "."),
    "The rows are the texts as tokens: this folder is as private as they are. Texts in between (`samples`), checkpoints and exports are left to `slm run`.",
    ...(metrics.length === 0 ? [] : [`So are the metrics: ${metrics.map((name) => `\`${name}\``).join(", ")}. Here validations tell the loss.`]),
  ]
}
