/** Rows that a recipe makes itself, that a model continues or answers, and what stands beside rows: each registers a stage. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Span } from "../../../grammar/diagnostic.ts"
import type { Stage } from "../../plan/stage.ts"
import { kindOf, within } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { dim, error, int, unknown } from "../make.ts"
import { add, constant, symbol, vocabulariesDiffer } from "../poly.ts"
import { flattened } from "../row-fields.ts"
import { didYouMean, listed } from "../suggest.ts"
import { abstractRow } from "../training.ts"
import { vocabularyMistake } from "../vocabularies.ts"
import type { ArtifactValue, CallSite, Primitive, RowField, RowFields, RowType, Value } from "../value.ts"
import { artifact, inRange, isPacked, numberArg, onePart, tokensOf } from "./data.ts"
import type { PrimitiveTable } from "./table.ts"

type Args = ReadonlyMap<string, Value>
const place = (site: CallSite, name: string): Span => site.args.get(name) ?? site.span

// ---- rows made by the recipe

/** The type of a field by one of its values; null: rows cannot hold it. */
function rowTypeOf(value: Value): RowType | null {
  switch (value.kind) {
    case "string": return "string"
    case "int": return "int"
    case "float": return "float"
    case "list": return value.items.every((item) => item.kind === "record" && ["role", "content"].every((name) => item.fields.get(name)?.kind === "string")) ? "chat" : null
    default: return null
  }
}

/** The function is tried on a number that is not known, so that a wrong one is found before anything runs. */
const made: Primitive = (args, site, m) => {
  const by = args.get("by")
  if (by === undefined || !inRange(args, "count", 1, 10_000_000, site, m)) return error
  const at = place(site, "by")
  const row = m.apply(by, [int(symbol("number of a row", "n", { origin: at }), at)], at)
  if (row.kind === "error") return error
  if (row.kind !== "record") return m.report(diagnostic("SLM2110", at, `a row is a record of texts and numbers, not ${kindOf(row, m)}`, { help: "`by: n => { text: \"{n} and {n + 1}\" }`" }))
  const fields = new Map<string, RowType>()
  for (const [name, value] of row.fields) {
    const type = rowTypeOf(value)
    if (type === null && value.kind !== "error") m.report(diagnostic("SLM2110", within(value, at), `field \`${name}\` of a row is a text, a number or a list of messages, not ${kindOf(value, m)}`))
    if (type === null) return error
    fields.set(name, type)
  }
  return m.stage("made", args, { is: "rows", fields, parts: null }, site.span)
}

// ---- rows that a model continues

/** Sampling options without effect are mistakes. */
function checkSampling(args: Args, site: CallSite, m: Machine): boolean {
  const temperature = numberArg(args, "temperature", m)
  const idle = ["top_k", "top_p"].find((name) => temperature === 0 && (args.get(name)?.kind ?? "none") !== "none")
  if (idle !== undefined) m.report(diagnostic("SLM2202", place(site, idle), `\`${idle}\` has no effect at temperature 0`, { notes: ["temperature 0 takes the most likely token each time"] }))
  return idle === undefined && ([["temperature", 0, Infinity], ["top_k", 1, Infinity], ["top_p", 0, 1]] as const).every(([name, low, high]) => inRange(args, name, low, high, site, m))
}

const continued: Primitive = (args, site, m) => {
  const [model, data] = [artifact(args, "model"), artifact(args, "data")]
  if (model.type.is !== "weights" || !onePart(args, "data", site, m) || !isPacked(data, place(site, "data"), m) || !checkSampling(args, site, m)) return error
  const tokens = tokensOf(data)
  const [vocab, size] = [model.type.spec.args.get("vocab"), m.unknownInt(tokens.tokenizer.stage, "size", place(site, "data"))]
  if (vocab?.kind === "int" && vocabulariesDiffer(vocab.poly, size.poly)) return vocabularyMistake(dim(size.poly), dim(vocab.poly, vocab.origin), "the model has learned the tokens of another tokenizer", place(site, "data"), m)
  const length = tokens.length?.kind === "int" ? m.known(tokens.length.poly) : null
  if (!inRange(args, "after", 1, length ?? Infinity, site, m)) return error
  return m.stage("continued", args, { is: "tokens", tokenizer: tokens.tokenizer, length: tokens.length, parts: null, labels: null, fields: new Map() }, site.span)
}

// ---- answers

