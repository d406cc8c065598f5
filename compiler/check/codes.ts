/** The mistakes that the checker finds, shapes excepted (`primitives/codes.ts`): title and page for `slm explain`. */
export interface CodePage { readonly title: string; readonly page: string }

function entry(title: string, text: string, wrong: string | null, right: string): CodePage {
  const example = (word: string, code: string): string => `${word}:\n\n\`\`\`slm\n${code}\n\`\`\`\n`
  return { title, page: `# ${title}\n\n${text}\n\n${wrong === null ? "" : `${example("Wrong", wrong)}\n`}${example("Right", right)}` }
}

const names: Readonly<Record<string, CodePage>> = {
  SLM2001: entry("an unknown name", "Every name is bound in the file, imported by `use`, or one of the prelude. Blocks introduce nothing by themselves. The words of a choice (`by: paragraph`) stand only where a parameter lists them.",
    "let opt = adamw(lr: 1e-3)", "use std.optim { adamw }\nlet opt = adamw(lr: 1e-3)"),
  SLM2002: entry("a name that is bound twice", "A name means one thing in its scope. The order of a file does not matter, so a second binding cannot replace the first.", "let width = 64\nlet width = 96", "let width = 64\nlet wide = 96"),
  SLM2003: entry("a name that hides the prelude", "The names of the prelude mean the same in every recipe, so that a recipe can be read by itself. An import can be renamed with `as`.", "let text = \"moby.txt\"", "let path = \"moby.txt\""),
  SLM2004: entry("a module that cannot be had", "`use` takes a module of the library (`std.models`) or a path from the folder of the file. Paths do not lead out of the recipe's folder.", "use std.model { Llama }", "use std.models { Llama }"),
  SLM2005: entry("a module without that name", "Only what a module defines itself can be imported from it, not what it imports.", "use std.models { LLama }", "use std.models { Llama }"),
  SLM2006: entry("modules that use each other in a circle", "If `a.slm` uses `b.slm`, then `b.slm` cannot use `a.slm`, neither directly nor through others. Move what both need into a third file.", null, "use \"./shared.slm\" { Block }"),
  SLM2007: entry("a value that depends on itself", "Bindings may be used before the line they stand on, but not in a circle.", "let a = b + 1\nlet b = a + 1", "let a = 1\nlet b = a + 1"),
  SLM2008: entry("a call without an end", "The language has no recursion: every recipe can be evaluated. `fold`, `map`, comprehensions and `repeat` go over lists of known length.", "fn f(x: int) -> int = f(x)", "fn f(xs: [int]) -> int = fold(xs, 0, (sum, x) => sum + x)"),
  SLM2009: entry("an import that is never used", "Nothing that is written is ignored.", "use std.optim { adamw, sgd }\nlet opt = adamw(lr: 1e-3)", "use std.optim { adamw }\nlet opt = adamw(lr: 1e-3)"),
  SLM2010: entry("a name that is never used", "A `let`, a `param`, a parameter of a definition, a part or a weight that nothing uses has no effect. A part that `forward` does not call has weights that never learn. Names that begin with `_` are not looked at.",
    "fn half(x: float, y: float) -> float = x / 2", "fn half(x: float) -> float = x / 2"),
  SLM2011: entry("data that nothing reads", "A data set, a tokenizer or a difficulty that no stage reads has no effect on the run.", "poems = text(\"poems.txt\")", "poems = text(\"poems.txt\")\nwords = bpe(poems, size: 512)"),
  SLM2012: entry("the wrong kind of binding", "`x = …` names what a stage yields (data, tokenizers, weights, reports), `let x = …` a value, `model M = …` a specification. So a reader sees at once what runs.", "batch_size = 16", "let batch_size = 16"),
  SLM2013: entry("a field that is not there", "Records have the fields they were made with, split data its parts, tokenizers a `size`, specifications and weights their parameters, reports their measures.", "model Big = Llama(vocab: words.length, dim: 64, depth: 2, heads: 4)", "model Big = Llama(vocab: words.size, dim: 64, depth: 2, heads: 4)"),
  SLM2014: entry("a parameter that is not there", "A call, a `with` and the fields of a stage take the parameters that the definition lists, by these names.", "tokens = book |> encode(words) |> pack(len: 64)", "tokens = book |> encode(words) |> pack(length: 64)"),
  SLM2015: entry("something that is missing", "A parameter without a default must be given.", "words = bpe(book)", "words = bpe(book, size: 1024)"),
  SLM2016: entry("too many arguments", "A call gives each parameter one value.", "let third = sqrt(1.0, 3.0)", "let third = sqrt(3.0)"),
  SLM2017: entry("something that is given twice", "Each argument and each field has one value.", "words = bpe(book, size: 512, size: 1024)", "words = bpe(book, size: 1024)"),
  SLM2018: entry("a type that does not exist", "The types are listed in chapter 3 of the specification: `int`, `float`, `bool`, `string`, `record`, `function`, `schedule`, tensors such as `float[B, T, dim]`, and what stages and definitions yield: `Rows`, `Tokens`, `Tokenizer`, `Model`, `Weights`, `Loss`, `Optimizer`, …", "fn double(x: integer) -> int = 2 * x", "fn double(x: int) -> int = 2 * x"),
  SLM2019: entry("a module of the web without its hash", "What an address holds may change from one day to the next. `sha256:…` behind the address says which text is meant, so that the recipe means the same everywhere and nobody can change it behind your back. `slm check --allow-net RECIPE` fetches the module and shows its hash.",
    "use \"https://example.org/npc.slm\" { Voice }", `use "https://example.org/npc.slm" sha256:${"0".repeat(64)} { Voice }`),
  SLM2020: entry("a module that is not what its hash says", "The text that was found has another hash than the one behind the module's name: it was changed, or the hash belongs to something else. Look at the text before you take the new hash over.", null, `use "./npc.slm" sha256:${"0".repeat(64)} { Voice }`),
  SLM2021: entry("two versions of one module", "In all of a program a module has one hash, and a library of the web one version, whichever module uses it: two versions of a layer would be two layers of one name. A version is what looks like one in the address: `v2`, `1.4.0`, `name@3`, a commit.", null, `use "https://example.org/npc@1/a.slm" sha256:${"0".repeat(64)} { Voice }`),
  SLM2022: entry("a module of the web that is not here", "Nothing is fetched unless you say so. With `--allow-net` the module is fetched once, compared with its hash and kept; from then on no network is needed. It must answer within seconds, be no larger than a recipe may be, and come by `https://` all the way.", null, "slm run recipe.slm --allow-net"),
  SLM2023: entry("an address that is not fetched", "Modules come from files below the recipe's folder or from `https://` addresses without a name or a password in them.", "use \"http://example.org/npc.slm\" { Voice }", `use "https://example.org/npc.slm" sha256:${"0".repeat(64)} { Voice }`),
  SLM2024: entry("a module that cannot be brought along", "`module NAME \"\"\"…\"\"\"` brings the text of a module along, under the name by which the recipe uses it: a name of the library, a path below the recipe's folder, or an `https://` address. `slm bundle` writes such items. Only the recipe itself has them.", "module my.layers \"\"\"\nfn half(x: int) -> float = x / 2.0\n\"\"\"", "use \"./my.slm\" { half }\nlet h = half(3)\nmodule \"./my.slm\" \"\"\"\nfn half(x: int) -> float = x / 2.0\n\"\"\""),
  SLM2025: entry("a primitive that slm does not have", "Primitives are what slm itself computes. They are declared in its library, and nowhere else: a recipe can neither add one nor declare one otherwise. A recipe that brings its library along fits the versions of slm that have the same primitives.",
    "primitive fn half(x: float) -> float", "fn half(x: float) -> float = x / 2"),
}

