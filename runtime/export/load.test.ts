import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { exportHuggingFace } from "./huggingface.ts"
import { checkFolder, loadWeights, readHeaders } from "./load.ts"
import { parseSafetensors, writeSafetensors } from "./safetensors.ts"
import { expectFine, gpt, gptShapes, libraryFormat, llama, llamaShapes, quantised, randomWeights, tinyTokenizer, told } from "./testing.ts"
import type { Parameters } from "./testing.ts"

const words = { ...tinyTokenizer("", 0, ["<|endoftext|>", "<|im_end|>"]), chatTemplate: "{{ messages }}" }
const sizes = { ...llama, vocab: words.size, depth: 2 }
const shapes = llamaShapes(sizes)
const weights = randomWeights(shapes, 4)
const format = libraryFormat("hf_llama", { ...sizes })
const folder = mkdtempSync(join(tmpdir(), "slm-load-"))
test.after(() => rmSync(folder, { recursive: true, force: true }))

type Files = ReadonlyMap<string, Uint8Array>

function written(files: Files): string {
  const path = mkdtempSync(join(folder, "model-"))
  for (const [name, bytes] of files) writeFileSync(join(path, name), bytes)
  return path
}

function changed(files: Files, name: string, change: (text: string) => string): Files {
  return new Map([...files, [name, new TextEncoder().encode(change(new TextDecoder().decode(files.get(name))))]])
}

function jsonOf(files: Files, name: string): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(files.get(name))) as Record<string, unknown>
}

/** What is said of a folder for a model. */
function said(files: Files, parameters: Parameters = { ...sizes }, expected = shapes): readonly string[] {
  const headers = readHeaders(written(files))
  return told(headers.ok ? checkFolder(headers.value, libraryFormat("hf_llama", parameters), expected) : headers.problems)
}

const files = expectFine(exportHuggingFace(weights, format, words, "f32"))

test("a folder that was written is loaded with the same bits", () => {
  const headers = expectFine(readHeaders(written(files)))
  assert.equal(told(checkFolder(headers, format, shapes)), [])
  const back = expectFine(loadWeights(headers, format, shapes))
  assert.equal([...back.tensors.keys()], [...weights.tensors.keys()])
  for (const [path, tensor] of weights.tensors) assert.equal(back.tensors.get(path)!.decoded(), tensor.decoded(), path)
})

test("f16 and bf16 folders are loaded as they are", () => {
  for (const floats of ["f16", "bf16"] as const) {
    const headers = expectFine(readHeaders(written(expectFine(exportHuggingFace(weights, format, words, floats)))))
    const back = expectFine(loadWeights(headers, format, shapes))
    assert.is(back.tensors.get("norm.scale")!.encoding, floats)
    const [ours, theirs] = [weights.tensors.get("embed.weight")!.decoded(), back.tensors.get("embed.weight")!.decoded()]
    ours.forEach((x, i) => assert.ok(Math.abs(x - theirs[i]!) <= Math.abs(x) * (floats === "f16" ? 2 ** -11 : 2 ** -8) + 1e-7))
  }
})

test("config.json says what transformers needs to build the model", () => {
  const config = jsonOf(files, "config.json")
  assert.equal(config["architectures"], ["LlamaForCausalLM"])
  const wanted = { model_type: "llama", vocab_size: words.size, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16, max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 10000, hidden_act: "silu", tie_word_embeddings: false, torch_dtype: "float32", attention_bias: false }
  for (const [name, value] of Object.entries(wanted)) assert.is(config[name], value, name)
  assert.equal([config["bos_token_id"], config["eos_token_id"]], [256, [256, 257]])
  assert.not("sliding_window" in config)
  const variants = { window: { ...sizes, window: 16 }, bias: { ...sizes, qkv_bias: true } }
  const other = (parameters: Parameters, of = weights): unknown => jsonOf(expectFine(exportHuggingFace(of, libraryFormat("hf_llama", parameters), null, "f32")), "config.json")["architectures"]
  assert.equal(other(variants.window), ["MistralForCausalLM"])
  assert.equal(other(variants.bias, randomWeights(llamaShapes(variants.bias), 1)), ["Qwen2ForCausalLM"])
})

test("the tokenizer travels with its end of turn and its chat template", () => {
  assert.is(new TextDecoder().decode(files.get("tokenizer.json")), words.json)
  const config = jsonOf(files, "tokenizer_config.json")
  assert.equal([config["bos_token"], config["eos_token"], config["chat_template"], config["model_max_length"]], ["<|endoftext|>", "<|im_end|>", "{{ messages }}", 64])
  assert.equal(jsonOf(files, "generation_config.json")["eos_token_id"], [256, 257])
})

