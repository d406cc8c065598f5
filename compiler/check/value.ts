import type {
  Curriculum, Definition, Encoding, Expr, Fn, Format, Ident, LambdaExpr, Optimizer, Parameter,
} from "../../grammar/ast.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import type { Builder } from "../graph/builder.ts"
import type { Host } from "../graph/host.ts"
import type { DType, Node } from "../graph/node.ts"
import type { Stage } from "../plan/stage.ts"
import type { Machine } from "./machine.ts"
import type { Poly } from "./poly.ts"
import type { Reach } from "./reach.ts"

/**
 * What an expression means. Checking is evaluation over values of which some are not known yet: the same evaluator
 * checks a definition (parameters are symbols), checks a recipe (stage results are named unknowns) and lowers a stage
 * (everything is known and tensors carry graph nodes).
 */
export type Value =
  | IntValue | FloatValue | BoolValue | StringValue | NoneValue | SymbolValue | QuantityValue | ListValue | RecordValue
  | ClosureValue | PrimitiveValue | DefinitionValue | TemplateValue | SpecValue | InstanceValue | OptimizerValue | CurriculumValue | FormatValue
  | EncodingValue | TensorValue | LossValue | MaskValue | InitValue | ArtifactValue | MixValue | AddressValue | UnknownValue | ErrorValue

/** Where a value came from, for secondary labels: `vocab 2048 (from `words`, line 9)`. */
interface Traced { readonly origin: Span | null }

/** An integer as a polynomial over named unknowns; known when constant (or when facts resolve all its atoms). */
export interface IntValue extends Traced { readonly kind: "int"; readonly poly: Poly }
/** `null`: known only after the stages in `pending`, or a symbol of a definition under check. */
export interface FloatValue extends Traced { readonly kind: "float"; readonly value: number | null; readonly pending: readonly Stage[] }
export interface BoolValue extends Traced { readonly kind: "bool"; readonly value: boolean | null; readonly pending: readonly Stage[] }
export interface StringValue extends Traced { readonly kind: "string"; readonly value: string | null }
export interface NoneValue extends Traced { readonly kind: "none" }
/** A bare word of a `a | b` type: `paragraph`. */
export interface SymbolValue extends Traced { readonly kind: "symbol"; readonly name: string }
/** `200 steps`, `2 MB`. `%` becomes a float at once and never a quantity. */
export interface QuantityValue extends Traced { readonly kind: "quantity"; readonly value: number; readonly unit: string }
/** `count`: the length is not known yet; the only item stands for all (a definition is being checked). */
export interface ListValue extends Traced { readonly kind: "list"; readonly items: readonly Value[]; readonly count?: Poly }
export interface RecordValue extends Traced { readonly kind: "record"; readonly fields: ReadonlyMap<string, Value> }

/** A function of the language with the names it was made under. */
export interface ClosureValue extends Traced {
  readonly kind: "closure"
  readonly name: string | null
  readonly code: Fn | LambdaExpr
  readonly scope: Scope
}
export interface PrimitiveValue extends Traced { readonly kind: "primitive"; readonly name: string; readonly code: Fn }

/** `adamw`: an optimiser, curriculum or encoding, not yet called. */
export interface DefinitionValue extends Traced { readonly kind: "definition"; readonly code: Optimizer | Curriculum | Encoding; readonly scope: Scope }

