/**
 * slm as a library: what the command line does, for programs. Importing it starts nothing and reads nothing.
 *
 * ```ts
 * import { run, generate, render } from "slm"
 * const result = await run("npc.slm", { onEvent: (event) => console.log(event) })
 * if (result.status !== "done") console.error(render(result))
 * const [sample] = await generate(result.out, { prompts: ["Smith: "] })
 * ```
 *
 * Mistakes of a recipe are values (`diagnostics`), never exceptions; `render` shows them as the command line does. What a
 * caller gets wrong (a device that is not here, a folder that is no run) rejects with an `Error` that says what to do.
 */
import { check as checkSource } from "../compiler/check/check.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import { renderDiagnostics } from "../grammar/render.ts"
import type { Failure } from "./data/result.ts"
import type { Device, DeviceInfo } from "./device.ts"
import { deviceRate, openDevice } from "./devices/open.ts"
import { accessOf, type Access } from "./access.ts"
import { fetchModules } from "./fetch-modules.ts"
import { moduleReader } from "./library.ts"
import { classesOf } from "./lock-of-run.ts"
import { openPastRun, writeText } from "./past-run.ts"
import { planRecipe, summarise, type PlanSummary } from "./plan.ts"
import { folderOf, startProgram, type Artifact, type Program, type ProgramText } from "./program.ts"
import { readRecipe, type RecipeFile } from "./recipe.ts"
import type { ExpectResult } from "./expects.ts"
import type { StageResult } from "./run-state.ts"
import { atStart, lastLock, runInFolder, storeOf } from "./run-folder.ts"
import type { Sample } from "./stages/artifact.ts"
import type { Event, RunStatus, StageRef } from "./stages/events.ts"
import { createArtifactKeys } from "./stages/keys.ts"

export type { Diagnostic, Fix, Label, Source, Span } from "../grammar/diagnostic.ts"
export type { PlanSummary, StageSummary } from "./plan.ts"
export type { Count } from "./plan-sizes.ts"
export type { ExpectResult } from "./expects.ts"
export type { StageResult } from "./run-state.ts"
export type { Sample } from "./stages/artifact.ts"
export type { Event, RunStatus, StageRef } from "./stages/events.ts"
export type { Artifact, PlannedStage, Program } from "./program.ts"
export { whenStarted } from "./program.ts"
export { version } from "./version.ts"

export type Rows = Artifact<"rows">
export type Tokenizer = Artifact<"tokenizer">
export type Tokens = Artifact<"tokens">
export type Weights = Artifact<"weights">
export type Roles = Artifact<"roles">
export type Measures = Artifact<"report">
export type Samples = Artifact<"samples">
export type Statistics = Artifact<"statistics">
export type Difficulty = Artifact<"difficulty">
export type Notes = Artifact<"notes">
export type Files = Artifact<"files">

/** A recipe: the path of a file, or a text whose paths begin in `folder`. */
export type Recipe = string | { readonly text: string; readonly folder: string; readonly name?: string }

export interface CheckOptions {
  /** Values of the recipe's `param`s, as they would stand in its text: `{ lr: "1e-3" }`. */
  readonly set?: Readonly<Record<string, string | number>>
}

export interface PlanOptions extends CheckOptions {
  /** `cpu`, `tfjs`, `reference`; default: the best one usable here. */
  readonly device?: DeviceInfo["name"]
  /** Folders and files outside of the recipe's folder that it may read; what `set` names outside of it may be read too. */
  readonly allowRead?: readonly string[]
  /** Fetches modules of `https://` addresses that are not here yet; by default the network is left alone. */
  readonly allowNet?: boolean
  /** Bytes that one stage may need at once (default: three quarters of the machine's memory). */
  readonly maxMemory?: number
  /** Weights that one model may have (default: as many as the machine's memory can train). */
  readonly maxParams?: number
}

export interface RunOptions extends PlanOptions {
  /** Where results go; default: `runs/NAME` beside the recipe. */
  readonly out?: string
  /** Runs every stage, also those whose result is kept from an earlier run. */
  readonly fresh?: boolean
  /** Refuses where anything differs from `NAME.lock` beside the recipe. */
  readonly locked?: boolean
  /** Refuses where anything differs from the plan that `slm plan --out` wrote to this file. */
  readonly plan?: string
  /** Asks the run to stop after its step; its status is then `interrupted`. */
  readonly signal?: AbortSignal
  /** Hears of everything that happens, in order. */
  readonly onEvent?: (event: Event) => void
}

