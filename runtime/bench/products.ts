/** Products of matrices alone, over the shapes of config A: forward, gradient by the input, gradient by the weight; beside OpenBLAS, in turns. */
import { createRequire } from "node:module"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Program } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import type { Device, HostTensor } from "../device.ts"
import { coresAvailable, localFamily } from "../devices/cpu-build.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { threadCounts } from "./peer.ts"

/** Billions of operations per second: of the median, and of the shortest run, which a busy machine spoils least. `slow`: the share of runs that took over a quarter longer than that one. */
interface Rate { readonly median: number; readonly best: number; readonly slow: number }
/** `work`: billions of operations of a run; `peer`: OpenBLAS, where it is there. */
export interface ProductRate { readonly name: string; readonly kind: Kind["name"]; readonly threads: number; readonly work: number; readonly own: Rate; readonly peer: Rate | null }
/** The time that OpenBLAS takes for all shapes by the time that ours take; `slow`: of ours and of its runs. */
export interface ProductSum { readonly kind: Kind["name"] | "all"; readonly threads: number; readonly median: number; readonly best: number; readonly slow: readonly [own: number, peer: number] }

const shapes = [[2048, 384, 384], [2048, 384, 1536], [2048, 1536, 384]] as const
const kinds = [{ name: "forward", ta: false, tb: true }, { name: "by input", ta: false, tb: false }, { name: "by weight", ta: true, tb: false }] as const
type Kind = (typeof kinds)[number]

/** m rows, k inputs, n outputs of a layer; which of its three products is taken decides what is summed over. */
function sizesOf([rows, inputs, outputs]: readonly [number, number, number], kind: Kind["name"]): readonly [m: number, k: number, n: number] {
  return kind === "forward" ? [rows, inputs, outputs] : kind === "by input" ? [rows, outputs, inputs] : [outputs, rows, inputs]
}

/** Milliseconds of one run of several products. */
type Run = () => Promise<number>

const repeats = 4

interface Timed { readonly run: Run; close(): void }

/** Values that are not all alike, so that sums are what they are in a training. */
const numbers = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => ((i * 7919) % 201) / 100 - 1)

async function ours(device: Device, [m, k, n]: readonly [number, number, number], { name, ta, tb }: Kind): Promise<Timed> {
  const b = createBuilder()
  const pairs = Array.from({ length: repeats }, (_, i) => [b.input(`x${i}`, "state", "f32", ta ? [k, m] : [m, k]), b.input(`y${i}`, "state", "f32", tb ? [n, k] : [k, n])] as const)
  const results = pairs.map(([x, y]) => g.slice(b, g.reshape(b, g.dot(b, x, y, ta, tb), [m * n]), [0], [1]))
  const program: Program = { name: `products ${name}`, inputs: pairs.flat(), outputs: results.map((node, i) => ({ name: `z${i}`, node })) }
  const runner = await device.load(program)
  for (const { args: { name: input, shape } } of program.inputs) {
    const value: HostTensor = { shape, dtype: "f32", data: numbers(shape.reduce((p, q) => p * q, 1)) }
    await runner.write(input, value)
  }
  return {
    async run() {
      const start = performance.now()
      await runner.step({})
      return performance.now() - start
    },
    close: () => runner.dispose(),
  }
}

type Foreign = (...args: readonly unknown[]) => unknown
interface Koffi { load(path: string): { func(name: string, result: string, args: readonly string[]): Foreign } }
interface OpenBlas { readonly name: string; readonly multiply: Foreign; readonly setThreads: Foreign }

/** The system's OpenBLAS; the type of core must be named before it is loaded, as it does not know all that have AVX-512. */
function openBlas(): OpenBlas | null {
  if (localFamily() === "avx512") process.env["OPENBLAS_CORETYPE"] ??= "SkylakeX"
  try {
    const library = (createRequire(import.meta.url)("koffi") as Koffi).load("libopenblas.so.0")
    const config = String(library.func("openblas_get_config", "str", [])())
    return {
      name: `${config.trim()}${process.env["OPENBLAS_CORETYPE"] === undefined ? "" : `, OPENBLAS_CORETYPE=${process.env["OPENBLAS_CORETYPE"]}`}`,
      multiply: library.func("cblas_sgemm", "void", ["int", "int", "int", "int", "int", "int", "float", "float *", "int", "float *", "int", "float", "float *", "int"]),
      setThreads: library.func("openblas_set_num_threads", "void", ["int"]),
    }
  } catch {
    return null
  }
}

const [rowMajor, plain, transposed] = [101, 111, 112]

