/** What tests of the exporters share: the library's formats, tiny models with random weights, a tiny tokenizer. */
import { readFileSync } from "node:fs"
import { parse } from "../../grammar/parse.ts"
import type { Expr, Format } from "../../grammar/ast.ts"
import type { Scope, Value } from "../../compiler/check/value.ts"
import { constantOf, constant } from "../../compiler/check/poly.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import { plain, stored } from "../weights.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import type { ForeignFormat } from "./foreign.ts"
import { layoutOf } from "./layouts.ts"
import type { Problem, Result } from "./problem.ts"
import { reference } from "./quantise-oracle.ts"
import { resolveFormat } from "./resolve.ts"
import type { FormatContext, Resolved } from "./resolve.ts"
import type { TensorData } from "./safetensors.ts"
import { byteTexts, bytesAsText } from "./vocabulary.ts"
import type { ExportTokenizer } from "./vocabulary.ts"

export type Parameters = Readonly<Record<string, number | boolean | null>>

// ---------------------------------------------------------------- formats

/** A format of the library for a model with these arguments and weights. */
export function libraryFormat(name: string, parameters: Parameters, weights: Weights): ForeignFormat {
  const resolved = resolveText(readFileSync(new URL("../../stdlib/formats.slm", import.meta.url), "utf8"), name, parameters, [...weights.tensors.keys()])
  if (!resolved.ok) throw new Error(resolved.diagnostics.map(({ code, message }) => `${code} ${message}`).join("\n"))
  return resolved.format
}

/** A format written in `text`; arithmetic on the parameters is all it may use. */
export function resolveText(text: string, name: string, parameters: Parameters, paths: readonly string[]): Resolved {
  const { module, diagnostics } = parse({ id: "formats", text })
  if (diagnostics.length > 0) throw new Error(diagnostics.map(({ message }) => message).join("\n"))
  const code = module.items.find((item): item is Format => item.kind === "format" && item.name.name === name)
  if (code === undefined) throw new Error(`no format ${name}`)
  const scope: Scope = { names: new Map(), outer: null, module: "formats" }
  return resolveFormat({ kind: "format", code, scope, origin: null }, paths, arithmetic(parameters))
}

/** Just enough of the evaluator for formats: numbers, texts, lists, records, `+ - * /`, `not`, `if`. */
function arithmetic(parameters: Parameters): FormatContext {
  const origin = null
  const number = (value: number, whole: boolean): Value => (whole ? { kind: "int", poly: constant(value), origin } : { kind: "float", value, pending: [], origin })
  const of = (value: Value): number => (value.kind === "int" ? constantOf(value.poly) ?? NaN : value.kind === "float" ? value.value ?? NaN : NaN)
  const evaluate = (expr: Expr, indices: ReadonlyMap<string, number>): Value => {
    switch (expr.kind) {
      case "number": return number(expr.value, expr.integer)
      case "string": return { kind: "string", value: expr.parts.map((part) => (typeof part === "string" ? part : of(evaluate(part, indices)))).join(""), origin }
      case "bool": return { kind: "bool", value: expr.value, pending: [], origin }
      case "none": return { kind: "none", origin }
      case "list": return { kind: "list", items: expr.items.map((item) => evaluate(item, indices)), origin }
      case "record": return { kind: "record", fields: new Map(expr.fields.map((field) => [field.name.name, evaluate(field.value, indices)])), origin }
      case "if": return evaluate(truth(evaluate(expr.condition, indices)) ? expr.then : expr.else, indices)
      case "unary": return expr.op === "not" ? { kind: "bool", value: !truth(evaluate(expr.operand, indices)), pending: [], origin } : number(-of(evaluate(expr.operand, indices)), true)
      case "binary": {
        if (expr.op === "!=") return { kind: "bool", value: evaluate(expr.left, indices).kind !== evaluate(expr.right, indices).kind, pending: [], origin } // against none
        const [left, right] = [evaluate(expr.left, indices), evaluate(expr.right, indices)]
        const whole = left.kind === "int" && right.kind === "int"
        const [a, b] = [of(left), of(right)]
        return number(expr.op === "+" ? a + b : expr.op === "-" ? a - b : expr.op === "*" ? a * b : expr.op === "/" ? a / b : NaN, whole)
      }
      case "name": {
        const value = indices.has(expr.name) ? indices.get(expr.name) : parameters[expr.name]
        if (value === null) return { kind: "none", origin }
        if (typeof value === "boolean") return { kind: "bool", value, pending: [], origin }
        return value === undefined ? { kind: "unknown", type: "any", origin } : number(value, Number.isInteger(value))
      }
      default: return { kind: "unknown", type: "any", origin }
    }
  }
  return { evaluate, known: (poly) => of({ kind: "int", poly, origin }) }
}

