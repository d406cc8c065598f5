/** The mistakes about tensors and their shapes, SLM2101 to SLM2109: title and page for `slm explain`. */
export interface CodePage { readonly title: string; readonly page: string }

export const shapeCodes: Readonly<Record<string, CodePage>> = {
  SLM2101: {
    title: "shapes that do not go together",
    page: `Elementwise operations (\`+\`, \`*\`, \`<\`, \`where\`, …) align the shapes of their operands at the right. Two sizes on the same place must
be equal, or one of them must be 1 or missing; that one is repeated.

    [B, T, 192] + [192]        => [B, T, 192]
    [B, T, 192] * [B, T, 1]    => [B, T, 192]
    [B, T, 192] + [B, T]       -- refused: 192 meets T

Give the smaller one its missing axis: \`rearrange(mask, "b t -> b t 1")\`, or keep the axis of a reduction: \`sum(x, axis: -1, keep: true)\`.`,
  },
  SLM2102: {
    title: "two sizes that must be equal differ",
    page: `An operation needs the same size on both sides: the inner axes of a product (\`[.., m, k] @ [.., k, n]\`), the last axis of \`x\` and the
\`scale\` of a norm, the batch of queries and keys, an axis and the factors that \`rearrange\` splits it into. The labels show where each size comes from.

A weight of a linear layer is stored \`[outputs, inputs]\`; its product is \`x @ transpose(weight)\`.`,
  },
  SLM2103: {
    title: "an axis that is not there",
    page: `Axes count from 0 at the left, or from -1 at the right: of \`[B, T, D]\`, \`axis: 2\` and \`axis: -1\` are both \`D\`. The number of an axis must
be known when the recipe is checked.`,
  },
  SLM2104: {
    title: "two different vocabularies meet",
    page: `Token ids mean nothing without their tokenizer: number 17 of one vocabulary is another piece of text in the other. Comparing two models token by
token (\`kl\`, \`distill\`), looking up ids in an embedding, or taking a loss of labels needs one vocabulary on both sides. Sizes that happen to be equal do
not make two vocabularies one.

    words     = bpe(book.train, size: 2048)
    tokens    = book |> encode(words) |> pack(length: 128)
    model Big = Llama(vocab: words.size, …)
    model Small = Big with { dim: 96 }          // the same vocabulary

Encode the data of teacher and student with one tokenizer, and give both models its \`size\`.`,
  },
  SLM2105: {
    title: "a tensor with the wrong number of axes",
    page: `An operation needs a certain number of axes: attention works on \`[batch, heads, time, head_dim]\`, the scale of a norm has one axis, a product of
matrices needs at least one axis on each side, a loss is a single number. \`rearrange\` adds, splits and joins axes: \`rearrange(x, "b t (h d) -> b h t d", h: heads)\`.`,
  },
  SLM2106: {
    title: "an operation on the wrong kind of value",
    page: `Arithmetic works on numbers and tensors, \`and\`, \`or\` and \`not\` on truth values, \`&\` on masks, indexed access on integer tensors. Between numbers
and tensors the wider kind wins (truth value, integer, float); \`to_int\` and \`to_float\` convert on purpose.

A loss made by \`average\` may be scaled by numbers and added to others and stays a loss; every other use takes its value.`,
  },
  SLM2107: {
    title: "a number outside of what the operation allows",
    page: `Some arguments have a range: the rate of dropout is at least 0 and below 1, a window sees at least one token, \`top_k\` takes at most as many as there
are, a slice leaves at least one element (no axis may be empty), the size of a rotary head is even, key/value heads divide the heads, \`log\` and \`sqrt\` of numbers known
at compile time are taken where they exist.`,
  },
  SLM2108: {
    title: "lists that do not make a tensor",
    page: `\`tensor([[1, 2], [3, 4]])\` makes a tensor of shape [2, 2]: numbers in lists in lists, every list of one level equally long and none empty. Tensors
in a list are stacked along a new first axis.`,
  },
  SLM2109: {
    title: "a pattern of rearrange that means nothing",
    page: `A pattern names every axis before and after the arrow: \`"b t (h d) -> b h t d"\`. Parentheses split an axis on the left and join axes on the right;
\`1\` and \`()\` are axes of size one; \`...\` stands for all axes that are not named. Every name stands exactly once on each side. Of the factors in one
parenthesis on the left, all sizes but one are given as arguments: \`h: heads\`.`,
  },
}
