/** Products as WGSL: tiles in shared memory and blocks in registers, or lanes along what lies together where there are few rows. */
import type { Factors } from "../graph/node.ts"
import type { Index } from "../kernel/index.ts"
import type { ContractKernel, Operand, RowsKernel, SiblingsKernel } from "../kernel/ir.ts"
import type { ContractPlan, GpuTarget, VectorPlan } from "../schedule/gpu-plans.ts"
import { emit, indexText, innerScope } from "./wgsl-expr.ts"
import type { Emitter, Memory } from "./wgsl-expr.ts"
import type { ShaderBody } from "./wgsl-shader.ts"
import { turnText } from "./wgsl-shader.ts"

type Tile = Extract<ContractPlan, { way: "tile" }>

export function renderContract(kernel: ContractKernel, plan: ContractPlan, target: GpuTarget, memory: Memory): ShaderBody {
  return plan.way === "tile" ? renderTiles(kernel, plan, kernel.factors === "f16" && target.f16 ? "f16" : "f32", memory) : renderVector(kernel, plan, memory)
}

/** What numbers of a tile take in shared memory. Rounded factors are numbers of f16, so that nothing is lost there; they are added up in f32. */
type Held = "f32" | "f16"
const widened = (held: Held, x: string): string => (held === "f32" ? x : `vec4<f32>(${x})`)

const times = (place: string, stride: number): string => (stride === 0 ? "0" : stride === 1 ? place : `${place} * ${stride}`)

/** The start of matrix `b` of an operand. */
function offsetText(memory: Memory, offset: Index): string {
  const m: Emitter = { memory, variables: {}, next: 0 }
  return indexText(m, offset, innerScope(null, "r", ""))
}

/** Element (x, y) of an operand of the given size; 0 beyond its edges, where tiles may lie across them. */
function elementFunction(name: string, x: Operand, memory: Memory, bounds: readonly string[], factors: Factors = "f32"): string[] {
  const value = rounded(factors, memory.load(x.buffer, `base + ${times("x", x.rowStride)} + ${times("y", x.colStride)}`))
  return [`fn ${name}(base: i32, x: i32, y: i32) -> f32 {`, ...(bounds.length === 0 ? [] : [`  if (${bounds.map((bound) => `!(${bound})`).join(" || ")}) { return 0.0; }`]), `  return ${value};`, "}"]
}

/** The second operand, element (k, n): as it lies in memory, or made here. `of`: which member of siblings. */
function secondFunction(kernel: ContractKernel, memory: Memory, bounds: readonly string[], of = ""): string[] {
  const { prologue } = kernel
  const [store] = prologue?.stores ?? []
  if (store === undefined) return elementFunction(`b_at${of}`, kernel.b, memory, bounds, kernel.factors)
  const e: Emitter = { memory, variables: { trip: turnText }, next: 0 }
  const scope = innerScope(null, "r", "  ")
  const value = emit(e, store.value, scope)
  return [`fn b_at${of}(base: i32, j: i32, r: i32) -> f32 {`, ...(bounds.length === 0 ? [] : [`  let x = j;`, `  let y = r;`, `  if (${bounds.map((bound) => `!(${bound})`).join(" || ")}) { return 0.0; }`]), ...scope.lines, `  return ${rounded(kernel.factors, value)};`, "}"]
}

/** Of the second operand what is read is rounded, if the factors are; the first holds rounded numbers. */
const rounded = (factors: Factors, value: string): string => (factors === "f32" ? value : `narrow_${factors}(${value})`)

const four = (of: (i: number) => string): string => `vec4<f32>(${[0, 1, 2, 3].map(of).join(", ")})`

/** Whether numbers of the second operand that lie side by side are added up, and not side by side in the result. */
function isAlongK({ b, prologue }: ContractKernel): boolean {
  return prologue !== null || (b.rowStride === 1 && b.colStride !== 1)
}

/** Fills a tile of `depth` rows (k) of `size` numbers, in vectors along `size`: neighbouring threads read neighbouring numbers. */
function fillLines(name: string, fn: string, base: string, from: string, size: number, { depth, across, down }: Tile, alongK: boolean, kFirst: boolean, held: Held): string[] {
  const vectors = size / 4
  const total = depth * vectors
  const [kk, q] = alongK ? [`e % ${depth}`, `e / ${depth}`] : [`e / ${vectors}`, `e % ${vectors}`]
  const at = (i: number): string => { const [x, k] = [`${from} + 4 * q${i === 0 ? "" : ` + ${i}`}`, "k0 + kk"]; return kFirst ? `${fn}(${base}, ${k}, ${x})` : `${fn}(${base}, ${x}, ${k})` }
  return [
    `    for (var e = lid; e < ${total}; e += ${across * down}) {`, `      let kk = ${kk};`, `      let q = ${q};`, `      ${name}[kk * ${vectors} + q] = ${held === "f32" ? four(at) : `vec4<f16>(${four(at)})`};`, "    }",
  ]
}

