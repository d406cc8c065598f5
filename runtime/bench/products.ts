/** Products of matrices alone, over the shapes of config A: forward, gradient by the input, gradient by the weight. */
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Program } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import type { HostTensor } from "../device.ts"
import { coresAvailable } from "../devices/cpu-build.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"

export interface ProductRate { readonly name: string; readonly gflops: number }

const shapes = [[2048, 384, 384], [2048, 384, 1536], [2048, 1536, 384]] as const
const kinds = [{ name: "forward", ta: false, tb: true }, { name: "by input", ta: false, tb: false }, { name: "by weight", ta: true, tb: false }] as const

/** m rows, k inputs, n outputs of a layer; which of its three products is taken decides what is summed over. */
function sizesOf([rows, inputs, outputs]: readonly [number, number, number], kind: (typeof kinds)[number]["name"]): readonly [m: number, k: number, n: number] {
  return kind === "forward" ? [rows, inputs, outputs] : kind === "by input" ? [rows, outputs, inputs] : [outputs, rows, inputs]
}

const repeats = 8

/** Best of several runs of several products each; billions of operations per second. */
export async function measureProducts(threads = coresAvailable()): Promise<readonly ProductRate[]> {
  const device = await openCpu({ threads })
  if (!isUsable(device)) return []
  console.log(`\nproducts alone: ${device.info.detail}`)
  const rates: ProductRate[] = []
  for (const shape of shapes) for (const { name, ta, tb } of kinds) {
    const [m, k, n] = sizesOf(shape, name)
    const b = createBuilder()
    const [x, y] = [b.input("x", "state", "f32", ta ? [k, m] : [m, k]), b.input("y", "state", "f32", tb ? [n, k] : [k, n])]
    const results = Array.from({ length: repeats }, (_, i) => g.slice(b, g.reshape(b, g.dot(b, x, g.add(b, y, i), ta, tb), [m * n]), [0], [1]))
    const program: Program = { name: `products ${name}`, inputs: [x, y], outputs: results.map((node, i) => ({ name: `z${i}`, node })) }
    const runner = await device.load(program)
    const ones = (shapeOf: readonly number[]): HostTensor => ({ shape: shapeOf, dtype: "f32", data: new Float32Array(shapeOf.reduce((p, q) => p * q, 1)).fill(0.5) })
    await runner.write("x", ones(x.shape))
    await runner.write("y", ones(y.shape))
    let best = Infinity
    for (let round = 0; round < 12; round++) {
      const start = performance.now()
      await runner.step({})
      best = Math.min(best, performance.now() - start)
    }
    runner.dispose()
    const rate = { name: `[${m}, ${k}] x [${k}, ${n}] ${name}`, gflops: (repeats * 2 * m * n * k) / best / 1e6 }
    console.log(`  ${rate.name.padEnd(40)} ${rate.gflops.toFixed(0).padStart(5)} GFLOP/s`)
    rates.push(rate)
  }
  return rates
}
