/** What a run is held to, and what it writes down of itself. */
import * as path from "node:path"
import { diagnostic } from "../grammar/diagnostic.ts"
import { compareArithmetic, compareLock, type Difference, type Lock } from "./lock.ts"
import { classesOf, lockOf } from "./lock-of-run.ts"
import { checkWith, report, type RunState } from "./run-state.ts"
import { writeSnapshot } from "./snapshot.ts"

/** Compares what this run depends on with the lock it is held to. The facts of the lock decide what only a run can tell. */
export function agreesWithLock(state: RunState): boolean {
  const { options, keys } = state
  const lock = options.locked ?? options.planned ?? null
  if (lock === null || state.checked.recipe === null) return true
  const facts = new Map(lock.stages.flatMap(({ key, facts: of }) => Object.entries(of).map(([field, value]) => [`${key}.${field}`, value] as const)))
  const then = checkWith(options, facts)
  const checked = then.recipe === null ? state.checked : then
  const now = lockOf({ checked, params: options.params, numericsClass: classesOf(checked, options.device.info), keys, yields: new Map() })
  return refuse(state, [...compareLock(lock, now), ...(options.planned ? compareArithmetic(options.planned, now) : [])])
}

export function lockOfRun({ options, keys, checked, finished, told }: RunState): Lock {
  const yields = new Map([...finished].map(([key, { content, facts }]) => [key, { result: content, facts }] as const))
  return lockOf({ checked, params: options.params, numericsClass: classesOf(checked, options.device.info), keys, yields, told })
}

/** Reports differences from a lock; true: there are none. */
export function refuse(state: RunState, differences: readonly Difference[]): boolean {
  const nowhere = { source: state.options.recipe.id, start: 0, end: 0 }
  const stages = new Map(state.checked.recipe?.stages.map((stage) => [stage.key, stage.span]))
  report(state, differences.map(({ code, message, stage }) => diagnostic(code, stages.get(stage ?? "") ?? nowhere, message, { help: state.options.planned ? "undo the change, or plan anew: `slm plan --out`" : "undo the change, or accept it: a run without `--locked` writes the lock anew" })))
  return differences.length === 0
}

/** Writes what is known of the run by now, every stage to come included. False: it could not be written, which is reported. */
export function record(state: RunState): boolean {
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
