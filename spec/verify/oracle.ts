/**
 * Llama and GPT written down once more in plain TypeScript, from the papers and from nothing of ours: what a file means when
 * another program runs it. Slow, whole sequences, f64 accumulation.
 */
import type { GptSizes, LlamaSizes } from "../../runtime/export/testing.ts"
import type { Weights } from "../../runtime/weights.ts"

type Vector = Float64Array
type Rows = readonly Vector[]
/** Where a program is known to compute more coarsely than f32: activations before a product, and the GELU table of llama.cpp. */
export interface Rounding {
  readonly product: (x: Float64Array, outputs: number) => Float64Array
  readonly gelu: (x: number) => number
}
const exactly: Rounding = { product: (x) => x, gelu: (x) => x }

/** Logits after each of the tokens. */
export function llamaForward(weights: Weights, sizes: LlamaSizes, tokens: readonly number[], rounding: Rounding = exactly): Rows {
  const linear = linearOf(rounding)
  const w = decoded(weights)
  let x: Rows = embedded(w("embed.weight"), sizes.dim, tokens)
  for (let i = 0; i < sizes.depth; i++) {
    const block = `blocks[${i}].`
    const h = x.map((row) => rmsNorm(row, w(`${block}attn_norm.scale`), sizes.eps))
    const heads = (name: string, count: number): Rows[] => split(h.map((row) => linear(row, w(`${block}attn.${name}.weight`), sizes.qkv_bias ? w(`${block}attn.${name}.offset`) : null)), count)
    const q = heads("q", sizes.heads).map((head) => rotated(head, sizes.rope_base))
    const k = heads("k", sizes.kv_heads).map((head) => rotated(head, sizes.rope_base))
    const mixed = attention(q, k, heads("v", sizes.kv_heads))
    x = x.map((row, t) => plus(row, linear(mixed[t]!, w(`${block}attn.out.weight`))))
    x = x.map((row) => {
      const inner = rmsNorm(row, w(`${block}mlp_norm.scale`), sizes.eps)
      const gate = linear(inner, w(`${block}mlp.gate.weight`)).map((a) => a / (1 + Math.exp(-a)))
      const up = linear(inner, w(`${block}mlp.up.weight`))
      return plus(row, linear(gate.map((a, n) => a * up[n]!), w(`${block}mlp.down.weight`)))
    })
  }
  const head = w(sizes.tie ? "embed.weight" : "head.weight")
  return x.map((row) => linear(rmsNorm(row, w("norm.scale"), sizes.eps), head))
}

/** Logits after each of the tokens. */
export function gptForward(weights: Weights, sizes: GptSizes, tokens: readonly number[], rounding: Rounding = exactly): Rows {
  const linear = linearOf(rounding)
  const w = decoded(weights)
  const offset = (path: string): Float32Array | null => (sizes.bias ? w(path) : null)
  const norm = (row: Vector, path: string): Vector => layerNorm(row, w(`${path}.scale`), offset(`${path}.offset`), sizes.eps)
  const apply = (row: Vector, path: string): Vector => linear(row, w(`${path}.weight`), offset(`${path}.offset`))
  const places = w("places.weight")
  let x: Rows = embedded(w("embed.weight"), sizes.dim, tokens).map((row, t) => row.map((a, n) => a + places[t * sizes.dim + n]!))
  for (let i = 0; i < sizes.depth; i++) {
    const block = `blocks[${i}].`
    const h = x.map((row) => norm(row, `${block}attn_norm`))
    const heads = (name: string): Rows[] => split(h.map((row) => apply(row, `${block}attn.${name}`)), sizes.heads)
    const mixed = attention(heads("q"), heads("k"), heads("v"))
    x = x.map((row, t) => plus(row, apply(mixed[t]!, `${block}attn.out`)))
    x = x.map((row) => plus(row, apply(apply(norm(row, `${block}mlp_norm`), `${block}mlp.up`).map((a) => rounding.gelu(gelu(rounding.gelu(a)))), `${block}mlp.down`)))
  }
  return x.map((row) => linear(norm(row, "norm"), w("embed.weight")))
}

