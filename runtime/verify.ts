/**
 * Executes a run again and compares it with what it recorded: bit by bit in its own numerics class, within tolerance in another.
 * Nothing is taken from the store, and nothing is written but into a temporary folder.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Stage } from "../compiler/plan/stage.ts"
import { diagnostic, type Diagnostic } from "../grammar/diagnostic.ts"
import type { Device } from "./device.ts"
import { sha256File } from "./files.ts"
import { firstDifference } from "./first-difference.ts"
import type { Lock, LockedStage } from "./lock.ts"
import { compareLock, compareResults } from "./lock.ts"
import { hashOfFiles, lockOf } from "./lock-of-run.ts"
import { filesIn, type PastRun } from "./past-run.ts"
import { run } from "./run.ts"
import type { RunResult } from "./run-state.ts"
import type { Emit, Event } from "./stages/events.ts"
import { kinds } from "./stages/execute.ts"
import { createArtifactKeys } from "./stages/keys.ts"
import type { Entry, Files, Store } from "./store/store.ts"
import { shownPath } from "./system-error.ts"
import { commonSteps, divergence, readTrace, traceFile, type Divergence, type Moment } from "./trace.ts"

export interface VerifyOptions {
  readonly device: Device
  /** Only this stage, from the results that the run has of what it needs. */
  readonly stage: Stage | null
  /** Only the first steps of each training. */
  readonly steps: number | null
  /** What inputs may be read besides those below the recipe's folder: the record of a run grants nothing. */
  readonly allowRead: readonly string[]
  readonly signal: AbortSignal | null
  readonly emit: Emit
}

export interface Verdict {
  readonly stage: string
  readonly kind: string
  readonly equal: boolean
  /** Steps that were compared, of a training. */
  readonly steps: number | null
  /** What differs, and where it begins. */
  readonly message: string | null
}

export interface Verified {
  readonly status: "equal" | "different" | "interrupted" | "refused"
  /** The run's numerics class is that of the device: bits were compared. */
  readonly exact: boolean
  readonly verdicts: readonly Verdict[]
  readonly diagnostics: readonly Diagnostic[]
}

export async function verify(past: PastRun, options: VerifyOptions): Promise<Verified> {
  const keys = createArtifactKeys({ folder: past.home, allowRead: options.allowRead }, options.device.info)
  // Equal keys of artifacts mean equal bits: the same meaning and inputs, and an arithmetic that agrees.
  const exactly = (stage: Stage): boolean => past.snapshot.artifacts[stage.key]?.key === keys.of(stage)
  const exact = past.snapshot.lock.numerics_class === options.device.info.numericsClass
  const refused = refusals(past, options)
  if (refused.length > 0) return { status: "refused", exact, verdicts: [], diagnostics: refused }
  const out = fs.mkdtempSync(path.join(os.tmpdir(), "slm-verify-"))
  try {
    const executed = await executeAgain(past, options, out)
    if (options.signal?.aborted) return { status: "interrupted", exact, verdicts: [], diagnostics: [] }
    const verdicts = executed.flatMap((again) => again.stages.map((stage) => verdictOf(past, stage, again, exactly(stage))))
    // A run that ended with a mistake ends with it again; only where something is missing now is it news.
    const missing = executed.some(({ stages, result }) => stages.some(({ key }) => !result.stages.some(({ stage }) => stage.key === key)))
    const other = missing ? executed.flatMap(({ result }) => result.diagnostics.filter((d) => d.severity === "error" && !expectations.has(d.code))) : []
    const exports = exact && options.stage === null && options.steps === null ? compareExports(past, out) : []
    const wrong = [...verdicts.filter(({ equal }) => !equal).map((verdict) => diagnostic("SLM3406", spanOf(past, verdict.stage), verdict.message ?? `\`${verdict.stage}\` is another one`, { help: helpFor(exact) })), ...other]
    return { status: wrong.length + exports.filter(({ equal }) => !equal).length === 0 ? "equal" : "different", exact, verdicts: [...verdicts, ...exports], diagnostics: wrong }
  } finally {
    fs.rmSync(out, { recursive: true, force: true })
  }
}

const expectations: ReadonlySet<string> = new Set(["SLM3307", "SLM3308"])

function helpFor(exact: boolean): string {
  return exact ? "results are equal bit by bit within a numerics class: the machine, the device or slm is at fault" : "in another numerics class losses may differ by 2% and shares by two points"
}

