import type { Span } from "./diagnostic.ts"

/**
 * The syntax tree. Plain frozen data; every node has a span. Comments that are not documentation
 * are kept beside the tree (`Module.comments`) for the printer alone.
 */
export interface Module {
  readonly kind: "module"
  readonly span: Span
  readonly doc: string | null // `//!` lines, joined by newlines
  readonly items: readonly Item[]
  readonly comments: readonly Comment[]
}

export interface Comment {
  readonly span: Span
  readonly text: string // with its `//`
  readonly ownLine: boolean // false: it trails code on its line
}

export interface Ident {
  readonly name: string
  readonly span: Span
}

// ---------------------------------------------------------------- items

export type Item =
  | Use | Param | Bind | Fn | Definition | Optimizer | Curriculum | Format | Encoding | Expect | ExportItem | Example | Carried | LockItem

/** `use std.models { Llama, GPT as Gpt2 }`, `use "./my.slm" { f }`, `use "https://…" sha256:… { f }`. */
export interface Use {
  readonly kind: "use"
  readonly span: Span
  readonly module: string // `std.models` or the text of the string
  readonly moduleSpan: Span
  readonly isPath: boolean
  readonly sha256: string | null
  readonly names: readonly { readonly name: Ident; readonly as: Ident | null }[]
}

/** A module that the recipe brings along: `module std.layers """…"""`, `module "./my.slm" """…"""`. */
export interface Carried {
  readonly kind: "carried"
  readonly span: Span
  readonly module: string
  readonly moduleSpan: Span
  readonly isPath: boolean
  readonly text: StringLit
}

/** The lock that the recipe brings along: `lock """…"""`. */
export interface LockItem {
  readonly kind: "lock"
  readonly span: Span
  readonly text: StringLit
}

/** Recipe parameter, settable from outside: `param lr: float = 3e-3`. */
export interface Param {
  readonly kind: "param"
  readonly span: Span
  readonly doc: string | null
  readonly name: Ident
  readonly type: TypeExpr | null
  readonly value: Expr
}

/** `x = …` names what a stage yields; `let f = …` names a value; `model M = …` names a specification. */
export interface Bind {
  readonly kind: "bind"
  readonly span: Span
  readonly doc: string | null
  readonly form: "artifact" | "let" | "model"
  readonly name: Ident
  readonly value: Expr
}

/** `fn f(x: int, y: int = x) -> int = x + y`, `fn f(x: int) -> int { let … … }`; `primitive fn …` has no body. */
export interface Fn {
  readonly kind: "fn"
  readonly span: Span
  readonly doc: string | null
  readonly primitive: boolean
  readonly name: Ident
  readonly params: readonly Parameter[]
  readonly returns: TypeExpr | null
  readonly body: Expr | null // null exactly where `primitive`
}

export interface Parameter {
  readonly name: Ident
  /** `...sizes: int` takes any further named arguments as a record. Only in `primitive fn`. */
  readonly rest: boolean
  readonly type: TypeExpr | null
  readonly default: Expr | null
  readonly span: Span
}

/** `layer L(...) { ... }` and `model M(...) { ... }`: templates; a model is a layer that stages accept. */
export interface Definition {
  readonly kind: "definition"
  readonly span: Span
  readonly doc: string | null
  readonly form: "layer" | "model"
  readonly name: Ident
  readonly params: readonly Parameter[]
  readonly members: readonly Member[]
}

export type Member = Require | Weight | Part | Forward | LetMember

/** `require heads % kv_heads == 0, "{heads} heads cannot share {kv_heads}"`. */
export interface Require {
  readonly kind: "require"
  readonly span: Span
  readonly condition: Expr
  readonly message: Expr | null // a string
}

/** A trainable tensor: `param weight: float[out, in] = normal(std: 0.02)`, optionally `... when bias`. Absent it is `none`. */
export interface Weight {
  readonly kind: "weight"
  readonly span: Span
  readonly doc: string | null
  readonly name: Ident
  readonly type: TypeExpr
  readonly init: Expr
  readonly when: Expr | null
}

