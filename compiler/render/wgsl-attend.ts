/**
 * Attention and its gradients as WGSL: blocks of rows against blocks of columns in shared memory, several threads for each row. Scores are
 * never stored: the forward pass keeps a running maximum and sum (Milakov, Gimelshein 2018; Dao et al. 2022), and the gradients compute
 * them again.
 */
import type { AttendGradKernel, AttendKernel, Buffer, Strided } from "../kernel/ir.ts"
import type { AttendPlan, GpuTarget } from "../schedule/gpu-plans.ts"
import { rowVectors } from "../schedule/gpu-plans.ts"
import { pointThreads } from "../schedule/gpu.ts"
import { wgslFloat } from "./wgsl-expr.ts"
import type { Memory } from "./wgsl-expr.ts"
import type { ShaderBody } from "./wgsl-shader.ts"
import { countText } from "./wgsl-shader.ts"

type Attend = AttendKernel | AttendGradKernel

/** Smaller than every score that counts. */
const nothing = "-3e38"

function placeText({ base, strides }: Strided, b: string, h: string, t: string, d: string): string {
  const terms = [[strides[0], b], [strides[1], h], [strides[2], t], [strides[3], d]].filter(([stride]) => stride !== 0).map(([stride, at]) => (stride === 1 ? at : `${at} * ${stride}`))
  if (base !== 0 || terms.length === 0) terms.push(String(base))
  return terms.join(" + ")
}

/** `name(b, h, t, q)`: numbers 4 q … 4 q + 3 of row t; zeros beyond the ends. */
function rowFunction(name: string, x: Strided, length: number, width: number, memory: Memory): string[] {
  const at = (i: number): string => {
    const value = memory.load(x.buffer, placeText(x, "b", "h", "t", `(4 * q + ${i})`))
    return width % 4 === 0 ? value : `read_${name}(b, h, t, 4 * q + ${i})`
  }
  const single = width % 4 === 0 ? [] : [`fn read_${name}(b: i32, h: i32, t: i32, d: i32) -> f32 {`, `  if (d >= ${width}) { return 0.0; }`, `  return ${memory.load(x.buffer, placeText(x, "b", "h", "t", "d"))};`, "}"]
  return [...single, `fn ${name}(b: i32, h: i32, t: i32, q: i32) -> vec4<f32> {`, `  if (t >= ${length}) { return vec4<f32>(); }`, `  return vec4<f32>(${[0, 1, 2, 3].map(at).join(", ")});`, "}"]
}

/** Writes a vector of four of an output row. */
function storeLines(x: Strided, width: number, memory: Memory, at: { readonly b: string; readonly h: string; readonly t: string; readonly q: string; readonly value: string }, indent: string): string[] {
  return [0, 1, 2, 3].map((i) => {
    const store = memory.store(x.buffer, placeText(x, at.b, at.h, at.t, `(4 * ${at.q} + ${i})`), `${at.value}.${"xyzw"[i]}`)
    return width % 4 === 0 ? `${indent}${store}` : `${indent}if (4 * ${at.q} + ${i} < ${width}) { ${store} }`
  })
}

/** `low(i, ahead)` up to (not including) `high(i, ahead)`: keys that query i may see by its place; `seen` asks everything. */
function maskFunctions(kernel: Attend, memory: Memory): string[] {
  const { causal, window } = kernel.args
  const { queries, keys } = kernel.sizes
  const high = causal ? `clamp(i + ahead + 1, 0, ${keys})` : window === null ? String(keys) : `clamp(i + ahead + ${window}, 0, ${keys})`
  const segments = kernel.segments === null ? [] : [
    `  let segment = ${memory.load(kernel.segments[1], `b * ${keys} + j`)};`, `  if (segment < 0 || segment != ${memory.load(kernel.segments[0], `b * ${queries} + i`)}) { return false; }`,
  ]
  return [
    `fn low(i: i32, ahead: i32) -> i32 { return ${window === null ? "0" : `max(0, i + ahead - ${window - 1})`}; }`,
    `fn high(i: i32, ahead: i32) -> i32 { return ${high}; }`,
    `fn seen(b: i32, i: i32, j: i32, ahead: i32) -> bool {`, `  if (i >= ${queries} || j < low(i, ahead) || j >= high(i, ahead)) { return false; }`, ...segments, "  return true;", "}",
  ]
}

