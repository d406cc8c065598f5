import type { Label } from "../../../grammar/diagnostic.ts"
import { diagnostic } from "../../../grammar/diagnostic.ts"
import { symbolsOf } from "../poly.ts"
import type { Context, IntValue, Primitive, SpecValue, Value } from "../value.ts"
import { showSize, vocabulariesDiffer } from "./shape-dims.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg } from "./tensor-values.ts"

/** same_vocabulary(teacher, student): the student, where both models speak of the same tokens (or do not name a `vocab`). */
const sameVocabulary: Primitive = (args, site, ctx) => {
  const [teacher, student] = [arg(args, "teacher"), arg(args, "student")]
  const [a, b] = [vocabOf(teacher), vocabOf(student)]
  if (a === null || b === null) return student
  if (!vocabulariesDiffer(a.poly, b.poly) && ctx.compare(a.poly, b.poly) !== "different") return student
  return ctx.report(diagnostic("SLM2104", site.span, "the student and the teacher do not share a vocabulary", {
    label: `${described(b, ctx)}, the teacher ${described(a, ctx)}`, labels: [...labelOf("the student", student, b, ctx), ...labelOf("the teacher", teacher, a, ctx)],
    notes: ["distillation compares the two models token by token."], help: "encode both with one tokenizer",
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

function described(vocab: IntValue, ctx: Context): string {
  const names = symbolsOf(vocab.poly).filter((s) => s.vocabulary).map((s) => s.name.replace(/\.size$/, ""))
  return `vocab ${showSize(vocab.poly, ctx)}${names.length === 0 ? "" : ` (from \`${names.join("`, `")}\`)`}`
}

function labelOf(who: string, model: Value, vocab: IntValue, ctx: Context): readonly Label[] {
  const span = model.origin ?? vocab.origin
  return span === null ? [] : [{ span, message: `${who}: ${described(vocab, ctx)}` }]
}

export const vocabularyPrimitives: PrimitiveTable = { same_vocabulary: sameVocabulary }
