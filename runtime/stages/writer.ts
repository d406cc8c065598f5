/** From prompts to text with a model: what `generate`, samples of a training and the command line share. */
import { intArgument, lowerGeneration } from "../../compiler/graph/lower/forward.ts"
import type { Session } from "../../compiler/check/session.ts"
import type { Factors } from "../../compiler/graph/node.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
import type { Diagnostic, Span } from "../../grammar/diagnostic.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { Device } from "../device.ts"
import type { Sample } from "./artifact.ts"
import type { ChatFrame } from "./chat-frame.ts"
import { endOfTurn, framed } from "./chat-frame.ts"
import { roundedIn } from "./rounded.ts"
import { decode } from "./decode.ts"
import type { Decoder } from "./decode.ts"
import { promptIds } from "./prompt-ids.ts"
import type { Sampling } from "./sample.ts"
import type { Given } from "./encoded.ts"
import { firstStop, streamText } from "./stream.ts"

export interface WriteOptions extends Sampling {
  readonly tokens: number
  /** Ids before every prompt. */
  readonly before?: readonly number[]
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[]
  readonly signal: AbortSignal | null
  readonly onToken?: (prompt: number, id: number) => void
  /** Pieces of the texts as they are made: joined, those of a prompt are its text. `last` comes with nothing more to come. */
  readonly onText?: (prompt: number, piece: string, last: boolean) => void
}

export interface Writer {
  write(device: Device, weights: Given, prompts: readonly string[], options: WriteOptions): Promise<readonly Sample[]>
}

export interface WriterModel {
  readonly spec: SpecValue
  readonly tokenizer: Tokenizer
  /** How the model has seen questions; null: prompts are continued as they are. */
  readonly frame: ChatFrame | null
  readonly factors: Factors
}

/** A writer for one model, or why it cannot write. Its programs call the weights `model.<path>`. */
export function createWriter(session: Session, model: WriterModel, at: Span): Writer | Diagnostic {
  const { spec, tokenizer, frame } = model
  const programs = lowerGeneration(session, spec, tokenizer.size, at, model.factors)
  if (typeof programs !== "function") return programs
  const context = intArgument(session, spec, "context")
  return {
    async write(device, weights, prompts, options) {
      const decoder: Decoder = {
        program(rows, tokens, capacity) {
          const { program, caches } = programs(rows, tokens, capacity, tokens === 1)
          const given = weights.over(program)
          return { program: device.computesFromStorage === true && "states" in weights ? roundedIn(given) : given, caches }
        },
        fill: (runner, program) => weights.fill(runner, program), context,
      }
      const encoded = prompts.map((prompt) => promptIds(tokenizer, framed(prompt, frame), context, options.before))
      const { onText, onToken } = options
      const done = new Set<number>()
      const streams = onText === undefined ? [] : prompts.map((_, i) => streamText(tokenizer, options.stop, (piece) => onText(i, piece, false)))
      const ended = (i: number): void => {
        if (done.has(i)) return
        done.add(i)
        streams[i]?.end()
        onText?.(i, "", true)
      }
      const results = await decode(device, decoder, encoded, {
        ...options, stopIds: stopTokens(tokenizer, frame), onEnd: ended,
        onToken: (i, id) => {
          onToken?.(i, id)
          streams[i]?.add(id)
        },
        stopsAt: (ids) => options.stop.length > 0 && firstStop(tokenizer.decode(ids), options.stop) !== null,
      })
      prompts.forEach((_, i) => ended(i)) // also those that were interrupted, or had no room for a token
      return results.map((result, i): Sample => {
        const text = tokenizer.decode(result.ids)
        return { prompt: prompts[i] ?? "", text: text.slice(0, firstStop(text, options.stop) ?? text.length), tokens: result.ids.length, end: result.end }
      })
    },
  }
}

/** Tokens after which there is nothing to say: end of text, and what ends a turn of a chat. */
export function stopTokens(tokenizer: Tokenizer, frame: ChatFrame | null): ReadonlySet<number> {
  const turn = endOfTurn(tokenizer, frame)
  return new Set(turn === null ? [tokenizer.endOfText] : [tokenizer.endOfText, turn])
}
