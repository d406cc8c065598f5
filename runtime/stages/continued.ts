/** `continued`: rows of which a model writes all but the beginning. */
import { numbersOf } from "../../compiler/graph/lower/context.ts"
import { intArgument, lowerGeneration, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { PackedRows } from "../data/pack.ts"
import { pack } from "../data/pack.ts"
import type { TokenSet } from "../data/encode.ts"
import { expectData, memberOf, whole } from "./artifact.ts"
import { packedInput, packedOutcome } from "./data.ts"
import { decode } from "./decode.ts"
import { givenTo } from "./encoded.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, failed, fromResult, numberArg, refOf, required } from "./environment.ts"

/** Rows that are written together; the sums of a product depend on how many there are, so it is part of what the stage means. */
export const continuedAtOnce = 32

export const continuedStage: Executor = async (stage, env) => {
  const model = required(artifactArg(stage, "model"), stage, "model")
  const packed = await packedInput(stage, "data", env)
  const data = required(artifactArg(stage, "data"), stage, "data")
  const type = required(data.type.is === "tokens" ? data.type : null, stage, "data")
  const spec = required(model.type.is === "weights" ? model.type.spec : null, stage, "model")
  const { tokenizer } = expectData(await env.input(type.tokenizer.stage), "tokenizer")
  const programs = lowerGeneration(env.session, spec, tokenizer.size, stage.span, numbersOf(stage.args))
  if (typeof programs !== "function") return failed(programs)
  const weights = memberOf(expectData(await env.input(model.stage), "weights").members, model.member)
  const given = givenTo(env.device, weights, weightsOfSpec(env.session, spec))
  const after = required(numberArg(stage, "after", env), stage, "after")
  const begun = Array.from({ length: packed.rows }, (_, row) => beginning(packed, row, after))
  let written = 0
  const context = Math.min(packed.length + 1, intArgument(env.session, spec, "context") ?? Infinity)
  const found = await decode(env.device, {
    program(rows, tokens, capacity) {
      const { program, caches } = programs(rows, tokens, capacity)
      return { program: given.over(program), caches }
    },
    fill: (runner, program) => given.fill(runner, program), context,
  }, begun, {
    temperature: numberArg(stage, "temperature", env) ?? 1, topK: numberArg(stage, "top_k", env), topP: numberArg(stage, "top_p", env), seed: numberArg(stage, "seed", env) ?? 0,
    tokens: packed.length, stopIds: new Set([tokenizer.endOfText]), stopsAt: () => false, signal: env.signal, atOnce: continuedAtOnce,
    onEnd: () => { if (++written % continuedAtOnce === 0) env.emit({ event: "work", stage: refOf(stage), done: written, total: packed.rows, unit: "rows" }) },
  })
  if (env.signal?.aborted) return { is: "interrupted" }
  const rows = found.map(({ ids, end }, row) => ({ begun: begun[row] ?? [], ids: end === "stop" ? [...ids, tokenizer.endOfText] : ids }))
  return fromResult(pack(setOf(rows, packed.set), { length: packed.length, documents: "alone" }), stage, (value) => packedOutcome(whole(value)))
}

/** The first tokens of a row's first document, at least one, without its end. */
function beginning(packed: PackedRows, row: number, after: number): readonly number[] {
  const { tokens, segments } = packed.get(row)
  const inside = segments.findIndex((segment) => segment !== 0)
  const document = inside < 0 ? tokens.length : inside
  const open = document > 1 && tokens[document - 1] === packed.set.endOfText ? document - 1 : document
  return [...tokens.subarray(0, Math.max(1, Math.min(after, open)))]
}

/** Documents of which only what was written counts. */
function setOf(rows: readonly { readonly begun: readonly number[]; readonly ids: readonly number[] }[], { endOfText, chat }: TokenSet): TokenSet {
  const offsets = new Uint32Array(rows.length + 1)
  rows.forEach(({ begun, ids }, i) => { offsets[i + 1] = (offsets[i] ?? 0) + begun.length + ids.length })
  const total = offsets.at(-1) ?? 0
  const [tokens, counts] = [new Int32Array(total), new Uint8Array(total)]
  rows.forEach(({ begun, ids }, i) => {
    const at = offsets[i] ?? 0
    tokens.set(begun, at)
    tokens.set(ids, at + begun.length)
    counts.fill(1, at + begun.length, at + begun.length + ids.length)
  })
  const stats = { documents: rows.length, tokens: total, bytes: 0, unknown: 0, empty: 0, missingSpecial: [] }
  return { tokens, offsets, counts, labels: null, classes: null, endOfText, chat, stats }
}
