/** Products of f32 on tiles, in three parts of bf16: no further from the exact sums than those on vectors, and as they are where numbers are not finite, huge or tiny. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import * as g from "../../compiler/graph/ops.ts"
import { fillNormal } from "../../compiler/graph/random.ts"
import { optimise } from "../../compiler/transform/pipeline.ts"
import { cpuTargets, withTiles } from "../../compiler/schedule/cpu.ts"
import type { Device } from "../device.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { compileCpu, openCpu } from "./cpu.ts"
import { f32, programOf } from "./device.fixture.ts"
import { isUsable } from "./open.ts"
import { createReference } from "./reference.ts"

async function open(tiles: boolean, threads = 2): Promise<Device | null> {
  const device = await openCpu({ tiles, threads })
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`), null
  if (tiles && !device.info.numericsClass.includes("amx")) return console.log("  skipped: no tiles here"), null
  return device
}

/** m, k and n, and whether the factors are read turned. */
type Shape = readonly [m: number, k: number, n: number, ta: boolean, tb: boolean]

/** Layers of a GPT forward, by input and by weight with fewer rows; primes; one line more or less than tiles. */
const shapes: readonly Shape[] = [
  [96, 384, 384, false, true], [96, 384, 384, false, false], [384, 256, 384, true, false], [128, 1536, 384, false, true], [193, 2048, 191, true, false],
  [211, 401, 197, false, false], [509, 257, 131, false, true], [97, 211, 401, true, false], [131, 199, 223, true, true], [129, 513, 255, false, true],
]

/** Normal numbers times powers of two that are normally distributed themselves. */
function drawn(n: number, row: number, spread: number): Float32Array {
  const [values, powers] = [new Float32Array(n), new Float32Array(n)]
  fillNormal({ seed: 3, stream: 1, step: 0, row }, values)
  fillNormal({ seed: 3, stream: 2, step: 0, row }, powers)
  return values.map((x, i) => x * 2 ** Math.round(spread * (powers[i] ?? 0)))
}

interface Product { readonly x: Float32Array; readonly y: Float32Array }

/** The products of all shapes in one program. */
async function multiply(device: Device, given: readonly Product[], of: readonly Shape[] = shapes): Promise<readonly Float32Array[]> {
  const b = createBuilder()
  const pairs = of.map(([m, k, n, ta, tb], i) => [b.input(`x${i}`, "batch", "f32", ta ? [k, m] : [m, k]), b.input(`y${i}`, "batch", "f32", tb ? [n, k] : [k, n])] as const)
  const runner = await device.load(programOf(pairs.flat(), Object.fromEntries(pairs.map(([x, y], i) => [`z${i}`, g.dot(b, x, y, of[i]?.[3], of[i]?.[4])]))))
  const result = await runner.step(Object.fromEntries(pairs.flatMap(([x, y], i) => [[`x${i}`, f32(x.shape, given[i]?.x ?? [])], [`y${i}`, f32(y.shape, given[i]?.y ?? [])]])))
  runner.dispose()
  return of.map((_, i) => Float32Array.from(result[`z${i}`]?.data ?? []))
}

/** Differences from the exact sums by the sums of |a||b|: the largest, and the root of their mean square, over some of the numbers. */
function errors([m, k, n, ta, tb]: Shape, { x, y }: Product, z: Float32Array): { readonly most: number; readonly rms: number } {
  let [most, squares, count] = [0, 0, 0]
  for (let i = 0; i < m; i += 17) for (let j = 0; j < n; j += 11) {
    let [sum, size] = [0, 0]
    for (let l = 0; l < k; l++) {
      const product = (x[ta ? l * m + i : i * k + l] ?? NaN) * (y[tb ? j * k + l : l * n + j] ?? NaN)
      sum += product
      size += Math.abs(product)
    }
    const error = Math.abs((z[i * n + j] ?? NaN) - sum) / size
    most = Math.max(most, Number.isNaN(error) ? Infinity : error)
    squares += error ** 2
    count++
  }
  return { most, rms: Math.sqrt(squares / count) }
}