export function softmax(logits: Vector): Vector {
  const top = Math.max(...logits)
  const exps = logits.map((a) => Math.exp(a - top))
  const sum = exps.reduce((a, b) => a + b, 0)
  return exps.map((a) => a / sum)
}

// ---------------------------------------------------------------- parts

function decoded(weights: Weights): (path: string) => Float32Array {
  const values = new Map([...weights.tensors].map(([path, tensor]) => [path, tensor.decoded()]))
  return (path) => {
    const found = values.get(path)
    if (found === undefined) throw new Error(`no weight ${path}`)
    return found
  }
}

function embedded(table: Float32Array, dim: number, tokens: readonly number[]): Rows {
  return tokens.map((token) => Float64Array.from(table.subarray(token * dim, (token + 1) * dim)))
}

function linearOf(rounding: Rounding): (x: Vector, weight: Float32Array, offset?: Float32Array | null) => Vector {
  return (x, weight, offset = null) => product(rounding.product(x, weight.length / x.length), weight, offset)
}

/** weight [outputs, inputs] */
function product(x: Vector, weight: Float32Array, offset: Float32Array | null = null): Vector {
  const outputs = weight.length / x.length
  return Float64Array.from({ length: outputs }, (_, o) => {
    let sum = offset?.[o] ?? 0
    for (let i = 0; i < x.length; i++) sum += weight[o * x.length + i]! * x[i]!
    return sum
  })
}

function rmsNorm(x: Vector, scale: Float32Array, eps: number): Vector {
  const r = 1 / Math.sqrt(x.reduce((sum, a) => sum + a * a, 0) / x.length + eps)
  return x.map((a, i) => a * r * scale[i]!)
}

function layerNorm(x: Vector, scale: Float32Array, offset: Float32Array | null, eps: number): Vector {
  const mean = x.reduce((sum, a) => sum + a, 0) / x.length
  const r = 1 / Math.sqrt(x.reduce((sum, a) => sum + (a - mean) ** 2, 0) / x.length + eps)
  return x.map((a, i) => (a - mean) * r * scale[i]! + (offset?.[i] ?? 0))
}

/** The form GPT-2 was trained with (Hendrycks and Gimpel, 2016). */
function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
}

/** Turns the pairs (i, i + d/2) of the row at place t by t / base^(2i/d). */
function rotated(rows: Rows, base: number): Rows {
  return rows.map((row, t) => {
    const half = row.length / 2
    const out = new Float64Array(row.length)
    for (let i = 0; i < half; i++) {
      const angle = t * base ** (-(2 * i) / row.length)
      out[i] = row[i]! * Math.cos(angle) - row[i + half]! * Math.sin(angle)
      out[i + half] = row[i]! * Math.sin(angle) + row[i + half]! * Math.cos(angle)
    }
    return out
  })
}

/** Rows [t][h * d] -> [h][t][d]. */
function split(rows: Rows, heads: number): Rows[] {
  return Array.from({ length: heads }, (_, h) => rows.map((row) => row.slice((h * row.length) / heads, ((h + 1) * row.length) / heads)))
}

/** Causal attention; neighbouring query heads share a key/value head. Yields rows [t][h * d]. */
function attention(q: readonly Rows[], k: readonly Rows[], v: readonly Rows[]): Rows {
  const share = q.length / k.length
  const length = q[0]!.length
  return Array.from({ length }, (_, t) => Float64Array.from(q.flatMap((head, h) => {
    const [keys, values] = [k[Math.floor(h / share)]!, v[Math.floor(h / share)]!]
    const scores = Float64Array.from({ length: t + 1 }, (_, s) => dot(head[t]!, keys[s]!) / Math.sqrt(head[t]!.length))
    const parts = softmax(scores)
    return [...values[0]!.map((_, n) => parts.reduce((sum, p, s) => sum + p * values[s]![n]!, 0))]
  })))
}

function dot(a: Vector, b: Vector): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

function plus(a: Vector, b: Vector): Vector {
  return a.map((x, i) => x + b[i]!)
}
