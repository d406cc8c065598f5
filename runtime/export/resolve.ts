import { evaluate } from "../../compiler/check/evaluate.ts"
import type { Machine } from "../../compiler/check/machine.ts"
import { int } from "../../compiler/check/make.ts"
import type { Poly } from "../../compiler/check/poly.ts"
import { inner } from "../../compiler/check/scopes.ts"
import type { FormatValue, Value } from "../../compiler/check/value.ts"
import type { Expr, FieldExpr, Format, FormatMap } from "../../grammar/ast.ts"
import type { Diagnostic, Span } from "../../grammar/diagnostic.ts"
import { bindings, pathsOf, segmentsOf } from "./address.ts"
import type { Indices } from "./address.ts"
import type { Fields, ForeignFormat, Metadata } from "./foreign.ts"
import type { TensorMap } from "./format.ts"
import { placed, problem } from "./problem.ts"
import type { ExportCode } from "./codes.ts"
import type { Step } from "./steps.ts"

/**
 * What resolving needs of the evaluator. `evaluate` has the model's parameters in scope, and the indices given; it reports its
 * own mistakes and then yields an error value.
 */
export interface FormatContext {
  evaluate(expr: Expr, indices: Indices): Value
  known(poly: Poly): number | null
}

export type Resolved = { readonly ok: true; readonly format: ForeignFormat } | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] }

/** A format for a model with these arguments (defaults included) and weights. */
export function resolveFor(format: FormatValue, args: ReadonlyMap<string, Value>, paths: readonly string[], m: Machine): Resolved {
  const scope = inner(format.scope, args)
  return resolveFormat(format, paths, {
    evaluate: (expr, indices) => evaluate(expr, inner(scope, [...indices].map(([name, index]) => [name, int(index)] as const)), m),
    known: (poly) => m.known(poly),
  })
}

/** A format for one model, whose weights have these paths. */
export function resolveFormat(format: FormatValue, paths: readonly string[], context: FormatContext): Resolved {
  const resolver = new Resolver(paths, context)
  const maps = format.code.maps.flatMap((map) => resolver.map(map))
  const [refused, told] = [format.code.blocks.filter(isRefusal), format.code.blocks.filter((block) => !isRefusal(block))]
  const blocks = new Map(told.map((block) => [block.name.name, resolver.fields(block.fields)]))
  for (const block of refused) resolver.refuse(block.fields, format.code)
  if (resolver.failed) return { ok: false, diagnostics: resolver.diagnostics }
  return { ok: true, format: { name: format.code.name.name, maps, blocks } }
}

/** `unsupported { window: window != none }`: what the other program cannot compute. */
function isRefusal(block: Format["blocks"][number]): boolean {
  return block.name.name === "unsupported"
}

/** Whether a name stands anywhere in an expression. */
function mentions(expr: unknown, name: string): boolean {
  if (typeof expr !== "object" || expr === null) return false
  if ("kind" in expr && expr.kind === "name" && "name" in expr && expr.name === name) return true
  return Object.values(expr).some((part) => mentions(part, name))
}

class Resolver {
  readonly diagnostics: Diagnostic[] = []
  failed = false
  private readonly paths: readonly string[]
  private readonly known: ReadonlySet<string>
  private readonly context: FormatContext

  constructor(paths: readonly string[], context: FormatContext) {
    this.paths = paths
    this.known = new Set(paths)
    this.context = context
  }

  /** One tensor map for each value of the line's indices. */
  map(map: FormatMap): readonly TensorMap[] {
    const segments = segmentsOf(map.ours)
    if ("kind" in segments) return this.wrong("SLM3220", segments.span, "this does not belong in an address of weights", "write names, `[i]`, a number, or `{q, k, v}`")
    const bound = segments.flatMap((segment) => (segment.is === "bind" ? [segment.name] : []))
    const lost = bound.find((name) => !mentions(map.theirs, name))
    if (lost !== undefined) return this.wrong("SLM3220", map.theirs.span, `the index \`${lost}\` is missing from the name there`, `write \`{${lost}}\` where the number belongs`)
    const all = bindings(segments, this.paths)
    if (all.length === 0 && this.applies(map, new Map())) return this.wrong("SLM3205", map.ours.span, "no weight of the model has an address like this")
    return all.flatMap((indices) => {
      if (!this.applies(map, indices)) return []
      const theirs = this.context.evaluate(map.theirs, indices)
      if (theirs.kind !== "string" || theirs.value === null) return this.wrong("SLM3218", map.theirs.span, "this is not a text that is known")
      const steps = map.via === null ? [] : this.steps(map.via, indices)
      const ours = this.present(map, pathsOf(segments, indices), steps.some(({ step }) => step === "or_zeros"))
      return ours === null ? [] : [{ ours, theirs: theirs.value, steps }]
    })
  }