/** `Linear`: a definition, not yet applied. */
export interface TemplateValue extends Traced { readonly kind: "template"; readonly code: Definition; readonly scope: Scope }
/** `Linear(8, 8)`: a specification; makes an instance when it becomes a part or a role. */
export interface SpecValue extends Traced {
  readonly kind: "spec"
  readonly name: string // the recipe's name (`Big`) or the template's
  readonly template: TemplateValue
  readonly args: ReadonlyMap<string, Value> // as given, before defaults, so that `with` can follow dependents
  readonly ats: readonly Replacement[]
  /** The trained instance whose weights, and parts replaced earlier, it goes on from. */
  readonly given?: InstanceValue
}
/** `at ADDRESS: replace`. Where the address binds indices (`blocks[i]`), `replace` is a function of them that yields what is meant. */
export interface Replacement { readonly address: AddressValue; readonly replace: Value }
/** An instance at a path, with its weights and parts. Sharing an instance shares its weights. */
export interface InstanceValue extends Traced {
  readonly kind: "instance"
  readonly path: string // "" for a role itself; `blocks[2].attn.q`
  readonly role: string // `model`, `teacher`: prefix of its weights' state names
  readonly spec: SpecValue
  readonly args: ReadonlyMap<string, Value> // with defaults
  readonly members: ReadonlyMap<string, Value> // weights as tensors, parts as instances or lists of them, lets
  readonly weights: ReadonlyMap<string, WeightInfo> // of those members that are weights
  readonly scope: Scope // args and members, for forward
  /** The specification that its definition has in this place, before `with { at … }` put another there. */
  readonly declared?: SpecValue
  /** Part of the result of a stage (`teacher.blocks[2]`): evaluated as it was trained, never updated. */
  readonly trained?: ArtifactValue
}

/** One trainable tensor of an instance. */
export interface WeightInfo {
  readonly path: string // `blocks[2].attn.q.weight`, without the role
  readonly shape: readonly Dim[]
  readonly dtype: DType
  readonly init: InitValue
  readonly span: Span
  /** Where it starts, if not from `init`. */
  readonly start?: WeightStart
}
export type WeightStart =
  /** As it is stored there, codes included. */
  | { readonly is: "taken"; readonly from: ArtifactValue; readonly path: string }
  /** What `rule` makes of another start, on the host; or the tensor that it is. */
  | { readonly is: "computed"; readonly rule: Rule; readonly of: WeightInfo; readonly span: Span }
/** A function of the start before, or the tensor itself; `of` indices where there are some. */
export interface Rule { readonly replace: Value; readonly indices: readonly number[] | null }

export interface OptimizerValue extends Traced {
  readonly kind: "optimizer"
  readonly code: Optimizer
  readonly args: ReadonlyMap<string, Value>
  readonly scope: Scope
  /** Closures over the list of all gradients, applied in order before the updates. */
  readonly transforms: readonly Value[]
}
export interface CurriculumValue extends Traced { readonly kind: "curriculum"; readonly code: Curriculum; readonly scope: Scope }
export interface FormatValue extends Traced { readonly kind: "format"; readonly code: Format; readonly scope: Scope }
export interface EncodingValue extends Traced {
  readonly kind: "encoding"
  readonly code: Encoding
  readonly args: ReadonlyMap<string, Value>
  readonly scope: Scope
}

/** One axis: its size, and the place that fixed it. */
export interface Dim { readonly size: Poly; readonly origin: Span | null }

/** A tensor. While checking `node` is null; while lowering it is the graph node and all sizes are known. */
export interface TensorValue extends Traced {
  readonly kind: "tensor"
  readonly dtype: DType
  readonly shape: readonly Dim[]
  /** Of `ids(vocab)`: entries are below this. */
  readonly vocab: Dim | null
  readonly node: Node | null
  /** The weights it depends on with a gradient, while nothing is lowered. */
  readonly reach?: Reach
}

/**
 * A linear combination of means: sum over terms of weight * (sum / count). Kept apart so that accumulation over
 * micro-batches adds sums and counts and divides once. Scaling by numbers and adding keep the form.
 */
export interface LossValue extends Traced {
  readonly kind: "loss"
  readonly terms: readonly { readonly weight: Value; readonly sum: TensorValue; readonly count: TensorValue }[]
}

/** What may attend to what; `&` of two masks allows what both allow. */
export interface MaskValue extends Traced {
  readonly kind: "mask"
  readonly causal: boolean
  readonly window: Value | null // int
  readonly segments: { readonly query: TensorValue; readonly key: TensorValue } | null
}

/** How a weight starts: made on the host from counter-based randomness. */
export interface InitValue extends Traced {
  readonly kind: "init"
  readonly how: "zeros" | "ones" | "constant" | "normal" | "uniform" | "identity"
  readonly a: number // constant value, std, or half-width
}

