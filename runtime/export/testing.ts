/** What tests of the exporters share: the library's formats, tiny models with random weights, a tiny tokenizer. */
import { readFileSync } from "node:fs"
import { check } from "../../compiler/check/check.ts"
import { weightsOf } from "../../compiler/check/instance.ts"
import { createMachine } from "../../compiler/check/machine.ts"
import type { Machine } from "../../compiler/check/machine.ts"
import { loadModule } from "../../compiler/check/modules.ts"
import { constantOf } from "../../compiler/check/poly.ts"
import { force } from "../../compiler/check/scopes.ts"
import type { LoadedModule, Session } from "../../compiler/check/session.ts"
import type { InstanceValue } from "../../compiler/check/value.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import { moduleReader } from "../library.ts"
import { plain, stored } from "../weights.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import type { ForeignFormat } from "./foreign.ts"
import { layoutOf } from "./layouts.ts"
import type { Problem, Result } from "./problem.ts"
import { reference } from "./quantise-oracle.ts"
import { resolveFor } from "./resolve.ts"
import type { Resolved } from "./resolve.ts"
import type { TensorData } from "./safetensors.ts"
import { byteTexts, bytesAsText } from "./vocabulary.ts"
import type { ExportTokenizer } from "./vocabulary.ts"

export type Parameters = Readonly<Record<string, number | boolean | null>>

// ---------------------------------------------------------------- formats

/** A format of the library for the model of the library with these arguments. */
export function libraryFormat(name: string, parameters: Parameters): ForeignFormat {
  const { session, model } = made(name.endsWith("llama") ? "Llama" : "GPT", parameters)
  const m = createMachine(session)
  const module = session.modules.get("std.formats") ?? loadModule({ id: "std.formats", text: readFileSync(new URL("../../stdlib/formats.slm", import.meta.url), "utf8") }, [], m)
  return expectResolved(resolveOf(name, module, model, m))
}

/** A format for Llama written in `text`. */
export function resolveText(text: string, parameters: Parameters): Resolved {
  const { session, model } = made("Llama", parameters)
  const m = createMachine(session)
  const module = loadModule({ id: "test.slm", text: `use std.models { Llama }\nformat f for Llama {\n${text}\n}\n` }, [], m)
  const resolved = resolveOf("f", module, model, m)
  return resolved.ok || resolved.diagnostics.length > 0 ? resolved : { ok: false, diagnostics: session.diagnostics }
}

function resolveOf(name: string, module: LoadedModule, model: InstanceValue, m: Machine): Resolved {
  const entry = module.entries.get(name)
  const format = entry === undefined ? null : force(entry, module, m)
  if (format?.kind !== "format") throw new Error(`no format ${name}`)
  return resolveFor(format, model.args, weightsOf(model).map(({ path }) => path), m)
}

/** An instance of a model of the library. Parameters without a value here are left to their defaults. */
export function made(model: "Llama" | "GPT", parameters: Parameters): { readonly session: Session; readonly model: InstanceValue } {
  const given = Object.entries(parameters).map(([name, value]) => `${name}: ${value === null ? "none" : Number.isInteger(value) || typeof value === "boolean" ? value : value.toFixed(9)}`)
  const text = `use std.models { ${model} }\nmodel M = ${model}(${given.join(", ")})\n`
  const { session, recipe, diagnostics } = check({ id: "model.slm", text }, { modules: moduleReader("."), params: new Map(), facts: new Map() })
  const spec = recipe?.bindings.get("M")
  if (spec?.kind !== "spec") throw new Error(diagnostics.map(({ message }) => message).join("\n"))
  const instance = createMachine(session).instantiate(spec, "model", { source: "model.slm", start: 0, end: 0 })
  if (instance.kind === "error") throw new Error("no instance")
  return { session, model: instance }
}

/** Paths and shapes of its weights. */
export function shapesOf(model: InstanceValue): ReadonlyMap<string, Shape> {
  return new Map(weightsOf(model).map(({ path, shape }) => [path, shape.map(({ size }) => constantOf(size) ?? NaN)]))
}

function expectResolved(resolved: Resolved): ForeignFormat {
  if (resolved.ok) return resolved.format
  throw new Error(resolved.diagnostics.map(({ code, message }) => `${code} ${message}`).join("\n"))
}

// ---------------------------------------------------------------- models

export interface LlamaSizes { readonly vocab: number; readonly dim: number; readonly depth: number; readonly heads: number; readonly kv_heads: number; readonly hidden: number; readonly context: number; readonly tie: boolean; readonly rope_base: number; readonly eps: number; readonly std: number; readonly window: number | null; readonly qkv_bias: boolean }
export interface GptSizes { readonly vocab: number; readonly dim: number; readonly depth: number; readonly heads: number; readonly context: number; readonly hidden: number; readonly bias: boolean; readonly exact: boolean; readonly eps: number; readonly std: number; readonly dropout: number }

