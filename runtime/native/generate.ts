/** A generation as a folder of C: programs for its prompts, the tokenizer, the weights. */
import { numbersOf } from "../../compiler/graph/lower/context.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
import { answers, intArgument, lowerAnswers, lowerGeneration, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { bytesOfNumbers } from "../../compiler/graph/stored.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { renderGenerateMain } from "../../compiler/render/native/generate.ts"
import type { GenerateCache, GenerateGroup } from "../../compiler/render/native/generate.ts"
import { mainFile } from "../../compiler/render/native/program.ts"
import type { NativeProgram, Origin } from "../../compiler/render/native/program.ts"
import { tokenizerFile, tokenizerHeader } from "../../compiler/render/native/tokenizer.ts"
import type { TokenizerTables } from "../../compiler/render/native/tokenizer.ts"
import type { CpuTarget } from "../../compiler/schedule/cpu.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import { byteCharacters } from "../data/bytelevel.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import { expectData, memberOf } from "../stages/artifact.ts"
import { chatFrameOf, framed } from "../stages/chat-frame.ts"
import type { ChatFrame } from "../stages/chat-frame.ts"
import { decodingShape, rowsPerBatch } from "../stages/decode.ts"
import { artifactArg, numberArg, required, textsArg, wholeNumbers } from "../stages/environment.ts"
import type { StageEnv } from "../stages/environment.ts"
import { tokenizerOf } from "../stages/generate.ts"
import { stream } from "../stages/sample.ts"
import { statesOf } from "../stages/weights-io.ts"
import { promptIds } from "../stages/prompt-ids.ts"
import { stopTokens } from "../stages/writer.ts"
import { bytesOf, nativeProgram, statesFile } from "./folder.ts"
import type { NativeSources } from "./train.ts"

export async function nativeGeneration(stage: Stage, env: StageEnv, target: CpuTarget, origin: Origin): Promise<NativeSources | readonly Diagnostic[]> {
  const model = required(artifactArg(stage, "model"), stage, "model")
  if (model.type.is !== "weights") throw new Error(`native: ${stage.name} generates with ${model.type.is}`)
  const { spec } = model.type
  if (wholeNumbers(stage, "before", env).length > 0) return [diagnostic("SLM3502", stage.span, `\`${stage.name}\` puts ids before every prompt, and the program reads text`, { help: "leave `before` out, or use `slm generate`" })]
  const tokenizer = await tokenizerOf(model, env)
  const tables = tokenizer === null ? "it has none" : tablesOf(tokenizer)
  if (tokenizer === null || typeof tables === "string") return [diagnostic("SLM3502", stage.span, `the tokenizer of \`${model.stage.name}\` cannot be written as C: ${String(tables)}`, { help: "byte, char and BPE tokenizers that slm made can be; others are left to `slm generate`" })]
  const context = intArgument(env.session, spec, "context")
  const frame = chatFrameOf(model.stage)
  const prompts = textsArg(stage, "prompts")
  const tokens = numberArg(stage, "tokens", env) ?? 64
  const natives = new Map<string, NativeProgram>()
  const named = (name: string, sizes: readonly number[], program: Program): string => {
    const key = [name, ...sizes].join("_")
    if (!natives.has(key)) natives.set(key, nativeProgram(key, program, target))
    return key
  }
  const makeGroup = answers(spec) ? answering(stage, env, spec, { tokenizer, frame, tokens, named }) : continuing(stage, env, spec, { tokenizer, frame, tokens, named })
  if ("code" in makeGroup) return [makeGroup]
  const groups = groupsOf(prompts).map(makeGroup)
  const [before = "", after = ""] = framed(mark, frame).split(mark)
  const main = renderGenerateMain({
    name: stage.name, groups, prompts, before, after, isChat: frame !== null, vocab: tokenizer.size, context, tokens,
    temperature: numberArg(stage, "temperature", env) ?? 0.8, topK: numberArg(stage, "top_k", env), topP: numberArg(stage, "top_p", env),
    seed: numberArg(stage, "seed", env) ?? 0, stop: textsArg(stage, "stop"), stopIds: [...stopTokens(tokenizer, frame)], stream,
  })
  const weights = memberOf(expectData(await env.input(model.stage), "weights").members, model.member)
  return {
    binary: "generate", programs: [...natives.values()], extra: ["tokenizer.c"], about: about(groups, frame),
    files: new Map([
      ["main.c", bytesOf(mainFile(`The generation \`${stage.name}\`.`, [...natives.values()], origin, main))],
      ["tokenizer.c", bytesOf(tokenizerFile(tables))], ["tokenizer.h", bytesOf(tokenizerHeader)],
      ["weights.safetensors", statesFile(statesOf(weights, weightsOfSpec(env.session, spec)))],
    ]),
  }
}

type GroupMaker = (prompts: readonly string[]) => GenerateGroup
interface Written {
  readonly tokenizer: Tokenizer
  readonly frame: ChatFrame | null
  readonly tokens: number
  /** The name of a program, which is rendered once. */
  readonly named: (name: string, sizes: readonly number[], program: Program) => string
}

function continuing(stage: Stage, { session }: StageEnv, spec: SpecValue, { tokenizer, frame, tokens, named }: Written): GroupMaker | Diagnostic {
  const programs = lowerGeneration(session, spec, tokenizer.size, stage.span, numbersOf(stage.args))
  if (typeof programs !== "function") return programs
  const context = intArgument(session, spec, "context")
  return (texts) => {
    const rows = texts.length
    const { capacity, prefill } = decodingShape(Math.max(...texts.map((text) => promptIds(tokenizer, framed(text, frame), context).length)), tokens, context)
    const [prompts, next] = [programs(rows, prefill, capacity), programs(rows, 1, capacity, true)]
    return {
      rows, tokens: prefill, capacity, prefill: named("prefill", [rows, prefill, capacity], prompts.program), step: named("next", [rows, 1, capacity], next.program),
      caches: prompts.caches.map((cache, i) => cacheOf(cache, next.caches[i])), reading: null,
    }
  }
}

/** As `answering` of the writer: texts are read with their end, and an answer begins behind one. */
function answering(stage: Stage, { session }: StageEnv, spec: SpecValue, { tokenizer, frame, tokens, named }: Written): GroupMaker | Diagnostic {
  const programs = lowerAnswers(session, spec, tokenizer.size, stage.span, numbersOf(stage.args))
  if (typeof programs !== "function") return programs
  return (texts) => {
    const rows = texts.length
    const read = decodingShape(Math.max(...texts.map((text) => tokenizer.encode(framed(text, frame)).length + 1)), Infinity, null).prefill
    const { capacity, prefill } = decodingShape(1, tokens, null)
    const { once, more } = programs(rows, read, capacity)
    const [first, next] = [more(rows, prefill, capacity), more(rows, 1, capacity)]
    return {
      rows, tokens: prefill, capacity, prefill: named("prefill", [rows, prefill, capacity, read], first.program), step: named("next", [rows, 1, capacity, read], next.program),
      caches: first.caches.map((cache, i) => cacheOf(cache, next.caches[i])), reading: { program: named("read", [rows, read], once), tokens: read, states: once.outputs.map(({ name }) => name) },
    }
  }
}

/** Where a cache of the prompts lies in that of the program for one token, which is a ring of fewer places where a window sees no more. */
function cacheOf({ dtype, args: { name, shape, stored } }: NodeOf<"input">, next: NodeOf<"input"> | undefined): GenerateCache {
  if (next?.args.name !== name) throw new Error(`native: ${name} is no cache of the program for one token`)
  const bytes = (n: number): number => bytesOfNumbers(n, dtype, stored ?? null)
  const axis = shape.findIndex((n, i) => n !== next.args.shape[i])
  if (axis === -1) return { name, lines: 1, places: 1, ring: 1, inner: bytes(size(shape)) }
  return { name, lines: size(shape.slice(0, axis)), places: shape[axis] ?? 1, ring: next.args.shape[axis] ?? 1, inner: bytes(size(shape.slice(axis + 1))) }
}

/** Stands for the prompt where its frame is looked at: a character that no template has and no trimming takes. */
const mark = "\u0001"

/** Prompts that run together, as the device runs them. */
function groupsOf(prompts: readonly string[]): readonly (readonly string[])[] {
  const groups: string[][] = []
  for (let first = 0; first < prompts.length; first += rowsPerBatch) groups.push(prompts.slice(first, first + rowsPerBatch))
  return groups
}

function about(groups: readonly GenerateGroup[], frame: ChatFrame | null): readonly string[] {
  const last = groups.at(-1)
  const reading = last?.reading ?? null
  return [
    `\`./generate\` writes what the stage writes; \`./generate --prompt "…"\` takes ${reading !== null ? `a text of at most ${reading.tokens} tokens` : frame === null ? "a text to continue" : "a question"} of yours. Options: --tokens, --temperature, --top-k, --top-p, --stop, --seed, --threads, --weights.`,
    `${reading !== null ? "An answer has" : "A prompt and its answer have"} room for ${last?.capacity ?? 0} tokens${reading !== null ? "" : " together"}, ${last?.rows ?? 1} ${last?.rows === 1 ? "prompt runs" : "prompts run"} at a time; the stage's \`tokens\` and \`prompts\` decide that.`,
    "The stage's own prompts give the text of the cpu device of this instruction family (with vectors alone: this program uses no AMX), letter by letter. A prompt of another length is cut into other blocks than `slm generate` would take, which may move the last bits of a logit.",
    "`weights.safetensors` holds the weights as they are computed with; a file of weights that `./train` wrote fits as well.",
  ]
}

interface TokenizerJson {
  readonly normalizer?: unknown
  readonly pre_tokenizer?: { readonly type?: unknown; readonly use_regex?: unknown } | null
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly merges: readonly (string | readonly string[])[]; readonly ignore_merges?: unknown }
}

/** What an encoder in C needs, or why it cannot have it. */
export function tablesOf(tokenizer: Tokenizer): TokenizerTables | string {
  const { normalizer, pre_tokenizer: words, model } = JSON.parse(tokenizer.json()) as TokenizerJson
  if (normalizer !== null && normalizer !== undefined) return "it normalises its text"
  if (words !== null && words !== undefined && words.type !== "ByteLevel") return `it cuts words as ${String(words.type)} does`
  if (model.ignore_merges === true) return "it takes whole words from its vocabulary"
  const id = (text: string): number => model.vocab[text] ?? -1
  const merges = model.merges.map((merge) => (typeof merge === "string" ? merge.split(" ") : merge)).map(([left = "", right = ""]) => [id(left), id(right), id(left + right)] as const)
  return {
    kind: tokenizer.kind === "char" ? "char" : words === null || words === undefined || words.use_regex === false ? "byte" : "bpe",
    tokens: Array.from({ length: tokenizer.size }, (_, i) => tokenizer.tokenBytes(i)), special: tokenizer.special, endOfText: tokenizer.endOfText, unknown: tokenizer.unknown,
    bytes: byteCharacters.map(id), merges,
  }
}
