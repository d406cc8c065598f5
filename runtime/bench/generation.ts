/** Generation of one text: the loop that `slm generate` runs, and what of this machine's bandwidth it uses. */
import { check } from "../../compiler/check/check.ts"
import { lowerGeneration, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { Program, Shape } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { fillNormal, hash32 } from "../../compiler/graph/random.ts"
import { fuse } from "../../compiler/kernel/fuse.ts"
import { bytesOf } from "../../compiler/kernel/ir.ts"
import { trafficOf } from "../../compiler/kernel/traffic.ts"
import type { Device } from "../device.ts"
import { coresAvailable } from "../devices/cpu-build.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { moduleReader } from "../library.ts"
import { decode } from "../stages/decode.ts"
import type { Decoder } from "../stages/decode.ts"
import { givenTo } from "../stages/encoded.ts"
import { plain, stored } from "../weights.ts"
import type { StoredTensor } from "../weights.ts"
import { yielding } from "../yielding.ts"
import { largestCache, openCopyRate } from "./bandwidth.ts"
import type { CopyRate } from "./bandwidth.ts"
import { threadCounts } from "./peer.ts"

/** `wide`: its weights in f32 do not fit the caches of most machines. */
const sizes = [
  { name: "A", depth: 6, heads: 6, dim: 384 },
  { name: "wide", depth: 8, heads: 16, dim: 1024 },
] as const
type Size = (typeof sizes)[number]

const [vocab, context] = [65, 256]
const encodings = ["f32", "int8", "int4(group=32)"] as const

export interface GenerationRow {
  readonly model: string
  readonly parameters: number
  readonly weights: string
  readonly threads: number
  /** Over the whole loop: step, choice of the token, and all between. */
  readonly tokensPerSecond: number
  /** Milliseconds a token: the usual, and what is left where others do not disturb: the shortest of all rounds for each call of some tokens, in the mean. */
  readonly median: number
  readonly undisturbed: number
  /** Bytes of weights that each token's products read. */
  readonly bytesPerToken: number
  /** Bytes per second of a copy of as many bytes, and of one larger than the cache; read and written bytes count. */
  readonly copySame: number
  readonly copyLarge: number
  /** Of the tokens per second that reading the weights at the rate of such a copy would allow; a copy's rate is its best, too. */
  readonly ofSame: number
  readonly ofLarge: number
  readonly undisturbedOfSame: number
}

/** Weights like those of a model: normal, or codes of all values with scales that are not short in any format. */
export function weightOf(shape: Shape, encoding: (typeof encodings)[number], path: string): StoredTensor {
  const n = size(shape)
  const width = shape.at(-1) ?? 1
  const run = encoding === "int8" ? width : 32
  if (encoding === "f32" || shape.length < 2 || width % run !== 0) {
    const values = new Float32Array(n).fill(1)
    if (shape.length > 1) {
      fillNormal({ seed: 1, stream: hash32(path), step: 0, row: 0 }, values.subarray(0, Math.min(n, 2 ** 16)))
      for (let i = 0; i < n; i++) values[i] = i < 2 ** 16 ? 0.02 * (values[i] ?? 0) : values[i % 2 ** 16] ?? 0
    }
    return plain(shape, values)
  }
  const half = encoding === "int8" ? 127 : 7
  const codes = Int8Array.from({ length: n }, (_, i) => ((i * 7919 + (i >>> 5)) % (2 * half + 1)) - half)
  return stored(shape, encoding, new Map<string, Int8Array | Float32Array>([["codes", codes], ["scales", Float32Array.from({ length: n / run }, (_, i) => (0.02 + 1e-4 * Math.sin(i)) / half)]]))
}

/** What products read of the weights in one step. */
function bytesRead(program: Program): number {
  const weights = new Set(fuse(program).kernels.flatMap((kernel) => (kernel.kind === "contract" || kernel.kind === "siblings" ? [...trafficOf(kernel).reads].filter((buffer) => buffer.role === "state") : [])))
  return [...weights].reduce((sum, buffer) => sum + bytesOf(buffer), 0)
}

/** Tokens of one call here at most; users' calls have as many as take 4 ms. Calls of all rounds write the same tokens. */
const mostTogether = 8

/** What one call wrote, and the milliseconds since the call before it ended. */
interface Call { readonly first: number; readonly tokens: number; readonly ms: number }

function timed(device: Device, calls: Call[], together: number): Device {
  return {
    ...device,
    async load(program) {
      const runner = await device.load(program)
      const goOn = runner.continue
      if (goOn === undefined) return runner
      let last: number | null = null
      return { ...runner, async continue(texts) {
        const first = texts.texts[0]?.length ?? 0
        const start = last ?? performance.now()
        const made = await goOn({ ...texts, most: Math.min(texts.most, together - (first % together)) })
        last = performance.now()
        if (made !== null) calls.push({ first, tokens: made.length, ms: last - start })
        return made
      } }
    },
  }
}

const mean = (calls: readonly Call[]): number => calls.reduce((sum, { ms }) => sum + ms, 0) / calls.reduce((sum, { tokens }) => sum + tokens, 0)
const middle = (times: readonly number[]): number => [...times].sort((x, y) => x - y)[times.length >> 1] ?? NaN

async function measure(of: Size, encoding: (typeof encodings)[number], threads: number, copyRate: CopyRate, large: number): Promise<GenerationRow | null> {
  const text = `use std.models { GPT }\nmodel M = GPT(vocab: ${vocab}, dim: ${of.dim}, depth: ${of.depth}, heads: ${of.heads}, context: ${context}, bias: false, exact: true)\n`
  const { session } = check({ id: "bench.slm", text }, { modules: moduleReader("."), params: new Map(), facts: new Map() })
  const spec = session.modules.get("bench.slm")?.entries.get("M")?.value
  const device = await openCpu({ threads })
  if (spec?.kind !== "spec" || !isUsable(device)) return null
  const programs = lowerGeneration(session, spec, vocab, spec.template.code.span, { factors: "f32", kept: encoding === "f32" ? null : "f16" })
  if (typeof programs !== "function") return null
  const list = weightsOfSpec(session, spec)
  const given = givenTo(device, { tensors: new Map(list.map(({ path, shape }) => [path, weightOf(shape, encoding, path)])) }, list)
  const decoder: Decoder = {
    program(rows, tokens, capacity) {
      const { program, caches } = programs(rows, tokens, capacity)
      return { program: given.over(program), caches }
    },
    fill: (runner, program) => given.fill(runner, program), context,
  }
  const rounds: (readonly Call[])[] = []
  let together = mostTogether
  // The best of several rounds stands beside the best of several copies.
  const end = performance.now() + 2000
  for (let round = 0; round < 4 || performance.now() < end; round++) {
    const calls: Call[] = []
    await decode(yielding(timed(device, calls, together)), decoder, [[1, 2, 3, 4]], { temperature: 0.8, topK: null, topP: null, seed: round, tokens: context - 6, stopIds: new Set(), stopsAt: () => false, signal: null })
    // The first round says how many tokens a call has time for.
    if (round === 0) together = Math.max(1, Math.min(mostTogether, Math.floor(2.5 / mean(calls))))
    else rounds.push(calls.slice(1))
  }
  const bytesPerToken = bytesRead(decoder.program(1, 1, context).program)
  const [copySame, copyLarge] = [copyRate(bytesPerToken, threads), copyRate(large, threads)]
  const tokensPerSecond = 1000 / Math.min(...rounds.map(mean))
  const shortest = new Map<number, number>()
  const whole = rounds.flat().filter(({ tokens }) => tokens === together)
  for (const { first, ms } of whole) shortest.set(first, Math.min(shortest.get(first) ?? Infinity, ms / together))
  const undisturbed = [...shortest.values()].reduce((sum, ms) => sum + ms, 0) / shortest.size
  return {
    model: of.name, parameters: list.reduce((n, { shape }) => n + size(shape), 0), weights: encoding, threads, tokensPerSecond, median: middle(whole.map(({ ms }) => ms / together)), undisturbed, bytesPerToken, copySame, copyLarge,
    ofSame: (tokensPerSecond * bytesPerToken) / copySame, ofLarge: (tokensPerSecond * bytesPerToken) / copyLarge, undisturbedOfSame: (1000 / undisturbed) * bytesPerToken / copySame,
  }
}

/** One row for each model, kind of weights and number of threads; `only` those that begin so: `A int4`. */
export async function measureGeneration(only = ""): Promise<readonly GenerationRow[]> {
  const copyRate = await openCopyRate()
  if (copyRate === null) return []
  const cache = largestCache()
  const large = Math.min(800e6, Math.max(256e6, 1.25 * (cache ?? 0)))
  console.log(`\ngeneration, one text; the largest cache holds ${cache === null ? "an unknown number of" : (cache / 1e6).toFixed(0)} MB, the large copy is ${(large / 1e6).toFixed(0)} MB`)
  const rows: GenerationRow[] = []
  for (const of of sizes) for (const encoding of encodings) for (const threads of threadCounts(coresAvailable())) {
    if (!`${of.name} ${encoding}`.startsWith(only)) continue
    const row = await measure(of, encoding, threads, copyRate, large)
    if (row === null) continue
    rows.push(row)
    const gb = (rate: number): string => `${(rate / 1e9).toFixed(1)} GB/s`
    console.log(`  ${of.name.padEnd(5)} ${(row.parameters / 1e6).toFixed(1)}M ${encoding.padEnd(14)} ${threads} thread${threads === 1 ? " " : "s"} ${row.tokensPerSecond.toFixed(0).padStart(6)} tokens/s (median ${row.median.toFixed(2)} ms, undisturbed ${row.undisturbed.toFixed(2)} ms), ${(row.bytesPerToken / 1e6).toFixed(1)} MB a token; copies of that size ${gb(row.copySame)}: ${row.ofSame.toFixed(2)} of the limit, undisturbed ${row.undisturbedOfSame.toFixed(2)}; large ${gb(row.copyLarge)}: ${row.ofLarge.toFixed(2)}, undisturbed ${(row.ofLarge * 1000 / row.tokensPerSecond / row.undisturbed).toFixed(2)}`)
  }
  return rows
}
