/**
 * A run: stages in order, each executed or taken from the store; what they teach is added to the facts, the recipe is checked
 * again, and conditions are decided as soon as their numbers are there (spec 10).
 */
import type { CheckedExpect } from "../compiler/check/check.ts"
import { recheck } from "../compiler/check/check.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import { diagnostic } from "../grammar/diagnostic.ts"
import { decided, doesNotHold, undecided } from "./expects.ts"
import { limited, machineLimits, oversizedModels } from "./limits.ts"
import { compareResults } from "./lock.ts"
import { agreesWithLock, lockOfRun, record, refuse } from "./run-lock.ts"
import { checkWith, report, type RunOptions, type RunResult, type RunState } from "./run-state.ts"
import type { Facts } from "./stages/environment.ts"
import { refOf } from "./stages/environment.ts"
import type { RunStatus } from "./stages/events.ts"
import { createArtifactKeys } from "./stages/keys.ts"
import { runTrial } from "./trials.ts"
import { yielding } from "./yielding.ts"

export async function run(options: RunOptions): Promise<RunResult> {
  const clock = options.clock ?? (() => performance.now() / 1000)
  const start = clock()
  const place = { folder: options.folder, allowRead: options.allowRead ?? [] }
  const limits = options.limits ?? machineLimits()
  const state: RunState = {
    options, clock, limits, device: limited(yielding(options.device), limits), keys: createArtifactKeys(place, options.device.info, options.hashes), told: new WeakMap(),
    facts: new Map(options.facts), made: new Map(), finished: new Map(), decided: new Map(), diagnostics: [], checked: checkWith(options, options.facts ?? new Map()),
  }
  const stages = state.checked.recipe?.stages ?? []
  options.emit({ event: "run-started", recipe: options.recipe.id, device: options.device.info.detail, numericsClass: options.device.info.numericsClass, stages: stages.map(refOf) })
  const begins = agreesWithLock(state) && accept(state) && begin(state)
  const status = begins ? await runStages(state) : "failed"
  const lock = status === "done" && options.only === undefined ? lockOfRun(state) : null
  const seconds = clock() - start
  const agrees = lock === null || refuse(state, options.locked ? compareResults(options.locked, lock) : [])
  // What is refused before it begins leaves the folder of the run before as it is.
  const ended = (!begins || record(state)) && agrees ? status : "failed"
  options.emit({ event: "run-finished", status: ended, seconds })
  return {
    status: ended, diagnostics: state.diagnostics, sources: state.checked.sources, stages: [...state.finished.values()], expects: [...state.decided.values()],
    facts: state.facts, seconds, lock, result: (stage) => state.made.get(stage.key) ?? null,
  }
}

/** Nothing was written until here. False: there is something that cannot be. */
function begin(state: RunState): boolean {
  const refused = state.options.begin?.() ?? []
  report(state, refused.map(({ code, message, help }) => diagnostic(code, { source: state.options.recipe.id, start: 0, end: 0 }, message, help === null ? {} : { help })))
  return refused.length === 0 && (state.options.only !== undefined || record(state))
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
    const outcome = await runTrial(state, stage, index, stages.length)
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

// ---------------------------------------------------------------- facts and conditions

/** Adds what a stage taught; where the recipe reads it, it is checked again. False: it is wrong in the light of it. */
function learn(state: RunState, stage: Stage, facts: Facts): boolean {
  for (const [field, value] of Object.entries(facts)) state.facts.set(`${stage.key}.${field}`, value)
  if (!state.checked.session.read.has(stage.key) && stage.type.is !== "tokenizer") return true
  state.checked = recheck(state.options.recipe, { modules: state.options.modules, params: state.options.params, facts: state.facts })
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