function theirs(blas: OpenBlas, threads: number, [m, k, n]: readonly [number, number, number], { ta, tb }: Kind): Timed {
  const xs = Array.from({ length: repeats }, () => numbers(m * k))
  const ys = Array.from({ length: repeats }, () => numbers(k * n))
  const zs = Array.from({ length: repeats }, () => new Float32Array(m * n))
  return {
    async run() {
      blas.setThreads(threads)
      const start = performance.now()
      for (let i = 0; i < repeats; i++) blas.multiply(rowMajor, ta ? transposed : plain, tb ? transposed : plain, m, n, k, 1, xs[i], ta ? m : k, ys[i], tb ? k : n, 0, zs[i], n)
      return performance.now() - start
    },
    close() {},
  }
}

const middle = (times: readonly number[]): number => [...times].sort((x, y) => x - y)[times.length >> 1] ?? NaN

/** OpenBLAS's threads look for work for more than 60 ms after a product, on the core that the other side needs. */
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 150))

function rateOf(work: number, times: readonly number[]): Rate {
  const best = Math.min(...times)
  return { median: (1000 * work) / middle(times), best: (1000 * work) / best, slow: times.filter((ms) => ms > 1.25 * best).length / times.length }
}

/** Over the shapes: each kind of product, then all of them. */
export function sumsOf(rates: readonly ProductRate[]): readonly ProductSum[] {
  const sum = (numbers: readonly number[]): number => numbers.reduce((x, y) => x + y, 0)
  return [...new Set(rates.map(({ threads }) => threads))].flatMap((threads) => [...kinds.map(({ name }) => name), "all" as const].flatMap((kind): readonly ProductSum[] => {
    const pairs = rates.flatMap(({ peer, ...rate }) => (peer !== null && rate.threads === threads && (kind === "all" || rate.kind === kind) ? [{ ...rate, peer }] : []))
    const ratio = (of: "median" | "best"): number => sum(pairs.map(({ work, peer }) => work / peer[of])) / sum(pairs.map(({ work, own }) => work / own[of]))
    return pairs.length === 0 ? [] : [{ kind, threads, median: ratio("median"), best: ratio("best"), slow: [sum(pairs.map(({ own }) => own.slow)) / pairs.length, sum(pairs.map(({ peer }) => peer.slow)) / pairs.length] }]
  }))
}

function showSums(sums: readonly ProductSum[]): void {
  const percent = (share: number): string => `${(100 * share).toFixed(0)}%`
  for (const { kind, median, best, slow: [own, peer] } of sums) {
    console.log(`  ${(kind === "all" ? "all shapes and kinds" : `all shapes ${kind}`).padEnd(40)} OpenBLAS's time by ours ${median.toFixed(2)} (best ${best.toFixed(2)}); over a quarter slower than the best: ${percent(own)} of our runs, ${percent(peer)} of its`)
  }
}

/** Runs in turns. */
export async function measureProducts(rounds = 20, counts = threadCounts(coresAvailable())): Promise<{ readonly rates: readonly ProductRate[]; readonly sums: readonly ProductSum[] }> {
  const blas = openBlas()
  const rates: ProductRate[] = []
  for (const threads of counts) {
    const device = await openCpu({ threads })
    if (!isUsable(device)) break
    console.log(`\nproducts alone: ${device.info.detail}; beside ${blas?.name ?? "nothing: there is no libopenblas.so.0 (Debian: `apt-get install libopenblas0-pthread`)"}`)
    for (const shape of shapes) for (const kind of kinds) {
      const sizes = sizesOf(shape, kind.name)
      const [m, k, n] = sizes
      const contenders = [await ours(device, sizes, kind), ...(blas === null ? [] : [theirs(blas, threads, sizes, kind)])]
      const times: number[][] = contenders.map(() => [])
      for (const { run } of contenders) await run()
      for (let round = 0; round < rounds; round++) for (const [i, { run }] of contenders.entries()) {
        await pause()
        times[i]?.push(await run())
      }
      for (const { close } of contenders) close()
      const work = (repeats * 2 * m * n * k) / 1e9
      const [own = rateOf(work, []), peer = null] = times.map((list) => rateOf(work, list))
      const rate: ProductRate = { name: `[${m}, ${k}] x [${k}, ${n}] ${kind.name}`, kind: kind.name, threads, work, own, peer }
      const text = (of: Rate): string => `${of.median.toFixed(0).padStart(4)} GFLOP/s (best ${of.best.toFixed(0).padStart(4)})`
      console.log(`  ${rate.name.padEnd(40)} ${text(own)}${peer === null ? "" : `, OpenBLAS ${text(peer)}: ${(own.median / peer.median).toFixed(2)} (best ${(own.best / peer.best).toFixed(2)})`}`)
      rates.push(rate)
    }
    showSums(sumsOf(rates).filter((sum) => sum.threads === threads))
  }
  return { rates, sums: sumsOf(rates) }
}