export interface GenerateOptions {
  readonly prompts: readonly string[]
  /** A model of the run by name; default: its last one. */
  readonly model?: string
  readonly device?: DeviceInfo["name"]
  /** At most so many new tokens for each prompt (200). */
  readonly tokens?: number
  /** 0 takes the most likely token (0.8). */
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  /** Same seed, same text (0). */
  readonly seed?: number
  /** Texts that end an answer; they are not part of it. */
  readonly stop?: readonly string[]
  readonly signal?: AbortSignal
}

/** What every answer about a recipe has. */
export interface Report {
  readonly diagnostics: readonly Diagnostic[]
  /** Every text that was read, by the id that spans name. */
  readonly sources: ReadonlyMap<string, Source>
}

export interface CheckReport extends Report {
  /** There is no error. */
  readonly ok: boolean
  /** What a run would do, inputs before what needs them. */
  readonly stages: readonly StageRef[]
}

export interface PlanReport extends Report {
  /** null: the recipe has errors. */
  readonly plan: PlanSummary | null
}

export interface RunReport extends Report {
  readonly status: RunStatus
  readonly stages: readonly StageResult[]
  readonly expects: readonly ExpectResult[]
  readonly seconds: number
  /** The run's folder, for `generate`. */
  readonly out: string
}

/** Proves that a recipe fits together. Runs nothing, reads no data. */
export function check(recipe: Recipe, options: CheckOptions = {}): CheckReport {
  const file = fileOf(recipe)
  if ("code" in file) return { ok: false, stages: [], ...unreadable(recipe, file) }
  const { diagnostics, sources, recipe: found } = checkFile(file, options)
  return { ok: found !== null, diagnostics, sources, stages: (found?.stages ?? []).map(({ key, name, kind }) => ({ key, name, kind })) }
}

/** Says what a run would do: stages, parameters, arithmetic, memory and time. Starts nothing. */
export async function plan(recipe: Recipe, options: PlanOptions = {}): Promise<PlanReport> {
  const file = fileOf(recipe)
  if ("code" in file) return { plan: null, ...unreadable(recipe, file) }
  const missing = await fetched(file, options)
  if (missing !== null) return { plan: null, ...missing }
  const checked = checkFile(file, options)
  const device = await deviceOf(options.device)
  const place = { folder: file.folder, allowRead: accessTo(file, options).allowRead }
  const finished = { store: storeOf(file.folder, () => {}), keys: createArtifactKeys(place, device.info), device, limits: accessTo(file, options).limits }
  const lock = lastLock(file)
  const planned = planRecipe(file.source, environmentOf(file, options), checked, finished, place, lock === null ? null : { lock, numericsClass: classesOf(checked, device.info) })
  return { diagnostics: [...checked.diagnostics, ...(planned?.problems ?? [])], sources: checked.sources, plan: planned === null ? null : summarise(planned, deviceRate(device.info.name)) }
}

/** Runs a recipe as `slm run` does: finished stages are reused, and the run's folder holds its record. */
export async function run(recipe: Recipe, options: RunOptions = {}): Promise<RunReport> {
  const file = fileOf(recipe)
  if ("code" in file) return { ...nothing, ...unreadable(recipe, file), out: options.out ?? "" }
  const missing = await fetched(file, options)
  if (missing !== null) return { ...nothing, ...missing, out: options.out ?? "" }
  const device = await deviceOf(options.device)
  const result = await runInFolder(file, {
    params: paramsOf(options), device, out: options.out ?? null, fresh: options.fresh ?? false, locked: options.locked ?? false, plan: options.plan ?? null, ...accessTo(file, options),
    signal: options.signal ?? null, ...(options.onEvent === undefined ? {} : { emit: options.onEvent }),
  })
  if ("code" in result) return { ...nothing, ...reported(file, result), out: options.out ?? "" }
  const { status, diagnostics, sources, stages, expects, seconds, out } = result
  return { status, diagnostics, sources, stages, expects, seconds, out }
}