function spanOf({ checked }: PastRun, name: string) {
  return checked.recipe?.stages.find((stage) => stage.name === name)?.span ?? { source: checked.session.entry, start: 0, end: 0 }
}

// ---------------------------------------------------------------- what has to be as it was

function refusals(past: PastRun, { device, allowRead }: VerifyOptions): readonly Diagnostic[] {
  const { snapshot, checked } = past
  const keys = createArtifactKeys({ folder: past.home, allowRead }, device.info)
  const now = lockOf({ checked, params: new Map(Object.entries(snapshot.params)), numericsClass: device.info.numericsClass, keys, yields: new Map() })
  // Another slm may be asked whether it computes the same: its results answer.
  const differences = compareLock({ ...snapshot.lock, slm: now.slm, compiler: now.compiler }, now)
  const spans = new Map(checked.recipe?.stages.map((stage) => [stage.key, stage.span]))
  const nowhere = { source: checked.session.entry, start: 0, end: 0 }
  const changed = differences.map(({ code, message, stage }) => diagnostic(code, spans.get(stage ?? "") ?? nowhere, message, { help: `the run was made from something else: put it back below ${shownPath(past.home)}, or run anew` }))
  return [...changed, ...damaged(past)]
}

/** Copies in the run's folder that are not what the run recorded. */
function damaged(past: PastRun): readonly Diagnostic[] {
  return past.snapshot.lock.stages.flatMap((stage): Diagnostic[] => {
    const folder = past.folders.get(stage.key)
    if (stage.result === undefined || folder === undefined) return []
    const files = filesIn(folder)
    if (files !== null && hashOfFiles(files) === stage.result) return []
    return [diagnostic("SLM3407", spanOf(past, stage.name), `the files in ${shownPath(folder)} are not those that the run made`, { help: "run the recipe again: they are taken from the store, or made again" })]
  })
}

// ---------------------------------------------------------------- execution

interface Again {
  readonly out: string
  readonly result: RunResult
  readonly moments: ReadonlyMap<string, readonly Moment[]>
  /** Those that are to be compared. */
  readonly stages: readonly Stage[]
}

async function executeAgain(past: PastRun, options: VerifyOptions, out: string): Promise<readonly Again[]> {
  const all = past.checked.recipe?.stages ?? []
  const recorded = (stage: Stage): boolean => past.locked.get(stage.key) !== undefined && past.done.has(stage.key)
  if (options.stage === null && options.steps === null) return [await execute(past, options, out, null, all.filter((stage) => recorded(stage) && kinds[stage.kind].result !== "always"))]
  const wanted = options.stage !== null ? [options.stage] : all.filter((stage) => stage.kind === "train")
  const results: Again[] = []
  for (const stage of wanted.filter(recorded)) {
    results.push(await execute(past, options, path.join(out, String(results.length)), stage, [stage]))
    if (options.signal?.aborted) break
  }
  return results
}

async function execute(past: PastRun, options: VerifyOptions, out: string, only: Stage | null, stages: readonly Stage[]): Promise<Again> {
  const { snapshot } = past
  const moments = new Map<string, Moment[]>()
  const emit = (event: Event): void => {
    if (event.event === "trace") moments.set(event.stage.key, [...(moments.get(event.stage.key) ?? []), event])
    options.emit(event)
  }
  fs.mkdirSync(out, { recursive: true })
  const needed = only === null ? null : neededFor(past, only)
  const result = await run({
    recipe: past.entry, folder: past.home, modules: past.modules, params: new Map(Object.entries(snapshot.params)), device: options.device, out, allowRead: options.allowRead,
    store: copies(past, options, only), signal: options.signal, emit, stopAfter: options.steps,
    ...(needed === null ? {} : { only: (stage: Stage) => needed.has(stage.key), facts: past.facts }),
  })
  return { out, result, moments, stages }
}

/** The stage, and what has to be there or made for it: of what the run has a copy of, nothing more is needed. */
function neededFor(past: PastRun, target: Stage): ReadonlySet<string> {
  const needed = new Set<string>()
  const open = [target]
  for (let stage = open.pop(); stage !== undefined; stage = open.pop()) {
    if (needed.has(stage.key)) continue
    needed.add(stage.key)
    if (stage === target || !past.folders.has(stage.key)) open.push(...stage.inputs)
  }
  return needed
}

