/** `quantize`: the encoding's own text, run on the host, turns every matrix into codes and scales. */
import { matches } from "../../compiler/check/address.ts"
import type { Session } from "../../compiler/check/session.ts"
import type { AddressValue, EncodingValue } from "../../compiler/check/value.ts"
import { lowerDecode, lowerEncode, rowsOf, storeOf } from "../../compiler/graph/lower/encoding.ts"
import type { Program, Shape } from "../../compiler/graph/node.ts"
import { interpretProgram } from "./interpret.ts"
import type { HostTensor } from "../device.ts"
import { admit, fits, honest, layoutOf } from "../export/layouts.ts"
import type { Layout } from "../export/layouts.ts"
import { fine, placed, problem, wrong } from "../export/problem.ts"
import type { Result } from "../export/problem.ts"
import type { Decoder, StoredTensor, Weights } from "../weights.ts"
import { stored } from "../weights.ts"
import { expectData, whole } from "./artifact.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, done, failed, fromProblems, given, refOf, required } from "./environment.ts"
import type { Ruler } from "./rewrite.ts"
import { createRuler } from "./rewrite.ts"
import { countBytes, weightsInput } from "./weights-io.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import type { Stage } from "../../compiler/plan/stage.ts"

export const quantizeStage: Executor = async (stage, env) => {
  const model = required(artifactArg(stage, "model"), stage, "model")
  const encoding = given(stage, "format")
  if (encoding?.kind !== "encoding") throw new Error(`stages: ${stage.name} has no encoding`)
  const weights = await weightsInput(model.stage, model.member, env)
  const keep = given(stage, "keep")
  const kept = keep?.kind === "list" ? keep.items.filter((item): item is AddressValue => item.kind === "address") : []
  const quantizer = createQuantizer(env.session, encoding)
  const by = given(stage, "by")
  const ruler = by === null ? null : await createRuler(stage, by, env)
  const tensors = new Map<string, StoredTensor>()
  const misfits: string[] = []
  for (const [path, tensor] of weights.tensors) {
    const chosen = tensor.shape.length >= 2 && !kept.some((address) => matches(address, path, "below"))
    if (chosen && !quantizer.fits(path, tensor.shape)) misfits.push(path)
    if (env.signal?.aborted) return { is: "interrupted" }
    const made = chosen && quantizer.fits(path, tensor.shape) ? quantizer.encode(path, tensor, stage, ruler) : tensor
    if ("code" in made) return failed(made)
    tensors.set(path, made)
  }
  const quantized = [...tensors.values()].filter((tensor) => tensor.encoding === quantizer.store).length
  if (quantized === 0) return fromProblems([...weights.tensors].flatMap(([path, { shape }]) => quantizer.misfit(path, shape) ?? []).slice(0, 1), stage)
  if (misfits.length > 0) {
    const names = misfits.map((path) => `\`${path}\``).slice(0, 4).join(", ")
    env.emit({ event: "warning", stage: refOf(stage), message: `kept in f32, because their rows are not whole blocks of ${quantizer.store}: ${names}${misfits.length > 4 ? " and others" : ""}`, help: "name them in `keep` if that is meant" })
  }
  const result: Weights = { tensors }
  const { tokenizer } = expectData(await env.input(model.stage), "weights")
  return done({ is: "weights", members: whole(result), tokenizer }, { matrices: quantized, kept: tensors.size - quantized, bytes: countBytes(result), bytes_before: countBytes(weights) })
}

