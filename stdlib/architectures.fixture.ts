/** What the tests of whole models share: running a model of a few lines on the reference interpreter, and its weights. */
import { weightsOf } from "../compiler/check/instance.ts"
import { known } from "../compiler/check/poly.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { record } from "../compiler/check/make.ts"
import type { Session } from "../compiler/check/session.ts"
import type { SpecValue, Value } from "../compiler/check/value.ts"
import { createLowering, tensorOf, type Lowering } from "../compiler/graph/lower/context.ts"
import { initialValues, weightShape } from "../compiler/graph/lower/initial.ts"
import type { DType, Node } from "../compiler/graph/node.ts"
import { value as hostValue, type Value as HostValue } from "../compiler/graph/value.ts"
import { recipe, run } from "./testing.ts"

export type Vector = number[]
export type Matrix = Vector[]
/** A batch: fields with nested lists of whole numbers or truth values, records of such. */
export interface Fields { readonly [name: string]: readonly (readonly (number | boolean)[])[] | Fields }

const at = { source: "test.slm", start: 0, end: 0 }

function specOf(model: string, from: string, before = ""): { readonly spec: SpecValue; readonly session: Session } {
  const { values, session } = recipe(`${before}model M = ${model}`, from)
  const spec = values.get("M")
  if (spec?.kind !== "spec") throw new Error("not a specification")
  return { spec, session }
}

export function parameters(model: string, from: string): number {
  const { spec, session } = specOf(model, from)
  const made = createMachine(session).instantiate(spec, "model", at)
  if (made.kind === "error") throw new Error("cannot be instantiated")
  return weightsOf(made).reduce((n, w) => n + w.shape.reduce((a, d) => a * (known(d.size, new Map()) ?? NaN), 1), 0)
}

export interface Ran {
  /** The numbers at a path of the result: `logits`, `hidden[1]`. */
  readonly get: (path: string) => HostValue
  /** The first values of a weight, as rows of its last axis. */
  readonly weights: (path: string) => Matrix
}

/** What a model with its first weights makes of a batch. `before`: lines of the recipe that it needs. */
export function forward(model: string, from: string, batch: Fields, training = false, before = ""): Ran {
  const { spec, session } = specOf(model, from, before)
  const low = createLowering(session, { training, rows: null })
  const made = low.machine.instantiate(spec, "model", at)
  if (made.kind === "error") throw new Error("cannot be instantiated")
  const out = low.machine.apply(made, [inputs(batch, low)], at)
  if (out.kind === "error") throw new Error(session.diagnostics.map((d) => d.message).join("\n"))
  const nodes = [...nodesOf(out, "")]
  const values = run(nodes.map(([, node]) => node), low, {})
  const byPath = new Map(nodes.map(([path], i) => [path, values[i]]))
  const infos = new Map(weightsOf(made).map((w) => [w.path, w]))
  return {
    get: (path) => byPath.get(path) ?? missing(path),
    weights(path) {
      const info = infos.get(path) ?? missing(path)
      const shape = weightShape(info, new Map())
      return matrix(initialValues(info.init, shape, path, 0), shape.at(-1) ?? 1)
    },
  }
}

function missing(path: string): never {
  throw new Error(`there is no ${path}`)
}

export function inputs(batch: Fields, low: Lowering): Value {
  return record(Object.fromEntries(Object.entries(batch).map(([name, field]) => [name, isTable(field) ? literal(field, low) : inputs(field, low)])))
}

function isTable(field: Fields[string]): field is readonly (readonly (number | boolean)[])[] {
  return Array.isArray(field)
}

function literal(rows: readonly (readonly (number | boolean)[])[], low: Lowering): Value {
  const dtype: DType = typeof rows[0]?.[0] === "boolean" ? "bool" : "i32"
  return tensorOf(low.b.make("literal", { values: rows.flat().map(Number), shape: [rows.length, rows[0]?.length ?? 0], dtype }, []))
}

/** Every tensor in a value with its path. */
export function* nodesOf(value: Value, path: string): Generator<readonly [string, Node]> {
  if (value.kind === "tensor" && value.node !== null) yield [path, value.node]
  else if (value.kind === "list") for (const [i, item] of value.items.entries()) yield* nodesOf(item, `${path}[${i}]`)
  else if (value.kind === "record") for (const [name, field] of value.fields) yield* nodesOf(field, path === "" ? name : `${path}.${name}`)
}

/** What an expression of the language makes of a batch: an objective, a loss. `rows`: the global sample of each row. */
export function applied(expression: string, from: string, batch: Fields, options: { readonly step: number; readonly rows: readonly number[] }): ReadonlyMap<string, HostValue> {
  const { values, session } = recipe(`let f = ${expression}`, from)
  const callee = values.get("f")
  if (callee === undefined) throw new Error("nothing is bound")
  const low = createLowering(session, { training: true, rows: options.rows.length })
  const nodes = [...nodesOf(low.machine.apply(callee, [inputs(batch, low)], at), "")]
  const found = run(nodes.map(([, node]) => node), low, { step: hostValue([options.step], [], "i32"), row: hostValue([...options.rows], [options.rows.length], "i32") })
  return new Map(nodes.flatMap(([path], i): [string, HostValue][] => { const v = found[i]; return v === undefined ? [] : [[path, v]] }))
}

// ---------------------------------------------------------------- arithmetic by hand, in f64

export function matrix(data: ArrayLike<number>, width: number): Matrix {
  return Array.from({ length: data.length / width }, (_, i) => Array.from({ length: width }, (_, j) => data[i * width + j] ?? NaN))
}

export const dot = (a: Vector, b: Vector): number => a.reduce((n, x, i) => n + x * (b[i] ?? NaN), 0)
export const linear = (x: Matrix, weight: Matrix): Matrix => x.map((row) => weight.map((w) => dot(row, w)))
export const plus = (a: Matrix, b: Matrix): Matrix => a.map((row, i) => row.map((x, j) => x + (b[i]?.[j] ?? NaN)))

export function softmax(x: Vector): Vector {
  const top = Math.max(...x)
  const e = x.map((v) => Math.exp(v - top))
  const total = e.reduce((a, b) => a + b, 0)
  return e.map((v) => v / total)
}

export function furthest(found: HostValue, wanted: Matrix): number {
  const flat = wanted.flat()
  return flat.length === found.data.length ? Math.max(...flat.map((w, i) => Math.abs(w - (found.data[i] ?? NaN)))) : Infinity
}
