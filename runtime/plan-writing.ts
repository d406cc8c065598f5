/** What stages would take in which a model writes: `generate`, `write`, `answered`, `continued`. */
import type { Checked } from "../compiler/check/check.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { numbersOf } from "../compiler/graph/lower/context.ts"
import { answers, intArgument, lowerAnswers, lowerGeneration } from "../compiler/graph/lower/forward.ts"
import type { Program } from "../compiler/graph/node.ts"
import { cost } from "../compiler/plan/cost.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import { artifact, asStored, countOf, dataShape, memoryOf, nothingMeasured, number, type Counting, type Measures } from "./plan-counting.ts"
import type { Count, Sizes } from "./plan-sizes.ts"
import { continuedAtOnce } from "./stages/continued.ts"
import { decodingShape, rowsPerBatch } from "./stages/decode.ts"
import { roundedIn } from "./stages/rounded.ts"

/** One token at a time for all rows, behind what each begins with. */
export function measureContinuation(stage: Stage, known: Checked, sizes: Sizes, device: Counting): Measures {
  const [model, data] = [artifact(stage, "model"), artifact(stage, "data")]
  const packed = dataShape(data, stage, known)
  if (model?.type.is !== "weights" || data === null || packed === null) return nothingMeasured
  const programs = lowerGeneration(known.session, model.type.spec, packed.vocab, stage.span, numbersOf(stage.args))
  const tokens = sizes.packed(data.stage, data.member)
  if (typeof programs !== "function") return nothingMeasured
  const { program } = programs(continuedAtOnce, 1, packed.length + 1)
  return {
    ...nothingMeasured, parameters: countOf(stage, known), tokens: tokens === null ? null : { ...tokens, is: "at most" }, ...memoryOf(stage, [{ program: asStored(program, null, model, known, device) }], device),
    flops: tokens === null ? null : cost(program).flops * (tokens.value / continuedAtOnce),
  }
}

interface Writing {
  /** Texts that are written together. */
  readonly rows: number
  /** All texts; null: their number is not known. */
  readonly texts: Count | null
  /** Tokens that a text has at most. */
  readonly each: number
  /** One more token for each text that is written. */
  readonly more: Program | null
  /** What a model that answers makes of the texts first. Neither is known where nothing bounds what it reads. */
  readonly once: Program | null
}

function writingOf(stage: Stage, known: Checked, sizes: Sizes | null): Writing | null {
  const model = artifact(stage, "model")
  const wanted = number(stage, "tokens", known)
  if (model?.type.is !== "weights" || model.type.tokenizer === null || wanted === null) return null
  const { spec, tokenizer } = model.type
  const machine = createMachine(known.session)
  const vocab = machine.known(machine.unknownInt(tokenizer.stage, "size", stage.span).poly)
  if (vocab === null) return null
  const texts = textsOf(stage, known, sizes)
  const rows = Math.max(1, Math.min(rowsPerBatch, texts?.value ?? rowsPerBatch))
  if (!answers(spec)) {
    const programs = lowerGeneration(known.session, spec, vocab, stage.span, numbersOf(stage.args))
    const context = intArgument(known.session, spec, "context") ?? wanted
    return typeof programs !== "function" ? null : { rows, texts, each: Math.min(wanted, context), more: programs(rows, 1, context, true).program, once: null }
  }
  const longest = longestPrompt(stage)
  if (longest === null) return { rows, texts, each: wanted, more: null, once: null }
  const programs = lowerAnswers(known.session, spec, vocab, stage.span, numbersOf(stage.args))
  if (typeof programs !== "function") return null
  const { once, more } = programs(rows, decodingShape(longest, Infinity, null).prefill, decodingShape(1, wanted, null).capacity)
  return { rows, texts, each: wanted, more: more(rows, 1, 0).program, once }
}

function textsOf(stage: Stage, known: Checked, sizes: Sizes | null): Count | null {
  const prompts = stage.args.get("prompts")
  if (prompts?.kind === "list") return { value: prompts.items.length, is: "exact" }
  const data = artifact(stage, "data")
  const rows = data === null ? null : sizes?.rows(data.stage, data.member) ?? null
  return rows === null ? null : { ...rows, value: rows.value * (number(stage, "count", known) ?? 1) }
}

/** Tokens of the longest prompt that the recipe itself has, with what stands before it and its end: no token is shorter than a byte. */
function longestPrompt(stage: Stage): number | null {
  const [prompts, before] = [stage.args.get("prompts"), stage.args.get("before")]
  if (prompts?.kind !== "list") return null
  const bytes = prompts.items.map((item) => (item.kind === "string" && item.value !== null ? Buffer.byteLength(item.value) : 0))
  return Math.max(0, ...bytes) + (before?.kind === "list" ? before.items.length : 0) + 1
}

/** All texts side by side, token by token; what a prompt takes that is continued is a few tokens more. */
export function measureWriting(stage: Stage, known: Checked, sizes: Sizes, device: Counting): Measures {
  const found = writingOf(stage, known, sizes)
  if (found === null) return nothingMeasured
  const { rows, texts, each, more, once } = found
  const groups = texts === null ? null : texts.value / rows
  const flopsOf = (program: Program | null, times: number): number => (program === null ? 0 : cost(program).flops * times)
  const laid = [once, more].flatMap((program) => (program === null ? [] : [memoryOf(stage, [{ program: asGiven(program, stage, known, device) }], device)]))
  return {
    ...nothingMeasured, parameters: countOf(stage, known), tokens: texts === null ? null : { value: Math.round(texts.value * each), is: texts.is === "about" ? "about" : "at most" },
    flops: groups === null || more === null ? null : flopsOf(more, groups * each) + flopsOf(once, groups),
    // What has read the texts is gone before the first token is written.
    ...laid.reduce((most, one) => ((one.memory ?? 0) > (most.memory ?? 0) ? one : most), { memory: null, device: null }),
  }
}

function asGiven(program: Program, stage: Stage, known: Checked, device: Counting): Program {
  const given = asStored(program, null, artifact(stage, "model"), known, device)
  return device.device?.computesFromStorage === true ? roundedIn(given) : given
}

/** The programs that write, as far as they are known. */
export function writingPrograms(stage: Stage, known: Checked): readonly Program[] {
  const found = writingOf(stage, known, null)
  return [found?.once, found?.more].filter((program): program is Program => program !== null && program !== undefined)
}
