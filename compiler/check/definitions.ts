/** Definitions by themselves: evaluated with symbols for their parameters, so that a mistake is found before anyone uses them. */
import type { Curriculum, Definition, Encoding, Example, Fn, Format, Item, Optimizer, Parameter } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { addressOf, matches, pathsOf, reportUnmatched } from "./address.ts"
import type { Bound, Given } from "./arguments.ts"
import { axisNames, checkResult, entered } from "./calls.ts"
import { curriculumOf } from "./curriculum.ts"
import { kindOf, showShape } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import { callInstance, forwardOf } from "./forward.ts"
import { instantiate, runRequires, weightsOf } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { createMachine } from "./machine.ts"
import { dim, int, tensor } from "./make.ts"
import { firstStates, update } from "./optimizer.ts"
import { symbol } from "./poly.ts"
import { inner, lookup, moduleScope, reportUnknownName } from "./scopes.ts"
import type { LoadedModule } from "./session.ts"
import { listed } from "./suggest.ts"
import { checkTypeNames, coerce, evaluateAs, symbolOf } from "./types.ts"
import type { Dim, InstanceValue, OptimizerValue, Scope, SpecValue, TemplateValue, Value } from "./value.ts"

export function checkDefinitions(module: LoadedModule, outer: Machine): void {
  const m = createMachine(outer.session)
  m.session.binding = null
  for (const item of module.module.items) checkItem(item, moduleScope(module.id), m)
}

function checkItem(item: Item, scope: Scope, m: Machine): void {
  switch (item.kind) {
    case "fn": return item.primitive ? undefined : checkFunction(item, scope, m)
    case "definition": return checkTemplate(item, scope, m)
    case "optimizer": return checkOptimizer(item, scope, m)
    case "curriculum": return checkCurriculum(item, scope, m)
    case "format": return checkFormat(item, scope, m)
    case "encoding": return checkEncoding(item, scope, m)
    case "param": return checkTypeNames(item.type, m)
    case "example": return checkExample(item, scope, m)
    case "use": case "bind": case "expect": case "export": case "carried": case "lock": return undefined
  }
}

/** Without a device, an example shows only whether its shapes fit, and what does not depend on tensors. */
function checkExample(item: Example, outer: Scope, m: Machine): void {
  if (lookup(item.name.name, outer, m) === null) reportUnknownName(item.name.name, item.name.span, outer, m)
  let scope = outer
  for (const l of item.lets) scope = inner(scope, [[l.name.name, evaluate(l.value, scope, m)]])
  for (const { condition } of item.expects) {
    const value = evaluate(condition, scope, m)
    if (value.kind === "error" || value.kind === "unknown" || value.kind === "tensor") continue
    if (value.kind !== "bool") m.report(diagnostic("SLM2110", condition.span, `\`expect\` takes a condition, not ${kindOf(value, m)}`))
    else if (value.value === false) m.report(diagnostic("SLM2212", condition.span, `this example of \`${item.name.name}\` does not hold`))
  }
}

/** Symbols for parameters; defaults are evaluated for their mistakes. */
function symbols(params: readonly Parameter[], scope: Scope, m: Machine): Bound {
  const args = new Map<string, Value>()
  const axes = new Map<string, Dim>()
  for (const p of params) {
    const own = inner(scope, new Map(args))
    const name = p.name.name
    checkTypeNames(p.type, m)
    if (p.default !== null) {
      const value = evaluateAs(p.default, p.type, own, m)
      coerce(value, p.type, { name, what: `the default of \`${name}\``, at: p.default.span, scope: own, axes: new Map() }, m)
    }
    args.set(name, symbolOf(p.type, name, p.name.span, own, axes, m))
  }
  return { args, axes, spans: new Map() }
}

function checkFunction(code: Fn, scope: Scope, m: Machine): void {
  if (code.body === null) return
  const bound = symbols(code.params, scope, m)
  checkTypeNames(code.returns, m)
  const inside = entered(code.name.name, code, bound, { span: code.name.span, callee: code.name.span }, m)
  if (inside === null) return
  const own = inner(inner(scope, axisNames(bound.axes)), bound.args)
  const result = evaluate(code.body, own, inside)
  const at = code.body.kind === "block" ? code.body.result.span : code.body.span
  checkResult(result, code.returns, `the result of \`${code.name.name}\``, at, own, bound.axes, inside)
}

