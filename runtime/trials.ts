/** Trials of a search that diverge: they lose, and the search goes on. */
import { divergedAt } from "../compiler/check/choice.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import { diagnostic } from "../grammar/diagnostic.ts"
import { runStage } from "./run-stage.ts"
import type { RunState } from "./run-state.ts"
import { kinds } from "./stages/execute.ts"
import type { Outcome } from "./stages/environment.ts"
import { failed, refOf } from "./stages/environment.ts"
import { pathsOf } from "./stages/sources.ts"
import { compilerHash } from "./version.ts"

/** As `runStage`; what diverges, or would be made of what diverged, is done with that as its fact where a search chooses among such trials. */
export async function runTrial(state: RunState, stage: Stage, index: number, count: number): Promise<Outcome> {
  if (stage.kind !== "ranking") {
    const lost = stage.inputs.find(({ key }) => state.finished.get(key)?.facts[divergedAt] !== undefined)
    const before = lost === undefined ? divergedBefore(state, stage) : (state.finished.get(lost.key)?.facts[divergedAt] ?? null)
    const trial = before !== null && isTrial(state, stage)
    if (lost !== undefined && !trial) return failed(diagnostic("SLM3311", stage.span, `\`${stage.name}\` needs \`${lost.name}\`, which diverged at step ${before}`, { help: "use what the search has chosen: `found.weights`" }))
    if (trial) {
      const outcome = lose(state, stage, before, 0)
      state.options.emit({ event: "stage-cached", stage: refOf(stage), index, count, facts: outcome.facts })
      return outcome
    }
  }
  const start = state.clock()
  const outcome = await runStage(state, stage, index, count)
  if (outcome.is !== "failed" || outcome.diverged === undefined || !isTrial(state, stage)) return outcome
  for (const { message, help } of outcome.diagnostics) state.options.emit({ event: "warning", stage: refOf(stage), message: `${message}: this trial loses`, help: help ?? null })
  const seconds = state.clock() - start
  const lost = lose(state, stage, outcome.diverged, seconds)
  state.options.emit({ event: "stage-finished", stage: refOf(stage), seconds, facts: lost.facts })
  return lost
}

/** Whether a search that has not chosen yet looks at what is made of a stage. */
function isTrial(state: RunState, stage: Stage): boolean {
  return (state.checked.recipe?.stages ?? []).some(({ kind, key, inputs }) => kind === "ranking" && !state.finished.has(key) && inputs.some((report) => leadsTo(stage, report)))
}

function leadsTo(stage: Stage, to: Stage): boolean {
  return to.key === stage.key || to.inputs.some((input) => leadsTo(stage, input))
}

/** The step at which an earlier run saw it diverge. */
function divergedBefore({ keys, options }: RunState, stage: Stage): number | null {
  const key = options.fresh === true || kinds[stage.kind].result !== "kept" ? null : keys.of(stage)
  return key === null || !options.store.has(key) ? null : options.store.get(key)?.about.facts[divergedAt] ?? null
}

/** Kept like any result, without files. */
function lose(state: RunState, stage: Stage, step: number, seconds: number): Extract<Outcome, { is: "done" }> {
  const { store } = state.options
  const [key, facts, from] = [state.keys.of(stage), { [divergedAt]: step }, pathsOf(stage)]
  if (key !== null && kinds[stage.kind].result === "kept") {
    store.put(key, { kind: stage.kind, name: stage.name, facts, from, compiler: compilerHash() }, new Map())
    store.checkpoints(key, from).clear()
  }
  state.finished.set(stage.key, { stage: refOf(stage), cached: seconds === 0, seconds, facts, artifactKey: key, content: null, folder: null })
  return { is: "done", data: { is: "files", files: [] }, facts }
}