test("products of f32 on tiles are more exact than those on vectors, and about as exact where exponents are spread widely", async () => {
  const [on, off] = [await open(true), await open(false)]
  if (on === null || off === null) return
  for (const spread of [0, 12]) {
    const given = shapes.map(([m, k, n], i): Product => ({ x: drawn(m * k, 2 * i, spread), y: drawn(k * n, 2 * i + 1, spread) }))
    const [tiles, vectors] = [await multiply(on, given), await multiply(off, given)]
    shapes.forEach((shape, i) => {
      const [got, before] = [tiles, vectors].map((z) => errors(shape, given[i] ?? { x: new Float32Array(), y: new Float32Array() }, z[i] ?? new Float32Array()))
      if (got === undefined || before === undefined) throw new Error("no result")
      if (process.env["SHOW"] === "1") console.log(`  spread ${spread}, ${shape.join(" ")}: most ${got.most.toExponential(1)} on tiles, ${before.most.toExponential(1)} on vectors, rms ${got.rms.toExponential(1)} and ${before.rms.toExponential(1)}`)
      // Where a few products are most of a sum, its last roundings are all there is; else tiles add up 32 products before they round to the sum.
      const [most, rms] = spread === 0 ? [1, 0.6] : [1.6, 1.15]
      assert.ok(got.most < most * before.most && got.rms < rms * before.rms, `spread ${spread}, ${shape.join(" ")}: ${JSON.stringify({ got, before })}`)
      assert.ok(got.rms !== before.rms, `${shape.join(" ")} is on tiles`)
    })
  }
})

test("one, two and three threads give the same bits of products on tiles", async () => {
  const given = shapes.map(([m, k, n], i): Product => ({ x: drawn(m * k, 2 * i, 1), y: drawn(k * n, 2 * i + 1, 1) }))
  const [one, two, three] = [await open(true, 1), await open(true, 2), await open(true, 3)]
  if (one === null || two === null || three === null) return
  const expected = await multiply(one, given)
  assert.equal(await multiply(two, given), expected)
  assert.equal(await multiply(three, given), expected)
})

test("infinities, what is not a number and numbers near the largest are what they are on vectors", async () => {
  const [on, off] = [await open(true), await open(false)]
  if (on === null || off === null) return
  for (const shape of [[96, 384, 384, false, true], [131, 199, 223, true, true], [384, 256, 384, true, false]] as const) {
    const [m, k, n, ta, tb] = shape
    const [x, y] = [drawn(m * k, 0, 1), drawn(k * n, 1, 1)]
    const at = (i: number, l: number): number => (ta ? l * m + i : i * k + l)
    const row = (i: number, value: (l: number) => number): void => { for (let l = 0; l < k; l++) x[at(i, l)] = value(l) }
    x[at(0, 3)] = Infinity
    x[at(1, 5)] = -Infinity
    x[at(1, 6)] = Infinity
    x[at(2, k - 1)] = NaN
    new Uint32Array(x.buffer)[at(3, 0)] = 0xffffffff
    new Uint32Array(x.buffer)[at(4, 0)] = 0x7f800001
    // Finite as a whole, infinite if the largest parts were multiplied alone.
    row(5, (l) => (l === 0 ? 3.4028234663852886e38 : 0))
    row(6, (l) => (l === 0 ? -3.3999e38 : 0))
    row(7, (l) => (l < 2 ? 3.4028234663852886e38 * (1 - 2 * l) : 0))
    for (let j = 0; j < n; j++) y[tb ? j * k : j] = j % 2 === 0 ? 0.99 : -1
    y[tb ? (n - 1) * k + 9 : 9 * n + n - 1] = Infinity
    const [[tiles], [vectors]] = [await multiply(on, [{ x, y }], [shape]), await multiply(off, [{ x, y }], [shape])]
    if (tiles === undefined || vectors === undefined) throw new Error("no result")
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) {
      const [got, want] = [tiles[i * n + j] ?? 0, vectors[i * n + j] ?? 0]
      if (Number.isFinite(want) && i > 7) assert.ok(Number.isFinite(got), `${i}, ${j}: ${got} instead of ${want}`)
      else if (Number.isFinite(want)) assert.ok(Math.abs(got - want) <= 1e-6 * Math.abs(want), `${i}, ${j}: ${got} instead of ${want}`)
      else assert.ok(Object.is(got, want), `${i}, ${j}: ${got} instead of ${want}`)
    }
    assert.ok(tiles.some((z) => z === Infinity) && tiles.some(Number.isNaN))
  }
})