// ---- layers and models

/** An instance with symbols for the parameters. null: a mistake was reported. */
function symbolicInstance(template: TemplateValue, m: Machine): InstanceValue | null {
  const bound = symbols(template.code.params, template.scope, m)
  if ([...bound.args.values()].some((v) => v.kind === "error")) return null
  const name = template.code.name.name
  const spec: SpecValue = { kind: "spec", name, template, args: bound.args, ats: [], origin: template.code.name.span }
  m.session.specs.set(spec, { args: bound.args, scope: inner(template.scope, bound.args) })
  const instance = instantiate(spec, "", template.code.name.span, m)
  return instance.kind === "error" ? null : instance
}

function checkTemplate(code: Definition, scope: Scope, m: Machine): void {
  const instance = symbolicInstance({ kind: "template", code, scope, origin: code.span }, m)
  const forward = forwardOf(code)
  if (forward === null) {
    m.report(diagnostic("SLM2205", code.name.span, `\`${code.name.name}\` has no \`forward\``, { help: "say what it computes: `forward(x: float[B, T, dim]) -> float[B, T, dim] { … }`" }))
    return
  }
  for (const p of forward.params) checkTypeNames(p.type, m)
  checkTypeNames(forward.returns, m)
  if (instance === null) return
  const axes = new Map<string, Dim>()
  const given = forward.params.map((p): Given => ({ name: p.name, expr: null, scope, value: symbolOf(p.type, p.name.name, p.name.span, instance.scope, axes, m), span: p.name.span }))
  const result = callInstance(instance, given, { span: code.name.span, callee: code.name.span }, m)
  if (code.form !== "model" || result.kind === "error" || result.kind === "unknown") return
  if (result.kind === "record" && result.fields.has("logits")) return
  m.report(diagnostic("SLM2205", forward.body.kind === "block" ? forward.body.result.span : forward.body.span, `a model returns a record with \`logits\`, not ${kindOf(result, m)}`, {
    help: "`{ logits: head(x) }`",
  }))
}

// ---- optimisers, curricula, encodings

function checkOptimizer(code: Optimizer, scope: Scope, m: Machine): void {
  const bound = symbols(code.params, scope, m)
  const own = inner(scope, bound.args)
  const site = { span: code.name.span, callee: code.name.span }
  const inside = entered(code.name.name, code, bound, site, m)
  if (inside === null || !runRequires(code.requires, own, code.name.span, inside)) return
  const optimizer: OptimizerValue = { kind: "optimizer", code, args: bound.args, scope: own, transforms: [], origin: code.span }
  const scalar = tensor("i32", [], null, code.span)
  for (const rank of [1, 2]) {
    const shape = ["N", "K"].slice(0, rank).map((name) => dim(symbol(`weight ${name}`, name, { rigid: true }), code.span))
    const p = tensor("f32", shape, null, code.span)
    const states = firstStates(optimizer, p, inside)
    if (states === null || update(optimizer, p, p, scalar, scalar, states, inside) === null) return
  }
}

function checkCurriculum(code: Curriculum, scope: Scope, m: Machine): void {
  const bound = symbols(code.params, scope, m)
  const site = { span: code.name.span, callee: code.name.span }
  const inside = entered(code.name.name, code, bound, site, m)
  if (inside !== null) curriculumOf(code, inner(scope, bound.args), bound, site, inside)
}

function checkEncoding(code: Encoding, scope: Scope, m: Machine): void {
  const bound = symbols(code.params, scope, m)
  const own = inner(scope, bound.args)
  const inside = entered(code.name.name, code, bound, { span: code.name.span, callee: code.name.span }, m)
  if (inside === null || !runRequires(code.requires, own, code.name.span, inside)) return
  for (const f of code.fields) {
    const value = evaluate(f.value, own, inside)
    if (!["store", "block", "nearest"].includes(f.name.name)) m.report(diagnostic("SLM2014", f.name.span, `an encoding has no field \`${f.name.name}\``, { help: "it has `store`, `block` and `nearest`" }))
    else if (f.name.name === "store" && value.kind !== "string" && value.kind !== "error") m.report(diagnostic("SLM2110", f.value.span, `\`store\` is the name of a storage layout, a text, not ${kindOf(value, m)}`))
  }
  if (!code.fields.some((f) => f.name.name === "store")) m.report(diagnostic("SLM2015", code.name.span, `\`${code.name.name}\` needs \`store\``, { help: "the exact layout of the bytes: `store: \"int8\"`" }))
  checkRoundTrip(code, own, inside)
}