/** Each thread multiplies `tall` numbers of a by four of b for every k. Threads of a row read one vector of a. */
function productLines({ rows, cols, depth, tall, down }: Tile, held: Held): string[] {
  const lines = [`    for (var kk = 0; kk < ${depth}; kk++) {`, `      let b = ${widened(held, `tile_b[kk * ${cols / 4} + tx]`)};`]
  for (let i = 0; i < tall; i += 4) lines.push(`      let a${i / 4} = ${widened(held, `tile_a[kk * ${rows / 4} + ty + ${(i / 4) * down}]`)};`)
  for (let i = 0; i < tall; i++) lines.push(`      c${i} = (vec4<f32>(a${i >> 2}.${"xyzw"[i & 3]}) * b + c${i});`)
  return [...lines, "    }"]
}

/** `finish(b, part, r, j, value)` for every number a thread has. */
function finishLines({ tall, down }: Tile): string[] {
  const row = (i: number): string => `row0 + 4 * ty + ${(i >> 2) * 4 * down + (i & 3)}`
  return Array.from({ length: 4 * tall }, (_, at) => [at >> 2, at & 3] as const).map(([i, j]) => `  finish(b, part, ${row(i)}, col0 + 4 * tx + ${j}, c${i}.${"xyzw"[j]});`)
}

function renderTiles(kernel: ContractKernel, plan: Tile, held: Held, memory: Memory): ShaderBody {
  const { m, n, k } = kernel
  const { rows, cols, depth, tall, split } = plan
  const slice = Math.ceil(k / split / depth) * depth
  const [across, down] = [Math.ceil(n / cols), Math.ceil(m / rows)]
  const bounds = (x: string, size: number, tile: number): string[] => (size % tile === 0 ? [] : [`${x} < ${size}`])
  return {
    threads: plan.across * plan.down,
    outside: [
      `var<workgroup> tile_a: array<vec4<${held}>, ${(depth * rows) / 4}>;`, `var<workgroup> tile_b: array<vec4<${held}>, ${(depth * cols) / 4}>;`,
      ...elementFunction("a_at", kernel.a, memory, [...bounds("x", m, rows), ...bounds("y", k, depth)]),
      ...secondFunction(kernel, memory, [...bounds("x", k, depth), ...bounds("y", n, cols)]),
      ...finishFunction(kernel, split > 1, memory),
    ],
    lines: [
      `  let tx = lid % ${plan.across};`, `  let ty = lid / ${plan.across};`,
      `  let part = group % ${split};`, `  let block = group / ${split};`, `  let col0 = block % ${across} * ${cols};`, `  let row0 = block / ${across} % ${down} * ${rows};`, `  let b = block / ${across * down};`,
      `  let a_base = ${offsetText(memory, kernel.a.offset)};`, `  let b_base = ${offsetText(memory, kernel.b.offset)};`,
      ...Array.from({ length: tall }, (_, i) => `  var c${i} = vec4<f32>();`),
      `  for (var k0 = part * ${slice}; k0 < min((part + 1) * ${slice}, ${k}); k0 += ${depth}) {`,
      ...fillLines("tile_a", "a_at", "a_base", "row0", rows, plan, kernel.a.colStride === 1, false, held),
      ...fillLines("tile_b", "b_at", "b_base", "col0", cols, plan, isAlongK(kernel), true, held),
      "    workgroupBarrier();", ...productLines(plan, held), "    workgroupBarrier();", "  }",
      ...finishLines(plan),
    ],
  }
}

/** What happens to a number of the product: stored, or taken by the kernel that follows. */
function finishFunction(kernel: ContractKernel, split: boolean, memory: Memory, of = ""): string[] {
  const { m, n, epilogue, keep, out, batch } = kernel
  const start = split ? `(part * ${batch} + b)` : "b"
  const place = batch === 1 && !split ? `r * ${n} + j` : `(${start} * ${m} + r) * ${n} + j`
  return [
    `fn finish${of}(b: i32, part: i32, r: i32, j: i32, value: f32) {`, `  if (r >= ${m} || j >= ${n}) { return; }`,
    ...(keep || epilogue === null ? [`  ${memory.store(out, place, "value")}`] : []),
    ...(epilogue === null ? [] : epilogueLines(epilogue, kernel, memory)), "}",
  ]
}

