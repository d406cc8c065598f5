/**
 * A run: stages in order, each executed or taken from the store; what they teach is added to the facts, the recipe is checked
 * again, and conditions are decided as soon as their numbers are there (spec 10).
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { Checked, CheckedExpect } from "../compiler/check/check.ts"
import { check } from "../compiler/check/check.ts"
import { LoweringMistake } from "../compiler/graph/lower/context.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import { diagnostic } from "../grammar/diagnostic.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import { DeviceFailure } from "./device.ts"
import type { Device } from "./device.ts"
import type { ExpectResult } from "./expects.ts"
import { decided, doesNotHold, undecided } from "./expects.ts"
import type { FileHashes } from "./file-hashes.ts"
import { writeAtomic } from "./files.ts"
import type { ArtifactData } from "./stages/artifact.ts"
import type { Facts, Outcome, StageEnv } from "./stages/environment.ts"
import { failed, fromFailure, refOf } from "./stages/environment.ts"
import type { Emit, RunStatus, StageRef } from "./stages/events.ts"
import { kinds } from "./stages/execute.ts"
import type { ArtifactKeys } from "./stages/keys.ts"
import { createArtifactKeys } from "./stages/keys.ts"
import { fromFiles, toFiles } from "./stages/persist.ts"
import type { Checkpoints } from "./store/checkpoints.ts"
import type { Files, Store } from "./store/store.ts"
import type { Difference, Lock } from "./lock.ts"
import { compareArithmetic, compareLock, compareResults } from "./lock.ts"
import { classesOf, hashOfFiles, lockOf } from "./lock-of-run.ts"
import { limited, machineLimits, oversizedModels, type Limits } from "./limits.ts"
import { OverLimit } from "./over-limit.ts"
import { foreignPlace } from "./own-place.ts"
import { writeSnapshot } from "./snapshot.ts"
import { isPrivate, pathsOf } from "./stages/sources.ts"
import { systemFailure } from "./system-error.ts"
import type { Moment } from "./trace.ts"
import { traceFile, writeTrace } from "./trace.ts"
import { yielding } from "./yielding.ts"

export interface RunOptions {
  readonly recipe: Source
  /** Where the recipe's paths begin. */
  readonly folder: string
  readonly modules: (id: string, from: string) => Source | null
  readonly params: ReadonlyMap<string, string>
  readonly device: Device
  /** The run's folder: exports and copies of the artifacts. */
  readonly out: string
  readonly store: Store
  /** Nothing is taken from the store; results are still put there. */
  readonly fresh?: boolean
  readonly allowRead?: readonly string[]
  /** What a stage and a model may take; default: what the machine has. */
  readonly limits?: Limits
  /** Refuses to run, or to call the results right, where anything differs from this. */
  readonly locked?: Lock | null
  /** Refuses to run where anything differs from this plan, or the device is another one. */
  readonly planned?: Lock | null
  /** Default: every input is read. */
  readonly hashes?: FileHashes
  /** What is known before any stage has run (default nothing). */
  readonly facts?: ReadonlyMap<string, number>
  /**
   * Says which stage is wanted next, by its key, once the last one is done; null: no more. Default: all, in order. Whoever asks
   * keeps inputs before what needs them.
   */
  readonly next?: (last: StageResult | null) => Promise<string | null>
  /** Leaves out every other stage, and the expectations: `slm data` stops before the first training. */
  readonly only?: (stage: Stage) => boolean
  readonly signal?: AbortSignal | null
  /** Seconds between checkpoints of a training, at least (default 30); 0: one after every step. */
  readonly checkpointSeconds?: number
  /** Trainings end after so many steps, as if interrupted: for comparing them with what was recorded. */
  readonly stopAfter?: number | null
  readonly emit: Emit
  /** Seconds; default the process's clock. */
  readonly clock?: () => number
}

export interface RunResult {
  readonly status: RunStatus
  /** What stopped the run, and warnings. */
  readonly diagnostics: readonly Diagnostic[]
  readonly sources: ReadonlyMap<string, Source>
  readonly stages: readonly StageResult[]
  readonly expects: readonly ExpectResult[]
  /** `<stage key>.<field>` -> number. */
  readonly facts: ReadonlyMap<string, number>
  readonly seconds: number
  /** What the run depended on and what came out; null where it is not done. */
  readonly lock: Lock | null
  /** The result of a stage that was run or reused, made again where it is not kept. */
  result(stage: Stage): Promise<ArtifactData> | null
}