const types: Readonly<Record<string, CodePage>> = {
  SLM2110: entry("a value of the wrong type", "A parameter takes values of its declared type. An integer is accepted where a number is expected, a number where a schedule is expected; nothing else is converted.", "words = bpe(book, size: \"large\")", "words = bpe(book, size: 1024)"),
  SLM2111: entry("a word that is not one of the choices", "Where a parameter lists words (`by: paragraph | line | file`), one of them is written, without quotes.", "book = text(\"moby.txt\") |> documents(by: paragraf)", "book = text(\"moby.txt\") |> documents(by: paragraph)"),
  SLM2112: entry("an operator between the wrong values", "Arithmetic takes numbers and tensors; quantities of one unit can be added; losses can be added, and scaled by numbers; shares of data can be added (`80% prose + 20% poems`). Texts are put together by `\"{a}{b}\"`.", "let name = \"model\" + 3", "let name = \"model{3}\""),
  SLM2113: entry("an integer division with a remainder", "Sizes are integers, and a size that is a quotient must come out even: rounding would hide the mistake. For a fraction, write one of the numbers with a point.", "let half = 7 / 2", "let half = 7.0 / 2"),
  SLM2114: entry("a part that is no layer", "`part` makes an instance, with weights of its own, of a specification (`Linear(8, 8)`), of a list or record of them, or shares an instance that exists. Values are named by `let`.", "layer Twice(dim: int) {\n  part size = 2 * dim\n  forward(x: float[B, dim]) = x\n}", "layer Twice(dim: int) {\n  part map = Linear(dim, dim)\n  forward(x: float[B, dim]) -> float[B, dim] = map(x)\n}"),
  SLM2115: entry("a value that cannot be called", "Functions, parts and trained weights can be called. A specification has no weights: it must become a `part` first.", "let size = 3\nlet twice = size(2)", "let size = 3\nlet twice = 2 * size"),
  SLM2116: entry("an item that a list does not have", "Lists start at 0.", "let sizes = [64, 96]\nlet last = sizes[2]", "let sizes = [64, 96]\nlet last = sizes[1]"),
  SLM2117: entry("data that is not ready for this stage", "A stage reads one part of split data: `tokens.train`, `tokens.valid` or `tokens.test`. Training and evaluation read rows of one length, which `pack` makes.", "teacher = train Big { data: tokens, … }", "teacher = train Big { data: tokens.train, … }"),
}

