/** What the tests of the library share: reading modules, running their examples, evaluating recipes of a few lines. */
import { readdirSync, readFileSync } from "node:fs"
import type { Example } from "../grammar/ast.ts"
import type { Diagnostic, Source } from "../grammar/diagnostic.ts"
import { check, createSession } from "../compiler/check/check.ts"
import { evaluate } from "../compiler/check/evaluate.ts"
import type { Machine } from "../compiler/check/machine.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { loadModule } from "../compiler/check/modules.ts"
import { inner, moduleScope, prelude } from "../compiler/check/scopes.ts"
import type { LoadedModule, Session } from "../compiler/check/session.ts"
import type { Value } from "../compiler/check/value.ts"
import { evaluate as interpret } from "../compiler/graph/interpret.ts"
import type { Lowering } from "../compiler/graph/lower/context.ts"
import { createHostLowering, type HostLowering } from "../compiler/graph/lower/host.ts"
import { initialValues, weightShape } from "../compiler/graph/lower/initial.ts"
import type { Node } from "../compiler/graph/node.ts"
import { value as hostValue, type Value as HostValue } from "../compiler/graph/value.ts"
import { moduleReader } from "../runtime/library.ts"

const folder = new URL(".", import.meta.url)
export const environment = { modules: moduleReader(process.cwd()), params: new Map<string, string>(), facts: new Map<string, number>() }

export const moduleNames: readonly string[] = readdirSync(folder).filter((name) => name.endsWith(".slm")).map((name) => name.slice(0, -4)).sort()

export function source(name: string): Source {
  return { id: `std.${name}`, text: readFileSync(new URL(`${name}.slm`, folder), "utf8") }
}

/** A module of the library with all it uses, after the prelude. */
export function load(name: string): { readonly module: LoadedModule; readonly session: Session } {
  const id = `std.${name}`
  const session = createSession(id, environment)
  const m = createMachine(session)
  const standard = loadModule(source("prelude"), [], m)
  const module = id === prelude ? standard : session.modules.get(id) ?? loadModule(source(name), [], m)
  return { module, session }
}

export function examplesOf(module: LoadedModule): readonly Example[] {
  return module.module.items.filter((item): item is Example => item.kind === "example")
}

export type Outcome = "true" | "false" | "pending"

/** What the conditions of an example come to: evaluated without nodes, and, where that does not decide it, by the interpreter. */
export function runExample(example: Example, module: LoadedModule, session: Session): Outcome {
  const checked = conditions(example, module, createMachine(session))
  if (session.diagnostics.length > 0) throw new Error(describe(session.diagnostics, session))
  const values = checked.map((v) => (v.kind === "bool" ? v.value : null))
  if (values.includes(false)) return "false"
  if (values.every((v) => v === true)) return "true"
  if (checked.some((v) => v.kind === "bool" && v.value === null && v.pending.length > 0)) return "pending"
  const host = createHostLowering(session, (_, info) => initialValues(info.init, weightShape(info, session.environment.facts), info.path, 0), "f32")
  const lowered = conditions(example, module, host.machine)
  if (session.diagnostics.length > 0) throw new Error(describe(session.diagnostics, session))
  return lowered.every((v) => truth(v, host)) ? "true" : "false"
}

function conditions(example: Example, module: LoadedModule, m: Machine): readonly Value[] {
  let scope = moduleScope(module.id)
  for (const l of example.lets) scope = inner(scope, [[l.name.name, evaluate(l.value, scope, m)]])
  return example.expects.map((e) => evaluate(e.condition, scope, m))
}

function truth(value: Value, host: HostLowering): boolean {
  if (value.kind === "bool" && value.value !== null) return value.value
  if (value.kind !== "tensor" || value.node === null || value.dtype !== "bool") throw new Error(`a condition of an example came to a ${value.kind}`)
  return host.value(value).data.every((n) => n === 1)
}

/** Numbers of some nodes: weights as they start, seed and step 1 unless they are given. */
export function run(nodes: readonly Node[], lowering: Lowering, feeds: Readonly<Record<string, HostValue>>): readonly HostValue[] {
  const states = [...lowering.states].map(([name, s]): [string, HostValue] =>
    [name, { shape: s.node.shape, dtype: s.node.dtype, data: initialValues(s.info.init, s.node.shape, s.info.path, 0) }])
  const one = hostValue([1], [], "i32")
  return interpret(nodes, { ...Object.fromEntries(states), seed: one, step: one, ...feeds })
}

function describe(diagnostics: readonly Diagnostic[], session: Session): string {
  return diagnostics.map((d) => {
    const text = session.sources.get(d.span.source)?.text ?? ""
    return `${d.span.source}:${text.slice(0, d.span.start).split("\n").length} ${d.code} ${d.message}: ${text.slice(d.span.start, d.span.end)}`
  }).join("\n")
}

/** The bindings of a recipe of a few lines without mistakes, and its session. Of the names of `from` those are imported that it mentions. */
export function recipe(lines: string, from = "optim"): { readonly values: ReadonlyMap<string, Value>; readonly session: Session } {
  const { module } = load(from)
  const names = [...module.entries.values()].filter((e) => e.from === null && new RegExp(`\\b${e.name}\\b`).test(lines)).map((e) => e.name)
  const text = names.length === 0 ? lines : `use std.${from} { ${names.join(", ")} }\n${lines}`
  const checked = check({ id: "test.slm", text }, environment)
  if (checked.recipe === null) throw new Error(describe(checked.diagnostics, checked.session))
  return { values: checked.recipe.bindings, session: checked.session }
}