/** `part q = Linear(dim, dim)`, `part blocks = repeat depth { Block(dim) }`, `... when cond`. */
export interface Part {
  readonly kind: "part"
  readonly span: Span
  readonly doc: string | null
  readonly name: Ident
  readonly value: Expr
  readonly when: Expr | null
}

/** `let inner = 4 * dim` among the members: a compile-time value. */
export interface LetMember {
  readonly kind: "let"
  readonly span: Span
  readonly name: Ident
  readonly value: Expr
}

export interface Forward {
  readonly kind: "forward"
  readonly span: Span
  readonly doc: string | null
  readonly params: readonly Parameter[]
  readonly returns: TypeExpr | null
  readonly body: Expr
}

/** `optimizer adamw(lr: schedule, …) { state m = zeros_like(p), v = … update(p, g, step) { … } }`. */
export interface Optimizer {
  readonly kind: "optimizer"
  readonly span: Span
  readonly doc: string | null
  readonly name: Ident
  readonly params: readonly Parameter[]
  readonly requires: readonly Require[]
  readonly states: readonly { readonly name: Ident; readonly init: Expr }[]
  readonly update: { readonly params: readonly Parameter[]; readonly body: Expr; readonly span: Span }
}

/** `curriculum easy_first(prose: Tokens) { difficulty: rarity(prose) stage warm { until: 200 steps, mix: … } }`. */
export interface Curriculum {
  readonly kind: "curriculum"
  readonly span: Span
  readonly doc: string | null
  readonly name: Ident
  readonly params: readonly Parameter[]
  readonly fields: readonly FieldExpr[]
  readonly stages: readonly { readonly name: Ident; readonly fields: readonly FieldExpr[]; readonly span: Span }[]
}

/**
 * A name map to a foreign layout:
 * `format hf_llama for Llama { config { hidden_size: dim } map blocks[i].attn.q.weight => "model.layers.{i}.self_attn.q_proj.weight" via transpose }`.
 * The parameters of the model are in scope, and the indices named on the left of `=>`.
 */
export interface Format {
  readonly kind: "format"
  readonly span: Span
  readonly doc: string | null
  readonly name: Ident
  readonly model: Ident
  /** Named blocks of metadata, in order: `config { … }`, `gguf { … }`. */
  readonly blocks: readonly { readonly name: Ident; readonly fields: readonly FieldExpr[]; readonly span: Span }[]
  readonly maps: readonly FormatMap[]
}

export interface FormatMap {
  readonly span: Span
  readonly ours: Expr // an address; free names in index position (`i`) are bound by it
  readonly theirs: Expr // a string with `{i}`
  readonly via: Expr | null // `transpose`, `rotary_pairs(heads) |> transpose`, `concat(axis: 0)`
  readonly when: Expr | null
}

/** How weights are stored: `encoding int4(group: int = 32) { store: "int4" encode(w) { … } decode(c) { … } }`. */
export interface Encoding {
  readonly kind: "encoding"
  readonly span: Span
  readonly doc: string | null
  readonly name: Ident
  readonly params: readonly Parameter[]
  readonly requires: readonly Require[]
  readonly fields: readonly FieldExpr[]
  readonly encode: { readonly params: readonly Parameter[]; readonly returns: TypeExpr | null; readonly body: Expr; readonly span: Span }
  readonly decode: { readonly params: readonly Parameter[]; readonly returns: TypeExpr | null; readonly body: Expr; readonly span: Span }
}

/** `expect perplexity(student, tokens.valid) < 20`. */
export interface Expect {
  readonly kind: "expect"
  readonly span: Span
  readonly condition: Expr
}

/** `export pocket { gguf: "pocket.gguf" }`. */
export interface ExportItem {
  readonly kind: "export"
  readonly span: Span
  readonly subject: Expr
  readonly fields: readonly FieldExpr[]
}

