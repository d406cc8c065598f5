/** What every device must agree on with the reference: each op, each gradient, and whole training steps. */
import { createCaseInputs, weightedLoss } from "../../compiler/graph/case-inputs.ts"
import { gradients } from "../../compiler/graph/gradient.ts"
import { gradientRules } from "../../compiler/graph/gradients.ts"
import type { Op, Output, Program } from "../../compiler/graph/node.ts"
import type { CaseGraph } from "../../compiler/graph/op-cases.ts"
import { opCases } from "../../compiler/graph/op-cases.ts"
import { reachable } from "../../compiler/graph/walk.ts"
import type { Device, HostTensor } from "../device.ts"
import { asPlain } from "../device.ts"
import { trainingCases } from "./conformance-training.ts"
import { createReference } from "./reference.ts"

/** |actual - expected| <= absolute * max(1, largest expected) + relative * |expected|, element by element. */
export interface Tolerance {
  readonly absolute: number
  readonly relative: number
}

export interface ConformanceCase {
  readonly name: string
  readonly program: Program
  /** Values of all `state` inputs. */
  readonly state: Readonly<Record<string, HostTensor>>
  /** One batch per step; steps run in order on one runner. */
  readonly batches: readonly Readonly<Record<string, HostTensor>>[]
  readonly tolerance: Tolerance
}

export interface Failure {
  readonly name: string
  readonly message: string
}

const exact: Tolerance = { absolute: 0, relative: 0 }
const close: Tolerance = { absolute: 4e-6, relative: 1e-5 }
const loose: Tolerance = { absolute: 2e-5, relative: 1e-4 }
/**
 * A weight or a slope whose last bits differ may round to the neighbouring number of bf16, which is up to 2^-7 away; beside it there are
 * the factors of gradients, computed in f32 and then rounded.
 */
const rounding: Tolerance = { absolute: 2 ** -8, relative: 2 ** -7 }

function caseOf(name: string, graph: CaseGraph, tolerance: Tolerance): ConformanceCase {
  const { inputs, feeds, nodes } = createCaseInputs(name)
  const outputs = graph(inputs).map((node, i): Output => ({ name: `out${i}`, node }))
  return { name, program: { name, inputs: nodes, outputs }, state: {}, batches: [feeds], tolerance }
}

/** Gradients of a case's outputs by its f32 inputs; null where there are none. */
function gradientCase(op: Op, label: string, graph: CaseGraph, tolerance = loose): ConformanceCase | null {
  const name = `gradient of ${op} ${label}`
  const { inputs, feeds, nodes } = createCaseInputs(name)
  const outputs = graph(inputs)
  const wrt = nodes.filter((node) => node.dtype === "f32")
  const loss = weightedLoss(inputs, outputs)
  if (loss === null || wrt.length === 0) return null
  const named = gradients(inputs.b, loss, wrt).map((node, i): Output => ({ name: `d_in${i}`, node }))
  return { name, program: { name, inputs: nodes, outputs: [{ name: "loss", node: loss }, ...named] }, state: {}, batches: [feeds], tolerance }
}

function ops(): readonly Op[] {
  return Object.keys(opCases) as Op[]
}

/** All cases; pass a prefix of a name (`gradient of dot`) to get some. */
export function conformanceCases(prefix = ""): readonly ConformanceCase[] {
  const values = ops().flatMap((op) => {
    const { smooth, edge = [], exact: bits = false } = opCases[op]
    return [...smooth, ...edge].map((graph, i) => caseOf(`${op} ${i}`, graph, bits ? exact : close))
  })
  const slopes = ops().filter((op) => gradientRules[op] !== "none").flatMap((op) => opCases[op].smooth.map((graph, i) => gradientCase(op, String(i), graph)))
  const rounded = ops().flatMap((op) => (opCases[op].rounded ?? []).flatMap((graph, i) => {
    // The factors of a product are given, so that only the order of its sum may differ.
    const gradient = op === "attend_grad" ? null : gradientCase(op, `bf16 ${i}`, graph, rounding)
    return [caseOf(`${op} bf16 ${i}`, graph, op === "dot" ? close : rounding), ...(gradient === null ? [] : [gradient])]
  }))
  return [...values, ...slopes.filter((item) => item !== null), ...rounded, ...trainingCases(loose)].filter((item) => item.name.startsWith(prefix))
}

/** Runs the cases on `device` and on the reference (f32) and reports where they differ or where the device threw. */
export async function checkDevice(device: Device, cases: readonly ConformanceCase[]): Promise<Failure[]> {
  const reference = createReference()
  const failures: Failure[] = []
  for (const item of cases) {
    const expected = await runCase(reference, item)
    try {
      const actual = await runCase(device, item)
      failures.push(...compare(item, actual, expected))
    } catch (error) {
      failures.push({ name: item.name, message: error instanceof Error ? error.message : String(error) })
    }
  }
  return failures
}

/** Every output of every step, then every state, by name. */
export async function runCase(device: Device, item: ConformanceCase): Promise<ReadonlyMap<string, HostTensor>> {
  const runner = await device.load(item.program)
  const results = new Map<string, HostTensor>()
  try {
    for (const [name, value] of Object.entries(item.state)) await runner.write(name, value)
    for (const [i, batch] of item.batches.entries()) {
      for (const [name, value] of Object.entries(await runner.step(batch))) results.set(`step ${i}: ${name}`, value)
    }
    for (const name of Object.keys(item.state)) results.set(`state ${name}`, asPlain(await runner.read(name)))
  } finally {
    runner.dispose()
  }
  return results
}

function compare(item: ConformanceCase, actual: ReadonlyMap<string, HostTensor>, expected: ReadonlyMap<string, HostTensor>): Failure[] {
  const failures: Failure[] = []
  for (const [name, want] of expected) {
    const got = actual.get(name)
    const message = got === undefined ? "is missing" : difference(got, want, item.tolerance)
    if (message !== null) failures.push({ name: item.name, message: `${name} ${message}${origin(item.program, name)}` })
  }
  return failures
}

/** The op that made an output, for the message. */
function origin(program: Program, name: string): string {
  const output = program.outputs.find((candidate) => name.endsWith(` ${candidate.name}`))
  return output === undefined ? "" : ` (${output.node.op}, graph of ${reachable([output.node]).length} nodes)`
}

/** What is wrong with a tensor, or null. */
export function difference(got: HostTensor, want: HostTensor, tolerance: Tolerance): string | null {
  if (got.dtype !== want.dtype || got.shape.join() !== want.shape.join() || got.data.length !== want.data.length) {
    return `is ${got.dtype}[${got.shape.join(", ")}] with ${got.data.length} elements instead of ${want.dtype}[${want.shape.join(", ")}]`
  }
  const { absolute, relative } = want.dtype === "f32" ? tolerance : exact
  let largest = 1
  for (const x of want.data) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x))
  for (let i = 0; i < want.data.length; i++) {
    const [x = 0, y = 0] = [got.data[i], want.data[i]]
    const equal = x === y || (Number.isNaN(x) && Number.isNaN(y)) || Math.abs(x - y) <= absolute * largest + relative * Math.abs(y)
    if (!equal) return `differs at element ${i} of [${want.shape.join(", ")}]: ${x} instead of ${y}`
  }
  return null
}