const meaning: Readonly<Record<string, CodePage>> = {
  SLM2200: entry("a requirement that does not hold", "Definitions state what their parameters must satisfy with `require`. It is decided where the definition is used, as soon as the values are known.", "model Big = Llama(vocab: 512, dim: 100, depth: 2, heads: 8)", "model Big = Llama(vocab: 512, dim: 96, depth: 2, heads: 8)"),
  SLM2201: entry("an address that matches nothing", "Addresses are paths of parts and weights (`blocks[*].attn.{q, v}`). One that matches nothing is a mistake: what it should have frozen or replaced would be left as it is.", "freeze: [blocks[*].attention]", "freeze: [blocks[*].attn]"),
  SLM2202: entry("an option without effect", "An option that changes nothing is a misunderstanding: `keep: best` without `valid` data, `top_k` at temperature 0, parts that no loss uses.", "keep: best", "keep: best\nvalid: tokens.valid"),
  SLM2203: entry("alternatives, of which exactly one is needed", "Training lasts `steps`, `epochs` or `tokens`, and trains a model or `roles`. A mixture or curriculum draws from several sources, so it has no epochs.", "steps: 600\nepochs: 2", "steps: 600"),
  SLM2204: entry("a stage of a curriculum that is never reached", "Stages end at rising steps; the last one, and only the last, goes on to the end. A training must be long enough to come to it.", "stage warm { mix: prose }\nstage full { mix: poems }", "stage warm { until: 200 steps, mix: prose }\nstage full { mix: poems }"),
  SLM2205: entry("a layer without forward, a model without logits", "A layer says what it computes in `forward`. A model returns a record in which `logits` is the prediction; other outputs may stand beside it.", "forward(x: float[B, T, dim]) = head(x)", "forward(x: float[B, T, dim]) = { logits: head(x) }"),
  SLM2206: entry("an address in the wrong place", "`blocks[*]` and `attn.{q, v}` stand for many things. They are written in `freeze`, `keep`, `with { at … }` and the maps of a format, not in calculations.", "let all = sizes[*]", "freeze: [blocks[*].mlp]"),
  SLM2207: entry("a loss function that returns no loss", "A loss is a sum of means, so that accumulation over micro-batches is exact. `average(values, counts)` makes one of a tensor. The default loss is the cross entropy of `out.logits` against `batch.labels`.", "loss: (out, batch) => token_loss(out.logits, batch.labels)", "loss: (out, batch) => average(token_loss(out.logits, batch.labels))"),
  SLM2208: entry("an optimiser that returns the wrong thing", "`update(p, g, step)` returns a record with the new value of `p` and of every state, each of the shape it had. A transform of gradients returns a list of as many gradients.", "update(p, g, step) { p - lr(step) * g }", "update(p, g, step) { { p: p - lr(step) * g } }"),
  SLM2209: entry("a weight that the loss does not reach", "Every weight that is trained has a gradient: what the loss does not depend on learns nothing, in silence. Freeze it, leave it out of the model, or let the loss use it; `unused: allow` in a `train` says that it is meant. Only smooth ways count: nothing flows through `stop_gradient`, comparisons, `argmax` or a trained model that is called in the loss.",
    "loss: (out, batch) => average(out.hidden[0] * out.hidden[0])", "freeze: [blocks, head]\nloss: (out, batch) => average(out.hidden[0] * out.hidden[0])"),
  SLM2210: entry("no format for a model", "A `format` says how the weights of a model are called in the files of other programs. The library has formats for its own models; a model of your own needs one.", null, "format gguf_mine for Mine {\n  gguf { architecture: \"llama\" }\n  map embed.weight => \"token_embd.weight\"\n}"),
  SLM2213: entry("a place that cannot be written to", "Exports are written below the output folder of the run and nowhere else, each to a place of its own. Paths are written with `/` and do not begin with it.", "export pocket { gguf: \"../pocket.gguf\" }", "export pocket { gguf: \"pocket.gguf\" }"),
  SLM2214: entry("a weight that nothing starts", "`with` on weights makes weights of the changed model. Each of its weights is the one of the same path and shape, or is given by a replacement: `at PATH: w => …` computes it, `at PART: base => …` puts another part there, whose new weights start as its layer says.",
    "wide = small with { hidden: 2 * small.hidden }", "wide = small with {\n  hidden: 2 * small.hidden\n  at blocks[*].mlp.{gate, up}.weight: w => concat([w, w], axis: 0)\n  at blocks[*].mlp.down.weight: w => concat([w, w]) / 2\n}"),
  SLM2215: entry("a rule on weights that are stored as codes", "Codes stand for the numbers of a grid; what is computed from them is not on it. Frozen parts keep their codes (LoRA on int4 weights), but merging an adapter, scaling or cutting needs numbers.",
    "merged = merge(tuned, [blocks[*].attn.q])  // the base is int4", "merged = merge(dequantize(tuned), [blocks[*].attn.q])"),
  SLM2216: entry("an algorithm of the host in a graph", "`cholesky`, `solve` and `sort` work on numbers in f64, on the host. They stand in rules on weights, which run once: `with { at … : w => … }`, `rewrite` and the methods of `quantize`; a model or a loss runs on the device.",
    "loss: (out, batch) => average(sort(out.logits))", "thin = rewrite(small, by: (w, seen) => where(abs(w) >= slice(sort(abs(w)), from: 8, to: 9), w, 0.0))"),
  SLM2212: entry("an example that does not hold", "An `example` states what a definition yields. What does not depend on tensors is decided when the recipe is checked.", "fn double(x: int) -> int = 2 * x\nexample double { expect double(3) == 5 }", "fn double(x: int) -> int = 2 * x\nexample double { expect double(3) == 6 }"),
  SLM2211: entry("a format that leaves out weights", "Every weight of the model has a line in the format; otherwise an export would lose it.", null, "map head.weight => \"lm_head.weight\" when not tie"),
}

