/** Whether a model is what its name and arguments say, which is all that files of other programs can tell. */
import { weightsOf } from "../../check/instance.ts"
import type { Machine } from "../../check/machine.ts"
import type { SpecValue } from "../../check/value.ts"
import type { Span } from "../../../grammar/diagnostic.ts"
import { bodyKey } from "../builder.ts"
import type { Program } from "../node.ts"
import { intArgument, lowerForward } from "./forward.ts"

/** Whether replaced parts make it compute something else than its arguments alone say. False, too, while sizes are not known. */
export function isAltered(spec: SpecValue, at: Span, m: Machine): boolean {
  if (spec.ats.length === 0 && spec.given === undefined) return false
  const instance = m.instantiate(spec, "model", at)
  if (instance.kind === "error" || weightsOf(instance).some(({ shape }) => shape.some((d) => m.known(d.size) === null))) return false
  const { given: _, ...plain } = { ...spec, ats: [] }
  const vocab = intArgument(m.session, spec, "vocab") ?? 2
  const [own, wanted] = [spec, plain].map((s) => lowerForward(m.session, s, { rows: 1, length: 2, vocab }, at))
  if (own === undefined || wanted === undefined || "code" in own || "code" in wanted) return false // no model of text: its weights are compared with the format
  return meaningOf(own) !== meaningOf(wanted)
}

function meaningOf({ inputs, outputs }: Program): string {
  return bodyKey({ inputs, outputs: outputs.map(({ node }) => node) })
}
