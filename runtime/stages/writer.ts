/** From prompts to text with a model: what `generate`, samples of a training and the command line share. */
import type { Numbers } from "../../compiler/graph/lower/context.ts"
import { answers, intArgument, lowerAnswers, lowerGeneration } from "../../compiler/graph/lower/forward.ts"
import type { Session } from "../../compiler/check/session.ts"
import type { Program } from "../../compiler/graph/node.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
import type { Diagnostic, Span } from "../../grammar/diagnostic.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { Device, HostTensor } from "../device.ts"
import type { Sample } from "./artifact.ts"
import type { ChatFrame } from "./chat-frame.ts"
import { endOfTurn, framed } from "./chat-frame.ts"
import { roundedIn } from "./rounded.ts"
import { decode, decodingShape, rowsPerBatch } from "./decode.ts"
import type { Decoded, DecodeOptions } from "./decode.ts"
import { ids, taken, writeStates } from "./feeds.ts"
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
  readonly numbers: Numbers
}

/** A writer for one model, or why it cannot write. Its programs call the weights `model.<path>`. */
export function createWriter(session: Session, model: WriterModel, at: Span): Writer | Diagnostic {
  const { spec, tokenizer, frame } = model
  const decoding = answers(spec) ? answering(session, model, at) : continuing(session, model, at)
  if ("code" in decoding) return decoding
  return {
    async write(device, weights, prompts, options) {
      const { onText, onToken } = options
      const done = new Set<number>()
      const streams = onText === undefined ? [] : prompts.map((_, i) => streamText(tokenizer, options.stop, (piece) => onText(i, piece, false)))
      const ended = (i: number): void => {
        if (done.has(i)) return
        done.add(i)
        streams[i]?.end()
        onText?.(i, "", true)
      }
      const results = await decoding(device, weights, prompts, options.before ?? [], {
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

/** Prompts to tokens that are written behind them, or as an answer to them. */
type Decoding = (device: Device, weights: Given, prompts: readonly string[], before: readonly number[], options: DecodeOptions) => Promise<readonly Decoded[]>

const over = (device: Device, weights: Given, program: Program): Program => {
  const given = weights.over(program)
  return device.computesFromStorage === true && "states" in weights ? roundedIn(given) : given
}

function continuing(session: Session, { spec, tokenizer, frame, numbers }: WriterModel, at: Span): Decoding | Diagnostic {
  const programs = lowerGeneration(session, spec, tokenizer.size, at, numbers)
  if (typeof programs !== "function") return programs
  const context = intArgument(session, spec, "context")
  return (device, weights, prompts, before, options) => decode(device, {
    program(rows, tokens, capacity) {
      const { program, caches } = programs(rows, tokens, capacity, tokens === 1)
      return { program: over(device, weights, program), caches }
    },
    fill: (runner, program) => weights.fill(runner, program), context,
  }, prompts.map((prompt) => promptIds(tokenizer, framed(prompt, frame), context, before)), options)
}

/** A text is read whole, with its end, before the first token of the answer; an answer begins behind the end of a text. */
function answering(session: Session, { spec, tokenizer, frame, numbers }: WriterModel, at: Span): Decoding | Diagnostic {
  const programs = lowerAnswers(session, spec, tokenizer.size, at, numbers)
  if (typeof programs !== "function") return programs
  return async (device, weights, prompts, before, options) => {
    const texts = prompts.map((prompt) => [...before, ...tokenizer.encode(framed(prompt, frame)), tokenizer.endOfText])
    const results: Decoded[] = []
    for (let first = 0; first < texts.length && options.signal?.aborted !== true; first += rowsPerBatch) {
      const group = texts.slice(first, first + rowsPerBatch)
      const { prefill: read } = decodingShape(group.reduce((n, text) => Math.max(n, text.length), 1), Infinity, null)
      const { once, more } = programs(group.length, read, decodingShape(1, options.tokens, null).capacity)
      const states = await readOnce(device, weights, over(device, weights, once), group, read)
      results.push(...await decode(device, {
        program(rows, tokens, capacity) {
          const { program, caches } = more(rows, tokens, capacity)
          return { program: over(device, weights, program), caches }
        },
        async fill(runner, program) {
          await weights.fill(runner, program)
          await writeStates(runner, program, states)
        },
        context: null,
      }, group.map(() => [tokenizer.endOfText]), { ...options, firstPrompt: (options.firstPrompt ?? 0) + first }))
    }
    return results
  }
}

/** What a model makes of texts before it answers, by the names of the states that the answer is written with. */
async function readOnce(device: Device, weights: Given, program: Program, texts: readonly (readonly number[])[], read: number): Promise<ReadonlyMap<string, HostTensor>> {
  const runner = await device.load(program)
  try {
    await weights.fill(runner, program)
    const grid = (of: (text: readonly number[], i: number) => number): HostTensor => ids([texts.length, read], texts.flatMap((text) => Array.from({ length: read }, (_, i) => of(text, i))))
    return new Map(Object.entries(await runner.step(taken(program, {
      "read.tokens": grid((text, i) => text[i] ?? 0), "read.positions": grid((_, i) => i), "read.segments": grid((text, i) => (i < text.length ? 0 : -1)),
    }))))
  } finally {
    runner.dispose()
  }
}

/** Tokens after which there is nothing to say: end of text, and what ends a turn of a chat. */
export function stopTokens(tokenizer: Tokenizer, frame: ChatFrame | null): ReadonlySet<number> {
  const turn = endOfTurn(tokenizer, frame)
  return new Set(turn === null ? [tokenizer.endOfText] : [tokenizer.endOfText, turn])
}
