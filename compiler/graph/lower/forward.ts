/** A model's forward pass over whole sequences, and the programs of generation that follow from it. */
import { instantiate, resolveSpec, weightsOf } from "../../check/instance.ts"
import { dim, record } from "../../check/make.ts"
import { createMachine } from "../../check/machine.ts"
import { forwardOf } from "../../check/forward.ts"
import type { Session } from "../../check/session.ts"
import type { SpecValue, Value, WeightInfo } from "../../check/value.ts"
import type { Diagnostic, Span } from "../../../grammar/diagnostic.ts"
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Factors, NodeOf, Program, Shape } from "../node.ts"
import type { InTwo } from "../once.ts"
import { inTwo } from "../once.ts"
import type { Mixing } from "../sequence.ts"
import { continueSequence, isMixing } from "../sequence.ts"
import type { Numbers } from "./context.ts"
import { createLowering, lowered, mistakeIn, nodeOf, outputsWith, programOf, stateName, tensorOf } from "./context.ts"
import { weightShape } from "./initial.ts"
import { optimise } from "../../transform/pipeline.ts"

/** A weight of a specification as a state of a program. */
export interface SpecWeight {
  readonly name: string
  readonly path: string
  readonly shape: Shape
  readonly info: WeightInfo
}

export function specWeights(infos: readonly WeightInfo[], role: string, session: Session): readonly SpecWeight[] {
  return infos.map((info) => ({ name: stateName(role, info.path), path: info.path, shape: weightShape(info, session.environment.facts), info }))
}

/** Every weight of a specification, in the order it is written. */
export function weightsOfSpec(session: Session, spec: SpecValue, role = "model"): readonly SpecWeight[] {
  const machine = createMachine(session)
  const instance = lowered(instantiate(spec, role, spec.origin ?? spec.template.code.span, machine), machine)
  if (instance.kind === "error") throw new Error(`lower: ${spec.name} has no instance`)
  return specWeights(weightsOf(instance), role, session)
}

/** An argument of a specification that is a known whole number: `context`, `vocab`. */
export function intArgument(session: Session, spec: SpecValue, name: string): number | null {
  const machine = createMachine(session)
  const value = resolveSpec(spec, machine)?.args.get(name)
  return value?.kind === "int" ? machine.known(value.poly) : null
}

/** Of the text that is answered. */
const readInputs: ReadonlySet<string> = new Set(["read.tokens", "read.positions", "read.segments"])
const sequenceInputs: ReadonlySet<string> = new Set(["tokens", "positions", "segments"])

/** Whether a model reads one text and writes another: its `forward` takes what has been written so far as `answer` at `answer_at`. */
export function answers(spec: SpecValue): boolean {
  return forwardOf(spec.template.code)?.params.some(({ name }) => name.name === "answer") ?? false
}

/** Rows, tokens in each, entries of the vocabulary; `read`: tokens of the text that is read, for a model that answers; `raw`: not optimised. */
export interface ForwardShape { readonly rows: number; readonly length: number; readonly vocab: number; readonly read?: number; readonly raw?: boolean }

/**
 * tokens, positions, segments [rows, length] -> logits [rows, length, vocab], or why the model has no such pass. With `read` they are those of the answer, and the text
 * is `read.tokens`, `read.positions`, `read.segments` [rows, read].
 */
export function lowerForward(session: Session, spec: SpecValue, shape: ForwardShape, at: Span, factors: Factors = "f32"): Program | Diagnostic {
  if (answers(spec) && shape.read === undefined) return diagnostic("SLM3313", at, `\`${spec.name}\` writes an answer to a text, and does not go on with it`)
  const { machine, b } = createLowering(session, { training: false, rows: null })
  const instance = lowered(instantiate(spec, "model", at, machine), machine)
  const text = (prefix: string, length: number): readonly [Value, Value] => {
    const grid = (name: string): NodeOf<"input"> => b.input(`${prefix}${name}`, "batch", "i32", [shape.rows, length])
    return [tensorOf(grid("tokens"), dim(shape.vocab)), record({ positions: tensorOf(grid("positions")), segments: tensorOf(grid("segments")) })]
  }
  const [written, writtenAt] = text("", shape.length)
  const [tokens, place] = shape.read === undefined ? [written, writtenAt] : text("read.", shape.read)
  const batch = shape.read === undefined ? { tokens, at: place } : { tokens, at: place, answer: written, answer_at: writtenAt }
  const out = machine.apply(instance, [record(batch)], at)
  const mistake = mistakeIn(out, machine)
  if (mistake !== null) return mistake
  const logits = out.kind === "record" ? out.fields.get("logits") : undefined
  const node = logits?.kind === "tensor" ? nodeOf(logits, machine) : null
  if (node === null || node.shape.length !== 3 || node.shape[0] !== shape.rows || node.shape[1] !== shape.length) {
    return diagnostic("SLM3303", at, `\`${spec.name}\` does not yield \`logits\` for each position, so that it cannot write text`)
  }
  return programOf(`forward of ${spec.name}`, outputsWith(b, [{ name: "logits", node }], factors), shape.raw)
}

