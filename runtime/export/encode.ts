/**
 * Encodings at work: the `encode` and `decode` of the language, run by the reference interpreter on the host, in f32 and in one
 * order. What they yield does not depend on a device.
 */
import { axisNames } from "../../compiler/check/calls.ts"
import { evaluate } from "../../compiler/check/evaluate.ts"
import { inner } from "../../compiler/check/scopes.ts"
import type { Session } from "../../compiler/check/session.ts"
import { coerce } from "../../compiler/check/types.ts"
import type { Dim, EncodingValue, Value } from "../../compiler/check/value.ts"
import type { Encoding } from "../../grammar/ast.ts"
import { evaluate as interpret } from "../../compiler/graph/interpret.ts"
import { createLowering, nodeOf, tensorOf } from "../../compiler/graph/lower/context.ts"
import type { Lowering } from "../../compiler/graph/lower/context.ts"
import { record } from "../../compiler/check/make.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import type { Value as HostValue } from "../../compiler/graph/value.ts"
import { stored } from "../weights.ts"
import type { Decoder, StoredTensor } from "../weights.ts"
import { admit, fits, layoutOf } from "./layouts.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Problem, Result } from "./problem.ts"
import type { TensorData } from "./safetensors.ts"

/** The text of `store`, which names how codes are kept: `gguf.q4_0`, `int4(group=32)`. */
export function storeOf(encoding: EncodingValue, session: Session): string {
  const field = encoding.code.fields.find(({ name }) => name.name === "store")
  const value = field === undefined ? null : evaluate(field.value, encoding.scope, createLowering(session, { training: false, rows: null }).machine)
  if (value?.kind !== "string" || value.value === null) throw new Error(`encode: ${encoding.code.name.name} has no known store`)
  return value.value
}

/** Why a weight of this shape cannot be stored in the encoding; null where it can, or where only `encode` knows. */
export function encodable(encoding: EncodingValue, path: string, shape: Shape, session: Session): Problem | null {
  const layout = layoutOf(storeOf(encoding, session))
  return layout === null ? null : fits(layout, path, shape)
}

/** A weight of two or more axes on the grid of an encoding. Leading axes count as rows. */
export function encodeTensor(encoding: EncodingValue, path: string, shape: Shape, values: Float32Array, session: Session): Result<StoredTensor> {
  const store = storeOf(encoding, session)
  const layout = layoutOf(store)
  const misfit = layout === null ? null : fits(layout, path, shape)
  if (misfit !== null) return wrong(misfit)
  const encoded = runEncode(encoding, path, matrixOf(shape), values, session)
  if (!encoded.ok) return encoded
  if (layout === null) return fine(stored(shape, store, new Map([...encoded.value].map(([name, { data }]) => [name, smallest(data)])), decoderOf(encoding, session)))
  const [codes, scales] = [encoded.value.get("codes"), encoded.value.get("scales")]
  if (codes === undefined || scales === undefined || encoded.value.size !== 2) return wrong(problem("SLM3212", `\`encode\` of ${encoding.code.name.name} must yield \`codes\` and \`scales\` for the store ${store}`))
  const kept = admit(layout, path, shape, codes.data, scales.data)
  if (!kept.ok) return kept
  const tensor = stored(shape, store, new Map<string, TensorData>(Object.entries(kept.value)))
  const own = decoderOf(encoding, session)(tensor)
  if (tensor.decoded().every((value, i) => value === own[i])) return fine(tensor)
  return wrong(problem("SLM3212", `\`decode\` of ${encoding.code.name.name} does not yield what the store ${store} stands for`, { help: "give `store` another name: a name of your own keeps any codes" }))
}

/** The `decode` of the language. */
export function decoderOf(encoding: EncodingValue, session: Session): Decoder {
  return ({ shape, buffers, encoding: store }) => {
    const { code, scope } = encoding
    const lowering = createLowering(session, { training: false, rows: null })
    const layout = layoutOf(store)
    const [rows, width] = matrixOf(shape)
    // Codes of a known store have the shape of the weight, its scales one entry for each row and block.
    const shapes = layout === null ? null : { codes: [rows, width], scales: layout.block === null ? [rows] : [rows, width / layout.block] }
    const feeds: Record<string, HostValue> = {}
    const fields = new Map<string, Value>()
    for (const [name, data] of buffers) {
      const dims = shapes === null ? [rows, data.length / rows] : name === "codes" ? shapes.codes : shapes.scales
      feeds[name] = { shape: dims, dtype: "f32", data: Float32Array.from(data) }
      fields.set(name, tensorOf(lowering.b.input(name, "batch", "f32", dims)))
    }
    const parameter = code.decode.params[0]?.name.name ?? ""
    const result = evaluate(code.decode.body, inner(scope, [[parameter, record(fields)]]), lowering.machine)
    if (result.kind !== "tensor") throw new Error(`encode: decode of ${code.name.name} yields a ${result.kind}`)
    return run(lowering, [result], feeds)[0]!.data as Float32Array
  }
}

function runEncode(encoding: EncodingValue, path: string, shape: Shape, values: Float32Array, session: Session): Result<ReadonlyMap<string, HostValue>> {
  const lowering = createLowering(session, { training: false, rows: null })
  const input = tensorOf(lowering.b.input("w", "batch", "f32", shape))
  const result = evaluate(encoding.code.encode.body, scopeOfWeight(encoding.code, encoding, input, lowering), lowering.machine)
  if (result.kind !== "record") {
    const reason = session.diagnostics.at(-1)?.message ?? `it yields a ${result.kind}`
    return wrong(problem("SLM3212", `${encoding.code.name.name} cannot encode \`${path}\` [${shape.join(", ")}]: ${reason}`))
  }
  const names = [...result.fields.keys()]
  const found = run(lowering, [...result.fields.values()], { w: { shape, dtype: "f32", data: values } })
  return fine(new Map(names.map((name, i) => [name, found[i]!])))
}

/** The parameter of `encode`, and the axes its type names. */
function scopeOfWeight(code: Encoding, encoding: EncodingValue, weight: Value, { machine }: Lowering) {
  const [parameter] = code.encode.params
  if (parameter === undefined) throw new Error(`encode: ${code.name.name} takes no weight`)
  const axes = new Map<string, Dim>()
  const value = coerce(weight, parameter.type, { name: parameter.name.name, what: "the weight", at: parameter.span, scope: encoding.scope, axes }, machine)
  return inner(inner(encoding.scope, axisNames(axes)), [[parameter.name.name, value]])
}

function run(lowering: Lowering, values: readonly Value[], feeds: Readonly<Record<string, HostValue>>): readonly HostValue[] {
  return interpret(values.map((value) => nodeOf(value, lowering.machine)), feeds)
}

function matrixOf(shape: Shape): readonly [number, number] {
  return [size(shape.slice(0, -1)), shape.at(-1) ?? 1]
}

/** Whole numbers in the smallest type that holds them; other numbers as f32. */
function smallest(data: HostValue["data"]): TensorData {
  const numbers = Float32Array.from(data)
  const within = (low: number, high: number): boolean => numbers.every((n) => Number.isInteger(n) && !Object.is(n, -0) && n >= low && n <= high)
  if (within(-128, 127)) return Int8Array.from(numbers)
  if (within(0, 255)) return Uint8Array.from(numbers)
  return numbers
}