/** An asserted example of the definition above or named: `example rms_norm { let x = tensor([3, 4]) expect close(…) }`. */
export interface Example {
  readonly kind: "example"
  readonly span: Span
  readonly name: Ident
  readonly lets: readonly LetMember[]
  readonly expects: readonly Expect[]
}

// ---------------------------------------------------------------- expressions

export type Expr =
  | NumberLit | StringLit | BoolLit | NoneLit | Name | ListExpr | RecordExpr | BlockExpr | CallExpr | FieldAccess
  | IndexExpr | SelectExpr | UnaryExpr | BinaryExpr | IfExpr | LambdaExpr | PipeExpr | WithExpr | Comprehension
  | RepeatExpr | StageExpr | RangeExpr | Wildcard | MissingExpr

/** `4k` is `{ value: 4000, integer: true }`, `5%` is `{ value: 5, unit: "%" }`, `200 steps` has unit `steps`. */
export interface NumberLit {
  readonly kind: "number"
  readonly span: Span
  readonly value: number
  readonly integer: boolean
  readonly unit: string | null // "%" | "steps" | "tokens" | "sequences" | "epochs" | "documents" | "bytes" | "KB" | "MB" | "GB" | "ms" | "s" | "min" | "h"
  readonly text: string // the numeral as written, without its unit: `4k`, `3e-3`, `5`, for the printer
}

/** `"a {x} b"`: parts alternate freely; `{{` and `}}` are braces. */
export interface StringLit {
  readonly kind: "string"
  readonly span: Span
  readonly parts: readonly (string | Expr)[]
  /** Written as `"""…"""`; only the printer cares. */
  readonly raw?: true
}

export interface BoolLit { readonly kind: "bool"; readonly span: Span; readonly value: boolean }
export interface NoneLit { readonly kind: "none"; readonly span: Span }
export interface Name { readonly kind: "name"; readonly span: Span; readonly name: string }
export interface ListExpr { readonly kind: "list"; readonly span: Span; readonly items: readonly Expr[] }

/** `{ a: 1, b: 2 }`. Fields are separated by commas or line breaks. */
export interface RecordExpr { readonly kind: "record"; readonly span: Span; readonly fields: readonly FieldExpr[] }

export interface FieldExpr { readonly name: Ident; readonly value: Expr; readonly span: Span }

/** `{ let a = 1 let b = 2 a + b }`: the body of functions. */
export interface BlockExpr { readonly kind: "block"; readonly span: Span; readonly lets: readonly LetMember[]; readonly result: Expr }

export interface CallExpr {
  readonly kind: "call"
  readonly span: Span
  readonly callee: Expr
  readonly args: readonly Argument[]
}

export interface Argument { readonly name: Ident | null; readonly value: Expr; readonly span: Span }

export interface FieldAccess { readonly kind: "field"; readonly span: Span; readonly object: Expr; readonly name: Ident }
/** `blocks[2]`, `blocks[*]`, `blocks[0..4]`. */
export interface IndexExpr { readonly kind: "index"; readonly span: Span; readonly object: Expr; readonly index: Expr }
/** `attn.{q, v}`: addresses only. */
export interface SelectExpr { readonly kind: "select"; readonly span: Span; readonly object: Expr; readonly names: readonly Ident[] }
/** `*` inside an index: addresses only. */
export interface Wildcard { readonly kind: "wildcard"; readonly span: Span }

export interface UnaryExpr { readonly kind: "unary"; readonly span: Span; readonly op: "-" | "not"; readonly operand: Expr }

export type BinaryOp = "+" | "-" | "*" | "/" | "%" | "^" | "@" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or" | "&"
export interface BinaryExpr {
  readonly kind: "binary"
  readonly span: Span
  readonly op: BinaryOp
  readonly opSpan: Span
  readonly left: Expr
  readonly right: Expr
}

