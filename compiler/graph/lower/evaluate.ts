/** `evaluate` and `loss_of` as programs: sums and counts over a batch, which the runtime adds up. */
import { defaultLoss, subjectOf } from "../../check/training.ts"
import { weightsOf } from "../../check/instance.ts"
import type { Session } from "../../check/session.ts"
import type { CallSite, Value } from "../../check/value.ts"
import type { Stage } from "../../plan/stage.ts"
import type { Span } from "../../../grammar/diagnostic.ts"
import type { Builder } from "../builder.ts"
import type { Factors, Node, Output, Program } from "../node.ts"
import * as g from "../ops.ts"
import type { RowShape } from "./context.ts"
import { createLowering, lowered, nodeOf, outputsWith, programOf, rowRecord, termsOf } from "./context.ts"
import type { SpecWeight } from "./forward.ts"
import { specWeights } from "./forward.ts"
import type { WeightSlot } from "./programs.ts"
import { calledWeights } from "./train.ts"

export interface LoweredEvaluation {
  /** Batch -> `sum.i`, `count.i`; with labels of the logits' shape `correct`, `labelled`; `loss_by_row` [B], `counts_by_row` [B] where the loss is the default one. */
  readonly program: Program
  readonly weights: readonly SpecWeight[]
  /** Weights of other models, which the loss calls. */
  readonly called: readonly WeightSlot[]
  readonly terms: readonly number[]
  readonly accuracy: boolean
}

export interface EvaluationRequest {
  readonly model: Value
  readonly objective: Value
  /** null: cross entropy of the logits. */
  readonly loss: Value | null
  readonly span: Span
  readonly factors: Factors
  /** Also the loss of each row alone. */
  readonly byRow: boolean
}

/** The program that measures weights (role `model`) on a batch, in evaluation mode. */
export function lowerEvaluation(session: Session, stage: Stage, request: EvaluationRequest, shape: RowShape): LoweredEvaluation {
  const { machine, b, states } = createLowering(session, { training: false, rows: shape.rows })
  const { span } = request
  const subject = lowered(subjectOf(request.model, "model", span, machine), machine)
  const batch = lowered(machine.apply(request.objective, [rowRecord(b, shape)], span), machine)
  const out = lowered(machine.apply(subject.instance, [batch], span), machine)
  const site: CallSite = { span, callee: span, args: new Map() }
  const value = request.loss === null ? defaultLoss(out, batch, site, machine) : machine.apply(request.loss, [out, batch], span)
  const terms = termsOf(lowered(value, machine), machine)
  const outputs = terms.flatMap((term, i): Output[] => [{ name: `sum.${i}`, node: term.sum }, { name: `count.${i}`, node: term.count }])
  const [logits, labels] = [field(out, "logits"), field(batch, "labels")]
  const pair = logits === null || labels === null ? null : comparable(nodeOf(logits, machine), nodeOf(labels, machine))
  if (pair !== null) outputs.push(...accuracy(b, pair))
  if (request.byRow && pair !== null) outputs.push(...byRow(b, pair))
  return {
    program: programOf(stage.name, outputsWith(b, outputs, request.factors)), weights: specWeights(weightsOf(subject.instance), "model", session),
    called: calledWeights([...states].filter(([, { role }]) => role !== "model"), stage, session),
    terms: terms.map((term) => term.weight), accuracy: pair !== null,
  }
}

function field(value: Value, name: string): Value | null {
  const found = value.kind === "record" ? value.fields.get(name) : undefined
  return found?.kind === "tensor" ? found : null
}

interface Pair { readonly logits: Node; readonly labels: Node }

/** Logits [.., classes] and labels [..]. */
function comparable(logits: Node, labels: Node): Pair | null {
  const lead = logits.shape.slice(0, -1)
  return labels.dtype === "i32" && lead.length === labels.shape.length && lead.every((n, i) => n === labels.shape[i]) ? { logits, labels } : null
}

function accuracy(b: Builder, { logits, labels }: Pair): Output[] {
  const counted = g.le(b, 0, labels)
  const right = g.and(b, counted, g.eq(b, g.argmax(b, logits), labels))
  return [{ name: "correct", node: g.sum(b, g.cast(b, right, "f32")) }, { name: "labelled", node: g.sum(b, g.cast(b, counted, "f32")) }]
}

/** Cross entropy of each row: its sum and the number of positions that count. */
function byRow(b: Builder, { logits, labels }: Pair): Output[] {
  const rows = labels.shape[0] ?? 1
  const n = labels.shape.reduce((x, y) => x * y, 1)
  const flat = g.reshape(b, labels, [n])
  const losses = g.crossEntropy(b, g.reshape(b, logits, [n, logits.shape.at(-1) ?? 1]), flat)
  const perRow = (x: Node): Node => g.sum(b, g.reshape(b, x, [rows, n / rows]), [1])
  return [{ name: "loss_by_row", node: perRow(losses) }, { name: "counts_by_row", node: perRow(g.cast(b, g.le(b, 0, flat), "f32")) }]
}