  private present(map: FormatMap, paths: readonly string[], optional: boolean): readonly string[] | null {
    const absent = paths.filter((path) => !this.known.has(path))
    if (absent.length === 0) return paths
    if (optional && absent.length === paths.length) return []
    this.wrong("SLM3205", map.ours.span, `the model has no weight \`${absent.join("`, `")}\``, "write `when` on the line, or `via or_zeros(…)` where zeros mean the same")
    return null
  }

  private applies(map: FormatMap, indices: Indices): boolean {
    if (map.when === null) return true
    const value = this.context.evaluate(map.when, indices)
    if (value.kind === "bool" && value.value !== null) return value.value
    this.wrong("SLM3218", map.when.span, "this condition is not known")
    return false
  }

  /** `a |> b(c)`: steps are words of formats, not functions; their arguments are ordinary expressions. */
  private steps(via: Expr, indices: Indices): readonly Step[] {
    if (via.kind === "pipe") return [...this.steps(via.left, indices), ...this.steps(via.right, indices)]
    if (via.kind === "name" && via.name === "transpose") return [{ step: "transpose" }]
    if (via.kind === "call" && via.callee.kind === "name") {
      const numbers = via.args.map((argument) => this.int(argument.value, indices))
      const names = via.args.map((argument) => argument.name?.name ?? null)
      if (!numbers.every((n) => n !== null)) return []
      const [first] = numbers
      if (via.callee.name === "concat" && numbers.length === 1 && (names[0] ?? "axis") === "axis") return [{ step: "concat", axis: first! }]
      if (via.callee.name === "rotary_pairs" && numbers.length === 1 && (names[0] ?? "heads") === "heads") return [{ step: "rotary_pairs", heads: first! }]
      if (via.callee.name === "or_zeros" && names.every((name) => name === null)) return [{ step: "or_zeros", shape: numbers }]
    }
    return this.wrong("SLM3217", via.span, "this is not a step of a format", "steps are `transpose`, `concat(axis: …)`, `rotary_pairs(heads)` and `or_zeros(size, …)`")
  }

  private int(expr: Expr, indices: Indices): number | null {
    const value = this.context.evaluate(expr, indices)
    const n = value.kind === "int" ? this.context.known(value.poly) : null
    if (n !== null && n >= 0) return n
    if (value.kind === "error") this.failed = true
    else this.wrong("SLM3217", expr.span, "this is not a whole number that is known")
    return null
  }

  fields(fields: readonly FieldExpr[]): Fields {
    return new Map(fields.map(({ name, value }) => [name.name, this.metadata(this.context.evaluate(value, new Map()), value.span)]))
  }

  refuse(fields: readonly FieldExpr[], format: Format): void {
    for (const { name, value } of fields) {
      const found = this.context.evaluate(value, new Map())
      if (found.kind === "error") this.failed = true
      else if (found.kind !== "bool" || found.value === null) this.wrong("SLM3218", value.span, "this condition is not known")
      else if (found.value) this.wrong("SLM3221", format.name.span, `format ${format.name.name} has no place for a ${format.model.name} with \`${name.name}\``, `leave \`${name.name}\` out of the model, or export in another format`)
    }
  }

  private metadata(value: Value, span: Span): Metadata {
    switch (value.kind) {
      case "int": {
        const n = this.context.known(value.poly)
        if (n !== null) return { is: "int", value: n }
        break
      }
      case "float": case "bool": case "string": {
        if (value.value !== null) return { is: value.kind, value: value.value } as Metadata
        break
      }
      case "none": return { is: "none" }
      case "list": return { is: "list", items: value.items.map((item) => this.metadata(item, span)) }
      case "record": return { is: "record", fields: new Map([...value.fields].map(([name, field]) => [name, this.metadata(field, span)])) }
      case "error":
        this.failed = true
        return { is: "none" }
      default:
    }
    this.wrong("SLM3218", span, "a file cannot hold this value, or it is not known yet")
    return { is: "none" }
  }

  private wrong(code: ExportCode, span: Span, message: string, help?: string): never[] {
    this.failed = true
    this.diagnostics.push(placed(problem(code, message, help === undefined ? {} : { help }), span))
    return []
  }
}