export interface StageResult {
  readonly stage: StageRef
  readonly cached: boolean
  readonly seconds: number
  readonly facts: Facts
  /** The key of its result, for comparing runs; null where it reads what is not there. */
  readonly artifactKey: string | null
  /** A hash over the files of the result; null where none are kept. */
  readonly content: string | null
  /** The folder below the run's that holds a copy of the result. */
  readonly folder: string | null
}

/** Everything that changes while a run goes on. */
interface RunState {
  readonly options: RunOptions
  /** `options.device`, which lets the process hear of signals between steps. */
  readonly device: Device
  readonly clock: () => number
  readonly limits: Limits
  readonly keys: ArtifactKeys
  readonly facts: Map<string, number>
  readonly made: Map<string, Promise<ArtifactData>>
  readonly finished: Map<string, StageResult>
  readonly decided: Map<string, ExpectResult>
  readonly diagnostics: Diagnostic[]
  checked: Checked
}

/** Carries the outcome of an input that could not be made again. */
class InputStopped extends Error {
  readonly outcome: Exclude<Outcome, { is: "done" }>
  constructor(outcome: Exclude<Outcome, { is: "done" }>) {
    super("an input of a stage could not be made again")
    this.outcome = outcome
  }
}

export async function run(options: RunOptions): Promise<RunResult> {
  const clock = options.clock ?? (() => performance.now() / 1000)
  const start = clock()
  const place = { folder: options.folder, allowRead: options.allowRead ?? [] }
  const limits = options.limits ?? machineLimits()
  const state: RunState = {
    options, clock, limits, device: limited(yielding(options.device), limits), keys: createArtifactKeys(place, options.device.info, options.hashes), facts: new Map(options.facts), made: new Map(), finished: new Map(), decided: new Map(),
    diagnostics: [], checked: recheck(options, options.facts ?? new Map()),
  }
  const stages = state.checked.recipe?.stages ?? []
  options.emit({ event: "run-started", recipe: options.recipe.id, device: options.device.info.detail, numericsClass: options.device.info.numericsClass, stages: stages.map(refOf) })
  const begins = locked(state) && accept(state) && (options.only !== undefined || record(state))
  const status = begins ? await runStages(state) : "failed"
  const lock = status === "done" && options.only === undefined ? lockOfRun(state) : null
  const seconds = clock() - start
  const agrees = lock === null || refuse(state, options.locked ? compareResults(options.locked, lock) : [])
  // What is refused before it begins leaves the record of the run before.
  const ended = (!begins || record(state)) && agrees ? status : "failed"
  options.emit({ event: "run-finished", status: ended, seconds })
  return {
    status: ended, diagnostics: state.diagnostics, sources: state.checked.sources, stages: [...state.finished.values()], expects: [...state.decided.values()],
    facts: state.facts, seconds, lock, result: (stage) => state.made.get(stage.key) ?? null,
  }
}

/** Compares what this run depends on with the lock it is held to. The facts of the lock decide what only a run can tell. */
function locked(state: RunState): boolean {
  const { options, keys } = state
  const lock = options.locked ?? options.planned ?? null
  if (lock === null || state.checked.recipe === null) return true
  const facts = new Map(lock.stages.flatMap(({ key, facts: of }) => Object.entries(of).map(([field, value]) => [`${key}.${field}`, value] as const)))
  const then = recheck(options, facts)
  const checked = then.recipe === null ? state.checked : then
  const now = lockOf({ checked, params: options.params, numericsClass: classesOf(checked, options.device.info), keys, yields: new Map() })
  return refuse(state, [...compareLock(lock, now), ...(options.planned ? compareArithmetic(options.planned, now) : [])])
}

function lockOfRun({ options, keys, checked, finished }: RunState): Lock {
  const yields = new Map([...finished].map(([key, { content, facts }]) => [key, { result: content, facts }] as const))
  return lockOf({ checked, params: options.params, numericsClass: classesOf(checked, options.device.info), keys, yields })
}

/** Reports differences from a lock; true: there are none. */
function refuse(state: RunState, differences: readonly Difference[]): boolean {
  const nowhere = { source: state.options.recipe.id, start: 0, end: 0 }
  const stages = new Map(state.checked.recipe?.stages.map((stage) => [stage.key, stage.span]))
  report(state, differences.map(({ code, message, stage }) => diagnostic(code, stages.get(stage ?? "") ?? nowhere, message, { help: state.options.planned ? "undo the change, or plan anew: `slm plan --out`" : "undo the change, or run without `--locked` to take it down" })))
  return differences.length === 0
}