/** Continues prompts with a model of a finished run, given by its folder. */
export async function generate(folder: string, options: GenerateOptions): Promise<readonly Sample[]> {
  const past = openPastRun(folder)
  if ("message" in past) throw new Error(`${past.message}: ${past.help}`)
  const model = options.model === undefined ? past.models.at(-1) : past.models.find(({ name }) => name === options.model)
  if (model === undefined) throw new Error(`the run has no model ${options.model ?? "at all"}; it has: ${past.models.map(({ name }) => name).join(", ") || "none"}`)
  const written = await writeText(past, model, await deviceOf(options.device), options.prompts, {
    tokens: options.tokens ?? 200, temperature: options.temperature ?? 0.8, topK: options.topK ?? null, topP: options.topP ?? null,
    seed: options.seed ?? 0, stop: options.stop ?? [], signal: options.signal ?? null,
  })
  if ("message" in written) throw new Error(`${written.message}${written.help === null ? "" : `: ${written.help}`}`)
  return written
}

/** A program written by `slm compile --emit ts`: its recipe, its plan, and where it lies. */
export interface ProgramSource extends Pick<ProgramText, "name" | "recipe" | "plan" | "set"> {
  /** `import.meta.url` of the program: paths of the recipe begin in its folder. */
  readonly module: string
}

export interface ProgramOptions extends Omit<RunOptions, "set" | "plan" | "allowNet"> {
  /** Where the recipe's paths begin; default: the folder of the program. */
  readonly folder?: string
}

/** Begins a run whose stages the program asks for one by one; it ends with `finish`. What is wrong rejects with an `Error`. */
export async function openProgram({ module, ...text }: ProgramSource, options: ProgramOptions = {}): Promise<Program> {
  const folder = options.folder ?? folderOf(module)
  const file = { source: { id: `${text.name}.slm`, text: text.recipe }, folder, name: text.name }
  return startProgram({ ...text, folder }, await deviceOf(options.device), {
    out: options.out ?? null, fresh: options.fresh ?? false, locked: options.locked ?? false, ...accessTo(file, { ...options, set: text.set }),
    signal: options.signal ?? null, ...(options.onEvent === undefined ? {} : { emit: options.onEvent }),
  })
}

/** The mistakes of a report as text, with the lines they are on. */
export function render(report: Report, options: { readonly color?: boolean } = {}): string {
  return renderDiagnostics(report.diagnostics, report.sources, { color: options.color ?? false })
}

// ---------------------------------------------------------------- between the library's words and the rooms'

const nothing = { status: "failed", stages: [], expects: [], seconds: 0 } as const satisfies Partial<RunReport>

function fileOf(recipe: Recipe): RecipeFile | Failure {
  if (typeof recipe === "string") return readRecipe(recipe)
  const name = recipe.name ?? "recipe"
  return { source: { id: `${name}.slm`, text: recipe.text }, folder: recipe.folder, name }
}

function unreadable(recipe: Recipe, failure: Failure): Report {
  const id = typeof recipe === "string" ? recipe : (recipe.name ?? "recipe")
  return reported({ source: { id, text: "" }, folder: "", name: id }, failure)
}

function reported(file: RecipeFile, failure: Failure): Report {
  return { diagnostics: [atStart(file, failure)], sources: new Map([[file.source.id, file.source]]) }
}

function paramsOf({ set = {} }: CheckOptions): ReadonlyMap<string, string> {
  return new Map(Object.entries(set).map(([name, value]) => [name, String(value)]))
}

function accessTo(file: RecipeFile, options: RunOptions): Access {
  return accessOf({ allowRead: options.allowRead ?? [], params: paramsOf(options), maxMemory: options.maxMemory ?? null, maxParams: options.maxParams ?? null }, file.folder)
}

/** What could not be fetched; null: nothing, or nothing was to be. */
async function fetched(file: RecipeFile, { allowNet = false }: PlanOptions): Promise<Report | null> {
  const found = allowNet ? await fetchModules(file) : null
  return found === null || found.diagnostics.length === 0 ? null : { diagnostics: found.diagnostics, sources: found.sources }
}

function environmentOf(file: RecipeFile, options: CheckOptions) {
  return { modules: moduleReader(file.folder), params: paramsOf(options), facts: new Map<string, number>() }
}

function checkFile(file: RecipeFile, options: CheckOptions) {
  return checkSource(file.source, environmentOf(file, options))
}

async function deviceOf(name: DeviceInfo["name"] | undefined): Promise<Device> {
  const device = await openDevice(name ?? null)
  if ("load" in device) return device
  throw new Error(device.length === 0 ? `there is no device ${name ?? ""}` : device.map(({ name: tried, reason, help }) => `${tried} cannot be used: ${reason}; ${help}`).join("\n"))
}