function truth(value: Value): boolean {
  return value.kind === "bool" && value.value === true
}

// ---------------------------------------------------------------- models

export interface LlamaSizes { readonly vocab: number; readonly dim: number; readonly depth: number; readonly heads: number; readonly kv_heads: number; readonly hidden: number; readonly context: number; readonly tie: boolean; readonly rope_base: number; readonly eps: number; readonly std: number; readonly window: number | null; readonly qkv_bias: boolean }
export interface GptSizes { readonly vocab: number; readonly dim: number; readonly depth: number; readonly heads: number; readonly context: number; readonly hidden: number; readonly bias: boolean; readonly exact: boolean; readonly eps: number; readonly std: number; readonly dropout: number }

export const llama: LlamaSizes = { vocab: 40, dim: 64, depth: 2, heads: 4, kv_heads: 2, hidden: 96, context: 64, tie: false, rope_base: 10000, eps: 1e-5, std: 0.02, window: null, qkv_bias: false }
export const gpt: GptSizes = { vocab: 40, dim: 64, depth: 2, heads: 4, context: 64, hidden: 256, bias: true, exact: false, eps: 1e-5, std: 0.02, dropout: 0 }

/** Shapes of `Llama` of std.models. */
export function llamaShapes({ vocab, dim, depth, heads, kv_heads, hidden, tie, qkv_bias }: LlamaSizes): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>([["embed.weight", [vocab, dim]]])
  for (let i = 0; i < depth; i++) {
    const block = `blocks[${i}].`
    shapes.set(`${block}attn_norm.scale`, [dim])
    for (const [name, rows] of [["q", dim], ["k", (dim / heads) * kv_heads], ["v", (dim / heads) * kv_heads]] as const) {
      shapes.set(`${block}attn.${name}.weight`, [rows, dim])
      if (qkv_bias) shapes.set(`${block}attn.${name}.offset`, [rows])
    }
    shapes.set(`${block}attn.out.weight`, [dim, dim])
    shapes.set(`${block}mlp_norm.scale`, [dim])
    shapes.set(`${block}mlp.gate.weight`, [hidden, dim])
    shapes.set(`${block}mlp.up.weight`, [hidden, dim])
    shapes.set(`${block}mlp.down.weight`, [dim, hidden])
  }
  shapes.set("norm.scale", [dim])
  if (!tie) shapes.set("head.weight", [vocab, dim])
  return shapes
}

/** Shapes of `GPT` of std.models. */
export function gptShapes({ vocab, dim, depth, context, hidden, bias }: GptSizes): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>([["embed.weight", [vocab, dim]], ["places.weight", [context, dim]]])
  const linear = (path: string, inputs: number, outputs: number): void => {
    shapes.set(`${path}.weight`, [outputs, inputs])
    if (bias) shapes.set(`${path}.offset`, [outputs])
  }
  const norm = (path: string): void => {
    shapes.set(`${path}.scale`, [dim])
    if (bias) shapes.set(`${path}.offset`, [dim])
  }
  for (let i = 0; i < depth; i++) {
    const block = `blocks[${i}].`
    norm(`${block}attn_norm`)
    for (const name of ["q", "k", "v", "out"]) linear(`${block}attn.${name}`, dim, dim)
    norm(`${block}mlp_norm`)
    linear(`${block}mlp.up`, dim, hidden)
    linear(`${block}mlp.down`, hidden, dim)
  }
  norm("norm")
  return shapes
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
