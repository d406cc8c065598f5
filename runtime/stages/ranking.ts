/** `ranking`: which of several reports is best. The order itself is the checker's; here it is written down, with what each trial came to. */
import { divergedAt, inOrder, scoresOf } from "../../compiler/check/choice.ts"
import type { ArtifactValue } from "../../compiler/check/value.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Executor } from "./environment.ts"
import { done, failed, given, machineFor, required } from "./environment.ts"

export const rankingStage: Executor = async (stage, env) => {
  const among = required(given(stage, "among"), stage, "among")
  const by = required(given(stage, "by"), stage, "by")
  const reports = among.kind === "list" ? among.items.filter((item): item is ArtifactValue => item.kind === "artifact") : []
  const scores = scoresOf(reports, by, stage.span, machineFor(env)) ?? []
  const open = scores.findIndex((score) => score === null)
  if (open >= 0) {
    return failed(diagnostic("SLM3309", stage.span, `\`${reports[open]?.stage.name ?? ""}\` has no such number to choose by`, { help: "`loss`, `perplexity` and `parameters` are there for every model" }))
  }
  const known = scores.filter((score): score is number => score !== null)
  const [best = 0] = inOrder(known)
  if (Number.isNaN(known[best] ?? NaN)) {
    const lost = reports.flatMap(({ stage: { key, name } }) => {
      const step = env.session.environment.facts.get(`${key}.${divergedAt}`)
      return step === undefined ? [] : [`\`${name}\` diverged at step ${step}`]
    })
    return failed(diagnostic("SLM3312", stage.span, lost.length === known.length ? `each of ${known.length} trials diverged: there is nothing to choose` : `none of ${known.length} trials has a number to choose by`, { notes: lost, help: "list lower learning rates, clip gradients with `|> clip_norm(1.0)`, or give the schedule a longer warm-up" }))
  }
  const lost = known.filter((score) => Number.isNaN(score)).length
  const values = new Map([...known.map((score, i): [string, number] => [`score.${i}`, score]), ["best", best]])
  return done({ is: "report", values }, { trials: known.length, best, score: known[best] ?? NaN, ...(lost === 0 ? {} : { lost }) })
}
