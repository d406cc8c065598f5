/** What a model in training writes. */
import { factorsOf, numbersFor } from "../../compiler/graph/lower/context.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import { chatFrameOf } from "./chat-frame.ts"
import type { StageEnv } from "./environment.ts"
import { refOf, textsArg } from "./environment.ts"
import type { Emit } from "./events.ts"
import type { Stepper } from "./stepper.ts"
import type { Given } from "./encoded.ts"
import { stateNames } from "./feeds.ts"
import { createWriter } from "./writer.ts"

const sampleTokens = 48

/** Writes the prompts of `samples` with the weights of the moment, with every role that can; a diagnostic where none can. */
export function createSampler(
  stage: Stage, lowered: LoweredTraining, { seed, tokenizer }: { readonly seed: number; readonly tokenizer: Tokenizer }, env: StageEnv, say: Emit,
): ((share: number, stepper: Stepper) => Promise<void>) | Diagnostic | null {
  const prompts = textsArg(stage, "samples")
  if (prompts.length === 0) return null
  if (env.private) {
    env.emit({ event: "warning", stage: refOf(stage), message: `\`${stage.name}\` learns from private data: its \`samples\` are not written into the log`, help: "`slm generate` shows what it writes, and keeps nothing" })
    return null
  }
  const models = writingModels(stage).map(({ role, spec, name }) => ({
    slots: lowered.weights.filter((slot) => slot.role === role), name, writer: createWriter(env.session, { spec, tokenizer, frame: chatFrameOf(stage), numbers: numbersFor([], factorsOf(stage.args)) }, stage.span),
  }))
  const able = models.flatMap(({ writer, ...model }) => ("code" in writer ? [] : [{ ...model, writer }]))
  const [refused] = models.flatMap(({ writer }) => ("code" in writer ? [writer] : []))
  if (able.length === 0 && refused !== undefined) return refused
  return async (share, stepper) => {
    for (const { slots, name, writer } of able) {
      const own = new Map(slots.map((slot) => [`model.${slot.path}`, slot.name]))
      const given: Given = {
        over: (program) => program,
        fill: (runner, program) => stepper.give(runner, new Map(stateNames(program).flatMap((input) => { const state = own.get(input); return state === undefined ? [] : [[input, state]] }))),
      }
      // No signal: a sample that was cut off would be missing where the training goes on.
      const samples = await writer.write(env.device, given, prompts, { temperature: 0.8, topK: null, topP: null, seed, tokens: sampleTokens, stop: [], signal: null })
      for (const { prompt, text } of samples) say({ event: "sample", stage: { ...refOf(stage), name }, at: share, prompt, text })
    }
  }
}

/** The models in training, under the names that people know: `pair.large` is a role of `pair`. */
function writingModels({ type, name }: Stage): readonly { readonly role: string; readonly spec: SpecValue; readonly name: string }[] {
  if (type.is === "weights") return [{ role: "model", spec: type.spec, name }]
  if (type.is !== "roles") return []
  return [...type.roles].flatMap(([role, { type: of }]) => (of.is === "weights" ? [{ role, spec: of.spec, name: `${name}.${role}` }] : []))
}
