/** From a stage to graph nodes: a machine that evaluates with nodes behind its tensors, and the states it asked for. */
import type { Machine } from "../../check/machine.ts"
import { createMachine } from "../../check/machine.ts"
import { dim, record, tensor } from "../../check/make.ts"
import { nested } from "../../check/row-fields.ts"
import type { Session } from "../../check/session.ts"
import type { Dim, EncodingValue, LossValue, RecordValue, TensorValue, Value, WeightInfo } from "../../check/value.ts"
import type { Diagnostic } from "../../../grammar/diagnostic.ts"
import { withFactors } from "../../transform/factors.ts"
import { optimise } from "../../transform/pipeline.ts"
import type { Builder } from "../builder.ts"
import { createBuilder } from "../builder.ts"
import type { DType, Factors, KeptFormat, Node, Output, Program } from "../node.ts"
import * as g from "../ops.ts"
import { reachable } from "../walk.ts"
import { weightShape } from "./initial.ts"

export interface Lowering {
  readonly b: Builder
  readonly machine: Machine
  /** Every weight that was asked for, by state name, in order. */
  readonly states: ReadonlyMap<string, { readonly role: string; readonly info: WeightInfo; readonly node: Node }>
}

export const stateName = (role: string, path: string): string => `${role}.${path}`

/** A machine that makes graph nodes. `rows`: the global index of each sample of the batch. */
export function createLowering(session: Session, options: { readonly training: boolean; readonly rows: number | null }): Lowering {
  const b = createBuilder()
  const states = new Map<string, { role: string; info: WeightInfo; node: Node }>()
  const machine = createMachine(session, {
    builder: b,
    training: options.training,
    seed: b.input("seed", "batch", "i32", []),
    step: b.input("step", "batch", "i32", []),
    rows: options.rows === null ? null : b.input("row", "batch", "i32", [options.rows]),
    weight(role, info) {
      const name = stateName(role, info.path)
      const node = b.input(name, "state", info.dtype, weightShape(info, session.environment.facts))
      states.set(name, { role, info, node })
      return node
    },
  })
  return { b, machine, states }
}

/** A tensor value over a node. `vocab`: entries are ids below it. */
export function tensorOf(node: Node, vocab: Dim | null = null): TensorValue {
  return tensor(node.dtype, node.shape.map((n) => dim(n)), node, null, vocab)
}

/** What a stage reads, as far as graphs care. */
export interface RowShape {
  readonly rows: number
  /** Predictions per row; a row has one token more. */
  readonly length: number
  readonly vocab: Dim
  /** The field with the number of the class, and how many classes there are; null where only the data will tell. */
  readonly label: { readonly classes: Dim | null } | null
  /** What stands beside each row, by its path in the record `row`. */
  readonly beside?: ReadonlyMap<string, { readonly dtype: DType; readonly shape: readonly number[]; readonly vocab: Dim | null }>
  /** Leave programs as lowered, before any pass. */
  readonly raw?: boolean
}

/** The `row` of spec 5.5, as batch inputs. */
export function rowRecord(b: Builder, shape: RowShape): RecordValue {
  const grid = (name: string, dtype: DType, vocab: Dim | null = null): [string, Value] => [name, tensorOf(b.input(name, "batch", dtype, [shape.rows, shape.length + 1]), vocab)]
  const fields = new Map<string, Value>([
    grid("tokens", "i32", shape.vocab), grid("segments", "i32"), grid("positions", "i32"), grid("counts", "bool"),
    ["row", tensorOf(b.input("row", "batch", "i32", [shape.rows]))],
  ])
  if (shape.label !== null) fields.set("label", tensorOf(b.input("label", "batch", "i32", [shape.rows]), shape.label.classes))
  const beside = [...(shape.beside ?? [])].map(([path, field]): [string, Value] => [path, tensorOf(b.input(besideInput(path), "batch", field.dtype, [shape.rows, ...field.shape]), field.vocab)])
  return record(new Map([...fields, ...nested(beside)]))
}

/** The batch input that holds what stands beside rows at a path. */
export const besideInput = (path: string): string => `beside.${path}`

/** Outputs whose products take rounded factors. */
export function outputsWith(b: Builder, outputs: readonly Output[], factors: Factors): readonly Output[] {
  const nodes = withFactors(b, outputs.map((output) => output.node), factors)
  return outputs.map(({ name, node }, i) => ({ name, node: nodes[i] ?? node }))
}

/** The optimised program of some nodes (`raw`: as they are, for printing); its inputs are those the nodes need. */
export function programOf(name: string, outputs: readonly Output[], raw = false): Program {
  const inputs = reachable(outputs.map((output) => output.node)).filter((node) => node.op === "input")
  if (raw) return { name, inputs, outputs }
  const optimised = optimise({ name, inputs, outputs })
  const needed = new Set(reachable(optimised.outputs.map((output) => output.node)))
  return { ...optimised, inputs: optimised.inputs.filter((node) => needed.has(node)) }
}