/** The (future) result of a stage, or a member of it (`book.train`, `pair.gen`). */
export interface ArtifactValue extends Traced {
  readonly kind: "artifact"
  readonly stage: Stage
  readonly member: string | null
  readonly type: ArtifactType
}
export type ArtifactType =
  /** Typed rows before tokenisation; `text` documents have one field `text`. `parts`: has members train/valid/test. */
  | { readonly is: "rows"; readonly fields: ReadonlyMap<string, RowType>; readonly parts: readonly string[] | null }
  | { readonly is: "tokenizer" }
  /** Token streams (`length` null) or packed rows of `length` predictions. */
  | {
      readonly is: "tokens"; readonly tokenizer: ArtifactValue; readonly length: Value | null; readonly parts: readonly string[] | null
      readonly labels: string | null // name of the class field carried along, if any
      /** What `beside` has put beside each row, by its path in `row` (`taught.ids`). */
      readonly fields: RowFields
    }
  | { readonly is: "weights"; readonly spec: SpecValue; readonly encodings: readonly EncodingValue[]; readonly tokenizer: ArtifactValue | null }
  /** Several roles trained together; each member is `weights`. */
  | { readonly is: "roles"; readonly roles: ReadonlyMap<string, ArtifactValue> }
  | { readonly is: "report"; readonly fields: readonly string[] } // floats, known once the stage has run
  | { readonly is: "samples" }
  /** What was gathered over data, by path and field (`blocks[0].mlp.up.second`); `spec`: of the model that it is about. */
  | { readonly is: "statistics"; readonly spec: SpecValue | null; readonly tensors: ReadonlyMap<string, readonly Dim[]> }
  | { readonly is: "difficulty" } // a number per document
  /** Tensors for each row of `of`. */
  | { readonly is: "notes"; readonly fields: RowFields; readonly of: ArtifactValue }
/** A tensor for each row, without the axis of the batch. */
export interface RowField { readonly dtype: DType; readonly shape: readonly Dim[]; readonly vocab: Dim | null }
export type RowFields = ReadonlyMap<string, RowField>
export type RowType = "string" | "int" | "float" | "chat" | { readonly classes: readonly string[] | null }

/** `80% prose + 20% poems`, `easiest(prose, 30%)`: a weighted choice of token sets, before it becomes data of a stage. */
export interface MixValue extends Traced {
  readonly kind: "mix"
  readonly items: readonly { readonly share: Value; readonly data: ArtifactValue; readonly easiest: Value | null }[]
}

/** `blocks[*].attn.{q, v}`, normalised to alternatives of segments. */
export interface AddressValue extends Traced {
  readonly kind: "address"
  readonly segments: readonly AddressSegment[]
  readonly text: string
}
export type AddressSegment =
  | { readonly is: "names"; readonly names: readonly string[] }
  | { readonly is: "index"; readonly from: number; readonly to: number | null } // [2], [0..4]
  | { readonly is: "any" } // [*]
  | { readonly is: "bind"; readonly name: string } // [i] in a format

/** A value of a known type but unknown content (a parameter of a definition under check). */
export interface UnknownValue extends Traced { readonly kind: "unknown"; readonly type: string }
/** A mistake was reported here; everything computed from it is silent. */
export interface ErrorValue extends Traced { readonly kind: "error" }

/** Lexical names; immutable, inner to outer. */
export interface Scope {
  readonly names: ReadonlyMap<string, Value>
  readonly outer: Scope | null
  readonly module: string
}

// ---------------------------------------------------------------- primitives

/** The sources of randomness and mode while a stage is lowered. */
export interface LoweringContext {
  readonly builder: Builder
  /** Where nodes have their numbers at once; without it a graph is made. */
  readonly host?: Host
  readonly training: boolean
  readonly seed: Node // i32[]
  readonly step: Node // i32[], 1, 2, …
  readonly rows: Node | null // i32[B]: global sample index
  /** The graph node that holds a weight: made on first use as a `state` input named `role.path`. */
  weight(role: string, info: WeightInfo): Node
}

/** The place of a call and of each bound argument. */
export interface CallSite {
  readonly span: Span
  readonly callee: Span
  readonly args: ReadonlyMap<string, Span>
}

/** The meaning of one `primitive fn`: arguments arrive bound, defaulted and coerced to the declared types. */
export type Primitive = (args: ReadonlyMap<string, Value>, site: CallSite, ctx: Machine) => Value

export type { Expr, Ident, Parameter }
