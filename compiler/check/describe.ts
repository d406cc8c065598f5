/** Words for people: what a value is, what a type asks for, where something came from. */
import type { TypeExpr } from "../../grammar/ast.ts"
import type { Label, Span } from "../../grammar/diagnostic.ts"
import type { Machine } from "./machine.ts"
import type { Poly } from "./poly.ts"
import { onlySymbol, show } from "./poly.ts"
import type { Session } from "./session.ts"
import type { ArtifactType, ClosureValue, Dim, TensorValue, Value } from "./value.ts"

/** `the integer 192`, `a tokenizer`, `a specification of Llama`. */
export function kindOf(value: Value, m: Machine): string {
  switch (value.kind) {
    case "int": return `the integer ${display(value, m) ?? ""}`
    case "float": return value.value === null ? "a number" : `the number ${value.value}`
    case "bool": return value.value === null ? "a truth value" : String(value.value)
    case "string": return value.value === null ? "a text" : `the text ${quoted(value.value)}`
    case "none": return "none"
    case "symbol": return `the word \`${value.name}\``
    case "quantity": return `${value.value} ${value.unit}`
    case "list": return value.items.length === 0 ? "an empty list" : "a list"
    case "record": return "a record"
    case "closure": return value.name === null ? "a function" : `the function \`${value.name}\``
    case "primitive": return `the function \`${value.name}\``
    case "definition": return `the ${value.code.kind} \`${value.code.name.name}\``
    case "template": return `the ${value.code.form} \`${value.code.name.name}\``
    case "spec": return `a specification of \`${value.template.code.name.name}\``
    case "instance": return `an instance of \`${value.spec.template.code.name.name}\``
    case "optimizer": return "an optimiser"
    case "curriculum": return "a curriculum"
    case "format": return `the format \`${value.code.name.name}\``
    case "encoding": return `the encoding \`${value.code.name.name}\``
    case "tensor": return `${value.dtype === "f32" ? "a tensor" : value.dtype === "i32" ? "a tensor of integers" : "a tensor of truth values"} ${showShape(value.shape, m)}`
    case "loss": return "a loss"
    case "mask": return "a mask"
    case "init": return "a way to start a weight"
    case "artifact": return artifactKind(value.type)
    case "mix": return "a mixture of data"
    case "address": return `the address \`${value.text}\``
    case "unknown": return `a value of type ${value.type}`
    case "error": return "a mistake"
  }
}