/** How far queries lie ahead of keys of the same number; the same for the whole workgroup. */
function aheadLines(kernel: Attend, memory: Memory): { readonly outside: string[]; readonly lines: string[] } {
  const { queries, keys } = kernel.sizes
  if (kernel.offset === null) return { outside: [], lines: [`  let ahead = ${kernel.args.causal ? keys - queries : 0};`] }
  return { outside: ["var<workgroup> shared_ahead: i32;"], lines: [`  if (lid == 0) { shared_ahead = ${memory.load(kernel.offset, "b")}; }`, "  let ahead = workgroupUniformLoad(&shared_ahead);"] }
}

const biasText = (kernel: Attend, memory: Memory): string => (kernel.bias === null ? "" : ` + ${memory.load(kernel.bias.buffer, placeText(kernel.bias, "b", "h", "min(i, " + (kernel.sizes.queries - 1) + ")", "min(j, " + (kernel.sizes.keys - 1) + ")"))}`)

/** What is multiplied: rounded, if the factors are. */
const factor = ({ args: { factors } }: Attend, x: string): string => (factors === "f32" ? x : `narrow_${factors}(${x})`)

/** What tiles hold: rounded factors are numbers of f16, so that nothing is lost there, and threads read half the bytes. Weights, slopes and sums are f32. */
type Held = "f32" | "f16"
const heldBy = ({ args: { factors } }: Attend, target: GpuTarget): Held => (factors === "f16" && target.f16 ? "f16" : "f32")
const put = (held: Held, x: string): string => (held === "f32" ? x : `vec4<f16>(${x})`)
const taken = (held: Held, x: string): string => (held === "f32" ? x : `vec4<f32>(${x})`)

const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

interface Sizes { readonly rows: number; readonly cols: number; readonly lanes: number; readonly threads: number; readonly each: number; readonly d4: number; readonly e4: number; readonly ds: number; readonly es: number; readonly dTurns: number; readonly eTurns: number; readonly held: Held }

function sizesOf(kernel: Attend, { rows, cols, lanes }: AttendPlan, target: GpuTarget): Sizes {
  const { sizes } = kernel
  const [d4, e4] = [Math.ceil(sizes.depth / 4), Math.ceil(sizes.values / 4)]
  return { rows, cols, lanes, threads: rows * lanes, each: cols / lanes, d4, e4, ds: rowVectors(sizes.depth), es: rowVectors(sizes.values), dTurns: Math.ceil(d4 / lanes), eTurns: Math.ceil(e4 / lanes), held: heldBy(kernel, target) }
}

/** Copies `count` rows from `first` on into shared memory. */
function loadBlock(to: string, fn: string, h: string, first: string, count: number, vectors: number, stride: number, s: Sizes, indent: string): string[] {
  return [`${indent}for (var e = lid; e < ${count * vectors}; e += ${s.threads}) { ${to}[e / ${vectors} * ${stride} + e % ${vectors}] = ${put(s.held, `${fn}(b, ${h}, ${first} + e / ${vectors}, e % ${vectors})`)}; }`]
}

/** `name0`, `name1`, …: products of this thread's row with its columns, both in shared memory. */
function productLines(name: string, row: string, rowStride: number, col: string, colStride: number, vectors: number, s: Sizes, indent: string): string[] {
  return [
    ...numbers(s.each).map((x) => `${indent}var ${name}${x} = 0.0;`),
    `${indent}for (var q = 0; q < ${vectors}; q++) {`, `${indent}  let own = ${taken(s.held, `${row}[row * ${rowStride} + q]`)};`,
    ...numbers(s.each).map((x) => `${indent}  ${name}${x} += dot(own, ${taken(s.held, `${col}[(lane + ${x * s.lanes}) * ${colStride} + q]`)});`), `${indent}}`,
  ]
}

