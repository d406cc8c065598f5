/** Reading, cutting, cleaning and tokenising: each registers a stage. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Span } from "../../../grammar/diagnostic.ts"
import type { Stage } from "../../plan/stage.ts"
import type { Machine } from "../machine.ts"
import { listed } from "../suggest.ts"
import type { ArtifactType, ArtifactValue, CallSite, Primitive, RowType, Value } from "../value.ts"
import type { PrimitiveTable } from "./table.ts"

type Args = ReadonlyMap<string, Value>
type Rows = Extract<ArtifactType, { is: "rows" }>
type Tokens = Extract<ArtifactType, { is: "tokens" }>

export function artifact(args: Args, name: string): ArtifactValue {
  const value = args.get(name)
  if (value?.kind !== "artifact") throw new Error(`check: ${name} is not an artifact`)
  return value
}

export function rowsOf(args: Args, name: string): Rows {
  const { type } = artifact(args, name)
  if (type.is !== "rows") throw new Error(`check: ${name} is not rows`)
  return type
}

export function tokensOf(value: ArtifactValue): Tokens {
  if (value.type.is !== "tokens") throw new Error("check: not tokens")
  return value.type
}

function stage(kind: Stage["kind"], type: (args: Args, site: CallSite, ctx: Machine) => ArtifactType | null): Primitive {
  return (args, site, ctx) => {
    const result = type(args, site, ctx)
    return result === null ? { kind: "error", origin: null } : ctx.stage(kind, args, result, site.span)
  }
}

/** The number of an argument, where it is known. */
export function numberArg(args: Args, name: string, ctx: Machine): number | null {
  const value = args.get(name)
  return value?.kind === "int" ? ctx.known(value.poly) : value?.kind === "float" ? value.value : null
}

/** Reports a number outside of its range. */
export function inRange(args: Args, name: string, low: number, high: number, site: CallSite, ctx: Machine, show = (n: number): string => String(n)): boolean {
  const n = numberArg(args, name, ctx)
  if (n === null || (n >= low && n <= high)) return true
  const range = high === Infinity ? `at least ${show(low)}` : `between ${show(low)} and ${show(high)}`
  ctx.report(diagnostic("SLM2303", site.args.get(name) ?? site.span, `\`${name}\` is ${show(n)}; it must be ${range}`))
  return false
}

const percent = (n: number): string => `${Number((100 * n).toFixed(6))}%`

// ---- reading

const rowTypes: readonly string[] = ["string", "int", "float", "class", "chat"]