const answered: Primitive = (args, site, m) => {
  const rows = artifact(args, "data").type
  if (rows.is !== "rows" || !onePart(args, "data", site, m)) return error
  for (const name of ["prompt", "answer"]) {
    const field = args.get(name)
    if (field?.kind !== "string" || field.value === null) return error
    if (rows.fields.get(field.value) === "string") continue
    const texts = [...rows.fields].flatMap(([one, type]) => (type === "string" ? [one] : []))
    return m.report(diagnostic("SLM2013", place(site, name), `the rows have no text \`${field.value}\``, { help: didYouMean(field.value, texts) ?? (texts.length === 0 ? "they have no texts" : `they have ${listed(texts)}`) }))
  }
  if (!inRange(args, "tokens", 1, Infinity, site, m)) return error
  return m.stage("answered", args, { is: "report", fields: ["exact", "rows"] }, site.span)
}

// ---- texts of tokens

const respelled: Primitive = (args, site, m) => {
  const [data, tokens, notes] = [artifact(args, "data"), artifact(args, "tokens"), artifact(args, "notes")]
  if (data.type.is !== "rows" || notes.type.is !== "notes" || !onePart(args, "data", site, m) || !isPacked(tokens, place(site, "tokens"), m)) return error
  if (!isMadeOf(tokens.stage, data)) return m.report(diagnostic("SLM2110", place(site, "tokens"), `these tokens are not made of the rows of \`${data.stage.name}\``, { help: "encode and pack the same rows: `rows |> encode(words) |> pack(length: 64)`" }))
  const { of, fields } = notes.type
  if (of.stage.key !== tokens.stage.key || of.member !== tokens.member) return m.report(diagnostic("SLM2110", place(site, "notes"), `these are notes on the rows of \`${of.stage.name}\`, not of these`))
  const [ids, length] = [fields.get("ids"), tokensOf(tokens).length]
  const fits = ids?.dtype === "i32" && ids.shape.length === 1 && length?.kind === "int" && m.compare(ids.shape[0]?.size ?? length.poly, length.poly) !== "different"
  if (!fits) return m.report(diagnostic("SLM2110", place(site, "notes"), "texts are spelled by whole numbers `ids`, one for each of the `length` tokens of a row", { help: "`noted(tokens, by: row => { ids: … })`, of the batch that an objective makes" }))
  if (data.type.fields.get("text") !== "string") return m.report(diagnostic("SLM2013", place(site, "data"), "the rows have no text `text`"))
  return m.stage("respelled", args, data.type, site.span)
}

/** Whether rows were packed out of exactly these documents. */
function isMadeOf(stage: Stage, data: ArtifactValue): boolean {
  const from = stage.args.get("data")
  if (from?.kind !== "artifact") return false
  return stage.kind === "pack" ? isMadeOf(from.stage, data) : stage.kind === "encode" && from.stage.key === data.stage.key && from.member === data.member
}

// ---- beside rows

/** Rows at random places of the stream have nothing of their own beside them. */
function hasRows(value: ArtifactValue, at: Span, m: Machine): boolean {
  const windows = packing(value.stage)?.args.get("windows")
  if (windows?.kind !== "symbol" || windows.name !== "random") return true
  m.report(diagnostic("SLM2110", at, "rows that begin at random places have nothing of their own beside them", { help: "pack with `windows: fixed`" }))
  return false
}

function packing(stage: Stage): Stage | null {
  const data = stage.args.get("data")
  return stage.kind === "pack" ? stage : data?.kind === "artifact" ? packing(data.stage) : null
}

const noted: Primitive = (args, site, m) => {
  const [data, by] = [artifact(args, "data"), args.get("by")]
  if (by === undefined || !onePart(args, "data", site, m) || !isPacked(data, place(site, "data"), m) || !hasRows(data, place(site, "data"), m) || !inRange(args, "batch", 1, Infinity, site, m)) return error
  const at = place(site, "by")
  const row = abstractRow(tokensOf(data), place(site, "data"), m)
  const batch = row.kind === "record" ? row.fields.get("row") : undefined
  const found = m.apply(by, [row], at)
  if (found.kind === "error") return error
  const tensors = flattened(found)
  if (tensors === null || tensors.size === 0 || batch?.kind !== "tensor") {
    return m.report(diagnostic("SLM2110", at, `notes are a record of tensors, not ${kindOf(found, m)}`, { help: "`by: row => { likely: argmax(teacher(next_token(row)).logits) }`" }))
  }
  const fields = new Map<string, RowField>()
  for (const [path, { dtype, shape, vocab }] of tensors) {
    const [first, ...rest] = shape
    const rows = batch.shape[0]
    if (first === undefined || rows === undefined || m.compare(first.size, rows.size) === "different") {
      return m.report(diagnostic("SLM2102", at, `the first axis of \`${path}\` is not that of the rows`, { notes: ["what is noted belongs to one row each: `[B, ..]`"] }))
    }
    fields.set(path, { dtype, shape: rest, vocab })
  }
  return m.stage("noted", args, { is: "notes", fields, of: data }, site.span)
}

