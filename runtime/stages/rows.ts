/** Stages from rows to rows: each hands its arguments, or a function of the recipe, to `runtime/data`. */
import { bounded } from "../../compiler/graph/lower/host.ts"
import { cellType, knownMeasures, knownRow } from "../../compiler/check/row-values.ts"
import { takesRow } from "../../compiler/check/primitives/rows.ts"
import { personalKinds } from "../../compiler/check/text-measures.ts"
import type { RecordValue, Value } from "../../compiler/check/value.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic, type Diagnostic } from "../../grammar/diagnostic.ts"
import { appendRows } from "../data/append.ts"
import { parseFields } from "../data/fields.ts"
import { filter } from "../data/filter.ts"
import { instruct } from "../data/instruct.ts"
import { inLanguage, languageIdentifier } from "../data/language.ts"
import { distinct, distinctBytes, distinctParts, type DistinctOptions } from "../data/minhash.ts"
import { readParquet } from "../data/parquet.ts"
import { redact } from "../data/redact.ts"
import { placeOf, withColumn, type Column, type Rows } from "../data/rows.ts"
import { demand } from "../limits.ts"
import { mapMembers, memberOf, whole } from "./artifact.ts"
import { fieldsOf, inputFiles, membersOf, partsOf, rowsInput, rowsOutcome, stepped } from "./data.ts"
import type { Executor, StageEnv } from "./environment.ts"
import { failed, fromResult, given, machineFor, numberArg, required, textArg, textsArg, wordArg } from "./environment.ts"

export const parquet: Executor = async (stage, env) => {
  const files = inputFiles(stage, env)
  const fields = parseFields(fieldsOf(stage))
  if (!files.ok || !fields.ok) return fromResult(files.ok ? fields : files, stage, () => failed())
  const rows = await readParquet(files.value, { fields: fields.value, demand: (bytes) => demand(bytes, `reading \`${textArg(stage, "path") ?? ""}\``, env.limits) })
  return fromResult(rows, stage, (value) => rowsOutcome(whole(value)))
}

// ---------------------------------------------------------------- functions of the recipe

/** A mistake that a function of the recipe made of one row. */
class RowMistake extends Error {
  readonly diagnostics: readonly Diagnostic[]
  constructor(diagnostics: readonly Diagnostic[]) {
    super("a row")
    this.diagnostics = diagnostics
  }
}

/** Applies a function of the recipe to one row after the other; each application is bounded by itself. */
function applier(stage: Stage, rule: Value, env: StageEnv): (args: readonly Value[], rows: Rows, row: number) => RecordValue {
  const machine = machineFor(env)
  return (args, rows, row) => {
    const before = env.session.diagnostics.length
    const made = bounded(env.session, () => machine.apply(rule, args, stage.span))
    if (made.kind === "record" && ![...made.fields.values()].some(({ kind }) => kind === "error")) return made
    const found = env.session.diagnostics.splice(before)
    // What a message says may quote the row.
    if (env.private) throw new RowMistake([diagnostic(found[0]?.code ?? "SLM2110", stage.span, "the function makes a mistake of one of the rows, which are private")])
    const where = [`in the row at ${placeOf(rows, row)}`]
    throw new RowMistake(found.length > 0 ? found.map((one) => ({ ...one, notes: [...one.notes, ...where] })) : [diagnostic("SLM2110", stage.span, "the function makes no record of this row", { notes: where })])
  }
}

/** Texts and numbers of a row, and classes by their names. */
function rowValue(rows: Rows, row: number): RecordValue {
  return knownRow([...rows.columns].flatMap(([name, column]): (readonly [string, "string" | "int" | "float", string | number])[] => {
    switch (column.is) {
      case "string": return [[name, "string", column.values[row] ?? ""]]
      case "int": case "float": return [[name, column.is, column.values[row] ?? 0]]
      case "class": return [[name, "string", column.classes[column.values[row] ?? 0] ?? ""]]
      case "chat": return []
    }
  }))
}

const withMistakes = (execute: Executor): Executor => async (stage, env) => {
  try {
    return await execute(stage, env)
  } catch (error) {
    if (error instanceof RowMistake) return failed(...error.diagnostics)
    throw error
  }
}

