import type { Shape } from "../../compiler/graph/node.ts"
import { stored } from "../weights.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import type { ForeignFormat } from "./foreign.ts"
import { checkForeign, fromForeign } from "./format.ts"
import type { GgufFile, GgufTensor } from "./gguf.ts"
import { layoutOf } from "./layouts.ts"
import { wrong } from "./problem.ts"
import type { Result } from "./problem.ts"
import { readTensor } from "./safetensors.ts"
import type { TensorData } from "./safetensors.ts"

/** The weights of a GGUF file, in the encodings they have there: what the exported file computes. */
export function weightsOfGguf(file: GgufFile, format: ForeignFormat, expected: ReadonlyMap<string, Shape>): Result<Weights> {
  const problems = checkForeign(format.name, format.maps, expected, file.tensors)
  if (problems.length > 0) return wrong(...problems)
  const tensors = new Map(file.tensors.map((tensor) => [tensor.name, tensor]))
  return fromForeign(format.name, format.maps, expected, (name) => {
    const tensor = tensors.get(name)
    return tensor === undefined ? null : storedTensor(tensor)
  })
}

const FLOATS: ReadonlyMap<string, string> = new Map([["f32", "F32"], ["f16", "F16"], ["bf16", "BF16"]])

function storedTensor({ name, shape, encoding, bytes }: GgufTensor): StoredTensor {
  const dtype = FLOATS.get(encoding)
  if (dtype !== undefined) return stored(shape, encoding, new Map([["values", readTensor({ name, dtype, shape, start: 0, end: bytes.length }, bytes)!.data]]))
  const layout = layoutOf(encoding)
  if (layout === null) throw new Error(`gguf: ${name} is encoded as ${encoding}`)
  return stored(shape, encoding, new Map<string, TensorData>(Object.entries(layout.unpack(bytes, shape))))
}
