/** `reread`: rows once more in the tokens of another tokenizer, with the places where a token of either ends at the same byte. */
import { narrowed, noteBytes } from "../data/beside.ts"
import { reread } from "../data/reread.ts"
import { demand } from "../limits.ts"
import { size } from "../../compiler/graph/node.ts"
import { expectData } from "./artifact.ts"
import { packedInput } from "./data.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, done, fromResult, numberArg, required } from "./environment.ts"

export const rereadStage: Executor = async (stage, env) => {
  const packed = await packedInput(stage, "data", env)
  const [data, words] = [required(artifactArg(stage, "data"), stage, "data"), required(artifactArg(stage, "words"), stage, "words")]
  const type = required(data.type.is === "tokens" ? data.type : null, stage, "data")
  const { tokenizer: own } = expectData(await env.input(type.tokenizer.stage), "tokenizer")
  const { tokenizer: other } = expectData(await env.input(words.stage), "tokenizer")
  const [length, least] = [required(numberArg(stage, "length", env), stage, "length"), required(numberArg(stage, "least", env), stage, "least")]
  const { rows } = packed
  demand(2 * rows * (13 * (length + 1) + 4 * packed.length), `\`${stage.name}\``, env.limits) // in memory, and once more on its way to the store
  return fromResult(reread(packed, own, other, length, least), stage, (found) => {
    const wide = [rows, length + 1]
    const tensors = new Map([
      ["tokens", narrowed("i32", wide, found.tokens, false)], ["segments", narrowed("i32", wide, found.segments, false)], ["positions", narrowed("i32", wide, found.positions, false)],
      ["counts", narrowed("bool", wide, found.counts, false)], ["match", narrowed("i32", [rows, packed.length], found.match, false)],
    ])
    const bytes = [...tensors.values()].reduce((sum, { shape, stored }) => sum + noteBytes[stored] * size(shape), 0)
    return done({ is: "notes", rows, tensors }, { rows, bytes, matched: found.matched / found.targets, left: found.left })
  })
}
