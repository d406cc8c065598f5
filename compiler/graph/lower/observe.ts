/** `observe` as a program: what one batch adds to the statistics, by path and field. */
import { gather } from "../../check/statistics.ts"
import { subjectOf } from "../../check/training.ts"
import { weightsOf } from "../../check/instance.ts"
import type { Session } from "../../check/session.ts"
import type { CallSite } from "../../check/value.ts"
import type { Stage } from "../../plan/stage.ts"
import { gradients } from "../gradient.ts"
import type { Program } from "../node.ts"
import * as g from "../ops.ts"
import type { RowShape } from "./context.ts"
import { argOf, createLowering, lossOf, lowered, nodeOf, programOf, rowRecord, stateName, tensorOf, termsOf } from "./context.ts"
import type { SpecWeight } from "./forward.ts"
import { specWeights } from "./forward.ts"
import { weightShape } from "./initial.ts"

export interface LoweredObservation {
  /** Batch -> an output for each path and field. */
  readonly program: Program
  readonly weights: readonly SpecWeight[]
}

export function lowerObservation(session: Session, stage: Stage, shape: RowShape): LoweredObservation {
  const { machine, b } = createLowering(session, { training: false, rows: shape.rows })
  const site: CallSite = { span: stage.span, callee: stage.span, args: new Map() }
  const [model, objective] = [argOf(stage.args, "model"), argOf(stage.args, "objective")]
  if (model === null || objective === null) throw new Error(`lower: ${stage.name} observes nothing`)
  const subject = lowered(subjectOf(model, "model", stage.span, machine), machine)
  const batch = lowered(machine.apply(objective, [rowRecord(b, shape)], stage.span), machine)
  const found = lowered(gather(stage.args, subject, batch, (loss, weights) => {
    const nodes = weights.map((w) => b.input(stateName("model", w.path), "state", "f32", weightShape(w, session.environment.facts)))
    return gradients(b, lossOf(b, termsOf(loss, machine)), nodes).map((node) => tensorOf(node))
  }, site, machine), machine)
  const outputs = [...found].map(([name, value]) => ({ name, node: g.cast(b, nodeOf(value, machine), "f32") }))
  return { program: programOf(`${stage.name} observe`, outputs), weights: specWeights(weightsOf(subject.instance), "model", session) }
}
