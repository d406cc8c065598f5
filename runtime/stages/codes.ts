/** Mistakes that only a run can find: title and page of each code, in the manner of `grammar/codes.ts`. */
export const stageCodes = {
  SLM3222: {
    title: "model whose parts were replaced",
    page: "Parts of this model were replaced (`with { at … }`), and it computes something else than its arguments alone say: the other program would quietly run another model. `merge` adds a `LoRA` into its map, `detach` takes off what is only there for training; fewer heads or other layers have no place in a foreign format.",
  },
  SLM3301: {
    title: "training diverged",
    page: "The loss or a gradient became infinite or not a number, and every weight would have followed. Lower the learning rate, clip gradients (`|> clip_norm(1.0)`), give the schedule a longer warm-up, or look at the rows of the batch that is named: a loss that divides or takes a logarithm of your own may meet a zero there.",
  },
  SLM3302: {
    title: "the model mixes positions",
    page: "Text is written one token at a time: what was computed for earlier tokens is kept, and only the new one is computed. That is possible where every op looks at each position alone, or at earlier ones through `attend` with a `causal` mask. A mean over the sequence, a running sum or a convolution over positions is none of these; such a model can be trained and evaluated, not sampled.",
  },
  SLM3303: {
    title: "the model has no logits for each position",
    page: "Writing text needs a model whose `forward` yields `logits: float[B, T, vocab]`. A classifier yields one result for a whole sequence.",
  },
  SLM3304: {
    title: "no tokenizer is known for these weights",
    page: "Weights that were trained here carry the tokenizer of their data. Weights from a folder have the one in its `tokenizer.json`; without it there is no way from text to tokens.",
  },
  SLM3307: {
    title: "an expectation does not hold",
    page: "`expect` is part of the recipe: the run fails where its condition is false, and shows the values of both sides.",
  },
  SLM3308: {
    title: "an expectation cannot be decided",
    page: "The condition needs a number that the stage did not yield, for example `accuracy` of a model without labels of the shape of its logits.",
  },
  SLM3310: {
    title: "an entry that the other tokenizer does not have",
    page: "`entries` says where the entries of one tokenizer stand in another, so that rows of an embedding can be taken over. An entry that is not there has no row. `trim` leaves out entries and makes no new ones.",
  },
  SLM3311: {
    title: "a trial that diverged is used",
    page: "The training of this trial diverged, so that it has no weights. The search went on without it; what asks for the weights of this very trial cannot be done. `found.weights` are those of the trial that was chosen. A lower learning rate or `|> clip_norm(1.0)` lets the trial end.",
  },
  SLM3312: {
    title: "no trial came to a number",
    page: "A search takes the trial with the least number, and here every trial diverged, or its number is none (a loss that is not a number). Lower the learning rates that the points list, clip gradients (`|> clip_norm(1.0)`), or give the schedule a longer warm-up.",
  },
  SLM3313: {
    title: "a model that answers does not continue",
    page: "This model reads one text and writes another (its `forward` takes `answer`). `generate`, `write`, `answered` and the samples of a training show what it answers; rows cannot be continued by it, and it is not written out as a C program or a web page yet.",
  },
  SLM3309: {
    title: "a trial without the number to choose by",
    page: "A search takes the trial with the least of a number of its report. This report does not have it, for example `accuracy` of a model without labels of the shape of its logits: choose by `loss`, or by a number that every trial has.",
  },
} as const satisfies Record<string, { readonly title: string; readonly page: string }>

export type StageCode = keyof typeof stageCodes