/** Rows of another tokenizer, and where a token of either ends at the same byte. */
const reread: Primitive = (args, site, m) => {
  const [data, words] = [artifact(args, "data"), artifact(args, "words")]
  if (!onePart(args, "data", site, m) || !isPacked(data, place(site, "data"), m) || !hasRows(data, place(site, "data"), m)) return error
  if (!inRange(args, "length", 1, 1 << 20, site, m) || !inRange(args, "least", 0, 1, site, m)) return error
  const { tokenizer, length } = tokensOf(data)
  if (tokenizer.stage.key === words.stage.key) return m.report(diagnostic("SLM2202", place(site, "words"), `these rows are tokens of \`${words.stage.name}\` already`, { help: "a teacher of the same tokenizer is called as it is: `teacher(batch)`" }))
  const other = args.get("length")
  if (length?.kind !== "int" || other?.kind !== "int") return unknown("Notes", site.span)
  const size = m.unknownInt(words.stage, "size", place(site, "words"))
  const grid = (dtype: RowField["dtype"], vocab: RowField["vocab"] = null): RowField => ({ dtype, shape: [dim(add(other.poly, constant(1)), other.origin)], vocab })
  const match: RowField = { dtype: "i32", shape: [dim(length.poly, length.origin)], vocab: null }
  const fields = new Map([["tokens", grid("i32", dim(size.poly, size.origin))], ["segments", grid("i32")], ["positions", grid("i32")], ["counts", grid("bool")], ["match", match]])
  return m.stage("reread", args, { is: "notes", fields, of: data }, site.span)
}

const ownFields: readonly string[] = ["tokens", "segments", "positions", "counts", "row", "label"]

const beside: Primitive = (args, site, m) => {
  const [data, others] = [artifact(args, "data"), args.get("notes")]
  if (others?.kind !== "record" || !onePart(args, "data", site, m) || !isPacked(data, place(site, "data"), m) || !hasRows(data, place(site, "data"), m)) return error
  const type = tokensOf(data)
  const fields = new Map<string, RowField>(type.fields)
  for (const [name, value] of others.fields) {
    const at = within(value, place(site, "notes"))
    if (ownFields.includes(name) || [...type.fields.keys()].some((path) => path === name || path.startsWith(`${name}.`))) return m.report(diagnostic("SLM2002", at, `a row has \`${name}\` already`))
    const found = besideOf(value, data, at, m)
    if (found === null) return error
    for (const [path, field] of found) fields.set(`${name}.${path}`, field)
  }
  return m.stage("beside", args, { ...type, fields }, site.span)
}

/** The fields that one value puts beside each row of `data`; null: a mistake was reported. */
function besideOf(value: Value, data: ArtifactValue, at: Span, m: Machine): RowFields | null {
  if (value.kind === "error") return null
  if (value.kind === "artifact" && value.type.is === "notes") {
    const { of, fields } = value.type
    if (of.stage.key === data.stage.key && of.member === data.member) return fields
    m.report(diagnostic("SLM2110", at, `these are notes on the rows of \`${of.stage.name}${of.member === null ? "" : `.${of.member}`}\`, not of these`, { labels: [{ span: value.stage.span, message: "noted here" }] }))
    return null
  }
  if (value.kind !== "artifact" || value.type.is !== "tokens") {
    m.report(diagnostic("SLM2110", at, `beside rows stand notes or other rows of tokens, not ${kindOf(value, m)}`))
    return null
  }
  if (!isPacked(value, at, m) || !hasRows(value, at, m)) return null
  if (value.type.parts !== null) {
    m.report(diagnostic("SLM2117", at, "beside rows stands one part of the data", { help: `choose one: \`.${value.type.parts[0] ?? "train"}\`` }))
    return null
  }
  const row = abstractRow(value.type, at, m)
  const found = row.kind === "record" ? [...row.fields].filter(([name]) => name !== "row") : []
  return new Map(found.flatMap(([name, field]): [string, RowField][] => {
    if (field.kind === "tensor") return [[name, { dtype: field.dtype, shape: field.shape.slice(1), vocab: field.vocab }]]
    return [...(flattened(field) ?? [])].map(([path, t]): [string, RowField] => [`${name}.${path}`, { dtype: t.dtype, shape: t.shape.slice(1), vocab: t.vocab }])
  }))
}

export const rowPrimitives: PrimitiveTable = { made, continued, answered, noted, reread, beside, respelled }
