/** Stages that read, cut, clean and tokenise: each hands its arguments to `runtime/data`. */
import { int } from "../../compiler/check/make.ts"
import type { Value } from "../../compiler/check/value.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { chat } from "../data/chat.ts"
import { clean, cleanParts } from "../data/clean.ts"
import { lengths, rarity } from "../data/difficulty.ts"
import { documents } from "../data/documents.ts"
import type { DocumentsBy } from "../data/documents.ts"
import { documentCount, encode, takeDocuments } from "../data/encode.ts"
import type { TextEncodingName } from "../data/decode.ts"
import { parseFields } from "../data/fields.ts"
import { planMixture } from "../data/mixture.ts"
import type { MixItem, MixStage, Share } from "../data/mixture.ts"
import { pack, takePacked } from "../data/pack.ts"
import type { PackedRows } from "../data/pack.ts"
import { readCsv, readJsonl, readText } from "../data/read.ts"
import { good } from "../data/result.ts"
import type { Result } from "../data/result.ts"
import { takeRows } from "../data/rows.ts"
import type { Parts, Rows } from "../data/rows.ts"
import { split } from "../data/split.ts"
import type { Stepped } from "../data/steps.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import { bpeTokenizer, byteTokenizer, charTokenizer } from "../data/tokenizers.ts"
import { loadTokenizer } from "../data/tokenizer-json.ts"
import { resolveInput } from "../files.ts"
import { isGguf, readGgufMetadata } from "../export/gguf-read.ts"
import { tokenizerOfGguf } from "../export/gguf-tokenizer.ts"
import { readSmallText, readStart } from "../open-file.ts"
import { demand } from "../limits.ts"
import type { InputFile } from "../files.ts"
import type { ArtifactData, Members } from "./artifact.ts"
import { allMembers, expectData, mapMembers, memberOf, whole } from "./artifact.ts"
import { joinRows } from "./join-rows.ts"
import type { Executor, Facts, Outcome, StageEnv } from "./environment.ts"
import { artifactArg, done, failed, fromProblems, fromResult, given, machineFor, numberArg, refOf, required, textArg, textsArg, wordArg } from "./environment.ts"

/** The largest known vocabularies take a tenth of this. */
export const mostTokenizerBytes = 2 ** 28
/** What a GGUF file has before its tensors: the vocabulary, and little else. */
const mostHeaderBytes = 2 ** 26

// ---------------------------------------------------------------- reading

/** The files a stage reads, none for other kinds. */
export function inputFiles(stage: Stage, env: Pick<StageEnv, "folder" | "allowRead">): Result<readonly InputFile[]> {
  if (stage.kind !== "text" && stage.kind !== "jsonl" && stage.kind !== "csv" && stage.kind !== "parquet" && stage.kind !== "overlay" && stage.kind !== "load_tokenizer") return good([])
  return resolveInput(textArg(stage, "path") ?? "", env.folder, { allowRead: env.allowRead })
}

export function fieldsOf(stage: Stage): ReadonlyMap<string, string> {
  const fields = given(stage, "fields")
  if (fields?.kind !== "record") return new Map()
  return new Map([...fields.fields].flatMap(([name, type]) => (type.kind === "string" && type.value !== null ? [[name, type.value] as const] : [])))
}

function reading(read: (files: readonly InputFile[], stage: Stage) => Result<Rows>): Executor {
  return async (stage, env) => fromResult(inputFiles(stage, env), stage, (files) => {
    // In memory a text takes what it has on the disk, its rows as much again.
    demand(2 * files.reduce((sum, file) => sum + file.bytes, 0), `reading \`${textArg(stage, "path") ?? ""}\``, env.limits)
    return fromResult(read(files, stage), stage, (rows) => rowsOutcome(whole(rows)))
  })
}

export const text = reading((files, stage) => readText(files, { encoding: (wordArg(stage, "encoding") ?? "utf8") as TextEncodingName }))

export const jsonl = reading((files, stage) => {
  const fields = parseFields(fieldsOf(stage))
  return fields.ok ? readJsonl(files, { fields: fields.value }) : fields
})

