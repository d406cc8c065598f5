/** How weights start: made on the host, element by element, from counter-based randomness. */
import { known } from "../../check/poly.ts"
import type { InitValue, WeightInfo } from "../../check/value.ts"
import type { Facts } from "../../plan/stage.ts"
import type { DType, Shape } from "../node.ts"
import { size } from "../node.ts"
import { fillNormal, fillUniform, hash32 } from "../random.ts"

/** Numbers of one tensor on the host, row-major. */
export interface HostValues {
  readonly shape: Shape
  readonly dtype: DType
  readonly data: Float32Array | Int32Array | Uint8Array
}

/** The shape of a weight, with all sizes known. */
export function weightShape(info: WeightInfo, facts: Facts): Shape {
  return info.shape.map((dim) => {
    const n = known(dim.size, facts)
    if (n === null) throw new Error(`lower: the shape of ${info.path} is not known yet`)
    return n
  })
}

/** The first values of a weight. `path` is the name of its stream; it does not depend on how roles are called where there is one model. */
export function initialValues(init: InitValue, shape: Shape, path: string, seed: number): Float32Array {
  const data = new Float32Array(size(shape))
  const key = { seed, stream: hash32(`init:${path}`), step: 0, row: 0 }
  switch (init.how) {
    case "zeros": break
    case "ones": data.fill(1); break
    case "constant": data.fill(init.a); break
    case "normal":
      fillNormal(key, data)
      for (let i = 0; i < data.length; i++) data[i] = (data[i] ?? 0) * init.a
      break
    case "uniform":
      fillUniform(key, data)
      for (let i = 0; i < data.length; i++) data[i] = ((data[i] ?? 0) * 2 - 1) * init.a
      break
    case "identity": {
      const columns = shape.at(-1) ?? 1
      for (let i = 0; i < Math.min(columns, shape.at(-2) ?? 1); i++) data[i * columns + i] = 1
    }
  }
  return data
}
