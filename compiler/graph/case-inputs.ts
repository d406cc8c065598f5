import type { Builder } from "./builder.ts"
import { createBuilder } from "./builder.ts"
import type { DType, Node, NodeOf, Shape } from "./node.ts"
import { size } from "./node.ts"
import * as g from "./ops.ts"
import { fillUniform, hash32 } from "./random.ts"

/** Declares inputs together with their values. */
export interface CaseInputs {
  readonly b: Builder
  /** Uniform numbers between `low` and `high`. */
  f32(shape: Shape, low?: number, high?: number): Node
  i32(shape: Shape, low: number, high: number): Node
  bool(shape: Shape): Node
  /** Chosen values. */
  given(values: readonly number[], shape?: Shape, dtype?: DType): Node
}

/** A tensor that a device takes as it is. */
export interface CaseTensor {
  readonly shape: Shape
  readonly dtype: DType
  readonly data: Float32Array | Int32Array | Uint8Array
}

/** A case under construction: inputs get values that depend on the case's name and their number alone. */
export function createCaseInputs(name: string): { readonly inputs: CaseInputs; readonly feeds: Record<string, CaseTensor>; readonly nodes: NodeOf<"input">[] } {
  const b = createBuilder()
  const feeds: Record<string, CaseTensor> = {}
  const nodes: NodeOf<"input">[] = []

  function declare(tensor: CaseTensor): Node {
    const label = `in${nodes.length}`
    const node = b.input(label, "batch", tensor.dtype, tensor.shape)
    feeds[label] = tensor
    nodes.push(node)
    return node
  }

  function uniform(n: number): Float32Array {
    const numbers = new Float32Array(n)
    fillUniform({ seed: 1, stream: hash32(name), step: 0, row: nodes.length }, numbers)
    return numbers
  }

  const inputs: CaseInputs = {
    b,
    f32: (shape, low = -1, high = 1) => declare({ shape, dtype: "f32", data: uniform(size(shape)).map((x) => low + (high - low) * x) }),
    i32: (shape, low, high) => declare({ shape, dtype: "i32", data: Int32Array.from(uniform(size(shape)), (x) => Math.floor(low + (high - low) * x)) }),
    bool: (shape) => declare({ shape, dtype: "bool", data: Uint8Array.from(uniform(size(shape)), (x) => (x < 0.5 ? 0 : 1)) }),
    given(values, shape = [values.length], dtype = "f32") {
      const data = dtype === "f32" ? Float32Array.from(values) : dtype === "i32" ? Int32Array.from(values) : Uint8Array.from(values)
      return declare({ shape, dtype, data })
    },
  }
  return { inputs, feeds, nodes }
}

/** A weighted sum of all f32 outputs, so that every element has a gradient of its own. */
export function weightedLoss(inputs: CaseInputs, outputs: readonly Node[]): Node | null {
  const terms = outputs.filter((node) => node.dtype === "f32").map((node) => g.sum(inputs.b, g.mul(inputs.b, node, inputs.f32(node.shape, 0.5, 1.5))))
  return terms.length === 0 ? null : terms.reduce((sum, term) => g.add(inputs.b, sum, term))
}