export const eachRowStage: Executor = withMistakes(async (stage, env) => {
  const apply = applier(stage, required(given(stage, "make"), stage, "make"), env)
  const machine = machineFor(env)
  const types = stage.type.is === "rows" ? stage.type.fields : new Map<string, never>()
  return rowsOutcome(mapMembers(await rowsInput(stage, env), (rows) => {
    const made = new Map<string, (string | number)[]>()
    for (let row = 0; row < rows.count; row++) {
      for (const [name, value] of apply([rowValue(rows, row)], rows, row).fields) {
        const cell = value.kind === "string" || value.kind === "float" ? value.value : value.kind === "int" ? machine.known(value.poly) : null
        if (cell === null || cellType(value) === null) throw new RowMistake([diagnostic("SLM2110", stage.span, `\`${name}\` is not known for the row at ${env.private ? "a place that is private" : placeOf(rows, row)}`)])
        const cells = made.get(name) ?? []
        cells.push(cell)
        made.set(name, cells)
      }
    }
    let all = rows
    for (const [name, cells] of made) all = withColumn(all, name, columnOf(types.get(name) === "string" ? "string" : types.get(name) === "int" ? "int" : "float", cells))
    return all
  }))
})

function columnOf(is: "string" | "int" | "float", cells: readonly (string | number)[]): Column {
  return is === "string" ? { is, values: cells.map(String) } : { is, values: Float64Array.from(cells, Number) }
}

export const filterStage: Executor = withMistakes(async (stage, env) => {
  const rule = required(given(stage, "drop"), stage, "drop")
  const apply = applier(stage, rule, env)
  const both = takesRow(rule)
  return stepped(stage, await rowsInput(stage, env), (rows) => filter(rows, (measures, row) => {
    const made = apply(both ? [knownMeasures(measures), rowValue(rows, row)] : [knownMeasures(measures)], rows, row)
    for (const [reason, value] of made.fields) if (value.kind === "bool" && value.value === true) return reason
    return null
  }))
})

// ---------------------------------------------------------------- the rest

export const instructStage: Executor = async (stage, env) =>
  stepped(stage, await rowsInput(stage, env), (rows) => instruct(rows, { prompt: textArg(stage, "prompt") ?? "prompt", answer: textArg(stage, "answer") ?? "answer" }))

export const appendStage: Executor = async (stage, env) => {
  const [a, b] = [memberOf(await rowsInput(stage, env), null), memberOf(await rowsInput(stage, env, "more"), null)]
  return fromResult(appendRows(a, b), stage, (rows) => rowsOutcome(whole(rows), whole({ step: "append", before: a.count, after: rows.count, drops: [], notes: [] })))
}

export const distinctStage: Executor = async (stage, env) => {
  const members = await rowsInput(stage, env)
  const options: DistinctOptions = {
    threshold: required(numberArg(stage, "threshold", env), stage, "threshold"), by: wordArg(stage, "by") === "letters" ? "letters" : "words", size: required(numberArg(stage, "size", env), stage, "size"),
    hashes: required(numberArg(stage, "hashes", env), stage, "hashes"), seed: required(numberArg(stage, "seed", env), stage, "seed"),
  }
  demand(distinctBytes([...members.values()].reduce((n, rows) => n + rows.count, 0), options), `comparing the rows of \`${stage.name}\``, env.limits)
  const parts = partsOf(members)
  if (parts === null) return stepped(stage, members, (rows) => distinct(rows, options))
  return fromResult(distinctParts(parts, options), stage, (found) => {
    const all = membersOf(found)
    return rowsOutcome(mapMembers(all, (s) => s.value), mapMembers(all, (s) => s.report))
  })
}

export const redactStage: Executor = async (stage, env) => {
  const kinds = given(stage, "kinds")
  const words = kinds?.kind === "list" ? kinds.items.flatMap((item) => (item.kind === "symbol" ? [item.name] : [])) : null
  return stepped(stage, await rowsInput(stage, env), (rows) => redact(rows, personalKinds.filter((kind) => words === null || words.includes(kind))))
}

export const inLanguageStage: Executor = async (stage, env) => {
  const identifier = await languageIdentifier()
  return stepped(stage, await rowsInput(stage, env), (rows) => inLanguage(rows, { keep: textsArg(stage, "keep"), unsure: wordArg(stage, "unsure") === "keep" ? "keep" : "drop" }, identifier))
}
