/** Mistakes of devices: title and page of each code, in the manner of `grammar/codes.ts`. */
export const deviceCodes = {
  SLM3501: {
    title: "the device failed",
    page: "The device could be used when the run began, and then could not: the disk under its cache is full, its compiler was stopped or is broken, or memory ran out. The message has what it said. `slm doctor` tries every device again; `--device tfjs` and `--device reference` need neither compiler nor cache. Finished stages are kept.",
  },
  SLM3502: {
    title: "this cannot be written as C",
    page: "`slm compile --emit c` writes a stage as a program that needs nothing but libc. Tokenizers that slm made (byte, char, BPE) go along; one that was loaded and normalises its text, or cuts words in a way of its own, does not. `slm generate` runs every model.",
  },
  SLM3503: {
    title: "what comes before the stage was not made yet",
    page: "A stage that starts from trained weights is written as C together with them, and compiling does not train. Run the recipe first: finished stages are kept and found. They are kept for each device and instruction family by itself, so that `--device` must be the one of that run.",
  },
  SLM3504: {
    title: "a training does not fit into its memory",
    page: "`max_memory` bounds the arena of a training's step: weights, optimiser states, the batch and everything that is computed. Where keeping all values takes more, those that are cheap for their size are computed again when the gradients need them (`recompute: auto`), with the same results. Below some size that does not help: weights and optimiser states stay. Allow more, make `batch` smaller and `accumulate` larger, or make the model smaller.",
  },
  SLM3505: {
    title: "this cannot run in a browser",
    page: "`slm compile --emit web` keeps to the limits that every browser with WebGPU promises: one tensor takes at most 128 MiB, eight such parts can be seen at once, and a workgroup shares 16 KiB. Quantized weights count as they are packed. `slm generate` and `--emit c` have no such limits.",
  },
  SLM3506: {
    title: "the device has no products of f16",
    page: "`precision: f16` rounds what products multiply to f16 and adds up in f32. GPUs have such products where their adapter offers `shader-f16`, which `slm doctor` lists; most of the last eight years do. Other devices would be slower with it than without. `precision: bf16` runs everywhere and has the range of f32; without `precision` products are f32.",
  },
} as const satisfies Record<string, { readonly title: string; readonly page: string }>
