/** Whole training steps of a small transformer: what devices are for. */
import type { Builder } from "../../compiler/graph/builder.ts"
import { createBuilder } from "../../compiler/graph/builder.ts"
import { gradients } from "../../compiler/graph/gradient.ts"
import type { Node, NodeOf, Output, Program, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { fillNormal, fillUniform, hash32 } from "../../compiler/graph/random.ts"
import type { HostTensor } from "../device.ts"
import type { ConformanceCase, Tolerance } from "./conformance.ts"

export interface ModelSizes {
  readonly vocab: number; readonly dim: number; readonly hidden: number; readonly depth: number
  readonly heads: number; readonly kvHeads: number; readonly batch: number; readonly time: number
}

export interface TrainingProgram {
  readonly program: Program
  readonly parameters: readonly NodeOf<"input">[]
}

type Parameter = (name: string, shape: Shape) => Node

function block(b: Builder, n: ModelSizes, parameter: Parameter, path: string, x: Node, positions: Node, segments: Node): Node {
  const d = n.dim / n.heads
  const heads = (y: Node, count: number): Node => g.transpose(b, g.reshape(b, y, [n.batch, n.time, count, d]), 1, 2)
  const normed = g.rmsNorm(b, x, parameter(`${path}.norm1`, [n.dim]), 1e-5)
  const q = heads(g.matmul(b, normed, parameter(`${path}.q`, [n.dim, n.dim])), n.heads)
  const k = heads(g.matmul(b, normed, parameter(`${path}.k`, [n.dim, n.kvHeads * d])), n.kvHeads)
  const v = heads(g.matmul(b, normed, parameter(`${path}.v`, [n.dim, n.kvHeads * d])), n.kvHeads)
  const mixed = g.attend(b, g.rope(b, q, positions, 10000), g.rope(b, k, positions, 10000), v, { causal: true, segments: [segments, segments] })
  const joined = g.reshape(b, g.transpose(b, mixed, 1, 2), [n.batch, n.time, n.dim])
  const y = g.add(b, x, g.matmul(b, joined, parameter(`${path}.out`, [n.dim, n.dim])))
  const normed2 = g.rmsNorm(b, y, parameter(`${path}.norm2`, [n.dim]), 1e-5)
  const gate = g.silu(b, g.matmul(b, normed2, parameter(`${path}.gate`, [n.dim, n.hidden])))
  const up = g.matmul(b, normed2, parameter(`${path}.up`, [n.dim, n.hidden]))
  return g.add(b, y, g.matmul(b, g.mul(b, gate, up), parameter(`${path}.down`, [n.hidden, n.dim])))
}

/** Mean loss over the labels that count. */
function model(b: Builder, n: ModelSizes, parameter: Parameter): Node {
  const ids = b.input("tokens", "batch", "i32", [n.batch, n.time])
  const labels = b.input("labels", "batch", "i32", [n.batch, n.time])
  const positions = b.input("positions", "batch", "i32", [n.batch, n.time])
  const segments = b.input("segments", "batch", "i32", [n.batch, n.time])
  const table = parameter("embed", [n.vocab, n.dim])
  let x = g.gather(b, table, ids)
  for (let i = 0; i < n.depth; i++) x = b.at(`blocks[${i}]`, () => block(b, n, parameter, `blocks[${i}]`, x, positions, segments))
  const last = g.layerNorm(b, x, parameter("norm.scale", [n.dim]), parameter("norm.bias", [n.dim]), 1e-5)
  const logits = g.matmul(b, last, table, true)
  const losses = g.crossEntropy(b, g.reshape(b, logits, [n.batch * n.time, n.vocab]), g.reshape(b, labels, [n.batch * n.time]))
  const counted = g.cast(b, g.le(b, 0, labels), "f32")
  return g.div(b, g.sum(b, losses), g.max(b, g.sum(b, counted), 1))
}

function clipped(b: Builder, grads: readonly Node[]): { readonly norm: Node; readonly scaled: readonly Node[] } {
  const norm = g.sqrt(b, grads.map((x) => g.sum(b, g.square(b, x))).reduce((x, y) => g.add(b, x, y)))
  const factor = g.min(b, 1, g.div(b, 1, g.add(b, norm, 1e-6)))
  return { norm, scaled: grads.map((x) => g.mul(b, x, factor)) }
}

/** One step of a Llama-like model with AdamW or momentum: states are parameters, moments and a counter. */
export function trainingProgram(n: ModelSizes, optimizer: "adamw" | "momentum", withGradients: boolean): TrainingProgram {
  const b = createBuilder()
  const parameters: NodeOf<"input">[] = []
  const loss = model(b, n, (name, shape) => {
    const node = b.input(name, "state", "f32", shape)
    parameters.push(node)
    return node
  })
  const grads = gradients(b, loss, parameters)
  const { norm, scaled } = clipped(b, grads)
  const step = g.add(b, b.input("step", "state", "f32", []), 1)
  const outputs: Output[] = [{ name: "loss", node: loss }, { name: "norm", node: norm }, { name: "step", node: step }]
  parameters.forEach((p, i) => {
    const grad = scaled[i] ?? p
    outputs.push(...(optimizer === "adamw" ? adamw(b, p, grad, step) : momentum(b, p, grad)))
    if (withGradients) outputs.push({ name: `gradient of ${p.args.name}`, node: grad })
  })
  const inputs = b.nodes.filter((node) => node.op === "input")
  return { program: { name: `${optimizer} step`, inputs, outputs }, parameters }
}

function adamw(b: Builder, p: NodeOf<"input">, grad: Node, step: Node): Output[] {
  const m = b.input(`m.${p.args.name}`, "state", "f32", p.shape)
  const v = b.input(`v.${p.args.name}`, "state", "f32", p.shape)
  const m1 = g.add(b, g.mul(b, m, 0.9), g.mul(b, grad, 0.1))
  const v1 = g.add(b, g.mul(b, v, 0.95), g.mul(b, g.square(b, grad), 0.05))
  const unbiased = (x: Node, beta: number): Node => g.div(b, x, g.sub(b, 1, g.pow(b, g.fill(b, beta), step)))
  const update = g.add(b, g.div(b, unbiased(m1, 0.9), g.add(b, g.sqrt(b, unbiased(v1, 0.95)), 1e-8)), g.mul(b, p, p.shape.length >= 2 ? 0.1 : 0))
  return [{ name: m.args.name, node: m1 }, { name: v.args.name, node: v1 }, { name: p.args.name, node: g.sub(b, p, g.mul(b, update, 1e-3)) }]
}

function momentum(b: Builder, p: NodeOf<"input">, grad: Node): Output[] {
  const m = b.input(`m.${p.args.name}`, "state", "f32", p.shape)
  const m1 = g.add(b, g.mul(b, m, 0.9), grad)
  return [{ name: m.args.name, node: m1 }, { name: p.args.name, node: g.sub(b, p, g.mul(b, m1, 0.05)) }]
}

/** Initial values of all states of a training program. */
export function trainingState({ program, parameters }: TrainingProgram): Record<string, HostTensor> {
  const names = new Set(parameters.map((p) => p.args.name))
  const state: Record<string, HostTensor> = {}
  for (const { args: { name, role, shape } } of program.inputs) {
    if (role !== "state") continue
    const data = new Float32Array(size(shape))
    if (names.has(name)) {
      fillNormal({ seed: 1, stream: hash32(name), step: 0, row: 0 }, data)
      const [offset, width] = name.includes("norm") ? [name.endsWith("bias") ? 0 : 1, 0.02] : [0, 0.2 / Math.sqrt(shape[0] ?? 1) + 0.05]
      data.forEach((x, i) => (data[i] = offset + width * x))
    }
    state[name] = { shape, dtype: "f32", data }
  }
  return state
}

/** Packed rows: two segments each, the last label of a segment does not count. */
export function trainingBatch(n: ModelSizes, step: number): Record<string, HostTensor> {
  const shape = [n.batch, n.time]
  const random = new Float32Array(size(shape))
  fillUniform({ seed: 2, stream: hash32("tokens"), step, row: 0 }, random)
  const cut = Math.floor(n.time / 3) + 1
  const place = (i: number): number => (i % n.time < cut ? i % n.time : (i % n.time) - cut)
  const ids = Int32Array.from(random, (x) => Math.floor(x * n.vocab))
  const ends = (i: number): boolean => i % n.time === n.time - 1 || i % n.time === cut - 1
  const tensor = (data: Int32Array): HostTensor => ({ shape, dtype: "i32", data })
  return {
    tokens: tensor(ids),
    labels: tensor(ids.map((_, i) => (ends(i) ? -1 : ids[i + 1] ?? -1))),
    positions: tensor(ids.map((_, i) => place(i))),
    segments: tensor(ids.map((_, i) => (i % n.time < cut ? 0 : 1))),
  }
}

const small: ModelSizes = { vocab: 29, dim: 24, hidden: 40, depth: 2, heads: 6, kvHeads: 2, batch: 3, time: 11 }

/** Three steps with momentum, states compared; one step of AdamW with its gradients (its later steps magnify rounding). */
export function trainingCases(tolerance: Tolerance): readonly ConformanceCase[] {
  const cases: readonly (readonly ["adamw" | "momentum", number])[] = [["momentum", 3], ["adamw", 1]]
  return cases.map(([optimizer, steps]): ConformanceCase => {
    const training = trainingProgram(small, optimizer, steps === 1)
    return {
      name: `training with ${optimizer}`, program: training.program, state: trainingState(training), tolerance,
      batches: Array.from({ length: steps }, (_, i) => trainingBatch(small, i)),
    }
  })
}
