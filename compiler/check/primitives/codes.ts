/** The mistakes about tensors and their shapes, SLM2101 to SLM2109: title and page for `slm explain` (Markdown). */
export interface CodePage { readonly title: string; readonly page: string }

function entry(title: string, text: string, wrong: string, right: string): CodePage {
  const example = (word: string, code: string): string => `${word}:\n\n\`\`\`slm\n${code}\n\`\`\`\n`
  return { title, page: `# ${title}\n\n${text}\n\n${example("Wrong", wrong)}\n${example("Right", right)}` }
}

export const shapeCodes: Readonly<Record<string, CodePage>> = {
  SLM2101: entry(
    "shapes that do not go together",
    "Elementwise operations (`+`, `*`, `<`, `where`, …) align the shapes of their operands at the right. Two sizes in one place must be equal, or one of them must be 1 or missing; that one is repeated: `[B, T, 192] + [192]` and `[B, T, 192] * [B, T, 1]` are `[B, T, 192]`. Give the smaller operand its missing axis with `rearrange`, or keep the axis of a reduction with `keep: true`.",
    "let shares = x / sum(x, axis: -1)",
    "let shares = x / sum(x, axis: -1, keep: true)",
  ),
  SLM2102: entry(
    "two sizes that must be equal differ",
    "An operation needs the same size on both sides: the inner axes of a product (`[.., m, k] @ [.., k, n]`), the last axis of `x` and the `scale` of a norm, the batch of queries and keys, an axis and the factors that `rearrange` splits it into, a value and its declared type. The labels show where each size comes from.",
    "x @ weight                 // weight is [outputs, inputs]",
    "x @ transpose(weight)",
  ),
  SLM2103: entry(
    "an axis that is not there",
    "Axes count from 0 at the left, or from -1 at the right: of `[B, T, D]`, `axis: 2` and `axis: -1` are both `D`. The number of an axis is known when the recipe is checked.",
    "sum(x, axis: 3)            // x is [B, T, D]",
    "sum(x, axis: -1)",
  ),
  SLM2104: entry(
    "two different vocabularies meet",
    "Token ids mean nothing without their tokenizer: number 17 of one vocabulary is another piece of text in the other. Comparing two models token by token (`kl`, `distill`), looking up ids in an embedding, or taking the loss of labels needs one vocabulary on both sides. Sizes that happen to be equal do not make two vocabularies one.",
    "model Big = Llama(vocab: old_words.size, dim: 192, depth: 6, heads: 6)\nmodel Small = Llama(vocab: words.size, dim: 96, depth: 3, heads: 3)",
    "model Big = Llama(vocab: words.size, dim: 192, depth: 6, heads: 6)\nmodel Small = Big with { dim: 96, depth: 3, heads: 3 }",
  ),
  SLM2105: entry(
    "a tensor with the wrong number of axes",
    "An operation needs a certain number of axes: attention works on `[batch, heads, time, head_dim]`, the scale of a norm has one axis, a product of matrices needs at least one on each side, a loss is a single number. `rearrange` adds, splits and joins axes.",
    "attend(q(x), k(x), v(x))   // each is [B, T, dim]",
    'let query = q(x) |> rearrange("b t (h d) -> b h t d", h: heads)',
  ),
  SLM2106: entry(
    "an operation on the wrong kind of value",
    "Arithmetic works on numbers and tensors, `and`, `or` and `not` on truth values, `&` on masks, indexed access on integer tensors. Between numbers and tensors the wider kind wins (truth value, integer, float); `to_int` and `to_float` convert on purpose. A loss made by `average` may be scaled by numbers and added to others and stays a loss; every other use takes its value.",
    "attend(q, k, v, mask: causal(at) + same_segment(at))",
    "attend(q, k, v, mask: causal(at) & same_segment(at))",
  ),
  SLM2107: entry(
    "a number outside of what the operation allows",
    "Some arguments have a range: the rate of dropout is at least 0 and below 1, a window sees at least one token, `top_k` takes at most as many as there are, a slice leaves at least one element (no axis may be empty), the size of a rotary head is even, key/value heads divide the heads; `log` and `sqrt` of numbers known at compile time are taken where they exist.",
    "dropout(x, 1.5)",
    "dropout(x, 0.15)",
  ),
  SLM2108: entry(
    "lists that do not make a tensor",
    "`tensor` takes numbers in lists in lists, every list of one level equally long and none empty. Tensors in a list are stacked along a new first axis.",
    "let table = tensor([[1.0, 2.0], [3.0]])",
    "let table = tensor([[1.0, 2.0], [3.0, 4.0]])",
  ),
  SLM2109: entry(
    "a pattern of rearrange that means nothing",
    "A pattern names every axis before and after the arrow: `\"b t (h d) -> b h t d\"`. Parentheses split an axis on the left and join axes on the right; `1` and `()` are axes of size one; `...` stands for all axes that are not named. Every name stands exactly once on each side. Of the factors in one parenthesis on the left, all sizes but one are given as arguments.",
    'rearrange(x, "b t (h d) -> b h t", h: heads)',
    'rearrange(x, "b t (h d) -> b h t d", h: heads)',
  ),
}
