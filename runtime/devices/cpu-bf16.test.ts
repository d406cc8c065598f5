import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Factors, Node, NodeOf, Output, Program } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { fillUniform } from "../../compiler/graph/random.ts"
import { withFactors } from "../../compiler/transform/factors.ts"
import { optimise } from "../../compiler/transform/pipeline.ts"
import type { Device, HostTensor } from "../device.ts"
import type { ConformanceCase } from "./conformance.ts"
import { conformanceCases, difference, runCase } from "./conformance.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { detectTiles } from "./cpu-build.ts"
import { checkMerged, merged } from "./cpu-testing.ts"
import { openCpu } from "./cpu.ts"
import { isUsable } from "./open.ts"
import { createReference } from "./reference.ts"

/** Both ways of computing: on tiles, and with rounded numbers in f32. */
const ways = [{ name: "on tiles", tiles: true }, { name: "in f32", tiles: false }] as const

async function open({ tiles }: (typeof ways)[number], threads?: number): Promise<Device | null> {
  const device = await openCpu({ tiles, ...(threads === undefined ? {} : { threads }) })
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`), null
  if (tiles && device.info.bf16Class?.includes("amx") !== true) return console.log("  skipped: no tiles here"), null
  return device
}

const small = (): readonly ConformanceCase[] => conformanceCases().filter((item) => item.name.includes("bf16"))

function uniform(n: number, row: number): Float32Array {
  const values = new Float32Array(n)
  fillUniform({ seed: 5, stream: 1, step: 0, row }, values)
  return values.map((x) => x - 0.5)
}

/** Products larger than a block, a share and a slice, with something left over of each; what follows them runs on their rows. */
function products(factors: Factors): ConformanceCase {
  const b = createBuilder()
  const inputs: Node[] = []
  const batch: Record<string, HostTensor> = {}
  const input = (...shape: number[]): Node => {
    const name = `x${inputs.length}`
    const data = uniform(shape.reduce((x, y) => x * y, 1), inputs.length)
    batch[name] = { shape, dtype: "f32", data }
    const node = b.input(name, "batch", "f32", shape)
    inputs.push(node)
    return node
  }
  const outputs: Output[] = []
  for (const [m, k, n] of [[211, 401, 97], [97, 211, 401], [50, 777, 51], [1, 257, 131], [3, 64, 1000], [128, 1056, 64]] as const) {
    for (const [ta, tb] of [[false, false], [false, true], [true, false], [true, true]] as const) {
      // A left factor that is given, and one that is computed and may be read where it lies.
      const x = ta ? input(k, m) : input(m, k)
      const y = g.dot(b, n % 2 === 0 ? g.mul(b, x, 3) : x, tb ? input(n, k) : input(k, n), ta, tb, factors)
      const scale = input(n)
      outputs.push({ name: `${m}x${k}x${n} ${ta} ${tb}`, node: g.layerNorm(b, y, scale, scale, 1e-5) }, { name: `${m}x${k}x${n} ${ta} ${tb} columns`, node: g.sum(b, y, [0]) })
    }
  }
  return { name: "products", program: { name: "products", inputs: inputs as unknown as readonly NodeOf<"input">[], outputs }, state: {}, batches: [batch], tolerance: { absolute: 2e-5, relative: 1e-5 } }
}

for (const way of ways) {
  test(`products, attention and gradients of rounded factors agree with the reference, ${way.name}`, async () => {
    const device = await open(way)
    if (device === null) return
    assert.equal(await checkMerged(device, createReference(), small()), [])
  })

  test(`large odd products of rounded factors differ from the reference by the order of sums alone, ${way.name}`, async () => {
    const device = await open(way)
    if (device === null) return
    assert.equal(await checkMerged(device, createReference(), [products("bf16")]), [])
    // The same products of f32 are something else.
    const [fine, rounded] = [await runCase(device, products("f32")), await runCase(device, products("bf16"))]
    for (const [name, value] of rounded) assert.is.not(difference(value, fine.get(name) ?? value, { absolute: 2e-5, relative: 1e-5 }), null, name)
  })

  test(`attention rounds its weights and slopes, ${way.name}`, async () => {
    const device = await open(way)
    if (device === null) return
    for (const item of conformanceCases("attend").filter(({ name }) => / bf16 \d+$/.test(name))) {
      const [got, want] = [await runCase(device, item), await runCase(createReference(), item)]
      // Only a number that lies at the border between two of bf16 may be rounded the other way.
      let [close, all] = [0, 0]
      for (const [name, { data }] of want) data.forEach((x, i) => { all++; if (Math.abs((got.get(name)?.data[i] ?? NaN) - x) <= 2e-5 * Math.max(1, Math.abs(x))) close++ })
      assert.ok(close >= 0.97 * all, `${item.name}: ${close} of ${all}`)
    }
  })

  test(`one, two and three threads give the same bits, ${way.name}`, async () => {
    for (const item of [merged(small()), products("bf16")]) {
      const [one, two, three] = [await open(way, 1), await open(way, 2), await open(way, 3)]
      if (one === null || two === null || three === null) return
      const expected = await runCase(one, item)
      assert.equal(await runCase(two, item), expected)
      assert.equal(await runCase(three, item), expected)
    }
  })

  test(`fifty steps of training with rounded factors stay beside the reference, ${way.name}`, async () => {
    const device = await open(way)
    if (device === null) return
    // Sizes that fill no tile, no vector and no chunk.
    const odd = { vocab: 67, dim: 40, hidden: 53, depth: 1, heads: 4, kvHeads: 2, batch: 3, time: 37 }
    const training = trainingProgram(odd, "momentum", true)
    const rounded = optimise(withRounded(training.program))
    const runners = await Promise.all([device.load(rounded), createReference().load(rounded), createReference().load(optimise(training.program))])
    for (const runner of runners) for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
    for (let step = 0; step < 50; step++) {
      const [got, want, fine] = await Promise.all(runners.map((runner) => runner.step(trainingBatch(odd, step % 4))))
      const loss = (of: typeof got): number => of?.["loss"]?.data[0] ?? NaN
      // Later the weights differ, and what differs a little is rounded to numbers that differ more: losses stay in a band.
      assert.ok(Math.abs(loss(got) - loss(want)) < 0.02 * loss(want), `step ${step}: ${loss(got)} instead of ${loss(want)}`)
      if (step > 0) continue
      for (const [name, { data }] of Object.entries(want ?? {})) {
        if (!name.startsWith("gradient")) continue
        // Sums of relative error e put e / 2^-8 of their numbers on the other side of a border, each 2^-8 away: sqrt(e 2^-8) of the norm, 2^-12 for
        // e = 2^-16, in each of a handful of layers. Rounding itself moves gradients much further.
        const [beside, apart] = [distance(got?.[name]?.data, data), distance(fine?.[name]?.data, data)]
        assert.ok(beside < 1e-3 && apart > 2e-3, `${name}: ${beside} from the reference, ${apart} without rounding`)
      }
    }
    runners.forEach((runner) => runner.dispose())
  })
}

/** Norm of the difference, by the norm of what is wanted. */
function distance(got: HostTensor["data"] | undefined, want: HostTensor["data"]): number {
  let [difference, norm] = [0, 0]
  want.forEach((x, i) => {
    difference += ((got?.[i] ?? NaN) - x) ** 2
    norm += x ** 2
  })
  return Math.sqrt(difference / norm)
}

/** The whole step, the update included: it multiplies no matrices. */
function withRounded(program: Program): Program {
  const b = createBuilder()
  const inputs = program.inputs.map((node) => b.input(node.args.name, node.args.role, node.dtype, node.shape))
  const nodes = withFactors(b, program.outputs.map((output) => output.node), "bf16")
  return { name: program.name, inputs, outputs: program.outputs.map(({ name, node }, i) => ({ name, node: nodes[i] ?? node })) }
}

test("tiles follow the processor's feature bits, and their class is another", async () => {
  assert.ok(detectTiles("flags : fpu avx512_bf16 amx_bf16 amx_tile\n", "x64"))
  assert.not.ok(detectTiles("flags : fpu avx512_bf16 amx_tile\n", "x64"))
  assert.not.ok(detectTiles(null, "arm64"))
  const [on, off] = [await open(ways[0]), await open(ways[1])]
  if (off !== null) assert.match(`${off.info.numericsClass} ${off.info.bf16Class}`, /^cpu\/\w+\/f32\/\d+ cpu\/\w+\/bf16\/\d+$/)
  if (on !== null) assert.match(`${on.info.numericsClass} ${on.info.bf16Class}`, /^cpu\/avx512-amx\/f32\/\d+ cpu\/avx512-amx\/bf16\/\d+$/)
})

test.run()
