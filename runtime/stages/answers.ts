/** `answered`: how many prompts a model continues exactly as the rows say. */
import { numbersOf } from "../../compiler/graph/lower/context.ts"
import { weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Rows } from "../data/rows.ts"
import { expectData, memberOf } from "./artifact.ts"
import { chatFrameOf } from "./chat-frame.ts"
import { rowsInput } from "./data.ts"
import { givenTo } from "./encoded.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, done, failed, numberArg, refOf, required, textArg, textsArg, wholeNumbers } from "./environment.ts"
import { tokenizerOf } from "./generate.ts"
import { createWriter } from "./writer.ts"

export const answersStage: Executor = async (stage, env) => {
  const model = required(artifactArg(stage, "model"), stage, "model")
  const spec = required(model.type.is === "weights" ? model.type.spec : null, stage, "model")
  const tokenizer = await tokenizerOf(model, env)
  if (tokenizer === null) return failed(diagnostic("SLM3304", stage.span, `there is no tokenizer for \`${model.stage.name}\``, { help: "put the `tokenizer.json` beside its weights" }))
  const writer = createWriter(env.session, { spec, tokenizer, frame: chatFrameOf(model.stage), numbers: numbersOf(stage.args) }, stage.span)
  if ("code" in writer) return failed(writer)
  const rows = memberOf(await rowsInput(stage, env), null)
  const [prompts, wanted] = [textsOf(rows, textArg(stage, "prompt") ?? ""), textsOf(rows, textArg(stage, "answer") ?? "")]
  const weights = memberOf(expectData(await env.input(model.stage), "weights").members, model.member)
  let written = 0
  const samples = await writer.write(env.device, givenTo(env.device, weights, weightsOfSpec(env.session, spec)), prompts, {
    temperature: 0, topK: null, topP: null, seed: 0, stop: textsArg(stage, "stop"), before: wholeNumbers(stage, "before", env), tokens: required(numberArg(stage, "tokens", env), stage, "tokens"), signal: env.signal,
    onText: (_, __, last) => { if (last) env.emit({ event: "work", stage: refOf(stage), done: ++written, total: prompts.length, unit: "answers" }) },
  })
  if (env.signal?.aborted) return { is: "interrupted" }
  const behind = textArg(stage, "behind")
  const right = samples.filter(({ text }, i) => answerIn(text, behind) === (wanted[i] ?? "").trim()).length
  for (const { prompt, text } of env.private ? [] : samples.slice(0, 2)) env.emit({ event: "sample", stage: refOf(stage), at: null, prompt, text })
  const values = new Map([["exact", right / samples.length], ["rows", samples.length]])
  return done({ is: "report", values }, Object.fromEntries(values))
}

function textsOf(rows: Rows, name: string): readonly string[] {
  const column = rows.columns.get(name)
  if (column?.is !== "string") throw new Error(`answered: the rows have no text ${name}`)
  return column.values
}

/** What a text says behind the last `behind`; nothing where that does not occur. */
function answerIn(text: string, behind: string | null): string | null {
  if (behind === null) return text.trim()
  const at = text.lastIndexOf(behind)
  return at < 0 ? null : text.slice(at + behind.length).trim()
}