const units: Readonly<Record<string, CodePage>> = {
  SLM2300: entry("a unit that is missing or wrong", "A parameter that counts something takes its unit: `16 sequences`, `1M tokens`. Where the parameter is called like the unit (`steps: 600`), the number alone will do.", "batch: 16", "batch: 16 sequences"),
  SLM2301: entry("a setting of an unknown parameter", "`--set name=value` sets a `param` of the recipe.", null, "param lr = 3e-3"),
  SLM2302: entry("a setting that does not fit", "The value on the command line has the type of the `param`: a number for a number, a word for a word.", null, "slm run recipe.slm --set lr=1e-3"),
  SLM2303: entry("a number out of its range", "Sizes are at least 1, shares lie between 0% and 100%, mixtures add up to 100%, integers stay below 2^53.", "book = text(\"moby.txt\") |> split(valid: 120%)", "book = text(\"moby.txt\") |> split(valid: 10%)"),
}

const bounds: Readonly<Record<string, CodePage>> = {
  SLM2400: entry("an evaluation that takes too long", "Evaluation is bounded, so that a stranger's recipe cannot hang the checker: lists have at most 100,000 items, texts a million characters, and a check evaluates at most a million expressions.", "let many = [i * j for i in 0..1000000]", "let many = [i * i for i in 0..1000]"),
  SLM2401: entry("an evaluation that is nested too deeply", "Expressions may be inside of each other 600 deep, where a call counts as three.", null, "let a = 1 + 2\nlet b = a + 3"),
}

export const checkCodes: Readonly<Record<string, CodePage>> = { ...names, ...types, ...meaning, ...units, ...bounds }