/** `decode` gives back the shape that `encode` took. */
function checkRoundTrip(code: Encoding, scope: Scope, m: Machine): void {
  const axes = new Map<string, Dim>()
  const [w] = code.encode.params
  const [c] = code.decode.params
  if (w === undefined || c === undefined || code.encode.params.length !== 1 || code.decode.params.length !== 1) {
    m.report(diagnostic("SLM2016", (w === undefined ? code.encode : code.decode).span, "`encode` takes a weight, `decode` takes what `encode` returns"))
    return
  }
  const weight = symbolOf(w.type, w.name.name, w.name.span, scope, axes, m)
  const encoded = evaluate(code.encode.body, inner(inner(scope, axisNames(axes)), [[w.name.name, weight]]), m)
  if (encoded.kind === "error" || encoded.kind === "unknown") return
  if (encoded.kind !== "record") {
    m.report(diagnostic("SLM2110", code.encode.body.span, `\`encode\` returns a record of tensors, not ${kindOf(encoded, m)}`))
    return
  }
  const decoded = evaluate(code.decode.body, inner(scope, [[c.name.name, encoded]]), m)
  if (decoded.kind === "error" || decoded.kind === "unknown" || weight.kind !== "tensor") return
  const same = decoded.kind === "tensor" && decoded.shape.length === weight.shape.length && decoded.shape.every((d, i) => m.compare(d.size, weight.shape[i]?.size ?? d.size) !== "different")
  if (!same) m.report(diagnostic("SLM2102", code.decode.body.span, `\`decode\` gives back ${kindOf(decoded, m)}, not a tensor ${showShape(weight.shape, m)}`))
}

// ---- formats

function checkFormat(code: Format, scope: Scope, m: Machine): void {
  const model = lookup(code.model.name, scope, m) ?? reportUnknownName(code.model.name, code.model.span, scope, m)
  if (model.kind === "error") return
  if (model.kind !== "template") {
    m.report(diagnostic("SLM2110", code.model.span, `a format is for a model, not for ${kindOf(model, m)}`))
    return
  }
  const instance = symbolicInstance(model, createMachine(m.session))
  if (instance === null) return
  const own = inner(scope, instance.args)
  for (const block of code.blocks) for (const field of block.fields) evaluate(field.value, own, m)
  const left = new Set(weightsOf(instance).map((w) => w.path))
  for (const map of code.maps) for (const path of mappedPaths(map, instance, own, m)) left.delete(path)
  if (left.size === 0) return
  m.report(diagnostic("SLM2211", code.name.span, `\`${code.name.name}\` says nothing of ${listed([...left].slice(0, 4).map((p) => p.replace(/\[\d+\]/g, "[i]")))}${left.size > 4 ? ` and ${left.size - 4} more` : ""}`, {
    help: "every weight of the model has a `map`",
  }))
}

function mappedPaths(map: Format["maps"][number], instance: InstanceValue, scope: Scope, m: Machine): readonly string[] {
  const address = addressOf(map.ours, scope, m)
  if (address.kind !== "address") return []
  const indices = address.segments.flatMap((s) => (s.is === "bind" ? [s.name] : []))
  const own = inner(scope, indices.map((name): readonly [string, Value] => [name, int(symbol(`index ${name}`, name))]))
  const theirs = evaluate(map.theirs, own, m)
  if (theirs.kind !== "string" && theirs.kind !== "error" && theirs.kind !== "unknown") m.report(diagnostic("SLM2110", map.theirs.span, `the foreign name is a text, not ${kindOf(theirs, m)}`))
  if (map.when !== null) {
    const when = evaluate(map.when, own, m)
    if (when.kind !== "bool" && when.kind !== "error" && when.kind !== "unknown") m.report(diagnostic("SLM2110", map.when.span, `a condition is true or false, not ${kindOf(when, m)}`))
  }
  const paths = weightsOf(instance).map((w) => w.path).filter((path) => matches(address, path, "whole"))
  if (paths.length === 0) reportUnmatched(address, pathsOf(instance), `\`${instance.spec.name}\``, map.ours.span, m)
  return paths
}