/** A program of `tokens` more tokens for each of `rows` texts: logits of the last one, and the caches it keeps. */
export interface GenerationProgram {
  readonly program: Program
  readonly caches: readonly NodeOf<"input">[]
}

const plainNumbers: Numbers = { factors: "f32", kept: null }

/** Two positions are enough to see where the sequence goes. */
const probe = 2

/** Makes the program for so many texts, new tokens and places (`ring`: of windows no more than they see); equal requests give the same one. */
export type GenerationPrograms = (rows: number, tokens: number, capacity: number, ring?: boolean) => GenerationProgram

/** The programs of generation, or why the model cannot generate. */
export function lowerGeneration(session: Session, spec: SpecValue, vocab: number, at: Span, { factors, kept }: Numbers = plainNumbers): GenerationPrograms | Diagnostic {
  const forwards = new Map<number, Program | Diagnostic>()
  const made = new Map<string, GenerationProgram>()
  const derive = (rows: number, tokens: number, capacity: number, ring: boolean): GenerationProgram | Diagnostic => {
    const forward = forwards.get(rows) ?? lowerForward(session, spec, { rows, length: probe, vocab }, at, factors)
    forwards.set(rows, forward)
    if ("code" in forward) return forward
    const result = continueSequence(forward, { sequence: sequenceInputs, length: probe, tokens, capacity, ring, lastOnly: new Set(["logits"]), ...(kept === null ? {} : { kept }) })
    return isMixing(result) ? cannotGenerate(result, spec, at) : { program: optimise(result.program), caches: result.caches }
  }
  const first = derive(1, 1, probe, false)
  if ("code" in first) return first
  return (rows, tokens, capacity, ring = false) => {
    const key = `${rows} ${tokens} ${capacity} ${ring}`
    const result = made.get(key) ?? derive(rows, tokens, capacity, ring)
    if ("code" in result) throw new Error(`generate: ${spec.name} could be derived for one row and not for ${rows}`)
    made.set(key, result)
    return result
  }
}

/** The programs of a model that answers: what it makes of the text once, and one more token of the answer. States of the latter are outputs of the former. */
export interface AnswerPrograms {
  readonly once: Program
  readonly more: GenerationPrograms
}

/** Makes the programs for texts of `read` tokens. */
export function lowerAnswers(session: Session, spec: SpecValue, vocab: number, at: Span, { factors, kept }: Numbers = plainNumbers): ((rows: number, read: number, capacity: number) => AnswerPrograms) | Diagnostic {
  const derive = (rows: number, read: number, tokens: number, capacity: number): (InTwo & Pick<GenerationProgram, "caches">) | Diagnostic => {
    // As it is written: what is made of places still shows it.
    const forward = lowerForward(session, spec, { rows, length: probe, vocab, read, raw: true }, at, factors)
    if ("code" in forward) return forward
    const result = continueSequence(forward, { sequence: sequenceInputs, length: probe, tokens, capacity, lastOnly: new Set(["logits"]), ...(kept === null ? {} : { kept }) })
    if (isMixing(result)) return cannotGenerate(result, spec, at)
    const { once, rest } = inTwo(result.program, readInputs, result.tables)
    return { once: optimise(once), rest: optimise(rest), caches: result.caches }
  }
  const first = derive(1, probe, 1, probe)
  if ("code" in first) return first
  const certain = (rows: number, read: number, tokens: number, capacity: number): Exclude<ReturnType<typeof derive>, Diagnostic> => {
    const result = derive(rows, read, tokens, capacity)
    if ("code" in result) throw new Error(`generate: ${spec.name} could be derived for one row and not for ${rows}`)
    return result
  }
  return (rows, read, capacity) => {
    const made = new Map<number, Exclude<ReturnType<typeof derive>, Diagnostic>>()
    const of = (tokens: number): Exclude<ReturnType<typeof derive>, Diagnostic> => {
      const found = made.get(tokens) ?? certain(rows, read, tokens, capacity)
      made.set(tokens, found)
      return found
    }
    return { once: of(1).once, more: (_, tokens) => ({ program: of(tokens).rest, caches: of(tokens).caches }) }
  }
}

function cannotGenerate(mixing: Mixing, spec: SpecValue, at: Span): Diagnostic {
  const where = mixing.note === "" ? `\`${spec.name}\`` : `\`${mixing.note}\``
  return diagnostic("SLM3302", at, `\`${spec.name}\` cannot write text token by token: \`${mixing.op}\` in ${where} ${mixing.reason}`, {
    notes: ["a text is continued by one token at a time, so that no layer may look at later ones or mix positions but through causal `attend`."],
  })
}