export const llama: LlamaSizes = { vocab: 40, dim: 64, depth: 2, heads: 4, kv_heads: 2, hidden: 96, context: 64, tie: false, rope_base: 10000, eps: 1e-5, std: 0.02, window: null, qkv_bias: false }
export const gpt: GptSizes = { vocab: 40, dim: 64, depth: 2, heads: 4, context: 64, hidden: 256, bias: true, exact: false, eps: 1e-5, std: 0.02, dropout: 0 }

/** Shapes of `Llama` and `GPT` of std.models. */
export function llamaShapes(sizes: LlamaSizes): ReadonlyMap<string, Shape> {
  return shapesOf(made("Llama", { ...sizes }).model)
}
export function gptShapes(sizes: GptSizes): ReadonlyMap<string, Shape> {
  return shapesOf(made("GPT", { ...sizes }).model)
}

/** Random weights of these shapes, large enough that every part of a model shows in its output. */
export function randomWeights(shapes: ReadonlyMap<string, Shape>, seed: number): Weights {
  const next = random(seed)
  return { tensors: new Map([...shapes].map(([path, shape]) => [path, randomTensor(path, shape, next)])) }
}

function randomTensor(path: string, shape: Shape, next: () => number): StoredTensor {
  const middle = path.endsWith(".scale") ? 1 : 0
  const spread = shape.length === 2 && !path.startsWith("embed") ? 1.5 / Math.sqrt(shape[1]!) : 0.4
  return plain(shape, Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, () => middle + spread * next()))
}

/** A stream of numbers of mean 0 and variance 1 (xorshift, sums of three). */
export function random(seed: number): () => number {
  let state = (seed * 2654435761 + 1) >>> 0 || 1
  const bits = (): number => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state / 2 ** 32
  }
  return () => 2 * (bits() + bits() + bits() - 1.5)
}

/** The matrices quantised as llama.cpp's reference does, vectors as they are. */
export function quantised(weights: Weights, kind: "q8_0" | "q4_0"): Weights {
  const layout = layoutOf(`gguf.${kind}`)!
  return {
    tensors: new Map([...weights.tensors].map(([path, tensor]) => {
      if (tensor.shape.length < 2) return [path, tensor]
      const { bytes } = reference[kind](tensor.decoded())
      return [path, stored(tensor.shape, layout.store, new Map<string, TensorData>(Object.entries(layout.unpack(bytes, tensor.shape))))]
    })),
  }
}

// ---------------------------------------------------------------- tokenizer

/** A byte-level BPE with `merges` merges learnt from `text`, in the form of a `tokenizer.json`, with the control tokens given. */
export function tinyTokenizer(text: string, merges: number, special: readonly string[]): ExportTokenizer & { readonly size: number } {
  const vocab = [...byteTexts]
  const words = text.match(/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? []
  let pieces = words.map((word) => [...bytesAsText(word)])
  const learnt: [string, string][] = []
  while (learnt.length < merges) {
    const counts = new Map<string, number>()
    for (const word of pieces) for (let i = 1; i < word.length; i++) counts.set(`${word[i - 1]} ${word[i]}`, (counts.get(`${word[i - 1]} ${word[i]}`) ?? 0) + 1)
    const best = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]
    if (best === undefined) break
    const [a, b] = best[0].split(" ") as [string, string]
    learnt.push([a, b])
    if (!vocab.includes(a + b)) vocab.push(a + b)
    pieces = pieces.map((word) => joined(word, a, b))
  }
  const first = vocab.length
  const json = {
    version: "1.0", truncation: null, padding: null,
    added_tokens: special.map((content, i) => ({ id: first + i, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab: Object.fromEntries(vocab.map((token, id) => [token, id])), merges: learnt },
  }
  const id = (content: string): number | null => (special.includes(content) ? first + special.indexOf(content) : null)
  return { json: JSON.stringify(json), eos: id("<|endoftext|>") ?? 0, endOfTurn: id("<|im_end|>"), pad: null, unk: null, chatTemplate: null, size: first + special.length }
}

function joined(word: readonly string[], a: string, b: string): string[] {
  const out: string[] = []
  for (let i = 0; i < word.length; i++) {
    if (word[i] === a && word[i + 1] === b) {
      out.push(a + b)
      i++
    } else out.push(word[i]!)
  }
  return out
}

// ---------------------------------------------------------------- results

export function expectFine<T>(result: Result<T>): T {
  if (result.ok) return result.value
  throw new Error(told(result.problems).join("\n"))
}

/** Codes and messages, as tests compare them. */
export function told(problems: readonly Problem[]): readonly string[] {
  return problems.map(({ code, message }) => `${code} ${message}`)
}
