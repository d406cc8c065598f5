/** The chat template that a model's data was rendered with: it travels with the model into generation and exports. */
import type { Stage } from "../../compiler/plan/stage.ts"
import { chatTemplate, jinjaTemplate, renderChat } from "../data/chat.ts"
import type { ChatTemplate } from "../data/chat.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import { textArg } from "./environment.ts"

export interface ChatFrame {
  readonly template: ChatTemplate
  readonly system: string | null
}

/** The `chat` stage that a model was trained on, however far up; null where its data was plain text. */
export function chatFrameOf(stage: Stage): ChatFrame | null {
  const seen = new Set<string>()
  const pending: Stage[] = [stage]
  for (let at = pending.shift(); at !== undefined; at = pending.shift()) {
    if (seen.has(at.key)) continue
    seen.add(at.key)
    const template = at.kind === "chat" ? chatTemplate(textArg(at, "template") ?? "chatml") : null
    if (template?.ok === true) return { template: template.value, system: textArg(at, "system") }
    pending.push(...at.inputs)
  }
  return null
}

/** A prompt as the model has seen questions: what a user says, then the beginning of an answer. */
export function framed(prompt: string, frame: ChatFrame | null): string {
  return frame === null ? prompt : renderChat([{ role: "user", content: prompt }], frame.template, { system: frame.system, prompt: true })
}

export function jinjaOf(frame: ChatFrame | null): string | null {
  return frame === null ? null : jinjaTemplate(frame.template, frame.system)
}

/** The token that ends a turn of a chat, where the tokenizer has it. */
export function endOfTurn(tokenizer: Tokenizer, frame: ChatFrame | null): number | null {
  return frame === null ? null : tokenizer.special.find((token) => token.text === frame.template.endOfTurn)?.id ?? null
}