test("quantised weights are written as the values of their codes", () => {
  const q = quantised(weights, "q8_0")
  const read = expectFine(parseSafetensors(expectFine(exportHuggingFace(q, format, words, "f32")).get("model.safetensors")!))
  assert.equal(read.tensors.find(({ name }) => name === "lm_head.weight")!.data, q.tensors.get("head.weight")!.decoded())
  assert.is(read.metadata.get("format"), "pt")
})

test("GPT-2 loads with and without its prefix, and without its old masks", () => {
  const tiny = { ...gpt, depth: 1, vocab: 40 }
  const of = gptShapes(tiny)
  const random = randomWeights(of, 3)
  const hf = libraryFormat("hf_gpt2", { ...tiny })
  const whole = expectFine(exportHuggingFace(random, hf, null, "f32"))
  const { tensors } = expectFine(parseSafetensors(whole.get("model.safetensors")!))
  assert.ok(tensors.every(({ name }) => name.startsWith("transformer.")))
  const mask = { name: "h.0.attn.bias", dtype: "F32", shape: [1, 1, 8, 8], data: new Float32Array(64) } as const
  const bare = writeSafetensors([...tensors.map((t) => ({ ...t, name: t.name.slice("transformer.".length) })), mask])
  for (const all of [whole, new Map([...whole, ["model.safetensors", bare] as const])]) {
    const headers = expectFine(readHeaders(written(all)))
    assert.equal(told(checkFolder(headers, hf, of)), [])
    const back = expectFine(loadWeights(headers, hf, of))
    for (const [path, tensor] of random.tensors) assert.equal(back.tensors.get(path)!.decoded(), tensor.decoded(), path)
  }
})

test("weights in several files are found through their index", () => {
  const { tensors } = expectFine(parseSafetensors(files.get("model.safetensors")!))
  const [first, second] = [tensors.slice(0, 5), tensors.slice(5)]
  const index = { weight_map: Object.fromEntries([...first.map(({ name }) => [name, "model-1.safetensors"]), ...second.map(({ name }) => [name, "model-2.safetensors"])]) }
  const parts = new Map([...files].filter(([name]) => name !== "model.safetensors"))
  parts.set("model-1.safetensors", writeSafetensors(first)).set("model-2.safetensors", writeSafetensors(second)).set("model.safetensors.index.json", new TextEncoder().encode(JSON.stringify(index)))
  assert.equal(said(parts), [])
  assert.equal(expectFine(loadWeights(expectFine(readHeaders(written(parts))), format, shapes)).tensors.get("norm.scale")!.decoded(), weights.tensors.get("norm.scale")!.decoded())
  assert.equal(said(changed(parts, "model.safetensors.index.json", (text) => text.replaceAll("model-2.safetensors", "../x.safetensors"))), ["SLM3215 model.safetensors.index.json does not name files of this folder"])
  assert.equal(said(new Map([...parts].filter(([name]) => name !== "model-2.safetensors"))), ["SLM3215 model-2.safetensors is missing or cannot be read"])
})

test("another model than the folder's is refused before a tensor is read", () => {
  const deeper = { ...sizes, depth: 3 }
  assert.ok(said(files, deeper, llamaShapes(deeper)).includes("SLM3216 config.json has `num_hidden_layers` 2, and the model 3"))
  assert.ok(said(files, deeper, llamaShapes(deeper)).includes("SLM3203 the file has no tensor `model.layers.2.mlp.up_proj.weight`, which holds `blocks[2].mlp.up.weight`"))
  assert.equal(said(files, { ...sizes, rope_base: 500000 }), ["SLM3216 config.json has `rope_theta` 10000, and the model 500000"])
  const tied = { ...sizes, tie: true }
  assert.equal(said(files, tied, llamaShapes(tied)), ["SLM3216 config.json has `tie_word_embeddings` false, and the model true"])
})

test("a folder without the expected files says which", () => {
  const without = (name: string): Files => new Map([...files].filter(([other]) => other !== name))
  assert.equal(said(without("config.json")), ["SLM3215 the folder has no readable config.json"])
  assert.equal(said(without("model.safetensors")), ["SLM3215 the folder has no model.safetensors"])
  assert.equal(said(changed(files, "config.json", () => "{")), ["SLM3215 config.json is not JSON"])
  assert.equal(said(changed(files, "config.json", () => "[]")), ["SLM3215 config.json is not a JSON object"])
  assert.equal(said(new Map([...files, ["model.safetensors", files.get("model.safetensors")!.slice(0, 5000)]])).map((text) => text.slice(0, 45)), ["SLM3208 this is not a safetensors file: its t"])
})

test.run()
