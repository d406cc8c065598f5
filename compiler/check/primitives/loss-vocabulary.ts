import { diagnostic } from "../../../grammar/diagnostic.ts"
import { vocabulariesDiffer } from "../poly.ts"
import type { IntValue, Primitive, SpecValue, Value } from "../value.ts"
import { describeVocabulary } from "../vocabularies.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, argSpan } from "./tensor-values.ts"

/**
 * same_vocabulary(teacher, student): the student, where both models speak of the same tokens (or do not name a `vocab`).
 * A mistake is shown at the arguments `teacher` and `student` of the function that asks.
 */
const sameVocabulary: Primitive = (args, site, ctx) => {
  const [teacher, student] = [arg(args, "teacher"), arg(args, "student")]
  const [a, b] = [vocabOf(teacher), vocabOf(student)]
  if (a === null || b === null) return student
  if (!vocabulariesDiffer(a.poly, b.poly) && ctx.compare(a.poly, b.poly) !== "different") return student
  const m = ctx
  const places = m.frames?.outer?.argSpans
  const described = (vocab: IntValue): string => describeVocabulary({ size: vocab.poly, origin: vocab.origin }, m)
  return ctx.report(diagnostic("SLM2104", places?.get("student") ?? argSpan(site, "student"), "the student and the teacher do not share a vocabulary", {
    label: described(b), labels: [{ span: places?.get("teacher") ?? argSpan(site, "teacher"), message: described(a) }],
    notes: ["kl() compares the two models token by token."], help: "encode both with one tokenizer",
  }))
}

function vocabOf(model: Value): IntValue | null {
  const given = specOf(model)?.args.get("vocab")
  return given?.kind === "int" ? given : null
}

function specOf(model: Value): SpecValue | null {
  if (model.kind === "spec") return model
  return model.kind === "artifact" && model.type.is === "weights" ? model.type.spec : null
}

export const vocabularyPrimitives: PrimitiveTable = { same_vocabulary: sameVocabulary }