/** One mean of a loss: weight * sum / count. */
export interface Term { readonly weight: number; readonly sum: Node; readonly count: Node }

/** The terms of what a loss function returned. A plain number is a mean of one. */
export function termsOf(value: Value, m: Machine): readonly Term[] {
  if (value.kind === "tensor") return [{ weight: 1, sum: nodeOf(value, m), count: scalarNode(m, 1) }]
  if (value.kind !== "loss") throw new Error(`lower: a loss yields a ${value.kind}`)
  return value.terms.map((term) => ({ weight: numberIn(term.weight, m), sum: scalar(term.sum, m), count: scalar(term.count, m) }))
}

function scalar(value: LossValue["terms"][number]["sum"], m: Machine): Node {
  return g.reshape(builderOf(m), g.cast(builderOf(m), nodeOf(value, m), "f32"), [])
}

function scalarNode(m: Machine, value: number): Node {
  return g.fill(builderOf(m), value)
}

export function builderOf(m: Machine): Builder {
  if (m.lowering === null) throw new Error("lower: the machine does not make nodes")
  return m.lowering.builder
}

export function nodeOf(value: Value, m: Machine): Node {
  if (value.kind === "tensor" && value.node !== null) return value.node
  const number = value.kind === "int" || value.kind === "float" ? numberIn(value, m) : null
  if (number === null) throw new Error(`lower: a ${value.kind} where a tensor is needed`)
  return scalarNode(m, number)
}

export function numberIn(value: Value, m: Machine): number {
  const n = value.kind === "int" ? m.known(value.poly) : value.kind === "float" || value.kind === "quantity" ? value.value : null
  if (n === null) throw new Error(`lower: a ${value.kind} that is not known yet`)
  return n
}

/** sum / count for one term; 0 where nothing counts. */
export function meanOf(b: Builder, sum: Node, count: Node): Node {
  return g.div(b, sum, g.where(b, g.eq(b, count, 0), 1, count))
}

/** sum over terms of weight * mean. */
export function lossOf(b: Builder, terms: readonly { readonly weight: number; readonly sum: Node; readonly count: Node }[]): Node {
  const parts = terms.map(({ weight, sum, count }) => g.mul(b, meanOf(b, sum, count), weight))
  return parts.reduce((x, y) => g.add(b, x, y), g.fill(b, 0))
}

/** What a stage rounds the factors of its products to: its field `precision`. */
export function factorsOf(args: ReadonlyMap<string, Value>): Factors {
  const value = argOf(args, "precision")
  return value?.kind === "symbol" && (value.name === "bf16" || value.name === "f16") ? value.name : "f32"
}

/** How a model writes: what its products round, and in which form it keeps keys and values; null: as they are. */
export interface Numbers { readonly factors: Factors; readonly kept: KeptFormat | null }

/**
 * Attention that rounds its factors to bf16 loses nothing by caches in bf16. Where weights are encoded, caches are most of what is left to read, and are f16.
 */
export function numbersFor(encodings: readonly EncodingValue[], factors: Factors): Numbers {
  return { factors, kept: factors === "bf16" ? "bf16" : encodings.length > 0 ? "f16" : null }
}

/** Those of a stage in which its `model` writes. */
export function numbersOf(args: ReadonlyMap<string, Value>): Numbers {
  const model = argOf(args, "model")
  return numbersFor(model?.kind === "artifact" && model.type.is === "weights" ? model.type.encodings : [], factorsOf(args))
}

export function argOf(args: ReadonlyMap<string, Value>, name: string): Value | null {
  const value = args.get(name)
  return value === undefined || value.kind === "none" ? null : value
}

/** The mistake behind an error value; null where there is none. For code that the checker has not seen with these sizes. */
export function mistakeIn(value: Value | null, m: Machine): Diagnostic | null {
  if (value !== null && value.kind !== "error") return null
  const last = m.session.diagnostics.at(-1)
  if (last === undefined) throw new Error("lower: an error value without a diagnostic")
  return last
}

/** A mistake of the recipe that shows only with the data: three classes in its rows, and a model with logits for four. */
export class LoweringMistake extends Error {
  readonly diagnostic: Diagnostic
  constructor(diagnostic: Diagnostic) {
    super(`lower: ${diagnostic.code} ${diagnostic.message}`)
    this.diagnostic = diagnostic
  }
}

/**
 * A result of the checker's functions while lowering. They have seen the same code with symbols, so what is wrong now is what
 * only the data could tell.
 */
export function lowered<T>(value: T | null, m: Machine): T {
  if (value === null || (typeof value === "object" && "kind" in value && value.kind === "error")) {
    const last = m.session.diagnostics.at(-1)
    throw last === undefined ? new Error("lower: an error value without a diagnostic") : new LoweringMistake(last)
  }
  return value
}