function recheck(options: RunOptions, facts: ReadonlyMap<string, number>): Checked {
  return check(options.recipe, { modules: options.modules, params: options.params, facts })
}

async function runStages(state: RunState): Promise<RunStatus> {
  const { options } = state
  for (let last: string | null = null; ; ) {
    const wanted: string | null | undefined = await options.next?.(last === null ? null : (state.finished.get(last) ?? null))
    const stages = state.checked.recipe?.stages ?? []
    const index = stages.findIndex((stage) => (wanted === undefined ? !state.finished.has(stage.key) && (options.only?.(stage) ?? true) : stage.key === wanted))
    const stage = stages[index]
    if (stage === undefined) break
    last = stage.key
    if (state.finished.has(stage.key)) continue
    if (options.signal?.aborted) return "interrupted"
    const outcome = await guarded(stage, options.signal, () => runStage(state, stage, index, stages.length))
    if (outcome.is === "interrupted") return "interrupted"
    if (outcome.is === "failed") {
      report(state, outcome.diagnostics)
      return "failed"
    }
    if (!learn(state, stage, outcome.facts)) return "failed"
  }
  return options.only === undefined ? conclude(state) : "done"
}

/** Takes over the mistakes of the last check; false: there are errors. */
function accept(state: RunState): boolean {
  report(state, state.checked.diagnostics)
  const oversized = oversizedModels(state.checked.recipe?.stages ?? [], state.checked.session, state.limits)
  report(state, oversized)
  return state.checked.recipe !== null && oversized.length === 0
}

function report(state: RunState, diagnostics: readonly Diagnostic[]): void {
  for (const d of diagnostics) {
    const known = state.diagnostics.some((other) => other.code === d.code && other.span.source === d.span.source && other.span.start === d.span.start && other.message === d.message)
    if (known) continue
    state.diagnostics.push(d)
    state.options.emit({ event: "diagnostic", diagnostic: d })
  }
}

// ---------------------------------------------------------------- one stage

/**
 * What the operating system refuses, to the stage or to the store of its result, is a mistake at the stage's place; and what
 * does not fit the data is one at the place that says so.
 */
async function guarded(stage: Stage, signal: AbortSignal | null | undefined, work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof LoweringMistake) return failed(error.diagnostic)
    if (error instanceof OverLimit) return failed(fromFailure(error.failure, stage))
    // What works for a device may be stopped by the same Ctrl-C as the run.
    if (error instanceof DeviceFailure && signal?.aborted === true) return { is: "interrupted" }
    if (error instanceof DeviceFailure) return failed(diagnostic("SLM3501", stage.span, error.message, { help: error.help }))
    const refused = systemFailure(error)
    if (refused === null) throw error
    return failed(fromFailure(refused, stage))
  }
}

async function runStage(state: RunState, stage: Stage, index: number, count: number): Promise<Outcome> {
  const artifactKey = state.keys.of(stage)
  const place: Place = { stage, index, count, artifactKey }
  if (artifactKey === null || kinds[stage.kind].result !== "kept") return (await reuse(state, place)) ?? make(state, place)
  const before = await reuse(state, place)
  if (before !== null) return before
  const { options } = state
  const hold = await options.store.hold(artifactKey, options.signal ?? null, (holder) => {
    options.emit({ event: "warning", stage: refOf(stage), message: `${holder} is at work on \`${stage.name}\`: this run waits for its result`, help: null })
  })
  if (hold === null) return { is: "interrupted" }
  try {
    return (await reuse(state, place)) ?? (await make(state, place))
  } finally {
    hold.release()
  }
}

interface Place { readonly stage: Stage; readonly index: number; readonly count: number; readonly artifactKey: string | null }

/** Takes the result from the store; null: it is not there. */
async function reuse(state: RunState, { stage, index, count, artifactKey }: Place): Promise<Outcome | null> {
  const { options } = state
  const entry = artifactKey === null || kinds[stage.kind].result === "always" || options.fresh === true ? null : options.store.get(artifactKey)
  const cached = entry === null ? null : fromEntry(state, stage, entry.files)
  if (entry === null || cached === null) return null
  const { facts } = entry.about
  options.emit({ event: "stage-cached", stage: refOf(stage), index, count, facts })
  state.made.set(stage.key, cached)
  if (stage.kind === "generate") repeatSamples(options.emit, stage, await cached)
  return finish(state, stage, { cached: true, seconds: 0, facts, artifactKey, files: entry.files }) ?? { is: "done", data: emptyData, facts }
}

