/** Which models a run made and what was measured of them, for the table of its report. */
import type { Session } from "../compiler/check/session.ts"
import type { ArtifactType } from "../compiler/check/value.ts"
import { weightsOfSpec } from "../compiler/graph/lower/forward.ts"
import { size } from "../compiler/graph/node.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Facts } from "./stages/environment.ts"

export interface ModelRow {
  readonly name: string
  readonly kind: Stage["kind"]
  readonly parameters: number
  readonly bytes: number
  /** By what was evaluated: `tokens.valid` -> facts of the evaluation. */
  readonly measured: ReadonlyMap<string, Facts>
}

/** What a `generate` stage writes with, by the stage's key. */
export type Writers = ReadonlyMap<string, string>

interface Subject { readonly stage: Stage; readonly name: string; readonly type: ArtifactType }

export function modelsOf(stages: readonly Stage[], facts: ReadonlyMap<string, Facts>, session: Session): readonly ModelRow[] {
  const evaluations = stages.filter((stage) => stage.kind === "evaluate")
  // Of a stage that was not reached, not even the sizes need be known.
  const subjects = stages.filter((stage) => facts.has(stage.key)).flatMap((stage): Subject[] => {
    if (stage.type.is === "weights") return [{ stage, name: stage.name, type: stage.type }]
    return stage.type.is === "roles" ? [...stage.type.roles].map(([role, { type }]) => ({ stage, name: `${stage.name}.${role}`, type })) : []
  })
  return subjects.map(({ stage, name, type }) => {
    const own = evaluations.filter((evaluation) => argument(evaluation, "model") === name)
    const measured = new Map(own.flatMap((evaluation) => {
      const found = facts.get(evaluation.key)
      return found === undefined ? [] : [[argument(evaluation, "data") ?? "", found] as const]
    }))
    const parameters = type.is === "weights" ? weightsOfSpec(session, type.spec).reduce((sum, weight) => sum + size(weight.shape), 0) : 0
    // Only encoded weights take another room than four bytes each; what encodes them says how much.
    const known = { ...facts.get(stage.key), ...[...measured.values()][0] }
    return { name, kind: stage.kind, parameters, bytes: known["bytes"] ?? parameters * 4, measured }
  })
}

export function writersOf(stages: readonly Stage[]): Writers {
  return new Map(stages.flatMap((stage) => {
    const model = stage.kind === "generate" ? argument(stage, "model") : null
    return model === null ? [] : [[stage.key, model] as const]
  }))
}

/** `tokens.valid`: an artifact as the recipe calls it. */
function argument(stage: Stage, name: string): string | null {
  const value = stage.args.get(name)
  if (value?.kind !== "artifact") return null
  return value.member === null ? value.stage.name : `${value.stage.name}.${value.member}`
}
