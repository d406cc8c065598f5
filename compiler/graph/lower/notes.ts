/** `noted` as a program: what a function makes of one batch of rows, by path. */
import { flattened } from "../../check/row-fields.ts"
import type { Session } from "../../check/session.ts"
import type { Stage } from "../../plan/stage.ts"
import type { Program } from "../node.ts"
import type { RowShape } from "./context.ts"
import { argOf, createLowering, lowered, nodeOf, programOf, rowRecord } from "./context.ts"
import type { WeightSlot } from "./programs.ts"
import { calledWeights } from "./train.ts"

export interface LoweredNotes {
  /** Batch -> an output [rows, ..] for each path. */
  readonly program: Program
  /** Weights of the models that the function calls. */
  readonly weights: readonly WeightSlot[]
}

export function lowerNotes(session: Session, stage: Stage, shape: RowShape): LoweredNotes {
  const { machine, b, states } = createLowering(session, { training: false, rows: shape.rows })
  const by = argOf(stage.args, "by")
  if (by === null) throw new Error(`lower: ${stage.name} notes nothing`)
  const tensors = flattened(lowered(machine.apply(by, [rowRecord(b, shape)], stage.span), machine))
  if (tensors === null) throw new Error(`lower: ${stage.name} notes something else than tensors`)
  const outputs = [...tensors].map(([name, value]) => ({ name, node: nodeOf(value, machine) }))
  return { program: programOf(`${stage.name} notes`, outputs, shape.raw), weights: calledWeights([...states], stage, session) }
}