async function make(state: RunState, { stage, index, count, artifactKey }: Place): Promise<Outcome> {
  const { options } = state
  const { result } = kinds[stage.kind]
  const from = pathsOf(stage)
  const checkpoints = artifactKey === null || result !== "kept" ? null : options.store.checkpoints(artifactKey, from)
  if (options.fresh === true) checkpoints?.clear()
  options.emit({ event: "stage-started", stage: refOf(stage), index, count })
  const start = state.clock()
  const moments: Moment[] = []
  const outcome = await executed(state, stage, checkpoints, (event) => {
    if (event.event === "trace") moments.push(event)
    options.emit(event)
  })
  if (outcome.is !== "done") return outcome
  const seconds = state.clock() - start
  const made = result === "kept" ? toFiles(outcome.data) : null
  const files = made === null || moments.length === 0 ? made : new Map([...made, [traceFile, writeTrace(moments)]])
  if (artifactKey !== null && result !== "always") options.store.put(artifactKey, { kind: stage.kind, name: stage.name, facts: outcome.facts, from }, files ?? new Map())
  checkpoints?.clear()
  state.made.set(stage.key, Promise.resolve(outcome.data))
  const refused = finish(state, stage, { cached: false, seconds, facts: outcome.facts, artifactKey, files })
  if (refused !== null) return refused
  options.emit({ event: "stage-finished", stage: refOf(stage), seconds, facts: outcome.facts })
  return outcome
}

/** What was written before is part of what a run shows. */
function repeatSamples(emit: Emit, stage: Stage, data: ArtifactData): void {
  if (data.is === "samples" && !isPrivate(stage)) for (const { prompt, text } of data.samples) emit({ event: "sample", stage: refOf(stage), at: null, prompt, text })
}

/** Stands for data that nobody looks at: only the facts of a stored stage are used here. */
const emptyData: ArtifactData = { is: "files", files: [] }

/** The stored result, read when it is needed; null where the files do not hold it. */
function fromEntry(state: RunState, stage: Stage, files: Files): Promise<ArtifactData> | null {
  if (kinds[stage.kind].result === "remade") return remakeLater(state, stage)
  const data = fromFiles(stage, files, state.checked.session)
  return data === null ? null : Promise.resolve(data)
}

/** A promise that starts its work when it is first awaited. */
function remakeLater(state: RunState, stage: Stage): Promise<ArtifactData> {
  let made: Promise<ArtifactData> | null = null
  const remake = async (): Promise<ArtifactData> => {
    const outcome = await executed(state, stage, null, state.options.emit)
    if (outcome.is !== "done") throw new InputStopped(outcome)
    return outcome.data
  }
  const start = (): Promise<ArtifactData> => (made ??= remake())
  return {
    then: (ok, bad) => start().then(ok, bad), catch: (bad) => start().catch(bad), finally: (end) => start().finally(end), [Symbol.toStringTag]: "Promise",
  }
}

async function executed(state: RunState, stage: Stage, checkpoints: Checkpoints | null, emit: Emit): Promise<Outcome> {
  try {
    return await kinds[stage.kind].execute(stage, envOf(state, stage, checkpoints, emit))
  } catch (error) {
    if (error instanceof InputStopped) return error.outcome
    throw error
  }
}

function envOf(state: RunState, of: Stage, checkpoints: Checkpoints | null, emit: Emit): StageEnv {
  const { options, clock } = state
  return {
    device: state.device, limits: state.limits, session: state.checked.session, folder: options.folder, out: options.out, allowRead: options.allowRead ?? [],
    signal: options.signal ?? null, emit, clock, checkpoints, checkpointSeconds: options.checkpointSeconds ?? 30, stopAfter: options.stopAfter ?? null, private: isPrivate(of),
    async input(stage) {
      const made = state.made.get(stage.key)
      if (made === undefined) throw new Error(`run: ${stage.name} is needed before it was made`)
      return made
    },
  }
}

interface Finished { readonly cached: boolean; readonly seconds: number; readonly facts: Facts; readonly artifactKey: string | null; readonly files: Files | null }

