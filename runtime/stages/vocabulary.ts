/** `trim`: a tokenizer of what some data needs; `entries`: where the entries of one tokenizer stand in another. */
import type { PackedRows } from "../data/pack.ts"
import { trimTokenizer } from "../data/trim.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { plain } from "../weights.ts"
import type { ArtifactData } from "./artifact.ts"
import { expectData, memberOf, whole } from "./artifact.ts"
import { tokenizerOutcome } from "./data.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, done, failed, fromResult, required } from "./environment.ts"

/** All tokens of data, packed or not. */
function tokensIn(data: ArtifactData, member: string | null): readonly Int32Array[] {
  if (data.is === "packed") return (member === null ? [...data.members.values()] : [memberOf(data.members, member)]).map((packed: PackedRows) => packed.set.tokens)
  const { members } = expectData(data, "tokens")
  return (member === null ? [...members.values()] : [memberOf(members, member)]).map((set) => set.tokens)
}

export const trimStage: Executor = async (stage, env) => {
  const [words, data] = [required(artifactArg(stage, "words"), stage, "words"), required(artifactArg(stage, "data"), stage, "data")]
  const { tokenizer } = expectData(await env.input(words.stage), "tokenizer")
  const used = new Set<number>()
  for (const tokens of tokensIn(await env.input(data.stage), data.member)) for (const id of tokens) used.add(id)
  return fromResult(trimTokenizer(tokenizer, used), stage, (trimmed) => tokenizerOutcome(trimmed.tokenizer))
}

/** How each entry begins: behind a blank its second byte, 256 where it has none; else 257 and its first byte; 513 for control tokens. */
export const beginningsStage: Executor = async (stage, env) => {
  const { tokenizer } = expectData(await env.input(required(artifactArg(stage, "words"), stage, "words").stage), "tokenizer")
  const control = new Set(tokenizer.special.map(({ id }) => id))
  const bytes = Float32Array.from({ length: tokenizer.size }, (_, id) => {
    const [first, second] = tokenizer.tokenBytes(id)
    if (control.has(id) || first === undefined) return 513
    return first === 0x20 ? (second ?? 256) : 257 + first
  })
  return done({ is: "weights", members: whole({ tensors: new Map([["ids", plain([bytes.length], bytes)]]) }), tokenizer: null }, { entries: bytes.length })
}

export const entriesStage: Executor = async (stage, env) => {
  const [of, within] = [required(artifactArg(stage, "of"), stage, "of"), required(artifactArg(stage, "within"), stage, "within")]
  const { tokenizer } = expectData(await env.input(of.stage), "tokenizer")
  const { tokenizer: other } = expectData(await env.input(within.stage), "tokenizer")
  const name = (control: boolean, bytes: Uint8Array): string => `${control} ${bytes.join(" ")}`
  const namesOf = ({ size, special, tokenBytes }: typeof tokenizer): readonly string[] => {
    const control = new Set(special.map(({ id }) => id))
    return Array.from({ length: size }, (_, id) => name(control.has(id), tokenBytes(id)))
  }
  const places = new Map(namesOf(other).map((text, id) => [text, id]))
  const ids = namesOf(tokenizer).map((text) => places.get(text) ?? -1)
  const lost = ids.indexOf(-1)
  if (lost >= 0) return failed(diagnostic("SLM3310", stage.span, `${JSON.stringify(tokenizer.decode([lost]))} of \`${of.stage.name}\` is no entry of \`${within.stage.name}\``, { help: "`trim` makes a tokenizer whose entries are all there" }))
  const tensors = new Map([["ids", plain([ids.length], Float32Array.from(ids))]])
  return done({ is: "weights", members: whole({ tensors }), tokenizer: null }, { entries: ids.length })
}
