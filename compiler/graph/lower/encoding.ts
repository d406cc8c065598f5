/** An `encoding` as programs: from the rows of a weight to codes and scales, and back. */
import { evaluate } from "../../check/evaluate.ts"
import { record } from "../../check/make.ts"
import { createMachine } from "../../check/machine.ts"
import { inner } from "../../check/scopes.ts"
import type { Session } from "../../check/session.ts"
import type { EncodingValue, Value } from "../../check/value.ts"
import type { Diagnostic } from "../../../grammar/diagnostic.ts"
import type { DType, Program, Shape } from "../node.ts"
import { size } from "../node.ts"
import * as g from "../ops.ts"
import { createLowering, lowered, mistakeIn, nodeOf, programOf, tensorOf } from "./context.ts"

/** Weights of any rank are encoded as the rows of their last axis. */
export function rowsOf(shape: Shape): Shape {
  const width = shape.at(-1) ?? 1
  return [size(shape) / width, width]
}

/** The exact layout that keeps the codes: `gguf.q8_0`, `int4(group=32)`. */
export function storeOf(session: Session, encoding: EncodingValue): string {
  const field = encoding.code.fields.find((f) => f.name.name === "store")
  const value = field === undefined ? null : evaluate(field.value, encoding.scope, createMachine(session))
  return value?.kind === "string" && value.value !== null ? value.value : encoding.code.name.name
}

/** `w [n, k]` -> the tensors that `encode` returns, by name; or why a weight of this shape cannot be encoded. */
export function lowerEncode(session: Session, encoding: EncodingValue, shape: Shape): Program | Diagnostic {
  const { machine, b } = createLowering(session, { training: false, rows: null })
  const [param] = encoding.code.encode.params
  const w = tensorOf(b.input("w", "batch", "f32", rowsOf(shape)))
  const scope = inner(encoding.scope, [[param?.name.name ?? "w", w], ["N", tensorSize(w, 0)], ["K", tensorSize(w, 1)]])
  const value = evaluate(encoding.code.encode.body, scope, machine)
  const fields = value.kind === "record" ? [...value.fields.values()] : []
  const mistake = [value, ...fields].map((part) => mistakeIn(part, machine)).find((found) => found !== null)
  if (mistake !== undefined) return mistake
  if (value.kind !== "record") throw new Error(`lower: \`encode\` of ${encoding.code.name.name} yields a ${value.kind}, not a record`)
  return programOf(`encode ${encoding.code.name.name}`, [...value.fields].map(([name, field]) => ({ name, node: nodeOf(field, machine) })))
}

/** The tensors by name -> `w` with the shape of the weight. */
export function lowerDecode(session: Session, encoding: EncodingValue, shape: Shape, parts: ReadonlyMap<string, { readonly shape: Shape; readonly dtype: DType }>): Program {
  const { machine, b } = createLowering(session, { training: false, rows: null })
  const [param] = encoding.code.decode.params
  const given = record(new Map<string, Value>([...parts].map(([name, part]) => [name, tensorOf(g.cast(b, b.input(name, "batch", part.dtype, part.shape), "f32"))])))
  const value = lowered(evaluate(encoding.code.decode.body, inner(encoding.scope, [[param?.name.name ?? "c", given]]), machine), machine)
  return programOf(`decode ${encoding.code.name.name}`, [{ name: "w", node: g.reshape(b, nodeOf(value, machine), shape) }])
}

function tensorSize(value: Value, axis: number): Value {
  const dim = value.kind === "tensor" ? value.shape[axis] : undefined
  if (dim === undefined) throw new Error("lower: a weight of an encoding has two axes")
  return { kind: "int", poly: dim.size, origin: null }
}