export interface IfExpr { readonly kind: "if"; readonly span: Span; readonly condition: Expr; readonly then: Expr; readonly else: Expr }

/** `(out, batch) => …`, `base => …`. */
export interface LambdaExpr { readonly kind: "lambda"; readonly span: Span; readonly params: readonly Ident[]; readonly body: Expr }

/** `x |> f(y)` means `f(x, y)`; `x |> f` means `f(x)`. */
export interface PipeExpr { readonly kind: "pipe"; readonly span: Span; readonly left: Expr; readonly right: Expr }

/** `Big with { dim: 96, at blocks[*].attn.q: base => LoRA(base, rank: 8) }`. */
export interface WithExpr {
  readonly kind: "with"
  readonly span: Span
  readonly base: Expr
  readonly fields: readonly FieldExpr[]
  readonly ats: readonly { readonly address: Expr; readonly value: Expr; readonly span: Span }[]
}

/** `[f(i) for i in 0..n if i % 2 == 0]`. */
export interface Comprehension {
  readonly kind: "comprehension"
  readonly span: Span
  readonly result: Expr
  readonly variable: Ident
  readonly over: Expr
  readonly condition: Expr | null
}

/** `repeat depth { Block(dim) }`, `repeat depth as i { Block(dim, index: i) }`: a list of instances. */
export interface RepeatExpr {
  readonly kind: "repeat"
  readonly span: Span
  readonly count: Expr
  readonly variable: Ident | null
  readonly body: Expr
}

/** `0..n`: from 0 up to, not including, n. */
export interface RangeExpr { readonly kind: "range"; readonly span: Span; readonly from: Expr; readonly to: Expr }

/** `train Big { … }`, `distill teacher into Small { … }`. `train { roles … }` has no subject. */
export type StageVerb = "train" | "distill" | "quantize" | "evaluate" | "generate" | "load" | "prune" | "merge" | "search"
export interface StageExpr {
  readonly kind: "stage"
  readonly span: Span
  readonly verb: StageVerb
  readonly verbSpan: Span
  readonly subject: Expr | null
  readonly into: Expr | null
  readonly fields: readonly FieldExpr[]
}

/** Where the parser had to go on without an expression; a diagnostic has been given. */
export interface MissingExpr { readonly kind: "missing"; readonly span: Span }

// ---------------------------------------------------------------- types

export type TypeExpr = NamedType | TensorType | OptionalType | ListType | RecordType | FunctionType | OneOfType

/** `int`, `float`, `schedule`, `Sequence[B, T]` (dims), `Tokens`. */
export interface NamedType { readonly kind: "named"; readonly span: Span; readonly name: string; readonly dims: readonly Expr[] | null }
/** `float[B, T, dim]`, `ids(vocab)[B, T]`, `bool[T]`, `float[.., dim]` (`..`: any leading axes, as Wildcard). */
export interface TensorType {
  readonly kind: "tensor"
  readonly span: Span
  readonly dtype: "float" | "int" | "bool" | "ids"
  readonly of: Expr | null // the vocabulary of `ids(vocab)`
  readonly dims: readonly Expr[]
}
export interface OptionalType { readonly kind: "optional"; readonly span: Span; readonly of: TypeExpr } // `int?`
export interface ListType { readonly kind: "list"; readonly span: Span; readonly of: TypeExpr } // `[int]`
export interface RecordType { readonly kind: "record"; readonly span: Span; readonly fields: readonly { readonly name: Ident; readonly type: TypeExpr }[] }
export interface FunctionType { readonly kind: "function"; readonly span: Span; readonly params: readonly TypeExpr[]; readonly returns: TypeExpr } // `(int, int) -> float`
/** `paragraph | line | file`: bare words, accepted where this type is expected. */
export interface OneOfType { readonly kind: "oneof"; readonly span: Span; readonly names: readonly Ident[] }