/** The sum or maximum over the lanes of a row, in order of lanes; `to` is declared. */
function acrossLines(to: string, from: string, combine: "sum" | "max", s: Sizes, indent: string): string[] {
  return [
    `${indent}lanes_of[lid] = ${from};`, `${indent}workgroupBarrier();`, `${indent}var ${to} = lanes_of[row * ${s.lanes}];`,
    `${indent}for (var x = 1; x < ${s.lanes}; x++) { ${to} = ${combine === "sum" ? `${to} + lanes_of[row * ${s.lanes} + x]` : `max(${to}, lanes_of[row * ${s.lanes} + x])`}; }`, `${indent}workgroupBarrier();`,
  ]
}

/** Scores of query `row` against this thread's keys of the block: `s0`, … and whether they count, `seen0`, …. */
function scoreLines(kernel: Attend, memory: Memory, s: Sizes, indent: string): string[] {
  return numbers(s.each).flatMap((x) => [
    `${indent}var seen${x} = false;`,
    `${indent}{ let j = j0 + lane + ${x * s.lanes}; seen${x} = seen(b, i, j, ahead); s${x} = s${x} * ${wgslFloat(kernel.args.scale)}${biasText(kernel, memory)}; }`,
    `${indent}s${x} = select(${nothing}, s${x}, seen${x});`,
  ])
}

/** The largest score so far and the factor by which what was summed before shrinks. */
function maximumLines(s: Sizes, indent: string): string[] {
  return [
    `${indent}let near = ${numbers(s.each).reduce((text, x) => (x === 0 ? "s0" : `max(${text}, s${x})`), "")};`, ...acrossLines("top", "near", "max", s, indent),
    `${indent}let most_now = max(most, top);`, `${indent}let shrink = exp_f32(most - most_now);`, `${indent}most = most_now;`,
    ...numbers(s.each).map((x) => `${indent}let p${x} = select(0.0, exp_f32(s${x} - most), seen${x});`),
    `${indent}total = total * shrink + ${numbers(s.each).map((x) => `p${x}`).join(" + ")};`,
  ]
}

/** Workgroup to block of rows, head and batch. */
function blockLines(kernel: Attend, s: Sizes, memory: Memory): { readonly outside: string[]; readonly lines: string[] } {
  const { heads, groups, queries } = kernel.sizes
  const count = Math.ceil(queries / s.rows)
  const ahead = aheadLines(kernel, memory)
  return {
    outside: ahead.outside,
    lines: [
      `  let row = lid / ${s.lanes};`, `  let lane = lid % ${s.lanes};`, `  let start = group % ${count} * ${s.rows};`, `  let h = group / ${count} % ${heads};`, `  let b = group / ${count * heads};`,
      `  let g = h / ${heads / groups};`, "  let i = start + row;", ...ahead.lines,
      `  let begin = low(start, ahead) / ${s.cols} * ${s.cols};`, `  let end = high(min(start + ${s.rows}, ${queries}) - 1, ahead);`,
    ],
  }
}