function createQuantizer(session: Session, encoding: EncodingValue) {
  const store = storeOf(session, encoding)
  const layout = layoutOf(store)
  const programs = new Map<string, Program | Diagnostic>()
  const byDecode = decoderOf(session, encoding)
  const programFor = (shape: Shape): Program | Diagnostic => {
    const key = rowsOf(shape).join()
    const program = programs.get(key) ?? lowerEncode(session, encoding, shape)
    programs.set(key, program)
    return program
  }
  const misfit = (path: string, shape: Shape) => (layout === null || shape.length < 2 ? null : fits(layout, path, shape))
  return {
    store,
    misfit,
    fits: (path: string, shape: Shape) => misfit(path, shape) === null,
    encode(path: string, tensor: StoredTensor, stage: Stage, ruler: Ruler | null): StoredTensor | Diagnostic {
      if (ruler !== null) return admitted(path, tensor, stage, codesBy(ruler, path, tensor))
      const program = programFor(tensor.shape)
      if ("code" in program) return { ...program, notes: [...program.notes, `this happened for \`${path}\`, a weight of shape [${tensor.shape.join(", ")}]; \`keep\` leaves it as it is.`] }
      return admitted(path, tensor, stage, interpretProgram(program, { w: { shape: rowsOf(tensor.shape), dtype: "f32", data: tensor.decoded() } }))
    },
  }

  /** Codes as they are kept. */
  function admitted(path: string, tensor: StoredTensor, stage: Stage, outputs: Outputs): StoredTensor | Diagnostic {
    const buffers = new Map(Object.entries(outputs).map(([name, { data }]) => [name, data]))
    if (layout === null) return stored(tensor.shape, store, new Map([...buffers].map(([name, data]) => [name, compact(data)])), byDecode)
    const made = known(layout, path, tensor.shape, outputs)
    if (!made.ok) return placed(made.problems[0] ?? problem("SLM3212", "the codes do not fit"), stage.span)
    const dishonest = honest(encoding.code.name.name, store, made.value.decoded(), byDecode.values({ shape: tensor.shape, encoding: store, buffers }))
    return dishonest === null ? made.value : placed(dishonest, stage.span)
  }
}

/** Codes of a recipe's own encoding that are bytes are kept as bytes. */
function compact(data: HostTensor["data"]): HostTensor["data"] {
  return data.every((x) => Number.isInteger(x) && x >= 0 && x <= 255) ? Uint8Array.from(data) : data
}

/** What a rule of the recipe yields for the rows of a weight. */
function codesBy(ruler: Ruler, path: string, tensor: StoredTensor): Outputs {
  const codes = ruler.apply(path, tensor, rowsOf(tensor.shape))
  if (codes.kind !== "record") throw new Error(`quantize: the rule yields a ${codes.kind} for ${path}`)
  return Object.fromEntries([...codes.fields].map(([name, field]) => {
    const { shape, dtype, data } = ruler.host.value(field)
    return [name, { shape, dtype, data: data instanceof Float64Array ? Float32Array.from(data) : data }]
  }))
}

type Outputs = Readonly<Record<string, HostTensor>>

/** Codes and scales in a layout that exporters know. */
function known(layout: Layout, path: string, shape: Shape, outputs: Outputs): Result<StoredTensor> {
  const [codes, scales] = [outputs["codes"], outputs["scales"]]
  if (codes === undefined || scales === undefined) return wrong(problem("SLM3212", `the encoding stores \`${layout.store}\` and its \`encode\` yields no \`codes\` and \`scales\``))
  const admitted = admit(layout, path, shape, codes.data, scales.data)
  if (!admitted.ok) return admitted
  return fine(stored(shape, layout.store, new Map<string, Float32Array | Int8Array | Uint8Array>([["codes", admitted.value.codes], ["scales", admitted.value.scales]])))
}

/** Reads the buffers of an encoding with the encoding's own `decode`. */
export function decoderOf(session: Session, encoding: EncodingValue): Decoder {
  const values: Decoder["values"] = ({ shape, buffers }) => {
    const encoded = lowerEncode(session, encoding, shape)
    if ("code" in encoded) throw new Error(`weights: ${encoding.code.name.name} does not encode [${shape.join(", ")}]: ${encoded.message}`)
    const inputs: Record<string, HostTensor> = {}
    for (const { name, node } of encoded.outputs) {
      const data = buffers.get(name)
      if (!(data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array)) throw new Error(`weights: ${encoding.code.name.name} has no buffer ${name}`)
      inputs[name] = { shape: node.shape, dtype: node.dtype, data: node.dtype === "bool" || !(data instanceof Uint8Array) ? data : node.dtype === "f32" ? Float32Array.from(data) : Int32Array.from(data) }
    }
    const parts = new Map(Object.entries(inputs).map(([name, { shape: of, dtype }]) => [name, { shape: of, dtype }]))
    const { w } = interpretProgram(lowerDecode(session, encoding, shape, parts), inputs)
    if (!(w?.data instanceof Float32Array)) throw new Error(`weights: ${encoding.code.name.name} decodes to nothing`)
    return w.data
  }
  const program: Decoder["program"] = ({ shape }) => {
    const encoded = lowerEncode(session, encoding, shape)
    return "code" in encoded ? null : lowerDecode(session, encoding, shape, new Map(encoded.outputs.map(({ name, node }) => [name, { shape: node.shape, dtype: "f32" }])))
  }
  return { values, program }
}
