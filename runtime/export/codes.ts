/** Mistakes in formats, encodings and files of weights: title and page of each code, in the manner of `grammar/codes.ts`. */
export const exportCodes = {
  SLM3201: {
    title: "weight without a place in the format",
    page: "A `format` says where each weight of a model goes in a foreign file. This weight matches none of its lines, and the file would miss it. Add a `map` line for it, or use a format made for this model.",
  },
  SLM3202: {
    title: "tensor of the file without a place in the model",
    page: "`load` takes every tensor of a file or none: a tensor that is left behind is a model that computes something else. As a rule the sizes of the model differ from the file's (`config.json` shows them): fewer layers, no biases, tied embeddings. Tensors that carry nothing (masks of old checkpoints) are listed under `ignore` in the format.",
  },
  SLM3203: {
    title: "tensor missing from the file",
    page: "The model has a weight that the file does not hold. As a rule the model has more layers than the file, or an output head of its own where the file ties it to the embedding (`tie: true`).",
  },
  SLM3204: {
    title: "shapes differ between file and model",
    page: "The tensor exists under the expected name and has another shape than the model's weight after the steps of the format. Compare the model's arguments with the file's `config.json`: `vocab`, `dim`, `hidden`, `heads`, `kv_heads`.",
  },
  SLM3205: {
    title: "address of a format matches no weight",
    page: "A `map` line names a weight that the model does not have, so that nothing would be written under the foreign name. Write `when` on the line where the weight is optional, or `via or_zeros(size)` where the other program needs the tensor and zeros mean the same.",
  },
  SLM3206: {
    title: "mapped twice",
    page: "Two lines of a format write the same foreign name, or take the same weight. Each weight has one place, so that a file that was written can be read back.",
  },
  SLM3207: {
    title: "step that cannot be taken",
    page: "A step of a `map` line does not fit the shape it gets: `transpose` needs two axes, `concat` needs shapes that agree on the other axes, `rotary_pairs(heads)` needs rows that are heads of an even size.",
  },
  SLM3208: {
    title: "damaged safetensors file",
    page: "The file is not in the safetensors format, or its header does not describe it: lengths, types, bounds and overlaps are all checked before anything is used. It may have been cut short while it was copied.",
  },
  SLM3209: {
    title: "damaged GGUF file",
    page: "The file is not in the GGUF format (version 2 or 3), or its header does not describe it, or it holds tensor types that slm does not read (it reads F32, F16, BF16, Q8_0 and Q4_0).",
  },
  SLM3210: {
    title: "row that is not whole blocks",
    page: "Block encodings store a row in blocks of a fixed length with one scale each (32 numbers for `q8_0` and `q4_0`, the group for `int4`). A weight whose rows are not a multiple of it has no exact form there. Choose a width that is a multiple, another encoding (`int8` has one scale for a whole row), or leave the weight as it is with `keep`.",
  },
  SLM3211: {
    title: "encoding unknown to the file format",
    page: "A GGUF file can hold `q8_0` and `q4_0` and plain floats. Exporters never quantise again, so that what you evaluated is what you ship: weights in another encoding have no place in it. Quantise with `format: q8_0` or `format: q4_0`.",
  },
  SLM3212: {
    title: "codes that do not fit their store",
    page: "An `encoding` names the exact layout that keeps its codes and scales (`store`). What its `encode` yielded is outside of it: as many codes as the weight has numbers, whole, in the range of the store, and finite scales; the stores of llama.cpp keep scales as f16.",
  },
  SLM3213: {
    title: "tokenizer that GGUF cannot say",
    page: "llama.cpp splits text by rules it knows by name. slm writes byte-level tokenizers that split as GPT-2 does, and tokenizers of single characters. A tokenizer with a normaliser, another split or another kind of model would encode differently there, and the model would read text it was not trained on.",
  },
  SLM3214: {
    title: "fewer rows than tokens",
    page: "The embedding has fewer rows than the tokenizer has tokens, so some tokens have no vector. Give the model `vocab: tokenizer.size` or more. More rows are padded with unused tokens.",
  },
  SLM3215: {
    title: "not a folder in Hugging Face's layout",
    page: "`load` reads a folder with `config.json` and `model.safetensors`, or `model.safetensors.index.json` and the files it names.",
  },
  SLM3216: {
    title: "config.json disagrees with the model",
    page: "The file was made for a model that computes something else although its tensors fit: another rotary base, epsilon, activation or number of heads. Give the model the values of `config.json`.",
  },
  SLM3217: {
    title: "unknown step in a format",
    page: "`via` takes a pipe of `transpose`, `concat(axis: …)`, `rotary_pairs(heads)` and `or_zeros(size, …)`.",
  },
  SLM3218: {
    title: "metadata that a file cannot hold",
    page: "A field of a block of a format must be a known number, text, truth value, list of these, or a record.",
  },
  SLM3219: {
    title: "tensor that the model would drop",
    page: "The file holds numbers for a weight that the model leaves out (`or_zeros` in the format). Zeros may be left out; these are not zero.",
  },
  SLM3220: {
    title: "address that a format cannot use",
    page: "The left side of a `map` line is an address of weights: names, `[i]` for an index that the right side repeats as `{i}`, a number, and `{q, k}` for several weights in that order. Every index must stand on both sides.",
  },
  SLM3221: {
    title: "model outside of a format",
    page: "The other program computes something else than this model does, and a file for it would quietly be another model: llama.cpp's `llama` attends to everything before a token (no `window`), and its `gpt2` knows the tanh form of gelu alone (no `exact: true`). Train the model without the option, or export to a format that has it.",
  },
} as const satisfies Readonly<Record<string, { readonly title: string; readonly page: string }>>

export type ExportCode = keyof typeof exportCodes
