/** What stages yield, in memory. */
import type { NotedTensor } from "../data/beside.ts"
import type { Mixture } from "../data/mixture.ts"
import type { TokenSet } from "../data/encode.ts"
import type { PackedRows } from "../data/pack.ts"
import type { Result } from "../data/result.ts"
import type { Rows } from "../data/rows.ts"
import type { StepReport } from "../data/steps.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import type { Weights } from "../weights.ts"

/** One value for data that is whole (under ""), or one for each part of a split (`train`, `valid`, `test`). */
export type Members<T> = ReadonlyMap<string, T>

export type ArtifactData =
  | { readonly is: "rows"; readonly members: Members<Rows>; readonly reports: Members<StepReport> }
  | { readonly is: "tokens"; readonly members: Members<TokenSet> }
  | { readonly is: "packed"; readonly members: Members<PackedRows> }
  /** A mixture that still has to be told how long the training is. */
  | { readonly is: "curriculum"; readonly plan: (steps: number, samplesPerStep: number, seed: number) => Result<Mixture>; readonly first: PackedRows }
  | { readonly is: "tokenizer"; readonly tokenizer: Tokenizer }
  /** One model under "", or one for each role. `tokenizer`: came with the weights, from a folder. */
  | { readonly is: "weights"; readonly members: Members<Weights>; readonly tokenizer: Tokenizer | null }
  | { readonly is: "report"; readonly values: Members<number> }
  | { readonly is: "samples"; readonly samples: readonly Sample[] }
  | { readonly is: "difficulty"; readonly values: Float64Array }
  /** Tensors [rows, ..] by path. */
  | { readonly is: "notes"; readonly rows: number; readonly tensors: ReadonlyMap<string, NotedTensor> }
  | { readonly is: "files"; readonly files: readonly { readonly file: string; readonly bytes: number }[] }

export interface Sample {
  readonly prompt: string
  readonly text: string
  readonly tokens: number
  readonly end: "stop" | "length" | "context"
}

export type DataOf<K extends ArtifactData["is"]> = Extract<ArtifactData, { is: K }>

/** The artifact as the kind that the checker has proved it to be. */
export function expectData<K extends ArtifactData["is"]>(data: ArtifactData, is: K): DataOf<K> {
  if (data.is !== is) throw new Error(`stages: an artifact is ${data.is}, not ${is}`)
  return data as DataOf<K>
}

/** A member by name; null asks for the whole. */
export function memberOf<T>(members: Members<T>, name: string | null): T {
  const found = members.get(name ?? "")
  if (found === undefined) throw new Error(`stages: there is no member ${name ?? "(whole)"} among ${[...members.keys()].map((k) => k || "(whole)").join(", ")}`)
  return found
}

export function whole<T>(value: T): Members<T> {
  return new Map([["", value]])
}

export function mapMembers<A, B>(members: Members<A>, f: (value: A, name: string) => B): Members<B> {
  return new Map([...members].map(([name, value]) => [name, f(value, name)]))
}

/** All results, or all failures. */
export function allMembers<A, B>(members: Members<A>, f: (value: A, name: string) => Result<B>): Result<Members<B>> {
  const results = [...members].map(([name, value]) => [name, f(value, name)] as const)
  const failures = results.flatMap(([, result]) => (result.ok ? [] : result.failures))
  if (failures.length > 0) return { ok: false, failures }
  return { ok: true, value: new Map(results.flatMap(([name, result]) => (result.ok ? [[name, result.value] as const] : []))) }
}