export function artifactKind(type: ArtifactType): string {
  switch (type.is) {
    case "rows": return type.parts === null ? "rows" : `rows split into ${type.parts.join(", ")}`
    case "tokenizer": return "a tokenizer"
    case "tokens": return type.parts === null ? "tokens" : `tokens split into ${type.parts.join(", ")}`
    case "weights": return `weights of \`${type.spec.name}\``
    case "roles": return "weights of several roles"
    case "report": return "a report"
    case "samples": return "samples"
    case "statistics": return type.spec === null ? "statistics" : `statistics of \`${type.spec.name}\``
    case "difficulty": return "a difficulty"
    case "notes": return "notes on rows"
  }
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 37)}...` : text)
}

/** The text of a value inside of a string, and in a plan; null where it is not known. */
export function display(value: Value, m: Machine): string | null {
  switch (value.kind) {
    case "int": return showSize(value.poly, m)
    case "float": return value.value === null ? null : String(value.value)
    case "bool": return value.value === null ? null : String(value.value)
    case "string": return value.value
    case "none": return "none"
    case "symbol": return value.name
    case "quantity": return `${value.value} ${value.unit}`
    case "list": return `[${value.items.slice(0, 100).map((v) => display(v, m) ?? "?").join(", ")}${value.count === undefined && value.items.length <= 100 ? "" : ", ..."}]`
    case "record": return `{ ${[...value.fields].map(([k, v]) => `${k}: ${display(v, m) ?? "?"}`).join(", ")} }`
    case "spec": return value.name === value.template.code.name.name ? `${value.name}(${displayArgs(value.args, m)})` : value.name
    case "closure": return displayFunction(value, m)
    case "artifact": return value.member === null ? value.stage.name : `${value.stage.name}.${value.member}`
    case "address": return value.text
    case "instance": return value.trained === undefined ? null : [display(value.trained, m), value.path].filter((part) => part !== "").join(".")
    case "optimizer": return [`${value.code.name.name}(${displayArgs(value.args, m)})`, ...value.transforms.map((t) => display(t, m) ?? "?")].join(" |> ")
    case "encoding": return value.args.size === 0 ? value.code.name.name : `${value.code.name.name}(${displayArgs(value.args, m)})`
    case "mix": return value.items.map((i) => `${display(i.share, m) ?? "?"} * ${display(i.data, m) ?? "?"}`).join(" + ")
    case "init": return value.how
    case "definition": case "curriculum": case "format": case "template": return value.code.name.name
    case "primitive": return value.name
    default: return null
  }
}

function displayArgs(args: ReadonlyMap<string, Value>, m: Machine): string {
  return [...args].map(([name, value]) => `${name}: ${display(value, m) ?? "?"}`).join(", ")
}

/** A constant schedule as its number, a function by its name or as it was written. */
function displayFunction(value: ClosureValue, m: Machine): string {
  if (value.name !== null) return value.name
  const { code } = value
  const constant = code.kind === "lambda" && code.body.kind === "name" ? value.scope.names.get(code.body.name) : undefined
  if (constant !== undefined && value.scope.names.size === 1) return display(constant, m) ?? "?"
  const text = (value.origin === null ? "" : textOf(value.origin, m.session)).replace(/\s+/g, " ")
  return text === "" ? "a function" : text.length > 80 ? `${text.slice(0, 77)}...` : text
}

export function showSize(p: Poly, m: Machine): string {
  return show(p, m.session.environment.facts)
}

export function showShape(shape: readonly Dim[], m: Machine): string {
  return `[${shape.map((d) => showSize(d.size, m)).join(", ")}]`
}

/** `float[B, T, dim]` as written. */
export function showType(type: TypeExpr, session: Session): string {
  const text = session.sources.get(type.span.source)?.text.slice(type.span.start, type.span.end)
  return text ?? (type.kind === "named" ? type.name : type.kind)
}

/** What an argument must be, with an article: `an integer`, `a tokenizer`. */
export function wantedBy(type: TypeExpr, session: Session): string {
  switch (type.kind) {
    case "named": return nouns[type.name] ?? (units.has(type.name) ? `a number of ${type.name}` : type.name)
    case "tensor": return `a tensor ${showType(type, session)}`
    case "optional": return `${wantedBy(type.of, session)} or none`
    case "list": return `a list [${showType(type.of, session)}]`
    case "record": return "a record"
    case "function": return "a function"
    case "oneof": return `one of ${type.names.map((n) => `\`${n.name}\``).join(", ")}`
  }
}

export const units: ReadonlySet<string> = new Set(["steps", "tokens", "sequences", "epochs", "documents", "bytes", "KB", "MB", "GB", "ms", "s", "min", "h"])

const nouns: Readonly<Record<string, string>> = {
  int: "an integer", float: "a number", bool: "true or false", string: "a text", record: "a record", function: "a function", number: "a number or a tensor",
  bool_number: "a truth value or a tensor of them", tensor: "a tensor", data: "rows or tokens", Rows: "rows", Tokenizer: "a tokenizer", Tokens: "tokens",
  Difficulty: "a difficulty", Notes: "notes on rows (from `noted`)", Mix: "a mixture of tokens", Model: "a model", Weights: "weights (from `train` or `load`)", TrainingData: "tokens, a mixture or a curriculum", ValidationData: "tokens, or a record of them by name",
  Optimizer: "an optimiser", Format: "a format", Encoding: "an encoding", Statistics: "statistics (from `observe`)", Report: "a report", Samples: "samples", Init: "a way to start a weight", Loss: "a loss",
  Mask: "a mask", address: "an address", schedule: "a number or a function of (step, total)", Sequence: "a record of positions and segments", Layer: "a layer", list: "a list",
}

/** Secondary labels that say where sizes came from: `2048 (from `words`, line 9)`. */
export function originLabels(dims: readonly Dim[], m: Machine, except: Span): readonly Label[] {
  const labels: Label[] = []
  for (const d of dims) {
    const from = d.origin
    if (from === null || (from.source === except.source && from.start >= except.start && from.end <= except.end)) continue
    if (m.known(d.size) === null && (onlySymbol(d.size)?.rigid === true || textOf(from, m.session) === showSize(d.size, m))) continue
    if (labels.some((l) => l.span.source === from.source && l.span.start === from.start)) continue
    labels.push({ span: from, message: `${showSize(d.size, m)} comes from here` })
  }
  return labels
}

export function lineOf(span: Span, session: Session): number {
  const text = session.sources.get(span.source)?.text ?? ""
  let line = 1
  for (let i = 0; i < span.start && i < text.length; i++) if (text.charCodeAt(i) === 10) line++
  return line
}

export function textOf(span: Span, session: Session): string {
  return session.sources.get(span.source)?.text.slice(span.start, span.end) ?? ""
}

export function isTensor(value: Value): value is TensorValue {
  return value.kind === "tensor"
}

/** Where a value is written, if that is inside of the argument; else the argument. */
export function within(value: Value, argument: Span): Span {
  const { origin } = value
  return origin !== null && origin.source === argument.source && origin.start >= argument.start && origin.end <= argument.end ? origin : argument
}
