/** `generate`: continues prompts. */
import { numbersOf } from "../../compiler/graph/lower/context.ts"
import { weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic, type Diagnostic } from "../../grammar/diagnostic.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import { expectData, memberOf, type Sample } from "./artifact.ts"
import { chatFrameOf } from "./chat-frame.ts"
import type { Executor, StageEnv } from "./environment.ts"
import { artifactArg, done, failed, numberArg, refOf, required, textsArg, wholeNumbers } from "./environment.ts"
import type { ArtifactValue } from "../../compiler/check/value.ts"
import { givenTo, type Given } from "./encoded.ts"
import { createWriter, type WriteOptions, type Writer } from "./writer.ts"

/** The tokenizer of weights: of the data they were trained on, or what came with them. */
export async function tokenizerOf(model: ArtifactValue, env: Pick<StageEnv, "input">): Promise<Tokenizer | null> {
  if (model.type.is !== "weights") return null
  if (model.type.tokenizer !== null) return expectData(await env.input(model.type.tokenizer.stage), "tokenizer").tokenizer
  return expectData(await env.input(model.stage), "weights").tokenizer
}

interface Opened { readonly writer: Writer; readonly weights: Given; readonly sampling: Omit<WriteOptions, "signal"> }

/** The model of a stage, ready to write as the stage's arguments say. */
export async function openWriter(stage: Stage, env: StageEnv): Promise<Opened | Diagnostic> {
  const model = required(artifactArg(stage, "model"), stage, "model")
  if (model.type.is !== "weights") throw new Error(`stages: ${stage.name} generates with ${model.type.is}`)
  const tokenizer = await tokenizerOf(model, env)
  if (tokenizer === null) return diagnostic("SLM3304", stage.span, `there is no tokenizer for \`${model.stage.name}\``, { help: "put the `tokenizer.json` beside its weights" })
  const { spec } = model.type
  const writer = createWriter(env.session, { spec, tokenizer, frame: chatFrameOf(model.stage), numbers: numbersOf(stage.args) }, stage.span)
  if ("code" in writer) return writer
  const weights = memberOf(expectData(await env.input(model.stage), "weights").members, model.member)
  const sampling = {
    temperature: numberArg(stage, "temperature", env) ?? 0.8, topK: numberArg(stage, "top_k", env), topP: numberArg(stage, "top_p", env),
    seed: numberArg(stage, "seed", env) ?? 0, stop: textsArg(stage, "stop"), before: wholeNumbers(stage, "before", env), tokens: numberArg(stage, "tokens", env) ?? 64,
  }
  return { writer, weights: givenTo(env.device, weights, weightsOfSpec(env.session, spec)), sampling }
}

/** Continues all prompts; null: interrupted. */
export async function written({ writer, weights, sampling }: Opened, prompts: readonly string[], stage: Stage, env: StageEnv): Promise<readonly Sample[] | null> {
  let made = 0
  const samples = await writer.write(env.device, weights, prompts, {
    ...sampling, signal: env.signal,
    onToken: () => env.emit({ event: "work", stage: refOf(stage), done: ++made, total: sampling.tokens * prompts.length, unit: "tokens" }),
  })
  if (env.signal?.aborted) return null
  if (samples.some((sample) => sample.end === "context")) {
    env.emit({ event: "warning", stage: refOf(stage), message: "a text ended because it reached the model's `context`", help: "ask for fewer tokens, or train with a longer `context`" })
  }
  return samples
}

export const generateStage: Executor = async (stage, env) => {
  const opened = await openWriter(stage, env)
  if ("code" in opened) return failed(opened)
  const samples = await written(opened, textsArg(stage, "prompts"), stage, env)
  if (samples === null) return { is: "interrupted" }
  for (const { prompt, text } of env.private ? [] : samples) env.emit({ event: "sample", stage: refOf(stage), at: null, prompt, text })
  return done({ is: "samples", samples }, { tokens: samples.reduce((n, sample) => n + sample.tokens, 0) })
}
