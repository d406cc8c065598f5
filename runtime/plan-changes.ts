/** Of each stage of a plan: whether it is new, done or changed since the last run, and why. */
import type { Checked } from "../compiler/check/check.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Lock, LockedStage } from "./lock.ts"
import { fieldChanges, inputChanges } from "./lock.ts"
import { lockedInputs, lockedStage } from "./lock-of-run.ts"
import type { Finished } from "./plan-sizes.ts"
import { kinds } from "./stages/execute.ts"

/** `cached`: the result of an earlier run will be used. `changed`: an earlier run had the stage, and it means something else now, or its inputs do. */
export type StageState = "new" | "cached" | "changed"

export interface Change {
  readonly state: StageState
  /** `optim.lr.peak 0.003 -> 0.001`; of a stage that is not `changed` nothing, or what is missing. */
  readonly why: readonly string[]
}

/** What the plan is compared with; null: no run is known. */
export interface Before { readonly lock: Lock; readonly numericsClass: string }

export function changesOf(checked: Checked, { store, keys }: Finished, before: Before | null): ReadonlyMap<string, Change> {
  const found = new Map<string, Change>()
  const earlier = new Map((before?.lock.stages ?? []).map((stage) => [`${stage.kind} ${stage.name}`, stage]))
  const same = new Map((before?.lock.stages ?? []).map((stage) => [stage.key, stage]))
  for (const stage of checked.recipe?.stages ?? []) {
    const key = keys.of(stage)
    if (key !== null && store.has(key)) found.set(stage.key, { state: "cached", why: [] })
    else if (before === null) found.set(stage.key, { state: "new", why: [] })
    else found.set(stage.key, changeOf(stage, same.get(stage.key) ?? earlier.get(`${stage.kind} ${stage.name}`) ?? null, checked, { store, keys }, before, found))
  }
  return found
}

function changeOf(stage: Stage, was: LockedStage | null, checked: Checked, { keys }: Finished, before: Before, found: ReadonlyMap<string, Change>): Change {
  if (was === null) return { state: "new", why: [] }
  const now = lockedStage(stage, checked, undefined)
  const own = was.key === stage.key ? [] : fieldChanges(was.with, now.with)
  const inputs = lockedInputs(stage, keys)
  const files = inputs === null ? ["what it reads is not there"] : inputChanges(before.lock.inputs, Object.fromEntries(inputs), false).map(({ message }) => message)
  const follows = stage.inputs.filter((input) => found.get(input.key)?.state === "changed").map((input) => `follows from \`${input.name}\``)
  const device = kinds[stage.kind].numeric && before.lock.numerics_class !== before.numericsClass ? [`arithmetic ${before.lock.numerics_class} -> ${before.numericsClass}`] : []
  const why = [...own, ...files, ...device, ...(own.length + files.length === 0 ? follows : [])]
  if (why.length > 0) return { state: "changed", why }
  if (was.key !== stage.key) return { state: "changed", why: ["has another meaning"] }
  return { state: "new", why: kinds[stage.kind].result === "always" ? [] : ["its result is not in the store any more"] }
}