export function renderAttend(kernel: AttendKernel, plan: AttendPlan, target: GpuTarget, memory: Memory): ShaderBody {
  const s = sizesOf(kernel, plan, target)
  const { queries, keys, depth, values } = kernel.sizes
  const block = blockLines(kernel, s, memory)
  return {
    threads: s.threads,
    outside: [
      `var<workgroup> tile_q: array<vec4<${s.held}>, ${s.rows * s.ds}>;`, `var<workgroup> tile_kv: array<vec4<${s.held}>, ${s.cols * Math.max(s.ds, s.es)}>;`, `var<workgroup> weights: array<f32, ${s.rows * s.cols}>;`, `var<workgroup> lanes_of: array<f32, ${s.threads}>;`,
      ...block.outside, ...maskFunctions(kernel, memory), ...rowFunction("q_at", kernel.q, queries, depth, memory), ...rowFunction("k_at", kernel.k, keys, depth, memory), ...rowFunction("v_at", kernel.v, keys, values, memory),
    ],
    lines: [
      ...block.lines, `  var most = ${nothing};`, "  var total = 0.0;", ...numbers(s.eTurns).map((y) => `  var sum${y} = vec4<f32>();`),
      ...loadBlock("tile_q", "q_at", "h", "start", s.rows, s.d4, s.ds, s, "  "),
      ...(kernel.args.factors === "f32" ? runningLines(kernel, memory, s) : roundedLines(kernel, memory, s)),
      `  if (i < ${queries}) {`, ...turnStores(kernel.out, values, s.e4, s.eTurns, s, memory, "sum", "h", "i", " * inverse"), "  }",
    ],
  }
}

/** Keys of a block, and the scores of this thread's query against its part of them. */
function keyLines(kernel: AttendKernel, memory: Memory, s: Sizes): string[] {
  return [...loadBlock("tile_kv", "k_at", "g", "j0", s.cols, s.d4, s.ds, s, "    "), "    workgroupBarrier();", ...productLines("s", "tile_q", s.ds, "tile_kv", s.ds, s.d4, s, "    "), ...scoreLines(kernel, memory, s, "    ")]
}

/** The block's values times the weights that every thread puts down first. */
function valueLines(s: Sizes, weight: (x: number) => string, before: readonly string[]): string[] {
  return [
    ...numbers(s.each).map((x) => `    weights[row * ${s.cols} + lane + ${x * s.lanes}] = ${weight(x)};`),
    ...loadBlock("tile_kv", "v_at", "g", "j0", s.cols, s.e4, s.es, s, "    "), "    workgroupBarrier();", ...before, ...sumLines("sum", "weights", s.cols, "tile_kv", s.es, s.e4, s.eTurns, s, "    "), "    workgroupBarrier();", "  }",
  ]
}

const loopLine = (s: Sizes): string => `  for (var j0 = begin; j0 < end; j0 += ${s.cols}) {`

/** One pass: what was summed shrinks whenever a larger score is met. */
function runningLines(kernel: AttendKernel, memory: Memory, s: Sizes): string[] {
  return [
    loopLine(s), ...keyLines(kernel, memory, s), ...maximumLines(s, "    "), ...valueLines(s, (x) => `p${x}`, numbers(s.eTurns).map((y) => `    sum${y} *= shrink;`)),
    ...acrossLines("all", "total", "sum", s, "  "), "  let inverse = select(1.0 / all, 0.0, all == 0.0);",
  ]
}

/** Weights that are rounded must be whole first: maximum and sum in one pass, the values in another. */
function roundedLines(kernel: AttendKernel, memory: Memory, s: Sizes): string[] {
  return [
    loopLine(s), ...keyLines(kernel, memory, s), ...maximumLines(s, "    "), "    workgroupBarrier();", "  }",
    ...acrossLines("all", "total", "sum", s, "  "), "  let share = select(1.0 / all, 0.0, all == 0.0);", "  let inverse = 1.0;",
    loopLine(s), ...keyLines(kernel, memory, s), "    workgroupBarrier();", ...valueLines(s, (x) => `select(0.0, ${factor(kernel, `exp_f32(s${x} - most) * share`)}, seen${x})`, []),
  ]
}

