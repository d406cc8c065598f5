/** Constructors of the values that primitives make most. */
import type { Span } from "../../grammar/diagnostic.ts"
import type { DType, Node } from "../graph/node.ts"
import type { Stage } from "../plan/stage.ts"
import type { Poly } from "./poly.ts"
import { constant } from "./poly.ts"
import type {
  BoolValue, Dim, ErrorValue, FloatValue, IntValue, ListValue, NoneValue, RecordValue, StringValue, SymbolValue, TensorValue, UnknownValue, Value,
} from "./value.ts"

export function int(value: number | Poly, origin: Span | null = null): IntValue {
  return { kind: "int", poly: typeof value === "number" ? constant(value) : value, origin }
}

/** `null`: known once the stages in `pending` have run, or never while a definition is checked. */
export function float(value: number | null, origin: Span | null = null, pending: readonly Stage[] = []): FloatValue {
  return { kind: "float", value, pending, origin }
}

export function bool(value: boolean | null, origin: Span | null = null, pending: readonly Stage[] = []): BoolValue {
  return { kind: "bool", value, pending, origin }
}

export function string(value: string | null, origin: Span | null = null): StringValue {
  return { kind: "string", value, origin }
}

export function word(name: string, origin: Span | null = null): SymbolValue {
  return { kind: "symbol", name, origin }
}

export const none: NoneValue = { kind: "none", origin: null }
/** A mistake has been reported; what is computed from it stays silent. */
export const error: ErrorValue = { kind: "error", origin: null }

export function unknown(type: string, origin: Span | null = null): UnknownValue {
  return { kind: "unknown", type, origin }
}

export function list(items: readonly Value[], origin: Span | null = null): ListValue {
  return { kind: "list", items, origin }
}

export function record(fields: ReadonlyMap<string, Value> | Readonly<Record<string, Value>>, origin: Span | null = null): RecordValue {
  return { kind: "record", fields: fields instanceof Map ? fields : new Map(Object.entries(fields)), origin }
}

export function dim(size: number | Poly, origin: Span | null = null): Dim {
  return { size: typeof size === "number" ? constant(size) : size, origin }
}

export function tensor(
  dtype: DType, shape: readonly Dim[], node: Node | null = null, origin: Span | null = null, vocab: Dim | null = null,
): TensorValue {
  return { kind: "tensor", dtype, shape, vocab, node, origin }
}
