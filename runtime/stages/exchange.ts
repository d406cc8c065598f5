/** `load` and `export`: weights from and to foreign files. */
import * as fs from "node:fs"
import * as path from "node:path"
import { matches } from "../../compiler/check/address.ts"
import { resolveSpec } from "../../compiler/check/instance.ts"
import { addressesIn } from "../../compiler/check/training-weights.ts"
import type { FormatValue, SpecValue } from "../../compiler/check/value.ts"
import { weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import { failure } from "../data/result.ts"
import type { Result } from "../data/result.ts"
import { loadTokenizer } from "../data/tokenizer-json.ts"
import { mostTokenizerBytes } from "./data.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { Floats } from "../export/foreign.ts"
import { exportGguf } from "../export/gguf-export.ts"
import { exportHuggingFace } from "../export/huggingface.ts"
import { checkFolder, loadWeights, readHeaders } from "../export/load.ts"
import type { Result as ExportResult } from "../export/problem.ts"
import { resolveFor } from "../export/resolve.ts"
import type { Resolved } from "../export/resolve.ts"
import type { ExportTokenizer } from "../export/vocabulary.ts"
import { resolveInput, writeAtomic } from "../files.ts"
import type { InputFile } from "../files.ts"
import { readSmallText } from "../open-file.ts"
import { foreignPlace } from "../own-place.ts"
import type { Weights } from "../weights.ts"
import { writeWeights } from "../weights.ts"
import { whole } from "./artifact.ts"
import { chatFrameOf, endOfTurn, jinjaOf } from "./chat-frame.ts"
import type { Executor, Outcome, StageEnv } from "./environment.ts"
import { artifactArg, done, failed, fromFailure, fromProblems, fromResult, given, machineFor, refOf, required, textArg, wordArg } from "./environment.ts"
import { tokenizerOf } from "./generate.ts"
import { countParameters, weightsInput } from "./weights-io.ts"

/** A format for one model, whose parameters it sees, defaults included. */
function formatFor(format: FormatValue, spec: SpecValue, paths: readonly string[], env: StageEnv): Resolved {
  const machine = machineFor(env)
  return resolveFor(format, resolveSpec(spec, machine)?.args ?? spec.args, paths, machine)
}

// ---------------------------------------------------------------- load

/** The folder that `load` names; it is found by its config.json, so that the rules for inputs hold. */
export function loadFolder(stage: Stage, env: Pick<StageEnv, "folder" | "allowRead">): string | readonly Diagnostic[] {
  const wanted = (textArg(stage, "path") ?? "").replace(/\/+$/, "")
  const resolve = (name: string): Result<readonly InputFile[]> => resolveInput(`${wanted}/${name}`, env.folder, { allowRead: env.allowRead })
  const config = resolve("config.json")
  if (!config.ok) return config.failures.map((f) => fromFailure(f, stage))
  // A link beside it may lead elsewhere than the folder itself.
  const given = path.resolve(env.folder, wanted)
  const folder = wanted.startsWith("npm:") || !fs.existsSync(given) ? path.dirname(config.value[0]?.path ?? "") : given
  const others = weightFiles(folder).map(resolve)
  const failures = others.flatMap((found) => (found.ok ? [] : found.failures))
  return failures.length === 0 ? folder : failures.map((f) => fromFailure(f, stage))
}

/** What `load` may read of a folder. */
export function weightFiles(folder: string): readonly string[] {
  return fs.readdirSync(folder).filter((name) => /\.safetensors$|^(config|tokenizer|model\.safetensors\.index)\.json$/.test(name)).sort()
}

export const loadStage: Executor = async (stage, env) => {
  const folder = loadFolder(stage, env)
  if (typeof folder !== "string") return failed(...folder)
  const [spec, format] = [given(stage, "as"), given(stage, "format")]
  if (spec?.kind !== "spec" || format?.kind !== "format") throw new Error(`stages: ${stage.name} loads no specification`)
  const expected = new Map(weightsOfSpec(env.session, spec).map((weight) => [weight.path, weight.shape]))
  const resolved = formatFor(format, spec, [...expected.keys()], env)
  if (!resolved.ok) return failed(...resolved.diagnostics)
  const headers = readHeaders(folder)
  if (!headers.ok) return fromProblems(headers.problems, stage)
  const problems = checkFolder(headers.value, resolved.format, expected)
  if (problems.length > 0) return fromProblems(problems, stage)
  const weights = loadWeights(headers.value, resolved.format, expected)
  if (!weights.ok) return fromProblems(weights.problems, stage)
  const tokenizer = folderTokenizer(folder)
  if (tokenizer.note !== null) env.emit({ event: "warning", stage: refOf(stage), message: tokenizer.note, help: "texts for this model need its own tokenizer" })
  return done({ is: "weights", members: whole(weights.value), tokenizer: tokenizer.value }, { parameters: countParameters(weights.value) })
}

function folderTokenizer(folder: string): { readonly value: Tokenizer | null; readonly note: string | null } {
  const file = path.join(folder, "tokenizer.json")
  if (!fs.existsSync(file)) return { value: null, note: null }
  const text = readSmallText(file, mostTokenizerBytes)
  if (text === null) return { value: null, note: "its tokenizer.json is not used: it cannot be read, is larger than any tokenizer, or is not UTF-8" }
  const loaded = loadTokenizer(text)
  return loaded.ok ? { value: loaded.value, note: null } : { value: null, note: `its tokenizer.json is not used: ${loaded.failures[0]?.message ?? "it cannot be read"}` }
}

// ---------------------------------------------------------------- export

export const exportStage: Executor = async (stage, env) => {
  const model = required(artifactArg(stage, "model"), stage, "model")
  if (model.type.is !== "weights") throw new Error(`stages: ${stage.name} exports ${model.type.is}`)
  const { spec } = model.type
  const weights = await weightsInput(model.stage, model.member, env)
  const tokenizer = await tokenizerOf(model, env)
  const own = textArg(stage, "weights")
  const about = tokenizer === null ? null : exportTokenizer(tokenizer, model.stage)
  const written: { file: string; bytes: number }[] = []
  const floats = (wordArg(stage, "type") ?? "f32") as Floats
  for (const target of ["gguf", "safetensors"] as const) {
    const [wanted, format] = [textArg(stage, target), given(stage, `${target}_format`)]
    if (wanted === null || format?.kind !== "format") continue
    const resolved = formatFor(format, spec, [...weights.tensors.keys()], env)
    if (!resolved.ok) return failed(...resolved.diagnostics)
    if (target === "gguf" && about === null) return failed(diagnostic("SLM3304", stage.span, `there is no tokenizer for \`${model.stage.name}\`, and a GGUF file holds one`))
    const files: ExportResult<ReadonlyMap<string, Uint8Array>> = target === "gguf" && about !== null
      ? named(exportGguf(weights, resolved.format, about, { name: model.stage.name, floats }))
      : exportHuggingFace(weights, resolved.format, about, floats)
    if (!files.ok) return fromProblems(files.problems, stage)
    const outcome = writeAll(stage, wanted, files.value, env, written)
    if (outcome !== null) return outcome
  }
  const outcome = own === null ? null : writeAll(stage, own, new Map([["", writeWeights(chosen(weights, stage))]]), env, written)
  return outcome ?? done({ is: "files", files: written })
}

/** Those that `only` names, by their own addresses. */
function chosen(weights: Weights, { args }: Stage): Weights {
  const only = addressesIn(args, "only")
  return only.length === 0 ? weights : { tensors: new Map([...weights.tensors].filter(([path]) => only.some((address) => matches(address, path, "below")))) }
}

function named(bytes: ExportResult<Uint8Array>): ExportResult<ReadonlyMap<string, Uint8Array>> {
  return bytes.ok ? { ok: true, value: new Map([["", bytes.value]]) } : bytes
}

function exportTokenizer(tokenizer: Tokenizer, stage: Stage): ExportTokenizer {
  const frame = chatFrameOf(stage)
  return { json: tokenizer.json(), eos: tokenizer.endOfText, endOfTurn: endOfTurn(tokenizer, frame), pad: null, unk: tokenizer.unknown, chatTemplate: jinjaOf(frame) }
}

/** Writes below the run's folder and nowhere else. */
function writeAll(stage: Stage, wanted: string, files: ReadonlyMap<string, Uint8Array>, env: StageEnv, written: { file: string; bytes: number }[]): Outcome | null {
  const root = path.resolve(env.out)
  const place = path.resolve(root, wanted)
  if (path.isAbsolute(wanted) || path.relative(root, place).startsWith("..") || place === root) {
    return failed(fromFailure(failure("SLM3105", `\`${wanted}\` is not a place below the output folder`, "exports are written below the run's folder; `--out` chooses it"), stage))
  }
  for (const [name, data] of files) {
    const file = name === "" ? place : path.join(place, name)
    const foreign = foreignPlace(root, file)
    if (foreign !== null) return failed(fromFailure(foreign, stage))
    const result = writeAtomic(file, data)
    if (!result.ok) return fromResult(result, stage, () => done({ is: "files", files: [] }))
    written.push({ file, bytes: data.length })
    env.emit({ event: "exported", stage: refOf(stage), file: path.relative(process.cwd(), file), bytes: data.length })
  }
  return null
}