export const csv = reading((files, stage) => {
  const fields = parseFields(fieldsOf(stage))
  return fields.ok ? readCsv(files, { fields: fields.value, separator: textArg(stage, "separator") ?? "," }) : fields
})

// ---------------------------------------------------------------- rows to rows

export function rowsOutcome(members: Members<Rows>, reports: Extract<ArtifactData, { is: "rows" }>["reports"] = new Map()): Outcome {
  return done({ is: "rows", members, reports }, countFacts(members, (rows) => ({ rows: rows.count })))
}

/** `rows` of the whole, and `train.rows`, … of the parts. */
function countFacts<T>(members: Members<T>, count: (value: T) => Facts): Facts {
  const facts: Record<string, number> = {}
  for (const [name, value] of members) {
    for (const [field, n] of Object.entries(count(value))) {
      facts[field] = (facts[field] ?? 0) + n
      if (name !== "") facts[`${name}.${field}`] = n
    }
  }
  return facts
}

export async function rowsInput(stage: Stage, env: StageEnv, name = "data"): Promise<Members<Rows>> {
  const value = required(artifactArg(stage, name), stage, name)
  const { members } = expectData(await env.input(value.stage), "rows")
  return value.member === null ? members : whole(memberOf(members, value.member))
}

export function stepped(stage: Stage, members: Members<Rows>, step: (rows: Rows) => Result<Stepped<Rows>>): Outcome {
  return fromResult(allMembers(members, step), stage, (found) => rowsOutcome(mapMembers(found, (s) => s.value), mapMembers(found, (s) => s.report)))
}

export const documentsStage: Executor = async (stage, env) =>
  stepped(stage, await rowsInput(stage, env), (rows) => documents(rows, { by: (wordArg(stage, "by") ?? "paragraph") as DocumentsBy }))

export const cleanStage: Executor = async (stage, env) => {
  const members = await rowsInput(stage, env)
  const options = { dedup: wordArg(stage, "dedup") === "off" ? "off" : "exact", minChars: numberArg(stage, "min_chars", env) ?? 1, maxChars: numberArg(stage, "max_chars", env) } as const
  const parts = partsOf(members)
  if (parts === null) return stepped(stage, members, (rows) => clean(rows, options))
  return fromResult(cleanParts(parts, options), stage, (found) => {
    const all = membersOf(found)
    return rowsOutcome(mapMembers(all, (s) => s.value), mapMembers(all, (s) => s.report))
  })
}

export function partsOf<T>(members: Members<T>): Parts<T> | null {
  const train = members.get("train")
  return train === undefined ? null : { train, valid: members.get("valid") ?? null, test: members.get("test") ?? null }
}

export function membersOf<T>(parts: Parts<T>): Members<T> {
  return new Map(Object.entries(parts).flatMap(([name, part]: [string, T | null]) => (part === null ? [] : [[name, part] as const])))
}

export const splitStage: Executor = async (stage, env) => {
  const rows = memberOf(await rowsInput(stage, env), null)
  const order = wordArg(stage, "order") === "position" ? "position" : "hash"
  const options = { valid: numberArg(stage, "valid", env) ?? 0, test: numberArg(stage, "test", env) ?? 0, by: textArg(stage, "by"), order } as const
  return fromResult(split(rows, options), stage, ({ value, report }) => rowsOutcome(membersOf(value), whole(report)))
}

export const chatStage: Executor = async (stage, env) =>
  stepped(stage, await rowsInput(stage, env), (rows) => chat(rows, { template: textArg(stage, "template") ?? "chatml", system: textArg(stage, "system") }))

export const takeStage: Executor = async (stage, env) => {
  const value = required(artifactArg(stage, "data"), stage, "data")
  const count = required(numberArg(stage, "count", env), stage, "count")
  const input = await env.input(value.stage)
  const chosen = <T>(members: Members<T>): Members<T> => (value.member === null ? members : whole(memberOf(members, value.member)))
  if (input.is === "rows") return rowsOutcome(mapMembers(chosen(input.members), (rows) => takeRows(rows, count)))
  if (input.is === "tokens") return tokensOutcome(mapMembers(chosen(input.members), (set) => takeDocuments(set, count)))
  return packedOutcome(mapMembers(chosen(expectData(input, "packed").members), (packed) => takePacked(packed, count)))
}

