/** `export weights { gguf: "a.gguf" }`: one stage, with the formats that map the model's weights to foreign names. */
import type { ExportItem, Expr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { isAltered } from "../graph/lower/altered.ts"
import type { Stage } from "../plan/stage.ts"
import { kindOf, textOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { libraryModule } from "./modules.ts"
import { force, lookup } from "./scopes.ts"
import { didYouMean, listed } from "./suggest.ts"
import { evaluateAs } from "./types.ts"
import { addressedWeights, subjectOf } from "./training.ts"
import type { ArtifactValue, FormatValue, Scope, SpecValue, Value } from "./value.ts"

/** What can be written, and the block of a format that describes it; weights by their own addresses need none. */
const targets: Readonly<Record<string, string | null>> = { gguf: "gguf", safetensors: "config", weights: null }
const options: readonly string[] = ["type", "format", "only"]
const floats: readonly string[] = ["f32", "f16", "bf16"]

/** The stage's args: `model`; the path of each target (`gguf`, `safetensors`); its format (`gguf_format`, `safetensors_format`); `type`; `only`, of `weights`. */
export function exportStage(item: ExportItem, scope: Scope, m: Machine): Stage | null {
  const model = evaluate(item.subject, scope, m)
  const fields = fieldsOf(item, scope, m)
  if (model.kind === "error" || model.kind === "unknown" || fields === null) return null
  if (model.kind !== "artifact" || model.type.is !== "weights") {
    m.report(diagnostic("SLM2110", item.subject.span, `\`export\` writes weights, not ${kindOf(model, m)}`, model.kind === "spec" ? { help: `\`train\` or \`load\` gives \`${model.name}\` weights` } : {}))
    return null
  }
  const args = new Map<string, Value>([["model", model], ...fields])
  const wanted = Object.keys(targets).filter((name) => fields.has(name))
  if (wanted.length === 0) {
    m.report(diagnostic("SLM2015", item.span, "nothing says what to write", { help: `give at least one of ${listed(Object.keys(targets))}: \`gguf: "model.gguf"\`` }))
    return null
  }
  if (fields.has("only") && !checkOnly(fields, wanted, model, item, m)) return null
  for (const name of wanted) {
    if (targets[name] === null) continue
    const format = formatFor(name, model.type.spec, fields.get("format"), item, m)
    if (format === null) return null
    args.set(`${name}_format`, format)
  }
  args.delete("format")
  if (wanted.some((name) => targets[name] !== null) && isAltered(model.type.spec, item.subject.span, m)) {
    m.report(diagnostic("SLM3222", item.subject.span, `\`${model.stage.name}\` has parts that \`${model.type.spec.template.code.name.name}\` does not have with these arguments`, { help: "`merge` or `detach` adapters before the export" }))
    return null
  }
  return m.stage("export", args, { is: "samples" }, item.span).stage
}

/** `only` chooses among the weights of a file of weights; an address that matches none is a mistake. */
function checkOnly(fields: ReadonlyMap<string, Value>, wanted: readonly string[], model: ArtifactValue, item: ExportItem, m: Machine): boolean {
  const at = item.fields.find((f) => f.name.name === "only")?.value.span ?? item.span
  if (wanted.some((name) => name !== "weights")) {
    m.report(diagnostic("SLM2202", at, "`only` has no effect on files of other programs, which hold whole models", { help: "`weights: \"adapter.safetensors\"` alone" }))
    return false
  }
  const subject = subjectOf(model, "model", item.subject.span, m)
  return subject !== null && addressedWeights(fields.get("only"), [subject], at, m)
}

function fieldsOf(item: ExportItem, scope: Scope, m: Machine): ReadonlyMap<string, Value> | null {
  const fields = new Map<string, Value>()
  const names = [...Object.keys(targets), ...options]
  let good = true
  const mistake = (code: string, at: ExportItem["fields"][number]["span"], message: string, help?: string): void => {
    m.report(diagnostic(code, at, message, help === undefined ? {} : { help }))
    good = false
  }
  for (const f of item.fields) {
    const name = f.name.name
    if (!names.includes(name)) {
      mistake("SLM2014", f.name.span, `\`export\` has no field \`${name}\``, didYouMean(name, names) ?? `it has ${listed(names)}`)
      continue
    }
    if (name in targets && isFileName(f.value, scope, m)) {
      mistake("SLM2110", f.value.span, `\`${name}\` is the path to write to, a text`, `write \`"${textOf(f.value.span, m.session)}"\``)
      continue
    }
    const value = name === "only" ? evaluateAs(f.value, { kind: "list", span: f.span, of: { kind: "named", span: f.span, name: "address", dims: null } }, scope, m)
      : name === "type" ? evaluateAs(f.value, { kind: "oneof", span: f.span, names: floats.map((n) => ({ name: n, span: f.span })) }, scope, m) : evaluate(f.value, scope, m)
    if (fields.has(name)) mistake("SLM2017", f.name.span, `\`${name}\` is given twice`)
    else if (value.kind === "error") good = false
    else if (name in targets && (value.kind !== "string" || value.value === "")) mistake("SLM2110", f.value.span, `\`${name}\` is the path to write to, a text, not ${kindOf(value, m)}`)
    else if (name in targets && value.kind === "string" && !staysInside(value.value)) mistake("SLM2213", f.value.span, "this is not a place below the output folder", "exports are written below the run's folder: `\"model.gguf\"`; `--out` chooses that folder")
    else if (name === "only" && value.kind !== "list") mistake("SLM2110", f.value.span, `\`only\` is a list of addresses, not ${kindOf(value, m)}`)
    else if (name === "format" && value.kind !== "format") mistake("SLM2110", f.value.span, `\`format\` is a format, not ${kindOf(value, m)}`)
    else if (name === "type" && value.kind !== "symbol") mistake("SLM2110", f.value.span, `\`type\` is ${listed(floats, "or")}, not ${kindOf(value, m)}`, value.kind === "encoding" || (value.kind === "definition" && value.code.kind === "encoding") ? "`quantize` the weights first, and export what it yields" : undefined)
    fields.set(name, value)
  }
  return good ? fields : null
}

/** A path below the output folder, and not that folder itself. */
function staysInside(path: string | null): boolean {
  if (path === null) return true
  const parts = path.split(/[\\/]/).filter((part) => part !== ".")
  return parts.length > 0 && parts[0] !== "" && !parts.includes("..") && !/^[A-Za-z]:$/.test(parts[0] ?? "") && parts.some((part) => part !== "")
}

/** Two exports to one place: the second would replace what the first wrote. */
export function reportSamePlaces(exports: readonly Stage[], m: Machine): void {
  const seen = new Map<string, Value>()
  for (const { args } of exports) for (const target of Object.keys(targets)) {
    const path = args.get(target)
    if (path?.kind !== "string" || path.value === null || path.origin === null) continue
    const place = path.value.split(/[\\/]/).filter((part) => part !== "." && part !== "").join("/")
    const before = seen.get(place)
    if (before === undefined) seen.set(place, path)
    else if (before.origin !== null && before.origin.start !== path.origin.start) {
      m.report(diagnostic("SLM2213", path.origin, `\`${path.value}\` is written twice`, { labels: [{ span: before.origin, message: "the first time here" }], help: "give each its own name" }))
    }
  }
}

/** `model.gguf`, where nothing is called `model`. */
function isFileName(expr: Expr, scope: Scope, m: Machine): boolean {
  return expr.kind === "field" && expr.object.kind === "name" && lookup(expr.object.name, scope, m) === null
}

/** The format given, or the only one that maps this model to the target: the recipe's own before the library's. */
function formatFor(target: string, spec: SpecValue, given: Value | undefined, item: ExportItem, m: Machine): FormatValue | null {
  const block = targets[target] ?? target
  const model = spec.template.code.name.name
  const fits = (f: FormatValue): boolean => f.code.model.name === model && f.code.blocks.some((b) => b.name.name === block)
  if (given?.kind === "format" && fits(given)) return given
  const found = [...allFormats(m)].filter(fits)
  const own = found.filter((f) => f.scope.module !== formatsModule)
  const [only] = own.length > 0 ? own : found
  if (only !== undefined) return only
  const span = item.fields.find((f) => f.name.name === target)?.span ?? item.span
  m.report(diagnostic("SLM2210", span, `nothing says how \`${model}\` is written as ${target}`, { help: `define \`format my_${target} for ${model} { ${block} { … } map … }\`` }))
  return null
}

const formatsModule = "std.formats"

function* allFormats(m: Machine): Iterable<FormatValue> {
  const { session } = m
  libraryModule(formatsModule, m)
  for (const module of session.modules.values()) for (const entry of module.entries.values()) {
    if (entry.item.kind !== "format" || entry.from !== null) continue
    const value = force(entry, module, m)
    if (value.kind === "format") yield value
  }
}