/** A store that holds the run's own results, but for what is to be made again, and keeps nothing. */
function copies(past: PastRun, { device, allowRead }: VerifyOptions, only: Stage | null): Store {
  const keys = createArtifactKeys({ folder: past.home, allowRead }, device.info)
  const held = new Map((past.checked.recipe?.stages ?? []).flatMap((stage) => {
    const [key, folder] = [keys.of(stage), past.folders.get(stage.key)]
    return only === null || stage.key === only.key || key === null || folder === undefined ? [] : [[key, { stage, folder }] as const]
  }))
  return {
    has: (key) => held.has(key),
    get(key): Entry | null {
      const found = held.get(key)
      const files = found === undefined ? null : filesIn(found.folder)
      return found === undefined || files === null ? null : { about: { kind: found.stage.kind, name: found.stage.name, facts: past.locked.get(found.stage.key)?.facts ?? {} }, files }
    },
    put: () => {},
    folder: (key) => key,
    checkpoints: () => ({ latest: () => null, save: () => {}, clear: () => {} }),
    hold: async () => ({ release: () => {} }),
  }
}

// ---------------------------------------------------------------- comparison

function verdictOf(past: PastRun, stage: Stage, again: Again, exact: boolean): Verdict {
  const was = past.locked.get(stage.key)
  const folder = past.folders.get(stage.key)
  const old: Files = (folder === undefined ? null : filesIn(folder)) ?? new Map()
  const [before, now] = [readTrace(old.get(traceFile)), again.moments.get(stage.key) ?? []]
  const steps = before === null ? null : commonSteps(before, now)
  const verdict = (message: string | null): Verdict => ({ stage: stage.name, kind: stage.kind, equal: message === null, steps, message })
  const parted = before === null || !exact ? null : divergence(before, now)
  if (parted !== null) return verdict(`\`${stage.name}\`: ${describe(parted)}`)
  const made = again.result.stages.find((result) => result.stage.key === stage.key)
  if (made === undefined) return verdict(again.result.status === "interrupted" && steps !== null && steps > 0 ? null : `\`${stage.name}\` could not be made again`)
  const changed = was === undefined ? null : factsChanged(past.snapshot.lock, was, made, exact)
  const bits = made.folder === null || was?.result === undefined || !exact || made.content === was.result ? null : firstDifference(old, filesIn(path.join(again.out, made.folder)) ?? new Map())
  const differences = [changed, bits].filter((text) => text !== null)
  return verdict(differences.length === 0 ? null : `\`${stage.name}\`: ${differences.join("; ")}`)
}

/** Facts that the run and this execution do not agree on. */
function factsChanged(lock: Lock, was: LockedStage, made: RunResult["stages"][number], exact: boolean): string | null {
  const { result, ...rest } = was
  const one = { ...lock, stages: [rest] }
  const [found] = compareResults(one, { ...one, numerics_class: exact ? lock.numerics_class : "another", stages: [{ ...rest, facts: made.facts }] })
  return found?.message.replace(/^`[^`]*`: /, "") ?? null
}

function describe({ step, states, seenAt, equalAt }: Divergence): string {
  const [first, ...others] = states
  const tensors = first === undefined ? "" : `after step ${seenAt} \`${first}\` differs first${others.length === 0 ? "" : `, with ${others.length} other${others.length === 1 ? "" : "s"}`}`
  const before = equalAt === 0 ? "" : `; after step ${equalAt} all weights and states were equal`
  return [...(step === null ? ["losses agree at every step"] : [`step ${step} is the first whose loss or gradient differs`]), ...(tensors === "" ? [] : [tensors])].join(", ") + before
}

/** What the run exported, and what this execution did. */
function compareExports(past: PastRun, out: string): readonly Verdict[] {
  const files = (fs.readdirSync(out, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => path.relative(out, path.join(entry.parentPath, entry.name)))
  return files.filter((file) => file !== "recipe.json" && !file.startsWith(`artifacts${path.sep}`)).sort().map((file): Verdict => {
    const [old, now] = [path.join(past.folder, file), path.join(out, file)]
    const stat = fs.statSync(old, { throwIfNoEntry: false })
    const equal = stat?.isFile() === true && stat.size === fs.statSync(now).size && sha256File(old) === sha256File(now)
    return { stage: file, kind: "export", equal, steps: null, message: equal ? null : `${file} ${stat === undefined ? "is not in the run's folder" : "has other bytes"}` }
  })
}