// ---------------------------------------------------------------- tokenizers

export const byteStage: Executor = async (stage) => fromResult(byteTokenizer(), stage, tokenizerOutcome)

export const charStage: Executor = async (stage, env) =>
  fromResult(charTokenizer(joinRows(await rowsInput(stage, env))), stage, ({ tokenizer }) => tokenizerOutcome(tokenizer))

export const bpeStage: Executor = async (stage, env) => {
  const size = required(numberArg(stage, "size", env), stage, "size")
  const trained = bpeTokenizer(joinRows(await rowsInput(stage, env)), { size, special: textsArg(stage, "special") })
  if (trained.ok) for (const note of trained.value.notes) env.emit({ event: "warning", stage: refOf(stage), message: note, help: null })
  return fromResult(trained, stage, ({ tokenizer }) => tokenizerOutcome(tokenizer))
}

/** Of a file that a stranger may have made: bounded before it is read. */
export const loadTokenizerStage: Executor = async (stage, env) => fromResult(inputFiles(stage, env), stage, ([file, ...others]) => {
  const name = textArg(stage, "path") ?? ""
  const start = file === undefined || others.length > 0 ? new Uint8Array() : readStart(file.path, mostHeaderBytes)
  if (isGguf(start)) {
    const metadata = readGgufMetadata(start)
    return metadata.ok ? fromResult(tokenizerOfGguf(metadata.value), stage, tokenizerOutcome) : fromProblems(metadata.problems, stage)
  }
  if (name.endsWith(".model")) return failed(diagnostic("SLM3132", stage.span, `\`${name}\` is not read: SentencePiece's models are not supported`, { help: "read are byte-level BPE tokenizers (GPT-2, Llama 3, Qwen and relatives), from a `tokenizer.json` or a GGUF file" }))
  const text = file === undefined || others.length > 0 ? null : readSmallText(file.path, mostTokenizerBytes)
  if (text === null) return failed(diagnostic("SLM3132", stage.span, `\`${name}\` is not one file of text with at most ${mostTokenizerBytes / 2 ** 20} MiB`, { help: "name the `tokenizer.json` of a folder in Hugging Face's layout, or a GGUF file" }))
  return fromResult(loadTokenizer(text), stage, tokenizerOutcome)
})

export function tokenizerOutcome(tokenizer: Tokenizer): Outcome {
  return done({ is: "tokenizer", tokenizer }, { size: tokenizer.size })
}

// ---------------------------------------------------------------- tokens

export const encodeStage: Executor = async (stage, env) => {
  const rows = await rowsInput(stage, env)
  const value = required(artifactArg(stage, "tokenizer"), stage, "tokenizer")
  const { tokenizer } = expectData(await env.input(value.stage), "tokenizer")
  const label = stage.type.is === "tokens" ? stage.type.labels : null
  const sets = allMembers(rows, (part) => encode(part, tokenizer, { label }))
  return fromResult(sets, stage, (members) => {
    const missing = [...new Set([...members.values()].flatMap((set) => set.stats.missingSpecial))]
    if (missing.length > 0) {
      const names = missing.map((name) => `\`${name}\``).join(", ")
      env.emit({ event: "warning", stage: refOf(stage), message: `the tokenizer has no tokens for ${names} of the chat template: they are written out as text`, help: "train the tokenizer on the rendered conversations, after `chat`" })
    }
    return tokensOutcome(members)
  })
}

function tokensOutcome(members: Extract<ArtifactData, { is: "tokens" }>["members"]): Outcome {
  return done({ is: "tokens", members }, countFacts(members, (set) => ({ rows: documentCount(set), tokens: set.tokens.length })))
}

