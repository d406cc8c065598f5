import type { StoredTensor, Weights } from "../weights.ts"
import { plainOf } from "./foreign.ts"
import type { Floats, ForeignFormat } from "./foreign.ts"
import { toForeign } from "./format.ts"
import { brains, halves } from "../../compiler/graph/half.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Result } from "./problem.ts"
import { writeSafetensors } from "./safetensors.ts"
import type { FileTensor } from "./safetensors.ts"
import type { ExportTokenizer } from "./vocabulary.ts"

const TORCH_TYPES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const

/**
 * The files of a folder that Hugging Face's `transformers` loads, by name. Quantised weights are written as the values their
 * codes stand for.
 */
export function exportHuggingFace(weights: Weights, format: ForeignFormat, tokenizer: ExportTokenizer | null, floats: Floats): Result<ReadonlyMap<string, Uint8Array>> {
  const config = format.blocks.get("config")
  if (config === undefined) return wrong(problem("SLM3218", `format ${format.name} has no block \`config\``))
  const safetensors = exportSafetensors(weights, format, floats)
  if (!safetensors.ok) return safetensors
  const ends = tokenizer === null ? [] : [...new Set([tokenizer.eos, tokenizer.endOfTurn ?? tokenizer.eos])]
  const tokens = tokenizer === null ? {} : { bos_token_id: tokenizer.eos, eos_token_id: ends.length === 1 ? ends[0] : ends, ...(tokenizer.pad === null ? {} : { pad_token_id: tokenizer.pad }) }
  const files = new Map<string, Uint8Array>([
    ["model.safetensors", safetensors.value],
    ["config.json", json({ ...Object.fromEntries([...config].filter(([, value]) => value.is !== "none").map(([name, value]) => [name, plainOf(value)])), ...tokens, torch_dtype: TORCH_TYPES[floats], use_cache: true })],
    ["generation_config.json", json({ _from_model_config: true, ...tokens })],
  ])
  if (tokenizer !== null) {
    files.set("tokenizer.json", new TextEncoder().encode(tokenizer.json))
    files.set("tokenizer_config.json", json(tokenizerConfig(tokenizer, config.get("max_position_embeddings") ?? config.get("n_positions"))))
  }
  return fine(files)
}

/** The weights alone, under the format's names. */
export function exportSafetensors(weights: Weights, format: ForeignFormat, floats: Floats): Result<Uint8Array> {
  const named = toForeign(format.name, format.maps, weights)
  if (!named.ok) return named
  return fine(writeSafetensors(named.value.map(({ name, tensor }) => floatTensor(name, tensor, floats)), new Map([["format", "pt"]])))
}

function floatTensor(name: string, tensor: StoredTensor, floats: Floats): FileTensor {
  const values = tensor.buffers.get("values")
  const { shape } = tensor
  const data = tensor.encoding === floats && values !== undefined ? values : converted(tensor.decoded(), floats)
  return { name, shape, dtype: floats === "f32" ? "F32" : floats === "f16" ? "F16" : "BF16", data }
}

function converted(values: Float32Array, floats: Floats): Float32Array | Uint16Array {
  return floats === "f32" ? values : floats === "f16" ? halves(values) : brains(values)
}

function tokenizerConfig(tokenizer: ExportTokenizer, context: { readonly is: string } | undefined): unknown {
  const added = addedTokens(tokenizer.json)
  const content = (id: number | null): string | null => (id === null ? null : added.find((token) => token.id === id)?.content ?? null)
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [String(id), token])),
    bos_token: content(tokenizer.eos),
    // Generation ends with the answer where there are answers.
    eos_token: content(tokenizer.endOfTurn ?? tokenizer.eos),
    ...(tokenizer.pad === null ? {} : { pad_token: content(tokenizer.pad) }),
    ...(tokenizer.unk === null ? {} : { unk_token: content(tokenizer.unk) }),
    add_bos_token: false,
    clean_up_tokenization_spaces: false,
    ...(context !== undefined && "value" in context ? { model_max_length: context.value } : {}),
    ...(tokenizer.chatTemplate === null ? {} : { chat_template: tokenizer.chatTemplate }),
  }
}

interface AddedToken { readonly id: number; readonly content: string; readonly [option: string]: unknown }

function addedTokens(text: string): readonly AddedToken[] {
  const parsed: unknown = JSON.parse(text)
  if (typeof parsed !== "object" || parsed === null || !("added_tokens" in parsed) || !Array.isArray(parsed.added_tokens)) return []
  return parsed.added_tokens.filter((token: unknown): token is AddedToken => typeof token === "object" && token !== null && "id" in token && "content" in token)
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)
}