/** Keeps a copy of the result in the run's folder; what went wrong, or null. */
function finish(state: RunState, stage: Stage, { files, ...rest }: Finished): Outcome | null {
  const folder = files === null || files.size === 0 ? null : freeFolder(state, stage)
  const refused = folder === null || files === null ? null : copyFiles(stage, state.options.out, folder, files)
  const content = files === null || files.size === 0 ? null : hashOfFiles(files)
  if (refused === null) state.finished.set(stage.key, { stage: refOf(stage), ...rest, content, folder })
  return refused
}

/** `artifacts/NAME`; stages that have no name of their own may share one: `evaluate-npc`, `evaluate-npc-2`. */
function freeFolder(state: RunState, stage: Stage): string {
  const wanted = path.join("artifacts", stage.name.replace(/[^A-Za-z0-9._-]+/g, "-"))
  const used = new Set([...state.finished.values()].map(({ folder }) => folder))
  let folder = wanted
  for (let n = 2; used.has(folder); n++) folder = `${wanted}-${n}`
  return folder
}

/** The folder holds these files and no older ones, each whole. */
function copyFiles(stage: Stage, out: string, name: string, files: Files): Outcome | null {
  const folder = path.join(out, name)
  const foreign = foreignPlace(out, folder)
  if (foreign !== null) return failed(fromFailure(foreign, stage))
  fs.mkdirSync(folder, { recursive: true })
  // What another run is writing here at this moment has the name of a temporary file.
  for (const file of fs.readdirSync(folder)) if (!files.has(file) && !file.endsWith(".tmp")) fs.rmSync(path.join(folder, file), { recursive: true, force: true })
  for (const [file, data] of files) {
    const written = writeAtomic(path.join(folder, file), data)
    if (!written.ok) return failed(...written.failures.map((failure) => fromFailure(failure, stage)))
  }
  return null
}

// ---------------------------------------------------------------- facts and conditions

/** Adds what a stage taught; where the recipe reads it, it is checked again. False: it is wrong in the light of it. */
function learn(state: RunState, stage: Stage, facts: Facts): boolean {
  for (const [field, value] of Object.entries(facts)) state.facts.set(`${stage.key}.${field}`, value)
  if (!state.checked.session.read.has(stage.key) && stage.type.is !== "tokenizer") return true
  state.checked = recheck(state.options, state.facts)
  if (!accept(state)) return false
  for (const expectation of state.checked.recipe?.expects ?? []) decide(state, expectation)
  return true
}

function decide(state: RunState, expectation: CheckedExpect): void {
  const key = `${expectation.span.source}:${expectation.span.start}`
  const result = state.decided.has(key) ? null : decided(expectation, state.facts)
  if (result === null) return
  state.decided.set(key, result)
  state.options.emit({ event: "expect", ...result })
  report(state, doesNotHold(expectation, result))
}

/** Conditions that hold without any stage are decided here too. */
function conclude(state: RunState): RunStatus {
  const expects = state.checked.recipe?.expects ?? []
  for (const expectation of expects) decide(state, expectation)
  const open = expects.filter(({ condition }) => condition.value === null)
  report(state, open.map(undecided))
  return open.length > 0 || [...state.decided.values()].some(({ holds }) => !holds) ? "failed" : "done"
}

// ---------------------------------------------------------------- the record

/** Writes what is known of the run by now, every stage to come included. False: it could not be written, which is reported. */
function record(state: RunState): boolean {
  const { options, checked, facts, finished, keys } = state
  const coming = (checked.recipe?.stages ?? []).filter(({ key }) => !finished.has(key)).map((stage) => [stage.key, { name: stage.name, kind: stage.kind, key: keys.of(stage), folder: null }] as const)
  const written = writeSnapshot(options.out, {
    version: 2, entry: options.recipe.id,
    sources: Object.fromEntries([...checked.sources].map(([id, source]) => [id, source.text])),
    params: Object.fromEntries(options.params),
    facts: Object.fromEntries([...facts].map(([name, value]) => [name, Number.isFinite(value) ? value : String(value)])),
    artifacts: Object.fromEntries([...[...finished].map(([key, { stage, artifactKey, folder }]) => [key, { name: stage.name, kind: stage.kind, key: artifactKey, folder }] as const), ...coming]),
    home: path.relative(options.out, options.folder), allow_read: options.allowRead ?? [], lock: lockOfRun(state),
  })
  if (!written.ok) report(state, written.failures.map(({ code, message }) => diagnostic(code, { source: options.recipe.id, start: 0, end: 0 }, message)))
  return written.ok
}