export const packStage: Executor = async (stage, env) => {
  const value = required(artifactArg(stage, "data"), stage, "data")
  const { members } = expectData(await env.input(value.stage), "tokens")
  const chosen = value.member === null ? members : whole(memberOf(members, value.member))
  const options = {
    length: required(numberArg(stage, "length", env), stage, "length"), documents: (wordArg(stage, "documents") ?? "apart") as "apart" | "joined" | "alone",
    windows: wordArg(stage, "windows") === "random" ? "random" : "fixed",
  } as const
  return fromResult(allMembers(chosen, (set) => pack(set, options)), stage, packedOutcome)
}

export function packedOutcome(members: Members<PackedRows>): Outcome {
  return done({ is: "packed", members }, countFacts(members, (packed) => ({ rows: packed.rows, tokens: packed.stats.targets })))
}

/** The rows an argument names. */
export async function packedInput(stage: Stage, name: string, env: StageEnv): Promise<PackedRows> {
  const value = required(artifactArg(stage, name), stage, name)
  return memberOf(expectData(await env.input(value.stage), "packed").members, value.member)
}

// ---------------------------------------------------------------- order

function difficultyStage(measure: (packed: PackedRows) => Float64Array): Executor {
  return async (stage, env) => done({ is: "difficulty", values: measure(await packedInput(stage, "data", env)) })
}

export const rarityStage = difficultyStage(rarity)
export const lengthsStage = difficultyStage(lengths)

/** Resolves what a curriculum or mixture refers to; shares that are schedules stay functions. */
export const curriculumStage: Executor = async (stage, env) => {
  const sources: PackedRows[] = []
  const known = new Map<string, number>()
  const difficulty = artifactArg(stage, "difficulty")
  const values = difficulty === null ? null : expectData(await env.input(difficulty.stage), "difficulty").values
  const sourceOf = async (data: Value): Promise<number> => {
    if (data.kind !== "artifact") throw new Error(`stages: an item of ${stage.name} is a ${data.kind}`)
    const key = `${data.stage.key}.${data.member ?? ""}`
    const found = known.get(key)
    if (found !== undefined) return found
    sources.push(memberOf(expectData(await env.input(data.stage), "packed").members, data.member))
    known.set(key, sources.length - 1)
    return sources.length - 1
  }
  const stages: MixStage[] = []
  const written = given(stage, "stages")
  for (const item of written?.kind === "list" ? written.items : []) {
    const until = item.kind === "record" ? item.fields.get("until") : undefined
    const mix = item.kind === "record" ? item.fields.get("mix") : undefined
    if (mix?.kind !== "mix") throw new Error(`stages: a stage of ${stage.name} has no mix`)
    const items: MixItem[] = []
    for (const { share, data, easiest } of mix.items) {
      items.push({ source: await sourceOf(data), share: shareOf(share, env), easiest: easiest === null || values === null ? null : { difficulty: values, share: shareOf(easiest, env) } })
    }
    stages.push({ until: until?.kind === "int" ? machineFor(env).known(until.poly) : null, items })
  }
  if (values !== null && values.length > 1 && values.every((x) => x === values[0])) {
    return failed(diagnostic("SLM3142", stage.span, `all ${values.length} rows are equally difficult: the curriculum has no effect`, { help: "measure something that differs: `rarity`, `lengths` or `loss_of`" }))
  }
  const [first] = sources
  if (first === undefined) throw new Error(`stages: ${stage.name} draws on nothing`)
  return done({ is: "curriculum", first, plan: (steps, samplesPerStep, seed) => planMixture({ sources, stages, steps, samplesPerStep, seed }) })
}

/** A number, or a schedule of (step, total) inside the stage. */
function shareOf(value: Value, env: StageEnv): Share {
  const machine = machineFor(env)
  const fixed = value.kind === "float" ? value.value : value.kind === "int" ? machine.known(value.poly) : null
  if (fixed !== null) return fixed
  return (step, total) => {
    const result = machine.apply(value, [int(step), int(total)], value.origin ?? { source: env.session.entry, start: 0, end: 0 })
    return result.kind === "float" && result.value !== null ? result.value : result.kind === "int" ? (machine.known(result.poly) ?? NaN) : NaN
  }
}
