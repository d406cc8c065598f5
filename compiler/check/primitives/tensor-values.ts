import type { Span } from "../../../grammar/diagnostic.ts"
import type { Builder } from "../../graph/builder.ts"
import type { DType, Node } from "../../graph/node.ts"
import { cast, fill } from "../../graph/ops.ts"
import type { Machine } from "../machine.ts"
import { tensor } from "../make.ts"
import type { CallSite, TensorValue, Value } from "../value.ts"

/** A number that is not a tensor: known at compile time, or as soon as its stages have run. */
export type Scalar = Extract<Value, { kind: "int" | "float" | "bool" }>
/** What arithmetic on tensors takes. */
export type Operand = TensorValue | Scalar
export type Args = ReadonlyMap<string, Value>

export function isScalar(value: Value): value is Scalar {
  return value.kind === "int" || value.kind === "float" || value.kind === "bool"
}

export function isOperand(value: Value): value is Operand {
  return value.kind === "tensor" || isScalar(value)
}

/** The argument of that name. The evaluator binds every parameter, so that its absence is a bug of ours. */
export function arg(args: Args, name: string): Value {
  const value = args.get(name)
  if (value === undefined) throw new Error(`primitive: argument ${name} is not bound`)
  return value
}

/** Where the argument of that name was written, or the call. */
export function argSpan(site: CallSite, name: string): Span {
  return site.args.get(name) ?? site.span
}

/** The number, when it is known. */
export function numberOf(value: Value, ctx: Machine): number | null {
  if (value.kind === "int") return ctx.known(value.poly)
  if (value.kind === "float") return value.value
  if (value.kind === "bool") return value.value === null ? null : Number(value.value)
  if (value.kind === "quantity") return value.value
  return null
}

/** The number while lowering, when all numbers are known. */
export function lowNumber(value: Value, ctx: Machine): number {
  const n = numberOf(value, ctx)
  if (n === null) throw new Error(`lowering ${ctx.path || "(top)"}: a value of kind ${value.kind} is not known`)
  return n
}

/** The graph node while lowering, made by `make` under the path of the instance; null while checking. */
export function lowered(ctx: Machine, make: (b: Builder) => Node): Node | null {
  const low = ctx.lowering
  return low === null ? null : low.builder.at(ctx.path, () => make(low.builder))
}

/** The node of a tensor while lowering. */
export function nodeOf(x: TensorValue, ctx: Machine): Node {
  if (x.node === null) throw new Error(`lowering ${ctx.path || "(top)"}: a tensor has no node`)
  return x.node
}

/** The node of an operand in the wanted type; a number is a fill without axes. */
export function operandNode(x: Operand, dtype: DType, b: Builder, ctx: Machine): Node {
  return x.kind === "tensor" ? cast(b, nodeOf(x, ctx), dtype) : fill(b, lowNumber(x, ctx), [], dtype)
}

export function dtypeOf(x: Operand): DType {
  return x.kind === "tensor" ? x.dtype : x.kind === "int" ? "i32" : x.kind === "float" ? "f32" : "bool"
}

/** The type in which operands meet: bool < int < float. */
export function commonType(...xs: readonly Operand[]): DType {
  const types = xs.map(dtypeOf)
  return types.includes("f32") ? "f32" : types.includes("i32") ? "i32" : "bool"
}

/** The same tensor in another type; a number becomes a tensor without axes. */
export function converted(x: Operand, dtype: DType, ctx: Machine): TensorValue {
  if (x.kind === "tensor" && x.dtype === dtype) return x
  return tensor(dtype, x.kind === "tensor" ? x.shape : [], lowered(ctx, (b) => operandNode(x, dtype, b, ctx)), x.origin)
}
