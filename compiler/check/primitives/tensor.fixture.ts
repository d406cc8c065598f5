/** What the tests of the primitives share: a context without an evaluator, and tensors of numbers. */
import type { Diagnostic, Span } from "../../../grammar/diagnostic.ts"
import { createBuilder } from "../../graph/builder.ts"
import { evaluate } from "../../graph/interpret.ts"
import { value as hostValue } from "../../graph/value.ts"
import { createSession } from "../check.ts"
import type { Machine } from "../machine.ts"
import { createMachine, moved } from "../machine.ts"
import { error, float, int, list } from "../make.ts"
import type { CallSite, ErrorValue, TensorValue, Value } from "../value.ts"
import { primitives } from "./table.ts"
import { toTensor } from "./tensor.ts"

export const nowhere: Span = { source: "test", start: 0, end: 0 }
export const site: CallSite = { span: nowhere, callee: nowhere, args: new Map() }

export interface TestContext extends Machine { readonly reported: Diagnostic[] }

/** `lower`: with a builder behind it; `training`: in training mode, over the global samples `rows`. */
export function testContext(
  options: { readonly lower?: boolean; readonly training?: boolean; readonly rows?: number; readonly apply?: Machine["apply"] } = {},
): TestContext {
  const b = createBuilder()
  const scalar = (name: string) => b.input(name, "batch", "i32", [])
  const lowering = options.lower === true
    ? {
        builder: b, training: options.training ?? false, seed: scalar("seed"), step: scalar("step"),
        rows: options.rows === undefined ? null : b.input("rows", "batch", "i32", [options.rows]), weight: () => missing("weight"),
      }
    : null
  const reported: Diagnostic[] = []
  const session = createSession("test", { modules: () => null, params: new Map(), facts: new Map() })
  const machine = moved(createMachine(session), { lowering, path: "model.block" })
  const report = (d: Diagnostic): ErrorValue => { reported.push(d); return error }
  return Object.assign(machine, { reported, report, apply: options.apply ?? machine.apply.bind(machine) })
}

function missing(what: string): never {
  throw new Error(`this test has no ${what}`)
}

export type Nested = number | boolean | readonly Nested[]

/** A literal tensor; numbers with a fraction anywhere make it float, `float: true` does so, too. */
export function t(values: Nested, ctx: Machine, isFloat = true): TensorValue {
  const made = toTensor(valueOf(values, isFloat), site, ctx)
  if (made.kind !== "tensor") throw new Error("not a tensor")
  return made
}

function valueOf(x: Nested, isFloat: boolean): Value {
  if (typeof x === "number") return isFloat ? float(x) : int(x)
  if (typeof x === "boolean") return { kind: "bool", value: x, pending: [], origin: null }
  return list(x.map((v) => valueOf(v, isFloat)))
}

/** Calls a primitive with bound arguments. */
export function callPrimitive(name: string, args: Readonly<Record<string, Value>>, ctx: Machine, spans: Readonly<Record<string, Span>> = {}): Value {
  const primitive = primitives.get(name)
  if (primitive === undefined) throw new Error(`no primitive ${name}`)
  return primitive(new Map(Object.entries(args)), { ...site, args: new Map(Object.entries(spans)) }, ctx)
}

/** The numbers of a tensor, flat; `feeds` for seed, step and rows. */
export function numbers(value: Value, feeds: Readonly<Record<string, readonly number[]>> = {}): readonly number[] {
  if (value.kind !== "tensor" || value.node === null) throw new Error(`${value.kind} has no numbers`)
  const inputs = Object.fromEntries(Object.entries(feeds).map(([name, data]) => [name, hostValue(data, name === "rows" ? [data.length] : [], "i32")]))
  const [result] = evaluate([value.node], inputs)
  return [...(result?.data ?? [])]
}

/** `[2, T, dim]` */
export function shapeOf(value: Value, ctx: Machine): string {
  if (value.kind !== "tensor") return value.kind
  return `${value.dtype}[${value.shape.map((d) => ctx.known(d.size) ?? [...d.size.terms.keys()].join("+")).join(", ")}]`
}