function epilogueLines(epilogue: RowsKernel, { out }: ContractKernel, memory: Memory): string[] {
  const own: Memory = { load: (buffer, place) => (buffer === out ? "value" : memory.load(buffer, place)), store: (buffer, place, value) => memory.store(buffer, place, value) }
  const e: Emitter = { memory: own, variables: { trip: turnText }, next: 0 }
  const scope = innerScope(null, "r", "  ")
  const texts = epilogue.stores.map((store) => ({ store, value: emit(e, store.value, scope), place: indexText(e, store.index, scope) }))
  return [...scope.lines, ...texts.map(({ store, value, place }) => `  ${memory.store(store.buffer, place, value)}`)]
}

/** At most four rows: `cols` columns of `lanes` threads each, every thread with its own part of k, summed in shared memory. */
function renderVector(kernel: ContractKernel, plan: VectorPlan, memory: Memory): ShaderBody {
  return { threads: 256, outside: [...sharedLines(kernel, memory), ...memberFunctions(kernel, memory, "")], lines: vectorLines(kernel, plan, memory, "") }
}

/** One product after the other; a workgroup belongs to one of them. */
export function renderSiblings({ members }: SiblingsKernel, plans: readonly VectorPlan[], memory: Memory): ShaderBody {
  const [first] = members
  if (first === undefined) throw new Error("render: no siblings")
  let start = 0
  const lines = members.flatMap((member, i) => {
    const plan = plans[i]
    if (plan === undefined) throw new Error(`render: ${member.name} has no plan`)
    const [from, end] = [start, start += plan.workgroups]
    return [`  if (whole >= ${from} && whole < ${end}) {`, `  let group = whole - ${from};`, ...vectorLines(member, plan, memory, `_${i}`), "}"]
  })
  return {
    threads: 256,
    outside: [...sharedLines(first, memory), ...members.flatMap((member, i) => memberFunctions(member, memory, `_${i}`))],
    lines: ["  let whole = group;", ...lines],
  }
}

/** What products of one first operand share. */
const sharedLines = ({ m, a }: ContractKernel, memory: Memory): string[] => [`var<workgroup> sums: array<f32, ${256 * m}>;`, ...elementFunction("a_at", a, memory, [])]

const memberFunctions = (kernel: ContractKernel, memory: Memory, of: string): string[] => [...secondFunction(kernel, memory, [], of), ...finishFunction(kernel, false, memory, of)]

function vectorLines(kernel: ContractKernel, { cols, lanes }: VectorPlan, memory: Memory, of: string): string[] {
  const { m, n, k } = kernel
  const wide = Math.ceil(n / cols)
  // Threads side by side read side by side: along the columns, or along k.
  const [col, lane] = cols === 32 ? ["lid % 32", "lid / 32"] : [`lid / ${lanes}`, `lid % ${lanes}`]
  const at = (row: string): string => (cols === 32 ? `${row} * 256 + l * 32 + col` : `${row} * 256 + col * ${lanes} + l`)
  const sums = Array.from({ length: m }, (_, i) => i)
  return [
    `  let b = group / ${wide};`, `  let col = ${col};`, `  let lane = ${lane};`, `  let j = group % ${wide} * ${cols} + col;`,
    `  let a_base = ${offsetText(memory, kernel.a.offset)};`, `  let b_base = ${offsetText(memory, kernel.b.offset)};`,
    ...sums.map((i) => `  var c${i} = 0.0;`),
    `  if (j < ${n}) {`, `    for (var kk = lane; kk < ${k}; kk += ${lanes}) {`, `      let y = b_at${of}(b_base, kk, j);`, ...sums.map((i) => `      c${i} = (a_at(a_base, ${i}, kk) * y + c${i});`), "    }", "  }",
    ...sums.map((i) => `  sums[${i} * 256 + lid] = c${i};`), "  workgroupBarrier();",
    "  if (lane == 0) {", ...sums.flatMap((i) => [`    var total${i} = 0.0;`, `    for (var l = 0; l < ${lanes}; l++) { total${i} += sums[${at(String(i))}]; }`, `    finish${of}(b, 0, ${i}, j, total${i});`]), "  }",
  ]
}
