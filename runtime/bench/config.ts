/** The two settings of the benchmark, as recipes: the training step comes from the same text and library that users have. */
import { check } from "../../compiler/check/check.ts"
import { constant } from "../../compiler/check/poly.ts"
import { lowerTraining } from "../../compiler/graph/lower/train.ts"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import type { Factors, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { fillNormal, hash32 } from "../../compiler/graph/random.ts"
import type { HostTensor } from "../device.ts"
import { moduleReader } from "../library.ts"

export interface Config {
  readonly name: "A" | "B"
  readonly depth: number; readonly heads: number; readonly dim: number
  readonly length: number; readonly rows: number; readonly vocab: number
}

/** A: nanoGPT's Shakespeare setting, 10.7 million weights. B: its setting for a laptop, 0.8 million. */
export const configs: readonly Config[] = [
  { name: "A", depth: 6, heads: 6, dim: 384, length: 256, rows: 8, vocab: 65 },
  { name: "B", depth: 4, heads: 4, dim: 128, length: 64, rows: 12, vocab: 65 },
]

/** The same mathematics as `torch_peer.py`: no dropout, no clipping, a constant rate. */
export function recipeOf(c: Config, precision: Factors = "f32"): string {
  return `use std.models { GPT }
use std.optim { adamw }
play = text("play.txt") |> split(valid: 10%, order: position)
letters = char(play.train)
tokens = play |> encode(letters) |> pack(length: ${c.length}, documents: joined)
model Peer = GPT(vocab: letters.size, dim: ${c.dim}, depth: ${c.depth}, heads: ${c.heads}, context: ${c.length}, bias: false, exact: true)
author = train Peer {
  data: tokens.train
  objective: next_token
  batch: ${c.rows} sequences
  steps: 1000
  precision: ${precision}
  optim: adamw(lr: 1e-3, beta1: 0.9, beta2: 0.99, weight_decay: 0.1)
}
expect evaluate(author, data: tokens.valid, objective: next_token).loss < 9
`
}

export interface Prepared {
  readonly config: Config
  readonly lowered: LoweredTraining
  readonly step: Program
  readonly parameters: number
}

/** The training step of a setting, checked and lowered as `slm run` would do it once the vocabulary is known. */
export function prepareConfig(config: Config, text = recipeOf(config)): Prepared {
  const source = { id: "bench.slm", name: "bench.slm", text }
  const environment = { modules: moduleReader("."), params: new Map(), facts: new Map<string, number>() }
  const first = check(source, environment)
  const letters = first.recipe?.stages.find((stage) => stage.type.is === "tokenizer")
  if (letters === undefined) throw new Error(`bench: the recipe does not check: ${first.diagnostics.map((d) => d.message).join("; ")}`)
  const checked = check(source, { ...environment, facts: new Map([[`${letters.key}.size`, config.vocab]]) })
  const stage = checked.recipe?.stages.find((candidate) => candidate.kind === "train")
  if (stage === undefined) throw new Error("bench: the recipe has no training")
  const vocab = { size: constant(config.vocab), origin: null }
  const lowered = lowerTraining(checked.session, stage, { rows: config.rows, length: config.length, vocab, label: null, accumulate: 1, total: 1000 })
  if (lowered.step === null) throw new Error("bench: no step")
  const parameters = lowered.weights.reduce((sum, slot) => sum + size(slot.shape), 0)
  return { config, lowered, step: lowered.step, parameters }
}

/** First values of all states: normal weights, unit scales, zero moments. */
export function firstStates(prepared: Prepared): ReadonlyMap<string, HostTensor> {
  return new Map(prepared.step.inputs.flatMap(({ args }) => (args.role === "state" ? [[args.name, firstState(prepared, args)] as const] : [])))
}

export function firstState({ lowered }: Prepared, { name, shape }: { readonly name: string; readonly shape: readonly number[] }): HostTensor {
  const data = new Float32Array(size(shape))
  const isWeight = lowered.weights.some((slot) => slot.name === name)
  if (isWeight && shape.length > 1) {
    fillNormal({ seed: 1, stream: hash32(name), step: 0, row: 0 }, data)
    data.forEach((x, i) => { data[i] = 0.02 * x })
  } else data.fill(isWeight ? 1 : 0) // zeros that lie in memory, as a run has them, not pages that nobody has touched
  return { shape, dtype: "f32", data }
}

/** One batch of random tokens, fit for every batch input of the step. */
export function batchOf({ config, step }: Prepared, number: number): Readonly<Record<string, HostTensor>> {
  const batch: Record<string, HostTensor> = {}
  for (const { args: { name, role, shape }, dtype } of step.inputs) {
    if (role !== "batch") continue
    const n = size(shape)
    const wide = shape.at(-1) ?? 1
    const random = new Float32Array(n)
    fillNormal({ seed: 2, stream: hash32(name), step: number, row: 0 }, random)
    const id = (i: number): number => Math.floor(Math.abs(random[i] ?? 0) * 1e4) % config.vocab
    const value = (i: number): number =>
      name === "step" ? number : name === "tokens" ? id(i) : name === "positions" ? Math.min(i % wide, config.length - 1) : name === "counts" ? 1 : 0
    const data = dtype === "bool" ? new Uint8Array(n) : dtype === "i32" ? new Int32Array(n) : new Float32Array(n)
    for (let i = 0; i < n; i++) data[i] = value(i)
    batch[name] = { shape, dtype, data }
  }
  return batch
}