test("numbers near the smallest lose parts that are too small to be normal, and no more", async () => {
  const on = await open(true)
  if (on === null) return
  const shape: Shape = [96, 384, 384, false, true]
  const [m, k, n] = shape
  // 1.1 to 1.9 times 2^-126 to 2^-100, by numbers near 1.
  const x = drawn(m * k, 0, 0).map((v, i) => Math.sign(v) * (1.5 + 0.4 * Math.sin(i)) * 2 ** (-126 + i % 27))
  const y = drawn(k * n, 1, 0)
  const [z] = await multiply(on, [{ x, y }], [shape])
  for (let i = 0; i < m; i += 5) for (let j = 0; j < n; j += 7) {
    let [sum, size, others] = [0, 0, 0]
    for (let l = 0; l < k; l++) {
      const product = (x[i * k + l] ?? NaN) * (y[j * k + l] ?? NaN)
      sum += product
      size += Math.abs(product)
      others += 1 + Math.abs(y[j * k + l] ?? NaN)
    }
    const error = Math.abs((z?.[i * n + j] ?? NaN) - sum)
    assert.ok(error < 2.5e-7 * size + 6 * 2 ** -126 * others, `${i}, ${j}: ${error}`)
  }
})

test("whether a product is on tiles depends on its shape alone: few rows and small ones are not", () => {
  const waysOf = (m: number, k: number, n: number, most = Infinity): readonly string[] => {
    const b = createBuilder()
    const [x, y] = [b.input("x", "batch", "f32", [m, k]), b.input("y", "batch", "f32", [k, n])]
    const { waves } = compileCpu(programOf([x, y], { z: g.dot(b, x, y) }), withTiles(cpuTargets.avx512), most)
    return waves.flatMap((wave) => (wave.is === "loop" ? [] : [...wave.steps, ...wave.tail])).map(({ kernel, tiles }) => `${kernel.kind}${tiles === null ? "" : " on tiles"}`)
  }
  assert.equal(waysOf(2048, 384, 384), ["pack", "contract on tiles"])
  assert.equal(waysOf(2048, 384, 384, 1), ["pack", "contract on tiles"], "however little memory there is")
  for (const [m, k, n] of [[1, 384, 384], [8, 384, 384], [17, 384, 384], [2048, 384, 1], [2048, 7, 384], [48, 48, 48], [1000, 64, 16]] as const) assert.not.ok(waysOf(m, k, n).some((way) => /pack|tiles/.test(way)), `${m} ${k} ${n}`)
})

test("steps of a training whose products are on tiles stay beside the reference", async () => {
  const device = await open(true)
  if (device === null) return
  const sizes = { vocab: 131, dim: 96, hidden: 200, depth: 1, heads: 4, kvHeads: 2, batch: 3, time: 61 }
  const training = trainingProgram(sizes, "momentum", false)
  const program = optimise(training.program)
  assert.ok(compileCpu(program, withTiles(cpuTargets.avx512)).waves.some((wave) => wave.is === "steps" && wave.steps.some(({ tiles }) => tiles !== null)))
  const [here, there] = [await device.load(program), await createReference().load(program)]
  for (const runner of [here, there]) for (const [name, value] of Object.entries(trainingState(training))) await runner.write(name, value)
  for (let step = 0; step < 6; step++) {
    const batch = trainingBatch(sizes, step % 4)
    const [got, want] = [await here.step(batch), await there.step(batch)]
    for (const [name, { data }] of Object.entries(want)) {
      let [difference, norm] = [0, 0]
      data.forEach((x, i) => { difference += ((got[name]?.data[i] ?? NaN) - x) ** 2; norm += x ** 2 })
      assert.ok(Math.sqrt(difference) <= (step === 0 ? 2e-5 : 1e-3) * Math.sqrt(norm) + 1e-7, `step ${step}: ${name} differs by ${Math.sqrt(difference / norm)}`)
    }
  }
  here.dispose()
  there.dispose()
})

test.run()
