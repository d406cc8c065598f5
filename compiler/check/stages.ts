/** The stages of a recipe: registered under their keys, so that equal work is one stage. */
import type { Span } from "../../grammar/diagnostic.ts"
import type { Stage, StageKind } from "../plan/stage.ts"
import { stageKey } from "../plan/key.ts"
import type { Machine } from "./machine.ts"
import type { ArtifactType, ArtifactValue, Value } from "./value.ts"

/** A stage whose name may still change: it is called by the first binding that holds it. */
interface NamedStage extends Stage { name: string; span: Span; args: ReadonlyMap<string, Value> }

export function registerStage(kind: StageKind, args: ReadonlyMap<string, Value>, type: ArtifactType, at: Span, m: Machine): ArtifactValue {
  const { session } = m
  const { key, inputs } = stageKey(kind, args, session.keys)
  const known = session.stages.get(key)
  // Of equal readings, one that is private makes both so.
  if (known !== undefined && saysPrivate(args)) (known as NamedStage).args = args
  if (known !== undefined) return { kind: "artifact", stage: known, member: null, type: known.type, origin: at }
  const first = [...args.values()].find((v) => v.kind === "artifact")
  const about = first?.kind === "artifact" ? ` ${first.stage.name}${first.member === null ? "" : `.${first.member}`}` : ""
  const point = session.called === null ? "" : `[${session.called}]`
  const name = session.binding === null ? `${kind}${point === "" ? about : point}` : `${session.binding}${point}/${kind}`
  const stage: Stage = { kind, key, name, args, inputs, type, span: at }
  session.stages.set(key, stage)
  return { kind: "artifact", stage, member: null, type, origin: at }
}

/** Calls a stage by its binding, unless it has the name of an earlier one. */
export function nameStage(value: ArtifactValue, name: string, at: Span, m: Machine): void {
  const stage = m.session.stages.get(value.stage.key) as NamedStage | undefined
  if (stage === undefined || m.session.named.has(stage.key)) return
  m.session.named.add(stage.key)
  stage.name = name
  stage.span = at
}

function saysPrivate(args: ReadonlyMap<string, Value>): boolean {
  const value = args.get("private")
  return value?.kind === "bool" && value.value === true
}