/** `{ text: "string", label: "class" }` */
function fieldTypes(args: Args, site: CallSite, ctx: Machine): ReadonlyMap<string, RowType> | null {
  const value = args.get("fields")
  if (value?.kind !== "record") return null
  const fields = new Map<string, RowType>()
  for (const [name, type] of value.fields) {
    if (type.kind === "error") return null
    if (type.kind !== "string" || type.value === null || !rowTypes.includes(type.value)) {
      ctx.report(diagnostic("SLM2111", type.origin ?? site.args.get("fields") ?? site.span, `field \`${name}\` has one of the types ${listed(rowTypes.map((t) => `"${t}"`), "or").replaceAll("`", "")}`))
      return null
    }
    fields.set(name, type.value === "class" ? { classes: null } : (type.value as "string" | "int" | "float" | "chat"))
  }
  if (fields.size > 0) return fields
  ctx.report(diagnostic("SLM2015", site.args.get("fields") ?? site.span, "at least one field is needed", { help: "name the columns used: `fields: { text: \"string\" }`" }))
  return null
}

function table(args: Args, site: CallSite, ctx: Machine): Rows | null {
  const fields = fieldTypes(args, site, ctx)
  return fields === null ? null : { is: "rows", fields, parts: null }
}

const textRows: Rows = { is: "rows", fields: new Map([["text", "string"]]), parts: null }

/** The field that holds the text of a row. */
function textField(rows: Rows): string | null {
  if (rows.fields.get("text") === "string" || rows.fields.get("text") === "chat") return "text"
  const texts = [...rows.fields].filter(([, type]) => type === "string").map(([name]) => name)
  return texts.length === 1 ? (texts[0] ?? null) : null
}

export function needsText(args: Args, what: string, site: CallSite, ctx: Machine): Rows | null {
  const rows = rowsOf(args, "data")
  if (textField(rows) !== null) return rows
  const chat = [...rows.fields.values()].includes("chat")
  ctx.report(diagnostic("SLM2110", site.args.get("data") ?? site.span, `${what} needs rows with one text field`, {
    notes: [`these rows have ${listed([...rows.fields.keys()])}`], help: chat ? "`|> chat()` renders messages as text" : "call one field `text`",
  }))
  return null
}

// ---- rows to rows

function split(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  const rows = rowsOf(args, "data")
  if (rows.parts !== null) {
    ctx.report(diagnostic("SLM2110", site.args.get("data") ?? site.span, "these rows are split already", { help: "split once, into all parts: `split(valid: 5%, test: 5%)`" }))
    return null
  }
  const by = args.get("by")
  if (by?.kind === "string" && by.value !== null && !rows.fields.has(by.value)) {
    ctx.report(diagnostic("SLM2013", site.args.get("by") ?? site.span, `the rows have no field \`${by.value}\``, { help: `they have ${listed([...rows.fields.keys()])}` }))
    return null
  }
  const [valid, test] = [numberArg(args, "valid", ctx), numberArg(args, "test", ctx)]
  if (!inRange(args, "valid", 0, 1, site, ctx, percent) || !inRange(args, "test", 0, 1, site, ctx, percent)) return null
  if (valid !== null && test !== null && valid + test >= 1) {
    ctx.report(diagnostic("SLM2303", site.span, `${percent(valid + test)} set aside leaves nothing to train on`))
    return null
  }
  const parts = ["train", ...(valid === 0 ? [] : ["valid"]), ...(test === 0 ? [] : ["test"])]
  return { ...rows, parts }
}

function chat(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  const rows = rowsOf(args, "data")
  const template = args.get("template")
  if (template?.kind === "string" && template.value === "") ctx.report(diagnostic("SLM2303", site.args.get("template") ?? site.span, "a chat template has a name"))
  if (![...rows.fields.values()].includes("chat")) {
    ctx.report(diagnostic("SLM2110", site.args.get("data") ?? site.span, "`chat` needs rows with messages", { help: "read them with `fields: { messages: \"chat\" }`" }))
    return null
  }
  return { is: "rows", fields: new Map([["text", "chat"]]), parts: rows.parts }
}

function take(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  return inRange(args, "count", 1, Infinity, site, ctx) ? artifact(args, "data").type : null
}

function clean(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  const rows = needsText(args, "cleaning", site, ctx)
  return rows !== null && inRange(args, "min_chars", 0, Infinity, site, ctx) && inRange(args, "max_chars", 1, Infinity, site, ctx) ? rows : null
}

// ---- tokens

const tokenizer: ArtifactType = { is: "tokenizer" }

function bpe(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  const good = inRange(args, "size", 257, 1 << 20, site, ctx)
  return good && onePart(args, "data", site, ctx) && needsText(args, "a tokenizer", site, ctx) !== null ? tokenizer : null
}

function encode(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  const rows = needsText(args, "`encode`", site, ctx)
  if (rows === null) return null
  const label = [...rows.fields].find(([, type]) => typeof type === "object")?.[0] ?? null
  return { is: "tokens", tokenizer: artifact(args, "tokenizer"), length: null, parts: rows.parts, labels: label, fields: new Map() }
}

function pack(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  const tokens = tokensOf(artifact(args, "data"))
  if (tokens.length !== null) {
    ctx.report(diagnostic("SLM2110", site.args.get("data") ?? site.span, "these tokens are packed already"))
    return null
  }
  return inRange(args, "length", 1, 1 << 20, site, ctx) ? { ...tokens, length: args.get("length") ?? null } : null
}

/** Tokens of one part: not `tokens` of a split, but `tokens.train`. */
export function onePart(args: Args, name: string, site: CallSite, ctx: Machine): boolean {
  const value = args.get(name)
  return value?.kind !== "artifact" || isOnePart(value, `\`${name}\``, site.args.get(name) ?? site.span, ctx)
}

export function isOnePart(value: ArtifactValue, what: string, at: Span, ctx: Machine): boolean {
  if ((value.type.is !== "tokens" && value.type.is !== "rows") || value.type.parts === null) return true
  ctx.report(diagnostic("SLM2117", at, `${what} takes one part of the data`, {
    label: `split into ${value.type.parts.join(", ")}`, help: `choose one: \`${value.stage.name.includes("/") ? "" : value.stage.name}.${value.type.parts[0] ?? "train"}\``,
  }))
  return false
}

/** Training, evaluation and difficulties are about rows of one length. */
export function isPacked(value: ArtifactValue, at: Span, m: Machine): boolean {
  if (value.type.is !== "tokens" || value.type.length !== null) return true
  m.report(diagnostic("SLM2117", at, "these tokens are not in rows of one length yet", { help: "`|> pack(length: 128)` makes rows of 128 predictions" }))
  return false
}

function difficulty(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  return onePart(args, "data", site, ctx) && isPacked(artifact(args, "data"), site.args.get("data") ?? site.span, ctx) ? { is: "difficulty" } : null
}

const easiest: Primitive = (args, site, ctx) => {
  if (!onePart(args, "data", site, ctx) || !isPacked(artifact(args, "data"), site.args.get("data") ?? site.span, ctx)) return { kind: "error", origin: null }
  return { kind: "mix", items: [{ share: { kind: "float", value: 1, pending: [], origin: site.span }, data: artifact(args, "data"), easiest: args.get("share") ?? null }], origin: site.span }
}

/** Token ids mean nothing without their tokenizer. */
function trim(args: Args, site: CallSite, ctx: Machine): ArtifactType | null {
  const [words, data] = [artifact(args, "words"), artifact(args, "data")]
  const own = tokensOf(data).tokenizer
  if (own.stage.key === words.stage.key) return tokenizer
  ctx.report(diagnostic("SLM2104", site.args.get("data") ?? site.span, `these tokens are of \`${own.stage.name}\`, not of \`${words.stage.name}\``, { help: `encode the data with \`${words.stage.name}\`` }))
  return null
}

function beginnings(args: Args, site: CallSite, ctx: Machine): ArtifactType {
  const size = ctx.unknownInt(artifact(args, "words").stage, "size", site.span)
  return { is: "statistics", spec: null, tensors: new Map([["ids", [{ size: size.poly, origin: site.span }]]]) }
}

function entries(args: Args, site: CallSite, ctx: Machine): ArtifactType {
  const size = ctx.unknownInt(artifact(args, "of").stage, "size", site.span)
  return { is: "statistics", spec: null, tensors: new Map([["ids", [{ size: size.poly, origin: site.span }]]]) }
}

export const dataPrimitives: PrimitiveTable = {
  text: stage("text", () => textRows),
  jsonl: stage("jsonl", table),
  csv: stage("csv", table),
  parquet: stage("parquet", table),
  documents: stage("documents", (args, site, ctx) => needsText(args, "`documents`", site, ctx)),
  clean: stage("clean", clean),
  split: stage("split", split),
  take: stage("take", take),
  chat: stage("chat", chat),
  byte: stage("byte", () => tokenizer),
  char: stage("char", (args, site, ctx) => (onePart(args, "data", site, ctx) && needsText(args, "a tokenizer", site, ctx) !== null ? tokenizer : null)),
  bpe: stage("bpe", bpe),
  trim: stage("trim", trim),
  load_tokenizer: stage("load_tokenizer", () => tokenizer),
  entries: stage("entries", entries),
  beginnings: stage("beginnings", beginnings),
  encode: stage("encode", encode),
  pack: stage("pack", pack),
  rarity: stage("rarity", difficulty),
  lengths: stage("lengths", difficulty),
  easiest,
}
