/** Rows to rows: fields made of fields, prompts with answers, what is dropped and what is made unreadable. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Span } from "../../../grammar/diagnostic.ts"
import { kindOf } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { error } from "../make.ts"
import { cellType, unknownMeasures, unknownRow } from "../row-values.ts"
import { didYouMean, listed } from "../suggest.ts"
import { personalKinds } from "../text-measures.ts"
import type { ArtifactType, CallSite, Primitive, RowType, Value } from "../value.ts"
import { inRange, needsText, onePart, rowsOf } from "./data.ts"
import type { PrimitiveTable } from "./table.ts"

type Rows = Extract<ArtifactType, { is: "rows" }>

const place = (site: CallSite, name: string): Span => site.args.get(name) ?? site.span

// ---- fields made of fields

const eachRow: Primitive = (args, site, m) => {
  const rows = rowsOf(args, "data")
  const make = args.get("make")
  if (make === undefined || isRendered(rows, "each_row", site, m)) return error
  const made = m.apply(make, [unknownRow(rows.fields)], place(site, "make"))
  if (made.kind === "error") return error
  if (made.kind !== "record") return m.report(diagnostic("SLM2110", place(site, "make"), `what is made of a row is a record of its new fields, not ${kindOf(made, m)}`, { help: "`row => { text: \"{row.title}: {row.body}\" }`" }))
  const fields = new Map<string, RowType>(rows.fields)
  for (const [name, value] of made.fields) {
    const type = cellType(value)
    if (type === null) return value.kind === "error" ? error : m.report(diagnostic("SLM2110", value.origin ?? place(site, "make"), `a field of a row is a text or a number, and \`${name}\` is ${kindOf(value, m)}`))
    fields.set(name, type)
  }
  if (made.fields.size === 0) return m.report(diagnostic("SLM2202", place(site, "make"), "nothing is made of a row: `each_row` has no effect"))
  return m.stage("each_row", args, { ...rows, fields }, site.span)
}

/** Texts that `chat` or `instruct` has made are of pieces that count and pieces that do not. */
function isRendered(rows: Rows, what: string, site: CallSite, m: Machine): boolean {
  if (rows.fields.get("text") !== "chat") return false
  m.report(diagnostic("SLM2110", place(site, "data"), `\`${what}\` comes before the texts are rendered`, { help: "call it before `chat` and `instruct`" }))
  return true
}

const instruct: Primitive = (args, site, m) => {
  const rows = rowsOf(args, "data")
  if (isRendered(rows, "instruct", site, m)) return error
  for (const name of ["prompt", "answer"]) {
    const field = args.get(name)
    if (field?.kind !== "string" || field.value === null || rows.fields.get(field.value) === "string") continue
    const texts = [...rows.fields].filter(([, type]) => type === "string").map(([other]) => other)
    return m.report(diagnostic("SLM2013", place(site, name), `the rows have no text field \`${field.value}\``, { help: didYouMean(field.value, texts) ?? `\`each_row\` makes fields; the rows have ${listed([...rows.fields.keys()])}` }))
  }
  return m.stage("instruct", args, { is: "rows", fields: new Map([["text", "chat"]]), parts: rows.parts }, site.span)
}

const append: Primitive = (args, site, m) => {
  const [a, b] = [rowsOf(args, "data"), rowsOf(args, "more")]
  if (!onePart(args, "data", site, m) || !onePart(args, "more", site, m)) return error
  const differing = [...new Set([...a.fields.keys(), ...b.fields.keys()])].find((name) => typeName(a.fields.get(name)) !== typeName(b.fields.get(name)))
  if (differing === undefined) return m.stage("append", args, a, site.span)
  const is = (rows: Rows): string => (rows.fields.has(differing) ? `is ${typeName(rows.fields.get(differing))}` : "is missing")
  return m.report(diagnostic("SLM2110", place(site, "more"), `the field \`${differing}\` ${is(b)} here, and ${is(a)} in the rows before`, { help: "rows that are joined have the same fields; `each_row` makes one of others" }))
}

function typeName(type: RowType | undefined): string {
  return type === undefined ? "" : typeof type === "object" ? "a class" : type
}

// ---- dropping and hiding

const filter: Primitive = (args, site, m) => {
  const rows = needsText(args, "`filter`", site, m)
  const rule = args.get("drop")
  if (rows === null || rule === undefined || isRendered(rows, "filter", site, m)) return error
  const made = m.apply(rule, takesRow(rule) ? [unknownMeasures(), unknownRow(rows.fields)] : [unknownMeasures()], place(site, "drop"))
  if (made.kind === "error") return error
  if (made.kind !== "record" || made.fields.size === 0) return m.report(diagnostic("SLM2110", place(site, "drop"), `what is dropped is a record of conditions by reason, not ${made.kind === "record" ? "an empty one" : kindOf(made, m)}`, { help: "`text => { too_short: text.words < 20 }`" }))
  for (const [name, value] of made.fields) {
    if (value.kind === "error") return error
    if (value.kind !== "bool" && value.kind !== "unknown") return m.report(diagnostic("SLM2110", value.origin ?? place(site, "drop"), `\`${name}\` is true or false for each text, not ${kindOf(value, m)}`))
    if (value.kind === "bool" && value.value !== null) return m.report(diagnostic("SLM2202", value.origin ?? place(site, "drop"), `\`${name}\` is ${value.value} for every text: ${value.value ? "nothing would be left" : "it has no effect"}`))
  }
  return m.stage("filter", args, rows, site.span)
}

/** A second parameter is the row. */
export function takesRow(rule: Value): boolean {
  return rule.kind === "closure" && rule.code.params.length === 2
}

const distinct: Primitive = (args, site, m) => {
  const rows = needsText(args, "`distinct`", site, m)
  if (rows === null || isRendered(rows, "distinct", site, m)) return error
  const good = inRange(args, "threshold", 0.05, 1, site, m, (n) => `${Number((100 * n).toFixed(4))}%`) && inRange(args, "size", 1, 64, site, m) && inRange(args, "hashes", 8, 1024, site, m)
  return good ? m.stage("distinct", args, rows, site.span) : error
}

const redact: Primitive = (args, site, m) => {
  const rows = rowsOf(args, "data")
  const kinds = args.get("kinds")
  if (![...rows.fields.values()].some((type) => type === "string" || type === "chat")) return m.report(diagnostic("SLM2110", place(site, "data"), "`redact` needs rows with text or messages", { notes: [`these rows have ${listed([...rows.fields.keys()])}`] }))
  if (isRendered(rows, "redact", site, m)) return error
  const words = kinds?.kind === "list" ? kinds.items.flatMap((item) => (item.kind === "symbol" ? [item.name] : [])) : personalKinds
  if (words.length === 0) return m.report(diagnostic("SLM2202", place(site, "kinds"), "nothing is named that would be redacted", { help: `kinds are ${listed([...personalKinds])}` }))
  return m.stage("redact", args, rows, site.span)
}

const inLanguage: Primitive = (args, site, m) => {
  const rows = needsText(args, "`in_language`", site, m)
  const keep = args.get("keep")
  if (rows === null || isRendered(rows, "in_language", site, m)) return error
  if (keep?.kind === "list" && keep.items.length === 0) return m.report(diagnostic("SLM2202", place(site, "keep"), "no language is named, so that nothing would be left", { help: "`keep: [\"en\"]`" }))
  return m.stage("in_language", args, rows, site.span)
}

export const rowPrimitives: PrimitiveTable = { each_row: eachRow, instruct, append, filter, distinct, redact, in_language: inLanguage }