/** sum += weight of each column * that column's row, for this thread's vectors. */
function sumLines(name: string, weights: string, cols: number, tile: string, stride: number, vectors: number, turns: number, s: Sizes, indent: string): string[] {
  return [
    `${indent}for (var c = 0; c < ${cols}; c++) {`, `${indent}  let weight = vec4<f32>(${weights}[row * ${cols} + c]);`,
    ...numbers(turns).map((y) => `${indent}  ${(y + 1) * s.lanes > vectors ? `if (lane + ${y * s.lanes} < ${vectors}) { ` : ""}${name}${y} = (weight * ${taken(s.held, `${tile}[c * ${stride} + lane + ${y * s.lanes}]`)} + ${name}${y});${(y + 1) * s.lanes > vectors ? " }" : ""}`), `${indent}}`,
  ]
}

function turnStores(x: Strided, width: number, vectors: number, turns: number, s: Sizes, memory: Memory, name: string, h: string, t: string, factor: string): string[] {
  return numbers(turns).flatMap((y) => [`    if (lane + ${y * s.lanes} < ${vectors}) {`, `      let q = lane + ${y * s.lanes};`, `      let value = ${name}${y}${factor};`, ...storeLines(x, width, memory, { b: "b", h, t, q: "q", value: "value" }, "      "), "    }"])
}

const statPlace = ({ sizes: { heads, queries } }: Attend, i: string): string => `((b * ${heads} + h) * ${queries} + ${i}) * 3`

function gradientTiles(kernel: AttendGradKernel, s: Sizes, memory: Memory, own: number, other: number): string[] {
  const { queries, keys, depth, values } = kernel.sizes
  return [
    `var<workgroup> tile_q: array<vec4<${s.held}>, ${own * s.ds}>;`, `var<workgroup> tile_u: array<vec4<${s.held}>, ${own * s.es}>;`, `var<workgroup> tile_k: array<vec4<${s.held}>, ${other * s.ds}>;`, `var<workgroup> tile_v: array<vec4<${s.held}>, ${other * s.es}>;`,
    `var<workgroup> slopes: array<f32, ${s.rows * s.cols}>;`, `var<workgroup> lanes_of: array<f32, ${s.threads}>;`,
    ...maskFunctions(kernel, memory), ...rowFunction("q_at", kernel.q, queries, depth, memory), ...rowFunction("k_at", kernel.k, keys, depth, memory), ...rowFunction("v_at", kernel.v, keys, values, memory), ...rowFunction("u_at", kernel.upstream, queries, values, memory),
  ]
}

/** ds = p (dp - sum(p dp)) with dp = dy v^T; statistics of each query first, then dq = ds k. */
export function renderAttendQueries(kernel: AttendGradKernel, plan: AttendPlan, target: GpuTarget, stats: Buffer, memory: Memory): ShaderBody {
  const s = sizesOf(kernel, plan, target)
  const { queries, depth } = kernel.sizes
  const block = blockLines(kernel, s, memory)
  const scores = [
    ...loadBlock("tile_k", "k_at", "g", "j0", s.cols, s.d4, s.ds, s, "    "), ...loadBlock("tile_v", "v_at", "g", "j0", s.cols, s.e4, s.es, s, "    "), "    workgroupBarrier();",
    ...productLines("s", "tile_q", s.ds, "tile_k", s.ds, s.d4, s, "    "), ...productLines("dp", "tile_u", s.es, "tile_v", s.es, s.e4, s, "    "), ...scoreLines(kernel, memory, s, "    "),
  ]
  const gradient = kernel.dq === null ? [] : [
    ...numbers(s.dTurns).map((y) => `  var sum${y} = vec4<f32>();`),
    `  for (var j0 = begin; j0 < end; j0 += ${s.cols}) {`, ...scores,
    ...numbers(s.each).map((x) => `    slopes[row * ${s.cols} + lane + ${x * s.lanes}] = select(0.0, ${factor(kernel, `exp_f32(s${x} - most) * inverse * (dp${x} - mean) * ${wgslFloat(kernel.args.scale)}`)}, seen${x});`), "    workgroupBarrier();",
    ...sumLines("sum", "slopes", s.cols, "tile_k", s.ds, s.d4, s.dTurns, s, "    "), "    workgroupBarrier();", "  }",
    `  if (i < ${queries}) {`, ...turnStores(kernel.dq, depth, s.d4, s.dTurns, s, memory, "sum", "h", "i", ""), "  }",
  ]
  return {
    threads: s.threads, outside: [...block.outside, ...gradientTiles(kernel, s, memory, s.rows, s.cols)],
    lines: [
      ...block.lines, `  var most = ${nothing};`, "  var total = 0.0;", "  var slope = 0.0;",
      ...loadBlock("tile_q", "q_at", "h", "start", s.rows, s.d4, s.ds, s, "  "), ...loadBlock("tile_u", "u_at", "h", "start", s.rows, s.e4, s.es, s, "  "),
      `  for (var j0 = begin; j0 < end; j0 += ${s.cols}) {`, ...scores, ...maximumLines(s, "    "),
      `    slope = slope * shrink + ${numbers(s.each).map((x) => `p${x} * dp${x}`).join(" + ")};`, "    workgroupBarrier();", "  }",
      ...acrossLines("all", "total", "sum", s, "  "), ...acrossLines("all_slopes", "slope", "sum", s, "  "),
      "  let inverse = select(1.0 / all, 0.0, all == 0.0);", "  let mean = all_slopes * inverse;",
      `  if (i < ${queries} && lane == 0) {`, ...["most", "inverse", "mean"].map((value, n) => `    ${memory.store(stats, `${statPlace(kernel, "i")} + ${n}`, value)}`), "  }",
      ...gradient,
    ],
  }
}

/** dk = ds^T q and dv = p^T dy for a block of keys, over the queries that may see them and the heads that share them. */
export function renderAttendKeys(kernel: AttendGradKernel, plan: AttendPlan, target: GpuTarget, stats: Buffer, memory: Memory): ShaderBody {
  const s = sizesOf(kernel, plan, target)
  const { heads, groups, queries, keys, depth, values } = kernel.sizes
  const { causal, window } = kernel.args
  const count = Math.ceil(keys / s.rows)
  const share = heads / groups
  const ahead = aheadLines(kernel, memory)
  const first = causal ? "max(0, start - ahead)" : window === null ? "0" : `max(0, start - ahead - ${window - 1})`
  const last = window === null ? String(queries) : `clamp(min(start + ${s.rows}, ${keys}) - 1 + ${window} - ahead, 0, ${queries})`
  const at = (x: number): string => `lane + ${x * s.lanes}`
  return {
    threads: s.threads,
    outside: [...ahead.outside, `var<workgroup> weights: array<f32, ${s.rows * s.cols}>;`, `var<workgroup> known: array<f32, ${3 * s.cols}>;`, ...gradientTiles(kernel, s, memory, s.cols, s.rows).filter((line) => !line.includes("lanes_of"))],
    lines: [
      `  let row = lid / ${s.lanes};`, `  let lane = lid % ${s.lanes};`, `  let start = group % ${count} * ${s.rows};`, `  let g = group / ${count} % ${groups};`, `  let b = group / ${count * groups};`, "  let j = start + row;", ...ahead.lines,
      ...loadBlock("tile_k", "k_at", "g", "start", s.rows, s.d4, s.ds, s, "  "), ...loadBlock("tile_v", "v_at", "g", "start", s.rows, s.e4, s.es, s, "  "),
      ...numbers(s.dTurns).map((y) => `  var dk${y} = vec4<f32>();`), ...numbers(s.eTurns).map((y) => `  var dv${y} = vec4<f32>();`),
      `  let first = ${first} / ${s.cols} * ${s.cols};`, `  let last = ${last};`,
      `  for (var h = g * ${share}; h < (g + 1) * ${share}; h++) {`, `  for (var i0 = first; i0 < last; i0 += ${s.cols}) {`,
      ...loadBlock("tile_q", "q_at", "h", "i0", s.cols, s.d4, s.ds, s, "    "), ...loadBlock("tile_u", "u_at", "h", "i0", s.cols, s.e4, s.es, s, "    "),
      `    for (var e = lid; e < ${3 * s.cols}; e += ${s.threads}) { if (i0 + e / 3 < ${queries}) { known[e] = ${memory.load(stats, `${statPlace(kernel, "(i0 + e / 3)")} + e % 3`)}; } }`, "    workgroupBarrier();",
      ...productLines("s", "tile_k", s.ds, "tile_q", s.ds, s.d4, s, "    "), ...productLines("dp", "tile_v", s.es, "tile_u", s.es, s.e4, s, "    "),
      ...numbers(s.each).flatMap((x) => [
        `    { let i = i0 + ${at(x)}; let at = 3 * (${at(x)}); s${x} = s${x} * ${wgslFloat(kernel.args.scale)}${biasText(kernel, memory)};`,
        `      let weight = select(0.0, exp_f32(s${x} - known[at]) * known[at + 1], j < ${keys} && seen(b, i, j, ahead));`,
        `      weights[row * ${s.cols} + ${at(x)}] = ${factor(kernel, "weight")}; slopes[row * ${s.cols} + ${at(x)}] = select(0.0, ${factor(kernel, `weight * (dp${x} - known[at + 2]) * ${wgslFloat(kernel.args.scale)}`)}, weight != 0.0); }`,
      ]),
      "    workgroupBarrier();",
      ...(kernel.dk === null ? [] : sumLines("dk", "slopes", s.cols, "tile_q", s.ds, s.d4, s.dTurns, s, "    ")), ...(kernel.dv === null ? [] : sumLines("dv", "weights", s.cols, "tile_u", s.es, s.e4, s.eTurns, s, "    ")), "    workgroupBarrier();", "  }", "  }",
      `  if (j < ${keys}) {`,
      ...(kernel.dk === null ? [] : turnStores(kernel.dk, depth, s.d4, s.dTurns, s, memory, "dk", "g", "j", "")), ...(kernel.dv === null ? [] : turnStores(kernel.dv, values, s.e4, s.eTurns, s, memory, "dv", "g", "j", "")), "  }",
    ],
  }
}

/** ds itself, a thread for each number; summed over the batch where the bias is shared. */
export function renderAttendBias(kernel: AttendGradKernel, stats: Buffer, memory: Memory): ShaderBody {
  const { batch, heads, groups, queries, keys, depth, values } = kernel.sizes
  if (kernel.dbias === null) throw new Error("render: there is no bias")
  const shared = kernel.dbias.strides[0] === 0
  const ahead = kernel.offset === null ? String(kernel.args.causal ? keys - queries : 0) : memory.load(kernel.offset, "b")
  const dotted = (x: Strided, y: Strided): string => `${memory.load(x.buffer, placeText(x, "b", "h", "i", "d"))} * ${memory.load(y.buffer, placeText(y, "b", "g", "j", "d"))}`
  return {
    threads: pointThreads, outside: maskFunctions(kernel, memory),
    lines: [
      `  let point = group * ${pointThreads} + lid;`, `  if (point >= ${countText}) { return; }`, `  let j = point % ${keys};`, `  let i = point / ${keys} % ${queries};`, `  let h = point / ${keys * queries} % ${heads};`, `  let g = h / ${heads / groups};`, `  let own = point / ${keys * queries * heads};`,
      "  var sum = 0.0;", `  for (var b = ${shared ? "0" : "own"}; b < ${shared ? String(batch) : "own + 1"}; b++) {`, `    if (!seen(b, i, j, ${ahead})) { continue; }`,
      "    var s = 0.0;", `    for (var d = 0; d < ${depth}; d++) { s += ${dotted(kernel.q, kernel.k)}; }`, "    var dp = 0.0;", `    for (var d = 0; d < ${values}; d++) { dp += ${dotted(kernel.upstream, kernel.v)}; }`,
      `    s = s * ${wgslFloat(kernel.args.scale)}${biasText(kernel, memory)};`, `    let at = ${statPlace(kernel, "i")};`,
      `    sum += exp_f32(s - ${memory.load(stats, "at")}) * ${memory.load(stats, "at + 1")} * (dp - ${memory.load(stats, "at + 2")});`, "  }",
      `  ${memory.store(kernel.dbias.buffer, placeText(kernel.dbias, "own", "h", "i", "j"), "sum")}`,
    ],
  }
}
