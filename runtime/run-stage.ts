/** One stage of a run: taken from the store, or made; and the copy of its result in the run's folder. */
import * as fs from "node:fs"
import * as path from "node:path"
import { LoweringMistake } from "../compiler/graph/lower/context.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import { diagnostic } from "../grammar/diagnostic.ts"
import { DeviceFailure } from "./device.ts"
import { writeAtomic } from "./files.ts"
import { hashOfFiles } from "./lock-of-run.ts"
import { OverLimit } from "./over-limit.ts"
import { foreignPlace } from "./own-place.ts"
import type { RunState } from "./run-state.ts"
import type { ArtifactData } from "./stages/artifact.ts"
import type { Facts, Outcome, StageEnv } from "./stages/environment.ts"
import { failed, fromFailure, refOf } from "./stages/environment.ts"
import type { Emit } from "./stages/events.ts"
import { kinds } from "./stages/execute.ts"
import { fromFiles, toFiles } from "./stages/persist.ts"
import { isPrivate, pathsOf } from "./stages/sources.ts"
import type { Checkpoints } from "./store/checkpoints.ts"
import type { Files } from "./store/store.ts"
import { systemFailure } from "./system-error.ts"
import type { Moment } from "./trace.ts"
import { traceFile, writeTrace } from "./trace.ts"
import { compilerHash } from "./version.ts"

/** Carries the outcome of an input that could not be made again. */
class InputStopped extends Error {
  readonly outcome: Exclude<Outcome, { is: "done" }>
  constructor(outcome: Exclude<Outcome, { is: "done" }>) {
    super("an input of a stage could not be made again")
    this.outcome = outcome
  }
}

/**
 * Carries out a stage, or takes its result from the store. What the operating system refuses, to the stage or to the store of its result,
 * is a mistake at the stage's place; and what does not fit the data is one at the place that says so.
 */
export async function runStage(state: RunState, stage: Stage, index: number, count: number): Promise<Outcome> {
  try {
    return await heldStage(state, stage, index, count)
  } catch (error) {
    if (error instanceof LoweringMistake) return failed(error.diagnostic)
    if (error instanceof OverLimit) return failed(fromFailure(error.failure, stage))
    // What works for a device may be stopped by the same Ctrl-C as the run.
    if (error instanceof DeviceFailure && state.options.signal?.aborted === true) return { is: "interrupted" }
    if (error instanceof DeviceFailure) return failed(diagnostic("SLM3501", stage.span, error.message, { help: error.help }))
    const refused = systemFailure(error)
    if (refused === null) throw error
    return failed(fromFailure(refused, stage))
  }
}

async function heldStage(state: RunState, stage: Stage, index: number, count: number): Promise<Outcome> {
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
  const { facts, compiler } = entry.about
  options.emit({ event: "stage-cached", stage: refOf(stage), index, count, facts, ...(compiler === compilerHash() ? {} : { build: "another" }) })
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
  if (artifactKey !== null && result !== "always") options.store.put(artifactKey, { kind: stage.kind, name: stage.name, facts: outcome.facts, from, compiler: compilerHash() }, files ?? new Map())
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
